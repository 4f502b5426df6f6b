#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: power cuts with volatile write caches on both disks: what was acknowledged as durable is, nothing is torn
# invariants: 1 2 3
# timeout: 600
# expect-log: nbd0|nbd1|block nbd|I/O error

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

seed=130
note "seed $seed"
load_remap
need nbd
rmmod nbd 2>/dev/null || true
modprobe nbd nbds_max=2 max_part=0
main=/dev/nbd0 spare=/dev/nbd1
coproc powercut -s $seed $main 8 $spare 8
supply=$COPROC_PID
at_exit 'dmsetup remove r lower 2>/dev/null; exec {COPROC[1]}>&-; wait "$supply"; rmmod nbd'

power() {
	local line
	echo "$1" >&"${COPROC[1]}"
	read -r line <&"${COPROC[0]}"
	note "$line"
}

# dark [RANGE...] : cuts the power, takes the devices down, and brings all back with these errors in main.
dark() {
	power cut
	[[ ! -v load ]] || hammer_stop "$load"
	unset load
	if [[ -v messages ]]; then
		kill "$messages" 2>/dev/null || true
		wait "$messages" 2>/dev/null || true
		unset messages
	fi
	dmsetup remove r
	dmsetup remove lower
	power on
	with_errors $main "$@" | dmsetup create lower
	remap_create r /dev/mapper/lower $spare retry_ms 0
}

answers() {
	(($(wc -l </tmp/answers) >= $1))
}

read -r line <&"${COPROC[0]}"
with_errors $main 104+2 900+3 | dmsetup create lower
remap_create r /dev/mapper/lower $spare format retry_ms 0
# The format is durable when the table is live.
dark
blkio /dev/mapper/r write 0 16384 1
blkio /dev/mapper/r flush
dark 104+2 900+3 5000+64

# A rescue is durable when its write is acknowledged; so is what a message did when it has answered.
blkio /dev/mapper/r write 104 5 2
blkio /dev/mapper/r write 898 3 2
blkio /dev/mapper/r write 4990 100 2
relocate r 2000 80
dark 104+2 900+3 5000+64
expect_map /dev/mapper/r 96 24 '1 96 8' '2 104 5' '1 109 11'
expect_map /dev/mapper/r 896 8 '1 896 2' '2 898 3' 'EIO 901 2' '1 903 1'
# Only the blocks that were rescued are durable without a flush; what is before and behind them went to main.
expect_map /dev/mapper/r 5000 64 '2 5000 64'
expect_blocks r 104 896 $(seq 2000 8 2072) $(seq 5000 8 5056)
# Healed sectors with the flush after them; a release with its answer.
blkio /dev/mapper/r write 902 1 3
blkio /dev/mapper/r flush
blkio /dev/mapper/r write 2000 80 4
blkio /dev/mapper/r flush
release r 2000 80
blkio /dev/mapper/r fua 901 1 5
dark
expect_map /dev/mapper/r 896 8 '1 896 2' '2 898 3' '5 901 1' '3 902 1' '1 903 1'
expect_map /dev/mapper/r 2000 80 '4 2000 80'
expect_blocks r 104 896 $(seq 5000 8 5056)

# And at any moment, under load: bad regions, messages that move and release at random, flushes in between.
RANDOM=$seed
hammer -p -s $seed -n 20 -M /tmp/model /dev/mapper/r
for ((round = 0; round < 8; round++)); do
	swaps=()
	for ((i = 0; i < 12; i++)); do
		swaps+=("$((i * 1300 + RANDOM % 1200))+$((1 + RANDOM % 24))")
	done
	with_errors $main "${swaps[@]}" | swap_table lower
	hammer -p -s $seed -r -w -m 128 -j 3 -t 600 -M /tmp/model /dev/mapper/r >/tmp/hammer.log &
	load=$!
	awk -v seed=$((seed + round)) 'BEGIN { srand(seed); for (;;) {
		print rand() < 0.6 ? "remap" : "release", int(rand() * 16000), 1 + int(rand() * 300) } }' |
		dmsay r >/tmp/answers 2>/dev/null &
	messages=$!
	# Some work, of no fixed length.
	wait_until 60 answers $((20 + RANDOM % 60))
	dark
	hammer -p -s $seed -c -m 64 -M /tmp/model /dev/mapper/r
	expect_status r mode=rw unread_sectors=0 lost_sectors=0
done

# What a message moved that needs entries in more than one metadata block is durable as well when it has answered.
release r 0 16384
relocate r 8192 2048
dark
expect_status r mode=rw mapped_blocks=256
