// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Loading, pinning and attaching. Everything is pinned below one directory of the BPF file system:
 *
 *	maps/NAME     every map; a new remapd takes them over and counts on
 *	links/HOOK    the stubs' attachments; they stay attached without remapd
 *
 * The programs themselves need no pin: the slots (PROG_ARRAY maps) hold them.
 */
#include "loader/monitor_set.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "loader/log.h"

#define BPFFS "/sys/fs/bpf"

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[512];
	int length;

	if (level == LIBBPF_DEBUG)
		return 0;
	length = vsnprintf(line, sizeof(line), format, args);
	while (length > 0 && length < (int)sizeof(line) && line[length - 1] == '\n')
		line[--length] = '\0';
	log_line(LOG_DEBUG, "%s", line);
	return 0;
}

static int make_dir(const char *path)
{
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

static int make_dirs(const char *path)
{
	char part[256];
	size_t i;
	int err;

	for (i = 1; path[i] && i < sizeof(part); i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		err = make_dir(part);
		if (err)
			return err;
	}
	return make_dir(path);
}

/* Systems without systemd, and initramfs, don't mount it. */
static int mount_bpffs(const char *pin_dir)
{
	struct statfs fs;

	if (strncmp(pin_dir, BPFFS "/", strlen(BPFFS "/")))
		return 0;
	if (statfs(BPFFS, &fs))
		return -errno;
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	return mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") ? -errno : 0;
}

static int open_pin_dir(struct monitor_set *set, const char *pin_dir, char *error_text, size_t error_bytes)
{
	struct statfs fs;
	char path[300];
	int err;

	if (snprintf(set->pin_dir, sizeof(set->pin_dir), "%s", pin_dir) >= (int)sizeof(set->pin_dir)) {
		snprintf(error_text, error_bytes, "the pin directory's name is too long");
		return -ENAMETOOLONG;
	}
	err = mount_bpffs(pin_dir);
	if (err) {
		snprintf(error_text, error_bytes, "no BPF file system on %s (%s); as root: mount -t bpf bpf %s", BPFFS,
			 strerror(-err), BPFFS);
		return err;
	}
	err = make_dirs(pin_dir);
	if (!err && (statfs(pin_dir, &fs) || fs.f_type != BPF_FS_MAGIC))
		err = -ENOTDIR;
	if (err) {
		snprintf(error_text, error_bytes, "can't make %s (%s); it must be on a BPF file system, like %s", pin_dir,
			 strerror(-err), MONITOR_PIN_DIR);
		return err;
	}
	set->pin_dir_fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (set->pin_dir_fd < 0)
		return -errno;
	if (flock(set->pin_dir_fd, LOCK_EX | LOCK_NB)) {
		snprintf(error_text, error_bytes, "another remapd uses %s; stop that one, or give --pin-dir", pin_dir);
		return -EBUSY;
	}
	snprintf(path, sizeof(path), "%s/maps", pin_dir);
	err = make_dir(path);
	if (!err) {
		snprintf(path, sizeof(path), "%s/links", pin_dir);
		err = make_dir(path);
	}
	return err;
}

static int remove_pins_in(const char *dir_path)
{
	struct dirent *entry;
	DIR *dir = opendir(dir_path);
	int err = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) && !err)
			err = -errno;
	closedir(dir);
	if (!err && rmdir(dir_path))
		err = -errno;
	return err;
}

int monitor_unpin(const char *pin_dir)
{
	char path[300];
	int err, maps_err;

	snprintf(path, sizeof(path), "%s/links", pin_dir);
	err = remove_pins_in(path);
	snprintf(path, sizeof(path), "%s/maps", pin_dir);
	maps_err = remove_pins_in(path);
	if (!err)
		err = maps_err;
	if (!err && rmdir(pin_dir) && errno != ENOENT)
		err = -errno;
	if (!err) {
		/* The folder that holds the versions, if this was the last one. */
		snprintf(path, sizeof(path), "%s", pin_dir);
		if (strcmp(dirname(path), BPFFS))
			rmdir(path);
	}
	return err;
}

static int open_object(struct monitor_set *set)
{
	struct bpf_map *map;
	char path[400];
	int err;

	set->bpf = monitor_bpf__open();
	if (!set->bpf)
		return -errno;
	bpf_object__for_each_map(map, set->bpf->obj) {
		if (bpf_map__is_internal(map))
			continue;
		snprintf(path, sizeof(path), "%s/maps/%s", set->pin_dir, bpf_map__name(map));
		err = bpf_map__set_pin_path(map, path);
		if (err)
			return err;
	}
	return 0;
}

/* Are the maps that are pinned those that we would make? Libbpf asks too, but does not say that this was the trouble. */
static bool pinned_maps_fit(const struct monitor_set *set)
{
	struct bpf_map *map;
	bool fit = true;

	bpf_object__for_each_map(map, set->bpf->obj) {
		const char *path = bpf_map__pin_path(map);
		struct bpf_map_info info = {};
		uint32_t bytes = sizeof(info);
		int fd = path ? bpf_obj_get(path) : -1;

		if (fd < 0)
			continue;
		fit = fit && !bpf_obj_get_info_by_fd(fd, &info, &bytes) && info.type == bpf_map__type(map) &&
		      info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
		      info.max_entries == bpf_map__max_entries(map);
		close(fd);
	}
	return fit;
}

/* Of another build that forgot to change the version. Counts are lost, work is not. */
static void remove_misfits(const struct monitor_set *set)
{
	char path[300];

	log_line(LOG_WARNING, "what is pinned below %s does not fit; counting starts from zero", set->pin_dir);
	snprintf(path, sizeof(path), "%s/links", set->pin_dir);
	remove_pins_in(path);
	make_dir(path);
	snprintf(path, sizeof(path), "%s/maps", set->pin_dir);
	remove_pins_in(path);
	make_dir(path);
}

static int open_and_load(struct monitor_set *set)
{
	int err = open_object(set);

	if (err)
		return err;
	if (!pinned_maps_fit(set))
		remove_misfits(set);
	return monitor_bpf__load(set->bpf);
}

/* Puts this process's programs where the stubs jump to. From here on they are what runs. */
static int fill_slots(struct monitor_set *set)
{
	struct {
		struct bpf_map *slot;
		struct bpf_program *program;
	} const slots[] = {
		{ set->bpf->maps.monitor_slot_rqc, set->bpf->progs.rq_complete },
		{ set->bpf->maps.monitor_slot_rqi, set->bpf->progs.rq_issue },
		{ set->bpf->maps.monitor_slot_bioq, set->bpf->progs.bio_queue },
		{ set->bpf->maps.monitor_slot_bioc, set->bpf->progs.bio_complete },
	};
	uint32_t zero = 0;
	size_t i;
	int err;

	for (i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		int fd = bpf_program__fd(slots[i].program);

		err = bpf_map__update_elem(slots[i].slot, &zero, sizeof(zero), &fd, sizeof(fd), BPF_ANY);
		if (err)
			return err;
	}
	return 0;
}

static int attach_hook(struct monitor_set *set, const char *name, struct bpf_program *stub, bool wanted)
{
	struct bpf_link *link;
	char path[400];
	int err;

	snprintf(path, sizeof(path), "%s/links/%s", set->pin_dir, name);
	if (!wanted)
		return unlink(path) && errno != ENOENT ? -errno : 0;
	if (!access(path, F_OK))
		return 0;
	link = bpf_program__attach(stub);
	if (!link)
		return -errno;
	err = bpf_link__pin(link, path);
	bpf_link__destroy(link);
	return err;
}

int monitor_attach_hooks(struct monitor_set *set, bool request_based, bool bio_based, bool issue)
{
	int err;

	err = attach_hook(set, "block_rq_complete", set->bpf->progs.stub_rq_complete, request_based);
	if (!err)
		err = attach_hook(set, "block_rq_issue", set->bpf->progs.stub_rq_issue, request_based && issue);
	/* Completion first: a bio that was queued and is never seen to complete would stay in the map. */
	if (!err)
		err = attach_hook(set, "block_bio_complete", set->bpf->progs.stub_bio_complete, bio_based);
	if (!err)
		err = attach_hook(set, "block_bio_queue", set->bpf->progs.stub_bio_queue, bio_based);
	return err;
}

static int ring_event(void *data, void *sample, size_t bytes)
{
	struct monitor_set *set = data;

	if (bytes >= sizeof(struct monitor_event) && set->event_seen)
		set->event_seen(sample, set->event_data);
	return 0;
}

static int open_rings(struct monitor_set *set)
{
	set->rings = ring_buffer__new(bpf_map__fd(set->bpf->maps.monitor_error_ring), ring_event, set, NULL);
	if (!set->rings)
		return -errno;
	return ring_buffer__add(set->rings, bpf_map__fd(set->bpf->maps.monitor_slow_ring), ring_event, set);
}

static int map_config(struct monitor_set *set)
{
	void *memory = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
			    bpf_map__fd(set->bpf->maps.monitor_config), 0);

	if (memory == MAP_FAILED)
		return -errno;
	set->config = memory;
	return 0;
}

static const char *load_hint(int err)
{
	switch (err) {
	case -EPERM:
	case -EACCES:
		return "run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN";
	case -ESRCH:
	case -ENOENT:
	case -EOPNOTSUPP:
		return "the kernel must have CONFIG_DEBUG_INFO_BTF (/sys/kernel/btf/vmlinux), as Debian's has";
	case -ENOMEM:
		return "not enough memory";
	default:
		return "the kernel refused the programs; Linux 6.1 or later is needed";
	}
}

int monitor_load(const char *pin_dir, struct monitor_set **result, char *error_text, size_t error_bytes)
{
	struct monitor_set *set = calloc(1, sizeof(*set));
	int err;

	if (!set)
		return -ENOMEM;
	error_text[0] = '\0';
	set->pin_dir_fd = -1;
	libbpf_set_print(print_libbpf);
	err = open_pin_dir(set, pin_dir, error_text, error_bytes);
	if (err)
		goto out_close;
	err = open_and_load(set);
	if (err)
		goto out_close;
	set->cpus = libbpf_num_possible_cpus();
	set->cpu_hists = set->cpus > 0 ? calloc(set->cpus, sizeof(*set->cpu_hists)) : NULL;
	err = set->cpu_hists ? 0 : -ENOMEM;
	if (!err)
		err = map_config(set);
	if (!err)
		err = open_rings(set);
	if (!err)
		err = fill_slots(set);
	if (err)
		goto out_close;
	*result = set;
	return 0;

out_close:
	if (!error_text[0])
		snprintf(error_text, error_bytes, "can't load the BPF programs (%s): %s", strerror(-err), load_hint(err));
	monitor_close(set);
	return err;
}

void monitor_close(struct monitor_set *set)
{
	size_t i;

	if (!set)
		return;
	monitor_detach_module(set);
	for (i = 0; i < MONITOR_DEVICES_MAX; i++)
		if (set->claims[i].cells)
			munmap((void *)set->claims[i].cells, MONITOR_CELLS * sizeof(struct monitor_cell));
	if (set->config)
		munmap(set->config, getpagesize());
	ring_buffer__free(set->rings);
	monitor_bpf__destroy(set->bpf);
	free(set->cpu_hists);
	if (set->pin_dir_fd >= 0)
		close(set->pin_dir_fd);
	free(set);
}

int monitor_event_fd(const struct monitor_set *set)
{
	return ring_buffer__epoll_fd(set->rings);
}

void monitor_drain(struct monitor_set *set, void (*seen)(const struct monitor_event *event, void *data), void *data)
{
	set->event_seen = seen;
	set->event_data = data;
	ring_buffer__consume(set->rings);
	set->event_seen = NULL;
}

int monitor_attach_module(struct monitor_set *set)
{
	if (set->own_io_link)
		return 0;
	set->own_io_link = bpf_program__attach(set->bpf->progs.remap_own_io);
	if (set->own_io_link) {
		set->own_io_failed = false;
		return 0;
	}
	if (!set->own_io_failed && errno != ENOENT)
		log_line(LOG_WARNING, "can't attach to the module's tracepoint dm_remap_own_io: %s", strerror(errno));
	set->own_io_failed = true;
	return -errno;
}

void monitor_detach_module(struct monitor_set *set)
{
	bpf_link__destroy(set->own_io_link);
	set->own_io_link = NULL;
}

int monitor_read_counters(const struct monitor_set *set, uint64_t counters[MONITOR_COUNTERS])
{
	uint64_t *values = calloc(set->cpus, sizeof(*values));
	uint32_t counter;
	int err = 0, cpu;

	if (!values)
		return -ENOMEM;
	for (counter = 0; counter < MONITOR_COUNTERS && !err; counter++) {
		err = bpf_map__lookup_elem(set->bpf->maps.monitor_counters, &counter, sizeof(counter), values,
					   set->cpus * sizeof(*values), 0);
		counters[counter] = 0;
		for (cpu = 0; !err && cpu < set->cpus; cpu++)
			counters[counter] += values[cpu];
	}
	free(values);
	return err;
}

/* The stub that a pinned link runs may be of an earlier remapd; it is the one that the kernel skips, or not. */
static uint64_t missed_of_link(const char *pin_dir, const char *hook)
{
	struct bpf_link_info link = {};
	struct bpf_prog_info program = {};
	uint32_t link_bytes = sizeof(link), program_bytes = sizeof(program);
	int link_fd, program_fd = -1;
	char path[400];

	snprintf(path, sizeof(path), "%s/links/%s", pin_dir, hook);
	link_fd = bpf_obj_get(path);
	if (link_fd < 0)
		return 0;
	if (!bpf_obj_get_info_by_fd(link_fd, &link, &link_bytes))
		program_fd = bpf_prog_get_fd_by_id(link.prog_id);
	close(link_fd);
	if (program_fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(program_fd, &program, &program_bytes))
		program.recursion_misses = 0;
	close(program_fd);
	return program.recursion_misses;
}

uint64_t monitor_missed(const struct monitor_set *set)
{
	static const char *const hooks[] = { "block_rq_complete", "block_rq_issue", "block_bio_complete",
					     "block_bio_queue" };
	uint64_t missed = 0;
	size_t i;

	for (i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		missed += missed_of_link(set->pin_dir, hooks[i]);
	return missed;
}

uint64_t monitor_sector_entries(const struct monitor_set *set)
{
	return set->sector_entries;
}

uint64_t monitor_bucket_end_us(unsigned int bucket)
{
	unsigned int power;

	if (bucket < 4)
		return bucket + 1;
	if (bucket >= MONITOR_BUCKETS - 1)
		return UINT64_MAX;
	power = bucket / 4 + 1;
	return (uint64_t)(bucket % 4 + 5) << (power - 2);
}
