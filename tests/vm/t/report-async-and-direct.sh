#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: errors that arrive through a file system's asynchronous reads and through O_DIRECT
# invariants: 1 3 4
# timeout: 480
# expect-log: Buffer I/O error|EXT4-fs|I/O error

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 64)
spare=$(mkloop 16)
with_errors "$main" | new_device lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0
mkfs.ext4 -q -b 4096 /dev/mapper/r
mkdir -p /tmp/mnt
mount /dev/mapper/r /tmp/mnt
dd if=/dev/urandom of=/tmp/original bs=1M count=8 status=none
cp /tmp/original /tmp/mnt/file
sync /tmp/mnt/file

# One bad sector inside each of three blocks of the file, far apart.
places=(100 1000 1900)
bad=() expected=()
for place in "${places[@]}"; do
	physical=$(filefrag -v -b4096 /tmp/mnt/file | awk -v at="$place" -F '[:. ]+' '
		$2 ~ /^[0-9]+$/ && $3 <= at && $4 >= at { print $5 + at - $3 }')
	bad+=("$((physical * 8 + 3))+1")
	expected+=("$((physical * 8))")
done
with_errors "$main" "${bad[@]}" | swap_table lower

# Through the page cache and its readahead: three pages fail, all others are right.
echo 3 >/proc/sys/vm/drop_caches
if cat /tmp/mnt/file >/dev/null; then
	fail 'an unreadable page was read'
fi
dd if=/tmp/mnt/file of=/tmp/copy bs=4096 conv=noerror,sync status=none 2>/dev/null || true
different=$({ cmp -l /tmp/original /tmp/copy || true; } | awk '{ print int(($1 - 1) / 4096) }' | uniq | xargs)
[[ $different == "${places[*]}" ]] || fail "pages that differ: $different, expected ${places[*]}"
expect_blocks r "${expected[@]}"
expect_status r unread_sectors=3 salvaged_blocks=3 lost_sectors=0

# O_DIRECT, in sectors: only the bad sector of each is missing.
rm /tmp/copy
dd if=/tmp/mnt/file of=/tmp/copy bs=512 iflag=direct conv=noerror,sync status=none 2>/dev/null || true
different=$({ cmp -l /tmp/original /tmp/copy || true; } | awk '{ print int(($1 - 1) / 512) }' | uniq | xargs)
[[ $different == "803 8003 15203" ]] || fail "sectors that differ: $different"
expect_blocks r "${expected[@]}"

# One is healed by a write, one by a disk that reads again.
dd if=/tmp/original of=/tmp/mnt/file bs=512 skip=803 seek=803 count=1 oflag=direct conv=notrunc status=none
expect_status r unread_sectors=2
with_errors "$main" "${bad[1]}" | swap_table lower
echo 3 >/proc/sys/vm/drop_caches
if cat /tmp/mnt/file >/dev/null; then
	fail 'an unreadable page was read'
fi
with_errors "$main" | swap_table lower
echo 3 >/proc/sys/vm/drop_caches
cmp /tmp/original /tmp/mnt/file
expect_status r unread_sectors=0 lost_sectors=0
umount /tmp/mnt
e2fsck -fn /dev/mapper/r >/dev/null
