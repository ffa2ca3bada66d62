/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is different about a drill's copy of a standby (drill.h): another domain, NAME--drill, that has no network and no
 * disk that it could write to (isolate.h), whose memory comes from a snapshot of the standby's shadow (snapshot.h), in
 * the drill's thread; and that is destroyed with whoever holds it, however that ends (keeper.h, leftover.h; I13). Nothing
 * of the standby's own is touched: not its domain, not its shadow, not its place in xenstore.
 *
 * It has no claim and needs none (I5): nobody can meet it.
 */
#include "standby.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "handles.h"
#include "isolate.h"
#include "remus/host.h"
#include "remus/log.h"
#include "remus/util.h"

#define BATCH	      256    /* pages; what the standby's thread may have to wait for is that one is copied */
#define FEED_TOTAL_MS 200000 /* above it the drill is given up: remusd's own patience is 300 s */
#define CONSOLE_MAX   (64u << 10) /* bytes of it that are kept */

int remus_xen_copy_isolate(struct remus_xen_standby *s, struct remus_error *err)
{
	uint8_t random[16];
	char *config;

	if (getrandom(random, sizeof random, 0) != sizeof random)
		return remus_fail_errno(err, "random numbers for a UUID");
	int rc = remus_xen_isolate(s->description.config, random, &config, err);
	if (rc == 0) {
		free(s->description.config);
		s->description.config = config;
	}
	return rc;
}

/* ---- its memory ---- */

/* Half of what dom0 can spare may go to pages that are kept aside. */
int remus_xen_copy_into(struct remus_standby *base, struct remus_standby *copy_base, uint64_t *epoch,
			struct remus_error *err)
{
	struct remus_xen_standby *from = remus_xen_standby_of(base), *copy = remus_xen_standby_of(copy_base);

	if (!from->epoch || from->activated)
		return remus_fail(err, -ENODATA, "no epoch is committed");
	if (copy->shadow.pages != from->shadow.pages)
		return remus_fail(err, -EPROTO, "the copy has %llu pages, the standby %llu",
				  (unsigned long long)copy->shadow.pages,
				  (unsigned long long)from->shadow.pages);
	copy->copy.batch = malloc((size_t)BATCH * 4096);
	copy->state = malloc(from->state_bytes);
	if (!copy->copy.batch || !copy->state)
		return remus_fail(err, -ENOMEM, "the copy of epoch %llu: no memory",
				  (unsigned long long)from->epoch);
	memcpy(copy->state, from->state, from->state_bytes);
	copy->state_bytes = from->state_bytes;
	*epoch = copy->epoch = from->epoch;
	return remus_xen_snapshot_begin(&from->shadow, remus_host_memory_kib() / 4 / 2, &copy->copy.snapshot,
					err);
}

/* PV pages carry types, which pvfeed.h knows of: they go by a shadow of the copy's own. */
static int pass_on(struct remus_xen_standby *s, const uint64_t *pfn, int count, struct remus_error *err)
{
	if (!remus_xen_standby_is_pv(s))
		return remus_xen_standby_feed_batch(s, pfn, (size_t)count, s->copy.batch, err);
	for (int i = 0; i < count; i++)
		memcpy(remus_xen_shadow_page(&s->shadow, pfn[i]), s->copy.batch + (size_t)i * 4096, 4096);
	return 0;
}

int remus_xen_copy_feed(struct remus_xen_standby *s, struct remus_error *err)
{
	uint64_t pfn[BATCH], began = remus_now_us(), pages = 0;
	int n = 0, rc = 0;

	if (!s->copy.snapshot)
		return remus_fail(err, -ENODATA, "%s: it was given no epoch", s->name);
	while (rc == 0 &&
	       (n = remus_xen_snapshot_take(s->copy.snapshot, pfn, BATCH, s->copy.batch, err)) > 0) {
		pages += (uint64_t)n;
		rc = pass_on(s, pfn, n, err);
		if (rc == 0 && remus_now_us() - began > FEED_TOTAL_MS * UINT64_C(1000))
			rc = remus_fail(err, -ETIMEDOUT, "%s: its memory was not built within %d s", s->name,
					FEED_TOTAL_MS / 1000);
	}
	if (n < 0)
		rc = n;
	if (rc == 0)
		remus_info("%s: fed with %llu pages in %llu ms, %llu of them kept aside", s->name,
			   (unsigned long long)pages, (unsigned long long)(remus_now_us() - began) / 1000,
			   (unsigned long long)remus_xen_snapshot_kept(s->copy.snapshot));
	remus_xen_snapshot_close(s->copy.snapshot);
	s->copy.snapshot = NULL;
	return rc == 0 ? remus_xen_standby_feed_epoch(s, err) : rc;
}

/* ---- what it says ---- */

static void open_console(struct remus_xen_standby *s)
{
	struct remus_xen_handles xen;
	char path[4096];

	if (remus_xen_open(&xen, NULL) < 0)
		return;
	REMUS_AUTO_FREE char *terminal = remus_xen_read(&xen, s->domid, "console/tty");
	remus_xen_close(&xen);
	if (!terminal || strncmp(terminal, "/dev/pts/", 9))
		return;
	s->copy.console = open(terminal, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	snprintf(path, sizeof path, "%s/%s", s->run_dir, REMUS_STANDBY_CONSOLE);
	s->copy.kept = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

void remus_xen_copy_listen(struct remus_xen_standby *s)
{
	char text[4096];
	ssize_t n;

	if (s->activated && s->domid && s->copy.console < 0)
		open_console(s);
	while (s->copy.console >= 0 && s->copy.kept_bytes < CONSOLE_MAX &&
	       (n = read(s->copy.console, text, sizeof text)) > 0) {
		s->copy.kept_bytes += (size_t)n;
		if (write(s->copy.kept, text, (size_t)n) != n)
			s->copy.kept_bytes = CONSOLE_MAX; /* no room for more */
	}
}

/* ---- its end ---- */

void remus_xen_copy_halt(struct remus_xen_standby *s)
{
	struct remus_xen_handles xen;

	if (!s->domid || remus_xen_open(&xen, NULL) < 0)
		return;
	xc_domain_pause(xen.xch, s->domid);
	remus_xen_close(&xen);
}

void remus_xen_copy_close(struct remus_xen_standby *s)
{
	remus_xen_snapshot_close(s->copy.snapshot);
	s->copy.snapshot = NULL;
	free(s->copy.batch);
	s->copy.batch = NULL;
	remus_xen_close_fd(&s->copy.console);
	remus_xen_close_fd(&s->copy.kept);
}
