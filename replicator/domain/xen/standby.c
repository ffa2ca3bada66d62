/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's side on Xen: a shadow of the guest's memory here, and a keeper (keeper.h) in which libxl builds
 * the domain from a migration stream that we make up: memory as it comes during the full copy, then one
 * complete epoch after the other. So lack of memory, an unknown configuration or processor show at protect time,
 * and activation only has to end the stream.
 *
 * Nothing runs before activate(). What is run is the last epoch given to commit(): only complete epochs are
 * fed, libxl keeps each back until its CHECKPOINT (I3), and the shadow with the last state is as good: when the
 * domain is lost before or in activation, a new one is built from it, once per call.
 *
 * Run directory: domain.json (libxl's configuration), xen.log (the keeper's and libxl's words).
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent.h"
#include "description.h"
#include "handles.h"
#include "keeper.h"
#include "leftover.h"
#include "libxl_wait.h"
#include "preflight.h"
#include "pvfeed.h"
#include "records.h"
#include "remus/domain.h"
#include "remus/log.h"
#include "remus/util.h"
#include "shadow.h"
#include "space.h"
#include "state.h"
#include "wallclock.h"

#define EARLY_PAGES 4096u /* of the first copy, sent ahead of the first commit: 16 MiB */
#define FEED_MS	    20000 /* without libxl taking a byte */
#define DOMID_MS    20000 /* hotplug scripts included, which take 2 s on a slow machine */
#define ACTIVATE_MS 70000 /* a little more than the keeper's own */
#define STOP_MS	    12000

struct standby {
	struct remus_standby base;
	struct remus_xen_description description;
	struct remus_xen_keeper keeper;
	struct remus_xen_shadow shadow;
	struct remus_xen_pvfeed pv;   /* of a PV guest */
	struct remus_xen_buffer head; /* record heads being built */
	uint8_t *state;		      /* of the last commit */
	size_t state_bytes;
	uint64_t epoch;
	uint32_t domid;
	bool broken; /* the domain is lost; the shadow isn't */
	bool activated, over;
	struct remus_xen_wallclock wallclock; /* as set_time() chose it */
	struct remus_error early;	      /* why feeding ahead failed, for commit() to tell */
	struct remus_xen_agent agent;	      /* of the activated guest */
	char *run_dir;
	char name[REMUS_XEN_NAME_MAX + 16], locator[REMUS_XEN_NAME_MAX + 8];
};

static struct standby *of(struct remus_standby *base)
{
	return (struct standby *)base;
}

/* ---- the domain on this host ---- */

/* Is it there, and does it run? A keeper that died leaves it in whatever state it was. */
static bool domain_there(const struct standby *s, bool *runs)
{
	return remus_xen_leftover_there(s->domid, s->name, s->description.name, runs);
}

/* End the keeper and see that nothing of the domain is left. */
static void end_domain(struct standby *s)
{
	struct remus_error err = REMUS_ERROR_INIT;
	bool runs;

	remus_xen_keeper_stop(&s->keeper, STOP_MS);
	if (domain_there(s, &runs) && remus_xen_libxl_destroy(s->domid, STOP_MS, &err) < 0)
		remus_error_log("%s: %s", s->name, err.message);
	s->domid = 0;
}

/* ---- feeding ---- */

static int feed_head(struct standby *s, struct remus_error *err)
{
	struct iovec iov = {.iov_base = s->head.data, .iov_len = s->head.bytes};
	int rc = s->head.failed ? remus_fail(err, -ENOMEM, "%s: no memory for its stream", s->name)
				: remus_xen_keeper_feed(&s->keeper, &iov, 1, FEED_MS, err);
	remus_xen_buffer_reset(&s->head);
	return rc;
}

static bool is_pv(const struct standby *s)
{
	return s->description.type == REMUS_XEN_PV;
}

static int emit(void *context, struct iovec *iov, int parts, struct remus_error *err)
{
	struct standby *s = context;
	return remus_xen_keeper_feed(&s->keeper, iov, parts, FEED_MS, err);
}

/* Everything touched, as PAGE_DATA records straight from the shadow. */
static int feed_pages(struct standby *s, struct remus_error *err)
{
	static uint64_t pfn[REMUS_XEN_STREAM_BATCH];
	static struct iovec iov[REMUS_XEN_STREAM_BATCH + 1];
	uint64_t cursor = 0;
	size_t n;

	if (is_pv(s))
		return remus_xen_pvfeed_pages(&s->pv, &s->shadow, emit, s, err);
	while ((n = remus_xen_shadow_take(&s->shadow, &cursor, pfn, REMUS_XEN_STREAM_BATCH))) {
		remus_xen_buffer_reset(&s->head);
		remus_xen_stream_pages(&s->head, pfn, (unsigned)n);
		if (s->head.failed)
			return remus_fail(err, -ENOMEM, "%s: no memory for its stream", s->name);
		iov[0] = (struct iovec){.iov_base = s->head.data, .iov_len = s->head.bytes};
		for (size_t i = 0; i < n; i++)
			iov[i + 1] =
				(struct iovec){.iov_base = s->shadow.memory + pfn[i] * 4096, .iov_len = 4096};
		int rc = remus_xen_keeper_feed(&s->keeper, iov, (int)n + 1, FEED_MS, err);
		if (rc < 0)
			return rc;
	}
	remus_xen_buffer_reset(&s->head);
	return 0;
}

/* Is it the state of such a guest? *@out points into it and to @params; of a PV guest it is fed as it is. */
static int check_state(const struct standby *s, const uint8_t *state, size_t bytes,
		       struct remus_xen_state *out, struct remus_xen_param *params, struct remus_error *err)
{
	if (is_pv(s))
		return remus_xen_records_check_state(state, bytes, s->description.width, err);
	return remus_xen_state_decode(state, bytes, out, params, err);
}

static int feed_epoch(struct standby *s, struct remus_error *err)
{
	struct remus_xen_param params[REMUS_XEN_PARAMS_MAX];
	struct remus_xen_state state;
	int rc = check_state(s, s->state, s->state_bytes, &state, params, err);

	if (rc == 0)
		rc = feed_pages(s, err);
	if (rc < 0)
		return rc;
	if (is_pv(s))
		remus_xen_buffer_add(&s->head, s->state, s->state_bytes);
	else
		remus_xen_stream_state(&s->head, &state);
	remus_xen_stream_checkpoint(&s->head);
	return feed_head(s, err);
}

/* ---- building ---- */

static int write_config(struct standby *s, char path[4096], struct remus_error *err)
{
	snprintf(path, 4096, "%s/domain.json", s->run_dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t length = strlen(s->description.config);

	if (fd < 0 || write(fd, s->description.config, length) != (ssize_t)length) {
		remus_fail_errno(err, "%s", path);
		if (fd >= 0)
			close(fd);
		return -EIO;
	}
	close(fd);
	return 0;
}

static int await_domid(struct standby *s, struct remus_error *err)
{
	char text[REMUS_XEN_KEEPER_MESSAGE];
	int rc = remus_xen_keeper_hear(&s->keeper, DOMID_MS, text);

	if (rc == 1 && sscanf(text, "domid %u", &s->domid) == 1)
		return remus_xen_leftover_mark(s->run_dir, s->domid, s->name, err);
	if (rc == 1)
		return remus_fail(err, -EIO, "%s can't be built: %s", s->name, text);
	return remus_fail(err, rc ? rc : -ETIMEDOUT, "%s was not built %s; see %s/xen.log", s->name,
			  rc ? "(its keeper died)" : "in time", s->run_dir);
}

/* A keeper with an empty domain, and the head of its stream. */
static int build(struct standby *s, struct remus_error *err)
{
	const struct remus_xen_description *d = &s->description;
	char config[4096], log_path[4096];
	int rc = write_config(s, config, err);

	snprintf(log_path, sizeof log_path, "%s/xen.log", s->run_dir);
	if (rc == 0)
		rc = remus_xen_keeper_start(&s->keeper, s->name, config, log_path, err);
	if (rc < 0)
		return rc;
	remus_xen_buffer_reset(&s->head);
	remus_xen_stream_begin(&s->head,
			       &(struct remus_xen_stream_static){.guest = is_pv(s) ? REMUS_XEN_STREAM_PV
										   : REMUS_XEN_STREAM_HVM,
								 .width = d->width,
								 .xen_major = d->major,
								 .xen_minor = d->minor,
								 .cpuid = d->cpuid,
								 .cpuid_bytes = d->cpuid_bytes,
								 .msr = d->msr,
								 .msr_bytes = d->msr_bytes});
	if (is_pv(s))
		remus_xen_pvfeed_restart(&s->pv);
	rc = feed_head(s, err);
	if (rc == 0)
		rc = await_domid(s, err);
	s->broken = rc < 0;
	if (rc < 0)
		end_domain(s);
	return rc;
}

/* Another domain, from the shadow: exactly the last committed epoch. */
static int rebuild(struct standby *s, struct remus_error *err)
{
	end_domain(s);
	remus_warn("%s: the standby domain is lost; another is built from the copy of its memory", s->name);
	int rc = build(s, err);
	remus_xen_shadow_touch_all(&s->shadow);
	if (rc == 0)
		rc = feed_epoch(s, err);
	s->broken = rc < 0;
	return rc;
}

/* ---- operations ---- */

static void standby_destroy(struct remus_standby *base)
{
	struct standby *s = of(base);

	if (s->activated && !s->over)
		remus_xen_keeper_tell(&s->keeper, "destroy", NULL);
	end_domain(s);
	s->over = true;
}

static void standby_close(struct remus_standby *base)
{
	struct standby *s = of(base);

	if (s->activated)
		remus_xen_keeper_release(&s->keeper);
	else
		standby_destroy(base);
	remus_xen_agent_close(&s->agent);
	remus_xen_shadow_destroy(&s->shadow);
	remus_xen_pvfeed_destroy(&s->pv);
	remus_xen_buffer_free(&s->head);
	remus_xen_description_free(&s->description);
	free(s->state);
	free(s->run_dir);
	free(s);
}

/* What create() checks before it builds anything. Fills in the names. */
static void examine(struct standby *s, const char *description, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (remus_xen_description_parse(description, &s->description, &err) < 0) {
		remus_report_error(report, "guest", NULL, &err);
		return;
	}
	snprintf(s->name, sizeof s->name, "%s--incoming", s->description.name);
	snprintf(s->locator, sizeof s->locator, "xen:%s", s->description.name);
	remus_xen_preflight(&s->description, s->name, report);
}

static void standby_check(const char *description, const struct remus_standby_config *config,
			  struct remus_nic nic[REMUS_NICS_MAX], int *nics, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct standby s = {0};

	(void)config;
	*nics = 0;
	examine(&s, description, report);
	if (!s.description.config)
		return;
	int n = remus_xen_description_nics(&s.description, 0, nic, REMUS_NICS_MAX, &err);
	if (n < 0)
		remus_report_error(report, "network", NULL, &err);
	for (int i = 0; i < n; i++)
		nic[i].interface[0] = 0; /* it comes with the guest */
	*nics = n < 0 ? 0 : n;
	remus_xen_description_free(&s.description);
}

/* What works, but somebody should know. */
static void tell_warnings(const struct remus_report *report)
{
	for (uint32_t i = 0; i < report->count; i++)
		if (report->list[i].severity == REMUS_FINDING_WARNING)
			remus_warn("%s; %s", report->list[i].what, report->list[i].remedy);
}

static int standby_create(const char *description, const struct remus_standby_config *config,
			  struct remus_standby **out, struct remus_error *err)
{
	struct standby *s = calloc(1, sizeof *s);
	struct remus_report report = {0};

	if (!s)
		return remus_fail(err, -ENOMEM, "standby of %s: out of memory", config->name);
	s->base.ops = &remus_xen_standby_ops;
	s->keeper = (struct remus_xen_keeper)REMUS_XEN_KEEPER_INIT;
	s->run_dir = strdup(config->run_dir);
	int rc = s->run_dir ? 0 : remus_fail(err, -ENOMEM, "standby of %s: out of memory", config->name);
	if (rc == 0) {
		examine(s, description, &report);
		rc = remus_report_first(&report, err);
		tell_warnings(&report);
	}
	uint64_t pages = s->description.pages;
	if (rc == 0)
		rc = remus_xen_shadow_create(&s->shadow, is_pv(s) ? remus_xen_space_size(pages) : pages, err);
	if (rc == 0 && is_pv(s))
		rc = remus_xen_pvfeed_create(&s->pv, pages, s->description.width, err);
	if (rc == 0)
		rc = build(s, err);
	if (rc < 0) {
		standby_close(&s->base);
		return rc;
	}
	*out = &s->base;
	return 0;
}

static uint64_t standby_pages(struct remus_standby *base)
{
	return of(base)->shadow.pages;
}

/* Before the first commit libxl applies pages as they come: those written until now may go. The one asked for
 * is written after we return, so it stays for the next time. */
static uint8_t *standby_page(struct remus_standby *base, uint64_t pfn)
{
	struct standby *s = of(base);

	if (!s->epoch && !s->broken && s->shadow.touched_count >= EARLY_PAGES && feed_pages(s, &s->early) < 0)
		s->broken = true;
	return remus_xen_shadow_page(&s->shadow, pfn);
}

static int standby_commit(struct remus_standby *base, uint64_t epoch, const uint8_t *state, size_t bytes,
			  struct remus_error *err)
{
	struct standby *s = of(base);
	struct remus_xen_param params[REMUS_XEN_PARAMS_MAX];
	struct remus_xen_state decoded;
	struct remus_error why = s->early;
	int rc = check_state(s, state, bytes, &decoded, params, err);

	if (rc < 0)
		return remus_error_prefix(err, "epoch %llu", (unsigned long long)epoch), rc;
	uint8_t *copy = realloc(s->state, bytes);
	if (!copy)
		return remus_fail(err, -ENOMEM, "epoch %llu: no memory for %zu bytes of state",
				  (unsigned long long)epoch, bytes);
	memcpy(copy, state, bytes);
	s->state = copy;
	s->state_bytes = bytes;
	s->epoch = epoch; /* the shadow holds it, whatever becomes of the domain */
	if (!s->broken && feed_epoch(s, &why) < 0)
		s->broken = true;
	if (!s->broken)
		return 0;
	remus_warn("%s: epoch %llu: %s", s->name, (unsigned long long)epoch, why.message);
	return rebuild(s, err);
}

/* Tell the keeper, and wait for its word. */
static int run(struct standby *s, struct remus_error *err)
{
	uint64_t until = remus_now_us() + ACTIVATE_MS * 1000u;
	char text[REMUS_XEN_KEEPER_MESSAGE];

	snprintf(text, sizeof text, "activate %s", s->description.name);
	int rc = remus_xen_keeper_tell(&s->keeper, text, err);
	while (rc == 0) {
		uint64_t now = remus_now_us();
		int heard = now >= until ? 0
					 : remus_xen_keeper_hear(&s->keeper, (int)((until - now) / 1000) + 1,
								 text);
		if (heard == 1 && !strcmp(text, "running"))
			return 0;
		if (heard == 1 && strncmp(text, "failed", 6))
			continue;
		rc = remus_fail(err, heard < 0 ? heard : -EIO, "%s can't be run: %s", s->name,
				heard == 1 ? text
				: heard	   ? "its keeper died; see xen.log"
					   : "libxl did not finish in time");
	}
	return rc;
}

/* Linux tells xenstore when it boots, and not again on another host. Without it the guest could not be protected from
 * here: it was protected there, so it can. */
static void say_suspendable(const struct standby *s)
{
	struct remus_xen_handles xen;
	char path[64];

	snprintf(path, sizeof path, "/local/domain/%u/control/feature-suspend", s->domid);
	if (remus_xen_open(&xen, NULL) < 0)
		return;
	if (!xs_write(xen.xs, XBT_NULL, path, "1", 1))
		remus_warn("xenstore: %s can't be written: %s can't be protected from here", path,
			   s->description.name);
	remus_xen_close(&xen);
}

static int standby_set_time(struct remus_standby *base, const struct remus_truth *truth,
			    const struct remus_guest_clock *guest, struct remus_error *err)
{
	struct standby *s = of(base);

	return remus_xen_wallclock_choose(&s->wallclock, s->description.name, truth, guest, err);
}

static int standby_activate(struct remus_standby *base, struct remus_error *err)
{
	struct standby *s = of(base);
	bool runs = false;
	int rc = 0;

	if (!s->epoch)
		return remus_fail(err, -ENODATA, "%s: no epoch is complete, there is nothing to run",
				  s->name);
	if (s->activated)
		return 0;
	if (s->broken)
		rc = rebuild(s, err);
	if (rc == 0)
		remus_xen_wallclock_apply(&s->wallclock, s->domid, s->description.name);
	if (rc == 0)
		rc = run(s, err);
	if (rc < 0 && !s->broken && domain_there(s, &runs) && runs) {
		remus_warn("%s: it runs, but its keeper died: nobody acts on its shutdown or reboot",
			   s->name);
		rc = 0;
	}
	if (rc < 0) {
		end_domain(s); /* nothing of it is left; the shadow is */
		s->broken = true;
		return rc;
	}
	s->activated = true;
	remus_xen_leftover_unmark(s->run_dir);
	say_suspendable(s);
	return 0;
}

static int standby_nics(struct remus_standby *base, struct remus_nic *out, int max, struct remus_error *err)
{
	return remus_xen_description_nics(&of(base)->description, of(base)->domid, out, max, err);
}

static const char *standby_locator(struct remus_standby *base)
{
	return of(base)->activated ? of(base)->locator : "";
}

/* Its directory in xenstore is of the domain that runs: another one was perhaps built in between. */
static struct remus_channel *standby_agent(struct remus_standby *base, char why[REMUS_TEXT_MAX])
{
	struct standby *s = of(base);

	if (s->activated)
		return remus_xen_agent_open(&s->agent, s->domid, why);
	*why = 0; /* once it runs there is */
	return NULL;
}

/* None: a keeper whose receiver died takes its domain down itself, which nobody can once it is killed. */
static pid_t standby_pid(struct remus_standby *base)
{
	(void)base;
	return 0;
}

static int standby_event_fd(struct remus_standby *base)
{
	return of(base)->keeper.helper.talk;
}

static enum remus_domain_event standby_next_event(struct remus_standby *base, char why[REMUS_TEXT_MAX])
{
	struct standby *s = of(base);
	char text[REMUS_XEN_KEEPER_MESSAGE];

	if (s->over || s->keeper.helper.talk < 0)
		return REMUS_DOMAIN_NONE;
	int heard = remus_xen_keeper_hear(&s->keeper, 0, text);
	if (heard == 0)
		return REMUS_DOMAIN_NONE;
	if (heard == 1 && !strncmp(text, "ended shutdown ", 15)) {
		s->over = true;
		snprintf(why, REMUS_TEXT_MAX, "%s", text + 15);
		return REMUS_DOMAIN_SHUTDOWN;
	}
	if (s->activated) {
		if (heard < 0) {
			remus_warn("%s: its keeper died: nobody acts on its shutdown or reboot now", s->name);
			remus_xen_close_fd(&s->keeper.helper.talk);
		}
		return REMUS_DOMAIN_NONE;
	}
	snprintf(why, REMUS_TEXT_MAX, "%s", heard == 1 ? text : "the standby domain's keeper died");
	remus_fail(&s->early, -EPIPE, "%s", why);
	s->broken = true;
	end_domain(s);
	return s->epoch ? REMUS_DOMAIN_NONE : REMUS_DOMAIN_LOST; /* commit() or activate() build another */
}

const struct remus_standby_ops remus_xen_standby_ops = {
	.backend = "xen",
	.check = standby_check,
	.create = standby_create,
	.pages = standby_pages,
	.page = standby_page,
	.commit = standby_commit,
	.set_time = standby_set_time,
	.activate = standby_activate,
	.nics = standby_nics,
	.locator = standby_locator,
	.agent = standby_agent,
	.pid = standby_pid,
	.event_fd = standby_event_fd,
	.next_event = standby_next_event,
	.destroy = standby_destroy,
	.close = standby_close,
	.sweep = remus_xen_leftover_sweep,
};
