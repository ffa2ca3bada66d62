/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See records.h. Formats: Xen's docs/specs/libxc-migration-stream.pandoc. */
#include "records.h"

#include <endian.h>
#include <string.h>
#include "remus/util.h"
#include "types.h"

#define POLICY_MAX 16384u /* bytes; 4.17 makes some 60 CPUID leaves of 24 and 2 MSRs of 16 */
#define XSAVE_MAX  65536u /* bytes; AMX makes it 11 KiB */
#define MSRS_MAX   16384u
#define PFN_MASK   UINT64_C(0x000fffffffffffff)

/* What is gathered in `part`. */
enum { STEP_IMAGE, STEP_DOMAIN, STEP_HEAD, STEP_BODY, STEP_PAGES_HEAD, STEP_PAGES_LIST, STEP_PAGES };

/* The records that may be there, and what their bodies measure. @unit: the body's length less @base is a
 * multiple of it; 0 = exactly @max. VCPU_BASIC depends on the guest's width. */
static const struct rule {
	uint32_t type;
	const char *name;
	uint32_t base, unit, max;
} rules[] = {
	{REMUS_XEN_REC_PAGE_DATA, "PAGE_DATA", 8, 8, 8 + REMUS_XEN_STREAM_BATCH *(8 + 4096)},
	{REMUS_XEN_REC_PV_INFO, "X86_PV_INFO", 0, 0, 8},
	{REMUS_XEN_REC_P2M_FRAMES, "X86_PV_P2M_FRAMES", 8, 8, UINT32_MAX},
	{REMUS_XEN_REC_VCPU_BASIC, "X86_PV_VCPU_BASIC", 0, 0, 0},
	{REMUS_XEN_REC_VCPU_EXTENDED, "X86_PV_VCPU_EXTENDED", 8, 1, 8 + 128},
	{REMUS_XEN_REC_VCPU_XSAVE, "X86_PV_VCPU_XSAVE", 8 + 16, 1, 8 + XSAVE_MAX},
	{REMUS_XEN_REC_VCPU_MSRS, "X86_PV_VCPU_MSRS", 8, 16, 8 + MSRS_MAX},
	{REMUS_XEN_REC_SHARED_INFO, "SHARED_INFO", 0, 0, 4096},
	{REMUS_XEN_REC_TSC_INFO, "TSC_INFO", 0, 0, 24},
	{REMUS_XEN_REC_CHECKPOINT, "CHECKPOINT", 0, 0, 0},
	{REMUS_XEN_REC_STATIC_DATA_END, "STATIC_DATA_END", 0, 0, 0},
	{REMUS_XEN_REC_CPUID_POLICY, "CPUID_POLICY", 0, 24, POLICY_MAX},
	{REMUS_XEN_REC_MSR_POLICY, "MSR_POLICY", 0, 16, POLICY_MAX},
};

size_t remus_xen_p2m_frames_bytes(unsigned width, uint64_t last)
{
	return 8 + 8 * (size_t)(last / (4096 / width) + 1);
}

static const struct rule *rule_of(uint32_t type)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(rules); i++)
		if (rules[i].type == type)
			return &rules[i];
	return NULL;
}

static int check_length(const struct rule *rule, uint32_t length, unsigned width, struct remus_error *err)
{
	uint32_t max = rule->max;

	if (rule->type == REMUS_XEN_REC_VCPU_BASIC) /* sizeof(vcpu_guest_context_t) of either kind of guest */
		max = 8 + (width == 4 ? 2800u : 5168u);
	if (length > max || length < rule->base || (rule->unit && (length - rule->base) % rule->unit) ||
	    (!rule->unit && length != max))
		return remus_fail(err, -EBADMSG, "a %s record of %u bytes", rule->name, length);
	return 0;
}

/* One vCPU after the other, each with VCPU_BASIC first and nothing twice. */
static int order_vcpu(struct remus_xen_state_order *o, const struct rule *rule, uint32_t vcpu,
		      struct remus_error *err)
{
	bool basic = rule->type == REMUS_XEN_REC_VCPU_BASIC;

	if (vcpu >= REMUS_XEN_PV_VCPUS_MAX || (basic ? (int64_t)vcpu <= o->vcpu : (int64_t)vcpu != o->vcpu) ||
	    (!basic && o->kinds & 1u << rule->type))
		return remus_fail(err, -EBADMSG, "a %s record of vCPU %u is out of its place", rule->name,
				  vcpu);
	o->kinds = basic ? 0 : o->kinds | 1u << rule->type;
	o->vcpu = vcpu;
	o->basic |= basic && vcpu == 0;
	return 0;
}

/* A whole record of a checkpoint's state: may it come now? */
static int order_state(struct remus_xen_state_order *o, const struct rule *rule, const uint8_t *body,
		       struct remus_error *err)
{
	bool *once = NULL;

	switch (rule->type) {
	case REMUS_XEN_REC_TSC_INFO:
		once = &o->tsc;
		break;
	case REMUS_XEN_REC_SHARED_INFO:
		once = &o->shared_info;
		break;
	case REMUS_XEN_REC_VCPU_BASIC:
	case REMUS_XEN_REC_VCPU_EXTENDED:
	case REMUS_XEN_REC_VCPU_XSAVE:
	case REMUS_XEN_REC_VCPU_MSRS:
		return order_vcpu(o, rule, remus_get_le32(body), err);
	default:
		return remus_fail(err, -EBADMSG, "a %s record is no part of a guest's state", rule->name);
	}
	if (*once)
		return remus_fail(err, -EBADMSG, "a second %s record", rule->name);
	*once = true;
	return 0;
}

static int order_complete(const struct remus_xen_state_order *o, struct remus_error *err)
{
	if (o->tsc && o->shared_info && o->basic)
		return 0;
	return remus_fail(err, -EBADMSG, "the guest's state lacks %s",
			  !o->tsc	    ? "its TSC"
			  : !o->shared_info ? "its shared page"
					    : "vCPU 0");
}

static const struct remus_xen_state_order nothing_seen = {.vcpu = -1};

void remus_xen_records_init(struct remus_xen_records *r, uint64_t pages,
			    const struct remus_xen_records_sink *sink)
{
	*r = (struct remus_xen_records){
		.sink = sink, .pages = pages, .step = STEP_IMAGE, .need = 24, .order = nothing_seen};
}

void remus_xen_records_free(struct remus_xen_records *r)
{
	remus_xen_buffer_free(&r->state);
	remus_xen_buffer_free(&r->part);
}

static void expect(struct remus_xen_records *r, unsigned step, size_t need)
{
	remus_xen_buffer_reset(&r->part);
	r->step = step;
	r->need = need;
}

static int image_header(struct remus_xen_records *r, struct remus_error *err)
{
	static const uint8_t want[24] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					 'X',  'E',  'N',  'F',	 0,    0,    0,	   3};

	if (memcmp(r->part.data, want, sizeof want))
		return remus_fail(err, -EBADMSG, "it does not begin as version 3 of libxc's stream does");
	expect(r, STEP_DOMAIN, 16);
	return 0;
}

static int domain_header(struct remus_xen_records *r, struct remus_error *err)
{
	if (remus_get_le32(r->part.data) != REMUS_XEN_STREAM_PV || remus_get_le32(r->part.data + 4) != 12)
		return remus_fail(err, -EBADMSG, "a guest of type %u with pages of %u bits is no PV guest",
				  remus_get_le32(r->part.data), remus_get_le16(r->part.data + 4));
	expect(r, STEP_HEAD, 8);
	return 0;
}

/* Which phase does a record need? STATE for those that begin it, too. */
static bool in_place(const struct remus_xen_records *r, uint32_t type)
{
	switch (type) {
	case REMUS_XEN_REC_PV_INFO:
	case REMUS_XEN_REC_CPUID_POLICY:
	case REMUS_XEN_REC_MSR_POLICY:
	case REMUS_XEN_REC_STATIC_DATA_END:
		return r->phase == REMUS_XEN_PHASE_STATIC;
	case REMUS_XEN_REC_P2M_FRAMES:
		return r->phase == REMUS_XEN_PHASE_FRAMES;
	case REMUS_XEN_REC_PAGE_DATA:
		return r->phase == REMUS_XEN_PHASE_MEMORY;
	case REMUS_XEN_REC_CHECKPOINT:
		return r->phase == REMUS_XEN_PHASE_STATE;
	default:
		return r->phase == REMUS_XEN_PHASE_MEMORY || r->phase == REMUS_XEN_PHASE_STATE;
	}
}

static int record_head(struct remus_xen_records *r, struct remus_error *err)
{
	r->type = remus_get_le32(r->part.data);
	r->length = remus_get_le32(r->part.data + 4);
	const struct rule *rule = rule_of(r->type);
	if (!rule)
		return remus_fail(err, -EBADMSG, "record type %u is unknown here", r->type);
	if (!in_place(r, r->type))
		return remus_fail(err, -EBADMSG, "a %s record is out of its place", rule->name);
	int rc = check_length(rule, r->length, r->width, err);
	if (rc < 0)
		return rc;
	if (r->type == REMUS_XEN_REC_P2M_FRAMES &&
	    r->length > remus_xen_p2m_frames_bytes(r->width, r->pages - 1))
		return remus_fail(err, -EBADMSG, "%u bytes of frame list for %llu pages", r->length,
				  (unsigned long long)r->pages);
	if (r->state.bytes + r->length > REMUS_XEN_PV_STATE_MAX)
		return remus_fail(err, -EBADMSG, "more than %u bytes of state", REMUS_XEN_PV_STATE_MAX);
	if (r->type == REMUS_XEN_REC_PAGE_DATA)
		expect(r, STEP_PAGES_HEAD, 8);
	else
		expect(r, STEP_BODY, (r->length + 7) & ~(size_t)7);
	return 0;
}

/* ---- whole records ---- */

static int pv_info(struct remus_xen_records *r, const uint8_t *body, struct remus_error *err)
{
	unsigned levels = body[1];

	r->width = body[0];
	if (!(r->width == 8 && levels == 4) && !(r->width == 4 && levels == 3))
		return remus_fail(err, -EBADMSG,
				  "a PV guest with words of %u bytes and %u levels of page tables", r->width,
				  levels);
	return 0;
}

static int static_record(struct remus_xen_records *r, const struct rule *rule, const uint8_t *body,
			 struct remus_error *err)
{
	unsigned bit = 1u << rule->type;

	if (r->seen & bit)
		return remus_fail(err, -EBADMSG, "a second %s record", rule->name);
	r->seen |= bit;
	if (rule->type == REMUS_XEN_REC_PV_INFO)
		return pv_info(r, body, err);
	if (rule->type != REMUS_XEN_REC_STATIC_DATA_END)
		return 0; /* the policy: it went with the guest's description */
	if (!r->width)
		return remus_fail(err, -EBADMSG, "there is no X86_PV_INFO record");
	r->phase = REMUS_XEN_PHASE_FRAMES;
	return 0;
}

static int frame_list(struct remus_xen_records *r, const uint8_t *body, struct remus_error *err)
{
	uint32_t first = remus_get_le32(body), last = remus_get_le32(body + 4);

	if (first || last >= r->pages || r->length != remus_xen_p2m_frames_bytes(r->width, last))
		return remus_fail(err, -EBADMSG, "a frame list of %u bytes for pages %u to %u of %llu",
				  r->length, first, last, (unsigned long long)r->pages);
	r->last = last;
	r->phase = REMUS_XEN_PHASE_MEMORY;
	return r->sink->frames(r->sink->context, body, r->length, err);
}

static int state_record(struct remus_xen_records *r, const struct rule *rule, const uint8_t *body,
			struct remus_error *err)
{
	uint8_t head[8];
	int rc = order_state(&r->order, rule, body, err);

	if (rc < 0)
		return rc;
	r->phase = REMUS_XEN_PHASE_STATE;
	remus_put_le32(head, r->type);
	remus_put_le32(head + 4, r->length);
	remus_xen_buffer_add(&r->state, head, sizeof head);
	remus_xen_buffer_add(&r->state, body, r->need);
	return r->state.failed ? remus_fail(err, -ENOMEM, "no memory for the guest's state") : 0;
}

static int checkpoint(struct remus_xen_records *r, struct remus_error *err)
{
	int rc = order_complete(&r->order, err);

	if (rc == 0)
		rc = r->sink->checkpoint(r->sink->context, r->state.data, r->state.bytes, err);
	remus_xen_buffer_reset(&r->state);
	r->order = nothing_seen;
	r->phase = REMUS_XEN_PHASE_MEMORY;
	return rc;
}

static int whole_record(struct remus_xen_records *r, struct remus_error *err)
{
	const struct rule *rule = rule_of(r->type);
	const uint8_t *body = r->part.data;
	int rc;

	for (size_t i = r->length; i < r->need; i++)
		if (body[i])
			return remus_fail(err, -EBADMSG, "the padding of a %s record is not zero",
					  rule->name);
	if (r->phase == REMUS_XEN_PHASE_STATIC)
		rc = static_record(r, rule, body, err);
	else if (r->type == REMUS_XEN_REC_P2M_FRAMES)
		rc = frame_list(r, body, err);
	else if (r->type == REMUS_XEN_REC_CHECKPOINT)
		rc = checkpoint(r, err);
	else
		rc = state_record(r, rule, body, err);
	expect(r, STEP_HEAD, 8);
	return rc;
}

/* ---- pages ---- */

static int pages_head(struct remus_xen_records *r, struct remus_error *err)
{
	uint32_t count = remus_get_le32(r->part.data);

	if (count < 1 || count > REMUS_XEN_STREAM_BATCH || r->length < 8 + 8 * count)
		return remus_fail(err, -EBADMSG, "a PAGE_DATA record of %u bytes with %u pages", r->length,
				  count);
	r->entries = count;
	expect(r, STEP_PAGES_LIST, 8 * (size_t)count);
	return 0;
}

static uint64_t entry_at(const struct remus_xen_records *r, unsigned i)
{
	return remus_get_le64(r->part.data + 8 * (size_t)i);
}

static int pages_list(struct remus_xen_records *r, struct remus_error *err)
{
	size_t with_content = 0;

	for (unsigned i = 0; i < r->entries; i++) {
		uint64_t entry = entry_at(r, i), pfn = entry & PFN_MASK;
		unsigned type = (unsigned)(entry >> 60);
		if (entry >> 52 & 0xff || pfn > r->last || !remus_xen_pv_type_known(type))
			return remus_fail(err, -EBADMSG,
					  "page %#llx of type %u, after which there are %llu pages",
					  (unsigned long long)(entry & ~(UINT64_C(0xf) << 60)), type,
					  (unsigned long long)r->last + 1);
		with_content += remus_xen_pv_type_has_content(type);
	}
	if (r->length != 8 + 8 * (size_t)r->entries + 4096 * with_content)
		return remus_fail(err, -EBADMSG,
				  "a PAGE_DATA record of %u bytes for %u pages, %zu with content", r->length,
				  r->entries, with_content);
	r->step = STEP_PAGES;
	r->entry = 0;
	r->to = NULL;
	return 0;
}

/* Go on to the next page that has content; those without are told at once. */
static int next_page(struct remus_xen_records *r, struct remus_error *err)
{
	for (; r->entry < r->entries; r->entry++) {
		uint64_t entry = entry_at(r, r->entry), pfn = entry & PFN_MASK;
		unsigned type = (unsigned)(entry >> 60);
		if (remus_xen_pv_type_has_content(type)) {
			r->to = r->sink->place(r->sink->context, pfn);
			r->filled = 0;
			return r->to ? 0
				     : remus_fail(err, -ENOMEM, "there is no place for page %#llx",
						  (unsigned long long)pfn);
		}
		r->sink->page(r->sink->context, pfn, type);
	}
	expect(r, STEP_HEAD, 8);
	return 0;
}

static int fill_page(struct remus_xen_records *r, const uint8_t *data, size_t bytes, size_t *used,
		     struct remus_error *err)
{
	size_t piece = 4096 - r->filled < bytes ? 4096 - r->filled : bytes;

	memcpy(r->to + r->filled, data, piece);
	r->filled += piece;
	*used = piece;
	if (r->filled < 4096)
		return 0;
	uint64_t entry = entry_at(r, r->entry++);
	r->to = NULL;
	r->sink->page(r->sink->context, entry & PFN_MASK, (unsigned)(entry >> 60));
	return next_page(r, err);
}

/* ---- the stream ---- */

static int advance(struct remus_xen_records *r, struct remus_error *err)
{
	int rc;

	switch (r->step) {
	case STEP_IMAGE:
		return image_header(r, err);
	case STEP_DOMAIN:
		return domain_header(r, err);
	case STEP_HEAD:
		rc = record_head(r, err);
		return rc == 0 && r->step == STEP_BODY && r->need == 0 ? whole_record(r, err) : rc;
	case STEP_BODY:
		return whole_record(r, err);
	case STEP_PAGES_HEAD:
		return pages_head(r, err);
	default:
		rc = pages_list(r, err);
		return rc == 0 ? next_page(r, err) : rc;
	}
}

/* Gather what makes the next part whole. */
static int gather(struct remus_xen_records *r, const uint8_t *data, size_t bytes, size_t *used,
		  struct remus_error *err)
{
	size_t missing = r->need - r->part.bytes;

	*used = missing < bytes ? missing : bytes;
	remus_xen_buffer_add(&r->part, data, *used);
	if (r->part.failed)
		return remus_fail(err, -ENOMEM, "no memory for a record of %u bytes", r->length);
	return r->part.bytes == r->need ? advance(r, err) : 0;
}

int remus_xen_records_feed(struct remus_xen_records *r, const uint8_t *data, size_t bytes,
			   struct remus_error *err)
{
	if (r->bad)
		return remus_fail(err, -EBADMSG, "the stream of the guest's state was refused before");
	while (bytes) {
		size_t used;
		int rc = r->to ? fill_page(r, data, bytes, &used, err) : gather(r, data, bytes, &used, err);
		if (rc < 0) {
			r->bad = true;
			remus_error_prefix(err, "the stream of the guest's state, at byte %llu",
					   (unsigned long long)r->bytes);
			return rc;
		}
		r->bytes += used;
		data += used;
		bytes -= used;
	}
	return 0;
}

int remus_xen_records_check_state(const uint8_t *state, size_t bytes, unsigned width, struct remus_error *err)
{
	struct remus_xen_state_order order = nothing_seen;

	if (bytes > REMUS_XEN_PV_STATE_MAX)
		return remus_fail(err, -EBADMSG, "%zu bytes of state", bytes);
	for (size_t at = 0; at < bytes;) {
		if (bytes - at < 8)
			return remus_fail(err, -EBADMSG, "the state is cut at byte %zu", at);
		uint32_t type = remus_get_le32(state + at), length = remus_get_le32(state + at + 4);
		const struct rule *rule = rule_of(type);
		if (!rule)
			return remus_fail(err, -EBADMSG, "record type %u is unknown here", type);
		int rc = check_length(rule, length, width, err);
		size_t padded = ((size_t)length + 7) & ~(size_t)7;
		at += 8;
		if (rc == 0 && padded > bytes - at)
			rc = remus_fail(err, -EBADMSG, "a %s record is cut at byte %zu", rule->name, at);
		if (rc == 0)
			rc = order_state(&order, rule, state + at, err);
		if (rc < 0)
			return rc;
		at += padded;
	}
	return order_complete(&order, err);
}
