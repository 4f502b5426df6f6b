# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Programs that the tests run inside the virtual machine; never installed.

GUEST_PROGRAMS += blkio dmctl-calls dmsay fuzz hammer hog powercut spare-edit torture
blkio_GUEST_SRCS := tests/vm/guest/blkio.c tests/vm/guest/pattern.c
dmctl-calls_GUEST_SRCS := tests/vm/guest/dmctl-calls.c loader/dmctl.c loader/dmctl_parse.c
dmctl-calls_GUEST_PKGS := devmapper
dmsay_GUEST_SRCS := tests/vm/guest/dmsay.c tests/vm/guest/message.c
fuzz_GUEST_SRCS := $(addprefix tests/vm/guest/,fuzz.c fuzz-spare.c torture-dm.c pattern.c) tests/fuzz/input.c \
	kmod/format.c
hammer_GUEST_SRCS := tests/vm/guest/hammer.c tests/vm/guest/pattern.c
hog_GUEST_SRCS := tests/vm/guest/hog.c
powercut_GUEST_SRCS := tests/vm/guest/powercut.c tests/vm/guest/pattern.c
spare-edit_GUEST_SRCS := tests/vm/guest/spare-edit.c kmod/format.c
torture_GUEST_SRCS := $(addprefix tests/vm/guest/,torture.c torture-admin.c torture-dm.c torture-faults.c \
	torture-io.c torture-model.c torture-report.c pattern.c)

define guest_program_rule
ALL += $(BUILD)/guest/$(1)
$(BUILD)/guest/$(1): $(patsubst %.c,$(BUILD)/obj/%.o,$($(1)_GUEST_SRCS))
	$$(call msg,LINK,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -pthread -o $$@ $$^ $$(call pkg_libs,$$($(1)_GUEST_PKGS))
endef
$(foreach p,$(GUEST_PROGRAMS),$(eval $(call guest_program_rule,$(p))))

# Of the harness itself, on the host.
ALL += $(BUILD)/tests/vm/tsc-khz
$(BUILD)/tests/vm/tsc-khz: $(BUILD)/obj/tests/vm/tsc-khz.o
	$(call msg,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
