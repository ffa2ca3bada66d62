/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's side: a QEMU that waits with -incoming defer, its guest memory mapped here and filled page by
 * page, and the device state of the last committed epoch held aside. Activation feeds that state to QEMU as an
 * incoming migration and sees the guest run.
 *
 * No guest instruction runs before activate() (QEMU is in the state "inmigrate" until then), and after a failed
 * activation no QEMU is left: a second try starts a fresh one and gives it the image, which lives on in the
 * mapping here. The image is not used again if a guest may have run on it (I3).
 *
 * The run directory afterwards: qmp.sock, standby (a mark for a supervisor's sweep, until activation), qemu.log, and
 * the guest's sockets and logs. destroy() removes all but the *.log files.
 */
#include "config.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "files.h"
#include "firmware.h"
#include "leftover.h"
#include "process.h"
#include "remus/domain.h"
#include "remus/host.h"
#include "remus/log.h"
#include "remus/renewal.h"
#include "remus/util.h"
#include "standby.h"

static struct remus_qemu_standby *of(struct remus_standby *base)
{
	return (struct remus_qemu_standby *)base;
}

struct remus_qemu_watch *remus_qemu_standby_watch(struct remus_standby *base)
{
	return &of(base)->watch;
}

/* QEMU's version: its saved state is read by the same one only. */
static void check_version(struct remus_qemu_standby *s, const struct remus_qemu_description *d,
			  struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;

	int rc = remus_qemu_find(d->binary, s->program, &err);
	if (rc == 0)
		rc = remus_qemu_ask_version(s->program, s->version, &err);
	if (rc)
		remus_report_error(report, "qemu", NULL, &err);
	else if (strcmp(s->version, d->version))
		remus_report_fatal(report, -EINVAL, "qemu",
				   "install the same version (and restart the guest if it still runs on "
				   "an older one)",
				   "the guest runs on QEMU %s, this host's %s is %s: both must be the same",
				   d->version, s->program, s->version);
	else
		remus_report_ok(report, "qemu", "%s is %s, as the guest's", s->program, s->version);
}

static void check_processor(struct remus_qemu_standby *s, const struct remus_qemu_description *d,
			    struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char cpu[128];

	if (s->guest.kvm && access("/dev/kvm", R_OK | W_OK)) {
		remus_fail_errno(&err, "the guest uses KVM; /dev/kvm of this host");
		remus_report_error(report, "cpu", "let the user that runs remusd use /dev/kvm there", &err);
	}
	remus_qemu_host_cpu(cpu);
	if (*d->cpu && strcmp(d->cpu, cpu))
		remus_report_fatal(report, -EINVAL, "cpu", "give QEMU a -cpu model that both have",
				   "the guest sees its host's processor (%s), this host has another one (%s)",
				   d->cpu, cpu);
}

/* QEMU allocates all of its memory at once. */
static void check_memory(struct remus_qemu_standby *s, const struct remus_qemu_description *d,
			 struct remus_report *report)
{
	if (s->guest.ram_bytes != d->memory)
		remus_report_fatal(report, -EINVAL, "memory", NULL,
				   "the description says %llu bytes of memory, its options %llu",
				   (unsigned long long)d->memory, (unsigned long long)s->guest.ram_bytes);
	else
		remus_host_check_memory(d->memory, "the guest", REMUS_FINDING_FATAL, report);
}

/* All that can be known before a QEMU is started. Fills in what the start needs. */
static void examine(struct remus_qemu_standby *s, const char *text, struct remus_report *report)
{
	struct remus_qemu_how how = {.run_dir = s->run_dir, .name = s->name};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qemu_description d;

	if (remus_qemu_description_parse(text, &d, &err)) {
		remus_report_error(report, "guest", NULL, &err);
		return;
	}
	remus_qemu_options_check(d.argv, d.argc, &how, &s->guest, report);
	check_version(s, &d, report);
	if (s->guest.ram_bytes) { /* the options were understood */
		check_processor(s, &d, report);
		check_memory(s, &d, report);
		if (remus_qemu_firmware_find(&s->guest, d.firmware_size, d.firmware_hash, s->firmware, &err))
			remus_report_error(report, "firmware", NULL, &err);
		remus_qemu_description_check_files(&d, &s->guest, report);
	}
	s->firmware_patch = strdup(d.firmware_patch);
	if (!s->firmware_patch)
		remus_report_fatal(report, -ENOMEM, "memory", NULL, "standby %s: out of memory", s->name);
	remus_qemu_description_free(&d);
}

static struct remus_qemu_standby *standby_new(const struct remus_standby_config *config)
{
	struct remus_qemu_standby *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->base.ops = &remus_qemu_standby_ops;
	s->child.pidfd = -1;
	s->watch = REMUS_QEMU_WATCH_INIT;
	s->run_dir = strdup(config->run_dir);
	s->name = strdup(config->name);
	s->mortal = config->mortal;
	return s;
}

static void standby_destroy(struct remus_standby *base)
{
	remus_qemu_standby_stop(of(base));
	remus_qemu_standby_sweep(of(base));
}

static void standby_close(struct remus_standby *base)
{
	struct remus_qemu_standby *s = of(base);
	if (!s->activated)
		standby_destroy(base);
	remus_qemu_watch_close(&s->watch);
	remus_socket_channel_close(&s->agent);
	remus_qmp_close(s->qmp); /* a protector of the activated guest can connect now */
	if (s->child.pidfd >= 0)
		remus_qemu_reap(&s->child);
	remus_qemu_ram_unmap(&s->ram);
	remus_qemu_guest_free(&s->guest);
	free(s->state);
	free(s->firmware_patch);
	free(s->run_dir);
	free(s->name);
	free(s);
}

static void standby_check(const char *description, const struct remus_standby_config *config,
			  struct remus_nic nic[REMUS_NICS_MAX], int *nics, struct remus_report *report)
{
	struct remus_qemu_standby *s = standby_new(config);

	*nics = 0;
	if (!s || !s->run_dir || !s->name) {
		remus_report_fatal(report, -ENOMEM, "memory", NULL, "standby of %s: out of memory",
				   config->name);
	} else {
		examine(s, description, report);
		*nics = s->guest.nics;
		memcpy(nic, s->guest.nic, (size_t)*nics * sizeof *nic);
	}
	if (s)
		standby_close(&s->base);
}

static int standby_create(const char *description, const struct remus_standby_config *config,
			  struct remus_standby **out, struct remus_error *err)
{
	struct remus_qemu_standby *s = standby_new(config);
	struct remus_report report = {0};
	int rc = 0;

	if (!s || !s->run_dir || !s->name)
		rc = remus_fail(err, -ENOMEM, "standby of %s: out of memory", config->name);
	if (rc == 0) {
		examine(s, description, &report);
		rc = remus_report_first(&report, err);
	}
	if (rc == 0)
		rc = remus_qemu_standby_start(s, err);
	if (rc == 0) {
		snprintf(s->locator, sizeof s->locator, "qemu:%s/qmp.sock", s->run_dir);
		*out = &s->base;
		return 0;
	}
	if (s)
		standby_close(&s->base);
	return rc;
}

static uint64_t standby_pages(struct remus_standby *base)
{
	return of(base)->guest.ram_bytes / 4096;
}

static uint8_t *standby_page(struct remus_standby *base, uint64_t pfn)
{
	return of(base)->ram.mapping + pfn * 4096;
}

static int standby_commit(struct remus_standby *base, uint64_t epoch, const uint8_t *state, size_t bytes,
			  struct remus_error *err)
{
	struct remus_qemu_standby *s = of(base);

	if (s->activated)
		return remus_fail(err, -EINVAL,
				  "standby %s: it is active, so epoch %llu can't be committed to it", s->name,
				  (unsigned long long)epoch);
	if (bytes == 0 || bytes > REMUS_QEMU_STATE_MAX)
		return remus_fail(err, -EINVAL, "standby %s: epoch %llu: a device state of %zu bytes",
				  s->name, (unsigned long long)epoch, bytes);
	if (bytes > s->state_room) {
		uint8_t *bigger = realloc(s->state, bytes * 2);
		if (!bigger)
			return remus_fail(err, -ENOMEM,
					  "standby %s: device state of %zu bytes: out of memory", s->name,
					  bytes);
		s->state = bigger;
		s->state_room = bytes * 2;
	}
	memcpy(s->state, state, bytes);
	s->state_bytes = bytes;
	s->epoch = epoch;
	return 0;
}

static int standby_copy_into(struct remus_standby *base, struct remus_standby *copy, uint64_t *epoch,
			     struct remus_error *err)
{
	struct remus_qemu_standby *s = of(base);

	if (!s->state_bytes || s->activated || s->tainted)
		return remus_fail(err, -ENODATA, "no epoch is committed");
	*epoch = s->epoch;
	return remus_standby_copy_image(base, copy, s->epoch, s->state, s->state_bytes, err);
}

/* Hand the state to QEMU through a socket pair. QEMU reads while this writes: any size will do. */
static int send_state(struct remus_qemu_standby *s, int to, uint64_t end_us, struct remus_error *err)
{
	size_t done = 0;
	while (done < s->state_bytes) {
		ssize_t n = send(to, s->state + done, s->state_bytes - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return remus_fail_errno(err, "standby %s: feeding the device state to QEMU", s->name);
		uint64_t now = remus_now_us();
		struct pollfd p = {.fd = to, .events = POLLOUT};
		if (now >= end_us || poll(&p, 1, (int)((end_us - now) / 1000) + 1) <= 0)
			return remus_fail(err, -ETIMEDOUT, "standby %s: QEMU doesn't take the device state",
					  s->name);
	}
	return 0;
}

static int await_running(struct remus_qemu_standby *s, uint64_t resumes, uint64_t end_us,
			 struct remus_error *err)
{
	while (remus_qmp_resumes(s->qmp) == resumes) {
		uint64_t now = remus_now_us();
		struct pollfd p = {.fd = remus_qmp_fd(s->qmp), .events = POLLIN};
		if (now >= end_us || poll(&p, 1, (int)((end_us - now) / 1000) + 1) == 0)
			return remus_fail(err, -ETIMEDOUT,
					  "standby %s: the guest doesn't run within %d ms of getting its "
					  "state",
					  s->name, REMUS_QEMU_ACTIVATE_MS);
		int rc = remus_qmp_pump(s->qmp, err);
		if (rc && remus_qmp_resumes(s->qmp) == resumes)
			return rc;
	}
	return 0;
}

static int load(struct remus_qemu_standby *s, struct remus_error *err)
{
	uint64_t end = remus_now_us() + REMUS_QEMU_ACTIVATE_MS * 1000u, resumes = remus_qmp_resumes(s->qmp);
	int ends[2];

	s->fed = false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return remus_fail_errno(err, "standby %s: socketpair", s->name);
	int rc = remus_qemu_standby_command(s, "getfd", json_pack("{s:s}", "fdname", "remus"), ends[1], err);
	close(ends[1]);
	s->fed = rc == 0;
	if (rc == 0)
		rc = remus_qemu_standby_command(s, "migrate-incoming", json_pack("{s:s}", "uri", "fd:remus"),
						-1, err);
	if (rc == 0)
		rc = send_state(s, ends[0], end, err);
	close(ends[0]);
	return rc ? rc : await_running(s, resumes, end, err);
}

static int standby_activate(struct remus_standby *base, struct remus_error *err)
{
	struct remus_qemu_standby *s = of(base);
	struct remus_error why = REMUS_ERROR_INIT;

	if (s->activated)
		return 0;
	if (!s->state_bytes || !s->ram.mapping)
		return remus_fail(err, -EINVAL,
				  "standby %s: no epoch was committed, so there is nothing to run", s->name);
	if (s->tainted)
		return remus_fail(err, -EIO,
				  "standby %s: an earlier activation may have run on its memory: it can't be "
				  "tried again",
				  s->name);
	int rc = remus_qemu_standby_alive(s) ? 0 : remus_qemu_standby_restart(s, &why);
	if (rc == 0) {
		rc = load(s, &why);
		/* A QEMU that got no state, or ended by itself before RESUME, has run nothing; others may have. */
		if (rc && s->fed)
			s->tainted = !remus_qemu_standby_gave_up(s, &why);
	}
	if (rc) {
		remus_qemu_standby_stop(s);
		return remus_fail(err, rc, "activating %s at epoch %llu: %s", s->name,
				  (unsigned long long)s->epoch, why.message);
	}
	s->activated = true;
	remus_qemu_leftover_unmark(s->run_dir);
	rc = remus_qemu_standby_command(
		s, "announce-self",
		json_pack("{s:i, s:i, s:i, s:i}", "initial", 50, "max", 550, "rounds", 5, "step", 100), -1,
		&why);
	if (rc)
		remus_warn("%s runs, but wasn't announced to the network: %s", s->name, why.message);
	return 0;
}

static int standby_nics(struct remus_standby *base, struct remus_nic *out, int max, struct remus_error *err)
{
	struct remus_qemu_standby *s = of(base);
	if (s->guest.nics > max)
		return remus_fail(err, -E2BIG, "the guest has %d network interfaces, more than %d",
				  s->guest.nics, max);
	memcpy(out, s->guest.nic, (size_t)s->guest.nics * sizeof *out);
	return s->guest.nics;
}

static const char *standby_locator(struct remus_standby *base)
{
	return of(base)->locator;
}

static struct remus_channel *standby_agent(struct remus_standby *base, char why[REMUS_TEXT_MAX])
{
	struct remus_qemu_standby *s = of(base);

	if (s->agent.base.ops)
		return &s->agent.base;
	snprintf(why, REMUS_TEXT_MAX, "it has no virtio-serial port " REMUS_AGENT_PORT);
	return NULL;
}

static pid_t standby_pid(struct remus_standby *base)
{
	return of(base)->child.pid;
}

static int standby_event_fd(struct remus_standby *base)
{
	return of(base)->watch.epoll;
}

static enum remus_domain_event standby_next_event(struct remus_standby *base, char why[REMUS_TEXT_MAX])
{
	return remus_qemu_watch_next(&of(base)->watch, why);
}

const struct remus_standby_ops remus_qemu_standby_ops = {
	.backend = "qemu",
	.check = standby_check,
	.create = standby_create,
	.pages = standby_pages,
	.page = standby_page,
	.commit = standby_commit,
	.copy_into = standby_copy_into,
	.activate = standby_activate,
	.sweep = remus_qemu_leftover_sweep,
	.nics = standby_nics,
	.locator = standby_locator,
	.agent = standby_agent,
	.pid = standby_pid,
	.event_fd = standby_event_fd,
	.next_event = standby_next_event,
	.destroy = standby_destroy,
	.close = standby_close,
};
