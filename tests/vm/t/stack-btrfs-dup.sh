#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: btrfs with two copies on one disk: sectors of either copy die, a scrub heals them all through the remap device
# invariants: 1 3 4
# disks: 256M:serial=main 32M:serial=spare
# timeout: 240
# expect-log: BTRFS warning

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/stacks.sh

need btrfs
load_remap
with_errors /dev/main | new_device lower
remap_create r /dev/mapper/lower /dev/spare format
mkfs.btrfs -q -m dup -d dup /dev/mapper/r
mkdir /tmp/mnt
mount /dev/mapper/r /tmp/mnt
for round in 1 2 3; do
	files_make /tmp/mnt "$round"
done
umount /tmp/mnt

# In each 128 KiB of each chunk a piece of one of its two copies: less than a block, or more.
seed=${1:-1}
note "seed $seed"
mapfile -t bad < <(btrfs inspect-internal dump-tree -t chunk /dev/mapper/r | awk -v seed="$seed" '
	BEGIN { srand(seed) }
	$1 == "length" { length_bytes = $2 }
	$1 == "stripe" { copy[$2] = $6 }
	$1 == "stripe" && $2 == 1 {
		for (at = 0; at + 131072 <= length_bytes; at += 131072)
			printf "%d+%d\n", (copy[rand() < 0.5] + at) / 512 + int(rand() * 200), 1 + int(rand() * 20)
	}')
((${#bad[@]} > 200)) || fail "only ${#bad[@]} places for errors"
with_errors /dev/main "${bad[@]}" | swap_table lower

mount /dev/mapper/r /tmp/mnt
btrfs scrub start -B /tmp/mnt || true
btrfs scrub status -R /tmp/mnt
scrubbed() { btrfs scrub status -R /tmp/mnt | sed -n "s/^.*$1: *//p"; }
(($(scrubbed read_errors) > 0)) || fail 'the scrub met no errors'
eq 'errors that it could not correct' "$(scrubbed uncorrectable_errors)" 0
note "$(dmsetup status r)"
expect_status r mode=rw unread_sectors=0 lost_sectors=0
status_is_not r rescued_blocks 0 || fail 'no copy was written again'

# Nothing is left to correct, then or later.
umount /tmp/mnt
again r /dev/mapper/lower /dev/spare
mount /dev/mapper/r /tmp/mnt
btrfs scrub start -B /tmp/mnt
for word in read_errors csum_errors verify_errors corrected_errors uncorrectable_errors; do
	eq "$word of the second scrub" "$(scrubbed "$word")" 0
done
files_right /tmp/mnt
expect_status r mode=rw unread_sectors=0 lost_sectors=0
umount /tmp/mnt
# It reads ahead, over dead sectors that btrfs uses for nothing: those may be found unread now.
btrfs check --readonly --check-data-csum /dev/mapper/r
expect_status r mode=rw lost_sectors=0
