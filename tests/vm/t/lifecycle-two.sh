#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: two remap devices at once, on one disk each and on halves of the same disks
# invariants: 1 6 10
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 32)
spare_a=$(mkloop 8)
spare_b=$(mkloop 8)
half=$(($(sectors_of "$main") / 2))
with_errors "$main" 1000+3 40000+3 | dmsetup create lower
# The second one begins at an odd sector of main: its block grid begins there.
dmsetup create a --table "0 $half remap /dev/mapper/lower 0 $spare_a 0 3 format retry_ms 0"
dmsetup create b --table "0 $((half - 1)) remap /dev/mapper/lower $((half + 1)) $spare_b 8 3 format retry_ms 0"

hammer -s 90 -r -t 4 -M /tmp/model_a /dev/mapper/a &
load=$!
hammer -s 91 -r -t 4 -M /tmp/model_b /dev/mapper/b || fail "b: $?"
wait "$load" || fail "a: $?"
relocate a 2000 3000
relocate b 2000 3000
hammer -s 90 -r -t 2 -M /tmp/model_a /dev/mapper/a &
load=$!
hammer -s 91 -r -t 2 -M /tmp/model_b /dev/mapper/b || fail "b: $?"
wait "$load" || fail "a: $?"

# Read once more at the bad places, so that their blocks have moved whatever the load did.
blkio -s 90 /dev/mapper/a map 1000 8 >/dev/null
place=$((40000 - half - 1))
blkio -s 91 /dev/mapper/b map "$place" 3 >/dev/null
expect_blocks a 1000 $(seq 2000 8 4992)
expect_blocks b $(seq 2000 8 4992) $((place / 8 * 8)) $(((place + 2) / 8 * 8))

with_errors "$main" | swap_table lower
for name in a b; do
	hammer -c -m 8 -M /tmp/model_$name /dev/mapper/$name
	expect_status $name unread_sectors=0 lost_sectors=0
done

# One goes, the other stays; and the spares know whose they are.
dmsetup remove a
hammer -c -M /tmp/model_b /dev/mapper/b
dmsetup remove b
refused dmsetup create a --table "0 $half remap /dev/mapper/lower 0 $spare_b 8"
dmsetup create a --table "0 $half remap /dev/mapper/lower 0 $spare_a 0"
hammer -c -M /tmp/model_a /dev/mapper/a
