/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Renewal: the conversation between an activated guest's agent (tools/remus-agent) and its host, which gives the guest
 * fresh randomness and the right time (I12). Pure: bytes and the time come in, lines come out; no I/O, no clock, no
 * allocation. Both ends distrust each other: a guest is hostile, and so may be whoever holds the other end of its port.
 *
 *	host                                              agent
 *	 |---- hello? ID ---------------------------------->|	is anybody there? (while the guest is protected)
 *	 |<---------------------- hello ID version=... -----|
 *	 |---- steal? ID ---------------------------------->|	what did the guest's kernel have to do without?
 *	 |<----------- steal ID stolen=... vcpus=... -------|	(an agent of release 0.1 doesn't say; it may not know)
 *	 :                      activation                  :
 *	 |---- renew ID policy=... seed=... --------------->|	credits the seed and reseeds, at once
 *	 |<------------------------------ time? ID n=1 -----|
 *	 |---- time ID n=1 real=... error=... floor=... --->|	and some more of these; the shortest round trip counts
 *	 |<------ renewed ID reseed=0 bits=512 clock=... ---|	the host opens the guest's network
 *	 |<--------------- hooks ID ran=2 failed=0 ... -----|	what resume.d did, whenever that is over
 *
 * A message is one line of printable ASCII, at most REMUS_MESSAGE_MAX bytes with its newline:
 *
 *	remus1 VERB ID KEY=VALUE ... *SUM
 *
 * ID: 16 hexadecimal digits, of one activation (or one question); SUM: 8, the low half of the XXH3-64 of all that stands
 * before " *". Each verb has its keys, all of them, in one order; a number has one spelling. So a message has exactly one
 * encoding, and whatever isn't one (half a line that a checkpoint cut, say) is skipped up to the next newline. Messages
 * may be lost and may come twice: the host says renew again until it is answered, and an agent does each activation once.
 */
#ifndef REMUS_RENEWAL_H
#define REMUS_RENEWAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/continuity.h"
#include "remus/error.h"

#define REMUS_AGENT_PORT "org.remus.agent.0" /* the virtio-serial port's name */
#define REMUS_AGENT_REQUEST \
	"data/remus/request" /* xenstore, below the guest's own directory: what the host says */
#define REMUS_AGENT_REPLY \
	"data/remus/reply" /* what the agent says; either is emptied by whoever has read it */

#define REMUS_MESSAGE_MAX   512u
#define REMUS_AGENT_VERSION 32u /* bytes of a version, the NUL included */
#define REMUS_HOOK_NAME	    64u /* of a hook's name, the NUL included */

/* What became of a guest's wall clock; tools/remus-agent/clock.h has the rule. */
enum remus_clock_word {
	REMUS_CLOCK_KEPT,    /* it was right, as far as can be told */
	REMUS_CLOCK_STEPPED, /* set forward at once; a rest may be slewed */
	REMUS_CLOCK_SLEWING, /* approaches the right time */
	REMUS_CLOCK_UNKNOWN, /* the host did not tell the time */
	REMUS_CLOCK_FAILED,  /* the kernel refused */
	REMUS_CLOCK_WORDS,
};

struct remus_renewed {
	uint32_t reseed; /* 0 = done, else the errno value */
	uint32_t bits;	 /* credited */
	enum remus_clock_word clock;
	int64_t offset_ns;	  /* the right time minus the guest's, as measured */
	int64_t step_ns, slew_ns; /* of it, done at once (never negative), and begun */
	uint64_t error_ns;	  /* by how much the offset may be wrong */
};
struct remus_hooks {
	uint32_t ran, failed;	     /* programs; failed: of those that ran */
	char first[REMUS_HOOK_NAME]; /* the first that failed, "-" = none */
};

/* Time in which a vCPU could have run and didn't, as the guest's kernel counts it (the steal of /proc/stat). */
struct remus_steal {
	uint64_t stolen_us; /* of all vCPUs together, since it booted */
	uint32_t vcpus;
};

enum remus_message_verb {
	REMUS_MESSAGE_ASK_HELLO,
	REMUS_MESSAGE_HELLO,
	REMUS_MESSAGE_RENEW,
	REMUS_MESSAGE_ASK_TIME,
	REMUS_MESSAGE_TIME,
	REMUS_MESSAGE_RENEWED,
	REMUS_MESSAGE_HOOKS,
	REMUS_MESSAGE_ASK_STEAL,
	REMUS_MESSAGE_STEAL,
	REMUS_MESSAGE_VERBS,
};

/* A message in memory: of the members below `id`, those of its verb. */
struct remus_message {
	enum remus_message_verb verb;
	uint64_t id;
	char version[REMUS_AGENT_VERSION]; /* HELLO */
	enum remus_clock_policy policy;	   /* RENEW */
	uint8_t seed[REMUS_SEED_SIZE];	   /* RENEW; erase it after use */
	uint64_t number;		   /* ASK_TIME, TIME */
	int64_t realtime_ns, floor_ns;	   /* TIME: as in struct remus_truth, at the moment of sending */
	uint64_t error_ns;
	struct remus_renewed renewed; /* RENEWED */
	struct remus_hooks hooks;     /* HOOKS */
	struct remus_steal steal;     /* STEAL */
};

/* Write @message, newline included; returns its length. -EINVAL: a member that has no encoding. */
int remus_message_encode(const struct remus_message *message, char line[REMUS_MESSAGE_MAX]);
/* Read the @length bytes of a line without its newline; -EBADMSG. On failure @out is all zero. */
int remus_message_decode(const char *line, size_t length, struct remus_message *out, struct remus_error *err);

/* May @text be a version or a hook's name on the wire: 1 to @size - 1 of letters, digits and "._+~-"? */
bool remus_message_word(const char *text, size_t size);

/* Messages out of a stream of bytes that come in pieces. All zero is its beginning. */
struct remus_message_stream {
	char line[REMUS_MESSAGE_MAX];
	size_t used;
	bool skipping;	  /* the line is too long: up to the next newline */
	uint64_t garbage; /* lines that were no messages; empty ones aren't counted */
};
/* Take bytes up to the end of the first message among @bytes; returns how many. *@got: @out is that message. Call again
 * for the rest. */
size_t remus_message_feed(struct remus_message_stream *stream, const void *bytes, size_t count,
			  struct remus_message *out, bool *got);

/* ---- the host's end ---- */

#define REMUS_RENEWAL_AGAIN_NS 100000000u	     /* between two renews to an agent that was not heard */
#define REMUS_RENEWAL_LATER_NS 1000000000u	     /* ... that was heard, and to one that is long overdue */
#define REMUS_RENEWAL_LIMIT_NS UINT64_C(60000000000) /* after which nobody is expected to answer any more */
#define REMUS_RENEWAL_PROBE_NS UINT64_C(5000000000)  /* between two hello? */
#define REMUS_RENEWAL_PROBES   3u		     /* unanswered ones, until the agent counts as gone */

enum remus_renewal_phase {
	REMUS_RENEWAL_NONE,  /* no activation yet */
	REMUS_RENEWAL_ASKED, /* renew was said, or shall be */
	REMUS_RENEWAL_DONE,  /* `renewed` is the answer */
	REMUS_RENEWAL_OVER,  /* none came within REMUS_RENEWAL_LIMIT_NS */
};

#define REMUS_STEAL_SAMPLES 13u /* one with each hello?: a minute of them */
/* The last minute of what a guest says of its stolen time. All zero: nothing was said. */
struct remus_steal_watch {
	struct {
		uint64_t at, stolen_us;
	} sample[REMUS_STEAL_SAMPLES]; /* a ring */
	unsigned count, next;
	uint32_t vcpus;
};
void remus_steal_note(struct remus_steal_watch *watch, const struct remus_steal *steal, uint64_t now);
/* Percent of what all vCPUs could have had in the last minute, 0 to 100; negative = unknown. */
double remus_steal_percent(const struct remus_steal_watch *watch);

/* Times are CLOCK_MONOTONIC_RAW of the host, ns, which nobody slews. */
struct remus_renewal {
	struct remus_message_stream in;
	/* presence */
	bool present;
	char version[REMUS_AGENT_VERSION];
	bool probing, hello_wanted, steal_wanted;
	struct remus_steal_watch steal;
	uint64_t probe_id, probe_due;
	unsigned unanswered;
	/* activation */
	enum remus_renewal_phase phase;
	uint64_t id, begun, heard, again; /* heard: something of this activation; 0 = not yet */
	uint8_t seed[REMUS_SEED_SIZE];
	struct remus_truth truth;
	bool renew_wanted, time_wanted;
	uint64_t time_number;
	struct remus_renewed renewed;
	uint64_t took; /* from begun to the answer */
	bool hooks_known;
	struct remus_hooks hooks;
};

void remus_renewal_init(struct remus_renewal *renewal);
/* Ask hello? from now on, every REMUS_RENEWAL_PROBE_NS; @id names the first question, any number. */
void remus_renewal_probe(struct remus_renewal *renewal, uint64_t id, uint64_t now);
/* The guest was activated. @id: random, or another activation of the same checkpoint would be taken for this one.
 * The seed is copied, and erased when it isn't needed any more. */
void remus_renewal_begin(struct remus_renewal *renewal, uint64_t id, const uint8_t seed[REMUS_SEED_SIZE],
			 const struct remus_truth *truth, uint64_t now);
/* What the guest wrote. Whatever it is, it costs no more than looking at it: one answer of each kind is owed at most. */
void remus_renewal_receive(struct remus_renewal *renewal, const void *bytes, size_t count, uint64_t now);
/* The next line to send now, or 0: nothing. A line that can't be sent may be thrown away. */
size_t remus_renewal_output(struct remus_renewal *renewal, char line[REMUS_MESSAGE_MAX], uint64_t now);
/* When output() may have something that nothing came in for; UINT64_MAX = never. */
uint64_t remus_renewal_due(const struct remus_renewal *renewal);
/* Erase the seed. */
void remus_renewal_clear(struct remus_renewal *renewal);

/* A sentence about what an agent did: "512 bits credited, clock set forward by 312.4 ms (within 0.2 ms)". */
void remus_renewed_text(const struct remus_renewed *renewed, char *out, size_t size);
const char *remus_clock_word(enum remus_clock_word word);

#endif
