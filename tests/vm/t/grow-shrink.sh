#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: main grows live, and so does the spare's device; shrinking below a mapping is refused, live and when made anew
# invariants: 1 10
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

table() {
	echo "0 $1 remap $main 0 /dev/mapper/spare 0"
}

load_remap
main=$(mkloop 40)
disk=$(mkloop 6)
echo "0 8192 linear $disk 0" | dmsetup create spare
blkio "$main" write 0 81920 1
dmsetup create r --table "$(table 32765) 1 format"
# The last block is a short one.
relocate r 32760 5
relocate r 100 1
expect_blocks r 96 32760
blkio /dev/mapper/r write 32763 2 2

hammer -s 110 -t 600 -M /tmp/model /dev/mapper/r 32000 >/dev/null &
load=$!
table 65536 | dmsetup load r
dmsetup suspend r
dmsetup resume r
hammer_stop "$load"
is 'the size' "$(sectors_of /dev/mapper/r)" 65536
# The short block is a whole one now; what it gained is main's.
expect_map /dev/mapper/r 32752 24 '1 32752 11' '2 32763 2' '1 32765 11'
relocate r 60000 8
expect_blocks r 96 32760 60000
listed=$(runs_of r)

# Live: the reload fails, and the device goes on with the table that it has.
log_mark
refused dmsetup load r --table "$(table 60000)"
log_since | grep -q 'remap: ' || fail 'no reason in the log'
refused dmsetup load r --table "$(table 60001)"
is 'the list' "$(runs_of r)" "$listed"
blkio /dev/mapper/r check 60000 8 1
dmsetup remove r
# Made anew.
sum=$(checksums "$main" "$disk")
refused dmsetup create r --table "$(table 60000)"
refused dmsetup create r --table "$(table 32765)"
refused dmsetup create r --table "$(table 96)"
is 'checksums of both devices' "$(checksums "$main" "$disk")" "$sum"
dmsetup create r --table "$(table 65536)"
is 'the list' "$(runs_of r)" "$listed"
expect_map /dev/mapper/r 32752 24 '1 32752 11' '2 32763 2' '1 32765 11'

# The spare's device grows as well, and main once more. What the spare did not have when it was formatted stays untouched.
blkio "$disk" write 8192 4096 9
echo "0 12288 linear $disk 0" | swap_table spare
free=$(status_of r free_blocks)
table 81920 | dmsetup load r
dmsetup suspend r
dmsetup resume r
is 'the size' "$(sectors_of /dev/mapper/r)" 81920
is 'the list' "$(runs_of r)" "$listed"
expect_status r mode=rw free_blocks="$free"
relocate r 65536 $((free * 8))
expect_status r mode=no-new-maps free_blocks=0
refused dmsetup message r 0 remap $((65536 + free * 8)) 8
blkio /dev/mapper/r write 65536 $((free * 8)) 3
listed=$(runs_of r)
blkio "$disk" check 8192 4096 9
dmsetup remove r
dmsetup create r --table "$(table 81920)"
is 'the list' "$(runs_of r)" "$listed"
expect_status r mode=no-new-maps free_blocks=0 metadata_errors=0
blkio /dev/mapper/r check 65536 $((free * 8)) 3
expect_map /dev/mapper/r 32752 24 '1 32752 11' '2 32763 2' '1 32765 11'
