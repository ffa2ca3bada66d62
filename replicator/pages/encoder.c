/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The encoder: pages in, payloads of whole records out, in the order given.
 *
 *   caller      resolve bases -> post block        await block -> pack into payloads -> sink
 *   crew                          encode the block's pages, each into the block's own buffer
 *
 * The caller alone touches the cache's tables; a worker gets for each page a pointer to the base's 4096 bytes,
 * which no other page of the run shares. While the sink writes to the network, the crew encodes ahead, up to
 * the number of blocks in flight. That number is constant and blocks are awaited in order, so what the cache
 * does, and every byte that comes out, is the same whatever the number of threads.
 *
 * A base is brought up to date when its page is encoded, which is before the backup has it: between encoding
 * and ack the cache runs ahead. If the epoch is given up, its entries are dropped (I9). A failing run drops
 * them itself before it returns, on top of what its caller must do. Nothing is allocated by a run (I11).
 */
#include "remus/pages.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "codec.h"
#include "crew.h"
#include "record.h"

/* Pages per block: some 20 µs of delta work, so that an epoch of 1,000 pages still divides evenly. */
#define BLOCK	    32u
#define BLOCKS	    REMUS_CREW_JOBS
#define PAYLOAD_CAP (256u * 1024u) /* a payload is never larger, whatever the caller allows */

struct block {
	const uint64_t *pfn;
	const uint8_t *data;
	unsigned count;
	uint8_t *base[BLOCK];
	bool known[BLOCK];
	size_t bytes;  /* result, in out */
	unsigned same; /* pages that need no record */
	uint8_t out[BLOCK * REMUS_PAGE_RECORD_MAX];
};

struct remus_encoder {
	struct remus_encoder_config config;
	struct remus_cache *cache; /* NULL: no deltas */
	struct remus_crew *crew;
	struct remus_codec *codec; /* one per member of the crew */
	struct block *block;	   /* BLOCKS of them */
	struct remus_encoder_stats stats;

	/* the payload being filled */
	uint8_t payload[PAYLOAD_CAP];
	size_t fill;
	uint32_t pages;
};

/* What one run was asked for. */
struct run {
	uint64_t epoch;
	const uint64_t *pfn;
	const uint8_t *data;
	size_t count, max_payload;
	remus_encoder_sink *sink;
	void *context;
};

static void encode_block(void *context, unsigned member, uint64_t job)
{
	struct remus_encoder *encoder = context;
	struct block *b = &encoder->block[job % BLOCKS];
	uint8_t *out = b->out;
	b->same = 0;
	for (unsigned i = 0; i < b->count; i++) {
		size_t n = remus_codec_page(&encoder->codec[member], b->pfn[i],
					    b->data + (size_t)i * REMUS_PAGE_SIZE, b->base[i], b->known[i],
					    encoder->config.compress, out);
		b->same += n == 0;
		out += n;
	}
	b->bytes = (size_t)(out - b->out);
}

int remus_encoder_create(const struct remus_encoder_config *config, struct remus_encoder **out,
			 struct remus_error *err)
{
	if (!config->guest_pages || config->guest_pages > REMUS_PFN_MAX)
		return remus_fail(err, -EINVAL,
				  "page encoder: a guest of %" PRIu64 " pages is outside 1 to %" PRIu64,
				  config->guest_pages, REMUS_PFN_MAX);
	/* Large parts are touched when used: an idle encoder costs address space only. */
	struct remus_encoder *encoder = calloc(1, sizeof *encoder);
	if (!encoder)
		return remus_fail(err, -ENOMEM, "page encoder: out of memory");
	encoder->config = *config;
	int rc = remus_crew_create(config->threads, encode_block, encoder, &encoder->crew, err);
	if (!rc && config->delta)
		rc = remus_cache_create(config->guest_pages, config->cache_bytes, &encoder->cache, err);
	if (!rc) {
		encoder->codec = calloc(config->threads + 1, sizeof *encoder->codec);
		encoder->block = calloc(BLOCKS, sizeof *encoder->block);
		if (!encoder->codec || !encoder->block)
			rc = remus_fail(err, -ENOMEM, "page encoder: out of memory");
	}
	if (rc) {
		remus_encoder_destroy(encoder);
		return rc;
	}
	*out = encoder;
	return 0;
}

void remus_encoder_destroy(struct remus_encoder *encoder)
{
	if (!encoder)
		return;
	remus_crew_destroy(encoder->crew);
	remus_cache_destroy(encoder->cache);
	free(encoder->codec);
	free(encoder->block);
	free(encoder);
}

/* Make block @number of the run ready for the crew: look up each page's base. */
static int prepare(struct remus_encoder *encoder, const struct run *run, struct block *b, size_t number,
		   struct remus_error *err)
{
	size_t first = number * BLOCK, left = run->count - first;
	b->pfn = run->pfn + first;
	b->data = run->data + first * REMUS_PAGE_SIZE;
	b->count = left < BLOCK ? (unsigned)left : BLOCK;
	for (unsigned i = 0; i < b->count; i++) {
		if (b->pfn[i] >= encoder->config.guest_pages)
			return remus_fail(err, -EINVAL,
					  "page encoder: pfn %" PRIu64 " is outside the guest's %" PRIu64
					  " pages",
					  b->pfn[i], encoder->config.guest_pages);
		b->base[i] = NULL;
		b->known[i] = false;
		if (encoder->cache)
			b->base[i] = remus_cache_resolve(encoder->cache, b->pfn[i], run->epoch, &b->known[i]);
	}
	return 0;
}

static int flush(struct remus_encoder *encoder, const struct run *run, struct remus_error *err)
{
	if (!encoder->fill)
		return 0;
	int rc = run->sink(run->context, encoder->payload, encoder->fill, encoder->pages, err);
	if (rc < 0)
		return rc;
	encoder->stats.bytes_out += encoder->fill;
	encoder->fill = 0;
	encoder->pages = 0;
	return 0;
}

static void note_pages(struct remus_encoder *encoder, unsigned count)
{
	encoder->stats.pages += count;
	encoder->stats.bytes_in += (uint64_t)count * REMUS_PAGE_SIZE;
}

/* Account for a record. A page that was sent as ZERO needs no slot: its next content is compressed afresh. */
static void note_record(struct remus_encoder *encoder, uint64_t head)
{
	struct remus_encoder_stats *s = &encoder->stats;
	uint64_t *const by_encoding[] = {
		[REMUS_PAGE_ZERO] = &s->zero,
		[REMUS_PAGE_RAW] = &s->raw,
		[REMUS_PAGE_LZ4] = &s->lz4,
		[REMUS_PAGE_DELTA] = &s->delta,
	};
	++*by_encoding[remus_record_encoding(head)];
	note_pages(encoder, 1);
	if (encoder->cache && remus_record_encoding(head) == REMUS_PAGE_ZERO)
		remus_cache_forget(encoder->cache, remus_record_pfn(head));
}

static void append(struct remus_encoder *encoder, const uint8_t *records, size_t bytes)
{
	memcpy(encoder->payload + encoder->fill, records, bytes);
	encoder->fill += bytes;
}

/* Append a finished block to the payload; whatever is full goes to the sink. */
static int emit(struct remus_encoder *encoder, const struct run *run, const struct block *b,
		struct remus_error *err)
{
	size_t begin = 0, end = 0; /* records not yet in the payload */
	note_pages(encoder, b->same);
	encoder->stats.same += b->same;
	while (end < b->bytes) {
		uint64_t head = remus_get_le64(b->out + end);
		size_t length = REMUS_PAGE_RECORD + remus_record_length(head);
		if (encoder->fill + (end - begin) + length > run->max_payload) {
			append(encoder, b->out + begin, end - begin);
			begin = end;
			int rc = flush(encoder, run, err);
			if (rc)
				return rc;
		}
		encoder->pages++;
		note_record(encoder, head);
		end += length;
	}
	append(encoder, b->out + begin, end - begin);
	return 0;
}

static int run_blocks(struct remus_encoder *encoder, const struct run *run, struct remus_error *err)
{
	size_t blocks = run->count / BLOCK + (run->count % BLOCK != 0), posted = 0;
	uint64_t first = remus_crew_next(encoder->crew); /* job of block 0; those of the others follow */

	for (size_t emitted = 0; emitted < blocks; emitted++) {
		int rc;
		for (; posted < blocks && posted - emitted < BLOCKS; posted++) {
			rc = prepare(encoder, run, &encoder->block[(first + posted) % BLOCKS], posted, err);
			if (rc)
				return rc;
			remus_crew_post(encoder->crew);
		}
		remus_crew_await(encoder->crew, first + emitted);
		rc = emit(encoder, run, &encoder->block[(first + emitted) % BLOCKS], err);
		if (rc)
			return rc;
	}
	return flush(encoder, run, err);
}

int remus_encoder_run(struct remus_encoder *encoder, uint64_t epoch, const uint64_t *pfn, const void *data,
		      size_t count, size_t max_payload, remus_encoder_sink *sink, void *context,
		      struct remus_error *err)
{
	if (max_payload < REMUS_PAGE_RECORD_MAX)
		return remus_fail(err, -EINVAL,
				  "page encoder: a payload of %zu bytes cannot hold a record of %u",
				  max_payload, REMUS_PAGE_RECORD_MAX);
	const struct run run = {
		.epoch = epoch,
		.pfn = pfn,
		.data = data,
		.count = count,
		.max_payload = max_payload < PAYLOAD_CAP ? max_payload : PAYLOAD_CAP,
		.sink = sink,
		.context = context,
	};
	encoder->fill = 0;
	encoder->pages = 0;
	int rc = run_blocks(encoder, &run, err);
	if (rc) {
		remus_crew_cancel(encoder->crew);
		remus_encoder_abort(encoder, epoch);
	}
	return rc;
}

void remus_encoder_abort(struct remus_encoder *encoder, uint64_t epoch)
{
	if (encoder->cache)
		remus_cache_abort(encoder->cache, epoch);
}

void remus_encoder_stats(const struct remus_encoder *encoder, struct remus_encoder_stats *out)
{
	*out = encoder->stats;
	out->cache_cap = encoder->config.cache_bytes;
	if (!encoder->cache)
		return;
	struct remus_cache_stats cache;
	remus_cache_stats(encoder->cache, &cache);
	out->cache_hits = cache.hits;
	out->cache_misses = cache.misses;
	out->cache_evictions = cache.evictions;
	out->cache_bytes = cache.bytes;
}
