#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: nothing that a client sends, or leaves undone, disturbs remapd
# timeout: 60
. tests/native/remapd.sh

make_loop 16
write_policy "$loop"
start_daemon

send() {
	# shellcheck disable=SC2059 # escapes are meant
	printf "$1" | socat -t 5 - "UNIX-CONNECT:$socket"
}
refused() { # BYTES WANTED-ERROR
	local answer
	# shellcheck disable=SC2059
	answer=$(printf "$1" | socat -t 5 - "UNIX-CONNECT:$socket")
	is "refusal of $1" "$(jq -r '"\(.version) \(.ok) \(.error)"' <<<"$answer")" "1 false $2"
}

refused '\n' 'the request is not a JSON object'
refused 'hello\n' 'the request is not a JSON object'
refused '\\0\\377\\200{\n' 'the request is not a JSON object'
refused '[1,2]\n' 'the request is not a JSON object'
refused '{"version":1,"version":1,"command":"state"}\n' 'the request is not a JSON object'
refused '{"command":"state"}\n' '"version" must be 1'
refused '{"version":2,"command":"state"}\n' '"version" must be 1'
refused '{"version":1}\n' '"command" is missing'
refused '{"version":1,"command":7}\n' '"command" is missing'
refused '{"version":1,"command":"format"}\n' 'no such command: format'
refused '{"version":1,"command":"extents"}\n' '"device" is missing'
refused '{"version":1,"command":"extents","device":"nope"}\n' "no such device is watched; there are: $loop"
refused "{\"version\":1,\"command\":\"explain\",\"device\":\"$loop\"}\n" '"extent" is missing or no number'
refused "{\"version\":1,\"command\":\"explain\",\"device\":\"$loop\",\"extent\":-1}\n" '"extent" is missing or no number'
refused "{\"version\":1,\"command\":\"explain\",\"device\":\"$loop\",\"extent\":16}\n" \
	"no such extent; $loop has 0 to 15"
is 'a line too long' "$(head -c 5000 /dev/zero | tr '\0' x | socat -t 5 - "UNIX-CONNECT:$socket" | jq -r .error)" \
	'the request is longer than 4096 bytes'
head -c 1000000 /dev/urandom | socat -t 5 - "UNIX-CONNECT:$socket" >/dev/null 2>&1 || :
is 'two requests on one connection' \
	"$(send '{"version":1,"command":"events"}\n{"version":1,"command":"policy"}\n' | jq -c .ok | paste -sd' ')" 'true true'

# Clients that connect and say nothing, that say half a line, that ask without end and never read: others are answered.
rude=()
for i in $(seq 15); do
	socat -u "UNIX-CONNECT:$socket" OPEN:/dev/null,wronly &
	rude+=($!)
	socat "UNIX-CONNECT:$socket" SYSTEM:'printf "{\\\"ver"; exec cat >/dev/null' &
	rude+=($!)
	socat -u SYSTEM:"exec yes '{\"version\"\:1,\"command\"\:\"state\"}'" "UNIX-CONNECT:$socket" &
	rude+=($!)
done 2>/dev/null
for i in $(seq 20); do
	ask '{"version":1,"command":"state"}' | jq -e .ok >/dev/null || fail "no answer beside rude clients ($i)"
done
kib=$(awk '/^VmRSS/ { print $2 }' "/proc/$daemon_pid/status")
((kib < 65536)) || fail "remapd has grown to $kib KiB"

# More than it takes are told so; when they are gone there is room again.
for i in $(seq 60); do
	socat -u "UNIX-CONNECT:$socket" OPEN:/dev/null,wronly &
	rude+=($!)
done 2>/dev/null
full() {
	ask '{"version":1,"command":"state"}' | grep -q 'too many clients'
}
wait_until 5 full
kill "${rude[@]}" 2>/dev/null || :
wait "${rude[@]}" 2>/dev/null || :
answered() {
	ask '{"version":1,"command":"state"}' | jq -e .ok >/dev/null
}
wait_until 5 answered

# A second one on the same socket or the same pins.
status=0
"$BUILD/remapd" --policy "$tmp/policy.yaml" --socket "$socket" --state-dir '' --pin-dir "$pin_dir-2" \
	>"$tmp/second" 2>&1 || status=$?
"$BUILD/remapd" --unpin --pin-dir "$pin_dir-2"
is 'status of a second daemon' $status 69
grep -q 'another remapd answers' "$tmp/second" || fail 'it does not say why'
status=0
"$BUILD/remapd" --policy "$tmp/policy.yaml" --socket "$tmp/other" --state-dir '' --pin-dir "$pin_dir" \
	>"$tmp/second" 2>&1 || status=$?
is 'status with the same pins' $status 69
status=0
"$BUILD/remapd" --no-such-option >"$tmp/second" 2>&1 || status=$?
is 'status of a wrong option' $status 64
status=0
"$BUILD/remapd" --policy "$tmp/nothing" >"$tmp/second" 2>&1 || status=$?
is 'status without the policy file that was named' $status 66
