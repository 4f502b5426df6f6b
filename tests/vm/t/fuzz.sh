#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: table lines, messages and spares that hold anything: no crash, no hang, no I/O where the target has nothing to do
# invariants: 1 10
# disks: 16M:serial=lower_main 16M:serial=lower_spare
# timeout: 300
#
# fuzz.sh [SEED [ROUNDS]] : seed 1 and 120 rounds of each kind unless told.

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

seed=${1:-1}
rounds=${2:-120}
# Both devices lie in the middle of a larger one, and the target in the middle of main; the spare's area begins later.
main_size=5000 main_offset=40 length=4931
spare_size=8400 spare_offset=64
around=8192
bad_main='1000+3 2008+8 3001+1' bad_spare=3000+24

load_remap
for disk in lower_main lower_spare; do
	blkio "/dev/$disk" write 0 32768 1
done
# middle NAME SIZE [BAD...] : prints a table that shows sectors of the disk from $around on.
middle() {
	local disk=/dev/lower_$1 size=$2 at=0 range
	shift 2
	for range in "$@" "$size+0"; do
		((${range%+*} == at)) || echo "$at $((${range%+*} - at)) linear $disk $((around + at))"
		((${range#*+} == 0)) || echo "${range%+*} ${range#*+} error"
		at=$((${range%+*} + ${range#*+}))
	done
}

# untouched disks|devices... : around the devices, and where the target has nothing to do on them, is what was there.
untouched() {
	local what
	for what in "$@"; do
		case $what in
		disks)
			blkio /dev/lower_main check 0 $around 1
			blkio /dev/lower_main check $((around + main_size)) $((32768 - around - main_size)) 1
			blkio /dev/lower_spare check 0 $around 1
			blkio /dev/lower_spare check $((around + spare_size)) $((32768 - around - spare_size)) 1
			;;
		devices)
			blkio /dev/lower_main check $around $main_offset 1
			blkio /dev/lower_main check $((around + main_offset + length)) $((main_size - main_offset - length)) 1
			blkio /dev/lower_spare check $around $spare_offset 1
			;;
		esac
	done
	if dmesg | grep 'beyond end of device'; then
		fail 'I/O beyond the end of a device'
	fi
}

middle main $main_size | new_device main
middle spare $spare_size | new_device spare
dmsetup create r --table "0 $length remap /dev/mapper/main $main_offset /dev/mapper/spare $spare_offset 1 format"
relocate r 64 500
relocate r $((length - 3)) 3
release r 128 64
# shellcheck disable=SC2086 # several ranges
middle main $main_size $bad_main | swap_table main
middle spare $spare_size $bad_spare | swap_table spare
blkio /dev/mapper/r check 0 $length 1 >/tmp/errors || true
expect_status r mode=rw
dmsetup suspend r
dmsetup load r --table "0 $length error"
dmsetup resume r

note "seed $seed; to see it again: tests/vm/run tests/vm/t/fuzz.sh $seed $rounds"
fuzz spares "$seed" "$rounds" r /dev/mapper/main $main_offset /dev/mapper/spare $spare_offset $length
untouched disks devices
fuzz tables "$seed" "$rounds" r /dev/mapper/main $main_offset /dev/mapper/spare $spare_offset $length
untouched disks
