/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What page encoding costs and saves, as ratios of two things measured in the same run: medians over a few
 * repetitions that alternate between the two, so that a slow moment of the machine hits both.
 *
 * The guest is 256 MiB with contents that LZ4 brings to some 60 %; an epoch is 10,000 pages scattered over it, of which 2 %
 * of the words changed. Everything is touched in an order that leaves it cold, as pages are in life.
 */
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "remus/pages.h"
#include "remus/util.h"

#define GUEST	   65536u /* pages: 256 MiB */
#define EPOCH	   10000u /* dirty pages */
#define REPEAT	   9u	  /* odd, for the median */
#define CHANGED	   10u	  /* words of 512: 2 % */
#define CACHE	   (512u << 20)
#define PAYLOAD	   (256u * 1024u)
#define ALL_MEMORY ((size_t)GUEST * REMUS_PAGE_SIZE)

static uint8_t *guest, *copy, *base, *other, *out;
static uint64_t pfn[EPOCH];
static uint64_t seed = 1, epoch, emitted;
static volatile unsigned keep; /* results that must not be optimised away */

static uint64_t rnd(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(2685821657736338717);
}

/* Runs of random words and runs from a small set: LZ4 brings it to about 60 %, as it does with guest memory. */
static void fill(uint8_t *page)
{
	for (size_t i = 0; i < REMUS_PAGE_SIZE; i += 8) {
		uint64_t v = rnd();
		v = i % 512 < 192 ? v : v % 3;
		memcpy(page + i, &v, 8);
	}
}
static uint8_t *page_at(uint8_t *memory, size_t i)
{
	return memory + pfn[i] * REMUS_PAGE_SIZE;
}

/* ---- the things measured ---- */

static void change(void) /* the guest runs; not timed */
{
	for (size_t i = 0; i < EPOCH; i++)
		for (unsigned w = 0; w < CHANGED; w++)
			page_at(guest, i)[8 * (rnd() % 512) + 3] ^= (uint8_t)(1 + rnd() % 255);
}
static void copy_epoch(void)
{
	for (size_t i = 0; i < EPOCH; i++)
		memcpy(copy + i * REMUS_PAGE_SIZE, page_at(guest, i), REMUS_PAGE_SIZE);
}
static void delta_from_guest(void)
{
	emitted = 0;
	for (size_t i = 0; i < EPOCH; i++)
		emitted +=
			remus_delta_encode(page_at(base, i), page_at(guest, i), out, REMUS_PAGE_SIZE, true);
}
static void zero_test(void)
{
	for (size_t i = 0; i < EPOCH; i++)
		keep += remus_page_is_zero(page_at(other, i));
}
static void copy_zeros(void)
{
	for (size_t i = 0; i < EPOCH; i++)
		memcpy(copy + i * REMUS_PAGE_SIZE, page_at(other, i), REMUS_PAGE_SIZE);
}
static void lz4_epoch(void)
{
	static LZ4_stream_t state;
	emitted = 0;
	for (size_t i = 0; i < EPOCH; i++)
		emitted += (uint64_t)LZ4_compress_fast_extState(
				   &state, (const char *)copy + i * REMUS_PAGE_SIZE, (char *)out,
				   REMUS_PAGE_SIZE, REMUS_PAGE_RECORD_MAX + 64, 1) +
			   REMUS_PAGE_RECORD;
}
static void copy_and_lz4(void)
{
	copy_epoch();
	lz4_epoch();
}

static int sink(void *context, const void *payload, size_t bytes, uint32_t pages, struct remus_error *err)
{
	emitted += bytes;
	return 0;
}
static struct remus_encoder *encoder[3]; /* by number of threads working: [1] caller alone, [2] one more */
static struct remus_encoder *compressor[3];

static void run(struct remus_encoder *e)
{
	struct remus_error err;
	emitted = 0;
	if (remus_encoder_run(e, ++epoch, pfn, copy, EPOCH, PAYLOAD, sink, NULL, &err) < 0) {
		fprintf(stderr, "bench-pages: %s\n", err.message);
		exit(1);
	}
}
static void encode_alone(void)
{
	run(encoder[1]);
}
static void encode_two(void)
{
	run(encoder[2]);
}
static void copy_and_encode(void)
{
	copy_epoch();
	run(encoder[1]);
}
static void copy_and_encode_two(void)
{
	copy_epoch();
	run(encoder[2]);
}
static void compress_alone(void)
{
	run(compressor[1]);
}
static void compress_two(void)
{
	run(compressor[2]);
}

/* ---- measuring ---- */

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}
static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

struct side {
	void (*run)(void);
	double us[REPEAT];
	uint64_t bytes;
};

static void once(struct side *side, unsigned round)
{
	double start = now();
	side->run();
	side->us[round] = now() - start;
	side->bytes = emitted;
}

static void sweep(void)
{
	for (size_t i = 0; i < ALL_MEMORY; i += 64)
		keep += guest[i];
}
/* Each round the guest changes its pages once, for both sides; before each side the caches get cold. */
static void compare(const char *name, void (*a)(void), void (*b)(void))
{
	struct side sa = {.run = a}, sb = {.run = b};
	for (unsigned round = 0; round < REPEAT; round++) {
		change();
		copy_epoch();
		sweep();
		once(&sa, round);
		sweep();
		once(&sb, round);
	}
	qsort(sa.us, REPEAT, sizeof sa.us[0], by_value);
	qsort(sb.us, REPEAT, sizeof sb.us[0], by_value);
	double ta = sa.us[REPEAT / 2] / EPOCH, tb = sb.us[REPEAT / 2] / EPOCH;
	printf("%-52s %6.2f   (%.2f / %.2f us per page)\n", name, ta / tb, ta, tb);
}

static void print_bytes(const char *name, void (*f)(void))
{
	copy_epoch();
	f(); /* the state before */
	change();
	copy_epoch();
	f();
	printf("%-52s %6.3f\n", name, (double)emitted / ((double)EPOCH * REMUS_PAGE_SIZE));
}

static uint8_t *memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		perror("bench-pages: mmap");
		exit(77);
	}
	return p;
}

int main(void)
{
	guest = memory(ALL_MEMORY);
	base = memory(ALL_MEMORY);
	other = memory(ALL_MEMORY);
	copy = memory((size_t)EPOCH * REMUS_PAGE_SIZE);
	out = memory(2 * REMUS_PAGE_RECORD_MAX);
	for (size_t i = 0; i < EPOCH; i++) {
		pfn[i] = i * GUEST / EPOCH + rnd() % (GUEST / EPOCH);
		fill(page_at(guest, i));
		memcpy(page_at(base, i), page_at(guest, i), REMUS_PAGE_SIZE);
		memset(page_at(other, i), 0, REMUS_PAGE_SIZE);
	}
	for (unsigned n = 1; n <= 2; n++) {
		struct remus_encoder_config config = {.guest_pages = GUEST,
						      .cache_bytes = CACHE,
						      .threads = n - 1,
						      .compress = true,
						      .delta = true};
		if (remus_encoder_create(&config, &encoder[n], NULL) < 0)
			return 1;
		config.delta = false;
		if (remus_encoder_create(&config, &compressor[n], NULL) < 0)
			return 1;
	}
	copy_epoch();
	encode_alone();
	encode_two();

	printf("%-52s %6s\n", "time", "ratio");
	compare("delta with base update / memcpy", delta_from_guest, copy_epoch);
	compare("zero test of zero pages / memcpy", zero_test, copy_zeros);
	compare("copy + encode, 2 % changed / copy + LZ4", copy_and_encode, copy_and_lz4);
	compare("copy + encode, 1 more thread / copy + LZ4", copy_and_encode_two, copy_and_lz4);
	compare("encode, 2 % changed: 1 more thread / caller alone", encode_two, encode_alone);
	compare("LZ4 only: 1 more thread / caller alone", compress_two, compress_alone);
	compare("LZ4 only: encoder, caller alone / bare LZ4 loop", compress_alone, lz4_epoch);
	printf("%-52s %6s\n", "bytes", "ratio");
	print_bytes("encode, 2 % changed / raw", encode_alone);
	print_bytes("LZ4 / raw", lz4_epoch);
	for (unsigned n = 1; n <= 2; n++) {
		remus_encoder_destroy(encoder[n]);
		remus_encoder_destroy(compressor[n]);
	}
	return 0;
}
