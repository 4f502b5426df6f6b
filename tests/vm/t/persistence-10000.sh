#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: 10 000 mappings, none beside another, survive a reload of the module
# invariants: 1 2 5
# timeout: 240

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 160)
spare=$(mkloop 64)
remap_create r "$main" "$spare" format
blkio /dev/mapper/r write 0 327680 1

# Every second block, in an order that leaves no two slots in a row to neighbours: 7919 is prime to 20 000 / 2.
awk 'BEGIN { for (i = 0; i < 10000; i++) print "remap", i * 7919 % 10000 * 32 + 3, 1 }' | dmsay r >/tmp/answers
is 'answers that say that one block moved' "$(awk '$2 == 1 && $3 == 0 && $4 == 0' /tmp/answers | wc -l)" 10000
expect_status r mapped_blocks=10000 proactive_blocks=10000
# What was moved is written from now on only to the spare.
awk 'BEGIN { for (i = 0; i < 10000; i += 7) print "write", i * 32 + 1, 4, 2 }' | blkio /dev/mapper/r -
runs_of r >/tmp/before
is 'runs' "$(wc -l </tmp/before)" 10000

dmsetup remove r
unload_remap
load_remap
remap_create r "$main" "$spare"
runs_of r | cmp - /tmp/before
expect_status r mode=rw mapped_blocks=10000 metadata_errors=0
awk 'BEGIN { for (i = 0; i < 10000; i++) if (i % 7) print "check", i * 32, 32, 1; else {
	print "check", i * 32, 1, 1; print "check", i * 32 + 1, 4, 2; print "check", i * 32 + 5, 27, 1 } }' | blkio /dev/mapper/r -

# The moved blocks come from the spare: main may be destroyed under them.
dmsetup remove r
awk 'BEGIN { for (i = 0; i < 10000; i++) print "write", i * 32, 8, 9 }' | blkio "$main" -
remap_create r "$main" "$spare"
awk 'BEGIN { for (i = 0; i < 10000; i++) if (i % 7) print "check", i * 32, 32, 1; else {
	print "check", i * 32, 1, 1; print "check", i * 32 + 1, 4, 2; print "check", i * 32 + 5, 27, 1 } }' | blkio /dev/mapper/r -
