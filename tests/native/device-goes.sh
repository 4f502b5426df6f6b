#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: devices come and go while they are watched, and the policy changes under them
# timeout: 60
. tests/native/remapd.sh

make_loop 32
write_policy "$loop"
start_daemon
fio_run --rw=randread --bs=4k --number_ios=100 --size=32M >/dev/null
first=$(state .latency.read.count)
((first >= 100)) || fail "only $first reads were counted"

gone() {
	[[ -z $(state .device) ]]
}
there() {
	[[ $(state .device) == "$loop" ]]
}
losetup --detach "/dev/$loop"
wait_until 10 gone
losetup "/dev/$loop" "$tmp/disk0"
wait_until 10 there
(($(state .latency.read.count) < first)) || fail 'the counts of the former device went on'

# Another one of the same name, so quickly that nobody saw the first one go.
fio_run --rw=randread --bs=4k --number_ios=500 --size=32M >/dev/null
losetup --detach "/dev/$loop"
losetup "/dev/$loop" "$tmp/disk0"
anew() {
	there && (($(state .latency.read.count) < 400))
}
wait_until 10 anew

# Or while remapd was away.
fio_run --rw=randread --bs=4k --number_ios=500 --size=32M >/dev/null
stop_daemon
losetup --detach "/dev/$loop"
losetup "/dev/$loop" "$tmp/disk0"
start_daemon
wait_until 10 anew

# It grows.
truncate -s 48M "$tmp/disk0"
losetup --set-capacity "/dev/$loop"
grown() {
	[[ $(state .extents) == 48 ]]
}
wait_until 10 grown

# The policy lets go of it, takes a wrong file for what it is, and takes it back.
cp "$tmp/policy.yaml" "$tmp/good.yaml"
printf 'version: 1\n' >"$tmp/policy.yaml"
kill -HUP "$daemon_pid"
wait_until 10 gone
printf 'version: 1\nmode: perhaps\n' >"$tmp/policy.yaml"
kill -HUP "$daemon_pid"
complains() {
	ask '{"version":1,"command":"state"}' | jq -e '.daemon.policy_error | test("policy.yaml:2:")' >/dev/null
}
wait_until 10 complains
cp "$tmp/good.yaml" "$tmp/policy.yaml"
kill -HUP "$daemon_pid"
wait_until 10 there
is 'policy_error' "$(ask '{"version":1,"command":"state"}' | jq .daemon.policy_error)" null

# Ten times, in use.
for i in $(seq 10); do
	dd if="/dev/$loop" of=/dev/null bs=4k iflag=direct status=none &
	busy=$!
	kill -HUP "$daemon_pid"
	losetup --detach "/dev/$loop"
	((i % 2)) || wait_until 10 gone
	kill "$busy" 2>/dev/null || :
	wait "$busy" 2>/dev/null || :
	# Detached for good only now, when nobody has it open any more.
	wait_until 5 losetup "/dev/$loop" "$tmp/disk0" 2>/dev/null
done
wait_until 10 there
is 'devices' "$(ask '{"version":1,"command":"state"}' | jq '.devices | length')" 1
