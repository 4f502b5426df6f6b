#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: 4 KiB random I/O, nothing mapped or none hit
# machine: counted

. /project/bench/measure.sh

load_remap
spare_disk 5

# rows GIB BLOCKS... : a main of that size. Every other block may be mapped, and none of those is read or written.
rows() {
	local gib=$1 blocks rw depth reach
	local -A more_at=()
	shift
	empty_disk main "$gib"
	dmsetup create linear --table "0 $(sectors_of /dev/main) linear /dev/main 0"
	for blocks in "$@"; do
		note "main of $gib GiB, $blocks blocks mapped"
		make-spare /dev/ram0 "$(sectors_of /dev/main)" odd "$blocks"
		remap_create remap /dev/main /dev/ram0
		reach='ratio <= 1.05'
		((blocks)) || reach='more <= 120, ratio <= 1.02'
		for rw in randread randwrite; do
			for depth in 1 32; do
				against dm-linear /dev/mapper/linear /dev/mapper/remap \
					"4 KiB $rw, depth $depth, $gib GiB, $blocks mapped" "$reach" \
					"$rw" "$depth" "--size=${gib}G" --blockalign=8k
				more_at["$blocks $rw $depth"]=$more
			done
		done
		dmsetup remove remap
	done
	for rw in randread randwrite; do
		for depth in 1 32; do
			[[ -z ${more_at["1000 $rw $depth"]-} ]] ||
				result "4 KiB $rw, depth $depth, $gib GiB, 1000000 mapped" 'instructions more than dm-linear' \
					"${more_at["1000000 $rw $depth"]}" '1000 mapped' "${more_at["1000 $rw $depth"]}" 'more <= 80'
		done
	done
	dmsetup remove linear
	empty_disk_gone main
	cost_of_peer=()
}

# On the small main nearly every grain of 64 KiB has a mapped block in it.
rows 16 0 1000 100000 1000000
rows 1024 0 1000000
