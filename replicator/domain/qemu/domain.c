/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's side of an unpatched QEMU: attach by QMP and /proc, stop, save the devices' state, copy pages
 * from the shared memfd, go on.
 *
 * Everything that could make a failover fail is checked in open(), before anything is changed; nothing of what
 * is set up later outlives this process (the fd set in QEMU goes with the QMP connection, tracking is swept).
 * Each QMP command has a deadline; a failed pause tries to let the guest run (I8).
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../channel.h"
#include "examine.h"
#include "remus/domain.h"
#include "remus/log.h"
#include "remus/renewal.h"
#include "remus/util.h"
#include "standby.h"
#include "watch.h"

#define COMMAND_MS 2000 /* a loaded host answers stop in 30 ms; seconds mean a hung QEMU */
#define STATE_MAX  (64u << 20)

struct domain {
	struct remus_domain base;
	struct remus_qemu_seen seen;
	struct remus_qemu_watch watch;
	enum remus_track_method tracking;
	struct remus_track *track;
	struct remus_socket_channel agent;
	char name[128];
	/* Where QEMU writes the state: a memfd by way of an fd set, or else a file in run_dir. */
	char state_name[PATH_MAX];
	bool state_is_file;
	int state_fd, state_write_fd;
	uint8_t *state;
	size_t state_room;
};

static struct domain *of(struct remus_domain *base)
{
	return (struct domain *)base;
}

static int command(struct domain *d, const char *name, json_t *arguments, int fd, json_t **reply,
		   struct remus_error *err)
{
	int rc = remus_qmp_execute(d->seen.qmp, name, arguments, fd, COMMAND_MS, reply, err);
	remus_qemu_watch_kick(&d->watch);
	return rc;
}

/* A guest that can't be protected as it is, for whatever reason, is refused: one code for all of them. */
static int refuse(int rc, struct remus_error *err)
{
	if (rc == -EINVAL || rc == -E2BIG || rc == -EFBIG || rc == -ENAMETOOLONG || rc == -ENOENT)
		rc = -ENOTSUP;
	if (err && rc)
		err->code = rc;
	return rc;
}

/* The file where QEMU can't take descriptors. */
static int prepare_state_file(struct domain *d, const char *run_dir, struct remus_error *err)
{
	snprintf(d->state_name, sizeof d->state_name, "%s/state", run_dir);
	d->state_fd = open(d->state_name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->state_fd < 0)
		return remus_fail_errno(err, "open %s, for device state", d->state_name);
	d->state_is_file = true;
	return 0;
}

/*
 * An fd set matches by access mode, so QEMU gets a second, write-only description of the memfd; the copy kept
 * here shares its offset with QEMU's and rewinds it before each save.
 */
static int prepare_state(struct domain *d, const char *run_dir, struct remus_error *err)
{
	char path[64];
	json_t *set = NULL;

	d->state_fd = memfd_create("remus-state", MFD_CLOEXEC);
	snprintf(path, sizeof path, "/proc/self/fd/%d", d->state_fd);
	d->state_write_fd = d->state_fd < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC);
	if (d->state_write_fd < 0)
		return remus_fail_errno(err, "memfd for device state");
	int rc = command(d, "add-fd", NULL, d->state_write_fd, &set, err);
	if (rc == 0)
		snprintf(d->state_name, sizeof d->state_name, "/dev/fdset/%lld",
			 (long long)json_integer_value(json_object_get(set, "fdset-id")));
	json_decref(set);
	if (rc != -EREMOTEIO)
		return rc;
	close(d->state_fd);
	close(d->state_write_fd);
	d->state_fd = d->state_write_fd = -1;
	return prepare_state_file(d, run_dir, err);
}

static void domain_close(struct remus_domain *base)
{
	struct domain *d = of(base);
	if (d->track)
		remus_track_stop(d->track);
	remus_qemu_watch_close(&d->watch);
	remus_socket_channel_close(&d->agent);
	remus_qmp_close(d->seen.qmp);
	remus_qemu_seen_free(&d->seen);
	if (d->state_is_file)
		unlink(d->state_name);
	if (d->state_fd >= 0)
		close(d->state_fd);
	if (d->state_write_fd >= 0)
		close(d->state_write_fd);
	free(d->state);
	free(d);
}

static struct domain *domain_new(const struct remus_domain_config *config)
{
	struct domain *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	d->base.ops = &remus_qemu_domain_ops;
	d->tracking = config->tracking;
	d->seen = (struct remus_qemu_seen)REMUS_QEMU_SEEN_INIT;
	d->state_fd = d->state_write_fd = -1;
	d->watch = REMUS_QEMU_WATCH_INIT;
	return d;
}

static int domain_open(const char *locator, const struct remus_domain_config *config,
		       struct remus_domain **out, struct remus_error *err)
{
	struct domain *d = domain_new(config);
	struct remus_report report = {0};

	if (!d)
		return remus_fail(err, -ENOMEM, "%s: out of memory", locator);
	int rc = remus_qmp_connect(locator, COMMAND_MS, &d->seen.qmp, err);
	if (rc == 0) {
		remus_qemu_examine(&d->seen, locator, &report);
		rc = refuse(remus_report_first(&report, err), err);
	}
	if (rc == 0)
		rc = remus_qemu_watch_open(&d->watch, d->seen.qmp, d->seen.process.pidfd, err);
	if (rc == 0)
		rc = prepare_state(d, config->run_dir, err);
	if (rc) {
		domain_close(&d->base);
		return rc;
	}
	const char *slash = strrchr(locator, '/');
	snprintf(d->name, sizeof d->name, "%s",
		 *d->seen.guest.name ? d->seen.guest.name
		 : slash	     ? slash + 1
				     : locator);
	*out = &d->base;
	return 0;
}

/* A QEMU talks to one QMP client at a time: where this process is that one, its connection is borrowed. */
static void domain_check(const char *locator, const struct remus_domain_config *config,
			 const struct remus_held *held, struct remus_domain_view *out,
			 struct remus_report *report)
{
	struct remus_qemu_seen seen = REMUS_QEMU_SEEN_INIT;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qemu_watch *watch = held->domain	 ? &of(held->domain)->watch
					 : held->standby ? remus_qemu_standby_watch(held->standby)
							 : NULL;

	remus_track_check(config->tracking, report);
	if (watch)
		seen.qmp = watch->qmp;
	else if (remus_qmp_connect(locator, COMMAND_MS, &seen.qmp, &err))
		remus_report_error(report, "guest", NULL, &err);
	if (seen.qmp)
		remus_qemu_examine(&seen, locator, report);
	if (watch)
		remus_qemu_watch_kick(watch); /* what QEMU said meanwhile is its holder's */
	else
		remus_qmp_close(seen.qmp);
	out->description = seen.description;
	seen.description = NULL;
	out->pages = seen.ram.bytes / 4096;
	out->nics = seen.guest.nics;
	memcpy(out->nic, seen.guest.nic, (size_t)seen.guest.nics * sizeof *out->nic);
	remus_qemu_seen_free(&seen);
}

static const char *domain_name(struct remus_domain *base)
{
	return of(base)->name;
}

static uint64_t domain_pages(struct remus_domain *base)
{
	return of(base)->seen.ram.bytes / 4096;
}

static int domain_describe(struct remus_domain *base, char **json, struct remus_error *err)
{
	*json = strdup(of(base)->seen.description);
	return *json ? 0 : remus_fail(err, -ENOMEM, "describing the guest: out of memory");
}

static int domain_nics(struct remus_domain *base, struct remus_nic *out, int max, struct remus_error *err)
{
	struct domain *d = of(base);
	if (d->seen.guest.nics > max)
		return remus_fail(err, -E2BIG, "the guest has %d network interfaces, more than %d",
				  d->seen.guest.nics, max);
	memcpy(out, d->seen.guest.nic, (size_t)d->seen.guest.nics * sizeof *out);
	return d->seen.guest.nics;
}

static int domain_track_start(struct remus_domain *base, struct remus_error *err)
{
	struct domain *d = of(base);
	struct remus_track_target target = {.pid = d->seen.process.pid,
					    .address = d->seen.ram.address,
					    .bytes = d->seen.ram.bytes,
					    .mapping = d->seen.ram.mapping};
	if (d->track)
		return remus_fail(err, -EALREADY, "%s: tracking was started already", d->name);
	return remus_track_start(&target, d->tracking, &d->track, err);
}

static const char *domain_track_name(struct remus_domain *base)
{
	return of(base)->track ? remus_track_name(of(base)->track) : "";
}

static const char *domain_track_note(struct remus_domain *base)
{
	return of(base)->track ? remus_track_note(of(base)->track) : "";
}

static int domain_track_fetch(struct remus_domain *base, uint64_t *dirty, uint64_t *count,
			      struct remus_error *err)
{
	struct domain *d = of(base);
	if (!d->track)
		return remus_fail(err, -EINVAL, "%s: dirty pages fetched before tracking was started",
				  d->name);
	return remus_track_fetch(d->track, dirty, count, err);
}

static void domain_track_stop(struct remus_domain *base)
{
	struct domain *d = of(base);
	if (d->track)
		remus_track_stop(d->track);
	d->track = NULL;
}

static int domain_resume(struct remus_domain *base, struct remus_error *err)
{
	return command(of(base), "cont", NULL, -1, NULL, err);
}

static int domain_pause(struct remus_domain *base, struct remus_error *err)
{
	int rc = command(of(base), "stop", NULL, -1, NULL, err);
	if (rc == -ETIMEDOUT || rc == -EREMOTEIO)
		domain_resume(base, NULL); /* it may have stopped without saying so */
	return rc;
}

/* Take over what QEMU wrote. */
static int read_state(struct domain *d, size_t *bytes, struct remus_error *err)
{
	struct stat st;
	if (fstat(d->state_fd, &st))
		return remus_fail_errno(err, "%s: device state: fstat", d->name);
	size_t size = (size_t)st.st_size;
	if (size == 0 || size > STATE_MAX)
		return remus_fail(err, -EPROTO, "%s: QEMU saved a device state of %zu bytes", d->name, size);
	if (size > d->state_room) {
		uint8_t *bigger = realloc(d->state, size * 2);
		if (!bigger)
			return remus_fail(err, -ENOMEM, "%s: device state of %zu bytes: out of memory",
					  d->name, size);
		d->state = bigger;
		d->state_room = size * 2;
	}
	ssize_t n = pread(d->state_fd, d->state, size, 0);
	if (n != (ssize_t)size)
		return remus_fail(err, -EIO, "%s: device state: %zd of %zu bytes could be read", d->name, n,
				  size);
	*bytes = size;
	return 0;
}

static int domain_save_state(struct remus_domain *base, const uint8_t **out, size_t *bytes,
			     struct remus_error *err)
{
	struct domain *d = of(base);

	if (!d->state_is_file && (lseek(d->state_write_fd, 0, SEEK_SET) || ftruncate(d->state_write_fd, 0)))
		return remus_fail_errno(err, "%s: rewinding the device state", d->name);
	/* live=false of a guest that is stopped already: block devices are left active. */
	json_t *arguments = json_pack("{s:s, s:b}", "filename", d->state_name, "live", 0);
	int rc = command(d, "xen-save-devices-state", arguments, -1, NULL, err);
	if (rc == 0)
		rc = read_state(d, bytes, err);
	if (rc == 0)
		*out = d->state;
	return rc;
}

static int domain_copy(struct remus_domain *base, const uint64_t *pfn, size_t count, void *dst,
		       struct remus_error *err)
{
	struct domain *d = of(base);
	uint64_t pages = d->seen.ram.bytes / 4096;
	uint8_t *to = dst;

	for (size_t i = 0; i < count;) {
		size_t run = 1;
		if (pfn[i] >= pages)
			return remus_fail(err, -EINVAL, "%s: page %llu doesn't exist", d->name,
					  (unsigned long long)pfn[i]);
		while (i + run < count && pfn[i + run] == pfn[i] + run && pfn[i] + run < pages)
			run++;
		memcpy(to + i * 4096, d->seen.ram.mapping + pfn[i] * 4096, run * 4096);
		i += run;
	}
	return 0;
}

static int domain_event_fd(struct remus_domain *base)
{
	return of(base)->watch.epoll;
}

static enum remus_domain_event domain_next_event(struct remus_domain *base, char why[REMUS_TEXT_MAX])
{
	return remus_qemu_watch_next(&of(base)->watch, why);
}

static int domain_destroy(struct remus_domain *base, struct remus_error *err)
{
	struct domain *d = of(base);
	remus_qemu_watch_end(&d->watch);
	int rc = remus_qemu_process_kill(d->seen.process.pidfd, COMMAND_MS, err);
	if (rc)
		remus_error_prefix(err, "%s, pid %d", d->name, (int)d->seen.process.pid);
	return rc;
}

/* The port takes one client: this one comes when it is asked for, and goes with the domain. */
static struct remus_channel *domain_agent(struct remus_domain *base, char why[REMUS_TEXT_MAX])
{
	struct domain *d = of(base);

	if (*d->seen.guest.agent && !d->agent.base.ops)
		remus_socket_channel_open(&d->agent, d->seen.guest.agent);
	if (d->agent.base.ops)
		return &d->agent.base;
	snprintf(why, REMUS_TEXT_MAX, "it has no virtio-serial port " REMUS_AGENT_PORT);
	return NULL;
}

static pid_t domain_pid(struct remus_domain *base)
{
	return of(base)->seen.process.pid;
}

const struct remus_domain_ops remus_qemu_domain_ops = {
	.backend = "qemu",
	.open = domain_open,
	.check = domain_check,
	.name = domain_name,
	.pages = domain_pages,
	.describe = domain_describe,
	.nics = domain_nics,
	.track_start = domain_track_start,
	.track_name = domain_track_name,
	.track_note = domain_track_note,
	.track_fetch = domain_track_fetch,
	.track_stop = domain_track_stop,
	.pause = domain_pause,
	.resume = domain_resume,
	.save_state = domain_save_state,
	.copy = domain_copy,
	.agent = domain_agent,
	.pid = domain_pid,
	.event_fd = domain_event_fd,
	.next_event = domain_next_event,
	.destroy = domain_destroy,
	.close = domain_close,
};
