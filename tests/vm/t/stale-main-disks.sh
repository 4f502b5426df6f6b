#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: odd, large-sectored and failing disks, and small spares, are stamped as far as no data is at stake, and come back whole
# disks: 24M:serial=main 16M:serial=spare 16M:serial=other 24M:lbs=4096:serial=large 24M:serial=original
# timeout: 200
# invariants: 1 2

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/stale.sh
load_remap

main=/dev/main spare=/dev/spare other=/dev/other large=/dev/large

note 'an odd length, an offset, large blocks'
new_device odd <<<"0 $((24 * 2048 - 3)) linear $main 0"
for options in '' '--main-offset 2049'; do
	dd if=/dev/urandom of=/dev/mapper/odd bs=1M oflag=direct status=none 2>/dev/null || :
	kept /dev/mapper/odd /dev/original
	# shellcheck disable=SC2086 # words
	remapctl create r /dev/mapper/odd $spare --force --yes $options >/dev/null
	remapctl remove r 2>/dev/null
	reads_stamped /dev/mapper/odd $((24 * 2048 - 4))
	# shellcheck disable=SC2086
	remapctl assemble r /dev/mapper/odd $spare $options >/dev/null
	remapctl remove r --release
	same /dev/mapper/odd /dev/original
done
dmsetup remove odd
dd if=/dev/urandom of=$large bs=1M oflag=direct status=none 2>/dev/null || :
kept $large /dev/original
remapctl create r $large $spare --force --yes >/dev/null
remapctl remove r 2>/dev/null
shows_stamp $large
remapctl assemble r $large $spare >/dev/null
remapctl remove r --release
same $large /dev/original

note 'a small spare: what matters most goes first'
new_device small <<<"0 $((2048 + 16 + 40 * 8)) linear $other 0"
remapctl --json create r $large /dev/mapper/small >/tmp/out 2>/tmp/err
grep -q 'are not stamped .*the spare is small' /tmp/err || fail "small spare: $(cat /tmp/err)"
eq 'stamped on a small spare' "$(stamped_blocks)" 10
shows_stamp $large
remapctl remove r --release
same $large /dev/original
dmsetup remove small

note 'a main that fails'
with_errors $main 131+1 1024+1 | new_device bad
remapctl --json create r /dev/mapper/bad $spare --force --yes >/tmp/out 2>/tmp/err
grep -q "2 of .* are not stamped .the first at sector 128: it can't be read whole" /tmp/err ||
	fail "failing main: $(cat /tmp/err)"
reads_stamped /dev/mapper/bad 0
refuses 69 'r was not removed: 2 blocks' remove r --release
grep -q 'sectors .* stay on the spare .1 unread, 0 lost' /tmp/err || fail "release of unread: $(cat /tmp/err)"
reads_stamped /dev/mapper/bad 0

# A write heals it, durably with the next flush. It is stamped then, and the spare knows what to give when it comes back.
head -c 512 /dev/urandom >/tmp/sector
dd if=/tmp/sector of=/dev/mapper/r seek=131 oflag=direct status=none
with_errors $main 1024+1 | swap_table bad
remapctl assemble r /dev/mapper/bad $spare >/dev/null 2>/tmp/err
grep -q '1 of .* are not stamped .the first at sector 1024' /tmp/err || fail "healed: $(cat /tmp/err)"
kept $spare $other
reads_stamped /dev/mapper/bad 128
remapctl remove r 2>/dev/null
kept $other $spare
remapctl assemble r /dev/mapper/bad $spare >/dev/null 2>&1
dd if=/dev/mapper/r skip=131 count=1 iflag=direct status=none | cmp - /tmp/sector || fail 'a healed sector is not what was written'
with_errors $main | swap_table bad
# It reads again, and is looked at again.
dmsetup message r 0 set retry_ms 0 >/dev/null
wait_until 20 eval 'dd if=/dev/mapper/r of=/dev/null bs=64k count=16 iflag=direct status=none 2>/dev/null && status_is r unread_sectors 0'
remapctl assemble r /dev/mapper/bad $spare >/dev/null 2>/tmp/err
[[ ! -s /tmp/err ]] || fail "assembled again: $(cat /tmp/err)"
kept /dev/mapper/r /dev/original
# Main does not take one of the blocks back: all that came back until then is stamped again.
with_errors $main 8192+8 | swap_table bad
refuses 69 'main does not take them' remove r --release
with_errors $main | swap_table bad
remapctl remove r 2>/dev/null
shows_stamp /dev/mapper/bad
reads_stamped /dev/mapper/bad $((24 * 2048 - 1))
remapctl assemble r /dev/mapper/bad $spare >/dev/null
same /dev/mapper/r /dev/original
remapctl remove r --release
same /dev/mapper/bad /dev/original

note 'a device of several targets'
{
	echo "0 $((24 * 2048)) remap $main 0 $spare 0"
	echo "$((24 * 2048)) 8 zero"
} | new_device several
refuses 69 'several targets' remove several --release
remapctl remove several
