#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: null_blk's bad blocks (a request-based disk): exactly the blocks concerned move
# kernels: 6.1 6.12 7.2
# invariants: 1 3 4 5
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/exact-range.sh

seed=30
random=6
echo "seed $seed"
count=$((${#fixed_cases[@]} + random))
range_cases "$seed" "$random" | place_cases 0 >/tmp/read.cases
range_cases "$((seed + 1))" "$random" | place_cases "$count" >/tmp/write.cases

load_remap
null_disk bad "$((4 * count + 2))"
spare=$(mkloop 16)
remap_create r /dev/bad "$spare" format retry_ms 0

break_main() {
	local range
	for range in "$@"; do
		null_bad bad "$range"
	done
}
mend_main() { null_good bad "0+$(sectors_of /dev/bad)"; }
# It keeps 512 bad ranges at most: not all of it dies, but all that is near a case.
kill_main() {
	local first count
	mend_main
	while read -r first count _; do
		null_bad bad "$((first - 64))+$((count + 764))"
	done <all.cases
}
exact_range /tmp/read.cases /tmp/write.cases
