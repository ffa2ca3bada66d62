/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's agent as the shells have it: the conversation (renewal.h) over the channel that the backend offers
 * (domain.h). Whoever has the guest turns it in his loop: the primary asks whether anybody is there, the backup renews
 * the guest that it has activated, and the relay hears what comes late. None of them ever waits for it.
 *
 * A guest can say what it likes here, as often as it likes: what is taken from it per second is bounded (I11).
 */
#ifndef REMUS_SHELL_AGENT_H
#define REMUS_SHELL_AGENT_H

#include "remus/engine.h"
#include "remus/renewal.h"

/* What happened, told once each. */
enum shell_agent_news {
	SHELL_AGENT_NOTHING,
	SHELL_AGENT_CAME,    /* the primary's: somebody answered */
	SHELL_AGENT_LEFT,    /* ... and doesn't any more */
	SHELL_AGENT_RENEWED, /* in full */
	SHELL_AGENT_PARTLY,  /* answered, but something was refused in the guest */
	SHELL_AGENT_HOOKS,   /* the guest's own programs are through */
	SHELL_AGENT_HOOKS_FAILED,
	SHELL_AGENT_SILENT, /* nobody answered, and nobody is waited for any more */
};

struct shell_agent;
/* The agent of @guest's domain or standby, as @guest->agent, which is none when there is no memory. Freed by
 * remus_guest_close(). Again: the channel is asked for anew, what is known stays. */
void shell_agent_open(struct remus_guest *guest);
void shell_agent_close(struct remus_guest *guest);

/* NULL is an agent that isn't there, in all that follows. */

/* Ask from now on whether it is there. */
void shell_agent_probe(struct shell_agent *agent);
/* No more questions: nobody stands by any more. */
void shell_agent_rest(struct shell_agent *agent);
/* What the last committed epoch said: "" = nobody was there. */
void shell_agent_known(struct shell_agent *agent, const char *version);
/* The guest was activated: renew it. false: there is no way to an agent. */
bool shell_agent_renew(struct shell_agent *agent, const uint8_t seed[REMUS_SEED_SIZE],
		       const struct remus_truth *truth);
/* Is it there? Then @version (REMUS_AGENT_VERSION bytes) is filled in. */
bool shell_agent_present(const struct shell_agent *agent, char version[REMUS_AGENT_VERSION]);
/* Why there is no way to one; "" = there is. */
const char *shell_agent_why(const struct shell_agent *agent);

/* Poll this for reading; -1 = nothing is expected. */
int shell_agent_fd(struct shell_agent *agent);
/* At most @wait_ms, or less when it has something to do before. */
int shell_agent_wait(const struct shell_agent *agent, int wait_ms);
/* Hear and say what there is; returns the oldest news, @text (REMUS_REASON_MAX bytes) says it to people. */
enum shell_agent_news shell_agent_turn(struct shell_agent *agent, char text[REMUS_REASON_MAX]);
/* Tell the operator. */
void shell_agent_tell(const struct remus_supervisor *up, enum shell_agent_news news, const char *text);

void shell_agent_status(const struct shell_agent *agent, struct remus_agent_status *out);

/* What nobody vouches for in a guest that was not renewed: the end of a sentence. */
#define SHELL_AGENT_NOT_GUARANTEED                                                                        \
	"its random numbers may be those of another activation of the same checkpoint, and its clock is " \
	"behind by what the failover took: see remus-agent(8)"

#endif
