#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: blocks of 128 KiB, the most that sectors of 4 KiB allow: rescue, salvage, remap, release, persistence
# invariants: 1 2 3 4 5
# disks: 32M:lbs=4096:serial=main4k
# timeout: 120
# expect-log: scsi_debug|Medium Error|medium error|Unrecovered read error

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

# Sectors of a block and of one unit of its masks. Eight blocks are a batch.
block=256 unit=8

# unit_of BLOCK UNIT : as a range.
unit_of() {
	echo "$(($1 * block + $2 * unit))+$unit"
}

# bad_units FIRST COUNT : one of each block, at every place in a block in turn, the last and the first too.
bad_units() {
	local i
	for ((i = 0; i < $2; i++)); do
		unit_of $(($1 + i)) $(((i + 1) * 31 % 32))
	done
}

break_main() { with_errors "$main" "${bad[@]}" | swap_table lower; }

# reading_fails SECTOR COUNT : in I/Os of 1 MiB, and each of them.
reading_fails() {
	blkio /dev/mapper/r check "$1" "$2" 1 >/tmp/read || (($? == 1)) || fail 'wrong data'
	eq "reads that failed from $1 on" "$(wc -l </tmp/read)" $((($2 + 2047) / 2048))
}

# all_but_bad FIRST COUNT : all of these blocks but the bad unit of each reads.
all_but_bad() {
	local i at
	for ((i = 0; i < $2; i++)); do
		at=$(((i + 1) * 31 % 32 * unit))
		((at == 0)) || echo "check $((($1 + i) * block)) $at 1"
		((at == block - unit)) || echo "check $((($1 + i) * block + at + unit)) $((block - unit - at)) 1"
	done | blkio /dev/mapper/r -
}

# expect_mapped FIRST+COUNT... : these blocks and no others.
expect_mapped() {
	local run starts=()
	for run in "$@"; do
		mapfile -t -O ${#starts[@]} starts < <(seq $((${run%+*} * block)) $block $(((${run%+*} + ${run#*+} - 1) * block)))
	done
	expect_blocks r "${starts[@]}"
}

load_remap

note 'a spare with physical blocks of 128 KiB; main reads each sector by itself'
scsi_disk spare 48 sector_size=4096 physblk_exp=5 delay=0
main=/dev/main4k
with_errors $main | dmsetup create lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0
expect_status r block_sectors=$block
is 'logical block size' "$(blockdev --getss /dev/mapper/r)" 4096
blkio /dev/mapper/r write 0 65536 1

# Rescue: one unit of a block; 1 MiB over nine blocks, more than a batch, with two bad units beside what is written.
mapfile -t bad < <(unit_of 2 2; unit_of 8 2; unit_of 8 20; bad_units 9 7; unit_of 16 3; unit_of 16 31)
break_main
blkio /dev/mapper/r write $((2 * block + 16)) 8 2
blkio /dev/mapper/r write $((8 * block + 128)) 2048 2
expect_mapped 2+1 8+9
expect_status r rescued_blocks=10 unread_sectors=16 lost_sectors=0
rescued() {
	expect_map /dev/mapper/r 0 $((20 * block)) "1 0 $((2 * block + 16))" "2 $((2 * block + 16)) 8" \
		"1 $((2 * block + 24)) $((6 * block - 8))" "EIO $((8 * block + 16)) 8" "1 $((8 * block + 24)) 104" \
		"2 $((8 * block + 128)) 2048" "1 $((16 * block + 128)) 120" "EIO $((16 * block + 248)) 8" "1 $((17 * block)) $((3 * block))"
}
rescued

# Salvage, while the caller waits and when it does not want to; a block of which nothing reads is not moved.
mapfile -t -O ${#bad[@]} bad < <(bad_units 32 9; bad_units 64 32; echo $((110 * block))+$block)
break_main
reading_fails $((32 * block)) $((9 * block))
expect_mapped 2+1 8+9 32+9
all_but_bad 32 9
dmsetup message r 0 set salvage_ms 0 >/dev/null
reading_fails $((64 * block)) $((32 * block))
wait_until 30 status_is r salvaged_blocks 41
dmsetup message r 0 set salvage_ms 10000 >/dev/null
all_but_bad 64 32
reading_fails $((110 * block)) $block
expect_status r salvaged_blocks=41 unread_sectors=$((16 + 41 * unit)) lost_sectors=0

# Proactive, a batch at a time.
is 'a message' "$(dmsetup message r 0 remap $((128 * block + 9)) $((20 * block)))" "$((136 * block)) 8 0 0"
relocate r $((128 * block + 9)) $((20 * block))
is 'blocks moved, already there' "$moved $already" '13 8'
is 'a message' "$(dmsetup message r 0 remap $((92 * block)) $((8 * block)))" "$((100 * block)) 4 4 0"

# All of that survives.
listed=$(runs_of r)
dmsetup remove r
unload_remap
load_remap
remap_create r /dev/mapper/lower "$spare" retry_ms 0
is 'the list' "$(runs_of r)" "$listed"
expect_status r mode=rw block_sectors=$block mapped_blocks=76 unread_sectors=$((16 + 41 * unit)) metadata_errors=0
rescued
all_but_bad 32 9
all_but_bad 64 32

# Main reads again; then everything goes back to it.
bad=()
break_main
blkio /dev/mapper/r check $((17 * block)) $((65536 - 17 * block)) 1
blkio /dev/mapper/r check 0 $((2 * block)) 1
blkio /dev/mapper/r map $((8 * block)) $((9 * block)) >/dev/null
expect_status r unread_sectors=0 lost_sectors=0
release r 0 65536
is 'blocks released, refused' "$released $refusals" '76 0'
expect_blocks r
dmsetup remove r
expect_map $main 0 65536 "1 0 $((2 * block + 16))" "2 $((2 * block + 16)) 8" "1 $((2 * block + 24)) $((6 * block + 104))" \
	"2 $((8 * block + 128)) 2048" "1 $((16 * block + 128)) $((65536 - 16 * block - 128))"
dmsetup remove lower

note 'a main with physical blocks of 256 KiB: its errors take a whole block each'
modprobe -r scsi_debug
scsi_disk main 32 sector_size=4096 physblk_exp=6 delay=0
spare=$(mkloop 16)
with_errors "$main" | dmsetup create lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0
expect_status r block_sectors=$block
blkio /dev/mapper/r write 0 65536 1
bad=("$(unit_of 2 2)" "$(unit_of 40 31)")
break_main
# Nothing to be salvaged. A write is rescued, and the rest of its block is unread.
reading_fails $((2 * block)) $block
expect_blocks r
blkio /dev/mapper/r write $((2 * block + 8)) 16 2
blkio /dev/mapper/r write $((40 * block + 128)) 256 2
expect_mapped 2+1 40+1
expect_status r rescued_blocks=2 lost_sectors=0
# True sense data, of a sector in another block.
scsi_bad $((100 * block / 8 + 3))+1
said=$(blkio /dev/mapper/r check $((100 * block + 16)) 64 1 || true)
[[ $said == 'ENODATA '* ]] || fail "a medium error is $said"
scsi_good
bad=()
break_main
written() {
	expect_map "$1" 0 65536 "1 0 $((2 * block + 8))" "2 $((2 * block + 8)) 16" "1 $((2 * block + 24)) $((38 * block + 104))" \
		"2 $((40 * block + 128)) 256" "1 $((41 * block + 128)) $((65536 - 41 * block - 128))"
}
written /dev/mapper/r
expect_status r mapped_blocks=2 unread_sectors=0
dmsetup remove r
remap_create r /dev/mapper/lower "$spare" retry_ms 0
written /dev/mapper/r
release r 0 65536
is 'blocks released, refused' "$released $refusals" '2 0'
dmsetup remove r
written "$main"
