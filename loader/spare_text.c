// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What was found on a spare, in words: for people, and for JSON. */
#include <inttypes.h>
#include <stdio.h>

#include "loader/spare.h"

static const char *copy_text(enum spare_copy state)
{
	switch (state) {
	case SPARE_COPY_GOOD:
		return "is good";
	case SPARE_COPY_OLDER:
		return "is older than the other";
	case SPARE_COPY_DIFFERS:
		return "has other content than copy A under the same sequence number";
	case SPARE_COPY_FENCED:
		return "is fenced, since it could not be written";
	case SPARE_COPY_UNREADABLE:
		return "can't be read";
	case SPARE_COPY_BLANK:
		return "is not there";
	case SPARE_COPY_MISPLACED:
		return "holds another metadata block";
	case SPARE_COPY_FOREIGN:
		return "holds a metadata block of another spare";
	case SPARE_COPY_DAMAGED:
		return "is damaged";
	case SPARE_COPY_IMPOSSIBLE:
		return "holds impossible numbers";
	case SPARE_COPY_NEWER:
		return "is of a newer version or has unknown features";
	}
	return "?";
}

const char *spare_copy_word(enum spare_copy state)
{
	static const char *const words[] = {
		[SPARE_COPY_GOOD] = "good",
		[SPARE_COPY_OLDER] = "older",
		[SPARE_COPY_DIFFERS] = "differs",
		[SPARE_COPY_FENCED] = "fenced",
		[SPARE_COPY_UNREADABLE] = "unreadable",
		[SPARE_COPY_BLANK] = "blank",
		[SPARE_COPY_MISPLACED] = "misplaced",
		[SPARE_COPY_FOREIGN] = "foreign",
		[SPARE_COPY_DAMAGED] = "damaged",
		[SPARE_COPY_IMPOSSIBLE] = "impossible",
		[SPARE_COPY_NEWER] = "newer",
	};

	return words[state];
}

const char *spare_kind_word(enum spare_kind kind)
{
	static const char *const words[] = {
		[SPARE_SUPER_COPY] = "superblock-copy",
		[SPARE_SUPER_PIECED] = "superblock-pieced",
		[SPARE_SUPER_GONE] = "superblock-gone",
		[SPARE_SUPER_NEWER] = "superblock-newer",
		[SPARE_SUPER_READ_ONLY] = "superblock-read-only",
		[SPARE_SUPER_BEHIND] = "superblock-behind",
		[SPARE_TOO_SMALL] = "too-small",
		[SPARE_INCOMPLETE] = "incomplete",
		[SPARE_META_COPY] = "block-copy",
		[SPARE_META_PIECED] = "block-pieced",
		[SPARE_META_GONE] = "block-gone",
		[SPARE_GROUP_UNCOUNTED] = "group-uncounted",
		[SPARE_ENTRY_IMPOSSIBLE] = "entry-impossible",
		[SPARE_ENTRY_OUTDATED] = "entry-outdated",
		[SPARE_ENTRY_AMBIGUOUS] = "entry-ambiguous",
	};

	return words[kind];
}

const char *spare_verdict_word(enum spare_verdict verdict)
{
	static const char *const words[] = {
		[SPARE_CLEAN] = "clean",
		[SPARE_MENDS] = "mends",
		[SPARE_LOSES] = "loses",
	};

	return words[verdict];
}

const char *spare_activation_word(enum spare_activation activation)
{
	static const char *const words[] = {
		[SPARE_ACTIVATES] = "yes",
		[SPARE_ACTIVATES_READ_ONLY] = "read-only",
		[SPARE_REFUSED] = "refused",
	};

	return words[activation];
}

const char *spare_state_word(enum remap_entry_state state)
{
	static const char *const words[] = {
		[REMAP_ENTRY_FREE] = "free",
		[REMAP_ENTRY_MAPPED] = "mapped",
		[REMAP_ENTRY_RETIRED] = "retired",
		[REMAP_ENTRY_RETIRED_MAPPED] = "retired-mapped",
	};

	return (unsigned int)state < sizeof(words) / sizeof(*words) ? words[state] : "impossible";
}

const char *spare_reason_word(enum remap_reason reason)
{
	static const char *const words[] = {
		[REMAP_REASON_NONE] = "none",
		[REMAP_REASON_RESCUE] = "rescue",
		[REMAP_REASON_SALVAGE] = "salvage",
		[REMAP_REASON_PROACTIVE] = "proactive",
	};

	return (unsigned int)reason < sizeof(words) / sizeof(*words) ? words[reason] : "impossible";
}

/* "metadata block 3", "metadata blocks 3 to 5" */
static void range_text(const struct spare_finding *finding, char *text, size_t text_bytes)
{
	if (finding->first == finding->last)
		snprintf(text, text_bytes, "metadata block %" PRIu64, finding->first);
	else
		snprintf(text, text_bytes, "metadata blocks %" PRIu64 " to %" PRIu64,
			 finding->first, finding->last);
}

/* What there is nothing to say of but that both copies are no good. */
static void both_text(const char *what, const struct spare_finding *finding,
		      const char *consequence, char *text)
{
	snprintf(text, SPARE_TEXT_BYTES, "%s: copy A %s, copy B %s; %s", what,
		 copy_text(finding->state[0]), copy_text(finding->state[1]), consequence);
}

static void copy_finding_text(const char *what, const struct spare_finding *finding, char *text)
{
	enum spare_copy state = finding->state[finding->copy];

	snprintf(text, SPARE_TEXT_BYTES, "copy %c of %s %s; copy %c is used%s",
		 'A' + finding->copy, what, copy_text(state), 'B' - finding->copy,
		 state == SPARE_COPY_DIFFERS ? ", and nothing says whether it is the right one" :
					       "");
}

void spare_finding_text(const struct spare *spare, const struct spare_finding *finding, char *text)
{
	static const char *const together =
		"neither is whole, but what is left of both makes one that is";
	const struct remap_super *super = &spare->supers.super;
	uint64_t sector = finding->block * super->block_sectors;
	char blocks[64], lost[64];

	range_text(finding, blocks, sizeof(blocks));
	switch (finding->kind) {
	case SPARE_SUPER_COPY:
		copy_finding_text("the superblock", finding, text);
		break;
	case SPARE_META_COPY:
		copy_finding_text(blocks, finding, text);
		break;
	case SPARE_SUPER_PIECED:
		both_text("superblock", finding, together, text);
		break;
	case SPARE_META_PIECED:
		both_text(blocks, finding, together, text);
		break;
	case SPARE_SUPER_GONE:
		both_text("superblock", finding, "nothing of the map can be told without it", text);
		break;
	case SPARE_SUPER_NEWER:
		both_text("superblock", finding, "a newer remapctl is needed to judge it", text);
		break;
	case SPARE_META_GONE:
		snprintf(lost, sizeof(lost), "nobody knows what lives in %" PRIu64 " slots",
			 finding->nr_slots);
		both_text(blocks, finding, lost, text);
		break;
	case SPARE_SUPER_READ_ONLY:
		snprintf(text, SPARE_TEXT_BYTES,
			 "superblock: it has features (ro_compat %#x) that a module that does not know "
			 "them may only read with",
			 super->ro_compat & ~REMAP_RO_COMPAT_INCOMPLETE);
		break;
	case SPARE_SUPER_BEHIND:
		snprintf(text, SPARE_TEXT_BYTES,
			 "superblock: metadata was written after a later one (this is number %" PRIu64
			 "): fences or groups may be missing",
			 super->sequence);
		break;
	case SPARE_TOO_SMALL:
		snprintf(text, SPARE_TEXT_BYTES,
			 "the spare ends before sector %" PRIu64
			 ", where it ended when it was formatted",
			 super->segment[super->nr_segments - 1].start_sector +
				 super->segment[super->nr_segments - 1].nr_sectors);
		break;
	case SPARE_INCOMPLETE:
		snprintf(text, SPARE_TEXT_BYTES,
			 "the map is marked as incomplete by an earlier repair or restore: some blocks "
			 "of main may read as they were before they moved");
		break;
	case SPARE_GROUP_UNCOUNTED:
		snprintf(text, SPARE_TEXT_BYTES,
			 "group %" PRIu64 " has %" PRIu64
			 " mappings and the superblock does not count it: it is an old one",
			 finding->first, finding->nr_slots);
		break;
	case SPARE_ENTRY_IMPOSSIBLE:
		snprintf(text, SPARE_TEXT_BYTES,
			 "slot %" PRIu64 ": its entry holds impossible numbers, nobody knows what lives there",
			 finding->first);
		break;
	case SPARE_ENTRY_OUTDATED:
		snprintf(text, SPARE_TEXT_BYTES,
			 "slots %" PRIu64 " and %" PRIu64
			 " both name the block at sector %" PRIu64 ": a cut move, the newer one counts",
			 finding->first, finding->last, sector);
		break;
	case SPARE_ENTRY_AMBIGUOUS:
		snprintf(text, SPARE_TEXT_BYTES,
			 "%" PRIu64 " slots from %" PRIu64 " to %" PRIu64
			 " name the block at sector %" PRIu64 " and nothing says which is right",
			 finding->nr_slots, finding->first, finding->last, sector);
		break;
	}
}
