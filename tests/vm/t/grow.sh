#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remapctl grow: a main that has grown, live under load, and a spare that has grown, with all its mappings
# disks: 32M:serial=main 16M:serial=spare
# invariants: 1 10
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

# says STATUS COMMAND... : remapctl's status; what it printed is in /tmp/out and /tmp/err.
says() {
	local wanted=$1 status=0
	shift
	remapctl "$@" </dev/null >/tmp/out 2>/tmp/err || status=$?
	((status == wanted)) || fail "status $status of remapctl $*, not $wanted: $(cat /tmp/out /tmp/err)"
}

load_remap
blkio /dev/main write 0 65536 1
echo "0 30000 linear /dev/main 0" | new_device main
echo "0 6144 linear /dev/spare 0" | new_device spare
main=/dev/mapper/main spare=/dev/mapper/spare
says 0 create r $main $spare --main-id m --no-stamp --salvage-ms 7777
relocate r 0 1600

# --- main, live ----------------------------------------------------------------------------------------------------------

says 0 grow r
is 'nothing to gain' "$(</tmp/out)" 'r: 30000 sectors, nothing to gain'
echo "0 65536 linear /dev/main 0" | swap_table main
says 0 grow r --dry-run
eq 'the size after a dry run' "$(sectors_of /dev/mapper/r)" 30000
hammer -s 110 -t 600 -M /tmp/model /dev/mapper/r 20000 >/dev/null &
load=$!
says 0 grow r
is 'what grow says' "$(</tmp/out)" 'r: 65536 sectors, 35536 more than before'
hammer_stop "$load"
eq 'the size' "$(sectors_of /dev/mapper/r)" 65536
dmsetup table r | grep -q 'salvage_ms 7777' || fail "options: $(dmsetup table r)"
hammer -c -M /tmp/model /dev/mapper/r 20000
blkio /dev/mapper/r check 30000 35536 1
echo "0 40000 linear /dev/main 0" | swap_table main
says 65 grow r
grep -q 'r shows 65536 sectors, and its main device has only 40000' /tmp/err || fail "$(</tmp/err)"
echo "0 65536 linear /dev/main 0" | swap_table main

# --- the spare, offline ---------------------------------------------------------------------------------------------------

free=$(status_of r free_blocks)
says 69 grow $spare
grep -q 'in use' /tmp/err || fail "$(</tmp/err)"
says 0 remove r
echo "0 32768 linear /dev/spare 0" | swap_table spare
sum=$(checksums $spare)
says 0 grow $spare --dry-run
is 'the spare after a dry run' "$(checksums $spare)" "$sum"
says 0 --json grow $spare
eq 'slots before' "$(jq .before /tmp/out)" $((free + 200))
slots=$(jq .now /tmp/out)
says 0 check $spare
says 0 create r $main $spare --main-id m --no-stamp
expect_status r mode=rw mapped_blocks=200 "free_blocks=$((slots - 200))"
# More than the old spare had room for.
relocate r 8000 24000
expect_status r mapped_blocks=3200 "free_blocks=$((slots - 3200))"
hammer -c -M /tmp/model /dev/mapper/r 20000
blkio /dev/mapper/r - <<-IO
	check 30000 35536 1
	write 30000 2000 3
IO
says 0 remove r
says 0 check $spare
says 0 create r $main $spare --main-id m --no-stamp
expect_status r mapped_blocks=3200
hammer -c -M /tmp/model /dev/mapper/r 20000
blkio /dev/mapper/r - <<-IO
	check 30000 2000 3
	check 32000 33536 1
IO
says 0 grow r
