# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Crash points: the recorder below the guest (an nbdkit plugin), the load inside it, the judge of what was recorded.

GUEST_PROGRAMS += crash-load
crash-load_GUEST_SRCS := tests/crash/load.c tests/crash/load_random.c tests/vm/guest/message.c tests/vm/guest/pattern.c

CRASH_RECORDER_SRCS := tests/crash/recorder.c tests/vm/guest/pattern.c
CRASH_JUDGE_SRCS := $(addprefix tests/crash/,judge.c for_kernel.c state.c expect.c spare_map.c disks.c) \
	tests/vm/guest/pattern.c kmod/format.c

ALL += $(BUILD)/tests/crash/recorder.so $(BUILD)/tests/crash/judge

# nbdkit loads it with the symbols that it has itself.
$(BUILD)/tests/crash/recorder.so: $(CRASH_RECORDER_SRCS) tests/crash/record.h tests/vm/guest/pattern.h
	$(call msg,PLUGIN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(LDFLAGS) -fPIC -shared -o $@ $(CRASH_RECORDER_SRCS)

$(BUILD)/tests/crash/judge: $(patsubst %.c,$(BUILD)/obj/%.o,$(CRASH_JUDGE_SRCS))
	$(call msg,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
