# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# An exact bad range somewhere in one I/O: which blocks have to move, and what has to be read afterwards. Sourced by
# the tests of each failing device, after target.sh; they differ in how a range is made bad.
#
# A case is "FIRST COUNT BAD...": an I/O, and the bad ranges SECTOR+COUNT near it, relative to an area of its own.

area_sectors=4096
fixed_cases=(
	'1024 1 1024+1'				# 512 bytes, the bad sector itself
	'1024 8 1027+1'				# one block, one sector of it
	'1024 8 1024+8'				# one block, all of it
	'1024 2048 1030+1'			# 1 MiB from a block's start
	'1021 2048 2000+1'			# 1 MiB from within a block
	'1027 2041 1027+1'			# the first sector of the I/O
	'1027 2041 3067+1'			# its last
	'1025 100 1063+3'			# over a block's edge
	'1000 256 1100+24'			# two whole blocks and half of each neighbour
	'1028 4 1024+4'				# before the I/O in its block: not concerned
	'1024 4 1028+4'				# after it: not concerned
	'1030 50 1020+12'			# reaches into the I/O
	'1030 50 1075+30'			# and out of it
	'1024 2048 1040+1 1047+1 2047+2 3000+70'	# several
	'1031 1 1024+15'			# all around a single sector
	'1024 16 1025+7 1032+7'			# one good sector in each block
	'1023 2 1023+1'				# two sectors of two blocks
	'1024 512 1000+600'			# all of the I/O and more
)

# range_cases SEED RANDOM_COUNT : prints the fixed cases and as many random ones.
range_cases() {
	local i first count sizes=(1 2 3 7 8 9 16 63 64 255 256 1024 2048)

	printf '%s\n' "${fixed_cases[@]}"
	RANDOM=$1
	for ((i = 0; i < $2; i++)); do
		count=${sizes[RANDOM % ${#sizes[@]}]}
		first=$((1000 + RANDOM % 64))
		printf '%d %d %d+%d\n' "$first" "$count" "$((first - 10 + RANDOM % (count + 20)))" "$((1 + RANDOM % 20))"
	done
}

# place_cases FIRST_AREA : moves the cases on standard input each to an area of its own.
place_cases() {
	awk -v base="$(($1 * area_sectors))" -v area="$area_sectors" '{
		printf "%d %d", $1 + base, $2
		for (i = 3; i <= NF; i++) { split($i, r, "+"); printf " %d+%d", r[1] + base, r[2] }
		print ""
		base += area
	}'
}

# bad_ranges : the bad ranges of the cases on standard input, one a line.
bad_ranges() {
	awk '{ for (i = 3; i <= NF; i++) print $i }'
}

# concerned read|write|around [BLOCK_SECTORS] : the first sectors of the blocks that the cases' I/O has to move:
# those with a bad sector inside the I/O; a read moves none of which nothing can be read. "around" is the read of all
# that is near the case.
concerned() {
	awk -v mode="$1" -v block="${2:-8}" '{
		from = $1; to = $1 + $2
		if (mode == "around") { from -= 64; to += 700 }
		for (i = 3; i <= NF; i++) {
			split($i, r, "+")
			for (s = r[1]; s < r[1] + r[2]; s++) {
				b = int(s / block)
				bad[b]++
				if (s >= from && s < to) touched[b] = 1
			}
		}
	} END {
		for (b in touched) if (mode == "write" || bad[b] < block) print b * block
	}' | sort -n
}

# outcome read|write : what blkio has to print for the I/O of each case: nothing where it succeeds.
outcome() {
	awk -v mode="$1" '{
		hit = 0
		for (i = 3; i <= NF; i++) { split($i, r, "+"); if (r[1] < $1 + $2 && r[1] + r[2] > $1) hit = 1 }
		if (hit && mode == "read") print "EIO", $1, $2, "check"
	}'
}

# content read|write [healed] : what "blkio map" has to print for all that is near each case, after its I/O, and after
# main reads again.
content() {
	awk -v mode="$1" -v healed="${2-}" '{
		delete bad
		for (i = 3; i <= NF; i++) { split($i, r, "+"); for (s = r[1]; s < r[1] + r[2]; s++) bad[s] = 1 }
		start = $1 - 64; run = ""
		for (s = $1 - 64; s < $1 + $2 + 700; s++) {
			if (mode == "write" && s >= $1 && s < $1 + $2) what = 2
			else if (s in bad && healed == "") what = "EIO"
			else what = 1
			if (run != "" && what != run) { print run, start, s - start; start = s }
			run = what
		}
		print run, start, s - start
	}'
}

# near COMMAND [ARGUMENT] : blkio commands for all that is near each case.
near() {
	awk -v command="$1" -v argument="${2-}" '{ print command, $1 - 64, $2 + 764, argument }'
}

# join_runs : makes one of runs of the same kind that lie end to end.
join_runs() {
	awk '$1 == what && $2 == end { end += $3; next } { if (what != "") print what, start, end - start
		what = $1; start = $2; end = $2 + $3 } END { print what, start, end - start }'
}

# expect_lines WHAT FILE_EXPECTED FILE_FOUND
expect_lines() {
	diff "$2" "$3" >/tmp/lines.diff ||
		fail "$1: expected (<), found (>):"$'\n'"$(head -n 40 /tmp/lines.diff)"
}

# exact_range READ_CASES WRITE_CASES : all of it, on the remap device r with the block size of 8 sectors. The test
# says how main changes: break_main RANGE..., mend_main, kill_main.
exact_range() {
	local read_cases=$1 write_cases=$2 bad blocks
	cd /tmp
	cat "$read_cases" "$write_cases" >all.cases

	near write 1 <all.cases | blkio /dev/mapper/r -
	expect_status r mapped_blocks=0
	mapfile -t bad < <(bad_ranges <all.cases)
	break_main "${bad[@]}"

	# Reads fail where they touch a bad sector, and what can be read of the blocks concerned moves.
	outcome read <"$read_cases" >expected
	awk '{ print "check", $1, $2, 1 }' "$read_cases" | blkio /dev/mapper/r - >found || (($? == 1)) || fail 'wrong data'
	expect_lines 'what reads return' expected found
	concerned read <"$read_cases" >blocks
	mapfile -t blocks <blocks
	expect_blocks r "${blocks[@]}"

	# Writes succeed wherever they go.
	awk '{ print "write", $1, $2, 2 }' "$write_cases" | blkio /dev/mapper/r - || fail 'a write failed'
	concerned write <"$write_cases" >>blocks
	mapfile -t blocks <blocks
	expect_blocks r "${blocks[@]}"

	# Every sector that can be read is right, the bad ones that were not written fail.
	{ content read <"$read_cases"; content write <"$write_cases"; } >expected
	near map <all.cases | blkio /dev/mapper/r - >found
	expect_lines 'sector by sector' expected found
	concerned around <all.cases >>blocks
	mapfile -t blocks <blocks
	expect_blocks r "${blocks[@]}"

	# The disk recovers: all of it reads again, nothing that was written is stale, what was missing comes along.
	mend_main
	{ content read healed <"$read_cases"; content write healed <"$write_cases"; } >expected
	near map <all.cases | blkio /dev/mapper/r - >found
	expect_lines 'after the disk recovered' expected found
	expect_status r unread_sectors=0 lost_sectors=0

	# And now it dies for good: what was moved is whole.
	kill_main
	blocks_of r | awk '{ print "map", $1, 8 }' | blkio /dev/mapper/r - >found
	if grep -v '^[12] ' found; then
		fail 'a moved block does not read without main'
	fi
}
