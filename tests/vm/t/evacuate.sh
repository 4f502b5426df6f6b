#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remapctl evacuate copies what is suspected last, goes on after any stop, and says what is missing
# disks: 32M:serial=old 8M:serial=spare 34M:serial=new 12M:serial=large:lbs=4096 32M:serial=parted 8M:serial=other
# invariants: 1
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

disk=/dev/old spare=/dev/spare new=/dev/new large=/dev/large parted=/dev/parted other=/dev/other
mkdir -p /tmp/mnt /tmp/bin /tmp/reads

# says STATUS COMMAND... : remapctl's status; what it printed is in /tmp/out and /tmp/err.
says() {
	local wanted=$1 status=0
	shift
	remapctl "$@" </dev/null >/tmp/out 2>/tmp/err || status=$?
	((status == wanted)) || fail "status $status, not $wanted, of remapctl $*: $(cat /tmp/out /tmp/err)"
}

# refuses STATUS PATTERN COMMAND... : and says why.
refuses() {
	says "$1" "${@:3}"
	grep -Eq "$2" /tmp/err || fail "remapctl ${*:3}: $(cat /tmp/err)"
}

# ddrescue itself, with a log of all that it reads.
cat >/tmp/bin/ddrescue <<'SH'
#!/bin/bash
[[ " $* " == *' --idirect '* ]] || exec /usr/bin/ddrescue "$@"
exec /usr/bin/ddrescue --log-reads="$(printf '/tmp/reads/%02d' "$(find /tmp/reads -type f | wc -l)")" "$@"
SH
chmod +x /tmp/bin/ddrescue
PATH=/tmp/bin:$PATH
load_remap

# --- devices that must not be taken ---------------------------------------------------------------------------------

sgdisk --new=1:2048:+10M --new=2:0:0 "$parted" >/dev/null
whole=$(readlink -f "$parted")
wait_until 10 test -b "${whole}2"
remapctl create p "${whole}1" $other --no-stamp >/dev/null
mkfs.ext4 -q -L photos /dev/mapper/p
refuses 65 'p is built on' evacuate p "${whole}1"
refuses 65 'p is built on' evacuate p $parted
refuses 65 'p is built on' evacuate p $other
refuses 65 'is p, or is built on it' evacuate p /dev/mapper/p
refuses 65 'on the disk of main' evacuate p "${whole}2"
refuses 65 'too small: 8 MiB .* has 10 MiB' evacuate p $spare
refuses 65 'logical blocks of 4096 bytes, and p has 512' evacuate p $large
refuses 66 'no such device' evacuate q $new
refuses 66 'No such file' evacuate p /dev/missing
refuses 64 'usage' evacuate p
refuses 64 'at most 1000' evacuate p $new --retries 1001
status=0
PATH=/nowhere "$(command -v remapctl)" evacuate p $new 2>/tmp/err || status=$?
eq 'status without ddrescue' "$status" 69
is 'what is said without ddrescue' "$(</tmp/err)" 'remapctl: this needs GNU ddrescue: install the package gddrescue'
dmsetup suspend p
refuses 69 'p is suspended' evacuate p $new
dmsetup resume p

# A device in use: only if nobody can write, or if told to; and that copy is never called good, nor gone on with as
# if it were.
mount /dev/mapper/p /tmp/mnt
refuses 65 'p is in use: mounted at /tmp/mnt' evacuate p $new
mount -o remount,ro /tmp/mnt
says 0 --dry-run evacuate p $new
grep -q 'would run: ddrescue .*--domain-mapfile=- /dev/mapper/p /dev/new ' /tmp/out || fail "$(</tmp/out)"
is 'mapfiles after the refusals' "$(compgen -G '/var/lib/dm-remap/*.map' || :)" ''
mount -o remount,rw /tmp/mnt
refuses 75 'p was in use .mounted at /tmp/mnt.: the copy may be a mixture' evacuate p $new --live
if grep -q 'next:' /tmp/out; then
	fail "a mixture was called good: $(</tmp/out)"
fi
umount /tmp/mnt
refuses 65 'holds ext4.*photos' evacuate p $new
refuses 64 'confirmation' evacuate p $new --force
mount $new /tmp/mnt
refuses 65 'new is in use: mounted' evacuate p $new --force --yes
umount /tmp/mnt
is 'what the target holds after the refusals' "$(blkid -o value -s LABEL $new)" photos

# A target that stops to take the copy may have lost what was in its cache.
with_errors $new 16384+8 | new_device poor
refuses 74 'poor does not take the copy' --json evacuate p /dev/mapper/poor --force --yes
eq 'what counts as copied to it' "$(jq .copied_sectors /tmp/out)" 0
dmsetup remove poor
remapctl remove p 2>/dev/null

# --- 4 KiB logical blocks, and a partition --------------------------------------------------------------------------

with_errors $large | new_device main4k
remapctl create k /dev/mapper/main4k $other --main-id k --no-stamp --force --yes >/dev/null
blkio /dev/mapper/k write 0 24576 6
with_errors $large 8192+8 | swap_table main4k
says 74 --json evacuate k "${whole}2"
jq -e '.missing == [{"sector": 8192, "count": 8}] and (.mapfile | test("-to-partuuid-"))' /tmp/out >/dev/null || fail "$(</tmp/out)"
expect_map "${whole}2" 0 24576 '6 0 8192' 'WRONG 8192 8' '6 8200 16376'
remapctl remove k 2>/dev/null
dmsetup remove main4k

# --- a main with all that can be wrong ------------------------------------------------------------------------------

# Reads of a gate wait while it is suspended: so the copy can be stopped at a place, not at a time. The second is in what
# is suspected.
echo "0 2048 linear $disk 32768" | new_device gate1
echo "0 2048 linear $disk 18432" | new_device gate2
at_exit 'dmsetup resume gate1; dmsetup resume gate2'
new_device lower <<TABLE
0 18432 linear $disk 0
18432 2048 linear /dev/mapper/gate2 0
20480 12288 linear $disk 20480
32768 2048 linear /dev/mapper/gate1 0
34816 30720 linear $disk 34816
TABLE
with_errors /dev/mapper/lower | new_device main
remapctl create r /dev/mapper/main $spare --main-id m --no-stamp >/dev/null
blkio /dev/mapper/r write 0 65536 1
relocate r 4096 1024
bad=(4096+1024 12288+16 20483+1 24576+16)
with_errors /dev/mapper/lower "${bad[@]}" | swap_table main
# Moved as a precaution and newer than main; rescued; salvaged but for a sector; two blocks that don't read, of which nobody
# knows yet.
blkio /dev/mapper/r write 4096 1024 2
blkio /dev/mapper/r write 12288 16 3
blkio /dev/mapper/r check 20480 8 1 >/dev/null && fail 'a bad sector was read'
expect_status r mapped_blocks=131 unread_sectors=1 rescued_blocks=2 salvaged_blocks=1
late='[{"sector":10240,"count":4112},{"sector":18432,"count":4104}]'

# --- interrupted, killed, cut off, and gone on with -----------------------------------------------------------------

arrived() {
	[[ $(blkio $new map "$1" 128) == "1 $1 128" ]]
}

gone() {
	[[ ! -d /proc/$1 ]] || grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null
}

signalled() {
	gone "$1" || grep -Eq '^(Sig|Shd)Pnd:.*[1-9a-f]' "/proc/$1/status" 2>/dev/null
}

# stopped_at GATE SECTOR STATUS COMMAND [OPTION...] : the copy gets as far as the gate, when the 64 KiB that end at the
# sector are there already; then the command is run, which makes remapctl stop ddrescue.
stopped_at() {
	local gate=$1 sector=$2 wanted=$3 status=0 pid child
	dmsetup suspend "$gate"
	remapctl --json evacuate r $new "${@:5}" >/tmp/out 2>/tmp/err &
	pid=$!
	wait_until 60 arrived $((sector - 128))
	child=$(pgrep -P "$pid" -x ddrescue)
	eval "$4"
	wait_until 60 signalled "$child"
	dmsetup resume "$gate"
	wait "$pid" || status=$?
	eq "status after $4" "$status" "$wanted"
	wait_until 60 gone "$child"
}

# Nobody writes unnoticed, not even what is there already.
stopped_at gate1 32768 65 'blkio /dev/mapper/r write 8 1 1' --force --yes
grep -q 'r was written while it was copied' /tmp/err || fail "$(</tmp/err)"
eq 'what counts as copied then' "$(jq .copied_sectors /tmp/out)" 0
blkio $new write 0 65536 7
rm /tmp/reads/*

stopped_at gate1 32768 130 'kill -INT $pid'
map=$(jq -r .mapfile /tmp/out)
[[ $map == /var/lib/dm-remap/*-to-serial-new.map && -s $map ]] || fail "the mapfile $map"
jq -e --argjson late "$late" '.complete == false and .copied_sectors > 20000 and .copied_sectors < 40000 and .late == $late' \
	/tmp/out >/dev/null || fail "after an interruption: $(</tmp/out)"
# Who writes in between is found out.
blkio /dev/mapper/r write 8 1 5
refuses 65 'written since .they differ near sector 0' evacuate r $new
blkio /dev/mapper/r write 8 1 1

says 0 --json --dry-run evacuate r $new
copied=$(jq .copied_sectors /tmp/out)
stopped_at gate2 14352 137 '[[ $(dmsetup table r) == *"retry_ms 0"* ]]; kill -KILL $pid'
retries_as_before() {
	[[ $(dmsetup table r) != *retry_ms* ]]
}
wait_until 60 retries_as_before
# As a crash leaves it that comes while ddrescue replaces the mapfile.
mv "$map" "$map.bak"
head -c 10 "$map.bak" >"$map"
says 0 --json --dry-run evacuate r $new
[[ $(jq .copied_sectors /tmp/out) -gt $copied ]] || fail "it did not go on: $(</tmp/out)"

# All of main goes away. That says nothing of its sectors.
with_errors /dev/mapper/lower 0+65536 | swap_table main
refuses 75 'main of r stopped answering' evacuate r $new
refuses 69 'main of r does not answer' evacuate r $new
rm "$(find /tmp/reads -type f | sort | tail -n 1)"
with_errors /dev/mapper/lower "${bad[@]}" | swap_table main
wait_until 60 status_is r main_state ok

says 74 --json evacuate r $new
jq -e '.complete and .missing_sectors == 17 and .copied_sectors == 65519 and
	.missing == [{"sector": 20483, "count": 1}, {"sector": 24576, "count": 16}]' /tmp/out >/dev/null || fail "$(</tmp/out)"
is 'what is said' "$(</tmp/err)" "remapctl: note: remapd is not running (no answer at /run/dm-remap/remapd.sock); suspected is only \
what has failed before
remapctl: sectors of r that could not be read: 17; /dev/new holds a text there (remapctl-evacuate(8) says how to find the files), and \
another run tries again"
expect_map $new 0 65536 '1 0 4096' '2 4096 1024' '1 5120 7168' '3 12288 16' '1 12304 8179' 'WRONG 20483 1' '1 20484 4092' \
	'WRONG 24576 16' '1 24592 40944'
for sector in 20483 24576 24591; do
	dd if=$new skip=$sector count=1 iflag=direct status=none >/tmp/sector
	grep -q "sector 0x0*$(printf %X $sector) " /tmp/sector && grep -q '^remapctl evacuate: not read$' /tmp/sector ||
		fail "no note in sector $sector"
done
retries_as_before || fail "retry_ms was left as $(dmsetup table r)"

# --- in which order -------------------------------------------------------------------------------------------------

cat /tmp/reads/* | gawk -v late='10240 4112 18432 4104' '
	BEGIN {
		n = split(late, word)
		for (i = 1; i < n; i += 2)
			for (s = word[i]; s < word[i] + word[i + 1]; s++)
				waits[s]
		left = 65536
		early = left - length(waits)
	}
	function wrong(what) { print what " at sector " s; failed = 1; exit }
	/^0x/ {
		first = strtonum($1) / 512
		for (s = first; s < first + $2 / 512; s++) {
			if (s in waits && early)
				wrong("a suspected place was read before " early " others")
			if ($2 == 512 && left)
				wrong("tried sector by sector before " left " sectors were read at all")
			if (s in seen)
				continue
			seen[s]
			left--
			if (!(s in waits))
				early--
		}
	}
	END {
		if (!failed && left)
			print left " sectors were never read"
		exit failed || left
	}' >/tmp/order || fail "the order of reads: $(</tmp/order)"

# --- what reads again -----------------------------------------------------------------------------------------------

with_errors /dev/mapper/lower | swap_table main
says 0 evacuate r $new
grep -q '^/dev/new has all of r, 32 MiB$' /tmp/out || fail "$(</tmp/out)"
grep -q 'next: remapctl remove r' /tmp/out || fail "$(</tmp/out)"
expect_map $new 0 65536 '1 0 4096' '2 4096 1024' '1 5120 7168' '3 12288 16' '1 12304 53232'

# --- what only remapd knows -----------------------------------------------------------------------------------------

# A block of which nothing reads is not moved, but remapd remembers its extent.
with_errors /dev/mapper/lower 57344+8 | swap_table main
cat >/tmp/policy.yaml <<'POLICY'
version: 1
mode: observe
guards: {fresh_boot_s: 0, baseline_s: 0}
POLICY
remapd --policy /tmp/policy.yaml >/tmp/remapd.log 2>&1 &
daemon=$!
at_exit 'kill $daemon; wait $daemon || :; remapd --unpin; cat /tmp/remapd.log'
waits() {
	blkio /dev/mapper/r check 57344 8 1 >/dev/null && fail 'a bad sector was read'
	remapctl --json --dry-run evacuate r $new 2>/dev/null | jq -e '.late | contains([{"sector": 57344, "count": 2048}])' >/dev/null
}
wait_until 60 waits
