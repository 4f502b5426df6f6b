// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The target's map, summed up by extent: what is moved, unread and lost where. */
#include <errno.h>
#include <stdlib.h>

#include "loader/remapd.h"

const struct extent_map_entry *extent_map_find(const struct extent_map *map, uint64_t extent)
{
	size_t low = 0, high = map->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->entries[middle].extent < extent)
			low = middle + 1;
		else
			high = middle;
	}
	return low < map->count && map->entries[low].extent == extent ? &map->entries[low] : NULL;
}

static struct extent_map_entry *last_entry(struct extent_map *map, uint64_t extent)
{
	struct extent_map_entry *entry;

	if (map->count && map->entries[map->count - 1].extent == extent)
		return &map->entries[map->count - 1];
	if (map->count == map->room) {
		size_t room = map->room ? 2 * map->room : 64;
		void *more = realloc(map->entries, room * sizeof(*map->entries));

		if (!more)
			return NULL;
		map->entries = more;
		map->room = room;
	}
	entry = &map->entries[map->count++];
	*entry = (struct extent_map_entry){ .extent = extent };
	return entry;
}

int extent_map_add(struct extent_map *map, uint32_t extent_sectors, const struct dmctl_run *run)
{
	uint64_t sector = run->sector, end_sector = run->sector + run->count;

	while (sector < end_sector) {
		uint64_t extent = sector / extent_sectors, next = (extent + 1) * extent_sectors;
		struct extent_map_entry *entry = last_entry(map, extent);

		if (!entry)
			return -ENOMEM;
		entry->mapped_sectors += (next < end_sector ? next : end_sector) - sector;
		if (run->reason != DMCTL_REASON_PROACTIVE)
			entry->failed_sectors += (next < end_sector ? next : end_sector) - sector;
		/* A run does not say where in it they are; runs with any are short. */
		if (sector == run->sector) {
			entry->unread_sectors += run->unread;
			entry->lost_sectors += run->lost;
		}
		sector = next;
	}
	return 0;
}

void extent_map_free(struct extent_map *map)
{
	free(map->entries);
	*map = (struct extent_map){};
}

static uint32_t sectors_of(const struct device *device, uint64_t extent)
{
	uint64_t left = device->size_sectors - extent * device_extent_sectors(device);

	return left < device_extent_sectors(device) ? left : device_extent_sectors(device);
}

void extent_map_take(struct device *device, struct extent_map *map, uint64_t now_ns)
{
	struct extent_map old = device->map;
	struct health_extent extent;
	size_t i;

	device->map = *map;
	*map = (struct extent_map){};
	for (i = 0; i < device->map.count; i++) {
		const struct extent_map_entry *entry = &device->map.entries[i];

		if (entry->mapped_sectors >= sectors_of(device, entry->extent) &&
		    health_extent(device->health, entry->extent, now_ns, &extent) && !extent.moved)
			health_fact(device->health, extent.first_sector, HEALTH_FACT_MOVED, now_ns);
	}
	for (i = 0; i < old.count; i++) {
		const struct extent_map_entry *entry = extent_map_find(&device->map, old.entries[i].extent);

		if ((!entry || entry->mapped_sectors < sectors_of(device, entry->extent)) &&
		    health_extent(device->health, old.entries[i].extent, now_ns, &extent) && extent.moved)
			health_fact(device->health, extent.first_sector, HEALTH_FACT_RELEASED, now_ns);
	}
	extent_map_free(&old);
}
