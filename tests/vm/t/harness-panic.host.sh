#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the harness: a panic ends the machine at once and fails the test; a hang ends by the time limit
# timeout: 300
. tests/vm/selftest/verdict.sh

verdict panic 1 'the machine ended under it' 'Kernel panic - not syncing: provoked'
verdict hang 1 'did not end within 5 s'
verdict dead 1 'did not end within 5 s'
