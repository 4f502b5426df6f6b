# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# title: the ageing disk of the demo: no file is lost with remapd, and some without
# timeout: 400
. tests/demo/ageing.sh

vm_at_exit 'vm_running && vm_exec "tail -n 50 /tmp/demo/*.log" || :'
# Other tests run at the same time: remapd gets more of it to look, and both disks the same.
ageing_slow_s=60
ageing_with_remapd
ageing_without_remapd
ageing_inside resume
ageing_inside stop
ageing_judge
ageing_table
