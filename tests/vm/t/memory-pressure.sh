#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: swap on a remap device whose main fails as memory runs out: pages are rescued, and nothing waits for itself
# invariants: 1 3 11
# mem: 256
# disks: 768M:serial=main 64M:serial=spare
# timeout: 400

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
size=$(sectors_of /dev/main)
# 16 KiB of each MiB take no write.
mapfile -t bad < <(awk -v size="$size" 'BEGIN { for (s = 4096; s + 64 < size; s += 2048) print s "+32" }')
with_errors /dev/main "${bad[@]}" | new_device lower
remap_create r /dev/mapper/lower /dev/spare format
mkswap /dev/mapper/r >/dev/null
swapon --priority 10 /dev/mapper/r
at_exit 'swapoff /dev/mapper/r 2>/dev/null || true'
hog 240 2 || fail "hog ended with status $?"
swapoff /dev/mapper/r
rescued=$(status_of r rescued_blocks)
note "rescued $rescued blocks, swapped out $(awk '/^pswpout/ { print $2 }' /proc/vmstat) pages"
((rescued > 200)) || fail "only $rescued blocks were rescued: memory did not run out"
# A page whose write fails stays in memory, and only the log says so.
eq 'failed writes to swap' "$(dmesg | grep -c 'Write-error on swap-device' || true)" 0
# Whoever looks for signatures reads blocks of which nothing can be read: these fail, and are not counted here.
expect_status r mode=rw lost_sectors=0 unread_sectors=0 held_ios=0
