# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Programs that the tests run inside the virtual machine; never installed.

ALL += $(BUILD)/guest/blkio $(BUILD)/guest/hammer

$(BUILD)/guest/%: $(BUILD)/obj/tests/vm/guest/%.o $(BUILD)/obj/tests/vm/guest/pattern.o
	$(call msg,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $^
