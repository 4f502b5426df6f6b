// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl grow: a main or a spare whose device has become larger. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sysexits.h>

#include "loader/ctl.h"
#include "loader/ctl_spare.h"
#include "loader/spare_mend.h"

static int print_grown(const struct ctl *ctl, const char *what, const char *unit, uint64_t before, uint64_t now)
{
	json_t *root;

	if (!ctl->json) {
		printf("%s: %s%" PRIu64 " %s", what, ctl->dry_run && now != before ? "would have " : "", now, unit);
		if (now != before)
			printf(", %" PRIu64 " more than before\n", now - before);
		else
			puts(", nothing to gain");
		return EX_OK;
	}
	root = ctl_json_new();
	json_object_update_new(root, json_pack("{s:s, s:s, s:I, s:I, s:b}", "grown", what, "unit", unit, "before",
					       (json_int_t)before, "now", (json_int_t)now, "dry_run", ctl->dry_run));
	return ctl_print_json(root);
}

/* ---- main, live ---- */

/* A number of sysfs; 0 if it is not there. */
static uint64_t read_number(dev_t devno, const char *attribute)
{
	char path[128];
	uint64_t number = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(devno), minor(devno), attribute);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%" SCNu64, &number) != 1)
		number = 0;
	fclose(file);
	return number;
}

static int grow_main(const struct ctl *ctl, const char *name)
{
	struct dmctl_device device;
	struct dmctl_error error;
	uint64_t before, now, main_sectors, block_sectors;

	if (dmctl_get(name, &device, &error))
		return ctl_fail_dm(&error);
	if (device.targets != 1)
		return ctl_fail(EX_DATAERR, "%s has %u targets: its tables are dmsetup's", name, device.targets);
	main_sectors = read_number(device.main_devno, "size");
	block_sectors = read_number(device.devno, "queue/logical_block_size") / 512;
	if (!main_sectors || !block_sectors)
		return ctl_fail(EX_OSERR, "the size of the main device of %s can't be told", name);
	before = device.table.length_sectors;
	now = main_sectors > device.table.main_offset_sectors ? main_sectors - device.table.main_offset_sectors : 0;
	now -= now % block_sectors;
	if (now < before)
		return ctl_fail(EX_DATAERR, "%s shows %" PRIu64 " sectors, and its main device has only %" PRIu64, name,
				before, now);
	device.table.length_sectors = now;
	if (now > before && !ctl->dry_run && dmctl_reload(name, &device.table, device.read_only, &error))
		return ctl_fail_dm(&error);
	return print_grown(ctl, name, "sectors", before, now);
}

/* ---- a spare, offline ---- */

static int write_nothing(void *context, uint64_t sector, unsigned int nr_sectors, const void *buf)
{
	return 0;
}

static int flush_nothing(void *context)
{
	return 0;
}

static int grow_spare(const struct ctl *ctl, const char *path)
{
	char error[SPARE_TEXT_BYTES];
	struct spare_mended done;
	struct spare_device device;
	struct spare spare;
	struct spare_io io;
	int status = ctl_spare_open(ctl, path, ctl->dry_run ? SPARE_READ : SPARE_CHANGE, false, &device, &spare);

	if (status)
		return status;
	io = device.io;
	if (ctl->dry_run) {
		io.write = write_nothing;
		io.flush = flush_nothing;
	}
	status = spare_grow(&io, &spare, &done, error);
	status = status ? ctl_fail(status, "%s: %s", path, error) :
			  print_grown(ctl, path, "slots", spare.nr_slots, spare.nr_slots + done.slots_added);
	ctl_spare_close(&device, &spare);
	return status;
}

int ctl_grow(struct ctl *ctl, char **args)
{
	return strchr(args[0], '/') ? grow_spare(ctl, args[0]) : grow_main(ctl, args[0]);
}
