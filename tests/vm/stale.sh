# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# What the tests of stamped mains share, inside the guest; sourced after lib.sh.

mkdir -p /tmp/mnt

# kept DEVICE COPY : copies a device to another; same DEVICE COPY : fails where they differ. Checksums take the emulator ten
# times as long.
kept() {
	dd if="$1" of="$2" bs=1M iflag=direct oflag=direct status=none
}

same() {
	blockdev --flushbufs "$1" "$2"
	cmp -n "$(blockdev --getsize64 "$1")" -- "$1" "$2" || fail "$1 is not what it was"
}

# filled DEVICE [MOUNT-OPTION...] : puts files on a file system; their checksums are in /tmp/manifest.
filled() {
	mount "${@:2}" "$1" /tmp/mnt
	(cd /tmp/mnt && for ((file = 0; file < 8; file++)); do head -c 300001 /dev/urandom >"file$file"; done)
	(cd /tmp/mnt && sha256sum file* >/tmp/manifest)
	umount /tmp/mnt
}

# files_are_good DEVICE [MOUNT-OPTION...]
files_are_good() {
	mount "${@:2}" "$1" /tmp/mnt
	(cd /tmp/mnt && sha256sum --quiet --check /tmp/manifest) || fail "files on $1"
	umount /tmp/mnt
}

# fails_on COMMAND... : it ends with an error of its own (no crash, no time-out).
fails_on() {
	local status=0
	timeout 60 "$@" >/tmp/said 2>&1 </dev/null || status=$?
	((status > 0 && status < 124 || status == 255)) || fail "status $status of $*: $(tail -n 3 /tmp/said)"
}

# reads_stamped DISK SECTOR
reads_stamped() {
	dd if="$1" skip="$2" count=1 iflag=direct status=none | grep -aqF 'ORCLDISKassemble dm-remap first' ||
		fail "sector $2 of $1 is not stamped"
}

# shows_stamp DISK : to a person and to programs it is stamped, and nothing else.
shows_stamp() {
	is "what head shows of $1" "$(head -c 64 "$1" | sed -n 's/^ORCLDISK//p')" 'assemble dm-remap first'
	is "what blkid shows of $1" "$(blkid -p -o export "$1" | grep -v '^DEVNAME=\|^USAGE=')" \
		$'LABEL=assemble\\ dm-remap\\ first\nTYPE=oracleasm'
	is "what blkid shows of $1 without looking closely" "$(blkid -o value -s LABEL "$1")" 'assemble dm-remap first'
	is "what wipefs shows of $1" "$(wipefs --noheadings --output OFFSET,TYPE "$1" | tr -s ' ')" '0x20 oracleasm'
}

# not_mounted DISK : by no type.
not_mounted() {
	local type
	fails_on mount "$1" /tmp/mnt
	grep -q "unknown filesystem type 'oracleasm'" /tmp/said || fail "mount $1: $(cat /tmp/said)"
	for type in ext2 ext4 xfs btrfs vfat; do
		fails_on mount -t $type "$1" /tmp/mnt
		grep -q 'already mounted' /tmp/said && fail "mount -t $type $1: $(cat /tmp/said)"
	done
	return 0
}

# has_no_stamp DISK
has_no_stamp() {
	! dd if="$1" bs=1M iflag=direct status=none | grep -aqF 'assemble dm-remap first' || fail "$1 is still stamped"
}

# refuses STATUS PATTERN ARGUMENT... : remapctl says no, and why.
refuses() {
	local wanted=$1 pattern=$2 status=0
	shift 2
	remapctl "$@" >/tmp/said 2>/tmp/err </dev/null || status=$?
	eq "status of remapctl $*" "$status" "$wanted"
	grep -Eq "$pattern" /tmp/err || fail "remapctl $*: $(cat /tmp/err)"
}

# stamped_blocks : what the last command said in JSON.
stamped_blocks() {
	jq .stamped_blocks /tmp/out
}
