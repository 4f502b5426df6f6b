#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: one reader and two, each on a core of its own
# machine: timed

. /project/bench/measure.sh

# rate DEVICE JOBS : reads a second.
rate() {
	fio --name=job --filename="$1" --direct=1 --ioengine=psync --rw=randread --bs=4k --size=1G --norandommap --runtime=5 --time_based \
		--numjobs="$2" --group_reporting --cpus_allowed=0-1 --cpus_allowed_policy=split --output-format=json |
		jq '.jobs[0].read.iops'
}

load_remap
spare_disk 1
empty_disk main 1
dmsetup create linear --table "0 $(sectors_of /dev/main) linear /dev/main 0"
remap_create remap /dev/main /dev/ram0 format
for round in 1 2 3 4 5; do
	for name in linear remap; do
		one=$(rate /dev/mapper/$name 1)
		two=$(rate /dev/mapper/$name 2)
		calculate "$two / $one" >>"/tmp/$name"
	done
done
median() {
	sort -n "$1" | sed -n 3p
}
result 'two readers on two cores' 'times the reads of one' "$(median /tmp/remap)" dm-linear "$(median /tmp/linear)" 'ratio >= 0.95'
