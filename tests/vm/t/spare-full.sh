#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the spare fills up in the middle of a message: how far that got, what goes on, and the way back
# invariants: 1 8 10
# timeout: 120

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

no_room() {
	refused dmsetup message r 0 remap "$@"
	[[ $refusal == *'No space left'* ]] || fail "remap $*: no ENOSPC: $refusal"
}

load_remap
main=$(mkloop 16)
spare=$(mkloop 2)
with_errors "$main" | dmsetup create lower
with_errors "$spare" | dmsetup create lower_spare
remap_create r /dev/mapper/lower /dev/mapper/lower_spare format retry_ms 0
blkio /dev/mapper/r write 0 32768 1

# Full, and then free again in thirty places: each fifth block of the first 150.
slots=$(status_of r free_blocks)
relocate r 16384 $((slots * 8))
expect_status r mode=no-new-maps free_blocks=0 mapped_blocks="$slots"
for ((at = 16384; at < 16384 + 150 * 8; at += 40)); do
	release r $at 1
done
expect_status r mode=rw free_blocks=30

# One batch: ten blocks that were never mapped, then one that was and four that are, again and again. The spare takes the ten
# and twenty more; the block after them is where to go on.
is 'a message' "$(dmsetup message r 0 remap 16307 2000)" '17184 30 80 0'
expect_status r mode=no-new-maps free_blocks=0 mapped_blocks="$slots"
no_room 17184 1123
no_room 17187 1
# What is mapped already is no reason to refuse, until nothing else is left.
is 'a message' "$(dmsetup message r 0 remap 16384 2000)" '17184 0 100 0'
moved=$(seq 16304 8 17176; seq 17184 8 $((16384 + slots * 8 - 8)) | awk '{ if (($1 - 16384) / 8 >= 150 || ($1 - 16384) / 8 % 5) print }')
mapfile -t moved <<<"$moved"
expect_blocks r "${moved[@]}"

# All that moved is right, whatever main holds there; what needs no spare goes on.
with_errors "$main" 16304+880 4003+1 5003+1 | swap_table lower
blkio /dev/mapper/r - <<-IO
	check 16304 880 1
	write 17000 8 2
	check 17000 8 2
	write 0 800 2
	check 0 800 2
	write 17184 8 2
	check 17184 8 2
	flush
	check 4000 3 1
	check 4004 4 1
IO
is 'a write that has nowhere to go' "$(blkio /dev/mapper/r write 5000 8 2 || true)" 'EIO 5000 8 write'
is 'a read of a bad sector' "$(blkio /dev/mapper/r check 4003 1 1 || true)" 'EIO 4003 1 check'
expect_blocks r "${moved[@]}"

# It is full when it is activated, too.
dmsetup remove r
remap_create r /dev/mapper/lower /dev/mapper/lower_spare retry_ms 0
expect_status r mode=no-new-maps free_blocks=0 mapped_blocks="$slots" lost_sectors=0
expect_blocks r "${moved[@]}"
no_room 17184 1
[[ $(blkio /dev/mapper/r write 5000 8 2 || true) == EIO* ]] || fail 'a write that has nowhere to go was acknowledged'

# A release makes room, for the message that had to stop and for a rescue.
with_errors "$main" 5003+1 | swap_table lower
release r 16304 40
is 'blocks released' "$released" 5
expect_status r mode=rw free_blocks=5
is 'a message' "$(dmsetup message r 0 remap 17184 81)" '17265 3 8 0'
blkio /dev/mapper/r write 5000 8 2
expect_status r mode=rw free_blocks=1 rescued_blocks=1
blkio /dev/mapper/r - <<-IO
	check 0 800 2
	check 800 4200 1
	check 5000 8 2
	check 5008 11992 1
	check 17000 8 2
	check 17008 176 1
	check 17184 8 2
	check 17192 15576 1
IO

# A message that would fill the spare finds it away: the last slot is free again, and the mode says so.
echo "0 $(sectors_of "$spare") error" | swap_table lower_spare
refused dmsetup message r 0 remap 24000 16
expect_status r mode=rw free_blocks=1
with_errors "$spare" | swap_table lower_spare
with_errors "$main" 5003+1 24003+1 | swap_table lower
blkio /dev/mapper/r write 24000 8 2
blkio /dev/mapper/r check 24000 8 2
expect_status r mode=no-new-maps free_blocks=0 rescued_blocks=2
