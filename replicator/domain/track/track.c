/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty tracking from outside: the ladder of methods. A method is refused by the kernel or by permissions, so
 * AUTO goes on to the next and keeps the reasons; a target that is gone or a wrong range is no reason to.
 */
#include "method.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "remus/util.h"

static const struct {
	const char *word;
	enum remus_track_method method;
	const struct remus_track_ops *ops;
} ladder[] = {
	{"auto", REMUS_TRACK_AUTO, NULL},
	{"uffd-wp", REMUS_TRACK_UFFD, &remus_track_uffd_ops},
	{"soft-dirty", REMUS_TRACK_SOFT_DIRTY, &remus_track_soft_dirty_ops},
	{"compare", REMUS_TRACK_COMPARE, &remus_track_compare_ops},
};

int remus_track_method_parse(const char *word, enum remus_track_method *out, struct remus_error *err)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(ladder); i++)
		if (!strcmp(word, ladder[i].word)) {
			*out = ladder[i].method;
			return 0;
		}
	return remus_fail(err, -EINVAL,
			  "\"%s\" is no tracking method; there are auto, uffd-wp, soft-dirty and compare",
			  word);
}

static int check(const struct remus_track_target *target, struct remus_error *err)
{
	if (!target->bytes || target->bytes % REMUS_TRACK_PAGE || target->address % REMUS_TRACK_PAGE ||
	    target->address + target->bytes < target->address)
		return remus_fail(err, -EINVAL, "0x%" PRIx64 "+0x%" PRIx64 " is no range of whole pages",
				  target->address, target->bytes);
	return remus_track_covered(target, err);
}

static int climb(struct remus_track *track, enum remus_track_method wanted, struct remus_error *err)
{
	struct remus_error why = REMUS_ERROR_INIT;
	int code = -EINVAL;

	for (size_t i = 1; i < REMUS_ARRAY_SIZE(ladder); i++) {
		if (wanted != REMUS_TRACK_AUTO && wanted != ladder[i].method)
			continue;
		code = ladder[i].ops->start(track, &why);
		if (!code) {
			track->ops = ladder[i].ops;
			return 0;
		}
		size_t n = strlen(track->note);
		snprintf(track->note + n, sizeof track->note - n, "%s%s: %s", n ? "; " : "", ladder[i].word,
			 why.message);
		if (code == -ESRCH)
			break;
	}
	return remus_fail(err, code, "cannot track dirty pages: %s",
			  track->note[0] ? track->note : "no such method");
}

void remus_track_check(enum remus_track_method wanted, struct remus_report *report)
{
	char note[REMUS_FINDING_REMEDY_MAX + 512] = "";
	struct remus_error why = REMUS_ERROR_INIT;

	for (size_t i = 1; i < REMUS_ARRAY_SIZE(ladder); i++) {
		const struct remus_track_ops *ops = ladder[i].ops;
		if (wanted != REMUS_TRACK_AUTO && wanted != ladder[i].method)
			continue;
		if (ops->probe && ops->probe(&why)) {
			size_t n = strlen(note);
			snprintf(note + n, sizeof note - n, "%s%s: %.400s", n ? "; " : "", ladder[i].word,
				 why.message);
			continue;
		}
		if (note[0])
			remus_report_warn(report, "tracking", "mend what stands against the better method",
					  "dirty pages are found by %s. %s", ladder[i].word, note);
		else
			remus_report_ok(report, "tracking", "dirty pages can be found by %s", ladder[i].word);
		return;
	}
	remus_report_fatal(report, why.code, "tracking", "leave the choice to remus (--tracking auto)",
			   "cannot track dirty pages: %s", note);
}

int remus_track_start(const struct remus_track_target *target, enum remus_track_method method,
		      struct remus_track **out, struct remus_error *err)
{
	struct remus_track *track = calloc(1, sizeof *track);
	if (!track)
		return remus_fail(err, -ENOMEM, "out of memory");
	track->target = *target;
	track->pages = target->bytes / REMUS_TRACK_PAGE;
	int code = remus_track_process_open(track, err);
	if (!code)
		code = check(target, err);
	if (!code)
		code = climb(track, method, err);
	if (code) {
		remus_track_process_close(track);
		free(track);
		return code;
	}
	*out = track;
	return 0;
}

const char *remus_track_name(const struct remus_track *track)
{
	return track->ops->name;
}

const char *remus_track_note(const struct remus_track *track)
{
	return track->note;
}

int remus_track_fetch(struct remus_track *track, uint64_t *dirty, uint64_t *count, struct remus_error *err)
{
	uint64_t found = 0;
	int code = track->ops->fetch(track, dirty, &found, err);

	/* A dead process looks clean. All its pages count as dirty: nothing that was read last is worth a thing. */
	if (remus_track_alive(track, code ? NULL : err)) {
		remus_bitmap_set_range(dirty, 0, track->pages);
		found = track->pages;
		code = code ? code : -ESRCH;
	}
	if (count)
		*count = found;
	return code;
}

void remus_track_stop(struct remus_track *track)
{
	if (!track)
		return;
	track->ops->stop(track);
	remus_track_process_close(track);
	free(track);
}

int remus_track_sweep(const struct remus_track_target *target, struct remus_error *err)
{
	struct remus_track track = {.target = *target};
	struct remus_error why = REMUS_ERROR_INIT;
	int code = remus_track_process_open(&track, &why);

	if (!code)
		code = remus_track_sweep_process(target->pid, track.pidfd, &why);
	remus_track_process_close(&track);
	if (!code || code == -ESRCH) /* gone, and its descriptors with it */
		return 0;
	return remus_fail(err, code, "sweep: %s", why.message);
}
