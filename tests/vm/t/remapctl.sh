#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remapctl creates, refuses, assembles, moves, releases and removes real devices
# disks: 64M:serial=main 32M:serial=spare 64M:serial=other 32M:serial=used
# timeout: 300
# expect-log: remap

. /project/tests/vm/lib.sh

main=/dev/main spare=/dev/spare other=/dev/other used=/dev/used

# refused STATUS PATTERN ARGUMENT... : remapctl says no, in one line that matches, and leaves no device behind.
refused() {
	local wanted=$1 pattern=$2 status=0
	shift 2
	remapctl "$@" >/tmp/out 2>/tmp/err || status=$?
	eq "status of remapctl $*" "$status" "$wanted"
	eq "lines on stderr of remapctl $*" "$(wc -l </tmp/err)" 1
	grep -Eq "$pattern" /tmp/err || fail "remapctl $*: $(cat /tmp/err)"
}

fingerprint() { sha256sum <"$1"; }

# --- without the module -------------------------------------------------------------------------------------------

modprobe dm_mod
refused 69 'no "remap" target' create r "$main" "$spare"
is 'status without the module' "$(remapctl status 2>/dev/null)" 'no remap device (remapctl create makes one)'
is 'nothing is left of a device that could not be' "$(dmsetup ls)" 'No devices found'
load_remap

# --- what must be refused, and changes nothing --------------------------------------------------------------------

before=$(fingerprint "$spare")
refused 64 'which command'
refused 64 'usage: remapctl create' create r
refused 64 'unknown option --wrong' create r "$main" "$spare" --wrong
refused 64 'takes no --force' status --force
refused 65 "can't be the name" create a/b "$main" "$spare"
refused 66 'No such file' create r /dev/missing "$spare"
refused 66 'not a block device' create r /dev/null "$spare"
refused 66 'losetup' create r /etc/passwd "$spare"
refused 65 'same device' create r "$main" "$main"
refused 64 'multiple of 8' create r "$main" "$spare" --spare-offset 4
refused 65 'beyond the end' create r "$main" "$spare" --main-offset 99999999
refused 66 'no such device' remove r
refused 66 'no such device' list r
refused 66 'no device r' status r
refused 69 'remapd is not running' explain r 1
is 'the spare after refusals' "$(fingerprint "$spare")" "$before"

mkfs.ext4 -q -L photos "$used"
mkdir -p /tmp/mnt
before=$(fingerprint "$used")
refused 65 'holds ext4.*photos' create r "$main" "$used"
mount "$used" /tmp/mnt
refused 65 'in use: mounted at /tmp/mnt' create r "$main" "$used" --force --yes
refused 65 'main .* in use: mounted at /tmp/mnt' create r "$used" "$spare"
umount /tmp/mnt
refused 64 'confirmation' create r "$main" "$used" --force </dev/null

sgdisk --new=1:2048:+20M --new=2:0:+20M "$other" >/dev/null
disk=$(readlink -f "$other")
wait_until 10 test -b "${disk}1"
refused 65 'holds gpt partition table' create r "$main" "$other"
refused 65 'overlap' create r "$other" "${disk}1"
mkfs.ext4 -q "${disk}1"
mount "${disk}1" /tmp/mnt
refused 65 'its partition .* mounted' create r "$other" "$spare"
umount /tmp/mnt
is 'no device was left' "$(dmsetup ls --target remap)" 'No devices found'

# --- create, and what it says -------------------------------------------------------------------------------------

remapctl --dry-run create r "$main" "$spare" >/tmp/out
grep -q 'would load: 0 131072 remap .* format' /tmp/out || fail "dry run: $(cat /tmp/out)"
is 'dry run makes nothing' "$(dmsetup ls --target remap)" 'No devices found'
remapctl create r "$main" "$spare" --no-stamp >/tmp/out
grep -q 'formatted' /tmp/out || fail "create: $(cat /tmp/out)"
[[ -b /dev/mapper/r ]] || fail 'no /dev/mapper/r'
grep -q 'main_id serial-main' <(dmsetup table r) || fail "main_id: $(dmsetup table r)"
uuid=$(dmsetup info -c --noheadings -o uuid r)
[[ $uuid == REMAP-*-*-*-*-* ]] || fail "UUID: $uuid"
refused 65 'exists already' create r "$main" "$spare"
refused 65 'in use: used by device-mapper device r' create s "$other" "$spare"
refused 65 'in use: used by device-mapper device r' create s "$main" "$used"

# --- status, list, remap, release ---------------------------------------------------------------------------------

dd if=/dev/urandom of=/tmp/data bs=1M count=64 status=none
dd if=/tmp/data of=/dev/mapper/r bs=1M oflag=direct status=none
sum=$(fingerprint /tmp/data)
remapctl status >/tmp/out 2>/tmp/err
grep -Eq '^r +OK +0% of .* 0 +- +0 +-' /tmp/out || fail "status: $(cat /tmp/out)"
grep -q 'remapd is not running' /tmp/err || fail 'status does not say who answered'
remapctl --json status r 2>/dev/null | jq -e '.version == 1 and .source == "device-mapper" and .devices[0].device == "r" and
	.devices[0].health == "OK" and .devices[0].target.mapped_blocks == 0' >/dev/null || fail 'status --json'
remapctl remap r 4096 16384 >/tmp/out
is 'remap over many messages' "$(cat /tmp/out)" "r: moved 2048 blocks, 0 were already there, 0 sectors can't be read"
remapctl --json remap r 0 8192 | jq -e '.moved_blocks == 512 and .already_mapped_blocks == 512 and .complete' >/dev/null ||
	fail 'remap --json'
remapctl --json list r | jq -e '([.runs[].count] | add) == 20480 and all(.runs[]; .reason == "proactive") and .version == 1' \
	>/dev/null || fail "list --json: $(remapctl list r)"
remapctl list r | awk 'NR > 1 { sum += $2 } END { exit sum != 20480 }' || fail 'list'
remapctl status r >/tmp/out 2>/dev/null
grep -Eq '^mapped_blocks +2560$' /tmp/out || fail "status r: $(cat /tmp/out)"
is 'data after remap' "$(fingerprint /dev/mapper/r)" "$sum"
refused 65 'not all on r' remap r 131072 8
refused 65 'not all on r' release r 0 131073
refused 64 'COUNT must be at least 1' remap r 0 0
remapctl release r 0 4096 >/tmp/out
is 'release' "$(cat /tmp/out)" 'r: released 512 blocks, 0 refused'

# Ctrl-C: ends soon, says what was done, and nothing is half done.
setsid remapctl remap r 0 131072 >/tmp/out 2>/tmp/err &
pid=$!
wait_until 30 eval '(($(dmsetup status r | cut -d" " -f6) > 2100))'
status=0
kill -INT "$pid" 2>/dev/null || note 'Ctrl-C came after the end'
wait "$pid" || status=$?
if ((status == 130)); then
	grep -q 'stopped before the end' /tmp/out || fail "Ctrl-C: $(cat /tmp/out /tmp/err)"
	grep -q 'go on with: remapctl remap r ' /tmp/out || fail "Ctrl-C does not say how to go on"
else
	# It may have been at the end of the spare by then.
	note "Ctrl-C came too late (status $status): $(cat /tmp/err)"
fi
is 'data after Ctrl-C' "$(fingerprint /dev/mapper/r)" "$sum"

# --- a full spare -------------------------------------------------------------------------------------------------

refused 69 'spare is full' remap r 0 131072
is 'data with a full spare' "$(fingerprint /dev/mapper/r)" "$sum"
remapctl release r 8192 122880 >/dev/null

# --- remove, assemble ---------------------------------------------------------------------------------------------

exec {held}</dev/mapper/r
refused 69 'r is in use' remove r
exec {held}<&-
mapped=$(remapctl --json list r | jq -c .runs)
remapctl remove r 2>/tmp/err
grep -q 'main is stale without it' /tmp/err || fail "remove: $(cat /tmp/err)"
[[ ! -e /dev/mapper/r ]] || fail '/dev/mapper/r is still there'
refused 65 'another main: serial-main .this main is serial-other' create r "$other" "$spare"
refused 65 'another main' create r "$main" "$spare" --main-id wwn-else
before=$(fingerprint "$spare")
remapctl --json create r "$main" "$spare" --no-stamp >/tmp/out
jq -e '.formatted == false and .wiped == false' /tmp/out >/dev/null || fail "assemble: $(cat /tmp/out)"
is 'UUID after assembling' "$(dmsetup info -c --noheadings -o uuid r)" "$uuid"
is 'mappings after assembling' "$(remapctl --json list r | jq -c .runs)" "$mapped"
is 'data after assembling' "$(fingerprint /dev/mapper/r)" "$sum"
remapctl remove r --release
is 'main after remove --release' "$(fingerprint "$main")" "$sum"

# --- wiping -------------------------------------------------------------------------------------------------------

remapctl create r "$main" "$used" --force --yes --no-stamp >/tmp/out
grep -q 'ext4.*photos.*destroyed' /tmp/out || fail "force: $(cat /tmp/out)"
is 'data on a new spare' "$(fingerprint /dev/mapper/r)" "$sum"
remapctl remove r
wipefs "$used" >/tmp/out
[[ ! -s /tmp/out ]] || fail "the spare still holds $(cat /tmp/out)"
remapctl create r "$other" "$spare" --force --yes --no-stamp >/tmp/out
grep -q 'dm-remap superblock of main serial-main, destroyed' /tmp/out || fail "force: $(cat /tmp/out)"
remapctl --read-only remove r 2>/tmp/err && fail 'remove takes no --read-only'
remapctl remove r
remapctl create r "$other" "$spare" --read-only >/dev/null
eq 'read-only' "$(blockdev --getro /dev/mapper/r)" 1
remapctl remove r

# --- main-offset, options -----------------------------------------------------------------------------------------

remapctl create r "$main" "$used" --main-offset 2048 --force --yes --storm-budget 7 --retry-ms 250 --no-stamp >/dev/null
is 'an offset' "$(dmsetup table r | cut -d" " -f1-3,5)" '0 129024 remap 2048'
grep -q 'storm_budget 7 .*retry_ms 250\|retry_ms 250 .*storm_budget 7' <(dmsetup table r) || fail "$(dmsetup table r)"
cmp -n 1000000 /dev/mapper/r <(tail -c +1048577 /tmp/data) || fail 'an offset reads the wrong place'
remapctl remove r
