/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The CLOCK section of an epoch. Little-endian:
 *
 *      0  i64 CLOCK_REALTIME, ns     8  u64 CLOCK_MONOTONIC, ns    16  u64 CLOCK_BOOTTIME, ns
 *     24  u16 version, 1            26  u16 flags                 28  u32 TSC mode
 *     32  u64 link clock, ns        40  u64 error of the wall clock, ns
 *     48  u32 TSC kHz               52  u32 0                     56  i64 guest's time offset, s
 *
 * flags: 1 synchronised, 2 TSC known, 4 time offset known, 8 slew. Release 0.1 sent the first 24 bytes only. A later
 * version may add bytes and flags; what is here keeps its meaning. The bytes come from the network: everything is
 * bounded before it is used (I11).
 */
#include "remus/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "remus/util.h"

#define SIZE_0_1    24u
#define VERSION	    1u
#define TIME_MAX    UINT64_C(4000000000000000000) /* ns: 126 years; two of them still fit 63 bits */
#define SECONDS_MAX INT64_C(4000000000)		  /* the same */
#define ERROR_MAX   UINT64_C(3600000000000)	  /* ns; the kernel's is 16 s at most */
#define TSC_MODES   4u				  /* Xen's TSC_MODE_*: 0..3 */
#define TSC_KHZ_MAX 100000000u

enum { SYNCHRONISED = 1, TSC_KNOWN = 2, OFFSET_KNOWN = 4, SLEW = 8, FLAGS = 15 };

void remus_clock_facts_encode(const struct remus_clock_facts *in, uint8_t out[REMUS_CLOCK_FACTS_SIZE])
{
	struct remus_guest_clock sane = in->guest, *g = &sane;

	/* What a backend says beyond what the other side would believe is as good as unknown: no epoch fails for it. */
	g->tsc_known = g->tsc_known && g->tsc_mode < TSC_MODES && g->tsc_khz && g->tsc_khz <= TSC_KHZ_MAX;
	g->offset_known = g->offset_known && g->offset_s <= SECONDS_MAX && g->offset_s >= -SECONDS_MAX;
	unsigned flags = (in->sync.synchronised ? SYNCHRONISED : 0u) | (g->tsc_known ? TSC_KNOWN : 0u) |
			 (g->offset_known ? OFFSET_KNOWN : 0u) | (in->policy == REMUS_CLOCK_SLEW ? SLEW : 0u);

	memset(out, 0, REMUS_CLOCK_FACTS_SIZE);
	remus_put_le64(out, (uint64_t)in->realtime_ns);
	remus_put_le64(out + 8, in->monotonic_ns);
	remus_put_le64(out + 16, in->boottime_ns);
	remus_put_le16(out + 24, VERSION);
	remus_put_le16(out + 26, (uint16_t)flags);
	remus_put_le64(out + 32, in->link_ns);
	if (in->sync.synchronised)
		remus_put_le64(out + 40, in->sync.error_ns < ERROR_MAX ? in->sync.error_ns : ERROR_MAX);
	if (g->tsc_known) {
		remus_put_le32(out + 28, g->tsc_mode);
		remus_put_le32(out + 48, g->tsc_khz);
	}
	if (g->offset_known)
		remus_put_le64(out + 56, (uint64_t)g->offset_s);
}

static int refuse(const char *what, uint64_t value, struct remus_error *err)
{
	return remus_fail(err, -EBADMSG, "state stream: clock facts with %s of %" PRIu64, what, value);
}

/* What release 0.1 had. */
static int decode_clocks(const uint8_t *p, struct remus_clock_facts *f, struct remus_error *err)
{
	uint64_t realtime = remus_get_le64(p);

	f->monotonic_ns = remus_get_le64(p + 8);
	f->boottime_ns = remus_get_le64(p + 16);
	f->realtime_ns = (int64_t)realtime;
	if (!realtime || realtime > TIME_MAX)
		return refuse("a wall clock", realtime, err);
	if (f->monotonic_ns > TIME_MAX || f->boottime_ns > TIME_MAX)
		return refuse("a clock", f->monotonic_ns > TIME_MAX ? f->monotonic_ns : f->boottime_ns, err);
	return 0;
}

static int decode_guest(const uint8_t *p, unsigned flags, struct remus_guest_clock *g,
			struct remus_error *err)
{
	uint32_t mode = remus_get_le32(p + 28), khz = remus_get_le32(p + 48);
	int64_t offset = (int64_t)remus_get_le64(p + 56);

	g->tsc_known = flags & TSC_KNOWN;
	g->tsc_mode = mode;
	g->tsc_khz = khz;
	if (g->tsc_known ? mode >= TSC_MODES : mode)
		return refuse("a TSC mode", mode, err);
	if (g->tsc_known ? !khz || khz > TSC_KHZ_MAX : khz)
		return refuse("a TSC rate", khz, err);
	g->offset_known = flags & OFFSET_KNOWN;
	g->offset_s = offset;
	if (g->offset_known ? offset > SECONDS_MAX || offset < -SECONDS_MAX : offset)
		return refuse("a time offset", (uint64_t)offset, err);
	return 0;
}

static int decode_rest(const uint8_t *p, size_t length, struct remus_clock_facts *f, struct remus_error *err)
{
	unsigned version = remus_get_le16(p + 24), flags = remus_get_le16(p + 26);

	if (!version || (version == VERSION && (length != REMUS_CLOCK_FACTS_SIZE || flags & ~FLAGS)))
		return remus_fail(err, -EBADMSG,
				  "state stream: clock facts of version %u with %zu bytes and flags 0x%x",
				  version, length, flags);
	f->complete = true;
	f->link_ns = remus_get_le64(p + 32);
	f->sync.synchronised = flags & SYNCHRONISED;
	f->sync.error_ns = remus_get_le64(p + 40);
	f->policy = flags & SLEW ? REMUS_CLOCK_SLEW : REMUS_CLOCK_STEP;
	if (f->link_ns > TIME_MAX)
		return refuse("a link clock", f->link_ns, err);
	if (f->sync.error_ns > (f->sync.synchronised ? ERROR_MAX : 0))
		return refuse("an error", f->sync.error_ns, err);
	if (version == VERSION && remus_get_le32(p + 52))
		return refuse("a reserved word", remus_get_le32(p + 52), err);
	return decode_guest(p, flags, &f->guest, err);
}

int remus_clock_facts_decode(const void *body, size_t length, struct remus_clock_facts *out,
			     struct remus_error *err)
{
	int rc;

	memset(out, 0, sizeof *out);
	if (length != SIZE_0_1 && (length < REMUS_CLOCK_FACTS_SIZE || length > REMUS_CLOCK_FACTS_MAX))
		rc = remus_fail(err, -EBADMSG, "state stream: %zu bytes of clock facts, not %u or %u", length,
				SIZE_0_1, REMUS_CLOCK_FACTS_SIZE);
	else
		rc = decode_clocks(body, out, err);
	if (!rc && length != SIZE_0_1)
		rc = decode_rest(body, length, out, err);
	if (rc)
		memset(out, 0, sizeof *out);
	return rc;
}
