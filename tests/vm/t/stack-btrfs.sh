#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: btrfs without copies whose disk dies in a hundred places under load scrubs clean and has all its files
# invariants: 1 2 3 6
# disks: 192M:serial=main 64M:serial=spare
# timeout: 240

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/stacks.sh

need btrfs
load_remap
dying_disk lower /dev/main 96 "${1:-1}"
remap_create r /dev/mapper/lower /dev/spare format
mkfs.btrfs -q -m single -d single /dev/mapper/r
mkdir /tmp/mnt
mount /dev/mapper/r /tmp/mnt
log_mark

under_load lower r files_load /tmp/mnt
files_right /tmp/mnt
umount /tmp/mnt
btrfs check --readonly /dev/mapper/r
all_saved r

again r /dev/mapper/lower /dev/spare
mount /dev/mapper/r /tmp/mnt
files_right /tmp/mnt
files_load /tmp/mnt 1000
files_right /tmp/mnt
btrfs scrub start -B /tmp/mnt
umount /tmp/mnt
btrfs check --readonly /dev/mapper/r
expect_status r mode=rw unread_sectors=0 lost_sectors=0
nothing_reported
