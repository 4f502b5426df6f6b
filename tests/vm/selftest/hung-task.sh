#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a process hangs in the kernel for longer than it may, the test itself is content
. /project/tests/vm/lib.sh
echo 2 >/proc/sys/kernel/hung_task_timeout_secs
insmod /project/build/provoke/"$KERNEL"/provoke.ko what=hang
