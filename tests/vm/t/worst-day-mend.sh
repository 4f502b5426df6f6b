#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a broken spare is repaired, or restored from a dump, and the right bytes are there again
# invariants: 1 8
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/broken-spare.sh

load_remap
main=$(mkloop 8)
disk=$(mkloop 3)
with_errors "$main" | dmsetup create lower
with_errors "$disk" | dmsetup create spare
main=/dev/mapper/lower
spare=/dev/mapper/spare

# --- the days before: what lives on the spare is old on main, and the map has changed since an older dump ------------

blkio $main write 0 16384 1
remap_create r $main $spare format
relocate r 0 2400
blkio /dev/mapper/r write 0 2400 2
dmsetup remove r
dd if=$spare of=/tmp/older bs=1M iflag=direct status=none
remapctl --json dump $spare --output /tmp/older.dump
remap_create r $main $spare main_id wwn-0x5000c500a1b2c3d4
release r 1600 800
blkio /dev/mapper/r write 1600 800 3
relocate r 8000 400
relocate r 2000 80
blkio /dev/mapper/r - <<-IO
	write 8000 400 4
	write 2000 80 4
IO
dmsetup remove r
dd if=$spare of=/tmp/good bs=1M iflag=direct status=none
remapctl --json dump $spare --output /tmp/good.dump
find_places
# The slots begin behind the last metadata block's copy A.
slots=${at[meta 2 0]}
slots=$((slots + 8))

# whole WHAT : the device can be assembled with this spare, is written to, and every byte is right.
whole() {
	local device=${2-$spare}
	remap_create r $main "$device" || fail "refused, $1"
	expect_status r mode=rw unread_sectors=0 lost_sectors=0
	blkio /dev/mapper/r - <<-IO || fail "wrong data, $1"
		check 0 1600 2
		check 1600 400 3
		check 2000 80 4
		check 2080 320 3
		check 2400 5600 1
		check 8000 400 4
		check 8400 7984 1
	IO
	dmsetup remove r
}

# says STATUS COMMAND... : remapctl's status; what it printed is in /tmp/out and /tmp/err.
says() {
	local wanted=$1 status=0
	shift
	remapctl "$@" </dev/null >/tmp/out 2>/tmp/err || status=$?
	((status == wanted)) || fail "status $status of remapctl $*, not $wanted: $(cat /tmp/out /tmp/err)"
}

saves=0
repair() {
	local wanted=$1
	shift
	says "$wanted" repair $spare --yes --save "/tmp/save.$((++saves))" "$@"
}

whole 'to begin with'
as_good_as_new

# --- repair: nothing is lost -----------------------------------------------------------------------------------------

for way in flip older misplaced; do
	as_good_as_new
	broke $way 'meta 0 0' 'meta 1 1' 'meta 2 0'
	[[ $way == misplaced ]] || broke $way 'super 0 1'
	says 1 check $spare
	repair 0
	says 0 check $spare
	whole "repaired, $way"
done
as_good_as_new
both head tail 'super 0'
both tail head 'meta 0'
both head tail 'meta 1'
says 1 check $spare
repair 0
whole 'pieced together'
# What was saved has what was there.
grep -q '"copies":\["damaged","blank"\]' "/tmp/save.$saves" || fail "the dump of the damaged spare: $(cut -c 1-200 "/tmp/save.$saves")"
says 0 restore $spare "/tmp/save.$saves" --dry-run

# A cut move: the block at sector 0 has another, newer home with the same data.
as_good_as_new
slot=$(remap_create r $main $spare && runs_of r | awk '$1 == 0 { print $3 }' && dmsetup remove r)
dd if=$spare of=$spare bs=512 skip="$slot" seek=$((slots + (252 + 220) * 8)) count=8 iflag=direct oflag=direct status=none
spare-edit $spare entry 1 220 0 1 1 1 0 0
says 1 check $spare
repair 0
remapctl dump $spare >/tmp/out
grep -q "^ *0 *8 *$((slots + (252 + 220) * 8)) " /tmp/out || fail "the newer home: $(</tmp/out)"
whole 'a cut move'

# A place that stays dead is fenced, and no more once it takes data again.
as_good_as_new
broke dead 'meta 1 0'
repair 1
grep -q 'fenced' /tmp/out || fail "no fence: $(</tmp/out)"
whole 'a dead place'
with_errors "$disk" | swap_table spare
repair 0
whole 'a place that came back'

# --- what repair can't know, it does not touch ------------------------------------------------------------------------

as_good_as_new
for gone in 'meta 0' 'super 0'; do
	as_good_as_new
	both noise flip "$gone"
	sum=$(checksums "$disk")
	says 2 check $spare
	repair 65
	grep -q restore /tmp/err || fail "repair does not say what helps: $(</tmp/err)"
	is "the spare after refusing to repair $gone" "$(checksums "$disk")" "$sum"
	says 0 restore $spare /tmp/good.dump --yes --save "/tmp/save.$((++saves))"
	says 0 check $spare
	whole "$gone restored"
done
