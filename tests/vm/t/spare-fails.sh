#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a spare that is away, sick in places or full loses nothing that it holds, and the mode finds its way back
# invariants: 1 3 6 8 12
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

# Errors of the spare at these ranges (sectors of the spare), and no others.
spare_errors() { with_errors "$spare" "$@" | swap_table lower_spare; }

load_remap
main=$(mkloop 16)
spare=$(mkloop 2)
with_errors "$main" | dmsetup create lower
with_errors "$spare" | dmsetup create lower_spare
remap_create r /dev/mapper/lower /dev/mapper/lower_spare format retry_ms 0
blkio /dev/mapper/r write 0 32768 1
relocate r 800 16
blkio /dev/mapper/r write 800 16 2
place=$(dmsetup message r 0 list 800 1 | cut -d ' ' -f 3)
mapfile -t supers < <(spare-edit "$spare" where | awk '$1 == "super" { print $3 "+8" }')
mapfile -t metadata < <(spare-edit "$spare" where | awk '{ print $(NF == 4 ? 3 : 4) "+8" }')
eq 'places of metadata' ${#metadata[@]} 4

# A slot that fails the first write to it: the next one takes the block.
spare_errors "$((place + 16))+1"
relocate r 2400 8
spare_errors
expect_status r mode=rw mapped_blocks=3 retired_blocks=1
eq 'the slot' "$(dmsetup message r 0 list 2400 1 | cut -d ' ' -f 3)" $((place + 24))
blkio /dev/mapper/r check 2400 8 1
retired=1

# Away as a whole while one of its blocks is written: the write fails, nothing is lost, nothing is retired.
echo "0 $(sectors_of "$spare") error" | swap_table lower_spare
if blkio /dev/mapper/r write 801 2 3 >/dev/null; then
	fail 'a write to a spare that is away was acknowledged'
fi
if blkio /dev/mapper/r check 808 8 2 >/dev/null; then
	fail 'a spare that is away was read'
fi
# What needs no spare goes on.
blkio /dev/mapper/r write 8000 64 3
blkio /dev/mapper/r check 8000 64 3
spare_errors
blkio /dev/mapper/r check 808 8 2
blkio /dev/mapper/r check 803 5 2
blkio /dev/mapper/r write 801 2 4
expect_status r mode=rw lost_sectors=0 retired_blocks=$retired main_read_errors=0 main_write_errors=0 main_state=ok
expect_map /dev/mapper/r 800 16 '2 800 1' '4 801 2' '2 803 13'
# Away in parts, so that a move could be recorded: what can't be read is not lost while nothing else answers either.
spare_errors "$place+8" "${supers[@]}"
if blkio /dev/mapper/r write 801 2 3 >/dev/null; then
	fail 'a write was acknowledged that leaves the rest of its block lost'
fi
spare_errors
expect_status r mode=rw lost_sectors=0 retired_blocks=$retired
blkio /dev/mapper/r write 801 2 4
expect_map /dev/mapper/r 800 16 '2 800 1' '4 801 2' '2 803 13'
# Away when a block of main should move there.
echo "0 $(sectors_of "$spare") error" | swap_table lower_spare
with_errors "$main" 9003+1 | swap_table lower
if blkio /dev/mapper/r write 9000 8 3 >/dev/null; then
	fail 'a write that nothing took was acknowledged'
fi
with_errors "$main" | swap_table lower
spare_errors
blkio /dev/mapper/r write 9000 8 3
expect_status r mapped_blocks=3 lost_sectors=0 retired_blocks=$retired

# A slot that fails writes and still reads: another one takes its block.
spare_errors "$((place + 8))+1"
blkio /dev/mapper/r write 808 1 5
blkio /dev/mapper/r check 808 1 5
(($(status_of r retired_blocks) > retired)) || fail 'a slot that fails was not retired'
# Its first sector was overwritten; the other seven came along.
blkio /dev/mapper/r check 809 7 2
expect_status r lost_sectors=0
# A sector of a slot that fails reads is gone: EIO at once, until it is written. Its neighbours stay.
spare_errors "$((place + 8))+1" "$((place + 1))+1"
[[ $(blkio /dev/mapper/r map 800 8 | cut -d ' ' -f 1,2 | sed -n 2p) == 'EIO 801' ]] || fail 'a lost sector is no EIO'
blkio /dev/mapper/r write 801 1 6
blkio /dev/mapper/r check 801 1 6
expect_map /dev/mapper/r 800 8 '2 800 1' '6 801 1' '4 802 1' '2 803 5'
expect_status r lost_sectors=0 mode=rw
# All of that survives.
listed=$(runs_of r)
slots="$(status_of r retired_blocks) retired, $(status_of r free_blocks) free"
dmsetup remove r
remap_create r /dev/mapper/lower /dev/mapper/lower_spare retry_ms 0
is 'the list' "$(runs_of r)" "$listed"
is 'slots' "$(status_of r retired_blocks) retired, $(status_of r free_blocks) free" "$slots"
expect_map /dev/mapper/r 800 16 '2 800 1' '6 801 1' '4 802 1' '2 803 5' '5 808 1' '2 809 7'

# It fills up in the middle of a message: the answer says how far that got, the next one ENOSPC.
free=$(status_of r free_blocks)
relocate r 16384 $(((free - 20) * 8))
read -r next moved _ < <(dmsetup message r 0 remap 0 400)
eq 'blocks moved' "$moved" 20
eq 'next sector' "$next" 160
refused dmsetup message r 0 remap 160 240
[[ $refusal == *'No space left'* ]] || fail "no ENOSPC: $refusal"
expect_status r mode=no-new-maps free_blocks=0
# A write that fails has nowhere to go; one to what is mapped has.
with_errors "$main" 4003+1 | swap_table lower
if blkio /dev/mapper/r write 4000 8 7 >/dev/null; then
	fail 'a write that nothing took was acknowledged'
fi
blkio /dev/mapper/r write 16384 8 7
# Room again, and back to rw.
release r 16400 160
eq 'blocks released' "$released" 20
expect_status r mode=rw
blkio /dev/mapper/r write 4000 8 8
blkio /dev/mapper/r check 4000 8 8
blkio /dev/mapper/r check 16384 8 7
expect_status r lost_sectors=0

# Its metadata can't be written for a while: no new mappings, and the way back.
with_errors "$main" 5003+1 | swap_table lower
spare_errors "${metadata[@]}"
if blkio /dev/mapper/r write 5000 8 9 >/dev/null; then
	fail 'a rescue that could not be recorded was acknowledged'
fi
expect_status r mode=no-new-maps
# The spare may hold an entry for it by now: main, though it takes writes again, gets none until that is settled.
with_errors "$main" | swap_table lower
if blkio /dev/mapper/r write 5000 8 9 >/dev/null; then
	fail 'a write was acknowledged that an entry on the spare may hide'
fi
with_errors "$main" 5003+1 | swap_table lower
spare_errors
blkio /dev/mapper/r write 16384 8 9
blkio /dev/mapper/r flush
wait_until 20 blkio /dev/mapper/r write 5000 8 9
blkio /dev/mapper/r write 5000 8 9
expect_map /dev/mapper/r 5000 8 '9 5000 8'
expect_status r mode=rw lost_sectors=0

# A release that can't be recorded has not happened.
blkio /dev/mapper/r write 16384 8 10
listed=$(runs_of r)
spare_errors "${metadata[@]}"
refused dmsetup message r 0 release 16384 8
is 'the list' "$(runs_of r)" "$listed"
blkio /dev/mapper/r check 16384 8 10
if blkio /dev/mapper/r write 16384 8 11 >/dev/null; then
	fail 'a write was acknowledged while the spare may hold that its block is released'
fi
spare_errors
blkio /dev/mapper/r flush
blkio /dev/mapper/r write 16384 8 11
blkio "$main" write 16384 8 12
blkio /dev/mapper/r check 16384 8 11
expect_status r mode=rw lost_sectors=0

# What could not be written while it was away has been made up for: nothing on it looks like another day's.
dmsetup remove r
remapctl check "$spare" >/tmp/check || fail "remapctl check: $(</tmp/check)"
