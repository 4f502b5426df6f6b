#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: leaves a device that cannot be removed, since a process has it open
. /project/tests/vm/lib.sh
dmsetup create leaked --table '0 8 zero'
setsid sleep 1000 </dev/mapper/leaked &>/dev/null &
