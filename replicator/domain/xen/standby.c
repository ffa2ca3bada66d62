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

#include "standby.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handles.h"
#include "leftover.h"
#include "preflight.h"
#include "remus/log.h"
#include "space.h"

#define EARLY_PAGES 4096u /* of the first copy, sent ahead of the first commit: 16 MiB */

static struct remus_xen_standby *of(struct remus_standby *base)
{
	return remus_xen_standby_of(base);
}

/* ---- operations ---- */

static void standby_destroy(struct remus_standby *base)
{
	struct remus_xen_standby *s = of(base);

	if (s->is_copy) {
		remus_xen_copy_halt(s);
		remus_xen_copy_listen(s);
	}
	if (s->activated && !s->over)
		remus_xen_keeper_tell(&s->keeper, "destroy", NULL);
	remus_xen_standby_end(s);
	s->over = true;
}

static void standby_close(struct remus_standby *base)
{
	struct remus_xen_standby *s = of(base);

	if (s->activated && !s->is_copy)
		remus_xen_keeper_release(&s->keeper);
	else
		standby_destroy(base);
	remus_xen_copy_close(s);
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
static void examine(struct remus_xen_standby *s, const char *description, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (remus_xen_description_parse(description, &s->description, &err) < 0) {
		remus_report_error(report, "guest", NULL, &err);
		return;
	}
	snprintf(s->name, sizeof s->name, "%s--%s", s->description.name, s->is_copy ? "drill" : "incoming");
	snprintf(s->final, sizeof s->final, "%s", s->is_copy ? s->name : s->description.name);
	snprintf(s->locator, sizeof s->locator, "xen:%s", s->description.name);
	if (s->is_copy && remus_xen_copy_isolate(s, &err) < 0)
		remus_report_error(report, "guest", NULL, &err);
	remus_xen_preflight(&s->description, s->name, s->is_copy, report);
}

static void standby_check(const char *description, const struct remus_standby_config *config,
			  struct remus_nic nic[REMUS_NICS_MAX], int *nics, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_xen_standby s = {0};

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
	struct remus_xen_standby *s = calloc(1, sizeof *s);
	struct remus_report report = {0};

	if (!s)
		return remus_fail(err, -ENOMEM, "standby of %s: out of memory", config->name);
	s->base.ops = &remus_xen_standby_ops;
	s->keeper = (struct remus_xen_keeper)REMUS_XEN_KEEPER_INIT;
	s->keeper.given_up = config->given_up;
	s->is_copy = config->mortal;
	s->copy.console = s->copy.kept = -1;
	s->run_dir = strdup(config->run_dir);
	int rc = s->run_dir ? 0 : remus_fail(err, -ENOMEM, "standby of %s: out of memory", config->name);
	if (rc == 0) {
		examine(s, description, &report);
		rc = remus_report_first(&report, err);
		tell_warnings(&report);
	}
	uint64_t pages = s->description.pages;
	if (rc == 0)
		rc = remus_xen_shadow_create(
			&s->shadow, remus_xen_standby_is_pv(s) ? remus_xen_space_size(pages) : pages, err);
	if (rc == 0 && remus_xen_standby_is_pv(s))
		rc = remus_xen_pvfeed_create(&s->pv, pages, s->description.width, err);
	if (rc == 0)
		rc = remus_xen_standby_build(s, err);
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
	struct remus_xen_standby *s = of(base);

	if (!s->epoch && !s->broken && s->shadow.touched_count >= EARLY_PAGES &&
	    remus_xen_standby_feed_pages(s, &s->early) < 0)
		s->broken = true;
	return remus_xen_shadow_page(&s->shadow, pfn);
}

static int standby_commit(struct remus_standby *base, uint64_t epoch, const uint8_t *state, size_t bytes,
			  struct remus_error *err)
{
	struct remus_xen_standby *s = of(base);
	struct remus_xen_param params[REMUS_XEN_PARAMS_MAX];
	struct remus_xen_state decoded;
	struct remus_error why = s->early;
	int rc = remus_xen_standby_check_state(s, state, bytes, &decoded, params, err);

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
	if (!s->broken && remus_xen_standby_feed_epoch(s, &why) < 0)
		s->broken = true;
	if (!s->broken)
		return 0;
	remus_warn("%s: epoch %llu: %s", s->name, (unsigned long long)epoch, why.message);
	return remus_xen_standby_rebuild(s, err);
}

/* Linux tells xenstore when it boots, and not again on another host. Without it the guest could not be protected from
 * here: it was protected there, so it can. */
static void say_suspendable(const struct remus_xen_standby *s)
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
	struct remus_xen_standby *s = of(base);

	return remus_xen_wallclock_choose(&s->wallclock, s->description.name, truth, guest, err);
}

static int standby_activate(struct remus_standby *base, struct remus_error *err)
{
	struct remus_xen_standby *s = of(base);
	bool runs = false;
	int rc = 0;

	if (!s->epoch)
		return remus_fail(err, -ENODATA, "%s: no epoch is complete, there is nothing to run",
				  s->name);
	if (s->activated)
		return 0;
	if (s->is_copy)
		rc = remus_xen_copy_feed(s, err);
	else if (s->broken)
		rc = remus_xen_standby_rebuild(s, err);
	if (rc == 0)
		remus_xen_wallclock_apply(&s->wallclock, s->domid, s->description.name);
	if (rc == 0)
		rc = remus_xen_standby_run(s, err);
	if (rc < 0 && !s->broken && !s->is_copy && remus_xen_standby_there(s, &runs) && runs) {
		remus_warn("%s: it runs, but its keeper died: nobody acts on its shutdown or reboot",
			   s->name);
		rc = 0;
	}
	if (rc < 0) {
		remus_xen_standby_end(s); /* nothing of it is left; the shadow is */
		s->broken = true;
		return rc;
	}
	s->activated = true;
	if (s->is_copy)
		return 0;
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
	struct remus_xen_standby *s = of(base);

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
	struct remus_xen_standby *s = of(base);
	char text[REMUS_XEN_KEEPER_MESSAGE];

	if (s->over || s->keeper.helper.talk < 0)
		return REMUS_DOMAIN_NONE;
	if (s->is_copy)
		remus_xen_copy_listen(s);
	int heard = remus_xen_keeper_hear(&s->keeper, 0, text);
	if (heard == 0)
		return REMUS_DOMAIN_NONE;
	if (heard == 1 && !strncmp(text, "ended shutdown ", 15)) {
		s->over = true;
		snprintf(why, REMUS_TEXT_MAX, "%s", text + 15);
		return REMUS_DOMAIN_SHUTDOWN;
	}
	if (s->activated && !s->is_copy) {
		if (heard < 0) {
			remus_warn("%s: its keeper died: nobody acts on its shutdown or reboot now", s->name);
			remus_xen_close_fd(&s->keeper.helper.talk);
		}
		return REMUS_DOMAIN_NONE;
	}
	snprintf(why, REMUS_TEXT_MAX, "%s", heard == 1 ? text : "the standby domain's keeper died");
	remus_fail(&s->early, -EPIPE, "%s", why);
	s->broken = true;
	remus_xen_standby_end(s);
	if (s->is_copy)
		return REMUS_DOMAIN_LOST;
	return s->epoch ? REMUS_DOMAIN_NONE : REMUS_DOMAIN_LOST; /* commit() or activate() build another */
}

const struct remus_standby_ops remus_xen_standby_ops = {
	.backend = "xen",
	.check = standby_check,
	.create = standby_create,
	.pages = standby_pages,
	.page = standby_page,
	.commit = standby_commit,
	.copy_into = remus_xen_copy_into,
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
