/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See leftover.h. */
#include "leftover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handles.h"
#include "libxl_wait.h"
#include "remus/domain.h"
#include "remus/log.h"
#include "remus/util.h"

#define LOOK_US	   100000
#define DESTROY_MS 12000

bool remus_xen_leftover_there(uint32_t domid, const char *name, const char *other, bool *runs)
{
	struct remus_xen_handles xen;
	xc_dominfo_t info;
	bool there = false;

	if (!domid || remus_xen_open(&xen, NULL) < 0)
		return false;
	if (remus_xen_info(&xen, domid, &info, NULL) == 0) {
		REMUS_AUTO_FREE char *its = remus_xen_read(&xen, domid, "name");
		there = its && (!strcmp(its, name) || (other && !strcmp(its, other)));
		*runs = there && !info.paused;
	}
	remus_xen_close(&xen);
	return there;
}

static void mark_path(const char *run_dir, char out[4096])
{
	snprintf(out, 4096, "%s/" REMUS_STANDBY_MARK, run_dir);
}

int remus_xen_leftover_mark(const char *run_dir, uint32_t domid, const char *name, struct remus_error *err)
{
	char path[4096];

	mark_path(run_dir, path);
	FILE *file = fopen(path, "we");
	if (!file)
		return remus_fail_errno(err, "%s", path);
	fprintf(file, "xen %u %s\n", domid, name);
	return fclose(file) ? remus_fail_errno(err, "%s", path) : 0;
}

void remus_xen_leftover_unmark(const char *run_dir)
{
	char path[4096];

	mark_path(run_dir, path);
	unlink(path);
}

/* A keeper ends its domain when it loses its receiver; killed as well, it leaves it to us. */
int remus_xen_leftover_sweep(const char *mark, int patience_ms, struct remus_error *err)
{
	uint64_t until = remus_now_us() + (uint64_t)patience_ms * 1000;
	bool runs;
	char *name;
	uint32_t domid = (uint32_t)strtoul(mark, &name, 10);

	if (!domid || *name++ != ' ' || !*name)
		return remus_fail(err, -EINVAL, "\"%s\" names no standby", mark);
	while (remus_xen_leftover_there(domid, name, NULL, &runs)) {
		if (remus_now_us() >= until) {
			remus_warn("%s: the standby domain that nobody keeps any more is destroyed", name);
			return remus_xen_libxl_destroy(domid, DESTROY_MS, err);
		}
		usleep(LOOK_US);
	}
	return 0;
}
