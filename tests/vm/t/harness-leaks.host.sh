#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the harness: a device, mount or process left behind fails the test
# timeout: 300
. tests/vm/selftest/verdict.sh

verdict leaked-device 1 'left behind: device-mapper device leaked'
verdict leaked-busy-device 1 'cannot be removed: leaked'
verdict leaked-loop 1 'left behind: loop device' 'left behind: mount'
verdict leaked-process 1 'left behind: process [0-9]+ sleep 1000'
