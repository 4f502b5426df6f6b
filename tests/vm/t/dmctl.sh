#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the wrapper round libdevmapper: list, events, options, suspend
# disks: 64M:serial=main 32M:serial=spare
# timeout: 120

. /project/tests/vm/lib.sh

load_remap
remap_create r /dev/main /dev/spare format
is 'calls' "$(/project/build/guest/dmctl-calls r)" ok
