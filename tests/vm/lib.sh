# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# What every test inside a guest begins with: . /project/tests/vm/lib.sh
#
# The test runs with set -euo pipefail. At its end, however it ends, tear_down removes what tests make (mounts,
# device-mapper devices, loop devices, the modules they loaded); what cannot be removed fails the test.

set -euo pipefail
shopt -s inherit_errexit

# Paths of the test's disks, in the order of its "# disks:" line.
disks=()
for lib_name in ${GUEST_DISKS-}; do
	disks+=("/dev/$lib_name")
done
unset lib_name
at_exit_commands=()

# fail MESSAGE : ends the test as failed.
fail() {
	printf 'FAIL: %s (%s line %s)\n' "$1" "${BASH_SOURCE[1]##*/}" "${BASH_LINENO[0]}" >&2
	exit 1
}

# skip REASON : ends the test as skipped.
skip() {
	printf 'skip: %s\n' "$1"
	exit 77
}

# need MODULE|COMMAND... : skips the test where one is not there.
need() {
	local name
	for name in "$@"; do
		command -v "$name" >/dev/null || modprobe --quiet "$name" || skip "no $name here"
	done
}

# note MESSAGE : a line for whoever reads the log.
note() {
	printf '# %s\n' "$1"
}

# is WHAT GOT WANTED : fails unless both are the same text.
is() {
	[[ $2 == "$3" ]] || {
		printf 'FAIL: %s: got "%s", wanted "%s" (%s line %s)\n' "$1" "$2" "$3" \
			"${BASH_SOURCE[1]##*/}" "${BASH_LINENO[0]}" >&2
		exit 1
	}
}

# eq WHAT GOT WANTED : the same for numbers.
eq() {
	(($2 == $3)) || {
		printf 'FAIL: %s: got %s, wanted %s (%s line %s)\n' "$1" "$2" "$3" \
			"${BASH_SOURCE[1]##*/}" "${BASH_LINENO[0]}" >&2
		exit 1
	}
}

# wait_until SECONDS COMMAND... : waits until it succeeds; fails the test after the limit. That is counted in rounds: an
# emulated clock may jump.
wait_until() {
	local limit=$1 round
	shift
	for ((round = 0; round < limit * 10; round++)); do
		if "$@"; then
			return
		fi
		sleep 0.1
	done
	fail "not within $limit s: $*"
}

# at_exit COMMAND : run at the test's end, the last one first, before tear_down.
at_exit() {
	at_exit_commands=("$1" "${at_exit_commands[@]}")
}

# mkloop MIB [LOSETUP-OPTION...] : prints a loop device over a sparse file in memory.
mkloop() {
	local file
	file=$(mktemp /tmp/loop.XXXXXX)
	truncate -s "$1M" "$file"
	shift
	losetup --find --show "$@" "$file"
	rm "$file"
}

# load_remap [PARAMETER...], unload_remap : the module that was built for this kernel.
load_remap() {
	local module=/project/build/kmod/$KERNEL/dm-remap.ko
	[[ -f $module ]] || fail "$module is not built"
	# insmod resolves no dependencies, and they differ between kernels.
	modinfo --field depends "$module" | tr , '\n' | xargs modprobe -a
	insmod "$module" "$@"
}

unload_remap() {
	rmmod dm_remap
}

# remap_create NAME MAIN SPARE [OPTION-WORD...] : a remap device over all of both.
remap_create() {
	local name=$1 main=$2 spare=$3
	shift 3
	dmsetup create "$name" --table "0 $(blockdev --getsz "$main") remap $main 0 $spare 0${1:+ $# $*}"
}

# Prints loop devices that are in use.
used_loops() {
	local path
	for path in /sys/block/loop*/loop; do
		[[ ! -d $path ]] || printf '%s\n' "$path"
	done
}

# What can be removed goes, outermost first; some devices only when those on top of them have gone. Each test runs this: few
# programs, since an emulated machine needs a tenth of a second for one.
tear_down() {
	local round name where i left=
	local -a mounts

	for round in 1 2 3 4 5 6; do
		mapfile -t mounts </proc/mounts
		for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do
			read -r name where _ <<<"${mounts[i]}"
			case $name in
			/dev/mapper/* | /dev/dm-* | /dev/loop* | /dev/nullb* | /dev/sd* | /dev/md* | /dev/vd[c-z]*)
				umount "$where" 2>/dev/null || :
				;;
			esac
		done
		dmsetup ls 2>/dev/null | while read -r name _; do
			[[ $name == No ]] || dmsetup remove "$name" || :
		done 2>/dev/null
		[[ -z $(used_loops) ]] || losetup --detach-all 2>/dev/null || :
		left=$(dmsetup ls 2>/dev/null)
		left=${left#No devices found}$(used_loops)
		[[ -z $left ]] && break
		sleep 0.2
	done
	for name in /sys/kernel/config/nullb/*/; do
		if [[ -d $name ]]; then
			echo 0 >"$name/power" && rmdir "$name" || :
		fi
	done
	for name in dm_remap scsi_debug null_blk dm_flakey dm_delay dm_log_writes; do
		if [[ -d /sys/module/$name && -e /sys/module/$name/refcnt ]] && ! rmmod "$name"; then
			left+=" module $name"
		fi
	done
	[[ -z $left ]] || {
		printf 'FAIL: cannot be removed: %s\n' "$left" >&2
		return 1
	}
}

lib_exit() {
	local status=$? command

	trap - EXIT
	set +e
	for command in "${at_exit_commands[@]}"; do
		eval "$command" || status=${status/#0/1}
	done
	tear_down || status=${status/#0/1}
	exit "$status"
}

trap lib_exit EXIT
trap 'printf "FAIL: status %s of: %s (%s line %s)\n" "$?" "$BASH_COMMAND" "${BASH_SOURCE[0]##*/}" "$LINENO" >&2' ERR
set -o errtrace
