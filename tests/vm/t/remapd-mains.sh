#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: mains of all kinds are counted in the remap device's own sectors
# kernels: 6.1 6.12 7.2
# disks: 96M 64M 96M 64M
# timeout: 300
. /project/tests/vm/lib.sh
need remapd jq socat sgdisk

load_remap
cat >/tmp/policy.yaml <<'POLICY'
version: 1
mode: observe
POLICY
remapd --verbose --policy /tmp/policy.yaml >/tmp/remapd.log 2>&1 &
pid=$!
at_exit 'cat /tmp/remapd.log; kill $pid; wait $pid || :; remapd --unpin'
ask() {
	printf '%s\n' "$1" | socat -t 10 - UNIX-CONNECT:/run/dm-remap/remapd.sock
}
state() { # DEVICE JQ-EXPRESSION
	ask '{"version":1,"command":"state"}' | jq -r ".devices[] | select(.device == \"$1\") | $2"
}
watched() {
	[[ $(state "$1" .device 2>/dev/null) == "$1" ]]
}
extents_read() { # DEVICE : "extent:reads ..."
	ask "{\"version\":1,\"command\":\"extents\",\"device\":\"$1\"}" | jq -r '[.cells[] | "\(.[0]):\(.[2])"] | join(" ")'
}
cell() { # DEVICE EXTENT INDEX
	ask "{\"version\":1,\"command\":\"extents\",\"device\":\"$1\"}" | jq -r ".cells[] | select(.[0] == $2) | .[$3]"
}
# Sixteen reads of extent 3 of a remap device, one read of its last 4 KiB: nothing else may show.
check_reads() { # DEVICE
	local before after last
	last=$(($(blockdev --getsz "/dev/mapper/$1") / 8 - 1))
	before=$(state "$1" .latency.read.count)
	dd if="/dev/mapper/$1" of=/dev/null bs=64k skip=48 count=16 iflag=direct status=none
	dd if="/dev/mapper/$1" of=/dev/null bs=4k skip=$last count=1 iflag=direct status=none
	after=$(state "$1" .latency.read.count)
	eq "$1: reads" $((after - before)) 17
	eq "$1: reads of extent 3" "$(cell "$1" 3 2)" 16
	(($(cell "$1" $((last / 256)) 2) >= 1)) || fail "$1: the last block was not counted: $(extents_read "$1")"
}

note 'a partition, with an offset in it'
disk=$(readlink -f "${disks[0]}")
sgdisk --new=1:2048:67583 --new=2:67584:133119 "$disk" >/dev/null
partx --update "$disk"
wait_until 5 test -b "${disk}2"
dmsetup create part --table "0 60000 remap ${disk}2 2048 ${disks[1]} 0 1 format"
wait_until 15 watched part
check_reads part
is 'main of part' "$(state part .main)" "${disk##*/}2"
# The target's own reads are announced in the partition's sectors.
before=$(state part .latency.read.count)
dmsetup message part 0 remap 20000 512 >/dev/null
eq 'reads of part after a relocation' "$(state part .latency.read.count)" "$before"

note 'a loop device'
loop=$(mkloop 64)
dmsetup create loop --table "0 131072 remap $loop 0 ${disks[3]} 0 1 format"
wait_until 15 watched loop
check_reads loop
dmsetup remove loop

note 'a device-mapper device of two segments, one of which fails'
size=$(blockdev --getsz "${disks[2]}")
bad=$((20 * 2048 + 512))
{
	printf '0 %d linear %s 0\n' $bad "${disks[2]}"
	printf '%d 8 error\n' $bad
	printf '%d %d linear %s %d\n' $((bad + 8)) $((size - bad - 8)) "${disks[2]}" $((bad + 8))
} | dmsetup create stack
dd if=/dev/zero of="${disks[3]}" bs=1M count=1 oflag=direct status=none
remap_create stacked /dev/mapper/stack "${disks[3]}" format
wait_until 15 watched stacked
check_reads stacked
# One read over the segments' edges is one I/O, and its error is one error, at its own first sector.
before=$(state stacked .latency.read.count)
! dd if=/dev/mapper/stacked of=/dev/null bs=64k skip=$((bad / 128)) count=1 iflag=direct status=none 2>/dev/null ||
	fail 'the bad block was read'
eq 'reads' $(($(state stacked .latency.read.count) - before)) 1
eq 'errors' "$(state stacked '[.errors.read[]] | add')" 1
eq 'errors of extent 20' "$(cell stacked 20 5)" 1
# The salvage's own re-reads failed as well, and are none of the users'.
eq 'errors with the own ones' "$(state stacked '[.errors.read[]] | add')" 1
(($(ask '{"version":1,"command":"state"}' | jq .daemon.bpf.own_ios) > 8)) || fail 'the salvage was not seen'
eq 'impossible ones' "$(ask '{"version":1,"command":"state"}' | jq .daemon.bpf.impossible)" 0

note 'fio on the stacked main'
before=$(state stacked '"\(.latency.read.count) \(.latency.write.count)"')
read -r reads writes < <(fio --name=t --filename=/dev/mapper/stacked --direct=1 --rw=randrw --bs=4k --size=16M \
	--number_ios=2000 --ioengine=libaio --iodepth=8 --output-format=json |
	jq -r '.jobs[0] | "\(.read.total_ios) \(.write.total_ios)"')
is 'reads and writes' "$(state stacked '"\(.latency.read.count) \(.latency.write.count)"')" \
	"$((${before% *} + reads)) $((${before#* } + writes))"
