#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: which spares, states and requests a stamped main allows, and how it is undone by hand or without its spare
# disks: 48M:serial=main 16M:serial=spare 16M:serial=other 16M:serial=large 48M:serial=original
# timeout: 200
# invariants: 1
# expect-log: SGI XFS with

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/stale.sh
load_remap

main=/dev/main spare=/dev/spare other=/dev/other large=/dev/large

# by_hand HEADING LINE : runs what the runbook says under the heading, with LINE instead of its first.
by_hand() {
	awk -v heading="**$1" 'index($0, heading) == 1 { found = 1 } found && /^```/ { fence++; next } found && fence == 1' \
		/project/docs/runbook.md | sed "1s|.*|$2|" | sh -eu
}

note 'another spare'
mkfs.ext4 -q $main
kept $main /dev/original
remapctl --json create r $main $spare >/tmp/out
blocks=$(stamped_blocks)
((blocks > 60)) || fail "only $blocks blocks are stamped"
expect_status r mapped_blocks="$blocks" proactive_blocks="$blocks"
remapctl remove r 2>/dev/null
uuid=$(head -c 512 $main | sed -n 's/^spare //p')
refuses 65 "main $main is stamped, .* UUID $uuid; $other is no spare" create r $main $other
refuses 65 "main $main is stamped, .* UUID $uuid; $other is no spare" create r $main $other --force --yes
refuses 65 "is stamped, .* UUID $uuid; $other is no spare" assemble r $main $other
refuses 65 'holds oracleasm.*assemble dm-remap first' create r $large $main
is 'no device was left' "$(dmsetup ls --target remap)" 'No devices found'

note 'assembled, and once more while it is active'
remapctl assemble r $main $spare >/tmp/out
grep -q 'is stamped "assemble dm-remap first"' /tmp/out || fail "assemble: $(cat /tmp/out)"
remapctl assemble r $main $spare >/tmp/out
refuses 65 'exists already, of other devices' assemble r $large $spare
expect_status r mapped_blocks="$blocks"

note 'release leaves the stamped blocks'
remapctl remap r 0 4096 >/dev/null
remapctl release r 0 4096 >/tmp/out
grep -Eq 'released 475 blocks, 0 refused, 37 stay because main is stamped there' /tmp/out || fail "release: $(cat /tmp/out)"
expect_status r mapped_blocks="$blocks"
remapctl remove r --release
same $main /dev/original

note 'no place for copies'
mkdir /tmp/ro
mount -t tmpfs -o ro none /tmp/ro
at_exit 'umount /tmp/ro'
# The spare is this main's own by now: it has no mappings, and gets its data by being assembled.
remapctl --json assemble r $main $spare --state-dir /tmp/ro >/tmp/out 2>/tmp/err
grep -q 'Read-only file system' /tmp/err || fail "assemble without a place for copies: $(cat /tmp/err)"
eq 'stamped without copies' "$(stamped_blocks)" 0
expect_status r mapped_blocks=0
remapctl remove r
refuses 73 "can't keep copies .*/tmp/ro: Read-only" create r $large $other --state-dir /tmp/ro
is 'nothing was formatted' "$(wipefs $other)$(head -c 8 $other | tr -d '\0')" ''

note '--no-stamp'
remapctl create r $main $spare --no-stamp >/dev/null
expect_status r mapped_blocks=0
remapctl remap r 0 8 >/dev/null
is 'status' "$(remapctl --json status r 2>/dev/null | jq -r '.devices[0].stamped')" no
remapctl remove r 2>/tmp/err
grep -q 'nothing on it says so' /tmp/err || fail "remove: $(cat /tmp/err)"
same $main /dev/original
remapctl assemble r $main $spare --no-stamp --read-only >/dev/null
remapctl remove r 2>/dev/null

note 'a spare that forgot: an older state of it came back'
remapctl assemble r $main $spare --no-stamp >/dev/null
remapctl remove r --release
kept $spare $other
uuid=$(remapctl --json assemble r $main $spare | jq -r .uuid)
remapctl remove r 2>/dev/null
kept $other $spare
remapctl --json assemble r $main $spare >/tmp/out 2>/tmp/err
grep -q 'the first at sector 0: there is an older stamp, and the spare has nothing for it' /tmp/err || fail "assemble: $(cat /tmp/err)"
expect_status r mapped_blocks=0
refuses 65 "is stamped at sector 0, and the target has no mapping there .a copy .* may be in .*/$uuid.main" remove r --release
remapctl remove r
remapctl unstamp $main --yes >/dev/null
same $main /dev/original
refuses 65 'was written by itself since it was stamped .sector 0 ' assemble r $main $spare
rm /var/lib/dm-remap/*.main
wipefs -q -a $other

note 'made later: signatures that nobody knew of when main was stamped'
remapctl --json assemble r $main $spare >/tmp/out
eq 'stamped by assemble' "$(stamped_blocks)" "$blocks"
TEST_DIR=/tmp TEST_DEV=/dev/mapper/r QA_CHECK_FS=yes mkfs.xfs -q -f -d agcount=3 /dev/mapper/r
kept /dev/mapper/r /dev/original
filled /dev/mapper/r
remapctl remove r 2>/dev/null
fails_on xfs_repair $main
grep -q 'could not find valid secondary superblock' /tmp/said || fail "xfs_repair: $(tail -n 3 /tmp/said)"
remapctl assemble r $main $spare >/dev/null
files_are_good /dev/mapper/r
remapctl remove r 2>/dev/null

note 'written by itself'
wipefs -q -a $main
refuses 65 'was written by itself since it was stamped .sector 0 ' assemble r $main $spare
refuses 65 'was written by itself since it was stamped .sector 0 ' create r $main $spare
remapctl --json assemble r $main $spare --force >/tmp/out
files_are_good /dev/mapper/r
remapctl remove r 2>/dev/null
shows_stamp $main

note 'by hand, without these tools'
remapctl assemble r $main $spare >/dev/null
kept /dev/mapper/r /dev/original
remapctl remove r 2>/dev/null
by_hand 'Without these tools' "disk=$main spare=$spare" >/dev/null
same $main /dev/original
refuses 65 'was written by itself' assemble r $main $spare
remapctl assemble r $main $spare --force >/dev/null
remapctl remove r 2>/dev/null
shows_stamp $main
by_hand 'Without the spare and these tools' "disk=$main copies=/var/lib/dm-remap/$uuid.main offset=0"
same $main /dev/original
# And stamped again.
remapctl assemble r $main $spare --force >/dev/null
remapctl remove r 2>/dev/null
shows_stamp $main

note 'unstamp, when the spare is lost'
refuses 64 'confirmation' unstamp $main
refuses 65 'is not stamped' unstamp $large
refuses 66 "$uuid.main: No such file" unstamp $main --state-dir /tmp/ro
remapctl --dry-run unstamp $main >/tmp/out
shows_stamp $main
remapctl unstamp $main --yes >/tmp/out
has_no_stamp $main
# The copies are of the last time that it was removed: nothing else had moved.
same $main /dev/original
files_are_good $main
refuses 65 'is not stamped' unstamp $main
rm /var/lib/dm-remap/*.main
