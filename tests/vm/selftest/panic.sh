#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the kernel panics
. /project/tests/vm/lib.sh
insmod /project/build/provoke/"$KERNEL"/provoke.ko what=panic
