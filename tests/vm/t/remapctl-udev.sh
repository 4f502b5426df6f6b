#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remapctl where udev makes the nodes
# disks: 64M:serial=main 32M:serial=spare
# timeout: 120

. /project/tests/vm/lib.sh

udevd=/lib/systemd/systemd-udevd
[[ -x $udevd ]] || skip 'no systemd-udevd here'
unset DM_DISABLE_UDEV
"$udevd" --daemon
at_exit 'export DM_DISABLE_UDEV=1; udevadm control --exit'
wait_until 10 udevadm control --ping
udevadm trigger
udevadm settle --timeout=20
load_remap

for round in 1 2 3; do
	timeout 60 remapctl create r /dev/main /dev/spare >/tmp/out
	# A link is udev's work, a node would be the library's.
	[[ -L /dev/mapper/r && -b /dev/mapper/r ]] || fail "round $round: $(ls -l /dev/mapper)"
	uuid=$(dmsetup info -c --noheadings -o uuid r)
	[[ $uuid == REMAP-* ]] || fail "UUID: $uuid"
	dd if=/dev/urandom of=/dev/mapper/r bs=1M count=1 oflag=direct status=none
	timeout 60 remapctl remove r
	[[ ! -e /dev/mapper/r ]] || fail "round $round: /dev/mapper/r is still there"
done
is "cookies" "$(dmsetup udevcookies | grep -c "^0x" || :)" 0
