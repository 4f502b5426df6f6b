#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: what one rescue costs
# machine: timed
# disks: 64M:serial=main 64M:serial=spare

. /project/bench/measure.sh

# did : reads, KiB written and flushes of both disks.
did() {
	local disk
	for disk in /dev/main /dev/spare; do
		awk '{ print $1, $7 / 2, $16 }' "/sys/block/$(readlink "$disk")/stat"
	done | xargs
}

# milliseconds COMMAND...
milliseconds() {
	local start=${EPOCHREALTIME/./}
	"$@" >/dev/null
	calculate "(${EPOCHREALTIME/./} - $start) / 1000"
}

# rescue WHAT SECTOR COUNT
rescue() {
	local before after plain took name=('reads' 'KiB written' 'flushes') i
	plain=$(milliseconds blkio /dev/mapper/remap fua 0 "$3" 1)
	read -r -a before < <(did)
	took=$(milliseconds blkio /dev/mapper/remap write "$2" "$3" 1)
	read -r -a after < <(did)
	for i in 0 1 2; do
		result "$1, main" "${name[i]}" $((after[i] - before[i]))
		result "$1, spare" "${name[i]}" $((after[i + 3] - before[i + 3]))
	done
	result "$1: time, starting a program included" ms "$took" 'FUA write of a good place' "$plain"
}

load_remap
with_errors /dev/main 8000+8 16384+2048 | new_device lower
remap_create remap /dev/mapper/lower /dev/spare format
# The first of each prepares what later ones find.
blkio /dev/mapper/remap write 16384 8 1
blkio /dev/mapper/remap fua 0 8 1
rescue 'rescue of 4 KiB' 8000 8
rescue 'rescue of 1 MiB' 16384 2048
