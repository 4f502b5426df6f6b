// SPDX-License-Identifier: GPL-2.0-only
/*
 * The map in memory: a bitmap of grains over an open-addressing hash of 64-bit cells.
 *
 * A cell is block << 30 | slot, read and written whole, so readers need no lock: a cell is empty, a
 * tombstone, or one mapping. A tombstone is never reused; it goes when the table is rebuilt. Eight
 * neighbouring blocks hash to one cache line, so a run costs a line for eight of its blocks. At
 * most half of the cells are used: 16 to 32 bytes a mapping, and a rebuild needs the old and the
 * new table for a moment.
 *
 * The bitmap answers for blocks that are not mapped, which nearly all are, and gives the map its
 * order. A grain is 64 KiB at 4 KiB a block, or larger where main is so large that the bitmap would
 * exceed 8 MiB.
 */
#include "map.h"
#include "format.h"

#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#define CELL_EMPTY	U64_MAX
#define CELL_TOMBSTONE	(U64_MAX - 1)
#define SLOT_BITS	30
#define SLOT_MASK	((1u << SLOT_BITS) - 1)
#define LINE_SHIFT	3 /* cells in a cache line, as a power of two */

#define GRAIN_SHIFT_MIN 4
#define GRAINS_MAX	(64u << 20)
#define CELLS_MIN	64

struct remap_map_table {
	unsigned int bits;
	u32 nr_used; /* mappings and tombstones */
	u32 nr_mapped;
	u64 cell[];
};

static u64 cell_make(u64 block, u32 slot)
{
	return block << SLOT_BITS | slot;
}

static bool cell_holds(u64 cell, u64 block)
{
	return cell >> SLOT_BITS == block && cell < CELL_TOMBSTONE;
}

/* Index of the first cell to look at for @block. */
static u32 table_start(const struct remap_map_table *table, u64 block)
{
	return hash_64(block >> LINE_SHIFT, table->bits - LINE_SHIFT) << LINE_SHIFT |
	       (block & ((1 << LINE_SHIFT) - 1));
}

/* Index of the cell that holds @block, or of the empty one that ends the search. */
static u32 table_find(const struct remap_map_table *table, u64 block)
{
	u32 mask = (1u << table->bits) - 1;
	u32 i = table_start(table, block);

	for (;; i = (i + 1) & mask) {
		u64 cell = READ_ONCE(table->cell[i]);

		if (cell == CELL_EMPTY || cell_holds(cell, block))
			return i;
	}
}

static struct remap_map_table *table_create(unsigned int bits)
{
	struct remap_map_table *table =
		kvmalloc(struct_size(table, cell, 1ul << bits), GFP_KERNEL | __GFP_NOWARN);

	if (!table)
		return NULL;
	table->bits = bits;
	table->nr_used = 0;
	table->nr_mapped = 0;
	memset(table->cell, 0xff, sizeof(u64) << bits);
	return table;
}

static struct remap_map_table *writers_table(const struct remap_map *map)
{
	return rcu_dereference_protected(map->table, true);
}

int remap_map_init(struct remap_map *map, u64 nr_blocks)
{
	struct remap_map_table *table;

	map->grain_shift = GRAIN_SHIFT_MIN;
	while (nr_blocks >> map->grain_shift >= GRAINS_MAX)
		map->grain_shift++;
	map->grains = kvcalloc(BITS_TO_LONGS((nr_blocks >> map->grain_shift) + 1), sizeof(long),
			       GFP_KERNEL);
	table = table_create(ilog2(CELLS_MIN));
	RCU_INIT_POINTER(map->table, table);
	if (map->grains && table)
		return 0;
	remap_map_exit(map);
	return -ENOMEM;
}

void remap_map_exit(struct remap_map *map)
{
	kvfree(map->grains);
	kvfree(writers_table(map));
	map->grains = NULL;
	RCU_INIT_POINTER(map->table, NULL);
}

int remap_map_reserve(struct remap_map *map, unsigned int nr)
{
	struct remap_map_table *old = writers_table(map);
	struct remap_map_table *new;
	u32 i;

	if (old->nr_used + nr <= 1u << (old->bits - 1))
		return 0;
	/* Mostly tombstones: the same size will do. */
	new = table_create(order_base_2(max_t(u32, CELLS_MIN, (old->nr_mapped + nr) * 2)));
	/* Searches get longer beyond half full, but end. */
	if (!new)
		return old->nr_used + nr <= (1u << old->bits) / 8 * 7 ? 0 : -ENOMEM;
	for (i = 0; i < 1u << old->bits; i++) {
		u64 cell = old->cell[i];

		if (cell < CELL_TOMBSTONE)
			new->cell[table_find(new, cell >> SLOT_BITS)] = cell;
	}
	new->nr_used = old->nr_mapped;
	new->nr_mapped = old->nr_mapped;
	rcu_assign_pointer(map->table, new);
	synchronize_rcu();
	kvfree(old);
	return 0;
}

/* Fills cell @i, which holds @block or is the empty one that its search ends at. */
static void map_fill(struct remap_map *map, struct remap_map_table *table, u32 i, u64 block,
		     u32 slot)
{
	if (table->cell[i] == CELL_EMPTY) {
		table->nr_used++;
		table->nr_mapped++;
	}
	set_bit(block >> map->grain_shift, map->grains);
	/* Who sees the cell must have been let through by the bit. */
	smp_wmb();
	WRITE_ONCE(table->cell[i], cell_make(block, slot));
}

void remap_map_set(struct remap_map *map, u64 block, u32 slot)
{
	struct remap_map_table *table = writers_table(map);

	map_fill(map, table, table_find(table, block), block, slot);
}

u32 remap_map_insert(struct remap_map *map, u64 block, u32 slot)
{
	struct remap_map_table *table = writers_table(map);
	u32 i = table_find(table, block);

	if (table->cell[i] != CELL_EMPTY)
		return table->cell[i] & SLOT_MASK;
	map_fill(map, table, i, block, slot);
	return REMAP_NO_SLOT;
}

void remap_map_clear(struct remap_map *map, u64 block)
{
	struct remap_map_table *table = writers_table(map);
	u64 grain = block >> map->grain_shift;
	u64 first = grain << map->grain_shift;
	u64 end = first + (1ull << map->grain_shift);
	u32 i = table_find(table, block);

	if (table->cell[i] == CELL_EMPTY)
		return;
	WRITE_ONCE(table->cell[i], CELL_TOMBSTONE);
	table->nr_mapped--;
	for (; first < end; first++)
		if (table->cell[table_find(table, first)] != CELL_EMPTY)
			return;
	clear_bit(grain, map->grains);
}

static u32 table_lookup(const struct remap_map_table *table, u64 block)
{
	u64 cell = READ_ONCE(table->cell[table_find(table, block)]);

	/* The cell may have become a tombstone since it was found. */
	return cell_holds(cell, block) ? cell & SLOT_MASK : REMAP_NO_SLOT;
}

u32 remap_map_lookup(const struct remap_map *map, u64 block)
{
	if (!test_bit(block >> map->grain_shift, map->grains))
		return REMAP_NO_SLOT;
	return table_lookup(rcu_dereference(map->table), block);
}

u32 remap_map_run(const struct remap_map *map, u64 block, u32 slot, u32 max)
{
	const struct remap_map_table *table = rcu_dereference(map->table);
	u32 i = table_start(table, block);
	u32 nr;

	for (nr = 1; nr < max; nr++) {
		u64 next = block + nr;

		/* Neighbours share a line of cells, if nothing was in the way. */
		i = next & ((1 << LINE_SHIFT) - 1) ? i + 1 : table_start(table, next);
		if (READ_ONCE(table->cell[i]) != cell_make(next, slot + nr) &&
		    table_lookup(table, next) != slot + nr)
			break;
	}
	return nr;
}

u64 remap_map_next(const struct remap_map *map, u64 block, u64 end)
{
	const struct remap_map_table *table = rcu_dereference(map->table);

	while (block < end) {
		u64 last_grain = (end - 1) >> map->grain_shift;
		u64 grain = find_next_bit(map->grains, last_grain + 1, block >> map->grain_shift);
		u64 grain_end;

		if (grain > last_grain)
			return end;
		block = max(block, grain << map->grain_shift);
		grain_end = min(end, (grain + 1) << map->grain_shift);
		for (; block < grain_end; block++)
			if (table_lookup(table, block) != REMAP_NO_SLOT)
				return block;
	}
	return end;
}
