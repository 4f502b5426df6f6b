#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: 1 GiB moved by messages, beside dd between the same disks
# machine: timed
# disks: 1280M:serial=main 1280M:serial=spare

. /project/bench/measure.sh

SECTORS=2097152

# rate COMMAND... : MiB a second of what moves 1 GiB.
rate() {
	local start=${EPOCHREALTIME/./}
	"$@" >/dev/null
	calculate "1024 * 1000000 / (${EPOCHREALTIME/./} - $start)"
}

copy() {
	dd if=/dev/main of=/dev/spare bs=1M count=1024 iflag=direct oflag=direct conv=fdatasync status=none
}

move() {
	relocate remap 0 $SECTORS
}

load_remap
note 'filling main'
dd if=/dev/urandom of=/dev/main bs=1M count=1024 oflag=direct status=none
for round in 1 2 3; do
	copied[round]=$(rate copy)
	dd if=/dev/zero of=/dev/spare bs=1M count=1 oflag=direct status=none
	remap_create remap /dev/main /dev/spare format
	moved_at[round]=$(rate move)
	expect_status remap mapped_blocks=$((SECTORS / 8))
	note "round $round: dd ${copied[round]}, moved ${moved_at[round]} MiB/s"
	dmsetup remove remap
done
median() {
	printf '%s\n' "$@" | sort -n | sed -n 2p
}
result '1 GiB moved by messages' MiB/s "$(median "${moved_at[@]}")" 'dd from main to spare' "$(median "${copied[@]}")" 'ratio >= 0.8'

# p99 DEVICE : of 4 KiB random reads, one at a time, all over it; microseconds.
p99() {
	fio --name=reader --filename="$1" --direct=1 --ioengine=psync --rw=randread --bs=4k --size=1G --norandommap --runtime=10 \
		--time_based --output-format=json | jq '.jobs[0].read.clat_ns.percentile["99.000000"] / 1000'
}

dd if=/dev/zero of=/dev/spare bs=1M count=1 oflag=direct status=none
remap_create remap /dev/main /dev/spare format
quiet=$(p99 /dev/mapper/remap)
at=0
p99 /dev/mapper/remap >/tmp/p99 &
reader=$!
while kill -0 $reader 2>/dev/null; do
	relocate remap $((at % SECTORS)) 16384
	at=$((at + 16384))
	((at % SECTORS)) || release remap 0 $SECTORS
done
wait $reader
result '4 KiB random read while blocks move, 99th percentile' us "$(cat /tmp/p99)" 'while nothing moves' "$quiet"
