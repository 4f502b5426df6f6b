#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a process dies of a kernel bug
. /project/tests/vm/lib.sh
insmod /project/build/provoke/"$KERNEL"/provoke.ko what=oops
