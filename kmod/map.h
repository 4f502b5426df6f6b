/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which blocks of main live on the spare, in memory.
 *
 * Readers (every I/O) take no lock and write nothing; they run inside rcu_read_lock(). Changes are
 * serialised by the caller.
 */
#ifndef REMAP_MAP_H
#define REMAP_MAP_H

#include <linux/bitops.h>
#include <linux/types.h>

#define REMAP_NO_SLOT	U32_MAX

struct remap_map_table;

struct remap_map {
	/*
	 * One bit a grain of 2^grain_shift blocks: may it hold a mapped block? Most I/O is answered
	 * by one bit.
	 */
	unsigned long *grains;
	struct remap_map_table __rcu *table;
	unsigned int grain_shift;
};

/* May sleep. 0 or -ENOMEM. */
int remap_map_init(struct remap_map *map, u64 nr_blocks);

/* May sleep. No reader may be left. */
void remap_map_exit(struct remap_map *map);

/*
 * Makes sure that the next @nr inserts succeed. May sleep; allocates, so call it before I/O is
 * held. 0 or -ENOMEM.
 */
int remap_map_reserve(struct remap_map *map, unsigned int nr);

/*
 * Sets or replaces the slot of @block. Needs a place from remap_map_reserve() where @block is new.
 * Does not sleep.
 */
void remap_map_set(struct remap_map *map, u64 block, u32 slot);

/*
 * Sets the slot of @block if it has none, and else returns the one that it has and keeps. Otherwise
 * like remap_map_set().
 */
u32 remap_map_insert(struct remap_map *map, u64 block, u32 slot);

/* Forgets @block if it is mapped. Does not sleep. */
void remap_map_clear(struct remap_map *map, u64 block);

/* The slot of @block, or REMAP_NO_SLOT. Inside rcu_read_lock(). */
u32 remap_map_lookup(const struct remap_map *map, u64 block);

/*
 * How many blocks from @block on, at most @max, are mapped to @slot and the slots that follow it.
 * @block is known to be. Inside rcu_read_lock().
 */
u32 remap_map_run(const struct remap_map *map, u64 block, u32 slot, u32 max);

/* The first mapped block in [@block, @end), or @end. Inside rcu_read_lock(). */
u64 remap_map_next(const struct remap_map *map, u64 block, u64 end);

#endif
