// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A decision in words: what `remapctl explain`, the log and the events print. Pure; see policy.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/policy.h"

#define NS_PER_S	1000000000ULL
#define SECTORS_PER_MIB 2048

/* Text that grows in a buffer, and goes on counting when that is full. */
struct page {
	char *text;
	size_t len, at;
};

static __attribute__((format(printf, 2, 3))) void say(struct page *p, const char *format, ...)
{
	size_t room = p->at < p->len ? p->len - p->at : 0;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(room ? p->text + p->at : NULL, room, format, args);
	va_end(args);
	if (n > 0)
		p->at += n;
}

static void say_latency(struct page *p, uint64_t ns)
{
	if (ns >= 10 * NS_PER_S)
		say(p, "%.0f s", (double)ns / NS_PER_S);
	else if (ns >= NS_PER_S)
		say(p, "%.1f s", (double)ns / NS_PER_S);
	else if (ns >= 10000000)
		say(p, "%.0f ms", ns / 1e6);
	else
		say(p, "%.2g ms", ns / 1e6);
}

static void say_duration(struct page *p, uint64_t ns)
{
	uint64_t s = (ns + NS_PER_S / 2) / NS_PER_S;

	if (s < 120)
		say(p, "%llu s", (unsigned long long)s);
	else if (s < 7200)
		say(p, "%llu min", (unsigned long long)(s / 60));
	else if (s < 2 * 86400)
		say(p, "%llu h", (unsigned long long)(s / 3600));
	else
		say(p, "%llu d", (unsigned long long)(s / 86400));
}

static void say_in(struct page *p, uint64_t due_ns, uint64_t now_ns)
{
	say(p, "in ");
	say_duration(p, due_ns > now_ns ? due_ns - now_ns : 0);
}

static void say_ago(struct page *p, uint64_t then_ns, uint64_t now_ns)
{
	say_duration(p, now_ns > then_ns ? now_ns - then_ns : 0);
	say(p, " ago");
}

static void say_where(struct page *p, const struct health_extent *x)
{
	uint64_t end = x->first_sector + x->sectors;

	if (x->first_sector % SECTORS_PER_MIB || end % SECTORS_PER_MIB)
		say(p, "extent %llu (sectors %llu–%llu)", (unsigned long long)x->extent,
		    (unsigned long long)x->first_sector, (unsigned long long)end - 1);
	else
		say(p, "extent %llu (%llu–%llu MiB)", (unsigned long long)x->extent,
		    (unsigned long long)x->first_sector / SECTORS_PER_MIB,
		    (unsigned long long)end / SECTORS_PER_MIB);
}

static void say_verdict(struct page *p, const struct policy_settings *s,
			const struct health_extent *x, const struct policy_decision *d,
			uint64_t now_ns)
{
	static const char *const state[HEALTH_STATES] = { "OK", "SLOW", "SUSPECT" };

	if (x->moved) {
		say(p, "MOVED, its evidence is frozen\n");
		return;
	}
	say(p, "%s, ", (unsigned int)x->state < HEALTH_STATES ? state[x->state] : "?");
	switch (d->reason) {
	case POLICY_WHY_HEALTHY:
	case POLICY_WHY_MOVED:
		say(p, "stays where it is");
		break;
	case POLICY_WHY_OFF:
		say(p, "the policy's mode for this device is off");
		break;
	case POLICY_WHY_NOT_RECURRENT:
		say(p, "watched: not seen again yet");
		break;
	case POLICY_WHY_BELOW:
		say(p, "watched: chance of loss below the threshold");
		break;
	case POLICY_WHY_UNCONFIRMED:
		say(p, "watched: %u of %u re-reads confirm it", x->confirmed, s->confirmations);
		break;
	case POLICY_WHY_CANDIDATE:
	case POLICY_WHY_CONTROL:
		say(p, "to be read again when the device is idle");
		break;
	case POLICY_WHY_BACKOFF:
		say(p, "its relocation failed, tried again ");
		say_in(p, d->due_ns, now_ns);
		break;
	case POLICY_WHY_GUARD:
		say(p, "to be moved, but held by %s: %s", policy_guard_name(d->guard),
		    d->guards[d->guard].text);
		break;
	case POLICY_WHY_OBSERVE:
		say(p, "would be moved now, but the policy only observes");
		break;
	case POLICY_WHY_NO_TARGET:
		say(p, "would be moved now, but no remap target is above");
		break;
	case POLICY_WHY_ABOVE:
		say(p, "moves now");
		break;
	case POLICY_WHY_REREAD_CAP:
		say(p, "watched: the hour's re-reads are used up");
		break;
	}
	if (d->action == POLICY_WATCH && d->reason != POLICY_WHY_BACKOFF && x->next_reread_ns) {
		say(p, "; re-read ");
		say_in(p, x->next_reread_ns, now_ns);
	}
	say(p, "\n");
}

/* "2 medium errors, 1 timeout error"; false if there was none. */
static bool say_errors(struct page *p, const struct health_extent *x)
{
	bool any = false;
	unsigned int c;

	for (c = HEALTH_CLASS_OK + 1; c < HEALTH_CLASSES; c++) {
		if (!x->errors[c])
			continue;
		say(p, "%s%u %s error%s", any ? ", " : "", x->errors[c], health_class_name(c),
		    x->errors[c] == 1 ? "" : "s");
		any = true;
	}
	return any;
}

static void say_seen(struct page *p, const struct health_extent *x, uint64_t now_ns)
{
	if (x->baseline_errors)
		say(p, "  %u old, known error%s: not evidence\n", x->baseline_errors,
		    x->baseline_errors == 1 ? "" : "s");
	if (!x->first_seen_ns) {
		say(p, "  nothing unusual was seen here\n");
		return;
	}
	say(p, "  worst ");
	say_latency(p, x->worst_ns);
	if (x->yardstick_p99_ns) {
		say(p, "; device median ");
		say_latency(p, x->yardstick_median_ns);
		say(p, ", p99 ");
		say_latency(p, x->yardstick_p99_ns);
		say(p, " (%.0fx)", (double)x->worst_ns / x->yardstick_p99_ns);
	}
	say(p, "; slow is above ");
	say_latency(p, x->slow_limit_ns);
	say(p, "\n  %u slow, ", x->slow);
	if (!say_errors(p, x))
		say(p, "no error");
	say(p, ", the last ");
	say_ago(p, x->last_seen_ns, now_ns);
	say(p, "\n  evidence %.2g, visits %.2g, %s (%.2g anomalies), %u re-read%s confirm%s\n",
	    x->evidence, x->visits, x->recurrent ? "recurrent" : "not recurrent", x->anomalies,
	    x->confirmed, x->confirmed == 1 ? "" : "s", x->confirmed == 1 ? "s" : "");
}

static void say_neighbour(struct page *p, const struct health_extent *x,
			  const struct health_extent *neighbour, uint64_t now_ns)
{
	if (!x->has_neighbour)
		return;
	say(p, "  neighbours add %.2g, most of it extent %llu", x->neighbours,
	    (unsigned long long)x->neighbour_extent);
	if (neighbour && neighbour->extent == x->neighbour_extent) {
		say(p, ": ");
		if (!say_errors(p, neighbour))
			say(p, "%u slow", neighbour->slow);
		say(p, ", ");
		say_ago(p, neighbour->last_seen_ns, now_ns);
	}
	say(p, "\n");
}

static void say_guards(struct page *p, const struct policy_decision *d)
{
	bool passed;
	int pass, g, n;

	for (pass = 1; pass >= 0; pass--) {
		passed = pass;
		n = 0;
		for (g = 0; g < POLICY_GUARDS; g++) {
			const struct policy_guard_result *r = &d->guards[g];

			if (r->passed != passed)
				continue;
			say(p, "%s%s",
			    n++	     ? ", "
			    : passed ? "  guards passed: "
				     : "  guards that hold: ",
			    policy_guard_name(g));
			if (strcmp(r->text, "passed") != 0)
				say(p, " (%s)", r->text);
		}
		if (n)
			say(p, "\n");
	}
}

size_t policy_explain(const struct policy_settings *settings, const struct health_extent *extent,
		      const struct health_extent *neighbour, const struct policy_state *state,
		      const struct policy_decision *decision, uint64_t now_ns, char *text,
		      size_t len)
{
	struct page p = { text, len, 0 };

	say_where(&p, extent);
	say(&p, "  ");
	say_verdict(&p, settings, extent, decision, now_ns);
	say_seen(&p, extent, now_ns);
	say_neighbour(&p, extent, neighbour, now_ns);
	say(&p, "  chance of loss in the next 7 days %.2g %s threshold %.2g\n", decision->risk,
	    decision->risk > decision->threshold ? ">" : "<=", decision->threshold);
	say_guards(&p, decision);
	if (state->frozen)
		say(&p, "  acting is stopped by hand or after crashes\n");
	return p.at;
}

size_t policy_reason_text(const struct policy_settings *settings,
			  const struct health_extent *extent,
			  const struct policy_decision *decision, char *text, size_t len)
{
	struct page p = { text, len, 0 };

	if (extent->control) {
		say(&p, "read for comparison");
		return p.at;
	}
	say(&p, "risk %.2g %s threshold %.2g, evidence %.2g in %.2g visits, worst ", decision->risk,
	    decision->risk > decision->threshold ? "above" : "below", decision->threshold,
	    extent->evidence, extent->visits);
	say_latency(&p, extent->worst_ns);
	if (settings->confirmations)
		say(&p, ", %u of %u re-reads", extent->confirmed, settings->confirmations);
	if (decision->action == POLICY_HELD)
		say(&p, ", held by %s: %s", policy_guard_name(decision->guard),
		    decision->guards[decision->guard].text);
	else if (decision->action != POLICY_RELOCATE)
		say(&p, ", %s", policy_reason_name(decision->reason));
	return p.at;
}
