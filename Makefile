# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# One make for the whole tree. Everything it makes is in build/; sources stay clean.
#
# A folder adds its parts in FOLDER/build.mk, included below. What a build.mk may say:
#
#   PROGRAMS += remapd                       a program, linked to build/remapd, installed in $(SBINDIR)
#   remapd_SRCS := loader/remapd.c ...       its sources, named from the top
#   remapd_PKGS := jansson libsystemd        pkg-config names of its libraries
#   remapd_LIBS := -lm                       further linker arguments
#
#   UNIT_TESTS += health                     a cmocka program, linked to build/tests/unit/health
#   health_test_SRCS := tests/unit/health.c loader/health.c
#   health_test_PKGS := ... _LIBS := ...     (cmocka itself is there already)
#
#   GENERATED += $(BUILD)/bpf/monitor.skel.h headers that must exist before any C file is compiled
#   ALL += $(BUILD)/something                anything else that plain "make" should make (its rule follows)
#   CLEAN_CHECKS += target                   a target that "make check-style" runs as well
#
#   INSTALL_MAN += docs/man/remapd.8         manual page
#   INSTALL_UNITS += loader/remapd.service   systemd unit
#   INSTALL_UDEV += loader/61-dm-remap.rules rules for udev
#   INSTALL_CONF += loader/policy.yaml       example, to $(SYSCONFDIR)/dm-remap, never over an existing file
#   INSTALL_DASHBOARDS += dashboards/x.json  to $(DATADIR)/dm-remap/dashboards
#   INSTALL_COMPLETIONS += loader/x.bash-completion   to where bash looks for the completion of x
#
# Objects for programs go to build/obj/, those for unit tests to build/san/ (address and undefined-behaviour
# sanitizers). Include paths are the top of the tree and build/: #include "kmod/format.h", "bpf/monitor.skel.h".
# In recipes: $(Q) hides the command, $(call msg,WORD,target) prints the short line, V=1 reverses both.

BUILD := build
MAKEFLAGS += --no-builtin-rules --no-builtin-variables
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:

CC := gcc
CLANG := clang
PKG_CONFIG := pkg-config
INSTALL := install
OPTIMISE := -O2 -g
CFLAGS := $(OPTIMISE)
LDFLAGS :=
WARNINGS := -Wall -Wextra -Werror -Wno-unused-parameter -Wmissing-prototypes -Wstrict-prototypes -Wshadow -Wvla
BASE_CFLAGS := -std=gnu11 -D_GNU_SOURCE $(WARNINGS) -I. -I$(BUILD)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

KERNEL := 6.1
TIME := 600
PREFIX := /usr/local
DESTDIR :=
SBINDIR = $(PREFIX)/sbin
MANDIR = $(PREFIX)/share/man
DATADIR = $(PREFIX)/share
UNITDIR = $(PREFIX)/lib/systemd/system
UDEVDIR = $(PREFIX)/lib/udev/rules.d
SYSCONFDIR = $(if $(filter /usr/local /usr,$(PREFIX)),/etc,$(PREFIX)/etc)

ifeq ($(V),1)
Q :=
msg = @:
quiet_make :=
else
Q := @
msg = @printf '  %-8s %s\n' '$(1)' '$(2)'
quiet_make := --no-print-directory
endif

PROGRAMS :=
UNIT_TESTS :=
GENERATED :=
ALL :=
CLEAN_CHECKS :=
INSTALL_MAN :=
INSTALL_UNITS :=
INSTALL_UDEV :=
INSTALL_CONF :=
INSTALL_DASHBOARDS :=
INSTALL_COMPLETIONS :=
FRAGMENTS := $(wildcard bpf/build.mk loader/build.mk exporter/build.mk dashboards/build.mk docs/build.mk \
	tests/unit/build.mk tests/native/build.mk tests/crash/build.mk tests/fuzz/build.mk tests/vm/guest/build.mk \
	bench/build.mk)

.PHONY: all
all:

include $(FRAGMENTS)

# --- user space -------------------------------------------------------------------------------------------------

PKGS := $(sort cmocka $(foreach p,$(PROGRAMS),$($(p)_PKGS)) $(foreach t,$(UNIT_TESTS),$($(t)_test_PKGS)))
# Asked once, and only when something is compiled, so that "make deps" and "make help" need no pkg-config.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(PKGS)))$(PKG_CFLAGS)
pkg_libs = $(if $(1),$(shell $(PKG_CONFIG) --libs $(1)))

$(BUILD)/obj/%.o: %.c Makefile $(FRAGMENTS) | $(GENERATED)
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/san/%.o: %.c Makefile $(FRAGMENTS) | $(GENERATED)
	$(call msg,CC SAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) $(SANITIZE) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

define program_rule
ALL += $(BUILD)/$(1)
$(BUILD)/$(1): $(patsubst %.c,$(BUILD)/obj/%.o,$($(1)_SRCS))
	$$(call msg,LINK,$$@)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $$($(1)_LIBS) $$(call pkg_libs,$$($(1)_PKGS))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

define unit_test_rule
ALL += $(BUILD)/tests/unit/$(1)
$(BUILD)/tests/unit/$(1): $(patsubst %.c,$(BUILD)/san/%.o,$($(1)_test_SRCS))
	$$(call msg,LINK SAN,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS) $$(SANITIZE) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $$($(1)_test_LIBS) \
		$$(call pkg_libs,cmocka $$($(1)_test_PKGS))
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call unit_test_rule,$(t))))

-include $(shell find $(BUILD)/obj $(BUILD)/san -name '*.d' 2>/dev/null)

# --- the kernel module ------------------------------------------------------------------------------------------
# kbuild writes beside its sources, so it gets a folder of links in build/, one for each kernel.

KMOD_SRCS := $(wildcard kmod/*.c kmod/*.h kmod/Makefile kmod/Kbuild)
KMOD := $(BUILD)/kmod/$(KERNEL)/dm-remap.ko
PROVOKE_SRCS := tests/vm/selftest/provoke.c tests/vm/selftest/Makefile
KBUILD := tests/vm/kernel tests/vm/kbuild

.PHONY: kmod
kmod: $(KMOD)

$(KMOD): $(KMOD_SRCS)
$(BUILD)/provoke/$(KERNEL)/provoke.ko: $(PROVOKE_SRCS)
$(KMOD) $(BUILD)/provoke/$(KERNEL)/provoke.ko: Makefile $(KBUILD)
	$(call msg,KMOD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)find $(@D) -maxdepth 1 -type l -delete
	$(Q)ln -s $(addprefix $(CURDIR)/,$(filter-out Makefile $(KBUILD),$^)) $(@D)/
	+$(Q)tests/vm/kbuild $(KERNEL) -C $(@D) $(if $(filter 1,$(V)),V=1,-s) $(quiet_make) W=1 KCFLAGS=-Werror \
		2>$(@D)/warnings || status=$$?; \
		grep -v 'Skipping BTF generation' $(@D)/warnings >&2; \
		[[ -z $$status ]] && ! grep -q 'WARNING: modpost' $(@D)/warnings
	$(Q)test -f $@ && touch $@

ALL += $(if $(KMOD_SRCS),$(KMOD)) $(BUILD)/provoke/$(KERNEL)/provoke.ko

all: $(GENERATED) $(ALL)

# --- tests and demo ---------------------------------------------------------------------------------------------

.PHONY: deps test mutants fuzz soak bench-target demo vm-shell check-style clean install uninstall help

deps:
	$(Q)tests/deps

# The goals below build in a make of their own, since "deps" must be done before the first file is compiled.
test: deps
	$(Q)$(MAKE) $(quiet_make) all
	$(Q)tests/run $(if $(TESTS),$(TESTS))

mutants: deps
	$(Q)$(MAKE) $(quiet_make) all
	$(Q)tests/mutants/run $(if $(MUTANTS),$(MUTANTS))

fuzz: deps
	$(Q)$(MAKE) $(quiet_make) $(addprefix $(BUILD)/tests/fuzz/,$(FUZZ_TARGETS))
	$(Q)tests/fuzz/run --time $(TIME) $(FUZZ)

soak: deps
	$(Q)$(MAKE) $(quiet_make) all
	$(Q)tests/soak $(RUNS)

bench-target: deps
	$(Q)$(MAKE) $(quiet_make) all
	$(Q)bench/target $(MEASURES)

demo: deps
	$(Q)$(MAKE) $(quiet_make) all
	$(Q)KEEP=$(KEEP) tests/demo/run

vm-shell: deps
	$(Q)$(MAKE) $(quiet_make) all
	$(Q)tests/vm/shell

check-style: $(CLEAN_CHECKS)
	$(Q)tests/style

clean:
	$(call msg,CLEAN,$(BUILD))
	$(Q)rm -rf $(BUILD)

# --- install ----------------------------------------------------------------------------------------------------

install: all
	$(Q)$(if $(PROGRAMS),$(INSTALL) -D -m 755 -t $(DESTDIR)$(SBINDIR) $(addprefix $(BUILD)/,$(PROGRAMS)))
	$(Q)set -e; for page in $(INSTALL_MAN); do \
		$(INSTALL) -D -m 644 -t $(DESTDIR)$(MANDIR)/man$${page##*.} $$page; done
	$(Q)set -e; for unit in $(INSTALL_UNITS); do \
		mkdir -p $(DESTDIR)$(UNITDIR); \
		sed 's|@SBINDIR@|$(SBINDIR)|g' $$unit >$(DESTDIR)$(UNITDIR)/$${unit##*/}; \
		chmod 644 $(DESTDIR)$(UNITDIR)/$${unit##*/}; done
	$(Q)$(if $(INSTALL_UDEV),$(INSTALL) -D -m 644 -t $(DESTDIR)$(UDEVDIR) $(INSTALL_UDEV))
	$(Q)set -e; for conf in $(INSTALL_CONF); do \
		test -e $(DESTDIR)$(SYSCONFDIR)/dm-remap/$${conf##*/} || \
		$(INSTALL) -D -m 644 -t $(DESTDIR)$(SYSCONFDIR)/dm-remap $$conf; done
	$(Q)$(if $(INSTALL_DASHBOARDS),$(INSTALL) -D -m 644 -t $(DESTDIR)$(DATADIR)/dm-remap/dashboards \
		$(INSTALL_DASHBOARDS))
	$(Q)set -e; for file in $(INSTALL_COMPLETIONS); do name=$${file##*/}; \
		$(INSTALL) -D -m 644 $$file $(DESTDIR)$(DATADIR)/bash-completion/completions/$${name%.bash-completion}; done
	$(Q)$(if $(KMOD_SRCS),$(INSTALL) -D -m 644 -t $(DESTDIR)$(DATADIR)/dm-remap/kmod $(KMOD_SRCS))

uninstall:
	$(Q)rm -f $(addprefix $(DESTDIR)$(SBINDIR)/,$(PROGRAMS)) \
		$(foreach m,$(INSTALL_MAN),$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) \
		$(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(INSTALL_UNITS))) \
		$(addprefix $(DESTDIR)$(UDEVDIR)/,$(notdir $(INSTALL_UDEV))) \
		$(addprefix $(DESTDIR)$(DATADIR)/bash-completion/completions/,$(basename $(notdir $(INSTALL_COMPLETIONS))))
	$(Q)rm -rf $(DESTDIR)$(DATADIR)/dm-remap

help:
	@printf '%s\n' \
		'make             builds everything into build/ (V=1 shows the commands, -j works)' \
		'make demo        shows an ageing disk kept alive, in a virtual machine (KEEP=1 leaves it running)' \
		'make test        installs what testing needs, builds, runs every test (TESTS="name ..." chooses)' \
		'make mutants     breaks the module in many ways and lets the tests notice (MUTANTS="name ..." chooses; hours)' \
		'make fuzz        each fuzz target for TIME=$(TIME) seconds, going on where it was stopped (FUZZ="name ..." chooses)' \
		'make soak        the long runs, hours of them, going on where they were stopped (RUNS="name ..." chooses)' \
		'make bench-target what an I/O costs through the target, beside its peers (MEASURES="name ..." chooses)' \
		'make vm-shell    a shell in a virtual machine with the module and the programs at hand' \
		'make kmod        the kernel module only, for the kernel KERNEL=$(KERNEL)' \
		'make deps        installs the Debian packages of tests/packages that are missing' \
		'make check-style shellcheck, checkpatch and sparse' \
		'make install     DESTDIR= PREFIX=$(PREFIX)' \
		'make uninstall   removes what install put there, except configuration' \
		'make clean       removes build/'
