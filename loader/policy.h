/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * May we act? From what health thinks of an extent, the state of device and fleet, and what was
 * done lately, to one decision with its reason. Pure, like health.h: no I/O, no clock, no globals,
 * no allocation.
 *
 * policy_file.h makes a struct policy from a file; policy_select() gives each device its settings;
 * the caller keeps one struct policy_budget a device, asks policy_decide() about each extent of
 * health_review(), acts, and books what it did. docs/policy.md documents every knob.
 */
#ifndef REMAP_POLICY_H
#define REMAP_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "health.h"

#define POLICY_VERSION	 1
#define POLICY_RULES_MAX 64
#define POLICY_NAME_MAX	 128  /* bytes of a pattern or a name, with its NUL */
#define POLICY_RATE_MAX	 1000 /* highest relocations_per_hour and rereads_per_hour */

enum policy_mode {
	POLICY_OFF = 0,	    /* the device is not even watched */
	POLICY_OBSERVE = 1, /* what would have been moved is logged and counted */
	POLICY_ACT = 2,
};

/* What one device runs under: the file's top level with the device's rule laid over it. */
struct policy_settings {
	enum policy_mode mode;
	struct health_options health; /* to health_init() or health_set_options() */

	/* Re-reads. */
	/* slow or failed re-reads needed before a move; 0: foreground evidence is enough */
	uint32_t confirmations;
	uint32_t rereads_per_hour; /* 0: none */

	/*
	 * Costs, in any one unit: a move is worth it when risk * lost_sector *
	 * expected_lost_sectors exceeds the rest.
	 */
	double cost_lost_sector;
	double expected_lost_sectors;
	double cost_move;  /* of moving an extent that was healthy */
	double cost_spare; /* of an extent's worth of an empty spare; rises as 1 / free share */

	/* Caps. */
	uint32_t relocations_per_hour; /* extents; 0: none */
	double spare_reserve_percent;  /* of the spare, kept for rescues */

	/* Guards. */
	uint64_t fresh_boot_ns;	    /* no moves this soon after boot */
	uint64_t dropped_events_ns; /* no moves this soon after the monitor lost events */
	uint32_t several_disks; /* no moves while this many devices degrade at once; 0: guard off */
	/* devices moved from within one hour; from the file's top level only */
	uint32_t devices_at_once;
};

/*
 * Which devices a rule is for: glob(7) patterns, "" where none is given; all that are given must
 * match.
 */
struct policy_match {
	char dm_name[POLICY_NAME_MAX];
	char kernel_name[POLICY_NAME_MAX];
	char wwn[POLICY_NAME_MAX];
	char serial[POLICY_NAME_MAX];
};

struct policy_rule {
	struct policy_match match;
	struct policy_settings settings;
};

struct policy {
	struct policy_settings settings; /* of devices that no rule matches */
	size_t rules;
	struct policy_rule rule[POLICY_RULES_MAX];
};

/* Who a device is; NULL or "" where unknown. */
struct policy_identity {
	const char *dm_name;	 /* of the remap device; NULL where no target is above */
	const char *kernel_name; /* of main, without /dev/ */
	const char *wwn;
	const char *serial;
};

/* What was done lately with one device. Zero it once; lives as long as the device is watched. */
struct policy_budget {
	/* ring of the last relocations, or of those that would have been */
	uint64_t relocated_ns[POLICY_RATE_MAX];
	uint64_t reread_ns[POLICY_RATE_MAX];
	uint32_t relocated_head, reread_head; /* where the next goes */
	uint32_t relocated_count, reread_count;
};

/* What the caller knows of device and fleet when it asks. */
struct policy_state {
	const struct health_device *device; /* from health_device() */
	bool has_target;		    /* a remap target is above */
	bool target_accepts;		    /* and its mode lets new mappings in */
	uint64_t spare_size_sectors,
		spare_free_sectors;    /* retired slots are not free; ignored without target */
	uint32_t devices_degraded;     /* devices with health_device.degraded, this one included */
	uint32_t other_devices_acting; /* others for which policy_acting() is true */
	bool frozen;		       /* remapctl freeze, kernel command line, crashes in a row */
	uint64_t booted_ns;	       /* on the clock of now_ns; 0 for CLOCK_BOOTTIME */
	uint64_t dropped_events_at_ns; /* when the monitor last lost events; 0: never */
};

enum policy_action {
	POLICY_NONE = 0,   /* nothing is wrong here */
	POLICY_WATCH = 1,  /* evidence, but not enough, or a re-read is due later */
	POLICY_REREAD = 2, /* read reread_sector, reread_sectors of the extent again when idle */
	/* as RELOCATE, but mode is observe, or there is no target to ask */
	POLICY_WOULD_RELOCATE = 3,
	POLICY_RELOCATE = 4,
	POLICY_HELD = 5, /* to be moved, but a guard says no */
};

enum policy_reason {
	POLICY_WHY_HEALTHY = 0,
	POLICY_WHY_MOVED = 1,	      /* it is on the spare already */
	POLICY_WHY_OFF = 2,	      /* mode off */
	POLICY_WHY_NOT_RECURRENT = 3, /* seen once, or only as one of many in a stall */
	POLICY_WHY_BELOW = 4,	      /* chance of loss below the threshold */
	POLICY_WHY_UNCONFIRMED = 5,   /* above, but re-reads are still owed */
	POLICY_WHY_CANDIDATE = 6,     /* to be singled out by a re-read */
	POLICY_WHY_CONTROL = 7,	      /* to be read for comparison */
	POLICY_WHY_BACKOFF = 8,	      /* its last relocation failed not long ago */
	POLICY_WHY_GUARD = 9,	      /* .guard says which */
	POLICY_WHY_OBSERVE = 10,      /* all is passed, but mode is observe */
	POLICY_WHY_NO_TARGET = 11,    /* all is passed, but nothing is there to move it */
	POLICY_WHY_ABOVE = 12,	      /* all is passed: move it */
	POLICY_WHY_REREAD_CAP = 13,   /* a re-read is due, but rereads_per_hour are used up */
};

/* In the order in which they are asked; the first that says no gives the reason. */
enum policy_guard {
	POLICY_GUARD_FROZEN = 0,
	POLICY_GUARD_FRESH_BOOT = 1,
	POLICY_GUARD_BASELINE = 2,
	POLICY_GUARD_WHOLE_DEVICE = 3,
	POLICY_GUARD_SEVERAL_DISKS = 4,
	POLICY_GUARD_DROPPED_EVENTS = 5,
	POLICY_GUARD_TARGET = 6,
	POLICY_GUARD_SPARE_RESERVE = 7,
	POLICY_GUARD_DEVICES_AT_ONCE = 8,
	POLICY_GUARD_RATE = 9,
	POLICY_GUARDS = 10,
};

struct policy_guard_result {
	bool passed;
	uint64_t until_ns; /* when it may pass, where that is known; else 0 */
	char text[96];	   /* numbers for people: "3 of 10 an hour", "passes in 40 s" */
};

struct policy_decision {
	enum policy_action action;
	enum policy_reason reason;
	enum policy_guard guard; /* the first that says no; POLICY_GUARDS if none does */
	double risk;
	double threshold; /* the risk above which a move is worth its cost now */
	uint64_t due_ns;  /* when something may happen next, where that is known; else 0 */
	struct policy_guard_result guards[POLICY_GUARDS]; /* always all of them, for explain */
};

/* Fills in the defaults: mode observe, no rules. */
void policy_default(struct policy *p);

/*
 * The settings for a device: those of the first rule that matches, else the file's top level.
 * Returns false if the device is not to be watched: its mode is off, or it has no dm_name and no
 * rule names it. settings is filled in either way.
 */
bool policy_select(const struct policy *p, const struct policy_identity *id,
		   struct policy_settings *settings);

/*
 * The decision for one extent, now. budget may be NULL (nothing done yet). Constant time; changes
 * nothing: ask as often as you like. In observe the guards and caps count as in act, so that what
 * is said would be done.
 */
void policy_decide(const struct policy_settings *settings, const struct health_extent *extent,
		   const struct policy_state *state, const struct policy_budget *budget,
		   uint64_t now_ns, struct policy_decision *out);

/* Book a relocation that was tried (or would have been: observe) and a re-read that was sent. */
void policy_book_relocation(struct policy_budget *budget, uint64_t now_ns);
void policy_book_reread(struct policy_budget *budget, uint64_t now_ns);

/* Relocations and re-reads booked in the hour before now. */
uint32_t policy_relocations_last_hour(const struct policy_budget *budget, uint64_t now_ns);
uint32_t policy_rereads_last_hour(const struct policy_budget *budget, uint64_t now_ns);

/* True while the device counts against devices_at_once: it was moved from within the last hour. */
bool policy_acting(const struct policy_budget *budget, uint64_t now_ns);

/*
 * What `remapctl explain` prints of a decision: several lines, each ended by a newline, the last
 * NUL-terminated. Returns the length that the whole text has, as snprintf does; at most len - 1
 * bytes of it are written.
 */
size_t policy_explain(const struct policy_settings *settings, const struct health_extent *extent,
		      const struct health_extent *neighbour, const struct policy_state *state,
		      const struct policy_decision *decision, uint64_t now_ns, char *text,
		      size_t len);

/*
 * One line without newline, for a log or an event: "risk 0.21 above threshold 0.004, evidence 3.1
 * in 4 visits".
 */
size_t policy_reason_text(const struct policy_settings *settings,
			  const struct health_extent *extent,
			  const struct policy_decision *decision, char *text, size_t len);

/*
 * Names for people and for the socket: "act"; "would-relocate"; "below-threshold"; "fresh-boot".
 * Never NULL.
 */
const char *policy_mode_name(enum policy_mode mode);
const char *policy_action_name(enum policy_action action);
const char *policy_reason_name(enum policy_reason reason);
const char *policy_guard_name(enum policy_guard guard);

#endif
