#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a main with 4 KiB logical blocks, and blocks larger than 4 KiB where the disk's are
# invariants: 1 5 9
# disks: 64M:lbs=4096:serial=main4k 16M:serial=spare 16M:lbs=4096:serial=spare4k 32M:pbs=16384:serial=main16k
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap

# 4Kn over both kinds of spare.
for spare in /dev/spare /dev/spare4k; do
	note "4Kn main over $spare"
	with_errors /dev/main4k 800+8 1608+16 | dmsetup create lower
	remap_create r /dev/mapper/lower "$spare" format retry_ms 0
	is 'logical block size' "$(blockdev --getss /dev/mapper/r)" 4096
	expect_status r block_sectors=8
	rm -f /tmp/model
	hammer -s 100 -r -n 600 -m 256 -M /tmp/model /dev/mapper/r
	# A block is one logical block here: a write moves it whole, a read of it finds nothing to move.
	blkio -s 100 /dev/mapper/r map 800 8 >/dev/null
	relocate r 16000 80
	(($(blocks_of r | wc -l) >= 10)) || fail "mapped: $(blocks_of r | xargs)"
	hammer -s 100 -r -n 200 -m 256 -M /tmp/model /dev/mapper/r
	with_errors /dev/main4k | swap_table lower
	hammer -s 100 -c -M /tmp/model /dev/mapper/r
	expect_status r unread_sectors=0 lost_sectors=0
	listed=$(runs_of r)
	dmsetup remove r
	remap_create r /dev/mapper/lower "$spare" retry_ms 0
	is 'the list' "$(runs_of r)" "$listed"
	hammer -s 100 -c -M /tmp/model /dev/mapper/r
	dmsetup remove r
	dmsetup remove lower
done

# A spare with larger logical blocks than main can't hold its sectors.
log_mark
refused remap_create r "$(mkloop 16)" /dev/spare4k
log_since | grep -q 'remap: .*logical' || fail "no reason in the log: $(log_since)"

# Physical blocks of 16 KiB: blocks of 32 sectors, salvaged by the same measure.
with_errors /dev/main16k 3201+1 | dmsetup create lower
dd if=/dev/zero of=/dev/spare bs=1M count=1 oflag=direct status=none
remap_create r /dev/mapper/lower /dev/spare format retry_ms 0
expect_status r block_sectors=32
blkio /dev/mapper/r write 0 3200 1
blkio /dev/mapper/r write 3195 20 2
expect_blocks r 3200
with_errors /dev/main16k | swap_table lower
expect_map /dev/mapper/r 3000 220 '1 3000 195' '2 3195 20' '0 3215 5'
relocate r 31 2
expect_blocks r 0 32 3200
blkio /dev/mapper/r check 0 3195 1
