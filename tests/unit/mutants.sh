#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: each patch of tests/mutants applies and names a test that there is

exec "$(dirname "$0")/../mutants/run" --check
