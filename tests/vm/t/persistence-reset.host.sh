# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# title: the machine is reset at once after an acknowledged write, message or heal: same list, same bytes
# invariants: 1 2
# timeout: 600

prologue='set -e; . /project/tests/vm/lib.sh; trap - EXIT; . /project/tests/vm/target.sh; load_remap'
cut='echo b >/proc/sysrq-trigger; read -r _ < <(sleep 60)'

# round BAD-RANGES ACTION : makes the device over a main with these errors, acts, and resets the machine in the same
# breath; then boots it again.
round() {
	local status=0
	vm_exec "$prologue; with_errors /dev/main $1 | dmsetup create lower
		remap_create r /dev/mapper/lower /dev/spare ${format-}; $2; $cut" || status=$?
	if ((status != VM_STATUS_LOST)); then
		printf 'FAIL: status %s of: %s\n' "$status" "$2"
		exit 1
	fi
	format=
	vm_kill
	vm_boot
}

vm_start 32M:serial=main 16M:serial=spare
format=format
round '' 'blkio /dev/mapper/r write 0 65536 1'
# A rescue; the rest of the block is on main and readable, but for one sector.
round '100+2 103+1' 'blkio /dev/mapper/r write 98 4 2'
# A salvage, whose reader gets an error.
round '103+1 1003+1 1005+1 1007+1' 'blkio /dev/mapper/r check 1000 16 1 >/dev/null || (($? == 1))'
# A message; then a write to what it moved.
round '' 'relocate r 2000 100'
round '' 'blkio /dev/mapper/r fua 2003 3 3'
# A release, and heals of the sectors that are still missing: by FUA, by a write with FUA after it, and with a flush.
round '' 'release r 2040 24'
round '1003+1 1005+1 1007+1' 'blkio /dev/mapper/r fua 1003 1 4'
round '1005+1 1007+1' 'blkio /dev/mapper/r write 1005 1 3; blkio /dev/mapper/r fua 1005 1 4'
round '1007+1' 'blkio /dev/mapper/r write 1007 1 4; blkio /dev/mapper/r flush'
# Sixteen rescues by one I/O.
round '3000+100' 'blkio /dev/mapper/r write 2990 120 5'

vm_exec "$prologue; with_errors /dev/main | dmsetup create lower; remap_create r /dev/mapper/lower /dev/spare retry_ms 0
	expect_blocks r 96 1000 \$(seq 2000 8 2032) \$(seq 2064 8 2096) \$(seq 3000 8 3096)
	expect_map /dev/mapper/r 0 65536 '1 0 98' '2 98 4' '1 102 901' '4 1003 1' '1 1004 1' '4 1005 1' '1 1006 1' '4 1007 1' \
		'1 1008 995' '3 2003 3' '1 2006 984' '5 2990 120' '1 3110 62426'
	expect_status r mode=rw unread_sectors=0 lost_sectors=0 metadata_errors=0
	dmsetup remove r lower; unload_remap"
# The same with main overwritten: what was moved is on the spare alone.
vm_exec "$prologue; blkio /dev/main write 0 65536 9; remap_create r /dev/main /dev/spare
	expect_map /dev/mapper/r 96 8 '1 96 2' '2 98 4' '1 102 2'
	expect_map /dev/mapper/r 1000 8 '1 1000 3' '4 1003 1' '1 1004 1' '4 1005 1' '1 1006 1' '4 1007 1'
	expect_map /dev/mapper/r 2000 40 '1 2000 3' '3 2003 3' '1 2006 34'
	expect_map /dev/mapper/r 2990 120 '9 2990 10' '5 3000 104' '9 3104 6'
	dmsetup remove r; unload_remap"
