#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the harness: a WARNING, an oops, a hung task fail the test that caused them
# timeout: 300
. tests/vm/selftest/verdict.sh

verdict warning 1 'WARNING: CPU: .* provoke_init'
verdict expected-warning 0
verdict oops 1 'the machine ended under it' 'BUG: kernel NULL pointer dereference'
verdict hung-task 1 'blocked for more than'
