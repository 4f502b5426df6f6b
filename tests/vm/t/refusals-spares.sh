#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: spares that are another's, in use, newer or damaged, and nonsense in messages: refused, nothing written
# invariants: 1 9 10
# disks: 8M:serial=main 4M:serial=spare
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=/dev/main spare=/dev/spare
size=$(sectors_of $main)
sums() {
	checksums /dev/main /dev/spare "$other_spare" "$other_main"
}

# no REASON-REGEX TABLE : the table is refused with a line in the log that says so.
no() {
	log_mark
	refused dmsetup create refused_r --table "$2"
	log_since | grep -qiE "device-mapper:.*($1)" || fail "no reason like '$1' in the log for '$2': $(log_since)"
	if dmsetup info refused_r >/dev/null 2>&1; then
		fail "a device is left of '$2'"
	fi
}

other_main=$(mkloop 8)
other_spare=$(mkloop 4)
blkio $main write 0 16384 1

# --- spares that are another's, in use, newer, damaged --------------------------------------------------------------
dmsetup create r --table "0 $size remap $main 0 $spare 0 3 format main_id wwn-0x5000c500a1b2c3d4"
relocate r 1000 100
dmsetup remove r
before=$(sums)
no 'superblock|holds' "0 $size remap $main 0 $spare 0 1 format"
no 'main_id|another|main' "0 $size remap $main 0 $spare 0 2 main_id wwn-0x5000c500a1b2c3d5"
no 'cut off' "0 1048 remap $main 0 $spare 0"
no 'offset|main' "0 $((size - 8)) remap $main 8 $spare 0"
no 'superblock|swapped|spare' "0 $(sectors_of $spare) remap $spare 0 $main 0"
no 'swapped|spare' "0 $(sectors_of $spare) remap $spare 0 $main 0 1 format"
no 'superblock' "0 $size remap $main 0 $spare 8"
is 'checksums' "$(sums)" "$before"

dmsetup create r --table "0 $size remap $main 0 $spare 0"
before=$(sums)
no 'use|busy' "0 $size remap $other_main 0 $spare 0"
no 'use|busy' "0 $size remap $other_main 0 $spare 0 1 format"
no 'use|busy' "0 $size remap $main 0 $spare 0"
is 'checksums' "$(sums)" "$before"
dmsetup remove r

mkfs.ext4 -q "$other_spare"
mkdir -p /tmp/mnt
mount -o ro "$other_spare" /tmp/mnt
before=$(sums)
no 'use|busy|spare' "0 $size remap $main 0 $other_spare 0 1 format"
is 'checksums' "$(sums)" "$before"
umount /tmp/mnt

dd if=$spare of=/tmp/good bs=1M iflag=direct status=none
# tests/unit/format has every field; here, that the module asks.
while read -r reason field value; do
	dd if=/tmp/good of=$spare bs=1M oflag=direct status=none
	spare-edit $spare super "$field" "$value"
	before=$(sums)
	no "$reason" "0 $size remap $main 0 $spare 0"
	is "checksums, $field $value" "$(sums)" "$before"
done <<-CASES
	newer version 2
	feature|newer|bit incompat 1
	impossible block_sectors 9
	impossible unit_sectors 64
	impossible nr_segments 4294967295
	impossible nr_fenced 513
	impossible nr_groups_initialised 0
	impossible|spare|small|end segment[0].nr_sectors 18446744073709551600
	impossible segment[0].start_sector 18446744073709551600
	impossible|main|length main_sectors 18446744073709551615
	impossible|main|offset main_offset_sectors 8
CASES
# Unknown bits that only forbid writing: read-only activation and no other.
dd if=/tmp/good of=$spare bs=1M oflag=direct status=none
spare-edit $spare super ro_compat 4
before=$(sums)
no 'read-only|feature' "0 $size remap $main 0 $spare 0"
dmsetup create --readonly r --table "0 $size remap $main 0 $spare 0"
expect_status r mode=ro
dmsetup remove r
is 'checksums' "$(sums)" "$before"

# Formatted for larger logical blocks than main has now: no table that would end, or be, within one of them. dm itself
# finds that only when it has suspended the old table.
dd if=/tmp/good of=$spare bs=1M oflag=direct status=none
spare-edit $spare super unit_sectors 2
dmsetup create r --table "0 $size remap $main 0 $spare 0"
log_mark
refused dmsetup load r --table "0 $((size - 1)) remap $main 0 $spare 0"
log_since | grep -q 'device-mapper:.*multiple' || fail "no reason in the log: $(log_since)"
blkio $main check 0 8 1
dmsetup remove r

# For blocks that this kernel's page cache can't have: to read such a device would crash it.
dd if=/tmp/good of=$spare bs=1M oflag=direct status=none
spare-edit $spare super block_sectors 16
spare-edit $spare super unit_sectors 16
no 'larger than a page' "0 $size remap $main 0 $spare 0"

# The spare became another's between load and resume: nothing is written to it, and nothing believed of it.
other_image() {
	dd if="$1" of=$spare bs=1M oflag=direct status=none
	before=$(sums)
	log_mark
	dmsetup resume r
	expect_status r mode=failed
	log_since | grep -q "not activated, all I/O fails: .*$2" || fail "no reason like '$2' in the log: $(log_since)"
	is "checksums, $2" "$(sums)" "$before"
	dmsetup remove r
}
dd if=/dev/zero of=/tmp/empty bs=1M count=4 status=none
dd if=/tmp/empty of=$spare bs=1M oflag=direct status=none
dmsetup create --notable r
dmsetup load r --table "0 $size remap $main 0 $spare 0 1 format"
other_image /tmp/good 'superblock already'
dd if=/tmp/empty of=$spare bs=1M oflag=direct status=none
dmsetup create r --table "0 $size remap $main 0 $spare 0 1 format"
dmsetup remove r
dmsetup create --notable r
dmsetup load r --table "0 $size remap $main 0 $spare 0"
other_image /tmp/good 'another spare'

# A spare that became smaller than it says.
dd if=/tmp/good of=$spare bs=1M oflag=direct status=none
echo "0 4096 linear $spare 0" | dmsetup create small
no 'small|end|sectors' "0 $size remap $main 0 /dev/mapper/small 0"
dmsetup remove small

# --- messages -------------------------------------------------------------------------------------------------------
dmsetup create r --table "0 $size remap $main 0 $spare 0"
listed=$(runs_of r)
before=$(sums)
while read -r message; do
	log_mark
	is "'$message'" "$(dmsay r <<<"$message" || true)" EINVAL
	log_since | grep -q 'device-mapper: remap: ' || fail "no line in the log for '$message'"
done <<-MESSAGES
	frobnicate
	remap
	remap 0
	remap x 8
	remap 0 x
	remap 0 0
	remap -8 8
	remap 0 -8
	remap 0 8 8
	remap $size 8
	remap $((size - 8)) 9
	remap 0 18446744073709551615
	remap 18446744073709551615 2
	remap 99999999999999999999 8
	remap 8x 8
	release
	release 0
	release 0 0
	release $size 8
	release x 8
	list x
	list 0 x
	list 0 1 2
	list -1
	set
	set storm_budget
	set storm_budget x
	set storm_budget -1
	set storm_budget 1 2
	set salvage_ms 99999999999999999999
	set retry_ms 1s
	set format 1
	set main_id foo
	set frobnicate 1
MESSAGES
is 'the list' "$(runs_of r)" "$listed"
is 'checksums' "$(sums)" "$before"
expect_status r mode=rw
