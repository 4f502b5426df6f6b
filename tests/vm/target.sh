# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# What the tests of the remap target share, inside the guest; sourced after lib.sh.
#
# Sectors are written as in the target's page: 512 bytes, of the remap device. A range is SECTOR+COUNT.

PATH=/project/build/guest:$PATH

# The words of the status line, in order; kmod/dm-remap.rst says what they mean.
status_words=(mode block_sectors mapped_blocks free_blocks retired_blocks unread_sectors lost_sectors
	rescued_blocks salvaged_blocks proactive_blocks released_blocks failed_relocations
	main_read_errors main_write_errors spare_read_errors spare_write_errors
	metadata_errors fenced_copies storm_left held_ios main_state rewritten_blocks)

# --- devices ----------------------------------------------------------------------------------------------------

# null_disk NAME MIB [ATTRIBUTE=VALUE...] : makes /dev/NAME, a null_blk disk with memory, request-based.
null_disk() {
	local attribute directory=/sys/kernel/config/nullb/$1

	modprobe null_blk nr_devices=0
	mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
	mkdir "$directory"
	for attribute in "size=$2" memory_backed=1 blocksize=512 queue_mode=2 "${@:3}" power=1; do
		echo "${attribute#*=}" >"$directory/${attribute%%=*}"
	done
	# Kernels differ: some call the disk by its name, some by a number.
	[[ -b /dev/$1 ]] || ln -s "nullb$(<"$directory/index")" "/dev/$1"
}

# null_bad NAME RANGE, null_good NAME RANGE : I/O that touches the range fails, or no more.
null_bad() {
	local at=${2%+*} end=$((${2%+*} + ${2#*+}))
	# Longer ones, given at once, get out of order in the kernel's list.
	for (( ; at < end; at += 512)); do
		echo "+$at-$((at + 512 < end ? at + 511 : end - 1))" >"/sys/kernel/config/nullb/$1/badblocks"
	done
}

null_good() {
	echo "-${2%+*}-$((${2%+*} + ${2#*+} - 1))" >"/sys/kernel/config/nullb/$1/badblocks"
}

# scsi_disk VARIABLE MIB [PARAMETER=VALUE...] : the one scsi_debug disk. scsi_bad RANGE, scsi_good: reads of the range
# end with a medium error.
scsi_disk() {
	local -n scsi_variable=$1
	local block

	modprobe scsi_debug "dev_size_mb=$2" "${@:3}"
	modprobe sd_mod
	wait_until 20 compgen -G '/sys/bus/pseudo/drivers/scsi_debug/adapter0/host*/target*/*:0/block/*' >/dev/null
	block=$(compgen -G '/sys/bus/pseudo/drivers/scsi_debug/adapter0/host*/target*/*:0/block/*')
	# shellcheck disable=SC2034 # the caller's
	scsi_variable=/dev/${block##*/}
	wait_until 20 test -b "$scsi_variable"
}

scsi_bad() {
	echo "${1%+*}" >/sys/module/scsi_debug/parameters/medium_error_start
	echo "${1#*+}" >/sys/module/scsi_debug/parameters/medium_error_count
	echo 2 >/sys/module/scsi_debug/parameters/opts
}

scsi_good() {
	echo 0 >/sys/module/scsi_debug/parameters/opts
}

sectors_of() {
	blockdev --getsz "$1"
}

# with_errors DISK [RANGE...] : prints a table: the disk as it is, but for the ranges, which fail with EIO.
with_errors() {
	local disk=$1 size at=0 range
	shift
	size=$(sectors_of "$disk")
	for range in $(printf '%s\n' "$@" | sort -n); do
		((${range%+*} == at)) || echo "$at $((${range%+*} - at)) linear $disk $at"
		echo "${range%+*} ${range#*+} error"
		at=$((${range%+*} + ${range#*+}))
	done
	((at == size)) || echo "$at $((size - at)) linear $disk $at"
}

# flaky DISK up|down : prints a table of dm-flakey that never, or always, fails.
flaky() {
	case $2 in
	up) echo "0 $(sectors_of "$1") flakey $1 0 36000 0" ;;
	down) echo "0 $(sectors_of "$1") flakey $1 0 0 36000" ;;
	esac
}

# new_device NAME : creates the device-mapper device from the table on standard input.
new_device() {
	dmsetup create "$1"
}

# swap_table NAME : replaces the live table by the one on standard input.
swap_table() {
	dmsetup suspend --noflush --nolockfs "$1"
	dmsetup load "$1"
	dmsetup resume "$1"
}

# remap_table MAIN SPARE [OPTION WORD...] : prints a table line.
remap_table() {
	local main=$1 spare=$2
	shift 2
	echo "0 $(sectors_of "$main") remap $main 0 $spare 0${1:+ $# $*}"
}

# refused WORD... : the command fails; what it printed is in $refusal.
refused() {
	if refusal=$("$@" 2>&1); then
		fail "not refused: $*"
	fi
}

# log_mark, log_since : the kernel's log from the mark on.
log_mark() {
	log_lines=$(dmesg | wc -l)
}

log_since() {
	dmesg | tail -n "+$((log_lines + 1))"
}

# --- asking the target ------------------------------------------------------------------------------------------

# status_of NAME WORD : one word of the status line.
status_of() {
	local words i
	read -r -a words < <(dmsetup status --target remap "$1")
	for i in "${!status_words[@]}"; do
		if [[ ${status_words[i]} == "$2" ]]; then
			printf '%s\n' "${words[i + 3]}"
			return
		fi
	done
	fail "no word $2 in the status line"
}

# status_is NAME WORD VALUE, status_is_not NAME WORD VALUE
status_is() {
	[[ $(status_of "$1" "$2") == "$3" ]]
}

status_is_not() {
	[[ $(status_of "$1" "$2") != "$3" ]]
}

# expect_status NAME WORD=VALUE... : fails if one differs.
expect_status() {
	local name=$1 line pair i words
	shift
	line=$(dmsetup status --target remap "$name")
	read -r -a words <<<"$line"
	for pair in "$@"; do
		for i in "${!status_words[@]}"; do
			[[ ${status_words[i]} != "${pair%%=*}" || ${words[i + 3]} == "${pair#*=}" ]] ||
				fail "$name: ${pair%%=*} is ${words[i + 3]}, not ${pair#*=}: $line"
		done
		[[ " ${status_words[*]} " == *" ${pair%%=*} "* ]] || fail "no word ${pair%%=*} in the status line"
	done
}

# runs_of NAME : all lines of "list".
runs_of() {
	local from=0 lines
	while lines=$(dmsetup message "$1" 0 list "$from") && [[ -n $lines ]]; do
		printf '%s\n' "$lines"
		from=$(awk 'END { print $1 + $2 }' <<<"$lines")
	done
}

# blocks_of NAME : the first sector of each mapped block, one a line.
blocks_of() {
	local block
	block=$(status_of "$1" block_sectors)
	runs_of "$1" | awk -v block="$block" '{ for (s = $1; s < $1 + $2; s += block) print s }'
}

# expect_blocks NAME SECTOR... : exactly the blocks that start at these sectors are mapped.
expect_blocks() {
	local name=$1
	shift
	diff <(printf '%s\n' "$@" | sed '/^$/d' | sort -n -u) <(blocks_of "$name") >/tmp/blocks.diff ||
		fail "$name: other blocks than expected (<) are mapped (>):"$'\n'"$(head -n 40 /tmp/blocks.diff)"
}

# relocate NAME SECTOR COUNT, release NAME SECTOR COUNT : the message, until the range is done.
# The sums of the answers' words are in $moved, $already, $unread; or $released, $refusals.
relocate() {
	local next=$2 end=$(($2 + $3)) word
	moved=0 already=0 unread=0
	while ((next < end)); do
		read -r -a word < <(dmsetup message "$1" 0 remap "$next" "$((end - next))")
		((word[0] > next)) || fail "remap $next $((end - next)) got no further: ${word[*]}"
		next=${word[0]}
		((moved += word[1], already += word[2], unread += word[3])) || true
	done
}

release() {
	local next=$2 end=$(($2 + $3)) word
	released=0 refusals=0
	while ((next < end)); do
		read -r -a word < <(dmsetup message "$1" 0 release "$next" "$((end - next))")
		((word[0] > next)) || fail "release $next $((end - next)) got no further: ${word[*]}"
		next=${word[0]}
		((released += word[1], refusals += word[2])) || true
	done
}

# checksums DEVICE... : of what is on the devices, past the page cache, which knows nothing of a target's own writes.
checksums() {
	local device
	for device in "$@"; do
		dd if="$device" bs=1M iflag=direct status=none | sha256sum
	done
}

# --- judging data -----------------------------------------------------------------------------------------------

# expect_map DEVICE SECTOR COUNT LINE... : "blkio map" prints exactly these lines.
expect_map() {
	local device=$1 sector=$2 count=$3
	shift 3
	diff <(printf '%s\n' "$@") <(blkio "$device" map "$sector" "$count") >/tmp/map.diff ||
		fail "$device: other content than expected (<) is read (>):"$'\n'"$(head -n 40 /tmp/map.diff)"
}

# hammer_stop PID : ends a "hammer" that runs in the background at its next operation; fails if it found anything.
hammer_stop() {
	kill -USR1 "$1"
	wait "$1" || fail "hammer ended with status $?: $(grep -v ^hammer: /tmp/hammer.log | head -n 5)"
}
