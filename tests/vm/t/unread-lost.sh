#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: unread sectors: EIO until main reads again, a write or write zeroes heals, a discard does not
# invariants: 1 3 4 9
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

block_reads() {
	[[ -z $(blkio /dev/mapper/r check 4800 8 1) ]] && status_is r unread_sectors 3
}

load_remap
main=$(mkloop 16)
spare=$(mkloop 8)
with_errors "$main" | dmsetup create lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 300
blkio /dev/mapper/r write 0 32768 1
bad=(803+2 1603+2 2403+2 3203+2 4003+2 4802+1 4804+1)
with_errors "$main" "${bad[@]}" | swap_table lower
for place in 800 1600 2400 3200 4000 4800; do
	blkio /dev/mapper/r check $place 8 1 >/dev/null || (($? == 1)) || fail 'wrong data'
done
expect_blocks r 800 1600 2400 3200 4000 4800
expect_status r unread_sectors=12 lost_sectors=0 salvaged_blocks=6
expect_map /dev/mapper/r 800 8 '1 800 3' 'EIO 803 2' '1 805 3'
is 'a line of the list' "$(dmsetup message r 0 list 800 1 | cut -d ' ' -f 1,2,4-)" '800 8 2 0 salvage'

# They survive the table, the module, and a second copy of the table.
dmsetup remove r
unload_remap
load_remap
# An error segment takes no discards: what is above it does only if it was not there when that was made.
with_errors "$main" | swap_table lower
remap_create r /dev/mapper/lower "$spare" retry_ms 300
with_errors "$main" "${bad[@]}" | swap_table lower
expect_status r unread_sectors=12
expect_map /dev/mapper/r 800 8 '1 800 3' 'EIO 803 2' '1 805 3'

# Writes heal what they cover, no more.
blkio /dev/mapper/r write 804 2 2
expect_map /dev/mapper/r 800 8 '1 800 3' 'EIO 803 1' '2 804 2' '1 806 2'
blkio /dev/mapper/r zero 1603 1
expect_map /dev/mapper/r 1600 8 '1 1600 3' '0 1603 1' 'EIO 1604 1' '1 1605 3'
expect_status r unread_sectors=10

# Who does not want to wait is told so, and nothing comes of it.
is 'a write with NOWAIT' "$(blkio -n /dev/mapper/r write 3203 2 2 || true)" 'EAGAIN 3203 2 write'
expect_status r unread_sectors=10

# A discard neither heals nor unmaps.
blkio /dev/mapper/r discard 2400 8
[[ $(blkio /dev/mapper/r map 2403 2) == 'EIO 2403 2' ]] || fail 'a discard healed'
expect_blocks r 800 1600 2400 3200 4000 4800
expect_status r unread_sectors=10

# A release would lose them: refused.
read -r next released refusals < <(dmsetup message r 0 release 3200 8)
is 'a release' "$next $released $refusals" '3208 0 1'
expect_blocks r 800 1600 2400 3200 4000 4800
# So would one to a main that takes writes and does not keep them.
relocate r 6400 8
blkio /dev/mapper/r write 6400 8 2
echo "0 32768 flakey $main 0 0 36000 1 drop_writes" | swap_table lower
read -r next released refusals < <(dmsetup message r 0 release 6400 8)
is 'a release to a main that forgets' "$next $released $refusals" '6408 0 1'
blkio /dev/mapper/r check 6400 8 2
with_errors "$main" "${bad[@]}" | swap_table lower
release r 6400 8
eq 'blocks released' "$released" 1
blkio /dev/mapper/r check 6400 8 2

# They read again: after retry_ms at the latest, and then without main.
with_errors "$main" 803+2 | swap_table lower
wait_until 5 blkio /dev/mapper/r check 3203 2 1
wait_until 5 blkio /dev/mapper/r check 4003 2 1
wait_until 5 blkio /dev/mapper/r check 1604 1 1
# Of two in one block, the one that came back does not make the other wait.
wait_until 5 block_reads
expect_status r unread_sectors=3
echo "0 32768 error" | swap_table lower
blkio /dev/mapper/r - <<-IO
	check 3200 8 1
	check 4000 8 1
	check 1604 4 1
IO
[[ $(blkio /dev/mapper/r map 803 1) == 'EIO 803 1' ]] || fail 'an unread sector without main is no EIO'

# Healed masks are durable with the next flush at the latest.
with_errors "$main" 803+2 | swap_table lower
wait_until 20 status_is r main_state ok
blkio /dev/mapper/r write 803 1 3
blkio /dev/mapper/r flush
dmsetup remove r
# What main holds there must not come back.
blkio "$main" write 800 8 9
with_errors "$main" | swap_table lower
remap_create r /dev/mapper/lower "$spare" retry_ms 0
expect_map /dev/mapper/r 800 8 '1 800 3' '3 803 1' '2 804 2' '1 806 2'
expect_map /dev/mapper/r 1600 8 '1 1600 3' '0 1603 1' '1 1604 4'
expect_status r lost_sectors=0

# Among others on the spare, the list tells which block it is.
with_errors "$main" 5603+1 | swap_table lower
relocate r 5584 40
is 'the list of a run' "$(dmsetup message r 0 list 5584 3 | cut -d ' ' -f 1,2,4-)" "5584 16 0 0 proactive
5600 8 1 0 proactive
5608 16 0 0 proactive"
