#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: error segments in a table below: exactly the blocks concerned move
# invariants: 1 3 4 5 6
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/exact-range.sh

seed=20
random=14
echo "seed $seed"
count=$((${#fixed_cases[@]} + random))
range_cases "$seed" "$random" | place_cases 0 >/tmp/read.cases
range_cases "$((seed + 1))" "$random" | place_cases "$count" >/tmp/write.cases

load_remap
main=$(mkloop "$((4 * count + 2))")
spare=$(mkloop 16)
with_errors "$main" | new_device lower
remap_create r /dev/mapper/lower "$spare" format retry_ms 0

break_main() { with_errors "$main" "$@" | swap_table lower; }
mend_main() { with_errors "$main" | swap_table lower; }
kill_main() { echo "0 $(sectors_of "$main") error" | swap_table lower; }
exact_range /tmp/read.cases /tmp/write.cases
