/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that knows what it should hold. Every page of a region is filled with words derived from (page,
 * generation); a ledger elsewhere keeps each page's generation. After a failover
 *   - a page with words of two generations is *torn*: its bytes come from two epochs;
 *   - a page that is whole but of another generation than the ledger's is *stale* (or the ledger is): memory
 *     comes from two epochs. That is what a lost dirty page looks like (I3, I9).
 * Pages are stamped in random order, so that an epoch's dirty set is scattered as a real guest's is.
 */
#include "guest.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define WORDS		512 /* of 8 bytes, a page */
#define CHECK_PER_TICK	2   /* the check that always runs: 400 pages a second */
#define VERIFY_PER_TICK 64  /* a full pass: 12,800 pages a second */
#define BACKLOG_NS	50000000

static struct {
	uint64_t (*page)[WORDS];
	uint32_t *generation;
	uint64_t pages, rate, random;
	uint64_t last_ns, owed; /* owed: page-nanoseconds not yet turned into stamps */
	uint64_t slow_cursor, verify_cursor;
	bool verifying;
} region;
static struct stamp_report report;

static uint64_t mix(uint64_t x)
{
	/* The finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t next_random(void)
{
	return mix(region.random += 0x9e3779b97f4a7c15u);
}

/* The first word names page and generation in clear, so that a bad page can be explained. */
static uint64_t head_of(uint64_t page, uint32_t generation)
{
	return page << 32 | generation;
}

static void stamp(uint64_t page)
{
	uint32_t generation = region.generation[page] + 1;
	uint64_t head = head_of(page, generation), word = mix(head);
	uint64_t *p = region.page[page];
	p[0] = head;
	for (int i = 1; i < WORDS; i++)
		p[i] = word += 0x9e3779b97f4a7c15u;
	region.generation[page] = generation;
	report.stamped++;
}

/* Is the page whole, whatever its generation? */
static bool whole(const uint64_t *p)
{
	uint64_t word = mix(p[0]);
	for (int i = 1; i < WORDS; i++)
		if (p[i] != (word += 0x9e3779b97f4a7c15u))
			return false;
	return true;
}

static bool check(uint64_t page, bool full_pass)
{
	const uint64_t *p = region.page[page];
	uint64_t expected = head_of(page, region.generation[page]);
	bool is_whole = whole(p);
	report.checked++;
	if (is_whole && p[0] == expected)
		return true;
	if (!report.checked_bad++) {
		report.first_bad_page = page;
		report.first_bad_expected = expected;
		report.first_bad_found = p[0];
		printf("DRILL-BAD page %llu is %s, expected %llx, found %llx\n", (unsigned long long)page,
		       is_whole ? "stale" : "torn", (unsigned long long)expected, (unsigned long long)p[0]);
		fflush(stdout);
	}
	if (full_pass) {
		report.bad++;
		*(is_whole ? &report.stale : &report.torn) += 1;
	}
	return false;
}

void stamp_start(uint64_t pages, uint64_t rate)
{
	int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
	region.page = mmap(NULL, pages * sizeof region.page[0], prot, flags, -1, 0);
	region.generation = mmap(NULL, pages * sizeof region.generation[0], prot, flags, -1, 0);
	if (region.page == MAP_FAILED || region.generation == MAP_FAILED)
		die("no memory for %llu stamped pages", (unsigned long long)pages);
	region.pages = pages;
	region.rate = rate;
	region.random = 1;
	for (uint64_t i = 0; i < pages; i++)
		stamp(i);
	report.stamped = 0;
	region.last_ns = now_ns();
}

void stamp_tick(void)
{
	uint64_t now = now_ns(), passed = now - region.last_ns;
	region.last_ns = now;
	/* After a long silence (a failover) do not make up for it in one burst. */
	region.owed += (passed < BACKLOG_NS ? passed : BACKLOG_NS) * region.rate;
	for (; region.owed >= 1000000000u; region.owed -= 1000000000u)
		stamp(next_random() % region.pages);

	for (int i = 0; i < CHECK_PER_TICK; i++)
		check(region.slow_cursor++ % region.pages, false);
	if (!region.verifying)
		return;
	for (int i = 0; i < VERIFY_PER_TICK && region.verify_cursor < region.pages; i++, report.pages++)
		check(region.verify_cursor++, true);
	region.verifying = region.verify_cursor < region.pages;
}

void stamp_verify_begin(void)
{
	report.pages = report.bad = report.torn = report.stale = 0;
	region.verify_cursor = 0;
	region.verifying = true;
}

bool stamp_verify_running(void)
{
	return region.verifying;
}

const struct stamp_report *stamp_report(void)
{
	return &report;
}
