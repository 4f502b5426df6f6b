# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Programs that the tests on the host need; never installed.

$(BUILD)/obj/tests/native/%.o: BASE_CFLAGS += $(shell $(PKG_CONFIG) --cflags fuse3 2>/dev/null)

ALL += $(BUILD)/native/faultfile
$(BUILD)/native/faultfile: $(BUILD)/obj/tests/native/faultfile.o
	$(call msg,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $$($(PKG_CONFIG) --libs fuse3)
