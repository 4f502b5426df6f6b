#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: removed by force while I/O runs, messages work and main fails: no hang, nothing lost
# invariants: 1 2 10
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 32)
spare=$(mkloop 16)
with_errors "$main" 5000+3 9001+1 20000+64 | dmsetup create lower
remap_create r /dev/mapper/lower "$spare" format
hammer -s 80 -n 100 -r -M /tmp/model /dev/mapper/r

gone() {
	dmsetup remove "$1" >/dev/null 2>&1 || ! dmsetup info "$1" >/dev/null 2>&1
}

for ((round = 0; round < 3; round++)); do
	hammer -s 80 -r -w -t 600 -M /tmp/model /dev/mapper/r >/tmp/hammer.log &
	load=$!
	awk -v seed=$((round + 81)) 'BEGIN { srand(seed); for (;;) {
		print rand() < 0.6 ? "remap" : "release", int(rand() * 60000), 1 + int(rand() * 2000) } }' |
		dmsay r >/tmp/answers 2>/dev/null &
	messages=$!
	wait_until 20 status_is_not r mapped_blocks 0
	if dmsetup remove r 2>/dev/null; then
		fail 'a device in use was removed'
	fi
	((round % 2 == 0)) || echo "0 $(sectors_of "$main") error" | swap_table lower
	# An error table takes the place of the live one, while all that was in flight is in flight.
	dmsetup remove --force r 2>/dev/null || true
	kill "$messages" 2>/dev/null || true
	hammer_stop "$load"
	wait "$messages" 2>/dev/null || true
	wait_until 20 gone r
	with_errors "$main" | swap_table lower
	unload_remap
	load_remap
	remap_create r /dev/mapper/lower "$spare" retry_ms 0
	hammer -s 80 -c -m 8 -M /tmp/model /dev/mapper/r
	expect_status r mode=rw lost_sectors=0 unread_sectors=0
	with_errors "$main" 5000+3 9001+1 20000+64 | swap_table lower
done
