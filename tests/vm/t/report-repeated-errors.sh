#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: failing I/O repeated, 20 times in 20 places: each is rescued once and holds its newest data
# invariants: 1 3 7
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 16)
spare=$(mkloop 8)
flaky "$main" up | new_device lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0
blkio /dev/mapper/r write 0 8192 1
flaky "$main" down | swap_table lower

for ((round = 2; round < 22; round++)); do
	for ((place = 0; place < 20; place++)); do
		echo "write $((place * 104 + 3)) 4 $round"
		echo "check $((place * 104 + 3)) 4 $round"
	done
done | blkio /dev/mapper/r -
mapfile -t blocks < <(seq 0 104 1976)
expect_blocks r "${blocks[@]}"
expect_status r mapped_blocks=20 rescued_blocks=20

# The same places with the disk coming and going: it answers to reads of what was never written here, no more.
for ((round = 22; round < 42; round++)); do
	flaky "$main" up | swap_table lower
	blkio /dev/mapper/r check 4000 64 1
	flaky "$main" down | swap_table lower
	for ((place = 0; place < 20; place++)); do
		echo "write $((place * 104 + 3)) 4 $round"
	done | blkio /dev/mapper/r -
done
expect_blocks r "${blocks[@]}"
flaky "$main" up | swap_table lower
for ((place = 0; place < 20; place++)); do
	echo "check $((place * 104)) 3 1"
	echo "check $((place * 104 + 3)) 4 41"
	echo "check $((place * 104 + 7)) 97 1"
done | blkio /dev/mapper/r -
expect_status r lost_sectors=0 unread_sectors=0
