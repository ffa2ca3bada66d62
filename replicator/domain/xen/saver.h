/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's end of remus-xen-saver (saver_main.c), the process in which libxenguest's xc_domain_save() runs for
 * one PV guest: it blocks for as long as the guest is protected, asserts, and leaves the guest suspended when told
 * to end. Its stream comes through a pipe, words over helper.h's pair:
 *
 *   from the saver   "ready"         a checkpoint can be taken: suspend the guest, then say so
 *                    "ended TEXT"    xc_domain_save() has returned; log-dirty mode is off
 *   to the saver     "stop"          enough copied from the running guest: get ready as soon as may be
 *                    "suspended"     the guest stands still: write the checkpoint
 *                    "resumed"       the guest runs again, the checkpoint being whole
 *                    "end"           turn log-dirty mode off and leave the guest as it is
 *                    EOF             the engine died: the same, and make a suspended guest go on (I8, I13)
 *
 * Only the engine suspends and resumes, so a suspend that fails never reaches libxenguest, which would give up.
 * Nothing is read ahead of the engine's need while the guest runs (the pipe holds libxenguest up); in a checkpoint
 * the engine does nothing but read, since the pause lasts until it has come to the end.
 */
#ifndef REMUS_XEN_SAVER_H
#define REMUS_XEN_SAVER_H

#include "helper.h"
#include "records.h"

struct remus_xen_saver {
	struct remus_xen_helper helper;
	int stream;   /* read end, non-blocking; -1 = none or at its end */
	bool ready;   /* it waits for "suspended" */
	bool started; /* and has not been stopped */
	char last_words[REMUS_XEN_HELPER_MESSAGE];
	struct remus_xen_records *records;
	uint8_t *buffer;
};
#define REMUS_XEN_SAVER_INIT                    \
	{                                       \
		.helper.talk = -1, .stream = -1 \
	}

/* Start one for domain @domid; what it writes goes to @records. */
int remus_xen_saver_start(struct remus_xen_saver *saver, uint32_t domid, struct remus_xen_records *records,
			  const char *log_path, struct remus_error *err);
int remus_xen_saver_tell(struct remus_xen_saver *saver, const char *word, struct remus_error *err);
/*
 * Read what comes until @done(@context), within @timeout_ms altogether. -ETIMEDOUT; -EPIPE with its last words when
 * it has ended; -EBADMSG for a stream that is not as it should be.
 */
int remus_xen_saver_pump(struct remus_xen_saver *saver, bool (*done)(const void *context),
			 const void *context, int timeout_ms, struct remus_error *err);
/* End it, whatever it is doing; the guest is left as it is. The caller turns log-dirty mode off after it. */
void remus_xen_saver_stop(struct remus_xen_saver *saver, int timeout_ms);

#endif
