#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: md RAID 1 on two remap devices: sectors that die on either are healed by writing, and no member is put out
# invariants: 1 3 4
# disks: 32M:serial=main0 32M:serial=main1 16M:serial=spare0 16M:serial=spare1
# timeout: 240

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/stacks.sh

need raid1 mdadm
load_remap
for i in 0 1; do
	with_errors /dev/main$i | new_device lower$i
	remap_create r$i /dev/mapper/lower$i /dev/spare$i format
done
at_exit '[[ ! -b /dev/md0 ]] || mdadm --stop /dev/md0'
at_exit '! mountpoint -q /tmp/mnt || umount /tmp/mnt'
mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --metadata=1.2 --bitmap=none --assume-clean \
	/dev/mapper/r0 /dev/mapper/r1
md=/sys/block/md0/md
start=$(<$md/rd0/offset)
size=$(sectors_of /dev/md0)
seed=${1:-1}
note "seed $seed"

# wait_idle : until nothing checks or repairs the array. How long that takes is no matter; the test's own limit holds.
wait_idle() {
	until [[ $(<$md/sync_action) == idle ]]; do
		sleep 0.1
	done
}

# die QUARTERS : so many of each four MiB get sectors that fail, in each piece of 128 KiB some of one disk and none of the
# other at that place.
die() {
	local i bad
	for i in 0 1; do
		mapfile -t bad < <(awk -v seed="$seed" -v part="$1" -v start="$start" -v size="$size" -v member="$i" 'BEGIN {
			srand(seed)
			for (at = 0; at + 256 <= size; at += 256) {
				whose = rand() < 0.5
				place = start + at + int(rand() * 200)
				count = 1 + int(rand() * 20)
				if (whose == member && int(at / 2048) % 4 < part)
					print place "+" count
			}
		}')
		((${#bad[@]} > 10)) || fail "only ${#bad[@]} places for errors"
		with_errors /dev/main$i "${bad[@]}" | swap_table lower$i
	done
}

# side MEMBER : its half of the array, past the page cache.
side() {
	dd if="/dev/mapper/r$1" bs=512k iflag=direct,skip_bytes,count_bytes skip=$((start * 512)) count=$((size * 512)) \
		status=none
}

# healthy : two members, nothing unread or lost below them, no differences, both sides the same and the files right.
healthy() {
	local i
	umount /tmp/mnt
	echo check >$md/sync_action
	wait_idle
	eq 'sectors that differ' "$(<$md/mismatch_cnt)" 0
	eq 'missing members' "$(<$md/degraded)" 0
	for i in 0 1; do
		is "member $i" "$(<$md/rd$i/state)" in_sync
		is "bad blocks that md knows on member $i" "$(<$md/rd$i/bad_blocks)" ''
		expect_status r$i mode=rw unread_sectors=0 lost_sectors=0
	done
	cmp <(side 0) <(side 1) || fail 'the two sides differ'
	mount /dev/md0 /tmp/mnt
	files_right /tmp/mnt
}

mkfs.ext4 -q /dev/md0
mkdir /tmp/mnt
mount /dev/md0 /tmp/mnt
files_make /tmp/mnt 1
files_make /tmp/mnt 2
echo 200000 >/proc/sys/dev/raid/speed_limit_min

# Found by the array's own check.
die 1
echo check >$md/sync_action
wait_idle
healthy
for i in 0 1; do
	note "r$i: $(dmsetup status r$i)"
	status_is_not r$i rescued_blocks 0 || fail "member $i was not written again"
done
# Found by who reads and writes, with a repair on the way.
die 4
echo repair >$md/sync_action
files_load /tmp/mnt 4
files_right /tmp/mnt
wait_idle
healthy

umount /tmp/mnt
e2fsck -fn /dev/md0
mdadm --stop /dev/md0
dmsetup remove r0 r1
unload_remap
load_remap
for i in 0 1; do
	remap_create r$i /dev/mapper/lower$i /dev/spare$i
done
mdadm --assemble /dev/md0 /dev/mapper/r0 /dev/mapper/r1
mount /dev/md0 /tmp/mnt
healthy
umount /tmp/mnt
mdadm --stop /dev/md0
