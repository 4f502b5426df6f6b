#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a read-only table shows everything and writes nothing, neither to main nor to the spare
# invariants: 1 10
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 16)
spare=$(mkloop 8)
with_errors "$main" 1003+1 | dmsetup create lower
remap_create r /dev/mapper/lower "$spare" format
blkio /dev/mapper/r write 0 1003 1
blkio /dev/mapper/r write 1004 30000 1
blkio /dev/mapper/r map 1003 1 >/dev/null
relocate r 2000 80
blkio /dev/mapper/r write 2003 7 2
listed=$(runs_of r)
dmsetup remove r

# The place that a block was about to leave when the power went: the newer one, which is listed, has generation 0.
spare-edit "$spare" entry 0 200 250 1 3 0xffff 0 0

# One copy of each superblock and metadata block is bad as well, which would be mended otherwise.
dd if=/dev/zero of="$spare" bs=4096 count=1 oflag=direct status=none
before=$(checksums "$main" "$spare")
remap_table /dev/mapper/lower "$spare" retry_ms 0 | dmsetup create --readonly r
expect_status r mode=ro
is 'the list' "$(runs_of r)" "$listed"
expect_map /dev/mapper/r 1000 8 '1 1000 3' 'EIO 1003 1' '1 1004 4'
blkio /dev/mapper/r check 2003 7 2
# A sector that reads again is shown, and stays where it is.
with_errors "$main" 3003+1 | swap_table lower
expect_map /dev/mapper/r 1000 8 '1 1000 3' '0 1003 1' '1 1004 4'
# A failing read is not salvaged.
expect_map /dev/mapper/r 3000 8 '1 3000 3' 'EIO 3003 1' '1 3004 4'
is 'the list' "$(runs_of r)" "$listed"
refused dmsetup message r 0 remap 4000 8
refused dmsetup message r 0 release 2000 8
blkio /dev/mapper/r flush || true
if blkio /dev/mapper/r write 0 8 3 2>/dev/null; then
	fail 'a read-only device was written'
fi
dmsetup suspend r
dmsetup resume r
dmsetup remove r
is 'checksums of both devices' "$(checksums "$main" "$spare")" "$before"
with_errors "$main" 1003+1 | swap_table lower
remap_create r /dev/mapper/lower "$spare"
expect_status r mode=rw
is 'the list' "$(runs_of r)" "$listed"
