# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# What the measures share, inside the guest: devices, what an I/O costs, results.

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

# --- results ----------------------------------------------------------------------------------------------------

# result WHAT UNIT VALUE [PEER PEER-VALUE [REACH]] : one row of the table, as a line of JSON for bench/target, which reads
# REACH, "more <= 120, ratio <= 1.02", and says whether it was met. A value without a peer: PEER is "".
result() {
	jq -cn --arg what "$1" --arg unit "$2" --argjson value "$3" --arg peer "${4-}" --argjson peer_value "${5:-null}" \
		--arg reach "${6-}" '{ $what, $unit, $value, $peer, $peer_value, $reach }'
}

# calculate EXPRESSION : in floating point.
calculate() {
	awk "BEGIN { print $1 }" </dev/null
}

# --- devices ----------------------------------------------------------------------------------------------------

# empty_disk NAME GIB : /dev/NAME, a null_blk disk that takes no time and keeps nothing (bio mode).
empty_disk() {
	null_disk "$1" "$(($2 * 1024))" memory_backed=0 queue_mode=0
}

# empty_disk_gone NAME
empty_disk_gone() {
	echo 0 >"/sys/kernel/config/nullb/$1/power"
	rmdir "/sys/kernel/config/nullb/$1"
	[[ ! -L /dev/$1 ]] || rm "/dev/$1"
}

# spare_disk GIB : /dev/ram0, of which only what is written takes memory. A new one each time.
spare_disk() {
	[[ ! -e /sys/module/brd ]] || rmmod brd
	modprobe brd rd_nr=1 "rd_size=$(($1 * 1048576))" max_part=0
	wait_until 20 test -b /dev/ram0
}

# --- what an I/O costs ------------------------------------------------------------------------------------------

# job DEVICE RW DEPTH [FIO-OPTION...] : runs 4 KiB I/O unless --bs says otherwise; prints fio's JSON.
job() {
	local device=$1 rw=$2 depth=$3 engine=psync
	shift 3
	((depth == 1)) || engine=libaio
	fio --name=job --filename="$device" --direct=1 --ioengine="$engine" --iodepth="$depth" --rw="$rw" --bs=4k \
		--number_ios=10000 --norandommap --randrepeat=1 --output-format=json "$@"
}

# inside DEVICE RW DEPTH [FIO-OPTION...] : prints the nanoseconds of one I/O from its issue to its completion; in the
# counted machine, instructions. An I/O that the clock's interrupt fell into is left out: those that took a quarter more
# than the median.
inside() {
	job "$@" --write_lat_log=/tmp/job >/tmp/job.json
	cut -d , -f 2 /tmp/job_lat.1.log | sort -n | awk -v depth="$3" '{ ns[NR] = $1 }
		END { for (i = 1; i <= NR && ns[i] <= ns[int(NR / 2) + 1] * 1.25; i++) sum += ns[i]; print sum / (i - 1) / depth }'
	rm /tmp/job_*.log
}

# whole DEVICE RW DEPTH [FIO-OPTION...] : prints the nanoseconds of one I/O, fio's own included. With a full queue
# that is what an I/O takes from issue to completion, divided by the depth.
whole() {
	if (($3 > 1)); then
		inside "$@"
	else
		job "$@" | jq '.jobs[0] | (if .read.total_ios > 0 then .read else .write end) | .runtime * 1000000 / .total_ios'
	fi
}

declare -A cost_of_peer=()

# against PEER-NAME PEER DEVICE WHAT REACH RW DEPTH [FIO-OPTION...] : the row for an I/O to DEVICE. What fio does before
# and after it is the same for both. Leaves the difference in $more.
against() {
	local peer_name=$1 peer=$2 device=$3 what=$4 reach=$5 peer_whole peer_inside cost
	shift 5
	if [[ -z ${cost_of_peer["$peer $*"]-} ]]; then
		peer_whole=$(whole "$peer" "$@")
		peer_inside=$(inside "$peer" "$@")
		cost_of_peer["$peer $*"]="$peer_whole $peer_inside"
	fi
	read -r peer_whole peer_inside <<<"${cost_of_peer["$peer $*"]}"
	cost=$(inside "$device" "$@")
	more=$(calculate "$cost - $peer_inside")
	result "$what" instructions "$(calculate "$peer_whole + $more")" "$peer_name" "$peer_whole" "$reach"
}
