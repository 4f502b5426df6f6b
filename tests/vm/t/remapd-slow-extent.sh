#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: an extent that gets slow is found, and moved while it can still be read
# disks: 128M 64M
# timeout: 240
. /project/tests/vm/lib.sh
need dm-delay remapd

# Main is a device-mapper device of three segments; the middle one, 1 MiB at 40 MiB, will age.
main=${disks[0]} spare=${disks[1]}
size=$(blockdev --getsz "$main")
first=81920 count=2048
segments() { # MIDDLE : a table
	printf '0 %d linear %s 0\n' "$first" "$main"
	printf '%d %d %s\n' "$first" "$count" "$1"
	printf '%d %d linear %s %d\n' $((first + count)) $((size - first - count)) "$main" $((first + count))
}
age() {
	segments "$1" | dmsetup reload ageing
	dmsetup suspend ageing
	dmsetup resume ageing
}
load_remap
segments "linear $main $first" | dmsetup create ageing
remap_create data0 /dev/mapper/ageing "$spare" format

cat >/tmp/policy.yaml <<'POLICY'
version: 1
mode: act
evidence: {incident_gap_s: 1, stall_gap_ms: 100}
reread: {confirmations: 1, interval_s: 1}
guards: {fresh_boot_s: 0, baseline_s: 0}
POLICY
remapd --verbose --policy /tmp/policy.yaml >/tmp/remapd.log 2>&1 &
pid=$!
at_exit 'cat /tmp/remapd.log; kill $pid; wait $pid || :; remapd --unpin'
wait_until 20 grep -q 'listens on' /tmp/remapd.log

dd if=/dev/urandom of=/tmp/data bs=1M count=128 status=none
dd if=/tmp/data of=/dev/mapper/data0 bs=1M oflag=direct conv=notrunc status=none
sum=$(sha256sum </tmp/data)
# Some minutes of a healthy disk, in short: the yardstick.
fio --name=healthy --filename=/dev/mapper/data0 --direct=1 --rw=randread --bs=4k --size=128M --number_ios=2000 \
	--ioengine=psync >/dev/null

note 'the extent gets slow'
age "delay $main $first 400"
begin=$SECONDS
moved() {
	dd if=/dev/mapper/data0 of=/dev/null bs=4k skip=$((first / 8 + RANDOM % 256)) count=1 iflag=direct status=none
	grep -q 'extent 40 relocated' /tmp/remapd.log
}
wait_until 60 moved
note "moved $((SECONDS - begin)) s after it got slow"
grep -q 'extent 40 is suspect' /tmp/remapd.log || fail 'it was never called suspect'
eq 'other extents that moved' "$(grep -c ' relocated:' /tmp/remapd.log)" 1

note 'the extent dies'
age error
[[ $(sha256sum </dev/mapper/data0) == "$sum" ]] || fail 'what is read differs'
