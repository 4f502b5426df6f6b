#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: slow and failing reads show in the right extent, and re-reads are not taken for users' I/O
# timeout: 60
. tests/native/remapd.sh

make_faulty_loop 64
write_policy "$loop"
start_daemon
fio_run --rw=randread --bs=4k --number_ios=2000 --size=64M >/dev/null

read_at() { # SECTOR COUNT
	dd if="/dev/$loop" of=/dev/null bs=512 skip="$1" count=1 iflag=direct status=none 2>/dev/null
}
cell() { # EXTENT : state, slow, errors
	ask "{\"version\":1,\"command\":\"extents\",\"device\":\"$loop\"}" |
		jq -r ".cells[] | select(.[0] == $1) | \"\(.[1]) \(.[4]) \(.[5])\""
}

# Extent 5 gets slow, extent 9 has a bad block.
set_faults "$((5 * 2048)) 2048 delay 200" "$((9 * 2048 + 64)) 8 error"
before_9=$(ask "{\"version\":1,\"command\":\"extents\",\"device\":\"$loop\"}" | jq '.cells[] | select(.[0] == 9) | .[2]')
for i in 1 2 3; do
	read_at $((5 * 2048 + 100 * i))
	! read_at $((9 * 2048 + 64)) || fail 'the bad sector was read'
	read_at $((9 * 2048 + 200))
done
is 'errors of extent 9' "$(cell 9 | cut -d' ' -f3)" 3
# On a busy machine others may be slow as well.
(($(cell 5 | cut -d' ' -f2) >= 3)) || fail "slow I/Os of extent 5: $(cell 5)"
is 'errors in all' "$(state '[.errors.read[]] | add')" 3
is 'class of the errors' "$(state '.errors.read.other')" 3

suspect() {
	[[ $(state '.extent_states.suspect') -ge 1 ]] || {
		read_at $((5 * 2048 + RANDOM % 2048))
		false
	}
}
wait_until 40 suspect
would() {
	read_at $((5 * 2048 + RANDOM % 2048))
	ask '{"version":1,"command":"events"}' | jq -e '.events[] | select(.kind == "would-relocate" and .extent == 5)'
}
wait_until 40 would >/dev/null
ask "{\"version\":1,\"command\":\"explain\",\"device\":\"$loop\",\"extent\":5}" | jq -e '.worst_us > 150000' >/dev/null ||
	fail 'explain does not say how slow'

# Re-reads of remapd's own were made, and none of the counts has them: extent 9 was read six times in all.
own=$(ask '{"version":1,"command":"state"}' | jq '.daemon.bpf.own_ios')
((own > 0)) || fail 'no re-read was seen'
reads_of_9() {
	ask "{\"version\":1,\"command\":\"extents\",\"device\":\"$loop\"}" | jq '.cells[] | select(.[0] == 9) | .[2]'
}
is 'reads of extent 9' "$(($(reads_of_9) - before_9))" 6
grep -q 're-read of .*(extent 9)' "$log" || fail 'extent 9 was not read again'

# What it knows outlives it.
known() { # errors that the model knows of in extent 9
	ask "{\"version\":1,\"command\":\"explain\",\"device\":\"$loop\",\"extent\":9}" | jq .errors
}
errors=$(known)
would_total=$(state .would_relocate_total)
((errors >= 3 && would_total >= 1)) || fail "$errors errors are known, $would_total moves"
stop_daemon
start_daemon
(($(known) >= errors)) || fail 'errors were forgotten over a restart'
(($(state .would_relocate_total) >= would_total)) || fail 'what would have been moved was forgotten'
# A file that was damaged, or is not whole, is nothing.
stop_daemon
cp "$tmp/state/$loop.state" "$tmp/good.state"
printf '\377' | dd of="$tmp/state/$loop.state" bs=1 seek=1000 conv=notrunc status=none
start_daemon
is 'errors known with a damaged file' "$(known)" 0
stop_daemon
head -c -1 "$tmp/good.state" >"$tmp/state/$loop.state"
start_daemon
is 'errors known with half a file' "$(known)" 0
stop_daemon
cp "$tmp/good.state" "$tmp/state/$loop.state"
start_daemon
(($(known) >= errors)) || fail 'the good file was not taken'
