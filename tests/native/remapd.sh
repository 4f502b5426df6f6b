# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# What the native tests of remapd share: a daemon of their own (socket, state and pins apart from a real one's), loop
# devices, and questions to the socket. Everything is undone at exit.

set -euo pipefail

[[ $EUID -eq 0 ]] || { echo 'skip: not root' && exit 77; }
[[ -e /sys/kernel/btf/vmlinux ]] || { echo 'skip: this kernel has no BTF' && exit 77; }
for tool in fio jq losetup socat; do
	command -v $tool >/dev/null || { echo "skip: no $tool here" && exit 77; }
done

BUILD=${BUILD:-$PWD/build}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/remapd.XXXXXX")
socket=$tmp/sock
pin_dir=/sys/fs/bpf/dm-remap-test-$$
log=$tmp/log
daemon_pid='' fault_pid=''
loops=()

# For what a test has to undo itself, when remapd is gone.
undo_more() {
	:
}

undo() {
	local status=$? device
	set +eu
	stop_daemon || status=1
	"$BUILD/remapd" --unpin --pin-dir "$pin_dir" || status=1
	undo_more || status=1
	for device in "${loops[@]}"; do
		losetup --detach "$device" 2>/dev/null || :
	done
	if [[ -n $fault_pid ]]; then
		kill "$fault_pid"
		wait "$fault_pid" || :
	fi
	((status == 0)) || sed 's/^/log: /' "$log" >&2
	rm -rf "$tmp"
	exit "$status"
}
trap undo EXIT

fail() {
	printf 'FAIL: %s (line %s)\n' "$1" "${BASH_LINENO[0]}" >&2
	exit 1
}

is() { # WHAT GOT WANTED
	[[ $2 == "$3" ]] || fail "$1: got $2, wanted $3"
}

wait_until() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || fail "waited in vain for: $*"
		sleep 0.1
	done
}

# A loop device over memory of so many MiB: sets $loop.
make_loop() {
	truncate -s "$1M" "$tmp/disk${#loops[@]}"
	loop=$(losetup --find --show "$tmp/disk${#loops[@]}")
	loops+=("$loop")
	loop=${loop#/dev/}
}

# The same over a file whose faults are set with set_faults.
make_faulty_loop() {
	[[ -e /dev/fuse ]] || { echo 'skip: no FUSE here' && exit 77; }
	mkdir "$tmp/fault"
	"$BUILD/native/faultfile" "$tmp/fault" $(($1 << 20)) 2>/dev/null &
	fault_pid=$!
	wait_until 5 test -e "$tmp/fault/disk"
	loop=$(losetup --direct-io=on --find --show "$tmp/fault/disk")
	loops+=("$loop")
	loop=${loop#/dev/}
}

set_faults() { # LINE...
	printf '%s\n' "$@" >"$tmp/fault/faults"
}

# A policy that observes the devices named, with judgement from the first second: sets $tmp/policy.yaml.
write_policy() {
	{
		printf 'version: 1\nmode: observe\n'
		printf 'evidence: {incident_gap_s: 1, stall_gap_ms: 100}\n'
		printf 'reread: {confirmations: 1, interval_s: 1}\n'
		printf 'guards: {fresh_boot_s: 0, baseline_s: 0}\ndevices:\n'
		printf '  - match: {kernel_name: "%s"}\n    mode: observe\n' "$@"
	} >"$tmp/policy.yaml"
}

start_daemon() {
	"$BUILD/remapd" --verbose --policy "$tmp/policy.yaml" --socket "$socket" --state-dir "$tmp/state" \
		--pin-dir "$pin_dir" >>"$log" 2>&1 &
	daemon_pid=$!
	wait_until 15 ask '{"version":1,"command":"state"}' >/dev/null
}

# Ends it as a service manager does; fails if it did not end well.
stop_daemon() {
	local status=0
	[[ -n $daemon_pid ]] || return 0
	kill "$daemon_pid" 2>/dev/null || :
	wait "$daemon_pid" || status=$?
	daemon_pid=
	return $status
}

# The socket's answer to one request.
ask() {
	printf '%s\n' "$1" | socat -t 15 - "UNIX-CONNECT:$socket" 2>/dev/null
}

state() { # JQ-EXPRESSION on the device $loop
	ask '{"version":1,"command":"state"}' | jq -r ".devices[] | select(.device == \"$loop\") | $1"
}

# I/Os of $loop as remapd counts them.
counted() {
	state '"\(.latency.read.count) \(.latency.write.count)"'
}

# Fails unless READS and WRITES of $loop are as WANTED. On a busy machine a few completions in a thousand do not reach any
# BPF program (Linux 6.18, seen by two independent ones beside the issues and the disk's own statistics); never too many.
counted_is() { # WHAT "READS WRITES" WANTED
	local got wanted short
	read -ra got <<<"$2"
	read -ra wanted <<<"$3"
	short=$((wanted[0] + wanted[1] - got[0] - got[1]))
	((got[0] <= wanted[0] && got[1] <= wanted[1] && short * 200 <= wanted[0] + wanted[1])) ||
		fail "$1: got $2, wanted $3"
}

fio_run() { # FIO-OPTION... : prints "reads writes" as fio counts them
	fio --name=test --filename="/dev/$loop" --direct=1 --randseed=1 --ioengine=psync --output-format=json "$@" |
		jq -r '.jobs[0] | "\(.read.total_ios) \(.write.total_ios)"'
}
