#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the harness: a reset machine comes back with the same disks; one that does not boot is given up
# timeout: 240

expect() {
	if [[ $2 != "$3" ]]; then
		printf 'FAIL: %s: got "%s", wanted "%s"\n' "$1" "$2" "$3"
		exit 1
	fi
}

vm_start 16M 8M:serial=spare
first=$(vm_exec 'cat /proc/sys/kernel/random/boot_id')
if [[ $(vm_accel) == tcg* ]]; then
	# Twice where it gauges the processor's frequency to be another than the counter's, which it says last.
	mhz=$(vm_exec "dmesg | sed -n 's/.*tsc: Detected \\([0-9]*\\).*/\\1/p' | tail -n 1")
	host_mhz=$(($(build/tests/vm/tsc-khz) / 1000))
	if ! ((mhz - host_mhz <= 1 && host_mhz - mhz <= 1)); then
		printf 'FAIL: its clock counts at %s MHz, and that of the host at %s\n' "$mhz" "$host_mhz"
		exit 1
	fi
fi
vm_exec 'echo written | dd of=/dev/disk0 oflag=direct,sync bs=512 conv=sync status=none; echo here >/tmp/file'

# Status and both streams come back, and commands run side by side.
expect 'output' "$(vm_exec 'echo out; echo err >&2' 2>/dev/null)" out
expect 'error output' "$(vm_exec 'echo out; echo err >&2' 2>&1 >/dev/null)" err
status=0
vm_exec 'exit 42' || status=$?
expect 'status' "$status" 42
vm_exec_bg 'until [[ -e /tmp/go ]]; do sleep 0.1; done; echo waited'
job=$VM_JOB
vm_exec 'touch /tmp/go'
expect 'the other command' "$(vm_wait "$job")" waited
head -c 300000 /dev/urandom >"$VM_DIR/bytes"
vm_put "$VM_DIR/bytes" /tmp/bytes
vm_get /tmp/bytes "$VM_DIR/bytes.back"
cmp "$VM_DIR/bytes" "$VM_DIR/bytes.back"

# Under a running command.
vm_exec_bg 'sleep 100'
vm_reset
[[ $(vm_exec 'cat /proc/sys/kernel/random/boot_id') != "$first" ]]
expect 'the disk after a reset' "$(vm_exec 'head -c 7 /dev/disk0')" written
expect 'the root after a reset' "$(vm_exec 'ls /tmp')" ''

vm_kill
status=0
vm_exec true 2>/dev/null || status=$?
expect 'status without a machine' "$status" 125
expect 'the image on the host' "$(head -c 7 "$VM_DIR/disk0.img")" written
printf 'changed' | dd of="$VM_DIR/disk0.img" conv=notrunc status=none
vm_boot
expect 'the disk changed while off' "$(vm_exec 'head -c 7 /dev/disk0')" changed
vm_stop
expect 'boots in the log' "$(vm_console | grep -c '^=== boot')" 3

# A kernel that is stuck before it gets to the first program is booted once more, and then given up. (Here: another
# first program.)
VM_APPEND='rdinit=/bin/busybox -- sleep 1000' VM_BOOT_TIMEOUT=5
status=0
vm_boot 2>"$VM_DIR/said" || status=$?
expect 'status without a boot' "$status" 123
expect 'boots of a stuck kernel' "$(grep -c 'did not boot within 5 s' "$VM_DIR/said")" 2
expect 'where its processors are' "$(($(grep -cE '[RE]IP=' "$VM_DIR/said") >= 8))" 1
expect 'a machine that did not boot' "$(vm_running && echo runs)" ''
