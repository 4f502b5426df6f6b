/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is on the spare. Pure C: the kernel module, the command line tools and the unit tests build
 * this same file.
 *
 *   sector 0          superblock, copy A
 *   1 MiB - 4 KiB     superblock, copy B
 *   1 MiB             segment 0: groups, one after the other; the last may be short
 *   ...               further segments, one for each time that the spare grew
 *
 * A group is an array of slots between two copies of the metadata that describes them:
 *
 *   metadata blocks, copy A | slots | metadata blocks, copy B
 *
 * so that the copies of one metadata block are as far apart as the group is long (63 MiB). Groups
 * are initialised in order, on first use; the superblock says how many are. All integers are
 * little-endian.
 *
 * Which of two copies is right is decided by the sequence number inside, after UUID, index and
 * CRC-32C were found good. A copy that could not be written is listed in the superblock's fence
 * before the other copy alone is relied on.
 */
#ifndef REMAP_FORMAT_H
#define REMAP_FORMAT_H

#include <linux/types.h>
#ifndef __KERNEL__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef int16_t s16;
typedef uint32_t u32;
typedef uint64_t u64;

/*
 * CRC-32C (Castagnoli, reflected 0x82f63b78), without the final inversion, as the kernel's function of
 * this name.
 */
u32 crc32c(u32 crc, const void *data, size_t bytes);
#endif

#define REMAP_VERSION			1
#define REMAP_SUPER_MAGIC		"dm-remap"	/* 8 bytes, no terminator */
#define REMAP_META_MAGIC		0x424d5244	/* "DRMB" */

#define REMAP_META_BYTES		4096
#define REMAP_META_SECTORS		8
#define REMAP_SUPER_A_SECTOR		0
#define REMAP_SUPER_B_SECTOR		2040
#define REMAP_HEADER_SECTORS		2048
#define REMAP_ENTRIES_PER_META		252
#define REMAP_METAS_PER_GROUP		64
#define REMAP_SLOTS_PER_GROUP		(REMAP_ENTRIES_PER_META * REMAP_METAS_PER_GROUP)
#define REMAP_SEGMENTS_MAX		32
#define REMAP_FENCED_MAX		512
#define REMAP_MAIN_ID_BYTES		64
#define REMAP_UUID_BYTES		16
#define REMAP_BLOCK_SECTORS_MIN		8
#define REMAP_BLOCK_SECTORS_MAX		1024
#define REMAP_UNITS_PER_BLOCK_MAX	32

/* In-core map cells hold a block and a slot in 64 bits; see map.c. */
#define REMAP_SLOTS_MAX			((1u << 30) - 2)
#define REMAP_BLOCKS_MAX		(1ull << 34)

/*
 * Feature bits. Unknown ro_compat: read-only activation. Unknown incompat: none.
 *
 * REMAP_RO_COMPAT_INCOMPLETE is set by remapctl repair and restore on a spare whose map lacks
 * mappings, or may: what can still be read may be copied away, and nothing is to be written. The
 * module does not know it on purpose.
 */
#define REMAP_RO_COMPAT_INCOMPLETE	1u
#define REMAP_RO_COMPAT_KNOWN		0u
#define REMAP_INCOMPAT_KNOWN		0u

struct remap_segment_disk {
	__le64 start_sector;		/* of the spare's area */
	__le64 nr_sectors;
} __attribute__((packed));

struct remap_super_disk {
	u8 magic[8];
	__le32 crc;			/* CRC-32C of these 4096 bytes with this field zero */
	__le32 version;
	__le32 compat;
	__le32 ro_compat;
	__le32 incompat;
	__le32 block_sectors;
	u8 uuid[REMAP_UUID_BYTES];	/* every metadata block repeats it */
	__le64 sequence;
	__le64 main_sectors;
	__le64 main_offset_sectors;
	__le32 unit_sectors;		/* sectors that one bit of an entry's masks stands for: main's logical block */
	__le32 nr_groups_initialised;
	__le32 nr_segments;
	__le32 nr_fenced;
	u8 main_id[REMAP_MAIN_ID_BYTES];	/* NUL-padded; empty: not known */
	u8 reserved1[104];
	struct remap_segment_disk segment[REMAP_SEGMENTS_MAX];
	__le32 fenced[REMAP_FENCED_MAX];	/* metadata index * 2 + copy */
	u8 reserved2[1280];
} __attribute__((packed));

enum remap_entry_state {
	REMAP_ENTRY_FREE = 0,
	REMAP_ENTRY_MAPPED = 1,
	REMAP_ENTRY_RETIRED = 2,
	REMAP_ENTRY_RETIRED_MAPPED = 3,	/* the slot failed and no other could be had; its block still lives there */
};

enum remap_reason {
	REMAP_REASON_NONE = 0,
	REMAP_REASON_RESCUE = 1,
	REMAP_REASON_SALVAGE = 2,
	REMAP_REASON_PROACTIVE = 3,
};

/*
 * word: bits 0-39 main block, 40-43 state, 44-47 reason, 48-63 generation.
 *
 * The generation goes up by one each time that a block moves from one slot to another. The old slot
 * is freed durably before the block may move again, so at most two entries ever name one block, and
 * comparing modulo 2^16 (RFC 1982) is enough.
 */
struct remap_entry_disk {
	__le64 word;
	__le32 unread;			/* bit i: unit i of the block is still on main only */
	__le32 lost;			/* bit i: unit i is gone */
} __attribute__((packed));

struct remap_meta_disk {
	__le32 magic;
	__le32 crc;			/* CRC-32C of these 4096 bytes with this field zero */
	u8 uuid[REMAP_UUID_BYTES];
	__le64 index;			/* group * 64 + place in the group */
	__le64 sequence;
	__le64 super_sequence;		/* of the superblock at the time of writing */
	u8 reserved[16];
	struct remap_entry_disk entry[REMAP_ENTRIES_PER_META];
} __attribute__((packed));

#define REMAP_WORD_BLOCK_MASK	((1ull << 40) - 1)

static inline u64 remap_word(u64 block, enum remap_entry_state state, enum remap_reason reason, u16 generation)
{
	return block | (u64)state << 40 | (u64)reason << 44 | (u64)generation << 48;
}

static inline u64 remap_word_block(u64 word)
{
	return word & REMAP_WORD_BLOCK_MASK;
}

static inline enum remap_entry_state remap_word_state(u64 word)
{
	return (word >> 40) & 15;
}

static inline enum remap_reason remap_word_reason(u64 word)
{
	return (word >> 44) & 15;
}

static inline u16 remap_word_generation(u64 word)
{
	return word >> 48;
}

/* Is generation @a newer than @b? */
static inline bool remap_generation_after(u16 a, u16 b)
{
	return (s16)(u16)(a - b) > 0;
}

/* Does an entry with this word give its block a home on the spare? */
static inline bool remap_word_maps(u64 word)
{
	return remap_word_state(word) == REMAP_ENTRY_MAPPED || remap_word_state(word) == REMAP_ENTRY_RETIRED_MAPPED;
}

struct remap_segment {
	u64 start_sector;
	u64 nr_sectors;
};

/* A superblock in the machine's byte order. */
struct remap_super {
	u8 uuid[REMAP_UUID_BYTES];
	u64 sequence;
	u64 main_sectors;
	u64 main_offset_sectors;
	u32 compat;
	u32 ro_compat;
	u32 incompat;
	u32 block_sectors;		/* power of two, at least 8 */
	u32 unit_sectors;		/* power of two; block_sectors / unit_sectors is at most 32 */
	u32 nr_groups_initialised;
	u32 nr_segments;
	u32 nr_fenced;
	char main_id[REMAP_MAIN_ID_BYTES];	/* always terminated */
	struct remap_segment segment[REMAP_SEGMENTS_MAX];
	u32 fenced[REMAP_FENCED_MAX];
};

/* Where one group lies; sectors of the spare's area. */
struct remap_group_place {
	u64 copy_sector[2];		/* first metadata block of copy A and B */
	u64 slot_sector;		/* first slot */
	u32 nr_metas;
	u32 nr_slots;
};

/* Why a superblock is no good. */
enum remap_super_error {
	REMAP_SUPER_OK = 0,
	REMAP_SUPER_NO_MAGIC,
	REMAP_SUPER_BAD_CRC,
	REMAP_SUPER_NEWER_VERSION,
	REMAP_SUPER_UNKNOWN_FEATURE,
	REMAP_SUPER_BAD_GEOMETRY,
};

/* Decodes and checks one copy. On anything but REMAP_SUPER_OK @super is undefined. */
enum remap_super_error remap_super_decode(struct remap_super *super, const struct remap_super_disk *disk);

/* Encodes @super with its checksum. */
void remap_super_encode(struct remap_super_disk *disk, const struct remap_super *super);

/* One line in plain words for a person. */
const char *remap_super_error_text(enum remap_super_error error);

/*
 * Lays out a spare's area of @area_sectors for blocks of @super->block_sectors: one segment after
 * the header. The rest of @super is left alone. False: too small, there is no room for a single
 * slot.
 */
bool remap_super_layout(struct remap_super *super, u64 area_sectors);

/*
 * Groups and slots of the whole layout. Slots are numbered group * REMAP_SLOTS_PER_GROUP + place;
 * short groups leave gaps.
 */
u32 remap_nr_groups(const struct remap_super *super);
u64 remap_nr_slots(const struct remap_super *super);

/* Where group @group lies. False: there is no such group. */
bool remap_group_place(const struct remap_super *super, u32 group, struct remap_group_place *place);

/* Is copy @copy (0 or 1) of metadata block @index recorded as invalid? */
bool remap_is_fenced(const struct remap_super *super, u64 index, unsigned int copy);

/* An empty, sealed metadata block. */
void remap_meta_empty(struct remap_meta_disk *meta, const struct remap_super *super, u64 index, u64 sequence);

/* Computes the checksum; to be called last. */
void remap_meta_seal(struct remap_meta_disk *meta);

/* Is @meta a whole metadata block of this spare at this index? Says nothing of its entries. */
bool remap_meta_check(const struct remap_meta_disk *meta, const struct remap_super *super, u64 index);

/* May an entry like this stand on the disk? */
bool remap_entry_check(const struct remap_super *super, u64 word, u32 unread, u32 lost);

/* Blocks of main; a short last one counts. */
static inline u64 remap_nr_blocks(const struct remap_super *super)
{
	return super->main_sectors / super->block_sectors + !!(super->main_sectors % super->block_sectors);
}

#endif
