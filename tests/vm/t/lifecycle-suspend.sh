#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: suspend and resume ten times, reload the table ten times, under load
# kernels: 6.1 6.12 7.2
# invariants: 1 10
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 32)
spare=$(mkloop 16)
with_errors "$main" 5000+3 9001+1 20000+64 | dmsetup create lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0
hammer -s 70 -r -n 400 -M /tmp/model /dev/mapper/r
relocate r 30000 500
listed=$(runs_of r | grep proactive)

hammer -s 70 -r -t 600 -M /tmp/model /dev/mapper/r >/tmp/hammer.log &
load=$!
at_exit "kill $load 2>/dev/null || true"
for ((i = 0; i < 10; i++)); do
	dmsetup suspend r
	is 'the state' "$(dmsetup info -c --noheadings -o suspended r)" Suspended
	runs_of r | grep -qF "$listed" || fail 'the list changed while suspended'
	dmsetup resume r
	dmsetup suspend --noflush r
	dmsetup resume r
done
for ((i = 0; i < 10; i++)); do
	remap_table /dev/mapper/lower "$spare" retry_ms $((9 - i)) | dmsetup load r
	dmsetup suspend r
	dmsetup resume r
	[[ $(dmsetup table r) == *"retry_ms $((9 - i))"* ]] || fail "the table is $(dmsetup table r)"
done
# A table that was loaded and thrown away leaves the live one alone.
remap_table /dev/mapper/lower "$spare" | dmsetup load r
dmsetup clear r
kill -0 "$load" || fail "the load ended: $(</tmp/hammer.log)"
hammer_stop "$load"

expect_status r mode=rw lost_sectors=0
runs_of r | grep -qF "$listed" || fail 'the list changed'
with_errors "$main" | swap_table lower
hammer -s 70 -c -m 8 -M /tmp/model /dev/mapper/r
expect_status r unread_sectors=0 lost_sectors=0
