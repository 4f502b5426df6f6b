# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Ways to break a spare, for the tests of what mends it; sourced after target.sh.
#
# The caller has set: spare (a device-mapper device), disk (what is below it), and made /tmp/good (the spare as it
# should be), /tmp/older (as it was some time before), /tmp/other (another spare of the same size).

perl -e 'srand(7); print pack("C*", map { int(rand(256)) } 1 .. 4096)' >/tmp/noise

# find_places : where the metadata of the spare is; sets at["super 0 COPY"] and at["meta INDEX COPY"] to sectors.
declare -A at
find_places() {
	local kind index copy sector
	spare-edit "$spare" where >/tmp/where
	cat /tmp/where
	while read -r kind index copy sector; do
		at[$kind $index $copy]=$sector
	done < <(awk '$1 == "super" { print $1, 0, $2, $3 } $1 == "meta" { print $1, $2, $3, $4 }' /tmp/where)
}

# as_good_as_new : the spare is /tmp/good again, and all of it can be read and written.
as_good_as_new() {
	[[ -z ${other_table-} ]] || with_errors "$disk" | swap_table "${spare##*/}"
	other_table=
	dd if=/tmp/good of="$spare" bs=1M oflag=direct status=none
}

# put FILE FROM-SECTOR SECTOR [COUNT] : overwrites sectors of the spare.
put() {
	dd if="$1" of="$spare" bs=512 skip="$2" seek="$3" count="${4:-8}" oflag=direct conv=notrunc status=none
}

# broke WAY PLACE... : breaks these copies ("super 0 1" is copy B of the superblock) in one way.
broke() {
	local way=$1 place sector bad=()
	shift
	for place in "$@"; do
		sector=${at[$place]}
		case $way in
		zeros) put /dev/zero 0 "$sector" ;;
		noise) put /tmp/noise 0 "$sector" ;;
		flip)
			dd if="$spare" bs=512 skip="$sector" count=8 iflag=direct status=none |
				perl -0777 -pe 'substr($_, 1111, 1) ^= "\x10"' >/tmp/flipped
			put /tmp/flipped 0 "$sector"
			;;
		older) put /tmp/older "$sector" "$sector" ;;
		torn) put /tmp/older "$sector" "$sector" 3 ;;
		head) put /tmp/noise 0 "$sector" 3 ;;
		tail) put /tmp/noise 0 $((sector + 5)) 3 ;;
		misplaced) put /tmp/good "${at[meta $((${place:5:1} == 0)) 0]}" "$sector" ;;
		foreign) put /tmp/other "$sector" "$sector" ;;
		dead) bad+=("$sector+8") ;;
		dead-head) bad+=("$sector+2") ;;
		*) fail "no way $way" ;;
		esac
	done
	[[ ${#bad[@]} -ne 0 ]] || return 0
	with_errors "$disk" "${bad[@]}" | swap_table "${spare##*/}"
	other_table=yes
}

# shorter SECTORS : the spare ends so much earlier.
shorter() {
	echo "0 $(($(sectors_of "$disk") - $1)) linear $disk 0" | swap_table "${spare##*/}"
	other_table=yes
}

# both WAY-OF-A WAY-OF-B PLACE : breaks both copies, each in its way.
both() {
	broke "$1" "$3 0"
	broke "$2" "$3 1"
}
