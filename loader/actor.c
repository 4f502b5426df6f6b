// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "loader/actor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "loader/log.h"
#include "loader/remapd.h"

#define JOBS_MAX 256
#define JOB_STACK_BYTES (128 * 1024)
#define IDLE_WAIT_MS 3000 /* how long a re-read waits for the device to be idle */
#define IDLE_POLL_MS 20
#define REREAD_SECTORS_MAX 2048U
#define ALIGNMENT 4096U /* of memory and length; no device here has larger blocks */

enum job_kind {
	JOB_MOVE,
	JOB_REREAD,
	JOB_MAP,
};

struct job {
	struct job *next;
	enum job_kind kind;
	struct daemon *daemon; /* only its monitor is used outside of the main loop */
	uint64_t device_id;
	char device_name[DMCTL_NAME_BYTES];
	int err; /* negative errno */
	char error_text[DMCTL_ERROR_BYTES];

	/* move and re-read */
	uint64_t extent;
	uint64_t sector; /* of the remap device */
	uint32_t sectors;

	/* move */
	char reason[EVENT_TEXT_BYTES];
	uint64_t moved_blocks, already_mapped_blocks, unread_sectors;

	/* re-read */
	struct block_device main;
	uint64_t main_first_sector;
	bool was_idle;
	uint64_t latency_ns, finished_ns;

	/* map */
	uint32_t extent_sectors;
	struct extent_map map;
};

static struct {
	pthread_mutex_t lock;
	struct job *finished;
	int event_fd;
	atomic_uint running;
	atomic_bool stopping;
} actor = { .lock = PTHREAD_MUTEX_INITIALIZER, .event_fd = -1 };

static void sleep_ms(unsigned int ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

/* ---- in the job's thread ---- */

static void run_move(struct job *job)
{
	uint64_t sector = job->sector, end_sector = job->sector + job->sectors;
	struct dmctl_remap_answer answer;
	struct dmctl_error error;

	while (sector < end_sector && !atomic_load(&actor.stopping)) {
		job->err = dmctl_remap(job->device_name, sector, end_sector - sector, &answer, &error);
		if (job->err == -EINTR)
			continue;
		if (job->err) {
			snprintf(job->error_text, sizeof(job->error_text), "%s", error.text);
			return;
		}
		job->moved_blocks += answer.moved_blocks;
		job->already_mapped_blocks += answer.already_mapped_blocks;
		job->unread_sectors += answer.unread_sectors;
		sector = answer.next_sector;
	}
	if (sector < end_sector) {
		job->err = -ECANCELED;
		snprintf(job->error_text, sizeof(job->error_text), "remapd is stopping");
	}
}

/* True once the device works on nothing; false if it is busy all the time. */
static bool wait_until_idle(const struct job *job)
{
	unsigned int waited_ms;

	for (waited_ms = 0; waited_ms < IDLE_WAIT_MS; waited_ms += IDLE_POLL_MS) {
		int inflight = block_device_inflight(job->main.name);

		if (inflight <= 0)
			return true;
		if (atomic_load(&actor.stopping))
			return false;
		sleep_ms(IDLE_POLL_MS);
	}
	return false;
}

static int open_main(const struct job *job)
{
	char path[16 + DEVICE_NAME_BYTES], *slash;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", job->main.name);
	for (slash = path + 5; (slash = strchr(slash, '!')); slash++)
		*slash = '/';
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISBLK(st.st_mode) || st.st_rdev != job->main.devno) {
		close(fd);
		return -ENODEV;
	}
	return fd;
}

static void run_reread(struct job *job)
{
	uint64_t block_sectors = job->main.logical_block_bytes > 512 ? job->main.logical_block_bytes / 512 : 1;
	uint64_t first = job->main_first_sector + job->sector, end = first + job->sectors, disk_first, began_ns;
	struct monitor_set *monitor = job->daemon->monitor;
	uint32_t disk_dev = kernel_devno(job->main.disk_devno);
	void *memory = NULL;
	ssize_t got;
	int fd;

	first -= first % block_sectors;
	end += (block_sectors - end % block_sectors) % block_sectors;
	if (end > job->main.size_sectors)
		end = job->main.size_sectors;
	if (end <= first || posix_memalign(&memory, ALIGNMENT, (end - first) * 512)) {
		job->err = -ENOMEM;
		return;
	}
	fd = open_main(job);
	if (fd < 0) {
		job->err = fd;
		free(memory);
		return;
	}
	/* No glibc wrapper: (IOPRIO_WHO_PROCESS, this thread). */
	if (syscall(SYS_ioprio_set, 1, 0, MONITOR_OWN_IOPRIO)) {
		job->err = -errno;
		close(fd);
		free(memory);
		return;
	}
	job->was_idle = wait_until_idle(job);
	disk_first = job->main.first_sector + first;
	if (job->was_idle)
		job->err = monitor_own_begin(monitor, disk_dev, disk_first, end - first);
	if (job->was_idle && !job->err) {
		began_ns = clock_now_ns();
		got = pread(fd, memory, (end - first) * 512, first * 512);
		/* A short answer stops before what can't be read; ask for that to learn why. */
		if (got > 0 && (uint64_t)got < (end - first) * 512 && got % 512 == 0)
			got = pread(fd, memory, (end - first) * 512 - got, first * 512 + got);
		if (got < 0)
			job->err = -errno;
		job->finished_ns = clock_now_ns();
		job->latency_ns = job->finished_ns - began_ns;
		monitor_own_end(monitor, disk_dev, disk_first, end - first);
	}
	close(fd);
	free(memory);
}

static int map_run_seen(const struct dmctl_run *run, void *data)
{
	struct job *job = data;

	if (atomic_load(&actor.stopping))
		return -ECANCELED;
	return extent_map_add(&job->map, job->extent_sectors, run);
}

static void run_map(struct job *job)
{
	struct dmctl_error error = {};

	job->err = dmctl_list_runs(job->device_name, 0, map_run_seen, job, &error);
	snprintf(job->error_text, sizeof(job->error_text), "%s", error.text);
}

static void *run_job(void *data)
{
	struct job *job = data;
	uint64_t one = 1;

	switch (job->kind) {
	case JOB_MOVE:
		run_move(job);
		break;
	case JOB_REREAD:
		run_reread(job);
		break;
	case JOB_MAP:
		run_map(job);
		break;
	}
	pthread_mutex_lock(&actor.lock);
	job->next = actor.finished;
	actor.finished = job;
	pthread_mutex_unlock(&actor.lock);
	if (write(actor.event_fd, &one, sizeof(one)) < 0)
		log_line(LOG_ERR, "can't tell the main loop of a finished job: %s", strerror(errno));
	return NULL;
}

/* ---- in the main loop ---- */

static void finish_move(struct daemon *d, struct device *device, const struct job *job)
{
	uint64_t now_ns = clock_now_ns();
	bool whole = !job->err && !job->unread_sectors;

	device->move_job = false;
	device->map_stale = true;
	if (job->err == -ECANCELED)
		return;
	device->last_action_at = clock_unix();
	device->last_action_extent = job->extent;
	health_fact(device->health, job->sector, whole ? HEALTH_FACT_MOVED : HEALTH_FACT_MOVE_FAILED, now_ns);
	if (whole) {
		device->relocated_extents_total++;
		device->last_relocation_at = device->last_action_at;
		snprintf(device->last_action_text, sizeof(device->last_action_text), "extent %llu, proactive",
			 (unsigned long long)job->extent);
		event_add(&d->events, EVENT_RELOCATED, LOG_NOTICE, device->name, job->extent,
			  "extent %llu relocated: %llu blocks moved, %llu were there already; %.120s",
			  (unsigned long long)job->extent, (unsigned long long)job->moved_blocks,
			  (unsigned long long)job->already_mapped_blocks, job->reason);
		return;
	}
	device->relocation_failures_total++;
	snprintf(device->last_action_text, sizeof(device->last_action_text), "extent %llu, relocation failed",
		 (unsigned long long)job->extent);
	if (job->err)
		event_add(&d->events, EVENT_RELOCATION_FAILED, LOG_WARNING, device->name, job->extent,
			  "extent %llu could not be relocated: %.160s", (unsigned long long)job->extent,
			  job->error_text);
	else
		event_add(&d->events, EVENT_RELOCATION_FAILED, LOG_WARNING, device->name, job->extent,
			  "extent %llu relocated but for %llu sectors that can't be read, %llu blocks moved",
			  (unsigned long long)job->extent, (unsigned long long)job->unread_sectors,
			  (unsigned long long)job->moved_blocks);
}

static enum health_class class_of(int err)
{
	switch (-err) {
	case 0:
		return HEALTH_CLASS_OK;
	case ENODATA:
		return HEALTH_CLASS_MEDIUM;
	case ETIMEDOUT:
		return HEALTH_CLASS_TIMEOUT;
	case ENOLINK:
		return HEALTH_CLASS_TRANSPORT;
	case EIO:
		return HEALTH_CLASS_OTHER;
	default:
		return HEALTH_CLASSES; /* says nothing about the medium */
	}
}

static void finish_reread(struct daemon *d, struct device *device, const struct job *job)
{
	enum health_class class = class_of(job->err);

	device->probe_job = false;
	if (!job->was_idle || class == HEALTH_CLASSES) {
		if (job->err)
			log_line(LOG_DEBUG, "%s: extent %llu can't be read again: %s", device->name,
				 (unsigned long long)job->extent, strerror(-job->err));
		return;
	}
	log_line(LOG_DEBUG, "%s: re-read of %u sectors at %llu (extent %llu): %s, %.1f ms", device->name, job->sectors,
		 (unsigned long long)job->sector, (unsigned long long)job->extent, health_class_name(class),
		 job->latency_ns / 1e6);
	health_probe(device->health, job->sector, job->sectors, class, job->latency_ns, job->finished_ns);
}

static void finish_map(struct daemon *d, struct device *device, struct job *job)
{
	device->map_job = false;
	if (job->err) {
		device->map_stale = true;
		log_line(LOG_DEBUG, "%s: can't read the target's map: %s", device->name, job->error_text);
		return;
	}
	extent_map_take(device, &job->map, clock_now_ns());
}

static int jobs_finished(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct daemon *d = data;
	struct job *job, *next;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	pthread_mutex_lock(&actor.lock);
	job = actor.finished;
	actor.finished = NULL;
	pthread_mutex_unlock(&actor.lock);
	for (; job; job = next) {
		struct device *device = fleet_by_id(d, job->device_id);

		next = job->next;
		if (device && job->kind == JOB_MOVE)
			finish_move(d, device, job);
		else if (device && job->kind == JOB_REREAD)
			finish_reread(d, device, job);
		else if (device)
			finish_map(d, device, job);
		extent_map_free(&job->map);
		free(job);
		atomic_fetch_sub(&actor.running, 1);
	}
	return 0;
}

int actor_init(struct daemon *d)
{
	actor.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (actor.event_fd < 0)
		return -errno;
	return sd_event_add_io(d->loop, NULL, actor.event_fd, EPOLLIN, jobs_finished, d);
}

void actor_stop(void)
{
	atomic_store(&actor.stopping, true);
}

unsigned int actor_running(void)
{
	return atomic_load(&actor.running);
}

static struct job *new_job(struct daemon *d, const struct device *device, enum job_kind kind)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->kind = kind;
	job->daemon = d;
	job->device_id = device->id;
	memcpy(job->device_name, device->name, sizeof(job->device_name));
	return job;
}

static int start_job(struct job *job)
{
	sigset_t all, old;
	pthread_attr_t attributes;
	pthread_t thread;
	int err;

	if (!job)
		return -ENOMEM;
	if (atomic_fetch_add(&actor.running, 1) >= JOBS_MAX) {
		atomic_fetch_sub(&actor.running, 1);
		free(job);
		return -EAGAIN;
	}
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, JOB_STACK_BYTES);
	/* Signals are the main loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, &attributes, run_job, job);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	if (err) {
		atomic_fetch_sub(&actor.running, 1);
		free(job);
	}
	return -err;
}

int actor_move(struct daemon *d, struct device *device, const struct health_extent *extent, const char *reason)
{
	struct job *job;
	int err;

	if (device->move_job)
		return -EBUSY;
	job = new_job(d, device, JOB_MOVE);
	if (job) {
		job->extent = extent->extent;
		job->sector = extent->first_sector;
		job->sectors = extent->sectors;
		snprintf(job->reason, sizeof(job->reason), "%s", reason);
	}
	err = start_job(job);
	device->move_job = !err;
	return err;
}

int actor_reread(struct daemon *d, struct device *device, const struct health_extent *extent)
{
	struct job *job;
	int err;

	if (device->probe_job)
		return -EBUSY;
	job = new_job(d, device, JOB_REREAD);
	if (job) {
		job->extent = extent->extent;
		job->sector = extent->reread_sector;
		job->sectors = extent->reread_sectors < REREAD_SECTORS_MAX ? extent->reread_sectors :
									      REREAD_SECTORS_MAX;
		job->main = device->main;
		job->main_first_sector = device->main_first_sector;
	}
	err = start_job(job);
	device->probe_job = !err;
	return err;
}

int actor_read_map(struct daemon *d, struct device *device)
{
	struct job *job;
	int err;

	if (device->map_job)
		return -EBUSY;
	job = new_job(d, device, JOB_MAP);
	if (job)
		job->extent_sectors = device_extent_sectors(device);
	err = start_job(job);
	device->map_job = !err;
	if (!err)
		device->map_stale = false;
	return err;
}
