# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

PROGRAMS += remapctl
remapctl_SRCS := loader/remapctl.c loader/ctl_create.c loader/ctl_probe.c loader/ctl_device.c loader/ctl_move.c \
	loader/ctl_status.c loader/ctl_ask.c loader/client.c loader/dmctl.c loader/dmctl_parse.c kmod/format.c \
	$(POLICY_FILE_SRCS) $(POLICY_SRCS) $(HEALTH_SRCS)
remapctl_PKGS := devmapper jansson blkid smartcols yaml-0.1
remapctl_LIBS := -lm

INSTALL_COMPLETIONS += loader/remapctl.bash-completion
