#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: status, table and list answer while the engine waits for a disk; I/O that needs no engine goes on
# invariants: 10 12
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

load_remap
main=$(mkloop 16)
spare=$(mkloop 8)
with_errors "$main" | dmsetup create lower
with_errors "$spare" | dmsetup create lower_spare
remap_create r /dev/mapper/lower /dev/mapper/lower_spare format retry_ms 0
blkio /dev/mapper/r write 0 32768 1
relocate r 800 8

# asleep PROCESS : it waits and can't be interrupted.
asleep() {
	[[ $(awk '{ print $3 }' "/proc/$1/stat") == D ]]
}

# at_once COMMAND... : it succeeds without what holds the engine. If it waits for that, nobody can kill it.
at_once() {
	"$@" &
	wait_until 20 has_ended $! "$@"
	wait $!
}

has_ended() {
	! kill -0 "$1" 2>/dev/null
}

# The spare takes nothing until it is resumed, so the message that writes to it holds the engine.
dmsetup suspend --noflush lower_spare
dmsetup message r 0 remap 1600 8 >/tmp/answer &
message=$!
at_exit 'dmsetup resume lower_spare'
wait_until 20 asleep "$message"
at_once dmsetup status r
at_once dmsetup table r
at_once dmsetup message r 0 list
expect_status r mode=rw mapped_blocks=1 proactive_blocks=1 held_ios=0
at_once blkio /dev/mapper/r check 2400 8 1
at_once blkio /dev/mapper/r write 2400 8 2
asleep "$message" || fail 'the message did not wait'

# What waits for the block that moves is counted.
blkio /dev/mapper/r check 1600 8 1 &
reader=$!
wait_until 20 status_is r held_ios 1
dmsetup resume lower_spare
wait "$message"
wait "$reader"
is 'the answer' "$(</tmp/answer)" '1608 1 0 0'
expect_status r mode=rw mapped_blocks=2 proactive_blocks=2 held_ios=0
blkio /dev/mapper/r check 2400 8 2

is 'a message for what is partly there' "$(dmsetup message r 0 remap 1592 24)" '1616 2 1 0'
dmsetup message r 0 set retry_ms 700
[[ $(dmsetup table r) == *' retry_ms 700'* ]] || fail "the table after an option was set: $(dmsetup table r)"
