#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the target's own I/O is no evidence, and remapd does not keep the module from being unloaded
# disks: 64M 64M
# timeout: 240
. /project/tests/vm/lib.sh
need remapd jq socat

main=${disks[0]} spare=${disks[1]}
load_remap
remap_create data0 "$main" "$spare" format
cat >/tmp/policy.yaml <<'POLICY'
version: 1
mode: observe
POLICY
remapd --verbose --policy /tmp/policy.yaml >/tmp/remapd.log 2>&1 &
pid=$!
at_exit 'cat /tmp/remapd.log; kill $pid; wait $pid || :; remapd --unpin'
state() { # JQ-EXPRESSION
	printf '{"version":1,"command":"state"}\n' | socat -t 10 - UNIX-CONNECT:/run/dm-remap/remapd.sock | jq -r "$1"
}
watched() {
	[[ $(state '.devices[0].device' 2>/dev/null) == data0 ]]
}
wait_until 30 watched

counts() {
	state '.devices[0].latency | "\(.read.count) \(.write.count)"'
}
dd if=/dev/mapper/data0 of=/dev/null bs=64k count=100 iflag=direct status=none
before=$(counts)
is 'own I/O so far' "$(state .daemon.bpf.own_ios)" 0
# 4 MiB are read from main by the target; users read nothing.
sector=0
while ((sector < 8192)); do
	read -r sector _ < <(dmsetup message data0 0 "remap $sector $((8192 - sector))")
done
is 'reads and writes after a relocation' "$(counts)" "$before"
(($(state .daemon.bpf.own_ios) > 0)) || fail 'the own I/O of the target was not seen at all'

# What users read of the rest still counts.
dd if=/dev/mapper/data0 of=/dev/null bs=4k skip=2048 count=10 iflag=direct status=none
is 'reads of users' "$(($(counts | cut -d' ' -f1) - ${before% *}))" 10

note 'gone as soon as the device is'
dmsetup remove data0
unloaded() {
	rmmod dm_remap 2>/dev/null
}
wait_until 5 unloaded
load_remap
remap_create data0 "$main" "$spare"
wait_until 30 watched
dmsetup remove data0
wait_until 5 unloaded
