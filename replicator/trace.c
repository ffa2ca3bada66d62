/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The trace file: the times of each epoch, and what an observer of the guest's network needs to prove I1 from
 * outside (docs/control.md). One write(2) per line, so that a killed engine's lines survive it. A file that has grown to
 * SHELL_TRACE_MAX is put aside in place of an older one (I11).
 */
#include "shell.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "remus/util.h"

int shell_trace_open(struct shell_trace *trace, const char *path, struct remus_error *err)
{
	trace->fd = -1;
	if (!path)
		return 0;
	struct stat st;
	if (path != trace->path)
		snprintf(trace->path, sizeof trace->path, "%s", path);
	trace->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (trace->fd < 0 || fstat(trace->fd, &st) < 0)
		return remus_fail_errno(err, "trace file %s", path);
	trace->bytes = (uint64_t)st.st_size;
	return 0;
}

static void put_aside(struct shell_trace *trace)
{
	char older[sizeof trace->path + 2];

	snprintf(older, sizeof older, "%s.1", trace->path);
	if (rename(trace->path, older) < 0)
		unlink(trace->path);
	shell_trace_close(trace);
	if (shell_trace_open(trace, trace->path, NULL) < 0)
		trace->fd = -1;
}

static void put(struct shell_trace *trace, const char *line, int length)
{
	if (length <= 0)
		return;
	if (trace->bytes + (uint64_t)length > SHELL_TRACE_MAX)
		put_aside(trace);
	if (trace->fd < 0)
		return;
	if (write(trace->fd, line, (size_t)length) < 0)
		shell_trace_close(trace); /* a full disk must not cost the guest anything */
	trace->bytes += (uint64_t)length;
}

void shell_trace_epoch(struct shell_trace *trace, const char *what, uint64_t epoch)
{
	char line[128];

	if (trace->fd < 0)
		return;
	put(trace, line,
	    snprintf(line, sizeof line, "{\"t\":%llu,\"ev\":\"%s\",\"epoch\":%llu}\n",
		     (unsigned long long)remus_now_us(), what, (unsigned long long)epoch));
}

void shell_trace_accepted(struct shell_trace *trace, const char *what, uint64_t time_us, uint64_t epoch,
			  const struct remus_guest *guest)
{
	char line[512];

	if (trace->fd < 0)
		return;
	int n = snprintf(line, sizeof line, "{\"t\":%llu,\"ev\":\"%s\",\"epoch\":%llu,\"accepted\":[",
			 (unsigned long long)time_us, what, (unsigned long long)epoch);
	for (int i = 0; i < guest->nics; i++)
		n += snprintf(line + n, sizeof line - (size_t)n, "%s%llu", i ? "," : "",
			      (unsigned long long)guest->accepted[i]);
	n += snprintf(line + n, sizeof line - (size_t)n, "]}\n");
	put(trace, line, n);
}

void shell_trace_close(struct shell_trace *trace)
{
	if (trace->fd >= 0)
		close(trace->fd);
	trace->fd = -1;
}
