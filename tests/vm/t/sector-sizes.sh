#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a spare formatted for sectors of 4 KiB under a main with sectors of 512 bytes, and not the other way round; odd spares
# invariants: 1 4 5 9 10
# disks: 8M:pbs=16384:serial=spare16k
# timeout: 120

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

# attach BYTES : the main, as a disk with logical blocks of that size.
attach() {
	main=$(losetup --find --show --sector-size "$1" main.image)
}

detach() {
	losetup --detach "$main"
}

# limits DEVICE : logical and physical block size, smallest I/O, offset of the alignment.
limits() {
	blockdev --getss --getpbsz --getiomin --getalignoff "$1" | xargs
}

load_remap
truncate -s 16M main.image

note 'formatted for 4 KiB, used with 512 bytes'
attach 4096
bad=(3208+8 6424+8)
with_errors "$main" "${bad[@]}" | dmsetup create lower
remap_create r /dev/mapper/lower /dev/spare16k format retry_ms 0
expect_status r block_sectors=32
is 'limits' "$(limits /dev/mapper/r)" '4096 16384 16384 0'
blkio /dev/mapper/r write 0 3208 1
blkio /dev/mapper/r write 3208 16 1
blkio /dev/mapper/r write 3224 3200 1
blkio /dev/mapper/r write 6432 26336 1
blkio /dev/mapper/r map 6424 8 >/dev/null
relocate r 9600 64
moved_then() {
	expect_map /dev/mapper/r 0 12800 '1 0 6424' 'EIO 6424 8' '1 6432 6368'
	expect_blocks r 3200 6400 9600 9632
	expect_status r mode=rw block_sectors=32 unread_sectors=8 lost_sectors=0
}
moved_then
dmsetup remove r lower
detach

attach 512
with_errors "$main" "${bad[@]}" | dmsetup create lower
remap_create r /dev/mapper/lower /dev/spare16k retry_ms 0
is 'limits' "$(limits /dev/mapper/r)" '4096 16384 16384 0'
moved_then
is 'a write of a single sector' "$(blkio /dev/mapper/r write 20 1 2 || true)" 'EINVAL 20 1 write'
# One bad sector takes its unit along, not more.
with_errors "$main" "${bad[@]}" 12805+1 16001+1 | swap_table lower
blkio /dev/mapper/r write 12800 8 2
blkio /dev/mapper/r map 16000 8 >/dev/null
expect_map /dev/mapper/r 12768 3296 '1 12768 32' '2 12800 8' '1 12808 3192' 'EIO 16000 8' '1 16008 56'
expect_blocks r 3200 6400 9600 9632 12800 16000
release r 9600 32
dmsetup remove r lower
detach

attach 4096
# The first read is an attempt, whatever the time between two.
remap_create r "$main" /dev/spare16k retry_ms 3600000
is 'limits' "$(limits /dev/mapper/r)" '4096 16384 16384 0'
expect_blocks r 3200 6400 9632 12800 16000
expect_map /dev/mapper/r 0 32768 '1 0 6424' '0 6424 8' '1 6432 6368' '2 12800 8' '1 12808 19960'
dmsetup remove r
detach

note 'formatted for 512 bytes, used with 4 KiB: refused'
spare=$(mkloop 4)
attach 512
remap_create r "$main" "$spare" format
is 'limits' "$(limits /dev/mapper/r)" '512 512 512 0'
relocate r 800 8
dmsetup remove r
detach
attach 4096
sums=$(checksums "$main" "$spare")
log_mark
refused remap_create r "$main" "$spare"
log_since | grep -q 'Logical blocks are larger than when the spare was formatted' || fail "no reason in the log: $(log_since)"
is 'checksums of both' "$(checksums "$main" "$spare")" "$sums"
losetup --detach "$spare"

note 'spares that end in the middle of 4 KiB'
room=$(mkloop 2)
blkio "$main" write 0 32768 1
for size in 2073 2079 2500 4063; do
	blkio "$room" write 0 4096 9
	echo "0 $size linear $room 0" | dmsetup create odd
	log_mark
	remap_create r "$main" /dev/mapper/odd format
	# Two metadata blocks; all else is slots.
	slots=$(((size - 2048) / 8 - 2))
	expect_status r mode=rw block_sectors=8 free_blocks=$slots
	relocate r 8000 $((slots * 8))
	expect_status r mode=no-new-maps free_blocks=0 mapped_blocks=$slots
	blkio /dev/mapper/r write 8000 $((slots * 8)) 2
	blkio /dev/mapper/r flush
	dmsetup remove r
	remap_create r "$main" /dev/mapper/odd
	expect_status r mode=no-new-maps mapped_blocks=$slots metadata_errors=0
	expect_map /dev/mapper/r 7992 $((slots * 8 + 16)) '1 7992 8' "2 8000 $((slots * 8))" "1 $((8000 + slots * 8)) 8"
	expect_status r spare_read_errors=0 spare_write_errors=0
	dmsetup remove r odd
	if log_since | grep -i 'beyond\|I/O error'; then
		fail "I/O beyond the end of a spare of $size sectors"
	fi
	blkio "$room" check "$size" $((4096 - size)) 9
done
detach
attach 512
echo "0 $size linear $room 0" | dmsetup create odd
remap_create r "$main" /dev/mapper/odd
is 'limits' "$(limits /dev/mapper/r)" '4096 4096 4096 0'
# What fails is tried block by block while all else that fails waits: not for as long as a disk can zero at once.
is 'the longest zeroing' "$(<"/sys/block/$(dmsetup info -c --noheadings -o blkdevname r)/queue/write_zeroes_max_bytes")" 1048576
dmsetup remove r odd
detach
