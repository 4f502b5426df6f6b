#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: never ends
# timeout: 5
. /project/tests/vm/lib.sh
while :; do sleep 1; done
