# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# title: remap-exporter, remapd and the target together: what is scraped is what device-mapper says
# disks: 64M:serial=main 32M:serial=spare
# timeout: 300

# Here promtool is at hand; in the guest are the programs.

promtool=$(tests/promtool --version 2>&1) || { echo "$promtool"; exit 77; }
vm_start 64M:serial=main 32M:serial=spare

vm_exec 'set -e; . /project/tests/vm/lib.sh; trap - EXIT
	load_remap
	remapctl create data0 /dev/main /dev/spare --no-stamp
	dd if=/dev/urandom of=/dev/mapper/data0 bs=1M count=64 oflag=direct status=none
	mkdir -p /run/dm-remap
	printf "version: 1\nmode: observe\n" >/tmp/policy.yaml
	remapd --policy /tmp/policy.yaml --state-dir "" >/tmp/remapd.log 2>&1 &
	echo $! >/tmp/remapd.pid
	remap-exporter 2>/tmp/exporter.log &
	echo $! >/tmp/exporter.pid
	wait_until 30 eval "remapctl --json status 2>/dev/null | jq -e \".source == \\\"remapd\\\" and .devices[0].device == \\\"data0\\\"\" >/dev/null"
	remapctl remap data0 2048 4096
	dd if=/dev/mapper/data0 of=/dev/null bs=64k iflag=direct status=none
	# The daemon looks at the target from time to time.
	wait_until 30 eval "curl -s http://127.0.0.1:9994/metrics | grep -q \"^remapd_remapped_sectors{device=.data0.} 4096\""
	wait_until 30 eval "curl -s http://127.0.0.1:9994/metrics | grep -q \"^remapd_read_latency_seconds_count{device=.data0.} [1-9]\""'
vm_exec 'curl -s http://127.0.0.1:9994/metrics' >"$VM_DIR/metrics"
vm_exec 'dmsetup status data0' >"$VM_DIR/status"
vm_exec 'remapctl status' >"$VM_DIR/table"
grep -Eq '^data0 +WARN +7% of 30.8 MiB +512 +0 +0 ' "$VM_DIR/table" || { cat "$VM_DIR/table"; echo 'FAIL: remapctl status'; exit 1; }

tests/promtool check metrics <"$VM_DIR/metrics" || { echo 'FAIL: promtool check metrics'; exit 1; }

# value NAME{LABELS} : of a series.
value() { awk -v series="$1" '$1 == series { print $2 }' "$VM_DIR/metrics"; }
failures=0
check() {
	[[ $2 == "$3" ]] || {
		printf 'FAIL: %s: got "%s", wanted "%s"\n' "$1" "$2" "$3"
		failures=$((failures + 1))
	}
}
# The words after "0 131072 remap", as kmod/dm-remap.rst has them.
read -r _ _ _ mode block mapped free retired unread lost rescued salvaged proactive _ <"$VM_DIR/status"
check mode "$mode" rw
check 'moved by message' "$mapped $proactive" '512 512'
for pair in "remapped_sectors $((mapped * block))" "unread_sectors $unread" "lost_sectors $lost" \
	"spare_size_bytes $(((mapped + free + retired) * block * 512))" "spare_used_bytes $((mapped * block * 512))" \
	"spare_retired_bytes $((retired * block * 512))"; do
	check "${pair% *}" "$(value "remapd_${pair% *}{device=\"data0\"}")" "${pair#* }"
done
for pair in "rescue $rescued" "salvage $salvaged" "proactive $proactive"; do
	check "relocations ${pair% *}" "$(value "remapd_relocations_total{device=\"data0\",reason=\"${pair% *}\"}")" "${pair#* }"
done
check up "$(value remapd_up)" 1
check mode "$(value 'remapd_policy_mode{device="data0",mode="observe"}')" 1
grep -q '^remapd_device_info{device="data0",dm_name="data0",main="vd.*",spare="vd.*",wwn=".*",serial="main"} 1$' \
	"$VM_DIR/metrics" || {
	grep device_info "$VM_DIR/metrics"
	echo 'FAIL: device info'
	failures=$((failures + 1))
}
((failures == 0)) || exit 1

# Without remapd: the scrape says so, and remapctl knows the rest from device-mapper.
vm_exec 'set -e; . /project/tests/vm/lib.sh; trap - EXIT
	kill "$(cat /tmp/remapd.pid)"
	wait_until 30 eval "! kill -0 $(cat /tmp/remapd.pid) 2>/dev/null"
	is "without remapd" "$(curl -s http://127.0.0.1:9994/metrics | grep -v "^#")" "remapd_up 0"
	remapctl --json status data0 2>/dev/null | jq -e ".source == \"device-mapper\" and .devices[0].target.mapped_blocks == 512" >/dev/null
	kill "$(cat /tmp/exporter.pid)"
	remapd --unpin
	remapctl remove data0
	wait_until 30 eval "! kill -0 $(cat /tmp/exporter.pid) 2>/dev/null"
	unload_remap'
