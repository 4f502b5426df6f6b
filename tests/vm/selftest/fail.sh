#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a command that fails
. /project/tests/vm/lib.sh
echo 'before it'
false
echo 'after it'
