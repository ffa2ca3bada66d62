/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A standby on Xen, as its parts share it: what the engine asks for (standby.c), the domain and its stream
 * (standby_build.c), and what is different about a drill's copy (standby_copy.c).
 */
#ifndef REMUS_XEN_STANDBY_H
#define REMUS_XEN_STANDBY_H

#include "agent.h"
#include "description.h"
#include "keeper.h"
#include "pvfeed.h"
#include "records.h"
#include "remus/domain.h"
#include "shadow.h"
#include "snapshot.h"
#include "state.h"
#include "wallclock.h"

/* A copy runs beside the standby that it is a copy of. */
struct remus_xen_copy {
	struct remus_xen_snapshot *snapshot; /* what it is fed from; NULL once it was */
	uint8_t *batch;			     /* pages under way */
	int console;			     /* the terminal that xenconsoled made for it; -1 = none yet */
	int kept;			     /* the file of what it said; -1 */
	size_t kept_bytes;
};

struct remus_xen_standby {
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
	bool is_copy;
	struct remus_xen_copy copy;
	char *run_dir;
	char name[REMUS_XEN_NAME_MAX + 16];  /* while it stands by; a copy's for ever */
	char final[REMUS_XEN_NAME_MAX + 16]; /* once it runs */
	char locator[REMUS_XEN_NAME_MAX + 8];
};

static inline struct remus_xen_standby *remus_xen_standby_of(struct remus_standby *base)
{
	return (struct remus_xen_standby *)base;
}

static inline bool remus_xen_standby_is_pv(const struct remus_xen_standby *standby)
{
	return standby->description.type == REMUS_XEN_PV;
}

/* ---- standby_build.c ---- */

/* A keeper with an empty domain, and the head of its stream. */
int remus_xen_standby_build(struct remus_xen_standby *standby, struct remus_error *err);
/* Another domain, from the shadow: exactly the last committed epoch. */
int remus_xen_standby_rebuild(struct remus_xen_standby *standby, struct remus_error *err);
/* Is it the state of such a guest? *@out points into it and to @params; of a PV guest it is fed as it is. */
int remus_xen_standby_check_state(const struct remus_xen_standby *standby, const uint8_t *state, size_t bytes,
				  struct remus_xen_state *out, struct remus_xen_param *params,
				  struct remus_error *err);
/* Everything touched, straight from the shadow; and with the state after it: an epoch. */
int remus_xen_standby_feed_pages(struct remus_xen_standby *standby, struct remus_error *err);
int remus_xen_standby_feed_epoch(struct remus_xen_standby *standby, struct remus_error *err);
/* @count pages, one record: the @i-th's content is at @memory + i * 4096. */
int remus_xen_standby_feed_batch(struct remus_xen_standby *standby, const uint64_t *pfn, size_t count,
				 uint8_t *memory, struct remus_error *err);
/* Have it run, under its final name: until the keeper says so. */
int remus_xen_standby_run(struct remus_xen_standby *standby, struct remus_error *err);
/* Is the domain there, and does it run? A keeper that died leaves it in whatever state it was. */
bool remus_xen_standby_there(const struct remus_xen_standby *standby, bool *runs);
/* End the keeper and see that nothing of the domain is left. */
void remus_xen_standby_end(struct remus_xen_standby *standby);

/* ---- standby_copy.c ---- */

/* Of a copy that was just made: take from its description what it may not have. */
int remus_xen_copy_isolate(struct remus_xen_standby *copy, struct remus_error *err);
/* standby_ops.copy_into() */
int remus_xen_copy_into(struct remus_standby *from, struct remus_standby *copy, uint64_t *epoch,
			struct remus_error *err);
/* Feed its domain what copy_into() gave it. */
int remus_xen_copy_feed(struct remus_xen_standby *copy, struct remus_error *err);
/* Keep what it has said since the last time, in REMUS_STANDBY_CONSOLE. Never blocks. */
void remus_xen_copy_listen(struct remus_xen_standby *copy);
/* Its guest runs no further instruction. */
void remus_xen_copy_halt(struct remus_xen_standby *copy);
void remus_xen_copy_close(struct remus_xen_standby *copy);

#endif
