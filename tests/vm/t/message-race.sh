#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: fio with verify while messages relocate and release random ranges: no mismatch
# kernels: 6.1 6.12 7.2
# invariants: 1 5 10
# timeout: 480

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

seed=140
seconds=60
[[ $KERNEL == 6.1 ]] || seconds=15
note "seed $seed, $seconds s"
need fio
load_remap
main=$(mkloop 32)
spare=$(mkloop 24)
remap_create r "$main" "$spare" format

awk -v seed=$seed 'BEGIN { srand(seed); for (;;) {
	print rand() < 0.55 ? "remap" : "release", int(rand() * 60000), 1 + int(rand() * 2000) } }' |
	dmsay r >/tmp/answers &
messages=$!
at_exit 'kill "$messages" 2>/dev/null || true'

# Half of the device to fio, half to the model, both in all sizes.
hammer -s $seed -t 600 -M /tmp/model /dev/mapper/r 32768 >/tmp/hammer.log &
load=$!
at_exit 'kill -KILL "$load" 2>/dev/null || true'
fio --name=race --filename=/dev/mapper/r --offset=16m --size=16m --direct=1 --ioengine=libaio --iodepth=8 \
	--rw=randrw --bsrange=512-256k --randseed=$seed --verify=crc32c --verify_fatal=1 \
	--verify_backlog=64 --time_based --runtime=$seconds --minimal >/tmp/fio.log || fail "fio: $(tail -n 5 /tmp/fio.log)"
hammer_stop "$load"
kill -0 "$messages" || fail 'the messages ended'
kill "$messages"
wait "$messages" 2>/dev/null || true

note "$(wc -l </tmp/answers) messages, $(status_of r proactive_blocks) blocks moved, $(status_of r released_blocks) released"
if grep -v '^[0-9]' /tmp/answers; then
	fail 'a message was refused'
fi
(($(status_of r proactive_blocks) > 1000 && $(status_of r released_blocks) > 1000)) || fail 'too little moved to show anything'
hammer -s $seed -c -M /tmp/model /dev/mapper/r 32768
expect_status r mode=rw unread_sectors=0 lost_sectors=0 failed_relocations=0
# Each I/O was counted once when it was sent, also if it had waited, and once when it was done.
is 'I/Os that the kernel counts as in flight' \
	"$(xargs <"/sys/block/$(dmsetup info -c --noheadings -o blkdevname r)/inflight")" '0 0'
