# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

PROGRAMS += remapd
remapd_SRCS := loader/main.c loader/fleet.c loader/devices.c loader/judge.c loader/actor.c loader/extent_map.c \
	loader/state.c loader/health_image.c loader/events.c loader/log.c loader/clock.c loader/server.c loader/answer.c \
	loader/monitor.c loader/monitor_range.c loader/dmctl.c loader/dmctl_parse.c \
	$(HEALTH_SRCS) $(POLICY_SRCS) $(POLICY_FILE_SRCS)
remapd_PKGS := libsystemd libbpf jansson devmapper yaml-0.1
remapd_LIBS := -lm -pthread

INSTALL_UNITS += loader/remapd.service
