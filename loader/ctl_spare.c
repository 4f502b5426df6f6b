// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl check, dump: a spare that no target uses. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/ctl_probe.h"
#include "loader/ctl_spare.h"
#include "loader/spare_dump.h"

#define PROGRESS_GROUPS_MIN 32 /* what takes long enough to show */

static void show_progress(uint64_t done, uint64_t all)
{
	if (all < PROGRESS_GROUPS_MIN || !isatty(STDERR_FILENO))
		return;
	if (done < all)
		fprintf(stderr, "\rreading: %3" PRIu64 "%%", done * 100 / all);
	else
		fputs("\r\033[K", stderr);
}

int ctl_spare_open(const struct ctl *ctl, const char *path, enum spare_access access, bool untraced,
		   struct spare_device *device, struct spare *spare)
{
	char error[SPARE_ERROR_BYTES];
	int status = spare_device_open(path, ctl->spare_offset_sectors, access, device, error);

	if (status)
		return ctl_fail(status, "%s", error);
	if (*device->used_by)
		fprintf(stderr, "remapctl: note: %s is in use (%s): what is read here may be in motion\n",
			path, device->used_by);
	if (spare_check(&device->io, spare, show_progress))
		status = ctl_fail(EX_OSERR, "out of memory");
	else if (!spare->found && !untraced)
		status = ctl_fail(EX_DATAERR,
				  "%s holds no trace of a dm-remap spare (one that starts elsewhere needs "
				  "--spare-offset)",
				  path);
	if (status)
		ctl_spare_close(device, spare);
	return status;
}

void ctl_spare_close(struct spare_device *device, struct spare *spare)
{
	spare_free(spare);
	spare_device_close(device);
}

/* ---- check ---- */

static bool is_newer(const struct spare *spare)
{
	return spare->supers.state[0] == SPARE_COPY_NEWER ||
	       spare->supers.state[1] == SPARE_COPY_NEWER;
}

int ctl_spare_status(const struct spare *spare)
{
	if (is_newer(spare))
		return EX_UNAVAILABLE;
	switch (spare->verdict) {
	case SPARE_CLEAN:
		return EX_OK;
	case SPARE_MENDS:
		return CTL_STATUS_MENDS;
	case SPARE_LOSES:
		break;
	}
	return CTL_STATUS_LOSES;
}

/* The verdict, and what is to be done about it. */
static const char *verdict_text(const struct spare *spare)
{
	bool refused = spare->activation == SPARE_REFUSED;

	if (is_newer(spare))
		return "not judged: it is of a newer remapctl";
	switch (spare->verdict) {
	case SPARE_CLEAN:
		return spare->activation == SPARE_ACTIVATES ?
			       "clean" :
			       "clean; the module may activate it read-only";
	case SPARE_MENDS:
		return refused ? "damaged, nothing is lost, but the module refuses it: remapctl repair "
				 "mends it" :
				 "damaged, nothing is lost: remapctl repair mends it, and so does the "
				 "next assembling";
	case SPARE_LOSES:
		break;
	}
	return refused ? "something is lost, and the module refuses it: restore a dump (remapctl "
			 "restore), or see remapctl-repair(8)" :
	       spare->activation == SPARE_ACTIVATES_READ_ONLY ?
			 "something may be lost: the module activates it read-only, copy away what is "
			 "there" :
			 "something may be lost, and the module does not see it: see "
			 "remapctl-check(8) before the device is used";
}

void ctl_spare_print(const char *path, const struct spare *spare)
{
	const struct remap_super *super = &spare->supers.super;
	char text[SPARE_TEXT_BYTES], uuid[37];
	size_t i;

	if (spare->supers.believed) {
		ctl_format_uuid(super->uuid, uuid);
		printf("%s: spare %s of main %s: %zu blocks moved, %" PRIu64
		       " unread and %" PRIu64 " lost sectors\n",
		       path, uuid, *super->main_id ? super->main_id : "without a name",
		       spare->nr_homes, spare->unread_sectors, spare->lost_sectors);
	}
	for (i = 0; i < spare->nr_findings; i++) {
		spare_finding_text(spare, &spare->finding[i], text);
		printf("  %s\n", text);
	}
	printf("%s: %s\n", path, verdict_text(spare));
}

static json_t *finding_json(const struct spare *spare, const struct spare_finding *finding)
{
	char text[SPARE_TEXT_BYTES];
	json_t *json;

	spare_finding_text(spare, finding, text);
	json = json_pack("{s:s, s:s, s:s, s:s}", "kind", spare_kind_word(finding->kind), "verdict",
			 spare_verdict_word(finding->verdict), "activates",
			 spare_activation_word(finding->activation), "text", text);
	if (finding->kind <= SPARE_SUPER_NEWER ||
	    (finding->kind >= SPARE_META_COPY && finding->kind <= SPARE_META_GONE))
		json_object_set_new(json, "copies",
				    json_pack("[s, s]", spare_copy_word(finding->state[0]),
					      spare_copy_word(finding->state[1])));
	if (finding->kind >= SPARE_META_COPY && finding->kind <= SPARE_META_GONE)
		json_object_set_new(json, "blocks",
				    json_pack("[I, I]", (json_int_t)finding->first,
					      (json_int_t)finding->last));
	if (finding->kind >= SPARE_ENTRY_IMPOSSIBLE)
		json_object_set_new(json, "slots",
				    json_pack("[I, I]", (json_int_t)finding->first,
					      (json_int_t)finding->last));
	if (finding->kind > SPARE_ENTRY_IMPOSSIBLE)
		json_object_set_new(json, "sector",
				    json_integer((json_int_t)(finding->block *
							      spare->supers.super.block_sectors)));
	return json;
}

json_t *ctl_spare_json(const char *path, const struct spare *spare)
{
	const struct remap_super *super = &spare->supers.super;
	json_t *root = ctl_json_new(), *findings = json_array();
	char uuid[37];
	size_t i;

	ctl_format_uuid(super->uuid, uuid);
	for (i = 0; i < spare->nr_findings; i++)
		json_array_append_new(findings, finding_json(spare, &spare->finding[i]));
	json_object_update_new(
		root, json_pack("{s:s, s:s, s:s, s:o}", "spare", path, "verdict",
				is_newer(spare) ? "newer" : spare_verdict_word(spare->verdict),
				"activates", spare_activation_word(spare->activation), "findings",
				findings));
	if (spare->supers.believed)
		json_object_update_new(
			root,
			json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "uuid", uuid, "main_id",
				  super->main_id, "mapped_blocks", (json_int_t)spare->nr_homes,
				  "retired_blocks", (json_int_t)spare->nr_retired,
				  "unread_sectors", (json_int_t)spare->unread_sectors,
				  "lost_sectors", (json_int_t)spare->lost_sectors, "block_sectors",
				  (json_int_t)super->block_sectors));
	return root;
}

int ctl_check(struct ctl *ctl, char **args)
{
	struct spare_device device;
	struct spare spare;
	int status = ctl_spare_open(ctl, args[0], SPARE_LOOK, false, &device, &spare);
	int print_status = EX_OK;
	json_t *root;

	if (status)
		return status;
	if (ctl->json) {
		root = ctl_spare_json(args[0], &spare);
		json_object_set_new(root, "used_by",
				    *device.used_by ? json_string(device.used_by) : json_null());
		print_status = ctl_print_json(root);
	} else {
		ctl_spare_print(args[0], &spare);
	}
	status = ctl_spare_status(&spare);
	ctl_spare_close(&device, &spare);
	return print_status ? print_status : status;
}

/* ---- dump ---- */

static void write_fenced(const struct remap_super *super, FILE *out)
{
	uint32_t i;

	for (i = 0; i < super->nr_fenced; i++)
		fprintf(out, "%-10s copy %c of metadata block %" PRIu32 "\n", i ? "" : "fenced",
			'A' + (super->fenced[i] & 1), super->fenced[i] / 2);
}

static void write_text(const struct spare_device *device, const struct spare *spare, FILE *out)
{
	const struct remap_super *super = &spare->supers.super;
	char size[24], text[SPARE_TEXT_BYTES];
	struct spare_run run;
	size_t i, next = 0;

	ctl_format_sectors(device->io.area_sectors, size);
	fprintf(out, "%-10s %s, %s from sector %" PRIu64 "\n", "spare", device->path, size,
		device->offset_sectors);
	fprintf(out, "%-10s %s\n", "verdict", verdict_text(spare));
	for (i = 0; i < spare->nr_findings; i++) {
		spare_finding_text(spare, &spare->finding[i], text);
		fprintf(out, "%-10s %s\n", i ? "" : "findings", text);
	}
	if (!spare->supers.believed)
		return;
	ctl_format_uuid(super->uuid, text);
	fprintf(out, "%-10s %s\n", "uuid", text);
	ctl_format_sectors(super->main_sectors, size);
	fprintf(out, "%-10s %s, %s (%" PRIu64 " sectors) from sector %" PRIu64 "\n", "main",
		*super->main_id ? super->main_id : "without a name", size, super->main_sectors,
		super->main_offset_sectors);
	fprintf(out,
		"%-10s version %d, superblock %" PRIu64 ", blocks of %" PRIu32
		" sectors, units of %" PRIu32 "\n",
		"format", REMAP_VERSION, super->sequence, super->block_sectors,
		super->unit_sectors);
	for (i = 0; i < super->nr_segments; i++)
		fprintf(out, "%-10s %" PRIu64 "+%" PRIu64 "\n", i ? "" : "segments",
			super->segment[i].start_sector, super->segment[i].nr_sectors);
	fprintf(out,
		"%-10s %" PRIu32 " of %" PRIu32 " in use, %" PRIu64
		" slots: %zu hold blocks, %" PRIu64 " are retired\n",
		"groups", super->nr_groups_initialised, remap_nr_groups(super), spare->nr_slots,
		spare->nr_homes, spare->nr_retired);
	write_fenced(super, out);
	fprintf(out, "\n%12s %8s %12s %7s %5s  %s\n", "SECTOR", "COUNT", "SPARE SECTOR", "UNREAD",
		"LOST", "REASON");
	while (spare_next_run(spare, &next, &run))
		fprintf(out,
			"%12" PRIu64 " %8" PRIu64 " %12" PRIu64 " %7" PRIu64 " %5" PRIu64 "  %s%s\n",
			run.sector, run.nr_sectors,
			device->offset_sectors + spare_slot_sector(super, run.slot),
			run.unread_sectors, run.lost_sectors, spare_reason_word(run.reason),
			run.state == REMAP_ENTRY_RETIRED_MAPPED ? " (slot retired)" : "");
}

static int write_dump(const struct spare_device *device, const struct spare *spare, FILE *out,
		      bool json)
{
	int err;

	if (json) {
		err = spare_dump_write(&device->io, spare, out);
	} else {
		write_text(device, spare, out);
		err = fflush(out) ? -EIO : 0;
	}
	return err || !ferror(out) ? err : -EIO;
}

/* The name itself has to be durable too. */
static int sync_folder(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int err = fd < 0 || fsync(fd) ? -EIO : 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return err;
}

int ctl_spare_save(const struct spare_device *device, const struct spare *spare, const char *path,
		   bool json)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	int err;

	if (!out) {
		if (fd >= 0)
			close(fd);
		return ctl_fail(EX_CANTCREAT, "%s: %s", path,
				errno == EEXIST ? "exists, and is not overwritten" :
						  strerror(errno));
	}
	err = write_dump(device, spare, out, json);
	if (!err && fsync(fd))
		err = -EIO;
	if (fclose(out) && !err)
		err = -EIO;
	if (!err)
		err = sync_folder(path);
	if (!err)
		return EX_OK;
	unlink(path);
	return err == -ENOMEM ? ctl_fail(EX_OSERR, "out of memory") :
				ctl_fail(EX_IOERR, "%s: the dump can't be written: %s", path,
					 strerror(errno));
}

int ctl_dump(struct ctl *ctl, char **args)
{
	struct spare_device device;
	struct spare spare;
	int status = ctl_spare_open(ctl, args[0], SPARE_LOOK, false, &device, &spare);

	if (status)
		return status;
	if (ctl->output)
		status = ctl_spare_save(&device, &spare, ctl->output, ctl->json);
	else if (write_dump(&device, &spare, stdout, ctl->json))
		status = ctl_fail(EX_IOERR, "can't write to stdout");
	if (!status && spare.verdict != SPARE_CLEAN)
		fprintf(stderr, "remapctl: note: %s is not whole (see remapctl check %s)\n", args[0],
			args[0]);
	ctl_spare_close(&device, &spare);
	return status;
}
