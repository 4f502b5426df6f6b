#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remapctl check, dump, repair, restore, export and grow on an image of a spare
# timeout: 60

set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${BUILD:-build}")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() {
	printf 'FAIL: %s\n' "$1" >&2
	exit 1
}

# says STATUS ARGUMENT... : remapctl's status; what it printed is in out and err.
says() {
	local wanted=$1 status=0
	shift
	"$build/remapctl" "$@" </dev/null >"$dir/out" 2>"$dir/err" || status=$?
	((status == wanted)) || fail "status $status of remapctl $*, not $wanted: $(cat "$dir/out" "$dir/err")"
}

# put FILE FROM-SECTOR SECTOR [COUNT]
put() {
	dd if="$1" of="$spare" bs=512 skip="$2" seek="$3" count="${4:-8}" conv=notrunc status=none
}

same() {
	cmp -s "$spare" "$1" || fail "the spare has changed, $2"
}

# The golden superblock and metadata block, twice each.
spare=$dir/spare
golden=tests/unit/data/spare-v1.img
truncate -s 2M "$spare"
put $golden 0 0
put $golden 0 2040
put $golden 8 2048
b=$("$build/guest/spare-edit" "$spare" where | awk '$1 == "meta" && $2 == 0 && $3 == 1 { print $4 }')
put $golden 8 "$b"
while read -r index copy sector; do
	((index == 0)) || fail "metadata block $index copy $copy at $sector in a spare that should have one"
done < <("$build/guest/spare-edit" "$spare" where | awk '$1 == "meta" { print $2, $3, $4 }')
cp "$spare" "$dir/good"

says 0 check "$spare"
says 0 --json dump "$spare" --output "$dir/dump"
says 73 --json dump "$spare" --output "$dir/dump"
says 0 dump "$spare"
grep -q '^ *65536 *24 .* proactive$' "$dir/out" || fail "the map: $(<"$dir/out")"
says 0 export "$spare" --badblocks --block-bytes 4096
[[ $(tr '\n' ' ' <"$dir/out") == '125 250 251 8192 8193 8194 ' ]] || fail "export: $(<"$dir/out")"

# One copy is gone: repair saves first, asks, and mends.
put /dev/zero 0 2048
cp "$spare" "$dir/broken"
says 1 check "$spare"
says 64 repair "$spare"
says 64 repair "$spare" --save "$dir/save"
[[ ! -e $dir/save ]] || fail 'something was saved of a repair that nobody agreed to'
says 73 repair "$spare" --yes --save "$dir/dump"
says 73 repair "$spare" --yes --save "$dir/missing/save"
says 0 repair "$spare" --dry-run
same "$dir/broken" 'but nothing was to be written'
says 0 repair "$spare" --yes --save "$dir/save"
same "$dir/good" 'and is not as it was'
grep -q '"copies":\["blank","good"\],"raw":\["0000' "$dir/save" || fail "what was saved: $(cut -c 1-300 "$dir/save")"
says 0 repair "$spare" --yes --save "$dir/not-needed"
[[ ! -e $dir/not-needed ]] || fail 'a dump of a clean spare'

# If the dump can't be stored, nothing is written.
put /dev/zero 0 2048
says 73 repair "$spare" --yes --save /dev/full
same "$dir/broken" 'but the dump could not be written'

# Both copies: refused, restored, or given up.
put /dev/zero 0 "$b"
cp "$spare" "$dir/broken"
says 2 check "$spare"
says 65 repair "$spare" --yes --save "$dir/save-65"
head -c -2 "$dir/dump" >"$dir/cut"
says 65 restore "$spare" "$dir/cut" --yes
says 65 restore "$spare" "$spare" --yes
says 66 restore "$spare" "$dir/missing" --yes
same "$dir/broken" 'but nothing was to be written'
says 0 restore "$spare" "$dir/dump" --yes --save "$dir/save-restore"
says 0 check "$spare"
"$build/remapctl" --json dump "$spare" | jq -c '.entries // empty' >"$dir/entries"
jq -c '.entries // empty' "$dir/dump" | cmp - "$dir/entries" || fail 'other entries than in the dump'
cp "$dir/broken" "$spare"
says 2 repair "$spare" --yes --save "$dir/save-stale" --accept-stale
grep -q 'marked as incomplete' "$dir/out" || fail "not marked: $(<"$dir/out")"
says 0 restore "$spare" "$dir/dump" --yes
says 0 check "$spare"

# The superblock, from a dump.
put /dev/zero 0 0 2048
says 2 check "$spare"
says 65 repair "$spare" --yes --save "$dir/save-super" --accept-stale
says 0 restore "$spare" "$dir/dump" --yes
says 0 check "$spare"

# The whole beginning: nothing is left but copy B.
put /dev/zero 0 0 2056
says 65 check "$spare"
says 0 restore "$spare" "$dir/dump" --yes
says 0 check "$spare"

# A larger device.
says 0 grow "$spare"
grep -q 'nothing to gain' "$dir/out" || fail "grow: $(<"$dir/out")"
truncate -s 4M "$spare"
says 0 grow "$spare"
says 0 check "$spare"
says 0 grow "$spare"
grep -q 'nothing to gain' "$dir/out" || fail "grow: $(<"$dir/out")"
truncate -s 2M "$spare"
says 2 check "$spare"
echo ok
