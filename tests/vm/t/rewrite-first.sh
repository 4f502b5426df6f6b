#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: rewrite_first writes what main gave at a second try back to main, and moves it only if main does not keep it
# invariants: 1 4
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
need dm-delay
memory=$(mkloop 64)
spare=$(mkloop 16)
size=$(sectors_of "$memory")
with_errors "$memory" | new_device fragile
# Reads of main are slow, so that there is time to mend it between the first try and the second.
echo "0 $size delay /dev/mapper/fragile 0 2000 /dev/mapper/fragile 0 0" | new_device main
remap_create r /dev/mapper/main "$spare" format rewrite_first 1
dmsetup table r | grep -q ' rewrite_first 1$' || fail "the option is not in the table: $(dmsetup table r)"
blkio /dev/mapper/r write 800 24 1
writes_of_main() {
	awk '{ print $5 }' "/sys/block/dm-$(dmsetup info -c --noheadings -o minor main)/stat"
}

# read_and_mend RANGE : a read fails, and the table on standard input is main's from then on; the reader's own result.
read_and_mend() {
	local errors reader
	errors=$(status_of r main_read_errors)
	blkio /dev/mapper/r check "${1%+*}" "${1#*+}" 1 &
	reader=$!
	wait_until 20 status_is_not r main_read_errors "$errors"
	swap_table fragile
	wait "$reader" || fail "the read of $1 ended with status $?"
}

with_errors "$memory" 803+1 | swap_table fragile
before=$(writes_of_main)
with_errors "$memory" | read_and_mend 800+8
wait_until 20 status_is r rewritten_blocks 1
expect_status r mapped_blocks=0 salvaged_blocks=0 failed_relocations=0
(($(writes_of_main) == before + 1)) || fail "main was written $(($(writes_of_main) - before)) times, not once"
blkio /dev/mapper/r check 800 24 1

# Main gives it once more, but takes no write: the block moves with what was read.
need dm-flakey
with_errors "$memory" 811+1 | swap_table fragile
{
	echo "0 808 linear $memory 0"
	echo "808 8 flakey $memory 808 0 36000 1 error_writes"
	echo "816 $((size - 816)) linear $memory 816"
} | read_and_mend 808+8
wait_until 20 status_is r salvaged_blocks 1
expect_status r rewritten_blocks=1 mapped_blocks=1 unread_sectors=0
expect_blocks r 808
with_errors "$memory" 808+8 | swap_table fragile
blkio /dev/mapper/r check 800 24 1

# Without the option what reads at last stays where it is, and nothing is written.
with_errors "$memory" 818+1 | swap_table fragile
dmsetup message r 0 set rewrite_first 0
before=$(writes_of_main)
with_errors "$memory" | read_and_mend 816+8
expect_status r rewritten_blocks=1 mapped_blocks=1 held_ios=0
(($(writes_of_main) == before)) || fail 'main was written without the option'
