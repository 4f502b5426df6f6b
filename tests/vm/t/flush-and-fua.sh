#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a flush and FUA reach both devices when both were written, and the spare only then: counted at the devices
# kernels: 6.1 6.12 7.2
# invariants: 2 8 9
# disks: 16M:serial=main 16M:serial=spare
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

# flushes_of DEVICE : flush requests that the disk has completed.
flushes_of() {
	awk '{ print $16 }' "/sys/block/$(basename "$(readlink -f "$1")")/stat"
}

# expect_flushes MAIN SPARE COMMAND... : the command flushes main and the spare, each if the word is "some", not if "none".
expect_flushes() {
	local wanted="$1 $2" main spare got_main=none got_spare=none
	main=$(flushes_of /dev/main) spare=$(flushes_of /dev/spare)
	shift 2
	"$@"
	(($(flushes_of /dev/main) == main)) || got_main=some
	(($(flushes_of /dev/spare) == spare)) || got_spare=some
	is "flushes of main and spare after $*" "$got_main $got_spare" "$wanted"
}

load_remap
is 'write caches' "$(cat "/sys/block/$(readlink /dev/main)/queue/write_cache" "/sys/block/$(readlink /dev/spare)/queue/write_cache" | xargs)" \
	'write back write back'
# Over tables that can be made to fail.
echo "0 $(sectors_of /dev/main) linear /dev/main 0" | dmsetup create lower_main
echo "0 $(sectors_of /dev/spare) linear /dev/spare 0" | dmsetup create lower_spare
remap_create r /dev/mapper/lower_main /dev/mapper/lower_spare format
blkio /dev/mapper/r write 0 4096 1
blkio /dev/mapper/r flush
relocate r 800 80

# Only main was written since the last flush.
blkio /dev/mapper/r flush
blkio /dev/mapper/r write 0 8 2
expect_flushes some none blkio /dev/mapper/r flush
# Both were.
blkio /dev/mapper/r write 0 8 3
blkio /dev/mapper/r write 800 8 3
expect_flushes some some blkio /dev/mapper/r flush
# One I/O over both.
blkio /dev/mapper/r write 796 8 4
expect_flushes some some blkio /dev/mapper/r flush
expect_flushes some none blkio /dev/mapper/r flush
# FUA of the data: to the device that it goes to (these disks make a flush of it).
expect_flushes some some blkio /dev/mapper/r fua 796 8 5
# A rescue and a message flush the spare by themselves.
expect_flushes none some relocate r 1600 8

# A dead spare fails no flush of what is not on it, and each flush of what is.
blkio /dev/mapper/r flush
flaky /dev/spare down | swap_table lower_spare
blkio /dev/mapper/r write 0 8 6
blkio /dev/mapper/r flush
blkio /dev/mapper/r fua 8 8 6
blkio /dev/mapper/r check 0 16 6
if blkio /dev/mapper/r write 800 8 6 >/dev/null; then
	fail 'a write to a dead spare succeeded'
fi
echo "0 $(sectors_of /dev/spare) linear /dev/spare 0" | swap_table lower_spare
blkio /dev/mapper/r write 800 8 7
# Its cache may be lost with it: then the flush must say so.
flaky /dev/spare down | swap_table lower_spare
if blkio /dev/mapper/r flush >/dev/null; then
	fail 'a flush of a dead spare that was written succeeded'
fi
echo "0 $(sectors_of /dev/spare) linear /dev/spare 0" | swap_table lower_spare
blkio /dev/mapper/r flush
blkio /dev/mapper/r check 800 8 7

# A flush that failed may have gone unseen, with the write that it came with: the next FUA write, of whichever device, is
# not acknowledged, for it may rely on what was lost.
for device in main spare; do
	for place in 8 808; do
		blkio /dev/mapper/r - <<-IO
			write 0 8 8
			write 800 8 8
		IO
		flaky /dev/$device down | swap_table lower_$device
		if blkio /dev/mapper/r flush >/dev/null; then
			fail "a flush that $device refused succeeded"
		fi
		echo "0 $(sectors_of /dev/$device) linear /dev/$device 0" | swap_table lower_$device
		is "a FUA write after a flush that $device refused" "$(blkio /dev/mapper/r fua $place 8 9 || true)" "EIO $place 8 fua"
		blkio /dev/mapper/r - <<-IO
			flush
			fua $place 8 9
			check 800 8 8
		IO
	done
done
expect_status r lost_sectors=0

# Whoever only writes with FUA is told of a failed flush once, not for ever after.
blkio /dev/mapper/r write 800 8 8
flaky /dev/spare down | swap_table lower_spare
if blkio /dev/mapper/r flush >/dev/null; then
	fail 'a flush of a dead spare that was written succeeded'
fi
is 'FUA while the spare is dead' "$(blkio /dev/mapper/r fua 0 8 9 || true)" 'EIO 0 8 fua'
is 'FUA while the spare is dead' "$(blkio /dev/mapper/r fua 0 8 9 || true)" 'EIO 0 8 fua'
echo "0 $(sectors_of /dev/spare) linear /dev/spare 0" | swap_table lower_spare
is 'the first FUA after it' "$(blkio /dev/mapper/r fua 0 8 9 || true)" 'EIO 0 8 fua'
wait_until 10 blkio /dev/mapper/r fua 0 8 9
blkio /dev/mapper/r check 0 8 9

# A flush that the target sends by itself may lose as much when it fails: the next one from above says so, once.
told_once() {
	if blkio /dev/mapper/r flush >/dev/null; then
		fail "a flush succeeded after $1"
	fi
	blkio /dev/mapper/r - <<-IO
		flush
		fua 0 8 9
		fua 800 8 8
	IO
}
blkio /dev/mapper/r flush
blkio /dev/mapper/r write 808 8 9
echo "0 $(sectors_of /dev/spare) flakey /dev/spare 0 0 36000 1 error_writes" | swap_table lower_spare
if (release r 864 8) 2>/dev/null; then
	fail 'a block was released though the spare takes no writes'
fi
echo "0 $(sectors_of /dev/spare) linear /dev/spare 0" | swap_table lower_spare
told_once 'one of the spare that a release needed had failed'

blkio /dev/mapper/r write 800 8 8
flaky /dev/main down | swap_table lower_main
if blkio /dev/mapper/r flush >/dev/null; then
	fail 'a flush that main refused succeeded'
fi
echo "0 $(sectors_of /dev/main) linear /dev/main 0" | swap_table lower_main
blkio /dev/mapper/r write 0 8 8
flaky /dev/main down | swap_table lower_main
is 'FUA while main is dead' "$(blkio /dev/mapper/r fua 808 8 9 || true)" 'EIO 808 8 fua'
# The worker flushes before it looks after this.
is 'a read while main is dead' "$(blkio /dev/mapper/r check 3000 8 1 || true)" 'EIO 3000 8 check'
echo "0 $(sectors_of /dev/main) linear /dev/main 0" | swap_table lower_main
wait_until 20 status_is r main_state ok
told_once 'one of main that a refused FUA write was the reason for had failed'

# A move that the spare does not take into its map fails no flush of what is on main, though the map has yet to be written.
mapfile -t metas < <(spare-edit /dev/spare where | awk '$1 == "meta" { print $4 "+8" }')
with_errors /dev/spare "${metas[@]}" | swap_table lower_spare
if (relocate r 2400 8) 2>/dev/null; then
	fail 'a block was moved though the map can not be written'
fi
expect_status r mode=no-new-maps
blkio /dev/mapper/r - <<-IO
	write 0 8 9
	flush
	fua 16 8 9
	flush
IO
echo "0 $(sectors_of /dev/spare) linear /dev/spare 0" | swap_table lower_spare
blkio /dev/mapper/r flush

# One that fails while a flush waits for the map to be written: that flush was asked for before, so it is the one to say it,
# although the map is written in the end.
with_errors /dev/spare "${metas[@]}" | swap_table lower_spare
if (relocate r 2400 8) 2>/dev/null; then
	fail 'a block was moved though the map can not be written'
fi
echo "0 $(sectors_of /dev/spare) linear /dev/spare 0" | swap_table lower_spare
blkio /dev/mapper/r write 808 8 9
# The worker commits before it looks after this write, and then waits for main.
with_errors /dev/main 3200+8 | swap_table lower_main
dmsetup suspend --noflush --nolockfs lower_spare
blkio /dev/mapper/r write 3200 8 9 &
writer=$!
wait_until 20 status_is r held_ios 1
blkio /dev/mapper/r flush >/tmp/flush &
flusher=$!
wait_until 20 status_is r held_ios 2
dmsetup suspend --noflush --nolockfs lower_main
errors=$(status_of r spare_write_errors)
flaky /dev/spare down | dmsetup load lower_spare
dmsetup resume lower_spare
wait_until 20 status_is r spare_write_errors $((errors + 1))
for device in spare main; do
	echo "0 $(sectors_of /dev/$device) linear /dev/$device 0" | dmsetup load lower_$device
	[[ $device == main ]] || dmsetup suspend --noflush --nolockfs lower_$device
	dmsetup resume lower_$device
done
wait "$writer" || fail 'main takes the write again, and it failed'
if wait "$flusher"; then
	fail 'a flush succeeded although one of the spare had failed while it waited'
fi
told=$(blkio /dev/mapper/r flush) || fail "told a second time: $told"
blkio /dev/mapper/r fua 808 8 9
