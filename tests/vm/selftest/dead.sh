#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the machine answers no more
# timeout: 5
. /project/tests/vm/lib.sh
for cpu in 0 1; do
	taskset -c "$cpu" chrt --fifo 99 bash -c 'while :; do :; done' &
done
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
wait
