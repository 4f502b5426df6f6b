# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

INSTALL_DASHBOARDS += $(wildcard dashboards/grafana/*.json dashboards/prometheus/*.yml)
