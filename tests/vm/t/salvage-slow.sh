#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a main that is slow to fail: callers wait for salvage_ms from their own failure, a suspend for none of the rest
# invariants: 1 4 10
# timeout: 120

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

# Sectors that take a while, one of each block bad.
crowd=8192 crowd_blocks=64 readers=16
region=10240 region_blocks=128
slow_end=$((region + region_blocks * 8))

bad() {
	seq $((crowd + 3)) 8 $((crowd + crowd_blocks * 8)) | sed 's/$/+1/'
	seq $((region + 3)) 8 $slow_end | sed 's/$/+1/'
}

# slow MS : each I/O to the slow sectors takes that long.
slow() {
	echo "0 $(sectors_of "$main") delay /dev/mapper/bad 0 $1"
}

# one_reader SECTOR COUNT : reads, gets EIO, prints how many ms that took.
one_reader() {
	local start=${EPOCHREALTIME/./} said
	said=$(blkio /dev/mapper/r check "$1" "$2" 1) || (($? == 1))
	[[ $said == "EIO $1 $2 check" ]] || fail "reading $2 sectors from $1: $said"
	echo $(((${EPOCHREALTIME/./} - start) / 1000))
}

salvaged_more_than() {
	(($(status_of r salvaged_blocks) > $1))
}

need dm-delay
load_remap
main=$(mkloop 16)
spare=$(mkloop 8)
blkio "$main" write 0 32768 1
mapfile -t ranges < <(bad)
with_errors "$main" "${ranges[@]}" | dmsetup create bad
slow 100 | dmsetup create slow
dmsetup create lower <<-TABLE
	0 $crowd linear $main 0
	$crowd $((slow_end - crowd)) linear /dev/mapper/slow $crowd
	$slow_end $((32768 - slow_end)) linear $main $slow_end
TABLE
remap_create r /dev/mapper/lower "$spare" format salvage_ms 1000

# Each of these reads has more than a second's worth of sectors to try again, and all fail at the same moment. One after the
# other they would take more than half a minute.
for ((i = 0; i < readers; i++)); do
	one_reader $((crowd + i * 32)) 32 >/tmp/ms.$i &
	pids[i]=$!
done
for pid in "${pids[@]}"; do
	wait "$pid" || fail 'a reader did not get its error'
done
slowest=$(sort -n /tmp/ms.* | tail -n 1)
note "the slowest of $readers readers waited for $slowest ms"
((slowest < 12000)) || fail "a reader waited for $slowest ms"
# What nobody waits for any more is salvaged all the same.
slow 0 | swap_table slow
wait_until 60 status_is r salvaged_blocks $crowd_blocks

# The rest of a large read goes on without its caller, for two minutes, and stops for a suspend.
slow 40 | swap_table slow
dmsetup message r 0 set salvage_ms 0 >/dev/null
waited=$(one_reader $region $((region_blocks * 8)))
((waited < 12000)) || fail "a reader that does not want to wait waited for $waited ms"
wait_until 60 salvaged_more_than $crowd_blocks
start=$SECONDS
dmsetup suspend r
((SECONDS - start < 20)) || fail "the suspend took $((SECONDS - start)) s"
done=$(status_of r salvaged_blocks)
((done < crowd_blocks + region_blocks)) || fail 'salvage was over before the suspend: nothing was shown'
note "suspended after $((done - crowd_blocks)) of $region_blocks blocks"
dmsetup resume r
wait_until 60 salvaged_more_than "$done"
slow 0 | swap_table slow
blocks=$((crowd_blocks + region_blocks))
wait_until 60 status_is r salvaged_blocks $blocks

# Nothing is lost: all but the bad sectors reads without main, and those when main reads again.
expect_status r mode=rw mapped_blocks=$blocks unread_sectors=$blocks lost_sectors=0
for range in "${ranges[@]}"; do
	echo "check $((${range%+*} - 3)) 3 1"
	echo "check $((${range%+*} + 1)) 4 1"
done >/tmp/checks
blkio /dev/mapper/r - </tmp/checks
with_errors "$main" | swap_table bad
dmsetup message r 0 set salvage_ms 10000 >/dev/null
wait_until 20 blkio /dev/mapper/r check 0 32768 1
expect_status r unread_sectors=0 lost_sectors=0
