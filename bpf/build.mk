# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The BPF object, and the skeleton header that carries it into remapd. Needs clang with a BPF backend and bpftool; no
# BTF of the build machine (bpf/kernel.h).

BPFTOOL := $(firstword $(wildcard /usr/sbin/bpftool /usr/bin/bpftool /usr/local/sbin/bpftool) bpftool)
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c bpf/%.h bpf/kernel.h bpf/build.mk
	$(call msg,BPF,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -I. -c -o $@ $<

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call msg,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@

ALL += $(BUILD)/bpf/monitor.bpf.o
GENERATED += $(BUILD)/bpf/monitor.skel.h
