#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: activation, and the memory that the map takes
# machine: counted
# mem: 2048

. /project/bench/measure.sh

# activation : makes the device; prints the milliseconds of processor time that took (a million instructions each), waiting left out.
activation() {
	dmsetup create remap --notable
	remap_table /dev/main /dev/spare | dmsetup load remap
	TIMEFORMAT='%3U + %3S'
	calculate "($({ time dmsetup resume remap; } 2>&1)) * 1000"
}

# free_memory : bytes that the kernel can give at once.
free_memory() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	awk '/^MemFree/ { print $2 * 1024 }' /proc/meminfo
}

reads() {
	awk '{ print $1, $3 }' /sys/block/spare/stat
}

load_remap
empty_disk main 4096
sectors=$(sectors_of /dev/main)
null_disk spare 6144 queue_mode=2 max_sectors=2048
declare -A took used
for blocks in 0 1000000; do
	make-spare /dev/spare "$sectors" odd "$blocks"
	before=$(free_memory)
	read -r requests read_sectors < <(reads)
	took[$blocks]=$(activation)
	read -r requests_after sectors_after < <(reads)
	used[$blocks]=$((before - $(free_memory)))
	((requests = requests_after - requests, read_sectors = sectors_after - read_sectors)) || true
	dmsetup remove remap
done
result 'activation' 'instructions a mapping' "$(calculate "(${took[1000000]} - ${took[0]})")" '' null 'value <= 500'
result 'size of a read at activation, the four of superblocks not counted' KiB "$(calculate "($read_sectors - 32) / 2 / ($requests - 4)")" '' null 'value >= 256'
result 'memory, 1000000 random mappings' 'bytes a mapping' "$(calculate "(${used[1000000]} - ${used[0]}) / 1000000")" '' null 'value <= 32'
result 'memory, nothing mapped, main of 4 TiB' MiB "$(calculate "${used[0]} / 1048576")"

echo 0 >/sys/kernel/config/nullb/spare/power
echo $((4 * 1048576)) >/sys/kernel/config/nullb/spare/size
echo 1 >/sys/kernel/config/nullb/spare/power
make-spare /dev/spare "$sectors" odd 0
before=$(free_memory)
large=$(activation)
result 'activation, spare of 4 TiB, nothing mapped' 'million instructions' "$large" '' null 'value <= 500'
result 'memory, spare of 4 TiB, nothing mapped' 'bytes an unused block of the spare' \
	"$(calculate "($before - $(free_memory) - ${used[0]}) / (4 * 1024 ^ 4 / 4096)")"
dmsetup remove remap
