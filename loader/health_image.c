// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loader/health_image.h"

#include <string.h>

#include "loader/health_table.h"

struct image_header {
	uint32_t version;
	uint32_t health_bytes;
	uint32_t entry_bytes;
	uint32_t entries;
	uint32_t buckets;
	uint32_t pad;
};

size_t health_image_bytes(const struct health *h)
{
	return sizeof(struct image_header) + sizeof(*h) + h->fresh * sizeof(*h->entry) + h->buckets * sizeof(*h->bucket);
}

void health_image_save(const struct health *h, void *image)
{
	struct image_header header = {
		.version = HEALTH_IMAGE_VERSION,
		.health_bytes = sizeof(*h),
		.entry_bytes = sizeof(*h->entry),
		.entries = h->fresh,
		.buckets = h->buckets,
	};
	char *to = image;

	memcpy(to, &header, sizeof(header));
	to += sizeof(header);
	memcpy(to, h, sizeof(*h));
	to += sizeof(*h);
	memcpy(to, h->entry, h->fresh * sizeof(*h->entry));
	to += h->fresh * sizeof(*h->entry);
	memcpy(to, h->bucket, h->buckets * sizeof(*h->bucket));
}

bool health_image_restore(struct health *h, const void *image, size_t bytes)
{
	const char *from = image, *entries, *buckets;
	struct health_options options = h->opt;
	struct health_entry *entry = h->entry;
	uint32_t *bucket = h->bucket;
	struct image_header header;
	static _Thread_local struct health saved;

	if (bytes < sizeof(header) + sizeof(saved))
		return false;
	memcpy(&header, from, sizeof(header));
	memcpy(&saved, from + sizeof(header), sizeof(saved));
	if (header.version != HEALTH_IMAGE_VERSION || header.health_bytes != sizeof(*h) ||
	    header.entry_bytes != sizeof(*entry) || header.buckets != h->buckets || header.entries != saved.fresh ||
	    saved.fresh > h->opt.table_extents || saved.buckets != h->buckets || saved.size_sectors != h->size_sectors ||
	    saved.extents != h->extents || saved.opt.extent_sectors != h->opt.extent_sectors ||
	    saved.opt.table_extents != h->opt.table_extents)
		return false;
	if (bytes != sizeof(header) + sizeof(saved) + saved.fresh * sizeof(*entry) + saved.buckets * sizeof(*bucket))
		return false;
	entries = from + sizeof(header) + sizeof(saved);
	buckets = entries + saved.fresh * sizeof(*entry);

	*h = saved;
	h->entry = entry;
	h->bucket = bucket;
	memcpy(h->entry, entries, saved.fresh * sizeof(*entry));
	memcpy(h->bucket, buckets, saved.buckets * sizeof(*bucket));
	/* A stall or a comparison that was going on is over: nobody saw how it ended. */
	h->stall.open = false;
	h->control_extent = UINT64_MAX;
	health_set_options(h, &options);
	return true;
}
