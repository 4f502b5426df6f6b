# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

PROGRAMS += remap-exporter
METRICS_SRCS := exporter/metrics.c exporter/buffer.c
remap-exporter_SRCS := exporter/exporter.c exporter/http.c exporter/page.c loader/client.c $(METRICS_SRCS)
remap-exporter_PKGS := libmicrohttpd jansson

$(BUILD)/obj/exporter/page.o: $(wildcard exporter/page/*)

INSTALL_UNITS += exporter/remap-exporter.service
