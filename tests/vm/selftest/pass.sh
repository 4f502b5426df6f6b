#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: passes, with the disks that it asked for
# disks: 8M 16M:serial=spare 8M:lbs=4096 8M:bus=scsi:serial=scsi
. /project/tests/vm/lib.sh
is 'the disks' "${disks[*]}" '/dev/disk0 /dev/spare /dev/disk2 /dev/scsi'
eq 'size of the first' "$(blockdev --getsize64 /dev/disk0)" $((8 << 20))
eq 'size of the second' "$(blockdev --getsize64 /dev/spare)" $((16 << 20))
eq 'logical blocks' "$(blockdev --getss /dev/disk2)" 4096
[[ $(readlink /dev/scsi) == sd* ]] || fail 'not a SCSI disk'
is 'stderr' "$(bash -c 'echo a; echo b >&2' 2>&1)" $'a\nb'
mkfs.ext4 -q /dev/spare
mount /dev/spare /mnt
device=$(mkloop 4)
dmsetup create above --table "0 8192 linear $device 0"
