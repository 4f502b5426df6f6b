#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: does not run, and says why
. /project/tests/vm/lib.sh
skip 'the moon is not full'
