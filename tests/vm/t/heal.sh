#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: no FUA write overtakes the record of a heal, no lost cache undoes it; one healed sector delays no other
# invariants: 1 2 4 9
# timeout: 120
# expect-log: nbd0|I/O error

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

writes_of() {
	awk '{ print $5 }' "/sys/block/$(dmsetup info -c --noheadings -o blkdevname "$1")/stat"
}

more_writes_than() {
	(($(writes_of top) > $1))
}

# fua_without_flush SECTOR COUNT GENERATION : returns when the FUA write is acknowledged. The flush that block devices add
# to it is held up until "top" is suspended.
fua_without_flush() {
	local before
	before=$(writes_of top)
	blkio /dev/mapper/top fua "$@" &
	writer=$!
	wait_until 20 more_writes_than "$before"
	kill -0 "$writer" || fail 'the flush went through as well'
}

let_flush_through() {
	dmsetup suspend --nolockfs top
	dmsetup resume top
	wait "$writer"
}

# as_after_a_crash COMMAND... : with what both disks hold now, as r.
as_after_a_crash() {
	local copy
	for copy in main spare; do
		dd if="${!copy}" of="${copy}_copy" bs=1M iflag=direct status=none
	done
	(
		main_copy=$(losetup --find --show main_copy)
		spare_copy=$(losetup --find --show spare_copy)
		remap_create crashed "$main_copy" "$spare_copy" retry_ms 0
		"$@"
		dmsetup remove crashed
		losetup --detach "$main_copy" "$spare_copy"
	)
	rm main_copy spare_copy
}

need dm-delay nbd
load_remap
main=$(mkloop 4)
spare=$(mkloop 2)
with_errors "$main" | dmsetup create lower
with_errors "$spare" | dmsetup create lower_spare
remap_create r /dev/mapper/lower /dev/mapper/lower_spare format
echo "0 8192 delay /dev/mapper/r 0 0 /dev/mapper/r 0 0 /dev/mapper/r 0 600000" | dmsetup create top
blkio /dev/mapper/r write 0 8192 1

# Blocks with unread sectors; and one with a lost sector, since its slot got bad.
bad=(803+1 1603+1 2402+1 2404+1 3202+1 3204+1 4002+1 4004+1)
with_errors "$main" "${bad[@]}" | swap_table lower
# What is waited for below comes last.
for place in 800 1600 3200 4000 2400; do
	blkio /dev/mapper/r check $place 8 1 >/dev/null || (($? == 1)) || fail 'wrong data'
done
relocate r 4800 8
slot=$(dmsetup message r 0 list 4800 1 | cut -d ' ' -f 3)
with_errors "$spare" "$((slot + 3))+1" "$((slot + 6))+1" | swap_table lower_spare
blkio /dev/mapper/r write 4806 1 2
with_errors "$spare" | swap_table lower_spare
expect_status r unread_sectors=8 lost_sectors=1
blkio /dev/mapper/r flush

# Healed by a plain write, which leaves the record of it to a later flush; then a FUA write, with no flush yet.
blkio /dev/mapper/r write 803 1 2
expect_status r unread_sectors=7
fua_without_flush 803 1 3
healed() {
	expect_map /dev/mapper/crashed 800 8 '1 800 3' '3 803 1' '1 804 4'
}
as_after_a_crash healed
let_flush_through
blkio /dev/mapper/r write 4803 1 2
fua_without_flush 4803 1 3
healed_lost() {
	expect_map /dev/mapper/crashed 4800 8 '1 4800 3' '3 4803 1' '1 4804 2' '2 4806 1' '1 4807 1'
	expect_status crashed lost_sectors=0
}
as_after_a_crash healed_lost
let_flush_through
# The FUA write itself heals.
fua_without_flush 1603 1 3
healed_by_fua() {
	expect_map /dev/mapper/crashed 1600 8 '1 1600 3' '3 1603 1' '1 1604 4'
}
as_after_a_crash healed_by_fua
let_flush_through

# Main answers again. With the first of two unread sectors of a block the second one is there too.
with_errors "$main" | swap_table lower
both_read() {
	local said
	said=$(blkio /dev/mapper/r - <<<$'check 2402 1 1\ncheck 2404 1 1') && return
	[[ $said == 'EIO 2402'* ]] || fail "one sector is back, and the other one is not: $said"
	return 1
}
wait_until 20 both_read
expect_status r unread_sectors=4
# In one I/O.
blkio /dev/mapper/r check 3200 8 1
expect_status r unread_sectors=2
# A write that heals one does not put off the other.
blkio /dev/mapper/r - <<-IO
	write 4002 1 4
	check 4004 1 1
IO
expect_status r unread_sectors=0 lost_sectors=0
expect_map /dev/mapper/r 4000 8 '1 4000 2' '4 4002 1' '1 4003 5'
dmsetup remove top

# No flush came after that: it is recorded when the target goes.
dmsetup remove r
remap_create r /dev/mapper/lower /dev/mapper/lower_spare
expect_map /dev/mapper/r 4000 8 '1 4000 2' '4 4002 1' '1 4003 5'

# A block waits to be salvaged, behind the record of a heal that the spare does not take yet, when main takes a write of the
# sector that could not be read: what was acknowledged is read at once.
dmsetup message r 0 set retry_ms 600000 >/dev/null
with_errors "$main" 7203+1 | swap_table lower
blkio /dev/mapper/r check 7200 8 1 >/dev/null || (($? == 1)) || fail 'wrong data'
blkio /dev/mapper/r write 7203 1 2
with_errors "$main" 7603+1 | swap_table lower
trace=/sys/kernel/tracing
echo >$trace/trace
echo 1 >$trace/events/dm_remap/dm_remap_own_io/enable
dmsetup suspend --noflush --nolockfs lower_spare
blkio /dev/mapper/r check 7600 8 1 >/tmp/said &
reader=$!
wait_until 20 grep -q 'dm_remap_own_io: .* + 0 op 1$' $trace/trace
with_errors "$main" | swap_table lower
blkio /dev/mapper/r write 7603 1 2
dmsetup resume lower_spare
wait "$reader" || :
is 'what the reader was told' "$(</tmp/said)" 'EIO 7600 8 check'
expect_status r unread_sectors=1
expect_map /dev/mapper/r 7600 8 '1 7600 3' '2 7603 1' '1 7604 4'
dmsetup remove r

# A spare that loses what it has cached, and says so in one flush: what was brought along or healed is not replaced by what
# the slot held before, which is zeros. Of seven sectors the power cut takes some.
power() {
	local line
	echo "$1" >&"${COPROC[1]}"
	read -r line <&"${COPROC[0]}"
	note "$line"
}

rmmod nbd 2>/dev/null || true
modprobe nbd nbds_max=1 max_part=0
coproc powercut -s 1 /dev/nbd0 4
supply=$COPROC_PID
at_exit 'dmsetup remove r lower_spare 2>/dev/null; exec {COPROC[1]}>&-; wait "$supply"; rmmod nbd'
read -r line <&"${COPROC[0]}"
with_errors /dev/nbd0 | swap_table lower_spare
remap_create r /dev/mapper/lower /dev/mapper/lower_spare format retry_ms 0
with_errors "$main" 5601+7 6401+7 | swap_table lower
for place in 5600 6400; do
	blkio /dev/mapper/r check $place 8 1 >/dev/null || (($? == 1)) || fail 'wrong data'
done
expect_status r unread_sectors=14
blkio /dev/mapper/r flush
with_errors "$main" | swap_table lower
blkio /dev/mapper/r - <<-IO
	check 5601 7 1
	write 6401 7 2
IO
expect_status r unread_sectors=0
flaky /dev/nbd0 down | swap_table lower_spare
if blkio /dev/mapper/r flush >/dev/null; then
	fail 'a flush that the spare refused succeeded'
fi
echo "0 $(sectors_of /dev/nbd0) error" | swap_table lower_spare
power cut
power on
with_errors /dev/nbd0 | swap_table lower_spare
blkio /dev/mapper/r flush
expect_map /dev/mapper/r 5600 8 '1 5600 8'
expect_map /dev/mapper/r 6400 8 '1 6400 1' '2 6401 7'
