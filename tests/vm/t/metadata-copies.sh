#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: either copy of any superblock or metadata block zeroed, random or older: nothing lost, nothing stale
# invariants: 1 2 8
# timeout: 600

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 8)
spare=$(mkloop 5)
with_errors "$main" | dmsetup create lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0

# First the older state: metadata blocks in use, every kind of sector in them.
blkio /dev/mapper/r write 0 16384 1
relocate r 0 4800
with_errors "$main" 10003+2 11003+2 12003+2 | swap_table lower
blkio /dev/mapper/r - >/dev/null <<-IO || true
	check 10000 8 1
	check 11000 8 1
	check 12000 8 1
IO
dmsetup remove r
dd if="$spare" of=/tmp/older bs=1M iflag=direct status=none
remap_create r /dev/mapper/lower "$spare" retry_ms 0
# Then what makes it wrong to believe the older state: blocks released and written on main, slots used again for
# others, sectors healed, further blocks moved and written.
release r 0 1600
relocate r 13000 400
blkio /dev/mapper/r - <<-IO
	write 0 1600 2
	write 13000 100 2
	write 10003 1 2
	zero 11003 2
	write 2000 16 2
	flush
IO
with_errors "$main" 10003+2 | swap_table lower
blkio /dev/mapper/r check 12000 8 1
listed=$(runs_of r)
dmsetup remove r
dd if="$spare" of=/tmp/newer bs=1M iflag=direct status=none
main_sum=$(checksums "$main")

whole() {
	is "the list, $1" "$(runs_of r)" "$listed"
	expect_status r mode=rw unread_sectors=1 lost_sectors=0
	blkio /dev/mapper/r - <<-IO || fail "wrong data, $1"
		check 0 1600 2
		check 1600 400 1
		check 2000 16 2
		check 2016 7984 1
		check 10000 3 1
		check 10003 1 2
		check 10005 998 1
		check 11003 2 0
		check 11005 1995 1
		check 13000 100 2
		check 13100 3284 1
	IO
	is "the unread sector, $1" "$(blkio /dev/mapper/r map 10004 1)" 'EIO 10004 1'
}

restore() {
	dd if=/tmp/newer of="$spare" bs=1M oflag=direct status=none
}

# damage KIND SECTOR
damage() {
	case $1 in
	zeros) dd if=/dev/zero of="$spare" bs=512 seek="$2" count=8 oflag=direct status=none ;;
	random) dd if=/tmp/noise of="$spare" bs=512 seek="$2" count=8 oflag=direct status=none ;;
	older) dd if=/tmp/older of="$spare" bs=512 skip="$2" seek="$2" count=8 oflag=direct status=none ;;
	torn) dd if=/tmp/older of="$spare" bs=512 skip="$2" seek="$2" count=3 oflag=direct status=none ;;
	esac
}

perl -e 'srand(120); print pack("C*", map { int(rand(256)) } 1 .. 4096)' >/tmp/noise
spare-edit "$spare" where >/tmp/where
cat /tmp/where
declare -A sector_of
places=()
while read -r kind index copy sector; do
	sector_of[$kind $index $copy]=$sector
	((copy == 1)) || places+=("$kind $index")
done < <(awk '$1 == "super" { print $1, 0, $2, $3 } $1 == "meta" { print $1, $2, $3, $4 }' /tmp/where)
((${#places[@]} >= 5)) || fail "too few metadata blocks: ${places[*]}"
# Two that are in use, and one that is not.
some=("${places[@]:0:3}" "${places[-1]}")

for place in "${some[@]}"; do
	for kind in zeros random older torn; do
		for copy in 0 1; do
			what="copy $copy of $place: $kind"
			restore
			damage $kind "${sector_of[$place $copy]}"
			remap_create r /dev/mapper/lower "$spare" || fail "refused, $what"
			whole "$what"
			dmsetup remove r
			[[ $kind == random ]] || continue
			# The start has mended it: now the other copy may go.
			damage zeros "${sector_of[$place $((1 - copy))]}"
			remap_create r /dev/mapper/lower "$spare" || fail "refused, $what and then the other copy"
			whole "$what and then the other copy"
			dmsetup remove r
		done
	done
done
is 'the checksum of main' "$(checksums "$main")" "$main_sum"

# One copy of everything at once.
for copy in 0 1; do
	restore
	for place in "${places[@]}"; do
		damage random "${sector_of[$place $copy]}"
	done
	remap_create r /dev/mapper/lower "$spare" retry_ms 0
	whole "copy $copy of everything"
	dmsetup remove r
done

# Both copies of one: no I/O is served, the log says why and which, and nothing is written.
for place in "${some[@]}"; do
	restore
	for copy in 0 1; do
		damage random "${sector_of[$place $copy]}"
	done
	sum=$(checksums "$main" "$spare")
	log_mark
	if remap_create r /dev/mapper/lower "$spare" 2>/dev/null; then
		expect_status r mode=failed
		for io in 'check 0 8 2' 'check 16000 8 1' 'write 0 8 3' 'write 16000 8 3'; do
			# shellcheck disable=SC2086 # words
			if blkio /dev/mapper/r $io >/dev/null; then
				fail "$io succeeded without both copies of $place"
			fi
		done
		refused dmsetup message r 0 remap 0 8
		dmsetup remove r
	fi
	said=$(log_since | grep 'remap: ') || fail "no reason in the log, both copies of $place"
	case $place in
	super*) grep -qi 'superblock' <<<"$said" || fail "no superblock in: $said" ;;
	meta*) grep -qiE "metadata block ${place#meta }\>" <<<"$said" || fail "no metadata block ${place#meta } in: $said" ;;
	esac
	is "checksums, both copies of $place" "$(checksums "$main" "$spare")" "$sum"
done

# A copy that can't be written is fenced: from then on the other one counts alone, and where that is gone the fenced
# one, whole but older, is not believed.
restore
with_errors "$spare" | dmsetup create lower_spare
remap_create r /dev/mapper/lower /dev/mapper/lower_spare
with_errors "$spare" "${sector_of[meta 0 0]}+8" | swap_table lower_spare
relocate r 14000 8
blkio /dev/mapper/r write 14000 8 3
expect_status r mode=rw fenced_copies=1
dmsetup remove r
with_errors "$spare" | swap_table lower_spare
dd if="$spare" of=/tmp/fenced bs=1M iflag=direct status=none
damage random "${sector_of[meta 0 1]}"
remap_create r /dev/mapper/lower /dev/mapper/lower_spare
expect_status r mode=failed
dmsetup remove r
# It gets another chance, and then it counts as any.
dd if=/tmp/fenced of="$spare" bs=1M oflag=direct status=none
remap_create r /dev/mapper/lower /dev/mapper/lower_spare
expect_status r mode=rw fenced_copies=0
blkio /dev/mapper/r check 14000 8 3
dmsetup remove r
damage random "${sector_of[meta 0 1]}"
remap_create r /dev/mapper/lower /dev/mapper/lower_spare
blkio /dev/mapper/r check 14000 8 3

# A copy of the superblock that could not be written is written with the next change, and the good one is left alone.
with_errors "$spare" "${sector_of[meta 0 0]}+8" "${sector_of[super 0 1]}+8" | swap_table lower_spare
relocate r 14400 8
expect_status r mode=rw fenced_copies=1
with_errors "$spare" "${sector_of[super 0 0]}+8" | swap_table lower_spare
relocate r 14408 8
for copy in 0 1; do
	dd if="$spare" of=/tmp/super.$copy bs=512 skip="${sector_of[super 0 $copy]}" count=8 iflag=direct status=none
done
cmp /tmp/super.0 /tmp/super.1 || fail 'copy B of the superblock is still an old one'
with_errors "$spare" | swap_table lower_spare
dmsetup remove r lower_spare

# Two entries for one block, as a crash leaves them between two moves: the newer generation counts, also where the
# numbers begin again, and the other one is gone for good.
metas=$(awk '$1 == "meta" && $3 == 0' /tmp/where | wc -l)
slots_start=${sector_of[meta 0 0]}
slots_start=$((slots_start + metas * 8))
mapped=$(awk '{ blocks += $2 / 8 } END { print blocks }' <<<"$listed")
entry_of() {
	local place=$((($(dmsetup message r 0 list "$1" 1 | cut -d ' ' -f 3) - slots_start) / 8))
	echo "$((place / 252)) $((place % 252))"
}
for generations in '0 1 second' '1 0 first' '65535 0 second' '0 65535 first'; do
	read -r one two winner <<<"$generations"
	restore
	remap_create r /dev/mapper/lower "$spare"
	for place in 15000 15400; do
		relocate r $place 8
		blkio /dev/mapper/r write $place 8 4
	done
	first=$(entry_of 15000) second=$(entry_of 15400)
	dd if=/dev/mapper/r of=/tmp/first bs=512 skip=15000 count=8 iflag=direct status=none
	dd if=/dev/mapper/r of=/tmp/second bs=512 skip=15400 count=8 iflag=direct status=none
	dmsetup remove r
	# shellcheck disable=SC2086 # two words each
	spare-edit "$spare" entry $first $((15000 / 8)) 1 3 "$one" 0 0 &&
		spare-edit "$spare" entry $second $((15000 / 8)) 1 3 "$two" 0 0
	for activation in 1 2; do
		remap_create r /dev/mapper/lower "$spare"
		is "what counts of generations $one and $two, activation $activation" "$(entry_of 15000)" "${!winner}"
		dd if=/dev/mapper/r bs=512 skip=15000 count=8 iflag=direct status=none | cmp - "/tmp/$winner" ||
			fail "generations $one and $two: other data than that of the $winner"
		blkio /dev/mapper/r check 15400 8 1
		dmsetup remove r
	done
	eq 'entries on the spare' "$(spare-edit "$spare" where | awk '$1 == "meta" && $3 == 0 { used += $6 } END { print used }')" \
		$((mapped + 1))
done
