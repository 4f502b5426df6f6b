#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: I/O to mapped blocks
# machine: counted
# mem: 6144

. /project/bench/measure.sh

load_remap
spare_disk 5
empty_disk main 16
sectors=$(sectors_of /dev/main)

# The slots of the spare as one device, so that dm-linear reads what the target reads: memory that was never written.
dmsetup create slots --table "0 $(($(sectors_of /dev/ram0) - 4096)) linear /dev/ram0 4096"

# The first write of a page of memory costs more than all that is measured here.
note 'filling the spare'
dd if=/dev/zero of=/dev/mapper/slots bs=1M oflag=direct status=none || true

note '1000000 blocks mapped, in random order'
make-spare /dev/ram0 "$sectors" shuffled 1000000
remap_create remap /dev/main /dev/ram0
for rw in randread randwrite; do
	for depth in 1 32; do
		against 'dm-linear over the spare' /dev/mapper/slots /dev/mapper/remap "4 KiB $rw, depth $depth, all mapped" \
			'ratio <= 1.08' "$rw" "$depth" --size=3900M
	done
done
dmsetup remove remap
