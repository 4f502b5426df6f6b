#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: after two crashes in a row remapd only observes, until a run has ended well
# timeout: 60
. tests/native/remapd.sh

make_loop 16
write_policy "$loop"
sed -i 's/mode: observe/mode: act/' "$tmp/policy.yaml"
mode() {
	echo "$(state .policy_mode) $(ask '{"version":1,"command":"state"}' | jq .daemon.frozen)"
}
crash() {
	kill -KILL "$daemon_pid"
	wait "$daemon_pid" 2>/dev/null || :
	daemon_pid=
}
start_daemon
is 'at first' "$(mode)" 'act false'
crash
start_daemon
is 'after one crash' "$(mode)" 'act false'
crash
start_daemon
is 'after two' "$(mode)" 'observe true'
stop_daemon
start_daemon
is 'after a run that ended well' "$(mode)" 'act false'
