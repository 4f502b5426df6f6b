#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remapctl check tells each documented way to break a spare, and the module does what check says it will
# invariants: 1 8
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/broken-spare.sh

load_remap
main=$(mkloop 8)
disk=$(mkloop 3)
other=$(mkloop 3)
with_errors "$main" | dmsetup create lower
with_errors "$disk" | dmsetup create spare
main=/dev/mapper/lower
spare=/dev/mapper/spare

# --- a spare, an older state of it, and another spare ----------------------------------------------------------------

blkio $main write 0 16384 1
remap_create r $main $spare format
relocate r 0 2400
dmsetup remove r
dd if=$spare of=/tmp/older bs=1M iflag=direct status=none
# The id that is new makes the module write another superblock.
remap_create r $main $spare main_id wwn-0x5000c500a1b2c3d4
release r 0 2080
relocate r 13000 400
dmsetup remove r
dd if=$spare of=/tmp/good bs=1M iflag=direct status=none
remap_create o $main "$other" format
relocate o 0 800
dmsetup remove o
dd if="$other" of=/tmp/other bs=1M iflag=direct status=none
find_places
[[ -n ${at[meta 2 1]} ]] || fail 'too few metadata blocks'

nothing() { :; }
edit() { spare-edit $spare "$@"; }

# fenced_and [WAY PLACE] : copy A of metadata block 1 is fenced, and copy B may be broken.
fenced_and() {
	edit super 'fenced[0]' 2
	edit super nr_fenced 1
	[[ $# -eq 0 ]] || broke "$@"
}

# newer_copy COPY : one copy of the superblock has a feature that nobody knows.
newer_copy() {
	edit super incompat 64
	put /tmp/good "${at[super 0 $((1 - $1))]}" "${at[super 0 $((1 - $1))]}"
}

# --- what check has to say, and the module to do ----------------------------------------------------------------------

# map : the map as dump has it, in the words of "list" but for the last column.
map() {
	remapctl dump $spare 2>/dev/null | awk '/REASON/ { on = 1; next } on { print $1, $2, $3, $4, $5, $6 }'
}

# try VERDICT ACTIVATES KIND COMMAND... : breaks the spare with the command; then check says this, with nothing else
# but findings of this kind, and the module does it.
case_nr=0
try() {
	local verdict=$1 activates=$2 kind=$3 status=0 wanted=0 before said
	shift 3
	case_nr=$((case_nr + 1))
	as_good_as_new
	"$@"
	before=$(checksums "$disk")
	remapctl --json check $spare >/tmp/check || status=$?
	is "the spare after check, $*" "$(checksums "$disk")" "$before"
	case $verdict in mends) wanted=1 ;; loses) wanted=2 ;; newer) wanted=69 ;; esac
	eq "status of check, $*" "$status" "$wanted"
	read -r -a said < <(jq -r '[.verdict, .activates, ([.findings[].kind] | unique | join(",")) + ".",
		.mapped_blocks, .retired_blocks, .unread_sectors, .lost_sectors] | join(" ")' /tmp/check)
	is "check, $*" "${said[*]:0:3}" "$verdict $activates ${kind/none/}."

	case $activates in
	refused)
		if remap_create r $main $spare 2>/dev/null; then
			expect_status r mode=failed
			dmsetup remove r
		fi
		is "the spare after the refusal, $*" "$(checksums "$disk")" "$before"
		;;
	read-only)
		refused dmsetup create r --table "$(remap_table $main $spare)"
		map >/tmp/map
		dmsetup create --readonly r --table "$(remap_table $main $spare)"
		expect_status r mode=ro
		is "the map, $*" "$(runs_of r)" "$(</tmp/map)"
		dmsetup remove r
		;;
	yes)
		map >/tmp/map
		remap_create r $main $spare
		expect_status r mode=rw "mapped_blocks=${said[3]}" "retired_blocks=${said[4]}" \
			"unread_sectors=${said[5]}" "lost_sectors=${said[6]}"
		is "the map, $*" "$(runs_of r)" "$(</tmp/map)"
		dmsetup remove r
		# What mends is mended now, unless it can't be written.
		[[ $verdict == mends ]] || return 0
		[[ "$*" != *dead* ]] || wanted=1
		[[ "$*" == *dead* ]] || wanted=0
		status=0
		remapctl check $spare >/tmp/out || status=$?
		eq "status of check after the module has mended, $*" "$status" $wanted
		;;
	esac
}

try clean yes none nothing
try mends yes superblock-copy broke zeros 'super 0 0'
try mends yes superblock-copy broke older 'super 0 1'
try mends yes superblock-copy broke dead-head 'super 0 0'
try newer refused superblock-newer newer_copy 1
try loses refused superblock-gone both noise flip 'super 0'
try mends refused superblock-pieced both head tail 'super 0'
try mends yes block-copy broke flip 'meta 1 0'
try mends yes block-copy broke older 'meta 1 1'
try mends yes block-copy broke foreign 'meta 0 0' 'meta 1 1'
try mends yes block-copy broke dead 'meta 1 1'
try mends yes block-copy fenced_and
try loses refused block-gone fenced_and flip 'meta 1 1'
try loses refused block-gone both misplaced dead 'meta 1'
try mends refused block-pieced both tail dead-head 'meta 1'
# Fields of the superblock.
try clean read-only superblock-read-only edit super ro_compat 4
try loses read-only incomplete edit super ro_compat 1
try loses refused superblock-behind edit super sequence 0
try newer refused superblock-newer edit super version 2
try loses refused superblock-gone edit super block_sectors 9
# Where it ends now was a copy of the last metadata block.
try loses refused block-copy,too-small shorter 8
# Entries: INDEX PLACE BLOCK STATE REASON GENERATION UNREAD LOST. Block 1630 is mapped, block 1 is not.
try loses refused entry-impossible edit entry 2 0 1 4 1 0 0 0
try mends yes entry-outdated edit entry 2 0 1630 1 1 65535 0 0
try loses yes entry-ambiguous edit entry 2 0 1630 1 1 0 0 0
try clean yes none edit entry 2 0 1 1 1 0 0x0f 0xf0
note "$case_nr ways to break a spare"

# --- not a spare, not now ---------------------------------------------------------------------------------------------

# status_of STATUS ARGUMENT... : of remapctl; what it says is in /tmp/out and /tmp/err.
status_of_remapctl() {
	local status=0 wanted=$1
	shift
	remapctl "$@" >/tmp/out 2>/tmp/err || status=$?
	eq "status of remapctl $*" "$status" "$wanted"
}

as_good_as_new
status_of_remapctl 0 check /tmp/good
is 'nothing is noted' "$(</tmp/err)" ''
status_of_remapctl 65 check $main
status_of_remapctl 66 check /tmp/missing
status_of_remapctl 65 check $spare --spare-offset 4096
status_of_remapctl 65 check $spare --spare-offset 80000
remap_create r $main $spare
for command in check dump; do
	status_of_remapctl 0 $command $spare
	grep -q 'is in use (used by device-mapper device r): what is read here may be in motion' /tmp/err ||
		fail "$command of a live spare: $(</tmp/err)"
done
dmsetup remove r

# A spare without a superblock is not taken for an empty device.
both zeros dead 'super 0'
before=$(checksums "$disk")
status_of_remapctl 2 check $spare
status_of_remapctl 65 create r $main $spare
grep -q 'see remapctl check' /tmp/err || fail "create: $(</tmp/err)"
is 'the spare after the refusal' "$(checksums "$disk")" "$before"

# --- dump ---------------------------------------------------------------------------------------------------------------

as_good_as_new
remap_create r $main $spare
runs_of r >/tmp/runs
dmsetup remove r
is 'the map in a dump' "$(map)" "$(</tmp/runs)"
status_of_remapctl 0 --json dump $spare --output /tmp/dump
status_of_remapctl 73 --json dump $spare --output /tmp/dump
jq -s -e '.[0].superblock.main_id == "wwn-0x5000c500a1b2c3d4" and ([.[].entries // [] | .[][1]] | add) ==
	('"$(awk '{ sum += $2 / 8 } END { print sum }' /tmp/runs)"') and .[-1].lines == length - 1' /tmp/dump >/dev/null ||
	fail "the dump: $(cut -c 1-300 /tmp/dump)"
