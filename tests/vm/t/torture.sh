#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: random I/O, messages, reloads against a model, while regions of main and of the spare turn bad, slow and good
# invariants: 1 3 4 5 8 9 10
# kernels: 6.1
# timeout: 300
#
# torture.sh [SEED [OPERATIONS]] : seed 1 and 30000 operations (10000 on other kernels than 6.1) unless told. Threads make
# each run a little different all the same; "make soak" takes as many seeds as there is time for.

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

seed=${1:-1}
if [[ $KERNEL == 6.1 ]]; then
	operations=${2:-30000}
else
	operations=${2:-10000}
fi
main_mib=17 spare_mib=24
# The least I/O, and so how many sectors of a block can turn unread by themselves.
units=(512 512 512 1024 4096)
unit=${units[seed % 5]}
load_remap
need dm-delay
# With a volatile cache: else the block layer sends no flush and no FUA.
null_disk main "$main_mib" blocksize="$unit" discard=1 cache_size=1
null_disk spare "$spare_mib" cache_size=1

# What must never be read: data that the spare held before it was formatted, and the space around the target on main.
blkio -s $((seed + 1)) /dev/spare write 0 $((spare_mib * 2048)) 1
blkio -s $((seed + 2)) /dev/main write 0 $((main_mib * 2048)) 1

# An odd length, so that the last block is short; offsets on both; and a device in between for what turns slow.
length=$((32763 * 512 / unit * unit / 512))
dmsetup create lower --table "0 $((main_mib * 2048)) linear /dev/main 0"

# First the program itself is tried: nothing may be found where nothing is wrong, and something where another writes
# behind the device's back.
dmsetup create plain --table "0 $length linear /dev/mapper/lower 1000"
torture --seed "$seed" --operations 500 --plain plain
touch /tmp/meddle
(while [[ -e /tmp/meddle ]]; do blkio -s 7 /dev/main write 15000 8 3; done) &
meddler=$!
at_exit 'rm -f /tmp/meddle'
if torture --seed "$seed" --operations 20000 --plain plain >/tmp/found; then
	fail 'data that another wrote was not noticed'
fi
# Its last write has ended: what comes now writes to the same disk.
rm /tmp/meddle
wait "$meddler"
grep -q 'MISMATCH.*wrong data: found generation 3 of sector 15.*, seed 7$' /tmp/found || fail "not said: $(</tmp/found)"
dmsetup remove plain

dmsetup create r --table "0 $length remap /dev/mapper/lower 1000 /dev/spare 16 3 format storm_budget 1000000"
torture --seed "$seed" --operations "$operations" --main-null main --spare-null spare --slow lower --quiet 4096 r ||
	fail "to see it again: tests/vm/run --kernel $KERNEL tests/vm/t/torture.sh $seed $operations"
