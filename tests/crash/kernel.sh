#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# tests/crash/kernel.sh SEED DIRECTORY
#
# Inside the guest: activates each of the states that the judge wrote (judge -k) on pieces of the disks mains and spares,
# and holds what is read against what the judge says. Afterwards both copies of all metadata have to agree.

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

seed=$1 directory=$2
nr=0 refused=0

# copies_agree DEVICE : both copies of each metadata block are whole and have one sequence number.
copies_agree() {
	local what first second third fourth
	local -A sequence=()

	spare-edit "$1" where >/tmp/where
	while read -r what first second third fourth _; do
		# A superblock has no index.
		[[ $what == meta ]] || fourth=$third first=super
		[[ $fourth != bad && ${sequence[$first]-$fourth} == "$fourth" ]] || return 1
		sequence[$first]=$fourth
	done </tmp/where
}

# same_lines FILE FILE
same_lines() {
	local -a first second
	mapfile -t first <"$1"
	mapfile -t second <"$2"
	[[ ${first[*]} == "${second[*]}" ]]
}

load_remap
# Few processes a state: in an emulated machine they are what costs.
while read -r number main_first main_count spare_first spare_count outcome state; do
	devices="main,,,rw,0 $main_count linear /dev/mains $main_first"
	devices+=";spare,,,rw,0 $spare_count linear /dev/spares $spare_first"
	devices+=";r,,,rw,0 $main_count remap /dev/mapper/main 0 /dev/mapper/spare 0 2 retry_ms 0"
	if [[ $outcome == refused ]]; then
		if dmsetup create --concise "$devices" 2>/tmp/said; then
			status_is r mode failed || fail "state $state is not refused"
			dmsetup remove r
		fi
		dmsetup remove main spare
		refused=$((refused + 1))
	else
		dmsetup create --concise "$devices" || fail "state $state is refused"
		blkio -s "$seed" /dev/mapper/r map 0 "$main_count" >/tmp/read
		same_lines "$directory/expect.$number" /tmp/read ||
			fail "state $state: other content than expected (<) is read (>):"$'\n'"$(
				diff "$directory/expect.$number" /tmp/read | head -n 20)"
		copies_agree /dev/mapper/spare || fail "state $state: copies differ after activation:"$'\n'"$(</tmp/where)"
		dmsetup remove r main spare
	fi
	nr=$((nr + 1))
	((nr % 20)) || note "$nr states judged by the kernel"
done <"$directory/states"
note "$nr states judged by the kernel, $refused of them refused"
((nr > refused))
