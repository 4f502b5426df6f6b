#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: all of main fails for some seconds under load: nothing is lost, the storm budget bounds what moves
# invariants: 1 4 7
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 32)
spare=$(mkloop 16)
budget=40

# One outage: from_table and to_table say how main goes away and how it returns.
outage() {
	local name=$1 seed=$2 load
	note "outage by $name, seed $seed"
	outage_up | dmsetup create lower
	remap_create r /dev/mapper/lower "$spare" format retry_ms 0 storm_budget "$budget"
	rm -f /tmp/model
	hammer -s "$seed" -n 200 -M /tmp/model /dev/mapper/r
	expect_status r main_state=ok mapped_blocks=0 storm_left="$budget"

	hammer -s "$seed" -r -w -t 8 -M /tmp/model /dev/mapper/r &
	load=$!
	outage_down | swap_table lower
	wait_until 20 status_is r main_state away
	wait_until 20 status_is r storm_left 0
	# Reads and writes go on failing for a while after the budget is spent.
	dmsetup wait r "$(dmsetup info -c --noheadings -o events r)" >/dev/null &
	local waiter=$! errors
	errors=$(status_of r main_write_errors)
	wait_until 20 more_errors_than "$((errors + 20))"
	outage_up | swap_table lower
	wait_until 20 status_is r main_state ok
	wait "$load"
	# The way back raised an event.
	wait "$waiter"

	# What came after it was not an outage, so all that moved was moved in it.
	(($(status_of r rescued_blocks) + $(status_of r salvaged_blocks) <= budget)) ||
		fail "more than $budget blocks moved: $(dmsetup status r)"
	is 'blocks that are mapped' "$(blocks_of r | wc -l)" "$(status_of r mapped_blocks)"
	wait_until 20 status_is r storm_left "$budget"
	hammer -s "$seed" -c -m 8 -M /tmp/model /dev/mapper/r
	expect_status r unread_sectors=0 lost_sectors=0 mode=rw
	dmsetup remove r
	dmsetup remove lower
	dd if=/dev/zero of="$spare" bs=1M count=1 oflag=direct status=none
}

more_errors_than() {
	(($(status_of r main_write_errors) > $1))
}

outage_up() { with_errors "$main"; }
outage_down() { echo "0 $(sectors_of "$main") error"; }
outage 'error table' 51

outage_up() { flaky "$main" up; }
outage_down() { flaky "$main" down; }
outage 'dm-flakey' 52

# What fails while the worker waits for a suspended spare is one batch for it.
note 'one batch'
with_errors "$main" | dmsetup create lower
with_errors "$spare" | dmsetup create lower_spare
remap_create r /dev/mapper/lower /dev/mapper/lower_spare format retry_ms 0 storm_budget 4
blkio /dev/mapper/r write 0 16384 1
with_errors "$main" 4003+1 | swap_table lower
relocate r 4000 8
expect_status r mapped_blocks=1 unread_sectors=1
place=$(dmsetup message r 0 list 4000 1 | cut -d ' ' -f 3)

# first_of_batch SECTOR GENERATION : all of main is away, and the worker waits in the rescue of this block.
first_of_batch() {
	dmsetup suspend --noflush --nolockfs lower_spare
	echo "0 $(sectors_of "$main") error" | swap_table lower
	writers=()
	queue_write "$1" 8 "$2"
	wait_until 20 status_is r storm_left 3
}

# queue_write SECTOR COUNT GENERATION : in the background, until the target holds it; its errors are in /tmp/said.SECTOR.
queue_write() {
	blkio /dev/mapper/r write "$@" >"/tmp/said.$1" &
	writers+=($!)
	wait_until 20 status_is r held_ios ${#writers[@]}
}

finish_batch() {
	local writer
	dmsetup resume lower_spare
	for writer in "${writers[@]}"; do
		wait "$writer" || :
	done
}

# Three blocks may still move: each write gets what it needs or nothing, and one of what is on the spare needs nothing.
trace=/sys/kernel/tracing
echo 1 >$trace/events/dm_remap/dm_remap_own_io/enable
first_of_batch 800 2
queue_write 1600 32 2
for at in 2400 2480 2560 2640; do
	queue_write $at 8 2
done
queue_write 4003 1 2
with_errors "$spare" $((place + 3))+1 | dmsetup load lower_spare
finish_batch
is 'what became of the writes' "$(cat /tmp/said.{800,1600,2400,2480,2560,2640,4003})" \
	$'EIO 1600 32 write\nEIO 2640 8 write'
# What needs more than is left is not even tried on a main that is away.
echo 0 >$trace/events/dm_remap/dm_remap_own_io/enable
grep -q 'dm_remap_own_io: ' $trace/trace || fail "the target's own I/O is not in the trace"
if grep 'dm_remap_own_io: .* 16[0-3][0-9] + [0-9]* op 1$' $trace/trace; then
	fail 'a dead main was asked for what could not be moved'
fi
expect_blocks r 800 2400 2480 2560 4000
expect_status r rescued_blocks=5 storm_left=0 main_state=away retired_blocks=1 unread_sectors=0 lost_sectors=0
with_errors "$main" | swap_table lower
wait_until 20 status_is r main_state ok
for at in 800 2400 2480 2560; do
	blkio /dev/mapper/r check $at 8 2
done
expect_map /dev/mapper/r 4000 8 '1 4000 3' '2 4003 1' '1 4004 4'

# Main is back before the batch is looked at: all of it is tried once more, and main takes it.
first_of_batch 3200 3
queue_write 5600 16 3
queue_write 6400 8 3
queue_write 7200 8 3
with_errors "$main" | swap_table lower
finish_batch
expect_blocks r 800 2400 2480 2560 3200 4000
blkio /dev/mapper/r - <<-IO
	check 3200 8 3
	check 5600 16 3
	check 6400 8 3
	check 7200 8 3
IO

# A write of more than a batch of which nothing can be had for the first MiB gets nothing for the rest.
wait_until 20 status_is r main_state ok
dmsetup message r 0 set storm_budget 40 >/dev/null
echo "0 $(sectors_of "$main") error" | swap_table lower
is 'a large write' "$(blkio /dev/mapper/r write 12548 2048 4 || :)" 'EIO 12548 2048 write'
expect_blocks r 800 2400 2480 2560 3200 4000
expect_status r storm_left=40
with_errors "$main" | swap_table lower
