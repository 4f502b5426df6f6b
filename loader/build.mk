# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

include loader/decision.mk
include loader/remapctl.mk
include loader/remapd.mk
