#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: dm-flakey as main from the start, down when the target is made
# invariants: 1 3 7
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 16)
spare=$(mkloop 8)
blkio "$main" write 0 32768 1
flaky "$main" down | new_device lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0
expect_status r mode=rw mapped_blocks=0 spare_read_errors=0 spare_write_errors=0

blkio /dev/mapper/r - <<-IO
	write 0 8 2
	write 32760 8 2
	write 12345 16 2
	check 0 8 2
	check 32760 8 2
	check 12345 16 2
IO
expect_blocks r 0 12344 12352 12360 32760

# What was not written here and can't be read is an error, never zeros.
[[ $(blkio /dev/mapper/r check 800 8 1) == 'EIO 800 8 check' ]] || fail 'a read of the failed main is no EIO'
[[ $(blkio /dev/mapper/r check 12344 1 1) == 'EIO 12344 1 check' ]] || fail 'the rest of a rescued block is no EIO'

flaky "$main" up | swap_table lower
blkio /dev/mapper/r - <<-IO
	check 0 8 2
	check 8 12337 1
	check 12345 16 2
	check 12361 20399 1
	check 32760 8 2
IO
expect_status r lost_sectors=0 unread_sectors=0
