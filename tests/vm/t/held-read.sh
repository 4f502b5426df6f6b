#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a read that only waited for a move has all the time that it takes: salvage_ms is for reads that failed
# invariants: 1 4 10
# timeout: 120

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
need dm-delay
main=$(mkloop 16)
spare=$(mkloop 8)
with_errors "$main" | new_device lower
remap_create r /dev/mapper/lower "$spare" format salvage_ms 50
blkio /dev/mapper/r write 0 32768 1
echo "0 32768 delay $main 0 1000" | swap_table lower
is_read() {
	[[ $(dmsetup status lower) == *' delay 1 '* ]]
}

dmsetup message r 0 remap 800 8 &
wait_until 20 is_read
# Held, then cut in three: a block of the spare, and two of main that take a second each.
blkio /dev/mapper/r check 800 24 1
wait
expect_status r main_read_errors=0 mapped_blocks=1
