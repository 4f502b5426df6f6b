#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remap over dm-flakey over loop: failing writes are rescued, reading back gives what was written
# kernels: 6.1 6.12 7.2
# invariants: 1 2 3 6 7
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 16)
spare=$(mkloop 8)
flaky "$main" up | new_device lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0 storm_budget 64
blkio /dev/mapper/r write 0 32768 1
expect_status r mode=rw mapped_blocks=0

# While it is down everything fails, so each rescue spends from the storm budget: 1 + 1 + 2 + 17 + 32 blocks.
flaky "$main" down | swap_table lower
blkio /dev/mapper/r - <<-IO
	write 80 8 2
	write 161 1 2
	write 1001 14 2
	write 2047 130 2
	write 8192 256 2
	check 80 8 2
	check 161 1 2
	check 1001 14 2
	check 2047 130 2
	check 8192 256 2
IO
expect_blocks r 80 160 1000 1008 $(seq 2040 8 2176) $(seq 8192 8 8440)
expect_status r rescued_blocks="$(blocks_of r | wc -l)" lost_sectors=0

# It answers again: the rest of the device, and of the blocks that moved, is as it was.
flaky "$main" up | swap_table lower
blkio /dev/mapper/r - <<-IO
	check 0 80 1
	check 80 8 2
	check 88 73 1
	check 161 1 2
	check 162 839 1
	check 1001 14 2
	check 1015 1032 1
	check 2047 130 2
	check 2177 6015 1
	check 8192 256 2
	check 8448 24320 1
IO
expect_status r unread_sectors=0 lost_sectors=0
