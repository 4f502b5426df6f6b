# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Fuzz targets, linked to build/tests/fuzz/NAME; tests/fuzz/run runs them.

FUZZ_TARGETS += format
format_fuzz_SRCS := tests/fuzz/format.c tests/fuzz/input.c kmod/format.c

FUZZ_TARGETS += spare
spare_fuzz_SRCS := tests/fuzz/spare.c tests/fuzz/input.c tests/unit/spare_image.c $(SPARE_SRCS)
spare_fuzz_PKGS := jansson cmocka

FUZZ_TARGETS += dump
dump_fuzz_SRCS := tests/fuzz/dump.c tests/fuzz/input.c tests/fuzz/seeds.c tests/unit/spare_image.c $(SPARE_SRCS)
dump_fuzz_PKGS := jansson cmocka

FUZZ_TARGETS += stamp
stamp_fuzz_SRCS := tests/fuzz/stamp.c tests/fuzz/input.c tests/fuzz/seeds.c loader/stamp.c kmod/format.c

FUZZ_TARGETS += badmap
badmap_fuzz_SRCS := tests/fuzz/badmap.c tests/fuzz/input.c tests/fuzz/seeds.c loader/badmap.c

FUZZ_TARGETS += dmctl
dmctl_fuzz_SRCS := tests/fuzz/dmctl.c tests/fuzz/input.c tests/fuzz/seeds.c loader/dmctl_parse.c

FUZZ_TARGETS += policy
policy_fuzz_SRCS := tests/fuzz/policy.c tests/fuzz/input.c tests/fuzz/seeds.c $(POLICY_FILE_SRCS) $(POLICY_SRCS) \
	$(HEALTH_SRCS)
policy_fuzz_PKGS := yaml-0.1
policy_fuzz_LIBS := -lm

# clang's own sanitizers; at fixed addresses, so that two runs from one seed are the same.
FUZZ_CFLAGS := -O2 -g -fno-omit-frame-pointer -fno-pie
FUZZ_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all

$(BUILD)/fuzz/%.o: %.c Makefile $(FRAGMENTS) | $(GENERATED)
	$(call msg,CC FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BASE_CFLAGS) $(FUZZ_CFLAGS) $(FUZZ_SANITIZE) -fsanitize=fuzzer-no-link $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

define fuzz_target_rule
ALL += $(BUILD)/tests/fuzz/$(1)
$(BUILD)/tests/fuzz/$(1): $(patsubst %.c,$(BUILD)/fuzz/%.o,$($(1)_fuzz_SRCS))
	$$(call msg,LINK FUZZ,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CLANG) $$(FUZZ_CFLAGS) $$(FUZZ_SANITIZE) -fsanitize=fuzzer -no-pie -o $$@ $$(filter %.o,$$^) \
		$$($(1)_fuzz_LIBS) $$(call pkg_libs,$$($(1)_fuzz_PKGS))
endef
$(foreach t,$(FUZZ_TARGETS),$(eval $(call fuzz_target_rule,$(t))))

-include $(shell find $(BUILD)/fuzz -name '*.d' 2>/dev/null)
