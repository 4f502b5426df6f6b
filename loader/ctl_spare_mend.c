// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl repair, restore: writing to a spare that no target uses. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "loader/ctl_probe.h"
#include "loader/ctl_spare.h"
#include "loader/spare_dump.h"
#include "loader/spare_mend.h"

/* What is to be done, with the spare, for a rehearsal and then in earnest. */
struct mending {
	const struct ctl *ctl;
	const char *path;
	struct spare_device device;
	struct spare spare;
	const struct spare_dump *dump; /* NULL: repair */
	struct spare_mended done;
};

/* ---- rehearsal: the same code, and nothing is written ---- */

static int rehearse_read(void *context, uint64_t sector, unsigned int nr_sectors, void *buf)
{
	const struct spare_io *io = context;

	return io->read(io->context, sector, nr_sectors, buf);
}

static int rehearse_write(void *context, uint64_t sector, unsigned int nr_sectors, const void *buf)
{
	return 0;
}

static int rehearse_flush(void *context)
{
	return 0;
}

static int run(struct mending *mending, const struct spare_io *io)
{
	const struct ctl *ctl = mending->ctl;
	char error[SPARE_TEXT_BYTES];
	int status = mending->dump ?
			     spare_restore(io, &mending->spare, mending->dump, ctl->older,
					   ctl->foreign, &mending->done, error) :
			     spare_repair(io, &mending->spare, ctl->accept_stale, &mending->done,
					  error);

	return status ? ctl_fail(status, "%s: %s", mending->path, error) : EX_OK;
}

static int rehearse(struct mending *mending)
{
	struct spare_io io = { .context = &mending->device.io,
			       .area_sectors = mending->device.io.area_sectors,
			       .step_sectors = mending->device.io.step_sectors,
			       .read = rehearse_read,
			       .write = rehearse_write,
			       .flush = rehearse_flush };

	return run(mending, &io);
}

/* ---- what it comes to ---- */

static void add_part(char *text, const char *what, uint64_t count)
{
	size_t used = strlen(text);

	if (count)
		snprintf(text + used, SPARE_TEXT_BYTES - used, "%s%s: %" PRIu64, used ? ", " : "",
			 what, count);
}

static void add_flag(char *text, const char *what, bool set)
{
	size_t used = strlen(text);

	if (set)
		snprintf(text + used, SPARE_TEXT_BYTES - used, "%s%s", used ? ", " : "", what);
}

/* "" if it comes to nothing. */
static void done_text(const struct spare_mended *done, char *text)
{
	*text = '\0';
	add_part(text, "metadata blocks from the dump", done->blocks_restored);
	add_part(text, "copies of metadata blocks written", done->copies_written);
	add_part(text, "copies fenced, which can't be written", done->copies_fenced);
	add_part(text, "entries freed", done->entries_freed);
	add_part(text, "metadata blocks made empty", done->blocks_emptied);
	add_flag(text, done->super_restored ? "superblock from the dump" : "superblock written",
		 done->super_written);
	add_flag(text, "map marked as incomplete", done->marked);
	add_flag(text, "map no longer marked as incomplete", done->unmarked);
}

static json_t *done_json(const struct spare_mended *done)
{
	return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "super_written",
			 done->super_written, "super_restored", done->super_restored,
			 "blocks_restored", (json_int_t)done->blocks_restored,
			 "copies_written", (json_int_t)done->copies_written, "copies_fenced",
			 (json_int_t)done->copies_fenced, "entries_freed",
			 (json_int_t)done->entries_freed, "blocks_emptied",
			 (json_int_t)done->blocks_emptied, "marked", done->marked, "unmarked",
			 done->unmarked);
}

/* The spare as it is now, and check's status. */
static int report(struct mending *mending, json_t *before)
{
	const struct ctl *ctl = mending->ctl;
	char text[SPARE_TEXT_BYTES];
	struct spare after;
	json_t *root;
	int status;

	done_text(&mending->done, text);
	if (!ctl->json)
		printf("%s: %s\n", ctl->dry_run ? "would be done" : "done", *text ? text : "nothing");
	if (ctl->dry_run && !ctl->json)
		return EX_OK;
	if (spare_check(&mending->device.io, &after, NULL)) {
		spare_free(&after);
		return ctl_fail(EX_OSERR, "out of memory");
	}
	status = ctl->dry_run ? EX_OK : ctl_spare_status(&after);
	if (ctl->json) {
		root = ctl_json_new();
		json_object_update_new(
			root, json_pack("{s:s, s:b, s:O, s:o, s:o}", "spare", mending->path, "dry_run",
					ctl->dry_run, "before", before, "done",
					done_json(&mending->done), "after",
					ctl_spare_json(mending->path, &after)));
		if (ctl_print_json(root))
			status = EX_IOERR;
	} else {
		ctl_spare_print(mending->path, &after);
	}
	spare_free(&after);
	return status;
}

static int mend(struct mending *mending, const char *question)
{
	const struct ctl *ctl = mending->ctl;
	json_t *before = ctl->json ? ctl_spare_json(mending->path, &mending->spare) : NULL;
	char text[SPARE_TEXT_BYTES];
	bool write;
	int status;

	if (!ctl->json)
		ctl_spare_print(mending->path, &mending->spare);
	status = rehearse(mending);
	done_text(&mending->done, text);
	write = !status && !ctl->dry_run && *text;
	if (write && !ctl->json) {
		printf("to be done: %s\n", text);
		fflush(stdout);
	}
	if (write)
		status = ctl_confirm(ctl, question);
	if (write && !status && ctl->save)
		status = ctl_spare_save(&mending->device, &mending->spare, ctl->save, true);
	if (write && !status)
		status = run(mending, &mending->device.io);
	if (!status)
		status = report(mending, before);
	json_decref(before);
	return status;
}

int ctl_repair(struct ctl *ctl, char **args)
{
	struct mending mending = { .ctl = ctl, .path = args[0] };
	int status;

	if (!ctl->save && !ctl->dry_run)
		return ctl_fail(EX_USAGE, "repair first saves what it is about to change: add --save FILE, on "
					  "another disk (or --dry-run)");
	status = ctl_spare_open(ctl, args[0], ctl->dry_run ? SPARE_READ : SPARE_CHANGE, false, &mending.device,
				&mending.spare);
	if (status)
		return status;
	if (mending.spare.verdict == SPARE_CLEAN && mending.spare.activation == SPARE_ACTIVATES) {
		if (ctl->json)
			status = ctl_print_json(ctl_spare_json(args[0], &mending.spare));
		else
			printf("%s: clean, there is nothing to repair\n", args[0]);
	} else {
		status = mend(&mending, ctl->accept_stale ?
						"Blocks whose mapping is gone will read as they were before they "
						"moved." :
						"The spare will be written.");
	}
	ctl_spare_close(&mending.device, &mending.spare);
	return status;
}

/* ---- restore ---- */

static int read_dump(const char *path, struct spare_dump *dump)
{
	char error[SPARE_TEXT_BYTES];
	FILE *in = fopen(path, "re");
	int status;

	memset(dump, 0, sizeof(*dump));
	if (!in)
		return ctl_fail(errno == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", path,
				strerror(errno));
	status = spare_dump_read(in, dump, error);
	fclose(in);
	return status ? ctl_fail(status, "%s: %s", path, error) : EX_OK;
}

/* What stands on a device that has nothing of the dump's spare is said before it is overwritten. */
static void print_contents(const struct mending *mending)
{
	struct probe_device device;
	struct probe_contents contents;
	char error[PROBE_ERROR_BYTES];
	size_t i;

	if (ctl_probe_device(mending->path, &device, error) ||
	    ctl_probe_contents(&device, mending->device.offset_sectors, &contents, error))
		return;
	for (i = 0; i < contents.count; i++)
		printf("  it holds %s, to be destroyed\n", contents.text[i]);
}

int ctl_restore(struct ctl *ctl, char **args)
{
	struct mending mending = { .ctl = ctl, .path = args[0] };
	struct spare_dump dump;
	int status = read_dump(args[1], &dump);

	if (!status)
		status = ctl_spare_open(ctl, args[0], ctl->dry_run ? SPARE_READ : SPARE_CHANGE, true,
					&mending.device, &mending.spare);
	if (!status) {
		mending.dump = &dump;
		if (ctl->foreign && !ctl->json)
			print_contents(&mending);
		status = mend(&mending, ctl->foreign ? "What the device holds will be overwritten." :
						       "The spare will be written.");
		ctl_spare_close(&mending.device, &mending.spare);
	}
	spare_dump_free(&dump);
	return status;
}
