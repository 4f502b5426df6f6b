# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# The decision: what each program that decides (the daemon, tests, a simulator) is linked from. Needs -lm; the file needs yaml-0.1.

HEALTH_SRCS := loader/health.c loader/health_yardstick.c loader/health_judge.c loader/health_table.c \
	loader/health_model.c
POLICY_SRCS := loader/policy.c loader/policy_explain.c loader/policy_knobs.c
POLICY_FILE_SRCS := loader/policy_file.c

INSTALL_CONF += loader/policy.yaml
INSTALL_MAN += docs/man/remap-policy.5
