/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How likely is each extent of one device to fail?
 *
 * Pure: no I/O, no clock, no globals, no allocation; the caller hands in the memory, and the time
 * with every call. Times are nanoseconds of one monotonic clock that the caller chooses (remapd:
 * CLOCK_BOOTTIME; the simulator: its own). Time that runs backwards is taken as standing still. One
 * struct health is one device; it is not locked.
 *
 * What goes in is only what is unusual (slow I/O, errors), how often extents were read (exposure),
 * what idle re-reads found, and how fast the device as a whole was. What comes out is, per extent,
 * a state, the chance of a loss, and every number that led there. docs/health.md has the model, its
 * formulas and their sources.
 *
 * The order of a daemon's round:
 *
 * 	health_io()        for each unusual completion, as it arrives
 * 	health_probe()     for each re-read that the last round asked for
 * 	health_period()    once a period (1 to 60 s): the device's latencies
 * 	health_exposure()  once a period, for each grid cell that was read
 * 	health_tick()      closes stalls, decays, judges
 * 	health_changes()   what a person should hear of
 * 	health_review()    what policy_decide() is asked about
 * 	health_fact()      what came of it
 */
#ifndef REMAP_HEALTH_H
#define REMAP_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEALTH_EXTENT_SECTORS 2048U /* 1 MiB */

/* Directions. Values are persisted in traces: only ever appended to. */
enum health_dir {
	HEALTH_READ = 0,
	HEALTH_WRITE = 1,
	HEALTH_DIRS = 2,
};

/* Size classes of an I/O, each with a yardstick of its own: up to 8, 64, 512 sectors, and above. */
#define HEALTH_SIZE_CLASSES 4

/* Why an I/O is unusual. Values are persisted in traces: only ever appended to. */
enum health_class {
	HEALTH_CLASS_OK = 0,	    /* it succeeded: unusual only because it was slow */
	HEALTH_CLASS_MEDIUM = 1,    /* the device says that the medium is at fault: believed */
	HEALTH_CLASS_TRANSPORT = 2, /* cable, controller, path: never evidence against an extent */
	/* media evidence only where it recurs while other extents answer */
	HEALTH_CLASS_TIMEOUT = 3,
	HEALTH_CLASS_OTHER = 4, /* a bare I/O error: evidence only where other extents answer */
	HEALTH_CLASS_RECOVERED = 5, /* the data came, after the drive corrected it or retried */
	HEALTH_CLASSES = 6,
};

/*
 * What an extent is thought to be. Moved and lost are facts of the target's and not judged here.
 * Only ever appended to.
 */
enum health_state {
	HEALTH_OK = 0,
	HEALTH_SLOW = 1,    /* something was seen here; not enough to expect a failure */
	HEALTH_SUSPECT = 2, /* expected to fail */
	HEALTH_STATES = 3,
};

/* What came of a decision, or what the target says of an extent. */
enum health_fact {
	/* all of it is on the spare: its evidence freezes, it is judged no more */
	HEALTH_FACT_MOVED = 0,
	HEALTH_FACT_RELEASED = 1, /* it is back on main: starts clean */
	/* a relocation failed: tried again after a pause that doubles, 1 min to 1 h */
	HEALTH_FACT_MOVE_FAILED = 2,
	HEALTH_FACT_WOULD_MOVE = 3, /* in observe: counted, once; see health_extent.would_moved */
};

/* Why a device is not judged at the moment; 0 is "it is". */
enum health_freeze {
	HEALTH_FREEZE_NONE = 0,
	HEALTH_FREEZE_SLOW = 1, /* the whole device is slower than in its last hour */
	/* errors all over the device at once, or transport errors: an outage */
	HEALTH_FREEZE_STORM = 2,
	HEALTH_FREEZE_CONTROL = 3, /* re-reads of healthy extents were slow or failed as well */
};

struct health_options {
	/* unit of prediction; a multiple of 8; fixed for a struct health's life */
	uint32_t extent_sectors;
	/* most extents that carry evidence at once, 64..65536; fixed likewise */
	uint32_t table_extents;

	/*
	 * When is an I/O slow? Above all three: a bare minimum, and multiples of the device's own
	 * last hour.
	 */
	uint64_t slow_min_ns;
	double slow_median_factor;
	double slow_p99_factor;

	double recurrence; /* anomalies needed before evidence counts at all; at least 2 is meant */
	uint64_t incident_gap_ns;    /* anomalies of an extent closer together than this are one */
	uint64_t stall_gap_ns;	     /* a stall is over when nothing slow completed for this long */
	double half_life_visits;     /* evidence halves in this many visits of its extent... */
	uint64_t half_life_floor_ns; /* ...but never in less time than this */
	uint64_t reread_interval_ns; /* least time between two re-reads of one extent */
	uint32_t reread_max;	     /* re-reads in a row that one incident may ask for */

	/* whole device slow: its median is this many times its last hour's; 0: never */
	double device_slow_factor;
	uint64_t device_slow_hold_ns; /* a freeze lasts this long after its last sign */
	/* errors this soon after first sight are old and known, never evidence */
	uint64_t baseline_ns;
	double suspect_risk;	      /* chance of loss from which an extent is called suspect */

	/*
	 * The model's constants; not in the policy file. docs/health.md says where each comes from.
	 */
	double prior_per_visit;	  /* mu_0: events per visit of an extent nothing is known about */
	double prior_shape;	  /* a: shape of the Gamma prior */
	double neighbour_gain;	  /* rho: how much a neighbour's evidence raises the prior */
	double kernel_alpha;	  /* heavy tail: P(next site further than d) = (1 + d/x0)^-alpha */
	double kernel_x0_sectors; /* x0 */
	double horizon_visits;	  /* H: visits in the 7 days that the risk speaks of */
};

/* One unusual completion. */
struct health_io {
	enum health_dir dir;
	enum health_class class;
	uint64_t sector;
	uint32_t sectors;
	uint64_t issued_ns;    /* handed to the device (or queued, where only that is known) */
	uint64_t completed_ns; /* completed; latency is the difference */
};

/*
 * How fast the device was in one period, from its latency histograms; a class with count 0 is
 * skipped.
 */
struct health_latency {
	uint64_t count;
	uint64_t median_ns;
	uint64_t p99_ns;
};

struct health_period {
	struct health_latency lat[HEALTH_DIRS][HEALTH_SIZE_CLASSES];
};

/* All that is known and thought of one extent. */
struct health_extent {
	uint64_t extent; /* index: first_sector / extent_sectors */
	uint64_t first_sector;
	uint32_t sectors; /* the last extent may be short */
	enum health_state state;
	bool moved;	   /* HEALTH_FACT_MOVED and not released since */
	bool would_moved;  /* HEALTH_FACT_WOULD_MOVE was given, and it was suspect ever since */
	bool control;	   /* not accused: to be re-read for comparison only */
	/* now; the sectors to read at depth 1, bypassing the cache, when the device is idle: */
	bool wants_reread;
	uint64_t reread_sector;
	uint32_t reread_sectors;
	uint64_t next_reread_ns; /* not before; 0 when no re-read is wanted at all */

	double evidence;    /* y_i: weighted, decayed */
	double visits;	    /* e_i: decayed, in reads of the whole extent */
	double anomalies;   /* distinct incidents, decayed; a member of a stall of n counts 1/n */
	bool recurrent;	    /* anomalies reached the recurrence: only now evidence counts */
	uint32_t confirmed; /* re-reads that were slow or failed since the last fine one */
	double neighbours;  /* neighbours' evidence, as if all of it were in the extent next door */
	bool has_neighbour; /* the one that adds most: */
	uint64_t neighbour_extent;
	double event_chance; /* P(event in the next horizon_visits) */
	double risk;	     /* chance of loss in the next 7 days */

	uint32_t slow;			 /* slow I/Os ever seen here, re-reads included */
	uint32_t errors[HEALTH_CLASSES]; /* ever seen here, without baseline */
	uint32_t baseline_errors;	 /* old, known ones */
	uint64_t worst_ns;		 /* worst latency ever seen here */
	/* the device's own, of the last hour, same direction and size; 0: not known yet */
	uint64_t yardstick_median_ns;
	uint64_t yardstick_p99_ns;
	uint64_t slow_limit_ns; /* above it an I/O of that kind is slow */
	uint64_t first_seen_ns; /* 0: nothing was ever unusual here */
	uint64_t last_seen_ns;
	uint32_t move_failures;
	uint64_t retry_after_ns; /* no relocation before; 0: at any time */
};

/* The device as a whole. */
struct health_device {
	enum health_freeze freeze;
	uint64_t frozen_until_ns;
	/* frozen, or an anomaly in the last 60 s: for the guard over several disks */
	bool degraded;
	bool in_baseline; /* first sight was less than baseline_ns ago */
	uint64_t baseline_until_ns;
	uint32_t slow_extents, suspect_extents, moved_extents;
	uint32_t table_used;
	uint64_t evicted; /* extents with evidence that had to make room */
	uint64_t stalls;  /* stalls with more than one member */
	uint64_t ignored; /* events that came while frozen, or in the baseline */
	struct health_latency yardstick[HEALTH_DIRS][HEALTH_SIZE_CLASSES]; /* of the last hour */
};

struct health;

/* Fills in the defaults: those of a careful administrator, as docs/policy.md lists them. */
void health_options_default(struct health_options *opt);

/* Bytes of memory that health_init() needs; 0 if an option is outside of its range. */
size_t health_bytes(const struct health_options *opt);

/*
 * Prepares memory (aligned as by malloc, at least health_bytes(opt) bytes, contents ignored) for a
 * device of size_sectors that is seen for the first time now. Returns NULL if an option is out of
 * range or bytes too few. There is no undo: free the memory.
 */
struct health *health_init(void *memory, size_t bytes, const struct health_options *opt,
			   uint64_t size_sectors, uint64_t now_ns);

/*
 * Takes new options (after a reload); evidence stays, and so do the two options that are fixed.
 * False, and nothing changed, if one is out of range.
 */
bool health_set_options(struct health *h, const struct health_options *opt);

/* The device grew or shrank; extents beyond the end are forgotten. */
void health_resize(struct health *h, uint64_t size_sectors);

/*
 * An error that was there before the device was first seen: an error wholly inside such a range is
 * never evidence.
 */
void health_baseline(struct health *h, uint64_t sector, uint64_t sectors);

/*
 * One unusual completion. A completion that is neither an error nor slow by the device's own
 * yardstick is ignored, so the caller's filter may be coarse. Arrival in order of completion is
 * expected, but small disorder does no harm.
 */
void health_io(struct health *h, const struct health_io *io);

/*
 * sectors from sector on saw reads (read_sectors of them in sum, reads I/Os) within the last
 * elapsed_ns. Decays evidence of the extents inside. Give read_sectors 0 if only the number of I/Os
 * is known: each then counts 8 sectors. An extent counts at most one visit a minute. O(1) where no
 * extent of the range carries evidence.
 */
void health_exposure(struct health *h, uint64_t sector, uint64_t sectors, uint64_t reads,
		     uint64_t read_sectors, uint64_t elapsed_ns, uint64_t now_ns);

/*
 * A re-read that health_extent.wants_reread asked for is done: reread_sector and reread_sectors as
 * asked, what became of it (HEALTH_CLASS_OK: it read) and how long it took. A re-read that was not
 * idle, was cancelled, or did not reach the medium is simply not reported: it is asked for again.
 */
void health_probe(struct health *h, uint64_t sector, uint32_t sectors, enum health_class class,
		  uint64_t latency_ns, uint64_t now_ns);

/*
 * The device's latencies in the period that ends now. Updates the yardstick, or freezes judgement.
 */
void health_period(struct health *h, const struct health_period *period, uint64_t now_ns);

/* Something happened to the extent of this sector. */
void health_fact(struct health *h, uint64_t sector, enum health_fact fact, uint64_t now_ns);

/*
 * Closes stalls that are over and judges every extent that carries evidence. Once a second, and
 * before a review.
 */
void health_tick(struct health *h, uint64_t now_ns);

/* Latency in ns above which an I/O is slow now: what the monitor's coarse filter may be set to. */
uint64_t health_slow_ns(const struct health *h, enum health_dir dir, uint32_t sectors);

/* Size class, 0..HEALTH_SIZE_CLASSES-1, of an I/O of so many sectors. */
unsigned int health_size_class(uint32_t sectors);

/* All that is known of one extent, evidence or not. False if the device has no such extent. */
bool health_extent(const struct health *h, uint64_t extent, uint64_t now_ns,
		   struct health_extent *out);

/*
 * The extents that a decision may be due for, at most max, highest risk first: those that are slow
 * or suspect or want a re-read, moved ones left out, and controls last. Returns how many were
 * filled in.
 */
size_t health_review(const struct health *h, uint64_t now_ns, struct health_extent *out,
		     size_t max);

/*
 * Extents whose state changed since they were last returned here, at most max; the rest next time.
 */
size_t health_changes(struct health *h, uint64_t now_ns, struct health_extent *out, size_t max);

/* The device as a whole. */
void health_device(const struct health *h, uint64_t now_ns, struct health_device *out);

/*
 * Names for people and for the socket: "ok", "slow", "suspect"; "medium"...; "whole-device-slow"...
 * Never NULL.
 */
const char *health_state_name(enum health_state state);
const char *health_class_name(enum health_class class);
const char *health_freeze_name(enum health_freeze freeze);

#endif
