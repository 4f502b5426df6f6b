#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the harness: passed, failed and skipped inside is the same outside
# timeout: 240
. tests/vm/selftest/verdict.sh

verdict pass 0
verdict fail 1 'status 1 of: false' '^FAIL: status 1'
[[ -s $VM_DIR/fail.log ]] || { echo 'FAIL: a failure left no log'; exit 1; }
grep -q 'Linux version\|=== console' "$VM_DIR/fail.log"
verdict skip 77 '^skip: the moon is not full$'
