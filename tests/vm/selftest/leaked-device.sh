#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: leaves a device-mapper device
dmsetup create leaked --table '0 8 error'
