# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What a bench of the target needs inside its virtual machine.

$(BUILD)/guest/make-spare: $(BUILD)/obj/bench/make-spare.o $(BUILD)/obj/kmod/format.o
	$(call msg,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
ALL += $(BUILD)/guest/make-spare
