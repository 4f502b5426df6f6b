# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

INSTALL_MAN += docs/man/remapctl.8 docs/man/remapd.8 docs/man/remap-exporter.8 \
	docs/man/remapctl-check.8 docs/man/remapctl-dump.8 docs/man/remapctl-repair.8 docs/man/remapctl-restore.8 \
	docs/man/remapctl-export.8 docs/man/remapctl-evacuate.8
