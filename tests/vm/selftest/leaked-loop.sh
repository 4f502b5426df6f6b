#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: leaves a mounted loop device
truncate -s 1M /tmp/image
mkfs.ext4 -q /tmp/image
mount -o loop /tmp/image /mnt
