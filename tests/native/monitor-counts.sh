#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remapd counts as many I/Os as fio did, over its own restart and beside other devices
# timeout: 60
. tests/native/remapd.sh

make_loop 64
other=$loop
make_loop 64
write_policy "$loop"
start_daemon
is 'devices watched' "$(ask '{"version":1,"command":"state"}' | jq -c '[.devices[].device]')" "[\"$loop\"]"

read -ra before < <(counted)
expected() { # READS WRITES more
	before=($((before[0] + $1)) $((before[1] + $2)))
}

# Sizes of every class; each fio I/O is one I/O of the device as long as it is not split.
for size in 512 4k 32k 128k; do
	# shellcheck disable=SC2046 # two numbers
	expected $(fio_run --rw=randrw --bs=$size --number_ios=600 --size=64M)
done
counted_is 'reads and writes' "$(counted)" "${before[*]}"
is 'sums of the buckets' "$(state '.latency | "\([.read.buckets[].count] | add) \([.write.buckets[].count] | add)"')" "$(counted)"
cells() {
	ask "{\"version\":1,\"command\":\"extents\",\"device\":\"$loop\"}" |
		jq -r '"\([.cells[][2]] | add) \([.cells[][3]] | add)"'
}
is 'sums of the cells' "$(cells)" "$(counted)"

# Another device's I/O is nobody's.
watched=$loop loop=$other
fio_run --rw=randread --bs=4k --number_ios=300 --size=64M >/dev/null
loop=$watched
counted_is 'after I/O of another device' "$(counted)" "${before[*]}"

# Two partitions of one disk, each for itself, in its own sectors.
addpart "/dev/$other" 1 2048 20480
addpart "/dev/$other" 2 22528 40960
undo_more() {
	delpart "/dev/$other" 1 && delpart "/dev/$other" 2
}
write_policy "$loop" "${other}p1" "${other}p2"
kill -HUP "$daemon_pid"
two_more() {
	[[ $(ask '{"version":1,"command":"state"}' | jq '.devices | length') == 3 ]]
}
wait_until 10 two_more
loop=${other}p1
read -ra of_1 < <(counted)
loop=${other}p2
read -ra of_2 < <(counted)
dd if="/dev/${other}p2" of=/dev/null bs=4k skip=512 count=30 iflag=direct status=none
counted_is 'reads of the second partition' "$(counted)" "$((of_2[0] + 30)) ${of_2[1]}"
is 'its third extent' "$(ask "{\"version\":1,\"command\":\"extents\",\"device\":\"$loop\"}" |
	jq '.cells[] | select(.[0] == 2) | .[2]')" 30
loop=${other}p1
counted_is 'reads of the first' "$(counted)" "${of_1[*]}"
loop=$watched

# One extent is one cell.
fio_run --rw=read --bs=4k --offset=7M --size=1M >/dev/null
expected 256 0
is 'reads of extent 7' "$(ask "{\"version\":1,\"command\":\"extents\",\"device\":\"$loop\"}" |
	jq '.cells[] | select(.[0] == 7) | .[2] >= 256')" true

# While it is away the counting goes on, and the next one carries it on.
stop_daemon
# shellcheck disable=SC2046
expected $(fio_run --rw=randrw --bs=4k --number_ios=500 --size=64M)
start_daemon
counted_is 'over a restart' "$(counted)" "${before[*]}"
is 'cells over a restart' "$(cells)" "$(counted)"
grep -q 'counts on' "$log" || fail 'the log does not say that it counts on'

# Killed, not stopped.
kill -KILL "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || :
# shellcheck disable=SC2046
expected $(fio_run --rw=randrw --bs=4k --number_ios=500 --size=64M)
start_daemon
counted_is 'over a crash' "$(counted)" "${before[*]}"
is 'dropped' "$(ask '{"version":1,"command":"state"}' | jq '.daemon.bpf.dropped_events')" 0
