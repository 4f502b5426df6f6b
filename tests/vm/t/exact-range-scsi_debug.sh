#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: scsi_debug's medium errors (true sense data): exactly the blocks concerned move
# invariants: 1 4 5 7
# timeout: 480
# expect-log: scsi_debug|Medium Error|medium error|Unrecovered read error

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/exact-range.sh

# It fails reads only, and one range at a time.
seed=40
echo "seed $seed"
range_cases "$seed" 4 | place_cases 0 | awk 'NF == 3' >/tmp/read.cases

load_remap
scsi_disk main 64 delay=0
spare=$(mkloop 16)
remap_create r "$main" "$spare" format retry_ms 0
cd /tmp
near write 1 <read.cases | blkio /dev/mapper/r -

: >blocks
while read -r case; do
	read -r _ _ bad <<<"$case"
	scsi_bad "$bad"
	outcome read <<<"$case" >expected
	awk '{ print "check", $1, $2, 1 }' <<<"$case" | blkio /dev/mapper/r - >found || (($? == 1)) || fail 'wrong data'
	# What main says is passed on: ENODATA is a medium error.
	sed -i 's/^ENODATA/EIO/' found
	expect_lines "reading $case" expected found
	concerned read <<<"$case" >>blocks
	mapfile -t expected_blocks <blocks
	expect_blocks r "${expected_blocks[@]}"
	content read <<<"$case" >expected
	near map <<<"$case" | blkio /dev/mapper/r - | sed 's/^ENODATA/EIO/' | join_runs >found
	expect_lines "sector by sector, $case" expected found
	concerned around <<<"$case" >>blocks
done <read.cases

scsi_good
content read healed <read.cases >expected
near map <read.cases | blkio /dev/mapper/r - >found
expect_lines 'after the disk recovered' expected found
expect_status r unread_sectors=0 lost_sectors=0

# In one read with an error that proves nothing, while all else of main fails, in both orders: what main calls a medium
# error moves, the other block does not.
dmsetup remove r
echo "0 131072 linear $main 0" | new_device lower
remap_create r /dev/mapper/lower "$(mkloop 8)" format retry_ms 0
for case in '16395 16387' '16403 16411'; do
	read -r medium doubtful <<<"$case"
	first=$((medium < doubtful ? medium - 3 : doubtful - 3))
	scsi_bad "$medium+1"
	swap_table lower <<-TABLE
		0 $first error
		$first $((doubtful - first)) linear $main $first
		$doubtful 1 error
		$((doubtful + 1)) $((first + 15 - doubtful)) linear $main $((doubtful + 1))
		$((first + 16)) $((131072 - first - 16)) error
	TABLE
	blkio /dev/mapper/r check "$first" 16 1 >/dev/null && fail "reading $first: no error"
	expect_blocks r 16392 $((medium - 3))
	scsi_good
	echo "0 131072 linear $main 0" | swap_table lower
	wait_until 20 status_is r main_state ok
done
