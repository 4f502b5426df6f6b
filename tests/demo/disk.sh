# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# A disk whose extents can be made slow, or dead, while it is in use: a device-mapper device of linear, delay and error
# segments. Sourced in the guest. An extent is 1 MiB, as remapd counts.

extent_sectors=2048
extent_blocks=256	# of the filesystem, 4 KiB each

# disk_table DISK [EXTENT=STATE...] : prints a table. Extents in order; STATE is "dead" (reads and writes fail) or
# "slow:MS" (reads take so much longer). All the others are as they are on the disk.
disk_table() {
	local disk=$1 size at=0 word first state
	size=$(blockdev --getsz "$disk")
	shift
	for word in "$@"; do
		first=$((${word%%=*} * extent_sectors))
		state=${word#*=}
		((first == at)) || echo "$at $((first - at)) linear $disk $at"
		case $state in
		dead) echo "$first $extent_sectors error" ;;
		slow:*) echo "$first $extent_sectors delay $disk $first ${state#slow:} $disk $first 0" ;;
		esac
		at=$((first + extent_sectors))
	done
	((at == size)) || echo "$at $((size - at)) linear $disk $at"
}

# disk_create NAME DISK [EXTENT=STATE...], disk_become NAME DISK [EXTENT=STATE...] : a new one; a live one changes.
disk_create() {
	disk_table "${@:2}" | dmsetup create "$1"
}

disk_become() {
	disk_table "${@:2}" | dmsetup load "$1"
	dmsetup suspend --noflush --nolockfs "$1"
	dmsetup resume "$1"
}

# disk_states STATE EXTENT... : prints EXTENT=STATE for each, in order. "slow" makes them 300, 550 and 800 ms slow in turn.
disk_states() {
	local state=$1 extent ms=300
	shift
	for extent in $(printf '%s\n' "$@" | sort -n); do
		case $state in
		slow)
			echo "$extent=slow:$ms"
			ms=$((ms >= 800 ? 300 : ms + 250))
			;;
		*) echo "$extent=$state" ;;
		esac
	done
}

# extents_of_files FOLDER : prints "EXTENT BLOCKS FILE" for each extent that a file has data in, files by their names
# in the folder.
extents_of_files() {
	(
		cd "$1"
		find . -type f -printf '%P\0' | sort -z | xargs -0 filefrag -v -b4096
	) | awk -v blocks="$extent_blocks" '
		/^File size of / {
			file = $0
			sub(/^File size of /, "", file)
			sub(/ is [0-9]+ \(.*/, "", file)
			delete count
		}
		$1 ~ /^[0-9]+:$/ {
			split($0, field, ":")
			split(field[3], range, /\.\./)
			for (b = range[1] + 0; b <= range[2] + 0; b++)
				count[int(b / blocks)]++
		}
		/: [0-9]+ extents? found$/ {
			for (e in count)
				print e, count[e], file
		}'
}

# choose_extents HOW-MANY APART FILE : of those that hold nothing but files' data, by the lines of extents_of_files in
# FILE, so many by chance, at least so far apart from each other; in order.
choose_extents() {
	awk -v all="$extent_blocks" '{ sum[$1] += $2 } END { for (e in sum) if (sum[e] == all) print e }' "$3" |
		shuf | awk -v wanted="$1" -v apart="$2" '
		n < wanted {
			for (i = 0; i < n; i++)
				if (chosen[i] - $1 < apart && $1 - chosen[i] < apart)
					next
			chosen[n++] = $1
			print
		}
		END { exit n < wanted }' | sort -n
}
