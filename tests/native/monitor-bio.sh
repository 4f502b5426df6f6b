#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a device without a request queue is counted from bios, once each
# timeout: 60
. tests/native/remapd.sh

[[ -e /sys/class/zram-control/hot_add ]] || { echo 'skip: no zram here' && exit 77; }
number=$(cat /sys/class/zram-control/hot_add)
loop=zram$number
undo_more() {
	wait_until 5 eval "echo 1 >/sys/block/$loop/reset" 2>/dev/null
	echo "$number" >/sys/class/zram-control/hot_remove
}
echo 32M >"/sys/block/$loop/disksize"
write_policy "$loop"
start_daemon

read -ra before < <(counted)
for size in 4k 64k; do
	read -ra more < <(fio_run --rw=randrw --bs=$size --number_ios=500 --size=32M)
	before=($((before[0] + more[0])) $((before[1] + more[1])))
done
counted_is 'reads and writes' "$(counted)" "${before[*]}"
# Several at a time, from two processes.
read -ra more < <(fio --name=test --filename="/dev/$loop" --direct=1 --ioengine=libaio --iodepth=8 --numjobs=2 --rw=randrw \
	--bs=4k --number_ios=2000 --size=32M --group_reporting --output-format=json |
	jq -r '.jobs[0] | "\(.read.total_ios) \(.write.total_ios)"')
before=($((before[0] + more[0])) $((before[1] + more[1])))
counted_is 'with eight at a time' "$(counted)" "${before[*]}"
is 'impossible ones' "$(ask '{"version":1,"command":"state"}' | jq .daemon.bpf.impossible)" 0
is 'dropped' "$(ask '{"version":1,"command":"state"}' | jq .daemon.bpf.dropped_events)" 0
# What is in flight is forgotten when it is done.
left() {
	bpftool map dump pinned "$pin_dir/maps/monitor_flight" 2>/dev/null | tail -n 1
}
case $(left) in
'Found 0 elements' | '[]') ;;
*) fail "in flight: $(left)" ;;
esac
