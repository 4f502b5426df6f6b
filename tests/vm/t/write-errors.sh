#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: errors that say nothing of the media are passed up and move nothing; beside media errors in one write too
# invariants: 1 3 7
# disks: 24M:serial=crowded
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
# A loop device over a sparse file on a full file system: writes to its holes end with ENOSPC, not with EIO.
mkfs.ext4 -q -m 0 -b 4096 /dev/crowded
mkdir -p /tmp/mnt
mount /dev/crowded /tmp/mnt
truncate -s 16M /tmp/mnt/image
for size in 1M 4k; do
	dd if=/dev/zero of=/tmp/mnt/fill.$size bs=$size status=none 2>/dev/null || true
	sync
done
hole=$(losetup --find --show --direct-io=on --sector-size 4096 /tmp/mnt/image)
memory=$(mkloop 16)
spare=$(mkloop 16)
size=$(sectors_of "$memory")
# From sector 800 the full one, from 808 media errors, and slow ones: the other answer comes first. The rest is memory.
need dm-delay
echo "0 $size error" | dmsetup create bad
echo "0 $size delay /dev/mapper/bad 0 300" | dmsetup create slow
dmsetup create lower <<-TABLE
	0 800 linear $memory 0
	800 8 linear $hole 800
	808 8 linear /dev/mapper/slow 808
	816 $((size - 816)) linear $memory 816
TABLE
remap_create r /dev/mapper/lower "$spare" format retry_ms 0

said=$(blkio /dev/mapper/r write 800 8 2) && fail 'a write that nothing took was acknowledged'
note "$said"
expect_status r mapped_blocks=0
if blkio /dev/mapper/r write 800 16 3 >/dev/null; then
	blkio /dev/mapper/r check 800 16 3 || fail 'acknowledged, and not there'
else
	blkio /dev/mapper/r map 800 8 | grep -q '^3 ' && fail 'a write that nothing took is there'
fi
blkio /dev/mapper/r write 808 8 4
expect_blocks r 808
blkio /dev/mapper/r check 808 8 4
dmsetup remove r lower slow bad

# The same where the first answer was EIO and only the second try ends with ENOSPC. The worker is kept waiting between the
# two, in the rescue of another block.
# lower WHAT : prints main's table, where block 800 ends with EIO or is the full one.
lower() {
	echo "0 800 linear $memory 0"
	case $1 in
	EIO) echo '800 8 error' ;;
	ENOSPC) echo "800 8 linear $hole 800" ;;
	esac
	cat <<-TABLE
		808 792 linear $memory 808
		1600 8 error
		1608 8 linear $hole 1608
		1616 $((size - 1616)) linear $memory 1616
	TABLE
}
trace=/sys/kernel/tracing
spare=$(mkloop 8)
lower EIO | new_device lower
with_errors "$spare" | new_device lower_spare
remap_create r /dev/mapper/lower /dev/mapper/lower_spare format
echo >$trace/trace
echo 1 >$trace/events/dm_remap/dm_remap_own_io/enable
dmsetup suspend --noflush --nolockfs lower_spare
blkio /dev/mapper/r write 1600 8 5 &
rescued=$!
wait_until 20 grep -q dm_remap_own_io: $trace/trace
blkio /dev/mapper/r write 800 8 5 >/tmp/said &
refused=$!
wait_until 20 status_is r held_ios 2
lower ENOSPC | swap_table lower
dmsetup resume lower_spare
wait "$rescued"
wait "$refused" || :
is 'what became of the write' "$(</tmp/said)" 'ENOSPC 800 8 write'
expect_blocks r 1600
dmsetup remove r lower lower_spare
losetup --detach "$hole"
umount /tmp/mnt
