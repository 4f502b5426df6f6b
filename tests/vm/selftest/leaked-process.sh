#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: leaves a process
. /project/tests/vm/lib.sh
setsid sleep 1000 &>/dev/null &
