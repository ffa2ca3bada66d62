/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The offset filter against recorded delays and clocks that drift, jump and lie (continuity/offset.c). */
#include "remus/clock.h"
#include "unit.h"

#define BEATS_US 50000u

/* Recorded over TCP on a busy machine of two cores, a beat each 50 ms: to the peer, there, and back, us. The delays of
 * question and answer differ, which is what an offset is wrong by. */
static const struct {
	uint32_t there, stay, back;
} recorded[] = {
	{178, 17, 101},	  {95, 10, 49},	   {81, 9, 38},	     {103, 2868, 87}, {101, 9, 46},
	{79, 7, 48},	  {85, 7, 36},	   {81, 6, 37},	     {78, 5, 36},     {68, 1630, 1287},
	{80, 6, 36},	  {116, 6, 127},   {5054, 569, 62},  {97, 7, 47},     {97, 7, 57},
	{79, 5, 63},	  {81, 3813, 97},  {73, 1792, 2432}, {73, 6, 38},     {94, 7, 628},
	{109, 9, 71},	  {103, 6, 44},	   {75, 2539, 40},   {752, 8, 47},    {89, 6, 43},
	{402, 6, 51},	  {134, 7, 47},	   {106, 1332, 87},  {78, 5, 42},     {71, 6, 33},
	{65, 5, 41},	  {71, 4, 34},	   {71, 4, 43},	     {75, 5, 35},     {92, 5, 66},
	{101, 6, 42},	  {75, 5, 45},	   {88, 1700, 74},   {76, 6, 35},     {66, 3030, 4681},
	{90, 5, 35},	  {70, 5, 44},	   {84, 7, 38},	     {84, 5, 43},     {95, 1683, 832},
	{71, 5, 252},	  {67, 5, 43},	   {70, 6, 34},	     {95, 5, 43},     {110, 7, 56},
	{78, 3401, 39},	  {69, 5, 41},	   {73, 5, 35},	     {71, 5, 46},     {82, 6, 36},
	{69, 5, 43},	  {82, 6, 35},	   {71, 1621, 46},   {77, 5, 36},     {89, 1606, 1632},
	{71, 4, 34},	  {134, 6, 61},	   {91, 6, 43},	     {67, 5, 41},     {72, 5, 36},
	{85, 5, 49},	  {71, 571, 1639}, {109, 5, 35},     {65, 6, 51},     {90, 271, 72},
	{95, 1922, 5073}, {94, 8853, 108}, {86, 6, 43},	     {89, 1040, 101}, {97, 7, 136},
	{95, 6, 45},	  {78, 6, 54},	   {92, 6, 43},	     {84, 2254, 97},  {89, 6, 45},
	{75, 887, 60},	  {220, 9, 471},   {71, 5, 53},	     {86, 7, 45},     {80, 7, 56},
	{86, 7, 42},	  {87, 6, 54},	   {92, 6, 43},	     {3328, 10, 80},  {158, 266, 275},
	{95, 3967, 91},	  {84, 6, 52},	   {93, 6, 44},	     {71, 5, 43},     {74, 5, 33},
	{65, 5, 42},
};
#define RECORDED (sizeof recorded / sizeof recorded[0])

/* Two clocks: the peer's shows @ahead more than ours at our 0, and gains @ppm on it. */
struct clocks {
	int64_t ahead;
	int32_t ppm;
};

static uint64_t peers(const struct clocks *c, uint64_t ours)
{
	return ours + (uint64_t)c->ahead + (uint64_t)((int64_t)ours / 1000000 * c->ppm) +
	       (uint64_t)((int64_t)(ours % 1000000) * c->ppm / 1000000);
}

static int64_t beat(struct remus_offset *o, const struct clocks *c, uint64_t t1, size_t i)
{
	uint64_t at = t1 + recorded[i].there, answer = at + recorded[i].stay;

	return remus_offset_add(o, t1, peers(c, at), peers(c, answer), answer + recorded[i].back);
}

static int64_t truth_ns(const struct clocks *c, uint64_t ours)
{
	return (int64_t)(peers(c, ours) - ours) * 1000;
}

/* At every moment the offset lies within the bound, and the bound is that of the best delay there was. */
static void recorded_delays(void)
{
	static const struct clocks clocks[] = {
		{0, 0},	    {5000000, 0}, {-5000000, 0},     {31536000000000, 90},
		{-7, -400}, {1234, 499},  {-98765432, -499},
	};

	for (size_t n = 0; n < REMUS_ARRAY_SIZE(clocks); n++) {
		struct remus_offset o = {0};
		uint64_t t1 = UINT64_C(1795000000000000);
		int64_t longest = 0;
		for (unsigned i = 0; i < 20 * RECORDED; i++, t1 += BEATS_US) {
			int64_t delay = beat(&o, &clocks[n], t1, i % RECORDED);
			longest = delay > longest ? delay : longest;
			CU_ASSERT(llabs(delay -
					(recorded[i % RECORDED].there + recorded[i % RECORDED].back)) <= 5);
			for (uint64_t later = t1 + 10000; later <= t1 + 3000000; later += 990000) {
				uint64_t off = (uint64_t)llabs(o.offset_ns - truth_ns(&clocks[n], later));
				CU_ASSERT(off <= remus_offset_error(&o, later));
			}
			/* Six beats in seven come back within 0.4 ms, and what is kept gains 25 us a beat. */
			if (i > 20)
				CU_ASSERT(remus_offset_error(&o, t1 + BEATS_US) < 400000);
		}
		CU_ASSERT(longest > 1000);
		CU_ASSERT(o.samples == 20 * RECORDED && o.restarts == 0);
	}
}

/* The sample with the least delay counts, until its age has made it worse than a newer one. */
static void age(void)
{
	struct remus_offset o = {0};

	CU_ASSERT(remus_offset_error(&o, 0) == UINT64_MAX);
	CU_ASSERT(remus_offset_add(&o, 1000000, 1000050, 1000050, 1000100) == 100);
	CU_ASSERT(o.offset_ns == 0 && o.error_ns == 51050 && o.at_us == 1000100);
	CU_ASSERT(remus_offset_add(&o, 1800000, 1800900, 1800900, 1801000) == 1000); /* 400 us of asymmetry */
	CU_ASSERT(o.offset_ns == 0 && o.samples == 2);
	CU_ASSERT(remus_offset_error(&o, 2000100) == 51050 + 500000); /* 500 ppm of a second */
	CU_ASSERT(remus_offset_error(&o, 100) == 51050 + 500000);     /* and of one before it */
	CU_ASSERT(remus_offset_error(&o, 1000102) == 51050 + 1);
	CU_ASSERT(remus_offset_add(&o, 3000000, 3000900, 3000900, 3001000) == 1000);
	CU_ASSERT(o.offset_ns == 400000 && o.error_ns == 501500);
	CU_ASSERT(o.restarts == 0);
}

/* What can't be true together: a clock was stepped. The filter believes the newer sample, at once. */
static void steps(void)
{
	static const int64_t step_us[] = {-3600000000, -5000, 5000, 3600000000};

	for (size_t n = 0; n < REMUS_ARRAY_SIZE(step_us); n++) {
		struct clocks c = {7000000, 50};
		struct remus_offset o = {0};
		uint64_t t1 = UINT64_C(1795000000000000);
		for (size_t i = 0; i < 40; i++, t1 += BEATS_US)
			beat(&o, &c, t1, i);
		CU_ASSERT(o.restarts == 0);
		c.ahead += step_us[n];
		for (size_t i = 40; i < 60; i++, t1 += BEATS_US) {
			beat(&o, &c, t1, i);
			uint64_t off = (uint64_t)llabs(o.offset_ns - truth_ns(&c, t1 + 10000));
			CU_ASSERT(off <= remus_offset_error(&o, t1 + 10000));
		}
		CU_ASSERT(o.restarts == 1 && o.samples == 20);
	}
}

/* A step between question and answer makes a delay that cannot be, or a long one, which counts for little. */
static void step_within_a_beat(void)
{
	struct remus_offset o = {0};

	CU_ASSERT(remus_offset_add(&o, 1000000, 1000050, 1000060, 1000110) == 100);
	CU_ASSERT(remus_offset_add(&o, 2000000, 2000050, 3000060, 2000110) < 0); /* the peer's, forward */
	CU_ASSERT(remus_offset_add(&o, 2000000, 2000050, 1500060, 2000110) == 500100); /* back */
	CU_ASSERT(o.samples == 2 && o.offset_ns == 0 && o.at_us == 1000110);
}

static void nonsense(void)
{
	static const uint64_t bad[][4] = {
		{1000, 1, 900, 1500},			       /* a delay below zero */
		{0, 30000000, 30000000, 60000001},	       /* above a minute */
		{0, UINT64_C(1) << 62, UINT64_C(1) << 62, 10}, /* an offset of millennia */
		{UINT64_C(1) << 62, 5, 5, (UINT64_C(1) << 62) + 10},
		{0, UINT64_MAX / 2 + 1, UINT64_MAX / 2 + 1, 10},
		{0, UINT64_MAX / 2, 0, 10},
		{UINT64_MAX, 0, UINT64_MAX, 0},
	};
	struct remus_offset before = {0}, o = {0};

	remus_offset_add(&o, 1000, 1050, 1060, 1110);
	before = o;
	for (size_t i = 0; i + 1 < REMUS_ARRAY_SIZE(bad); i++)
		CU_ASSERT(remus_offset_add(&o, bad[i][0], bad[i][1], bad[i][2], bad[i][3]) < 0);
	CU_ASSERT(!memcmp(&before, &o, sizeof o));
	/* Counting round is fine. */
	o.samples = UINT32_MAX;
	CU_ASSERT(remus_offset_add(&o, 2000, 2050, 2060, 2110) == 100);
	CU_ASSERT(o.samples == UINT32_MAX);
	CU_ASSERT(remus_offset_error(&o, UINT64_MAX) == UINT64_MAX);
}

static const struct unit_case cases[] = {
	{"recorded delays", recorded_delays},	      {"age", age},	      {"steps", steps},
	{"a step within a beat", step_within_a_beat}, {"nonsense", nonsense},
};
UNIT_MAIN("clock offset", cases)
