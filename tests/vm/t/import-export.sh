#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remapctl create moves what badblocks and ddrescue found, and export gives it back to them
# disks: 32M:serial=main 8M:serial=spare 3M:serial=small
# invariants: 1 3
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
disk=/dev/main spare=/dev/spare small=/dev/small
main=/dev/mapper/main
with_errors "$disk" | new_device main
blkio $main write 0 65536 1
# A block with one bad sector, one with nothing but bad sectors, and one at the end of the disk.
with_errors "$disk" 8195+1 16384+8 65528+3 | swap_table main

# says STATUS COMMAND... : remapctl's status; what it printed is in /tmp/out and /tmp/err.
says() {
	local wanted=$1 status=0
	shift
	remapctl "$@" </dev/null >/tmp/out 2>/tmp/err || status=$?
	((status == wanted)) || fail "status $status of remapctl $*, not $wanted: $(cat /tmp/out /tmp/err)"
}

# --- a list, as badblocks finds it --------------------------------------------------------------------------------------

# It reads whole pages.
badblocks -b 1024 -o /tmp/bad $main
is 'what badblocks found' "$(tr '\n' ' ' </tmp/bad)" \
	'4096 4097 4098 4099 8192 8193 8194 8195 32764 32765 32766 32767 '
says 0 create r $main $spare --main-id m --no-stamp --import /tmp/bad --dry-run
grep -q 'would move: 24 sectors' /tmp/out || fail "dry run: $(</tmp/out)"
says 0 --json create r $main $spare --main-id m --no-stamp --import /tmp/bad
is 'what the import says' "$(jq -c .import /tmp/out)" '{"file":"/tmp/bad","moved_blocks":2,"already_mapped_blocks":0,"unread_sectors":12,"outside_sectors":0,"left_sectors":0}'
expect_blocks r 8192 65528
expect_status r unread_sectors=4 rescued_blocks=0 salvaged_blocks=0
# The block that stayed moves when it is written.
blkio /dev/mapper/r write 16384 8 2
expect_blocks r 8192 16384 65528
expect_map /dev/mapper/r 8192 8 '1 8192 3' 'EIO 8195 1' '1 8196 4'

# --- and back -------------------------------------------------------------------------------------------------------------

says 0 export r --badblocks --block-bytes 4096
is 'a list of blocks of 4 KiB' "$(tr '\n' ' ' </tmp/out)" '1024 2048 8191 '
says 0 export r --output /tmp/map
says 73 export r --output /tmp/map
says 64 export r --block-bytes 1000
says 66 export nothing
grep -v '^#' /tmp/map | tr -s ' \n' ' ' >/tmp/out
is 'a mapfile' "$(</tmp/out)" '0x00000000 ? 1 0x00000000 0x00400000 ? 0x00400000 0x00001000 - 0x00401000 0x003FF000 ? 0x00800000 0x00001000 - 0x00801000 0x017FE000 ? 0x01FFF000 0x00001000 - '
listed=$(blocks_of r)
remapctl remove r 2>/dev/null
says 0 export $spare
is 'the mapfile of the spare alone' "$(</tmp/out)" "$(</tmp/map)"

# --- a mapfile; a part of the disk; what is not on it ------------------------------------------------------------------

# create_anew ARGUMENT... : on a spare that holds nothing.
create_anew() {
	dd if=/dev/zero of=$spare bs=1M count=2 oflag=direct status=none
	says 0 --json create r $main $spare --main-id m --no-stamp "$@"
}

with_errors "$disk" | swap_table main
blkio $main write 0 65536 1
create_anew --import /tmp/map
eq 'blocks that moved' "$(jq .import.moved_blocks /tmp/out)" 3
is 'the blocks of the mapfile' "$(blocks_of r)" "$listed"
says 0 remove r --release
create_anew --main-offset 8192 --import /tmp/map
expect_blocks r 0 8192 57336
remapctl export r | diff - /tmp/map || fail 'the mapfile of a device with an offset'
remapctl remove r --release
create_anew --main-offset 8200 --import /tmp/map
eq 'sectors outside' "$(jq .import.outside_sectors /tmp/out)" 8
grep -q '8 sectors of /tmp/map are not on r' /tmp/err || fail "$(</tmp/err)"
remapctl remove r --release

# --- a spare that is too small, files that are none ---------------------------------------------------------------------

seq 0 4 4095 >/tmp/many
says 69 create r $main $small --main-id m --no-stamp --import /tmp/many
grep -q 'is ready, but [0-9]* sectors of /tmp/many were not moved: .*full' /tmp/err || fail "a full spare: $(</tmp/err)"
expect_status r free_blocks=0
blkio /dev/mapper/r check 0 65536 1
remapctl remove r --release
sum=$(checksums "$spare")
says 66 create r $main $spare --main-id m --no-stamp --force --yes --import /tmp/missing
says 65 create r $main $spare --main-id m --no-stamp --force --yes --import /etc/hostname
grep -q 'line 1 is none of' /tmp/err || fail "$(</tmp/err)"
is 'the spare after the refusals' "$(checksums "$spare")" "$sum"
