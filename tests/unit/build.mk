# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# One block a test; see the top of the Makefile.

UNIT_TESTS += dmctl
dmctl_test_SRCS := tests/unit/dmctl.c loader/dmctl_parse.c

UNIT_TESTS += health
health_test_SRCS := tests/unit/health.c $(HEALTH_SRCS)
health_test_LIBS := -lm

UNIT_TESTS += metrics
metrics_test_SRCS := tests/unit/metrics.c $(METRICS_SRCS)
metrics_test_PKGS := jansson

UNIT_TESTS += policy
policy_test_SRCS := tests/unit/policy.c $(POLICY_SRCS) $(HEALTH_SRCS)
policy_test_LIBS := -lm

UNIT_TESTS += policy_file
policy_file_test_SRCS := tests/unit/policy_file.c $(POLICY_FILE_SRCS) $(POLICY_SRCS) $(HEALTH_SRCS)
policy_file_test_PKGS := yaml-0.1
policy_file_test_LIBS := -lm

UNIT_TESTS += format
format_test_SRCS := tests/unit/format.c kmod/format.c

UNIT_TESTS += remapd
remapd_test_SRCS := tests/unit/remapd.c loader/extent_map.c loader/events.c loader/log.c loader/health_image.c $(HEALTH_SRCS)
remapd_test_PKGS := libsystemd
remapd_test_LIBS := -lm

UNIT_TESTS += spare
spare_test_SRCS := tests/unit/spare.c tests/unit/spare_image.c $(SPARE_SRCS)
spare_test_PKGS := jansson

UNIT_TESTS += spare_map
spare_map_test_SRCS := tests/unit/spare_map.c tests/unit/spare_image.c $(SPARE_SRCS)
spare_map_test_PKGS := jansson

UNIT_TESTS += spare_dump
spare_dump_test_SRCS := tests/unit/spare_dump.c tests/unit/spare_image.c $(SPARE_SRCS)
spare_dump_test_PKGS := jansson

UNIT_TESTS += stale
stale_test_SRCS := tests/unit/stale.c loader/stamp.c loader/stale_places.c kmod/format.c
stale_test_PKGS := blkid

UNIT_TESTS += spare_repair
spare_repair_test_SRCS := tests/unit/spare_repair.c tests/unit/spare_broken.c tests/unit/spare_image.c $(SPARE_SRCS)
spare_repair_test_PKGS := jansson

UNIT_TESTS += spare_restore
spare_restore_test_SRCS := tests/unit/spare_restore.c tests/unit/spare_broken.c tests/unit/spare_image.c $(SPARE_SRCS)
spare_restore_test_PKGS := jansson

UNIT_TESTS += badmap
badmap_test_SRCS := tests/unit/badmap.c loader/badmap.c

UNIT_TESTS += evacuation
evacuation_test_SRCS := tests/unit/evacuation.c loader/evacuation.c loader/badmap.c

UNIT_TESTS += spare_grow
spare_grow_test_SRCS := tests/unit/spare_grow.c tests/unit/spare_broken.c tests/unit/spare_image.c $(SPARE_SRCS)
spare_grow_test_PKGS := jansson
