// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A dump that anybody may have written (loader/spare_dump_read.c), and restoring what it says to a spare. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loader/spare_dump.h"
#include "loader/spare_mend.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/spare_image.h"

static struct image good, image;

static char *dump_of(const struct spare *spare)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	HOLDS(out && !spare_dump_write(&good.io, spare, out));
	fclose(out);
	/* The target writes an end with the right checksum. */
	strstr(text, "{\"end\"")[0] = '\0';
	return text;
}

/* A real dump, and one of a spare that grew as often as can be and has groups that are not in use. Makes good and image. */
const char *const *fuzz_seeds(void)
{
	static char *texts[5], *segments;
	struct remap_super *super;
	struct spare spare;
	u32 i;
	int head;

	if (texts[0])
		return (const char *const *)texts;
	image_make_used(&good);
	image_copy(&image, &good);
	HOLDS(!spare_check(&good.io, &spare, NULL));
	texts[0] = dump_of(&spare);
	super = &spare.supers.super;
	super->segment[0].nr_sectors = 1 << 19;
	for (i = 1; i < REMAP_SEGMENTS_MAX; i++)
		super->segment[i] = (struct remap_segment){ super->segment[i - 1].start_sector + (1 << 19), 1 << 19 };
	super->nr_segments = REMAP_SEGMENTS_MAX;
	texts[1] = dump_of(&spare);
	/* What is just too much: an entry, a metadata block, a segment. */
	head = (int)strcspn(texts[1], "\n");
	HOLDS(asprintf(&texts[2], "%.*s\n{\"block\": 0, \"sequence\": 1, \"entries\": [[251,2,9,1,1,0,0,0]]}\n"
				  "{\"block\": 64, \"sequence\": 1, \"entries\": []}\n", head, texts[1]) > 0);
	segments = strstr(texts[1], "[[") + 1;
	HOLDS(asprintf(&texts[3], "%.*s[1,1], [1,1], %.*s\n", (int)(segments - texts[1]), texts[1],
		       (int)strcspn(segments, "\n"), segments) > 0);
	spare_free(&spare);
	return (const char *const *)texts;
}

static FILE *with_end(const uint8_t *data, size_t bytes, char **text)
{
	size_t all, nr_lines = 0, i;
	FILE *out = open_memstream(text, &all);

	HOLDS(out);
	fwrite(data, 1, bytes, out);
	if (bytes && data[bytes - 1] != '\n')
		fputc('\n', out);
	fflush(out);
	for (i = 0; i < all; i++)
		nr_lines += (*text)[i] == '\n';
	fprintf(out, "{\"end\": true, \"lines\": %zu, \"crc32c\": \"%08" PRIx32 "\"}\n", nr_lines,
		~crc32c(~0u, *text, all));
	fclose(out);
	return fuzz_open((uint8_t *)*text, all);
}

static void restore(const struct spare_dump *dump, bool older, bool foreign)
{
	char error[SPARE_TEXT_BYTES] = "";
	struct spare_mended done;
	struct spare spare;

	HOLDS(!spare_check(&image.io, &spare, NULL));
	if (spare_restore(&image.io, &spare, dump, older, foreign, &done, error))
		HOLDS(*error);
	spare_free(&spare);
	HOLDS(!spare_check(&image.io, &spare, NULL));
	spare_free(&spare);
	image_undo(&image, &good);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const char zeros[REMAP_META_BYTES];
	char error[SPARE_TEXT_BYTES] = "";
	struct spare_dump dump;
	uint64_t block;
	char *text = NULL;
	FILE *in;
	int status;

	fuzz_seeds();
	in = with_end(data, bytes, &text);
	status = spare_dump_read(in, &dump, error);
	fclose(in);
	HOLDS(!status == !*error);
	if (!status && dump.has_super && dump.nr_blocks <= 8 * REMAP_METAS_PER_GROUP) {
		for (block = 0; block < dump.nr_blocks; block++)
			HOLDS(!dump.block[block].known || dump.block[block].sequence);
		restore(&dump, true, true);
		/* The same where nothing is. */
		image.io.write(&image, REMAP_SUPER_A_SECTOR, REMAP_META_SECTORS, zeros);
		image.io.write(&image, REMAP_SUPER_B_SECTOR, REMAP_META_SECTORS, zeros);
		restore(&dump, false, false);
	}
	spare_dump_free(&dump);
	free(text);
	return 0;
}
