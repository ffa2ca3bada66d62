/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session, claim and release protocol of remus, small enough that SPIN visits every interleaving of it. What is
 * modelled, what isn't, and the bounds: docs/model.md. The sources are replicator/protocol/*_machine.c and
 * primary_ending.c; a step of a machine is one atomic step here, except where a crash between two of its actions
 * makes a difference (die_here). What tools/remusd does when a child dies is part of it.
 *
 *   I1 a packet leaves only after its epoch's ack; who takes over knows all that was seen outside
 *   I4 epochs and generations grow by one, nothing stale is taken
 *   I5 one active copy at most, by a won claim          I6 no PASS while the backup could still activate
 *   I8 when nothing can happen any more, no copy stands still or has been forgotten. All runs are finite (tested
 *      separately: no cycle), so this is progress, too. The last copy isn't thrown away (L2 of docs/simulator.md).
 */
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef GENERATIONS
#define GENERATIONS 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef COMMANDS
#define COMMANDS 1 /* of operators, besides protecting anew; a guest's shutdown counts, too */
#endif
#define DEPTH 6 /* frames on the wire, each way */

/* SPIN prints a violated assertion with its numbers: (5==0) is I5, (102==0) is L2. */
#define I1 1
#define I4 4
#define I5 5
#define I6 6
#define I8 8
#define L2 102
#define MUST(invariant, x) assert((x) || invariant == 0)

mtype = { HELLO, WELCOME, REFUSE, COMMIT, ACK, HANDOVER_REQUEST, HANDOVER, DOMAIN_LOST, ACTIVATED, END, END_ACK };
mtype = { P_RELAY, P_HELLO, P_SYNCING, P_RUNNING, P_IN_FLIGHT, P_UNPROTECTING, P_HANDING_OVER, P_CLAIMING, P_HELD,
	  P_NONE };
mtype = { B_NONE, B_SYNCING, B_STANDBY, B_CLAIMING, B_ACTIVATING, B_ACTIVE };
mtype = { KEY_NONE, KEY_OPEN, KEY_PRIMARY, KEY_BACKUP, KEY_RETIRED };
mtype = { NOT_ASKED, ASKED, DECIDED };

/* HERE: a place that some run must come to, or the test fails; pan prints the lines at its end. Not part of a state. */
#define HERE c_code { remus_here[__LINE__] = 1; }
c_decl {
	static unsigned char remus_here[2048];
	extern int printf(const char *, ...);
	static void __attribute__((destructor)) print_reached(void)
	{
		for (int i = 0; i < 2048; i++)
			if (remus_here[i])
				printf("reached line %d\n", i);
	}
}

/* ---- the link: a cut direction loses what is sent from then on; its receiver notices sooner or later ---- */
chan to_b = [DEPTH] of { mtype, byte, byte };
chan to_a = [DEPTH] of { mtype, byte, byte };
bool to_b_cut = true, to_a_cut = true;

/* ---- the arbiter ---- */
mtype key[GENERATIONS + 1] = KEY_NONE;
mtype a_claim = NOT_ASKED, b_claim = NOT_ASKED;
byte a_late, b_late; /* the generation of a claim whose asker has given up or died: it may be carried out yet */

/* ---- host A: the guest, its egress, the supervisor's record, the primary ---- */
bool a_up = true, a_copy = true, a_paused, a_open = true, a_killed, a_willed, a_record_armed;
bool engine = true;
mtype p = P_RELAY;
byte gen, committed, epoch;
bool armed, p_linked, p_paused, gone, ended, wanted, hold_policy;

/* ---- host B: the receiver and its standby ---- */
bool b_up = true, b_killed;
mtype b = B_NONE;
byte b_gen, b_committed, b_seen, attempts;
bool b_linked, handover, primary_gone;

/* ---- what only an observer of both hosts knows ---- */
byte acked[GENERATIONS + 1];	/* epochs held at the backup */
byte seen, seen_gen;		/* the epoch, and its generation, of the last packet that is outside */
byte faults = FAULTS, commands = COMMANDS;

#define B_RUNS	      (b == B_ACTIVE || b == B_ACTIVATING)
#define B_CANNOT(g)   (!(b != B_NONE && b_gen == g) && (b_seen >= g || !b_up)) /* ... activate g, ever */

inline send_b(type, e) { if :: !to_b_cut -> assert(nfull(to_b)); to_b!type, gen, e :: else fi }
inline send_a(type, e) { if :: !to_a_cut -> assert(nfull(to_a)); to_a!type, b_gen, e :: else fi }
inline drain(c) { do :: nempty(c) -> c?_, _, _ :: empty(c) -> break od }

inline p_close()
{
	if
	:: p_linked -> p_linked = false; to_b_cut = true; to_a_cut = true; drain(to_a)
	:: else
	fi
}

inline b_close()
{
	if
	:: b_linked -> b_linked = false; to_b_cut = true; to_a_cut = true; drain(to_b)
	:: else
	fi
}

/* ==== the primary ==== */

/* A dead engine's claim may be on its way. The kernel closes its connection. */
inline engine_dies()
{
	p_close();
	if :: a_claim == ASKED -> a_late = gen :: else fi;
	a_claim = NOT_ASKED; engine = false;
	armed = false; p_paused = false; gone = false; ended = false; wanted = false; committed = 0; epoch = 0
}

/* Between two actions of a step: only where a record of the supervisor or the guest's state is in between. */
inline die_here()
{
	if
	:: faults > 0 -> faults--; engine_dies(); goto end_again
	:: true
	fi
}

inline a_rest(state)
{
	p = state; armed = false; p_paused = false; gone = false; ended = false; wanted = false; committed = 0; epoch = 0
}

inline claim_a() { p = P_CLAIMING; a_claim = ASKED }

inline pass()
{
	MUST(I6, key[gen] == KEY_PRIMARY || B_CANNOT(gen) || (!armed && acked[gen] == 0));
	MUST(I5, !B_RUNS);
	a_open = true
}

/* The outcome reaches the supervisor only after the step: an engine that dies before it leaves an armed record. */
inline outcome(state) { a_record_armed = false; a_rest(state) }

inline retire() { if :: key[gen] == KEY_OPEN -> key[gen] = KEY_RETIRED :: else fi }

inline resume_a() { a_paused = false; p_paused = false }

inline destroy_a()
{
	MUST(L2, b != B_NONE || b_killed);
	a_copy = false; a_paused = false
}

inline let_go() { if :: p_paused && !gone -> resume_a() :: else fi; pass() }

inline give_up() /* never armed */
{
	if :: p_linked -> send_b(END, 0) :: else fi;
	p_close();
	if :: gone -> skip :: else -> let_go() fi;
	retire();
	if :: gone -> outcome(P_NONE) :: else -> outcome(P_RELAY) fi
}

inline p_link_is_lost()
{
	if
	:: !armed -> HERE; give_up()
	:: else ->
		p_close(); wanted = false;
		if
		:: gone && !ended ->
			if :: p_paused -> HERE; destroy_a() :: else fi;
			outcome(P_NONE)
		:: else ->
			claim_a();
#ifdef SOLO_WITHOUT_CLAIM
			a_claim = NOT_ASKED; let_go(); outcome(P_RELAY)
#else
			if :: p_paused && !gone -> resume_a() :: else fi
#endif
		fi
	fi
}

inline p_error() { if :: p_linked -> send_b(REFUSE, 0) :: else fi; p_link_is_lost() }

inline go_on_alone()
{
	if
#ifdef GIVEN_UP_IS_GONE
	:: gone -> outcome(P_NONE)
#else
	:: gone && !p_paused -> HERE; outcome(P_NONE)
#endif
	:: else ->
		if :: gone -> HERE :: else fi;
		gone = false; /* it had been given up for a standby that there isn't: it is there, and must run */
		p_close(); let_go(); die_here(); outcome(P_RELAY)
	fi
}

inline destroy_ours()
{
	p_close();
	if :: !gone || p_paused -> if :: a_copy -> destroy_a() :: else fi :: else fi;
	outcome(P_NONE)
}

inline send_end() { p = P_UNPROTECTING; send_b(END, committed) }

inline lose_domain() { gone = true; p = P_HANDING_OVER; send_b(DOMAIN_LOST, committed) }

inline release(n)
{
	MUST(I1, acked[gen] >= n);
	if :: seen_gen == gen && seen < n -> seen = n :: else fi
}

/* PAUSE CAPTURE HOLD SEAL RESUME SEND. A capture that fails the third time, a guest that can't be resumed three
 * times: what is left when the attempts are used up; each costs one fault. */
inline begin_epoch(goes_on)
{
	epoch = committed + 1;
	a_paused = true; p_paused = true;
	die_here();
	if
	:: epoch == 1 -> a_open = false; seen_gen = gen; seen = 0
	:: else
	fi;
	if
	:: faults > 0 -> /* a capture fails */
		faults--;
		epoch = committed;
		resume_a();
		if
		:: committed == 0 && !a_record_armed -> give_up()
		:: committed > 0 -> HERE; p = P_RUNNING; wanted = false
		:: committed > 0 -> send_end()
		:: committed > 0 -> HERE; a_paused = true; p_paused = true; lose_domain() /* ... nor resume it */
		fi
	:: faults > 0 && goes_on && committed > 0 -> /* it stands still for good */
		faults--; armed = true; HERE; lose_domain()
	:: true ->
		if
		:: goes_on -> resume_a(); p = P_IN_FLIGHT
		:: else -> p = P_HANDING_OVER
		fi;
		armed = true;
		a_record_armed = true;
		die_here();
		send_b(COMMIT, epoch)
#ifdef RELEASE_AT_SEND
		; release(epoch)
#endif
	fi
}

inline p_on_ack(g, n)
{
	if
#ifdef ANY_ACK
	:: epoch == committed + 1 ->
#else
	:: epoch == committed + 1 && n == epoch ->
#endif
		committed = epoch;
		die_here();
		release(epoch);
		if
		:: p == P_UNPROTECTING -> HERE
		:: p == P_HANDING_OVER && gone -> HERE
		:: p == P_HANDING_OVER && !gone -> HERE; send_b(HANDOVER, committed)
		:: p == P_IN_FLIGHT ->
			p = P_RUNNING;
			if :: wanted && committed < EPOCHS -> HERE; wanted = false; begin_epoch(false) :: else fi
		fi
	:: else -> p_error()
	fi
}

inline p_on_frame(type, g, n)
{
	if
#ifndef ANY_GENERATION
	:: g != gen && p != P_HELLO -> HERE; p_error() /* the link is bound */
	:: g == gen || p == P_HELLO ->
#else
	:: true ->
#endif
		if
		:: type == WELCOME && p == P_HELLO -> p = P_SYNCING
		:: type == REFUSE ->
			if
			:: p == P_HANDING_OVER && epoch == committed -> HERE; go_on_alone()
			:: else -> p_link_is_lost()
			fi
		:: type == ACK && (p == P_IN_FLIGHT || p == P_HANDING_OVER || p == P_UNPROTECTING) -> p_on_ack(g, n)
		:: type == HANDOVER_REQUEST ->
			if
			:: p == P_RUNNING && committed < EPOCHS -> begin_epoch(false)
			:: else -> wanted = true
			fi
		:: type == ACTIVATED && p == P_HANDING_OVER && (epoch == committed || gone) -> HERE; destroy_ours()
		:: type == END_ACK && p == P_UNPROTECTING -> HERE;
			if :: gone -> skip :: else -> let_go() fi;
			p_close(); retire(); die_here();
			if :: gone -> outcome(P_NONE) :: else -> outcome(P_RELAY) fi
		:: else -> p_error()
		fi
	fi
}

inline answer_a()
{
	a_claim = NOT_ASKED;
	if
	:: key[gen] == KEY_PRIMARY -> HERE;
		if
		:: hold_policy && !gone -> HERE; p = P_HELD
		:: else -> go_on_alone()
		fi
#ifdef BOTH_WIN
	:: key[gen] == KEY_BACKUP -> go_on_alone()
#else
	:: key[gen] == KEY_BACKUP -> HERE; destroy_ours()
#endif
	fi
}

inline decide(g, who) { if :: key[g] == KEY_OPEN -> key[g] = who :: else fi }

active proctype primary()
{
	mtype type;
	byte g, n;

	if :: hold_policy = true :: true fi;
end_again:
	do
	/* ---- what arrives, and what doesn't ---- */
	:: atomic { engine && p_linked && nempty(to_a) -> to_a?type, g, n; p_on_frame(type, g, n) }
	:: atomic { engine && p_linked && to_a_cut -> p_link_is_lost() }
	:: atomic { engine && p_linked && (p == P_HELLO || p == P_IN_FLIGHT || p == P_UNPROTECTING ||
			(p == P_HANDING_OVER && (gone || epoch == committed))) -> p_link_is_lost() } /* a deadline */
	/* ---- epochs ---- */
	:: atomic { engine && p == P_SYNCING -> begin_epoch(true) }
	:: atomic { engine && p == P_RUNNING && committed < EPOCHS -> begin_epoch(!wanted); wanted = false }
	/* ---- the arbiter ---- */
	:: atomic { engine && a_claim == ASKED && key[gen] != KEY_RETIRED -> decide(gen, KEY_PRIMARY); a_claim = DECIDED }
	:: atomic { engine && a_claim == DECIDED -> answer_a() }
	:: atomic { engine && a_claim != NOT_ASKED && faults > 0 -> /* no answer: asked again */
		faults--;
		if :: a_claim == ASKED -> a_late = gen :: else fi;
		a_claim = ASKED }
	:: atomic { a_late > 0 -> decide(a_late, KEY_PRIMARY); HERE; a_late = 0 }
	:: atomic { a_late > 0 -> a_late = 0 }
	/* ---- operators ---- */
	:: atomic { engine && p == P_RELAY && a_copy && gen < GENERATIONS ->
		gen++; key[gen] = KEY_OPEN;
		if
		:: b_up && b == B_NONE && !b_linked ->
			drain(to_a); drain(to_b); to_a_cut = false; to_b_cut = false; HERE;
			p_linked = true; b_linked = true; p = P_HELLO; send_b(HELLO, 0)
		:: else -> retire() /* refused: it never began */
		fi }
	:: atomic { engine && commands > 0 && (p == P_RUNNING || (p == P_IN_FLIGHT && !p_paused)) ->
		commands--; send_end() }
	:: atomic { engine && commands > 0 && (p == P_HELLO || p == P_SYNCING) -> commands--; give_up() }
	:: atomic { engine && commands > 0 && p == P_RUNNING && committed < EPOCHS -> commands--; begin_epoch(false) }
	:: atomic { engine && commands > 0 && p == P_IN_FLIGHT && committed > 0 -> commands--; wanted = true }
	:: atomic { engine && p == P_HELD -> go_on_alone() }
	/* The key was retired as the engine died: nobody but an operator can say so. One who looks before. */
	:: atomic { engine && a_claim == ASKED && key[gen] == KEY_RETIRED && B_CANNOT(gen) ->
		a_claim = NOT_ASKED; HERE; go_on_alone() }
	/* ---- the guest ends ---- */
	:: atomic { a_copy && !a_paused && engine && p != P_RELAY && p != P_NONE && (faults > 0 || commands > 0) ->
		if
		:: faults > 0 -> faults--; a_killed = true
		:: commands > 0 -> commands--; a_willed = true; ended = true
		fi;
		a_copy = false; gone = true; p_paused = false;
		if
		:: p == P_HELLO || p == P_SYNCING -> give_up()
		:: p == P_RUNNING || p == P_IN_FLIGHT -> if :: ended -> send_end() :: else -> lose_domain() fi
		:: p == P_HANDING_OVER -> skip /* can't be unless given up: it stands still */
		:: p == P_UNPROTECTING -> ended = true
		:: p == P_CLAIMING && ended -> HERE; skip
		:: p == P_CLAIMING && !ended -> HERE; a_claim = NOT_ASKED; outcome(P_NONE)
		:: p == P_HELD -> HERE; outcome(P_NONE)
		fi }
	/* ---- crashes, and the supervisor ---- */
	:: atomic { engine && faults > 0 && p != P_RELAY && p != P_NONE -> faults--; engine_dies() }
	:: atomic { a_up && a_copy && faults > 0 && gen > 0 ->
		faults--;
		if :: engine -> engine_dies() :: else fi;
		a_up = false; a_copy = false; a_killed = true; a_paused = false; a_open = false; p = P_NONE }
	:: atomic { a_up && !engine ->
		engine = true;
		if
		:: !a_copy -> outcome(P_NONE)
		:: a_copy && a_record_armed -> HERE; armed = true; a_open = false; claim_a();
#ifndef LEFT_PAUSED
			resume_a()
#endif
		:: a_copy && !a_record_armed -> HERE; resume_a(); pass(); retire(); outcome(P_RELAY)
		fi }
	od
}

/* ==== the backup ==== */

inline forget_b() { b = B_NONE; handover = false; primary_gone = false; attempts = 0 }

inline drop()
{
	MUST(L2, a_copy || a_killed || a_willed || b_killed);
	b_close(); forget_b()
}

inline refuse_and_drop() { if :: b_linked -> send_a(REFUSE, 0) :: else fi; drop() }

inline claim_b()
{
	b = B_CLAIMING; b_claim = ASKED
#ifdef ACTIVATE_WITHOUT_CLAIM
	; b_claim = NOT_ASKED; b = B_ACTIVATING
#endif
}

inline b_link_is_lost()
{
	b_close();
	if
	:: b == B_SYNCING -> drop()
	:: b == B_STANDBY -> claim_b()
	:: else
	fi
}

inline b_error() { if :: b_linked && b == B_SYNCING -> send_a(REFUSE, 0) :: else fi; b_link_is_lost() }

inline b_dies()
{
	b_close();
	if :: b_claim == ASKED -> b_late = b_gen :: else fi;
	b_claim = NOT_ASKED; b_killed = true; forget_b()
}

inline b_on_commit(g, n)
{
	if
#ifdef ANY_EPOCH
	:: b == B_SYNCING || b == B_STANDBY ->
#else
	:: (b == B_SYNCING || b == B_STANDBY) && n == b_committed + 1 ->
#endif
		MUST(I4, n == acked[g] + 1);
		b_committed = n; acked[g] = n; b = B_STANDBY;
		send_a(ACK, n)
	:: else -> b_error()
	fi
}

inline take_over(dead)
{
	handover = true; primary_gone = dead; claim_b()
}

inline b_on_frame(type, g, n)
{
	if
#ifndef ANY_GENERATION
	:: g != b_gen -> HERE; b_error()
	:: g == b_gen ->
#else
	:: true ->
#endif
		if
		:: type == COMMIT -> b_on_commit(g, n)
		:: type == HANDOVER && b == B_STANDBY && n == b_committed -> HERE; take_over(false)
		:: type == DOMAIN_LOST && b == B_STANDBY -> HERE; take_over(true)
		:: type == END && (b == B_SYNCING || b == B_STANDBY) -> HERE; send_a(END_ACK, b_committed); b_close(); forget_b()
		:: type == REFUSE -> b_link_is_lost()
		:: else -> b_error()
		fi
	fi
}

inline activate()
{
	MUST(I5, key[b_gen] == KEY_BACKUP && !(a_copy && a_open) && b_gen == gen);
	MUST(I1, seen_gen < b_gen || (seen_gen == b_gen && seen <= b_committed));
	HERE; b = B_ACTIVE;
	if :: b_linked -> send_a(ACTIVATED, b_committed) :: else fi;
	b_close()
}

/* The first frame of a connection; the daemon admits a generation once. */
inline b_on_hello(g)
{
	if
#ifdef STALE_GENERATION
	:: true ->
#else
	:: b_seen < g ->
#endif
		MUST(I4, g > b_seen);
		b_seen = g; b_gen = g; b_committed = 0; b_killed = false; b = B_SYNCING;
		send_a(WELCOME, 0)
	:: else -> b_close() /* a primary never names a generation twice; a replay is below */
	fi
}

active proctype backup()
{
	mtype type;
	byte g, n;

end_b:
	do
	:: atomic { b_linked && nempty(to_b) ->
		to_b?type, g, n;
		if
		:: b == B_NONE && type == HELLO -> b_on_hello(g)
		:: b == B_NONE && type != HELLO -> b_close()
		:: b != B_NONE -> b_on_frame(type, g, n)
		fi }
	:: atomic { b_linked && to_b_cut -> b_link_is_lost() }
	/* ---- the arbiter ---- */
	:: atomic { b_claim == ASKED -> decide(b_gen, KEY_BACKUP); b_claim = DECIDED }
	:: atomic { b_claim == DECIDED ->
		b_claim = NOT_ASKED;
		if
		:: key[b_gen] == KEY_BACKUP -> HERE; b = B_ACTIVATING
#ifdef BOTH_WIN
		:: key[b_gen] == KEY_PRIMARY -> b = B_ACTIVATING
#else
		:: key[b_gen] == KEY_PRIMARY -> HERE; drop()
#endif
		fi }
	:: atomic { b_claim != NOT_ASKED && faults > 0 ->
		faults--;
		if :: b_claim == ASKED -> b_late = b_gen :: else fi;
		b_claim = ASKED;
		if :: handover && !primary_gone -> b_close() :: else fi }
	:: atomic { b_late > 0 -> decide(b_late, KEY_BACKUP); HERE; b_late = 0 }
	:: atomic { b_late > 0 -> b_late = 0 }
	/* ---- taking over ---- */
	:: atomic { b == B_ACTIVATING -> activate() }
	:: atomic { b == B_ACTIVATING && faults > 0 ->
		faults--;
		if
		:: handover && !primary_gone && b_linked -> HERE; b_killed = true; refuse_and_drop() /* docs/model.md, Found */
		:: !(handover && !primary_gone && b_linked) && attempts == 0 -> HERE; attempts = 1
		:: !(handover && !primary_gone && b_linked) -> b_killed = true; b_close(); forget_b()
		fi }
	/* ---- operators, crashes ---- */
	:: atomic { commands > 0 && (b == B_SYNCING || b == B_STANDBY) -> commands--; b_killed = true; refuse_and_drop() }
	:: atomic { commands > 0 && b == B_STANDBY && b_linked -> commands--; send_a(HANDOVER_REQUEST, b_committed) }
	:: atomic { faults > 0 && b != B_NONE && b != B_ACTIVE && b != B_ACTIVATING -> /* an image that can't be trusted */
		faults--; b_claim = NOT_ASKED; b_killed = true; refuse_and_drop() }
	:: atomic { faults > 0 && b != B_NONE && b != B_ACTIVE -> faults--; b_dies() }
	:: atomic { faults > 0 && b_up && gen > 0 -> faults--; b_dies(); b_up = false }
	od
}

/* ==== the world ==== */

inline some_generation(g, most) { g = 1; do :: g < most -> g++ :: break od }

active proctype world()
{
	byte g, n;

	do
	:: atomic { faults > 0 && !to_b_cut -> faults--; to_b_cut = true }
	:: atomic { faults > 0 && !to_a_cut -> faults--; to_a_cut = true }
	/* Somebody says again what was said in this session or in one before. */
	:: atomic { faults > 0 && !to_a_cut && p_linked ->
		faults--; some_generation(g, gen);
		if
		:: acked[g] > 0 -> n = 1; do :: n < acked[g] -> n++ :: break od; to_a!ACK, g, n
		:: g < gen -> to_a!END_ACK, g, 0
		:: g < gen -> to_a!ACTIVATED, g, acked[g]
		:: g < gen -> to_a!REFUSE, g, 0
		:: else -> skip
		fi; g = 0; n = 0 }
	:: atomic { faults > 0 && !to_b_cut && b_linked && b != B_NONE ->
		faults--; some_generation(g, gen);
		if
		:: acked[g] > 0 -> n = 1; do :: n < acked[g] -> n++ :: break od; to_b!COMMIT, g, n
		:: g < gen -> to_b!END, g, 0
		:: g < gen -> to_b!HANDOVER, g, acked[g]
		:: else -> skip
		fi; g = 0; n = 0 }
	/* A whole connection is played again, up to its first commit, while no receiver is there. */
	:: atomic { faults > 0 && b_up && b == B_NONE && !b_linked && gen > 0 ->
		faults--; some_generation(g, gen);
		if
		:: acked[g] > 0 && g <= b_seen -> HERE;
#ifdef STALE_GENERATION
			b_gen = g; b_committed = 1; b = B_STANDBY; b_link_is_lost()
#else
			skip
#endif
		:: else
		fi; g = 0 }
	/* Nothing else can happen: no faults left, every deadline over. */
	:: timeout ->
		MUST(I8, !(a_copy && a_paused));
		MUST(I8, b == B_NONE || b == B_ACTIVE ||
			(b == B_STANDBY && p == P_RUNNING && b_gen == gen && b_linked && p_linked));
		MUST(I8, !a_copy || (p == P_RELAY && a_open) ||
			(p == P_RUNNING && b == B_STANDBY));
		MUST(I5, !(a_copy && b == B_ACTIVE));
		MUST(L2, a_copy || b == B_ACTIVE || a_killed || a_willed || b_killed);
		break
	od
}
