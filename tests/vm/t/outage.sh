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
