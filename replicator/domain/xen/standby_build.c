/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The domain of a standby, and the stream that it is built from: memory as it comes during the full copy, then one
 * complete epoch after the other. What is fed is complete or the domain is given up: libxl keeps each epoch back until
 * its CHECKPOINT (I3), and only the keeper, when told, ends the stream (I5).
 */
#include "standby.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "handles.h"
#include "leftover.h"
#include "libxl_wait.h"
#include "remus/log.h"
#include "remus/util.h"
#include "stream.h"

#define FEED_MS	     20000 /* without libxl taking a byte */
#define DOMID_MS     20000 /* hotplug scripts included, which take 2 s on a slow machine */
#define ACTIVATE_MS  70000 /* a little more than the keeper's own */
#define STOP_MS	     12000
#define COPY_STOP_MS 40000 /* nobody waits for it, and it is niced */

/* ---- the domain on this host ---- */

bool remus_xen_standby_there(const struct remus_xen_standby *s, bool *runs)
{
	return remus_xen_leftover_there(s->domid, s->name, s->final, runs);
}

/* A keeper that was killed may have left a domain that it had not told of yet: of this name, which was free before. */
static void find_by_name(struct remus_xen_standby *s)
{
	struct remus_xen_handles xen;

	if (remus_xen_open(&xen, NULL) < 0)
		return;
	if (remus_xen_find(&xen, s->name, &s->domid, NULL) < 0)
		s->domid = 0;
	remus_xen_close(&xen);
}

void remus_xen_standby_end(struct remus_xen_standby *s)
{
	struct remus_error err = REMUS_ERROR_INIT;
	bool runs, kept = s->keeper.helper.pid > 0;

	remus_xen_keeper_stop(&s->keeper, s->is_copy ? COPY_STOP_MS : STOP_MS);
	if (kept && !s->domid)
		find_by_name(s);
	if (remus_xen_standby_there(s, &runs) && remus_xen_libxl_destroy(s->domid, STOP_MS, &err) < 0)
		remus_error_log("%s: %s", s->name, err.message);
	s->domid = 0;
}

/* ---- feeding ---- */

static int feed_head(struct remus_xen_standby *s, struct remus_error *err)
{
	struct iovec iov = {.iov_base = s->head.data, .iov_len = s->head.bytes};
	int rc = s->head.failed ? remus_fail(err, -ENOMEM, "%s: no memory for its stream", s->name)
				: remus_xen_keeper_feed(&s->keeper, &iov, 1, FEED_MS, err);
	remus_xen_buffer_reset(&s->head);
	return rc;
}

static int emit(void *context, struct iovec *iov, int parts, struct remus_error *err)
{
	struct remus_xen_standby *s = context;
	return remus_xen_keeper_feed(&s->keeper, iov, parts, FEED_MS, err);
}

int remus_xen_standby_feed_pages(struct remus_xen_standby *s, struct remus_error *err)
{
	static _Thread_local uint64_t
		pfn[REMUS_XEN_STREAM_BATCH]; /* a drill's copy has a thread of its own */
	static _Thread_local struct iovec iov[REMUS_XEN_STREAM_BATCH + 1];
	uint64_t cursor = 0;
	size_t n;

	if (remus_xen_standby_is_pv(s))
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

int remus_xen_standby_feed_batch(struct remus_xen_standby *s, const uint64_t *pfn, size_t count,
				 uint8_t *memory, struct remus_error *err)
{
	remus_xen_buffer_reset(&s->head);
	remus_xen_stream_pages(&s->head, pfn, (unsigned)count);
	struct iovec iov[2] = {{.iov_base = s->head.data, .iov_len = s->head.bytes},
			       {.iov_base = memory, .iov_len = count * 4096}};
	int rc = s->head.failed ? remus_fail(err, -ENOMEM, "%s: no memory for its stream", s->name)
				: remus_xen_keeper_feed(&s->keeper, iov, 2, FEED_MS, err);
	remus_xen_buffer_reset(&s->head);
	return rc;
}

int remus_xen_standby_check_state(const struct remus_xen_standby *s, const uint8_t *state, size_t bytes,
				  struct remus_xen_state *out, struct remus_xen_param *params,
				  struct remus_error *err)
{
	if (remus_xen_standby_is_pv(s))
		return remus_xen_records_check_state(state, bytes, s->description.width, err);
	return remus_xen_state_decode(state, bytes, out, params, err);
}

int remus_xen_standby_feed_epoch(struct remus_xen_standby *s, struct remus_error *err)
{
	struct remus_xen_param params[REMUS_XEN_PARAMS_MAX];
	struct remus_xen_state state;
	int rc = remus_xen_standby_check_state(s, s->state, s->state_bytes, &state, params, err);

	if (rc == 0)
		rc = remus_xen_standby_feed_pages(s, err);
	if (rc < 0)
		return rc;
	if (remus_xen_standby_is_pv(s))
		remus_xen_buffer_add(&s->head, s->state, s->state_bytes);
	else
		remus_xen_stream_state(&s->head, &state);
	remus_xen_stream_checkpoint(&s->head);
	return feed_head(s, err);
}

/* ---- building ---- */

static int write_config(struct remus_xen_standby *s, char path[4096], struct remus_error *err)
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

/* A copy's directory goes with it: its words are kept with the standby's, each line names whose it is. */
static void name_log(const struct remus_xen_standby *s, char path[4096])
{
	snprintf(path, 4096, "%s/%sxen.log", s->run_dir, s->is_copy ? "../" : "");
}

static int await_domid(struct remus_xen_standby *s, struct remus_error *err)
{
	char text[REMUS_XEN_KEEPER_MESSAGE], log_path[4096];
	int rc = remus_xen_keeper_await(&s->keeper, DOMID_MS, text);

	if (rc == -ECANCELED)
		return remus_fail(err, rc, "%s is not wanted any more", s->name);
	if (rc == 1 && sscanf(text, "domid %u", &s->domid) == 1)
		return remus_xen_leftover_mark(s->run_dir, s->domid, s->name, err);
	if (rc == 1)
		return remus_fail(err, -EIO, "%s can't be built: %s", s->name, text);
	name_log(s, log_path);
	return remus_fail(err, rc ? rc : -ETIMEDOUT, "%s was not built %s; see %s", s->name,
			  rc ? "(its keeper died)" : "in time", log_path);
}

int remus_xen_standby_build(struct remus_xen_standby *s, struct remus_error *err)
{
	const struct remus_xen_description *d = &s->description;
	char config[4096], log_path[4096];
	int rc = write_config(s, config, err);

	name_log(s, log_path);
	if (rc == 0)
		rc = remus_xen_keeper_start(&s->keeper, s->name, config, log_path, s->is_copy, err);
	if (rc < 0)
		return rc;
	remus_xen_buffer_reset(&s->head);
	remus_xen_stream_begin(&s->head, &(struct remus_xen_stream_static){
						 .guest = remus_xen_standby_is_pv(s) ? REMUS_XEN_STREAM_PV
										     : REMUS_XEN_STREAM_HVM,
						 .width = d->width,
						 .xen_major = d->major,
						 .xen_minor = d->minor,
						 .cpuid = d->cpuid,
						 .cpuid_bytes = d->cpuid_bytes,
						 .msr = d->msr,
						 .msr_bytes = d->msr_bytes});
	if (remus_xen_standby_is_pv(s))
		remus_xen_pvfeed_restart(&s->pv);
	rc = feed_head(s, err);
	if (rc == 0)
		rc = await_domid(s, err);
	s->broken = rc < 0;
	if (rc < 0)
		remus_xen_standby_end(s);
	return rc;
}

int remus_xen_standby_rebuild(struct remus_xen_standby *s, struct remus_error *err)
{
	remus_xen_standby_end(s);
	remus_warn("%s: the standby domain is lost; another is built from the copy of its memory", s->name);
	int rc = remus_xen_standby_build(s, err);
	remus_xen_shadow_touch_all(&s->shadow);
	if (rc == 0)
		rc = remus_xen_standby_feed_epoch(s, err);
	s->broken = rc < 0;
	return rc;
}

int remus_xen_standby_run(struct remus_xen_standby *s, struct remus_error *err)
{
	uint64_t until = remus_now_us() + ACTIVATE_MS * 1000u;
	char text[REMUS_XEN_KEEPER_MESSAGE];

	snprintf(text, sizeof text, "activate %s", s->final);
	int rc = remus_xen_keeper_tell(&s->keeper, text, err);
	while (rc == 0) {
		uint64_t now = remus_now_us();
		int heard = now >= until ? 0
					 : remus_xen_keeper_await(&s->keeper, (int)((until - now) / 1000) + 1,
								  text);
		if (heard == 1 && !strcmp(text, "running"))
			return 0;
		if (heard == 1 && strncmp(text, "failed", 6))
			continue;
		rc = remus_fail(err, heard < 0 ? heard : -EIO, "%s can't be run: %s", s->name,
				heard == 1	      ? text
				: heard == -ECANCELED ? "it is not wanted any more"
				: heard		      ? "its keeper died; see xen.log"
						      : "libxl did not finish in time");
	}
	return rc;
}
