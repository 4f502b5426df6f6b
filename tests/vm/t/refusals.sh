#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: what must be refused is refused with a reason in the log, and nothing is written
# invariants: 1 5 9 10
# disks: 32M:serial=main 16M:serial=spare 16M:lbs=4096:serial=spare4k 64M:serial=parted
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=/dev/main spare=/dev/spare
size=$(sectors_of $main)
sums() {
	checksums /dev/main /dev/spare /dev/spare4k /dev/parted "$other_spare" "$other_main"
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

# --- nonsense in the table line, on devices that hold nothing of ours -------------------------------------------------
other_main=$(mkloop 32)
other_spare=$(mkloop 16)
blkio $main write 0 65536 1
before=$(sums)
no 'needs' "0 $size remap"
no 'needs' "0 $size remap $main"
no 'needs' "0 $size remap $main 0"
no 'needs' "0 $size remap $main 0 $spare"
no 'main' "0 $size remap /dev/nonexistent 0 $spare 0 1 format"
no 'spare' "0 $size remap $main 0 /dev/nonexistent 0 1 format"
no 'offset' "0 $size remap $main x $spare 0 1 format"
no 'offset' "0 $size remap $main -1 $spare 0 1 format"
no 'offset' "0 $size remap $main 0 $spare x 1 format"
no 'offset' "0 $size remap $main 0 $spare 7 1 format"
no 'offset' "0 $size remap $main 0 $spare -8 1 format"
no 'spare' "0 $size remap $main 0 $spare 999999992 1 format"
no 'spare' "0 $size remap $main 0 $spare 18446744073709551608 1 format"
no 'main' "0 $((size + 8)) remap $main 0 $spare 0 1 format"
no 'main' "0 $size remap $main 8 $spare 0 1 format"
no 'main' "0 $size remap $main 18446744073709551608 $spare 0 1 format"
no 'option|argument' "0 $size remap $main 0 $spare 0 x"
no 'option|argument' "0 $size remap $main 0 $spare 0 2 format"
no 'option|argument' "0 $size remap $main 0 $spare 0 1 format format"
no 'option|argument' "0 $size remap $main 0 $spare 0 -1 format"
no 'option|argument' "0 $size remap $main 0 $spare 0 99999999999 format"
no 'option' "0 $size remap $main 0 $spare 0 1 frmat"
no 'option' "0 $size remap $main 0 $spare 0 2 format storm_budget"
no 'option' "0 $size remap $main 0 $spare 0 3 format storm_budget x"
no 'option' "0 $size remap $main 0 $spare 0 3 format storm_budget -1"
no 'option' "0 $size remap $main 0 $spare 0 3 format storm_budget 99999999999999999999"
no 'option' "0 $size remap $main 0 $spare 0 3 format salvage_ms 1s"
no 'option' "0 $size remap $main 0 $spare 0 3 format retry_ms -5"
no 'main_id' "0 $size remap $main 0 $spare 0 3 format main_id $(printf 'x%.0s' {1..64})"
no 'main_id' "0 $size remap $main 0 $spare 0 3 format main_id $(printf 'x\001y')"

# --- devices that can't go together ---------------------------------------------------------------------------------
no 'superblock' "0 $size remap $main 0 $spare 0"
no 'overlap|in use' "0 $size remap $main 0 $main 0 1 format"
no 'overlap|in use' "0 16384 remap $main 0 $main 16376 1 format"
no 'overlap|in use' "0 16384 remap $main 16384 $main 0 1 format"
no 'logical' "0 $size remap $main 0 /dev/spare4k 0 1 format"
no 'multiple' "0 16380 remap /dev/spare4k 0 $spare 0 1 format"
no 'multiple' "0 16384 remap /dev/spare4k 4 $spare 0 1 format"
addpart /dev/parted 1 2048 65536
addpart /dev/parted 2 67584 63488
wait_until 10 compgen -G '/sys/block/vd*/vd*2' >/dev/null
part2=/dev/$(basename "$(compgen -G '/sys/block/vd*/vd*2')")
part1=${part2%2}1
no 'overlap|in use' "0 65536 remap $part1 0 /dev/parted 0 1 format"
no 'overlap|in use' "0 65536 remap $part1 0 /dev/parted 67576 1 format"
no 'overlap|in use' "0 100000 remap /dev/parted 0 $part2 0 1 format"
for blocks in 8 2040 2048 2056; do
	echo "0 $blocks linear $spare 0" | dmsetup create small
	no 'small' "0 $size remap $main 0 /dev/mapper/small 0 1 format"
	dmsetup remove small
done
null_disk zoned 64 zoned=1 zone_size=4 || note 'no zoned null_blk here'
if [[ -b /dev/zoned ]]; then
	no 'zoned' "0 65536 remap /dev/zoned 0 $spare 0 1 format"
	no 'zoned' "0 $size remap $main 0 /dev/zoned 0 1 format"
fi
is 'checksums' "$(sums)" "$before"
# What does not overlap may be on one disk.
dmsetup create r --table "0 65536 remap $part1 0 $part2 0 1 format"
dmsetup remove r
