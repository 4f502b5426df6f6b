# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# A disk whose regions die while something runs on top of the remap device; sourced after lib.sh and target.sh.
#
# What lived on a sector that died is gone, remap or not. So regions die in the two ways in which nothing is: writes
# begin to fail where reads go on ("unwritable"), or the region is moved by message while it still reads and then
# nothing of it answers any more ("moved").

# dying_disk LOWER DISK REGIONS SEED : creates the device LOWER over DISK. That many regions lie all over it, so file systems'
# logs and metadata have theirs.
dying_disk() {
	local lower=$1 disk=$2 kernel_name

	need dm-flakey
	# dm-flakey that fails writes fails flushes as well; a disk without a write cache gets none.
	kernel_name=$(realpath "$disk")
	echo 'write through' >"/sys/class/block/${kernel_name##*/}/queue/write_cache"
	printf '%s\n' "$disk" >"/tmp/$lower.disk"
	echo "0 $(sectors_of "$disk")" | regions_in "$lower" "$3" "$4"
	dying_table "$lower" 0 | new_device "$lower"
}

# regions_in LOWER REGIONS SEED : reads extents, lines of "sector count", and makes the list of regions that are to die,
# in their order, in /tmp/LOWER.regions: lines of "sector count kind". The extents, laid end to end, are cut into that many
# pieces, and each has one region, which ends with the extent in which it begins. Not while regions die.
regions_in() {
	note "$1: regions from seed $3"
	awk -v regions="$2" -v seed="$3" '
		{
			start[NR] = $1
			size += $2
			end[NR] = size
		}
		END {
			srand(seed)
			piece = int(size / regions)
			if (piece <= 128)
				exit 1
			extent = 1
			for (i = 0; i < regions; i++) {
				count = 1 + int(rand() * 128)
				order = rand()
				at = i * piece + int(rand() * (piece - count))
				while (at >= end[extent])
					extent++
				if (count > end[extent] - at)
					count = end[extent] - at
				printf "%f %d %d %s\n", order, start[extent] + at - end[extent - 1], count,
					rand() < 0.5 ? "unwritable" : "moved"
			}
		}' | sort -n | cut -d ' ' -f 2- >"/tmp/$1.regions" ||
		fail "too little room for $2 regions"
}

# extents_of FILE... : where they lie on the device of their file system, for regions_in.
extents_of() {
	filefrag -s -v -b512 "$@" | awk '$1 ~ /^[0-9]+:$/ { gsub(/[.:]+/, " "); print $4, $6 }'
}

# dying_table LOWER COUNT : prints the table in which that many of its regions are dead.
dying_table() {
	local disk
	disk=$(<"/tmp/$1.disk")
	head -n "$2" "/tmp/$1.regions" | sort -n | awk -v disk="$disk" -v size="$(sectors_of "$disk")" '
		BEGIN { at = 0 }
		function healthy(to) {
			if (at < to)
				print at, to - at, "linear", disk, at
		}
		{
			healthy($1)
			print $1, $2, "flakey", disk, $1, "0 36000", $3 == "unwritable" ? "1 error_writes" : ""
			at = $1 + $2
		}
		END { healthy(size) }'
}

# regions_die LOWER REMAP : all of them, eight at a time, without a pause. Meant for the background.
regions_die() {
	local lower=$1 remap=$2 dead=0 total start count kind
	total=$(wc -l <"/tmp/$lower.regions")
	while ((dead < total)); do
		while read -r start count kind; do
			if [[ $kind == moved ]]; then
				relocate "$remap" "$start" "$count"
				eq 'sectors of a moved region that are unread' "$unread" 0
			fi
		done < <(sed -n "$((dead + 1)),$((dead + 8))p" "/tmp/$lower.regions")
		((dead = dead + 8 < total ? dead + 8 : total))
		dying_table "$lower" "$dead" | swap_table "$lower"
	done
}

# under_load LOWER REMAP COMMAND... : runs the command, with a number of its own each time, until all regions have died under
# it, and once more. It must not fail.
under_load() {
	local dying round=1
	regions_die "$1" "$2" &
	dying=$!
	# If the load fails: a device that is left suspended would hang what tidies up.
	at_exit "wait $dying || :"
	while kill -0 "$dying" 2>/dev/null; do
		"${@:3}" "$round"
		((round += 1))
	done
	wait "$dying" || fail 'the regions could not die'
	note "$((round - 1)) rounds while regions died"
	"${@:3}" "$round"
}

# all_saved REMAP : regions died in both ways, and nothing was lost by it.
all_saved() {
	note "$(dmsetup status "$1")"
	expect_status "$1" mode=rw unread_sectors=0 lost_sectors=0 failed_relocations=0 main_state=ok
	status_is_not "$1" rescued_blocks 0 || fail 'no write failed'
	status_is_not "$1" proactive_blocks 0 || fail 'nothing was moved in time'
}

# empty_caches : so that what is read next comes from the disk.
empty_caches() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# nothing_reported : since log_mark the kernel told of no error to what is above the remap device.
nothing_reported() {
	local found
	if found=$(log_since | grep -E 'I/O error|EXT4-fs (error|warning)|XFS .*([Ee]rror|orrupt)|BTRFS (error|critical)|csum failed'); then
		fail "errors got through: $(head -n 5 <<<"$found")"
	fi
}

# again REMAP MAIN SPARE : removed, the module unloaded and loaded, and created from what is on the spare.
again() {
	dmsetup remove --retry "$1"
	unload_remap
	load_remap
	remap_create "$@"
}

# --- files ------------------------------------------------------------------------------------------------------------

# files_make DIRECTORY ROUND : writes files of that round; their checksums, made before, are in /tmp/files.ROUND.
files_make() {
	mkdir "/tmp/new.$2"
	head -c 3M /dev/urandom | split -a 3 -b 23k - "/tmp/new.$2/"
	(cd /tmp && sha256sum "new.$2"/*) >"/tmp/files.$2"
	mv "/tmp/new.$2" "$1/"
	sync -f "$1"
}

# files_load DIRECTORY ROUND : writes and checks with fio, makes files, and removes those of the second last round.
files_load() {
	local old=$(($2 - 2))

	fio --directory="$1" --size=8M --ioengine=psync --bsrange=4k-64k --rw=randwrite --verify=crc32c \
		--verify_fatal=1 --randseed="$2" --thread --name=direct --direct=1 --name=buffered --fsync=16 \
		--end_fsync=1 >/tmp/fio.log 2>&1 || fail "fio: $(tail -n 20 /tmp/fio.log)"
	files_make "$@"
	if [[ -d $1/new.$old ]]; then
		rm -r "$1/new.$old" "/tmp/files.$old"
	fi
}

# files_right DIRECTORY : the files there are what was written, on the disk and not only in memory.
files_right() {
	empty_caches
	cat /tmp/files.[0-9]* | (cd "$1" && sha256sum --check --quiet) || fail 'files have changed'
}
