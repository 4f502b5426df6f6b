#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: relocations, losses, a spare that fills up and changes of mode raise an event, a tracepoint and a log line
# kernels: 6.1 6.12 7.2
# invariants: 12
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

event_of() {
	dmsetup info -c --noheadings -o events "$1"
}

raises_event() {
	local what=$1 before waiter
	shift
	before=$(event_of r)
	timeout 20 dmsetup wait r "$before" >/dev/null &
	waiter=$!
	"$@"
	wait "$waiter" || fail "$what: no event after $before"
}

# raises WHAT COMMAND... : the command raises an event and says something in the log.
raises() {
	log_mark
	raises_event "$@"
	wait_until 10 logged
}

logged() {
	log_since | grep -q 'device-mapper: remap: '
}

reading_fails() {
	blkio /dev/mapper/r check "$1" 8 1 >/dev/null || (($? == 1))
}

load_remap
trace=/sys/kernel/tracing
echo 1 >$trace/events/dm_remap/enable
main=$(mkloop 16)
spare=$(mkloop 2)
with_errors "$main" | dmsetup create lower
remap_create r /dev/mapper/lower "$spare" format
blkio /dev/mapper/r write 0 32768 1
with_errors "$main" 1003+1 1011+1 | swap_table lower

echo >$trace/trace
raises 'a rescue' blkio /dev/mapper/r write 1000 8 2
raises 'a salvage' reading_fails 1008
raises 'a message' dmsetup message r 0 remap 1016 8
# Side by side on the spare too, and still not one line.
is 'the list' "$(dmsetup message r 0 list | awk 'NR == 1 { first = $3 } { print $1, $2, $3 - first, $6 }' | xargs)" \
	'1000 8 0 rescue 1008 8 8 salvage 1016 8 16 proactive'
raises_event 'a release' dmsetup message r 0 release 1016 8
for reason in 1 2 3; do	# rescue, salvage, proactive
	grep -q "dm_remap_relocate: .* reason $reason " $trace/trace || fail "no tracepoint of reason $reason: $(grep dm_remap $trace/trace)"
done
grep -q 'dm_remap_release: ' $trace/trace || fail 'no tracepoint of a release'
grep -q 'dm_remap_own_io: ' $trace/trace || fail "no tracepoint of the target's own I/O"

# The spare fills up: 80 %, 95 %, and then no more mappings are made; those that there are work on.
slots=$(($(status_of r free_blocks) + $(status_of r mapped_blocks)))
log_mark
relocate r 8192 $((slots * 79 / 100 * 8)) || true
raises '80 %' relocate r $((8192 + slots * 79 / 100 * 8)) $((slots * 3 / 100 * 8))
log_since | grep -q 'spare is 8. % full' || fail 'the log does not say how full'
raises '95 %' relocate r $((8192 + slots * 82 / 100 * 8)) $((slots * 14 / 100 * 8))
log_since | grep -q 'spare is 9. % full' || fail 'the log does not say how full'
echo >$trace/trace
raises 'a full spare' refused relocate r 20000 8192
expect_status r mode=no-new-maps free_blocks=0
grep -q 'dm_remap_mode: ' $trace/trace || fail 'no tracepoint of a mode'
blkio /dev/mapper/r check 8192 64 1
with_errors "$main" 31003+1 | swap_table lower
[[ $(blkio /dev/mapper/r write 31000 8 2) == 'EIO 31000 8 write' ]] || fail 'a write that nothing could take was acknowledged'
raises 'room again' dmsetup message r 0 release 8192 80
expect_status r mode=rw
blkio /dev/mapper/r write 31000 8 2
blkio /dev/mapper/r check 31000 8 2

# All of main goes away and comes back.
echo "0 32768 error" | swap_table lower
raises 'main away' reading_fails 0
wait_until 20 status_is r main_state away
mend() {
	with_errors "$main" | swap_table lower
	wait_until 20 status_is r main_state ok
}
raises 'main back' mend
