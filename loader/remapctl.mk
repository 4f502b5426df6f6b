# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

# A spare offline: pure but for spare_device.c.
SPARE_SRCS := loader/spare_read.c loader/spare_check.c loader/spare_text.c loader/spare_dump.c loader/spare_dump_read.c \
	loader/spare_write.c loader/spare_repair.c loader/spare_restore.c loader/spare_grow.c kmod/format.c

PROGRAMS += remapctl
remapctl_SRCS := loader/remapctl.c loader/ctl_plan.c loader/ctl_create.c loader/ctl_remove.c loader/ctl_probe.c \
	loader/ctl_device.c loader/ctl_move.c loader/ctl_status.c loader/ctl_ask.c loader/client.c loader/dmctl.c \
	loader/dmctl_parse.c loader/ctl_spare.c loader/spare_device.c $(SPARE_SRCS) $(POLICY_FILE_SRCS) $(POLICY_SRCS) \
	$(HEALTH_SRCS)
remapctl_SRCS += loader/ctl_spare_mend.c loader/ctl_badmap.c loader/ctl_grow.c loader/badmap.c
remapctl_SRCS += loader/ctl_stale.c loader/ctl_mark.c loader/ctl_stale_look.c loader/ctl_saved.c loader/ctl_unstamp.c \
	loader/ctl_partitions.c loader/stamp.c loader/stale_places.c
remapctl_SRCS += loader/ctl_evacuate.c loader/ctl_evacuate_map.c loader/ctl_evacuate_watch.c \
	loader/ctl_ddrescue.c loader/evacuation.c
remapctl_PKGS := devmapper jansson blkid smartcols yaml-0.1
remapctl_LIBS := -lm

INSTALL_COMPLETIONS += loader/remapctl.bash-completion
INSTALL_UDEV += loader/61-dm-remap.rules
