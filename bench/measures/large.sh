#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: 1 MiB I/O
# machine: counted

. /project/bench/measure.sh

load_remap
spare_disk 6
empty_disk main 16
sectors=$(sectors_of /dev/main)
dmsetup create linear --table "0 $sectors linear /dev/main 0"

note '1000000 blocks mapped in the first half, reads of the second'
make-spare /dev/ram0 "$sectors" odd 1000000 0 $((sectors / 2))
remap_create remap /dev/main /dev/ram0
against dm-linear /dev/mapper/linear /dev/mapper/remap '1 MiB randread, 1000000 blocks mapped elsewhere' 'ratio <= 1.10' \
	randread 1 --bs=1M --offset=8G --size=8G --number_ios=500
dmsetup remove remap

note 'a run mapped to a run'
make-spare /dev/ram0 "$sectors" run 131072
dmsetup create slots --table "0 $(($(sectors_of /dev/ram0) - 8192)) linear /dev/ram0 8192"
remap_create remap /dev/main /dev/ram0
against 'dm-linear over the spare' /dev/mapper/slots /dev/mapper/remap '1 MiB read, a run mapped to a run' 'ratio <= 1.05' \
	read 1 --bs=1M --size=400M --number_ios=400
dmsetup remove remap

# reads : that a device has done.
reads() {
	awk '{ print $1 }' "/sys/dev/block/$(stat --format %Hr:%Lr "$1")/stat"
}
dmsetup create spare --table "0 $(sectors_of /dev/ram0) linear /dev/ram0 0"
remap_create remap /dev/main /dev/mapper/spare
before=$(reads /dev/mapper/spare)
job /dev/mapper/remap read 1 --bs=1M --size=400M --number_ios=400 >/dev/null
result '1 MiB read, a run mapped to a run' 'I/Os to the spare' "$(calculate "($(reads /dev/mapper/spare) - $before) / 400")" '' null \
	'value <= 1.02'
dmsetup remove remap
