#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a table that is reloaded read-only under a file system and a stacked device writes nothing; and the way back
# invariants: 1 10
# disks: 24M:serial=main 4M:serial=spare
# timeout: 120
# expect-log: EXT4-fs|JBD2|I/O error|read-only block-device

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

# written : sectors written and sectors discarded, of both disks (requests are no measure: a flush,
# which a read-only table passes on, counts as one).
written() {
	local disk
	for disk in /dev/main /dev/spare; do
		awk '{ print $7, $14 }' "/sys/block/$(readlink "$disk")/stat"
	done
}

# not_written COMMAND [ARGUMENT...] : an I/O of the stacked device that fails, and all of it.
not_written() {
	is "$*" "$(blkio /dev/mapper/top "$@" || true)" "EIO $2 $3 $1"
}

load_remap
with_errors /dev/main | dmsetup create lower
remap_create r /dev/mapper/lower /dev/spare format retry_ms 0
echo '0 32768 linear /dev/mapper/r 0' | dmsetup create fs
echo '0 16384 linear /dev/mapper/r 32768' | dmsetup create top
mkfs.ext4 -q -b 4096 /dev/mapper/fs
mkdir -p /tmp/mnt
mount /dev/mapper/fs /tmp/mnt
dd if=/dev/urandom of=/tmp/original bs=1M count=4 status=none
cp /tmp/original /tmp/mnt/file
sync /tmp/mnt/file
blkio /dev/mapper/top write 0 16384 1
# Of everything some: mapped, unread, healed with no record of it on the spare yet.
relocate r 4096 2000
relocate r $((32768 + 8000)) 800
with_errors /dev/main $((32768 + 1003))+1 $((32768 + 2003))+1 | swap_table lower
blkio /dev/mapper/top check 1000 8 1 >/dev/null || (($? == 1)) || fail 'wrong data'
blkio /dev/mapper/top check 2000 8 1 >/dev/null || (($? == 1)) || fail 'wrong data'
blkio /dev/mapper/top write 2003 1 2
listed=$(runs_of r | sed "s/^$((32768 + 2000)) 8 \([0-9]*\) 1 /$((32768 + 2000)) 8 \1 0 /")

remap_table /dev/mapper/lower /dev/spare retry_ms 0 | dmsetup load --readonly r
dmsetup suspend r
# What would be mended otherwise.
dd if=/dev/zero of=/dev/spare bs=4096 count=1 oflag=direct conv=notrunc status=none
sums=$(checksums /dev/main /dev/spare)
before=$(written)
dmsetup resume r
expect_status r mode=ro
is 'the list' "$(runs_of r)" "$listed"

# Nobody below the block layer has told the writers.
not_written write 0 8 3
not_written write 8000 8 3
not_written write 1003 1 3
not_written fua 8000 8 3
not_written zero 8016 8
blkio /dev/mapper/top discard 8000 800 || true
blkio /dev/mapper/top discard 0 800 || true
if { echo new >/tmp/mnt/new && sync -f /tmp/mnt; } 2>/dev/null; then
	fail 'a file system on a read-only device was synced'
fi
is 'what was written' "$(written)" "$before"

# Reads go on, moved or not; what main gives again is shown and stays where it is.
echo 3 >/proc/sys/vm/drop_caches
cmp /tmp/original /tmp/mnt/file
expect_map /dev/mapper/top 0 16384 '1 0 1003' 'EIO 1003 1' '1 1004 999' '2 2003 1' '1 2004 14380'
with_errors /dev/main | swap_table lower
blkio /dev/mapper/top check 1000 8 1
is 'the list' "$(runs_of r)" "$listed"
is 'what was written' "$(written)" "$before"
is 'checksums of both disks' "$(checksums /dev/main /dev/spare)" "$sums"

remap_table /dev/mapper/lower /dev/spare retry_ms 0 | dmsetup load r
dmsetup suspend --nolockfs r
dmsetup resume r
expect_status r mode=rw
is 'the list' "$(runs_of r)" "$listed"
is 'bad copies of metadata' "$(spare-edit /dev/spare where | grep -c bad || true)" 0
blkio /dev/mapper/top - <<-IO
	write 0 8 3
	write 8000 8 3
	check 0 8 3
	check 8 995 1
	check 1004 999 1
	check 2003 1 2
	check 8000 8 3
	check 8008 8376 1
IO
wait_until 20 blkio /dev/mapper/top check 1003 1 1
expect_status r unread_sectors=0 lost_sectors=0
# The file system, which saw its journal fail, after the repair that it asks for.
umount /tmp/mnt
e2fsck -fp /dev/mapper/fs &>/tmp/fsck.log || (($? == 1)) || fail "e2fsck: $(</tmp/fsck.log)"
mount /dev/mapper/fs /tmp/mnt
cmp /tmp/original /tmp/mnt/file
cp /tmp/original /tmp/mnt/file2
umount /tmp/mnt
e2fsck -fn /dev/mapper/fs &>/tmp/fsck.log || fail "e2fsck: $(</tmp/fsck.log)"
