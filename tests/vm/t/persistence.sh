#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: ten rounds of remove, rmmod, insmod, create: same list, same bytes
# kernels: 6.1 6.12 7.2
# invariants: 1 2 10
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 32)
spare=$(mkloop 16)
with_errors "$main" | dmsetup create lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0
hammer -s 60 -n 300 -M /tmp/model /dev/mapper/r

RANDOM=61
table=$(remap_table /dev/mapper/lower "$spare" retry_ms 0)
for ((round = 1; round <= 10; round++)); do
	# Every reason to move, every state of a sector, and some on the way back.
	for ((i = 0; i < 4; i++)); do
		relocate r $((RANDOM % 60000)) $((1 + RANDOM % 300))
	done
	first=$((round * 4096 + 11))
	with_errors "$main" "$first+2" "$((first + 64))+2" | swap_table lower
	blkio -s 60 /dev/mapper/r map "$first" 3 >/dev/null
	hammer -s 60 -r -n 100 -M /tmp/model /dev/mapper/r
	release r $((RANDOM % 60000)) 200
	with_errors "$main" | swap_table lower

	before=$(runs_of r)
	counts=$(for word in mode mapped_blocks free_blocks retired_blocks unread_sectors lost_sectors; do status_of r $word; done)
	dmsetup remove r
	unload_remap
	load_remap
	echo "$table" | dmsetup create r
	is 'the list' "$(runs_of r)" "$before"
	is 'the status' "$(for word in mode mapped_blocks free_blocks retired_blocks unread_sectors lost_sectors; do status_of r $word; done)" "$counts"
done
[[ -n $before ]] || fail 'nothing was mapped'
hammer -s 60 -c -m 8 -M /tmp/model /dev/mapper/r
expect_status r unread_sectors=0 lost_sectors=0
