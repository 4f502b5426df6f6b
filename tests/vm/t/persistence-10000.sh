#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: 10 000 mappings, in 1009 runs, survive a reload of the module
# invariants: 1 2 5
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 96)
spare=$(mkloop 64)
remap_create r "$main" "$spare" format
blkio /dev/mapper/r write 0 196608 1

# 9000 blocks in nine pieces, the last piece first; then 1000 of which none is beside another, in an order in which no two
# that are neighbours on main are on the spare: 619 has no factor in common with 1000.
for ((piece = 8; piece >= 0; piece--)); do
	relocate r $((piece * 10000)) 8000
	eq 'blocks moved' "$moved" 1000
done
awk 'BEGIN { for (i = 0; i < 1000; i++) print "remap", 96000 + i * 619 % 1000 * 32 + 3, 1 }' | dmsay r >/tmp/answers
eq 'answers that say that one block moved' "$(awk '$2 == 1 && $3 == 0 && $4 == 0' /tmp/answers | wc -l)" 1000
expect_status r mapped_blocks=10000 proactive_blocks=10000

# What was moved is written from now on only to the spare.
writes() { awk 'BEGIN { for (i = 0; i < 10000; i += 7) print "write", (i < 9000 ? int(i / 1000) * 10000 + i % 1000 * 8 : 96000 + (i - 9000) * 32) + 1, 4, 2 }'; }
checks() {
	awk 'BEGIN { for (i = 0; i < 10000; i++) {
		block = i < 9000 ? int(i / 1000) * 10000 + i % 1000 * 8 : 96000 + (i - 9000) * 32
		if (i % 7) { print "check", block, 8, 1; continue }
		print "check", block, 1, 1; print "check", block + 1, 4, 2; print "check", block + 5, 3, 1 } }'
}
writes | blkio /dev/mapper/r -
runs_of r >/tmp/before
eq 'runs' "$(wc -l </tmp/before)" 1009

dmsetup remove r
unload_remap
load_remap
remap_create r "$main" "$spare"
runs_of r | cmp - /tmp/before
expect_status r mode=rw mapped_blocks=10000 metadata_errors=0
checks | blkio /dev/mapper/r -

# The moved blocks come from the spare: main may be destroyed under them.
dmsetup remove r
blkio "$main" write 0 196608 9
remap_create r "$main" "$spare"
checks | blkio /dev/mapper/r -
blkio /dev/mapper/r check 8000 2000 9
