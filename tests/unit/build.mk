# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# One block a test; see the top of the Makefile.

UNIT_TESTS += dmctl
dmctl_test_SRCS := tests/unit/dmctl.c loader/dmctl_parse.c
