/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Xen's page types, the backup's shadow of guest memory, and what the primary tells of a guest. */
#include "unit.h"
#include "remus/bitmap.h"
#include "replicator/domain/xen/description.h"
#include "replicator/domain/xen/shadow.h"
#include "replicator/domain/xen/clocks.h"
#include "replicator/domain/xen/types.h"

static void test_types(void)
{
	static const struct {
		uint64_t type;
		bool content;
	} cases[] = {
		{0, true},
		{UINT64_C(0x10000000), true},
		{UINT64_C(0xc0000000), true},
		{UINT64_C(0xf0000000), false},
		{UINT64_C(0xe0000000), false},
		{UINT64_C(0xd0000000), false},
	};
	uint64_t type[REMUS_ARRAY_SIZE(cases)], map[3] = {0};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		type[i] = cases[i].type;
		CU_ASSERT_EQUAL(remus_xen_type_has_content(type[i]), cases[i].content);
	}
	remus_xen_types_mark(map, 62, type, REMUS_ARRAY_SIZE(cases)); /* across a word */
	CU_ASSERT_EQUAL(map[0], UINT64_C(3) << 62);
	CU_ASSERT_EQUAL(map[1], 1);
	CU_ASSERT_EQUAL(map[2], 0);
}

static void test_shadow(void)
{
	enum { PAGES = 1044480 }; /* of a 128 MiB PVH guest */
	struct remus_xen_shadow s;
	uint64_t pfn[4], cursor = 0;

	CU_ASSERT_EQUAL_FATAL(remus_xen_shadow_create(&s, PAGES, NULL), 0);
	CU_ASSERT_PTR_NULL(remus_xen_shadow_page(&s, PAGES));
	memset(remus_xen_shadow_page(&s, PAGES - 1), 7, 4096);
	remus_xen_shadow_page(&s, 3);
	remus_xen_shadow_page(&s, 3);
	remus_xen_shadow_page(&s, 700);
	CU_ASSERT_EQUAL(s.touched_count, 3);
	CU_ASSERT_EQUAL(remus_xen_shadow_take(&s, &cursor, pfn, 2), 2);
	CU_ASSERT(pfn[0] == 3 && pfn[1] == 700);
	CU_ASSERT_EQUAL(remus_xen_shadow_take(&s, &cursor, pfn, 2), 1);
	CU_ASSERT_EQUAL(pfn[0], PAGES - 1);
	CU_ASSERT_EQUAL(remus_xen_shadow_take(&s, &cursor, pfn, 2), 0);
	CU_ASSERT_EQUAL(s.touched_count, 0);

	remus_xen_shadow_touch_all(&s); /* a second domain gets all of it */
	cursor = 0;
	CU_ASSERT_EQUAL(s.touched_count, 3);
	CU_ASSERT_EQUAL(remus_xen_shadow_take(&s, &cursor, pfn, 4), 3);
	CU_ASSERT_EQUAL(s.memory[(uint64_t)(PAGES - 1) * 4096], 7);
	remus_xen_shadow_destroy(&s);
}

static void test_description(void)
{
	uint8_t cpuid[48], msr[16];
	char config[] = "{\"c_info\":{\"name\":\"web1\"}}", *json;
	struct remus_xen_description in = {.name = "web1",
					   .major = 4,
					   .minor = 17,
					   .pages = 1044480,
					   .memory_kib = 131072,
					   .cpuid = cpuid,
					   .msr = msr,
					   .cpuid_bytes = sizeof cpuid,
					   .msr_bytes = sizeof msr,
					   .config = config,
					   .tsc_mode = 2,
					   .tsc_khz = 2894560};
	struct remus_xen_description out;

	for (size_t i = 0; i < sizeof cpuid; i++)
		cpuid[i] = (uint8_t)(i * 37);
	memset(msr, 0xee, sizeof msr);
	CU_ASSERT_EQUAL_FATAL(remus_xen_describe(&in, &json, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_xen_description_parse(json, &out, NULL), 0);
	CU_ASSERT_STRING_EQUAL(out.name, "web1");
	CU_ASSERT(out.major == 4 && out.minor == 17 && out.pages == 1044480 && out.memory_kib == 131072);
	CU_ASSERT(out.cpuid_bytes == 48 && !memcmp(out.cpuid, cpuid, 48));
	CU_ASSERT(out.msr_bytes == 16 && !memcmp(out.msr, msr, 16));
	CU_ASSERT_STRING_EQUAL(out.config, config);
	CU_ASSERT(out.tsc_mode == 2 && out.tsc_khz == 2894560);
	remus_xen_description_free(&out);
	free(json);
}

#define TEXT(name, type, version, pages, kib, cpuid, msr, config)                              \
	"{\"xen\":1,\"type\":\"" type "\",\"name\":\"" name "\",\"version\":\"" version        \
	"\",\"pages\":" pages ",\"memory_kib\":" kib ",\"cpuid\":\"" cpuid "\",\"msr\":\"" msr \
	"\",\"config\":" config "}"
#define LEAF "00112233445566778899aabbccddeeff0011223344556677"

static void test_description_refused(void)
{
	static const struct {
		const char *json, *word;
	} cases[] = {
		{"[", "no JSON"},
		{"{}", "no Xen guest"},
		{TEXT("a", "hvm", "4.17", "10", "40", "", "", "{}"), "hvm guests"},
		{TEXT("a", "pvh", "4", "10", "40", "", "", "{}"), "version"},
		{TEXT("a", "pvh", "4.17.1", "10", "40", "", "", "{}"), "version"},
		{TEXT("a", "pvh", "4.-17", "10", "40", "", "", "{}"), "version"},
		{TEXT("a", "pvh", "+4.17", "10", "40", "", "", "{}"), "version"},
		{TEXT("a", "pvh", "4.17", "0", "40", "", "", "{}"), "0 pages"},
		{TEXT("a", "pvh", "4.17", "-4", "40", "", "", "{}"), "-4 pages"},
		{TEXT("a", "pvh", "4.17", "9999999999", "40", "", "", "{}"), "pages"},
		{TEXT("a", "pvh", "4.17", "10", "41", "", "", "{}"), "41 KiB"},
		{TEXT("a/b", "pvh", "4.17", "10", "40", "", "", "{}"), "name"},
		{TEXT("", "pvh", "4.17", "10", "40", "", "", "{}"), "name"},
		{TEXT("a", "pvh", "4.17", "10", "40", "00", "", "{}"), "cpuid"},
		{TEXT("a", "pvh", "4.17", "10", "40", LEAF, "0g", "{}"), "msr"},
		{TEXT("a", "pvh", "4.17", "10", "40", LEAF, "zz112233445566778899aabbccddeeff", "{}"),
		 "hexadecimal"},
		{TEXT("a", "pvh", "4.17", "10", "40", "", "", "7"), "no Xen guest"},
		{TEXT("a", "pvh", "4.17", "10", "40", "", "", "{},\"tsc\":{\"mode\":4,\"khz\":1}"), "mode 4"},
		{TEXT("a", "pvh", "4.17", "10", "40", "", "", "{},\"tsc\":{\"mode\":0,\"khz\":-1}"),
		 "-1 kHz"},
		{TEXT("a", "pvh", "4.17", "10", "40", "", "", "{},\"tsc\":[]"), "0 kHz"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		struct remus_xen_description out;
		struct remus_error err = REMUS_ERROR_INIT;
		CU_ASSERT(remus_xen_description_parse(cases[i].json, &out, &err) < 0);
		UNIT_ASSERT_MESSAGE(err, cases[i].word);
	}
}

static void test_time_offset(void)
{
	static const struct {
		const char *config, *key, *zone;
		int64_t offset;
	} cases[] = {
		{"{}", NULL, "UTC", 0},
		{NULL, NULL, "UTC", 0},
		{"{\"b_info\":{\"rtc_timeoffset\":3600}}", NULL, "UTC", 3600},
		{"{\"b_info\":{\"rtc_timeoffset\":4294963696}}", NULL, "UTC", -3600},
		{"{\"b_info\":{\"localtime\":true}}", NULL, "XXX-5", 18000},
		{"{\"b_info\":{\"localtime\":true,\"rtc_timeoffset\":1}}", "", "XXX+5", -17999},
		{"{\"b_info\":{\"rtc_timeoffset\":3600}}", "-7", "UTC", -7},
		{"{\"b_info\":{\"rtc_timeoffset\":3600}}", "0", "UTC", 0},
		{"{\"b_info\":{\"rtc_timeoffset\":3600}}", "7x", "UTC", 3600},
		{"{\"b_info\":{\"rtc_timeoffset\":3600}}", "99999999999", "UTC", 3600},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		setenv("TZ", cases[i].zone, 1);
		tzset();
		CU_ASSERT_EQUAL(remus_xen_time_offset(cases[i].config, cases[i].key, 1795000000),
				cases[i].offset);
	}
}

static void test_tsc(void)
{
	static const struct {
		uint32_t mode, khz, host;
		int severity; /* -1: nothing is said */
		const char *word;
	} cases[] = {
		{0, 0, 2000000, -1, ""},
		{0, 2000000, 2000000, REMUS_FINDING_OK, "2000000 kHz"},
		{0, 2000000, 2000001, REMUS_FINDING_WARNING, "emulated after a failover"},
		{0, 2000000, 0, REMUS_FINDING_WARNING, "doesn't tell"},
		{1, 2000000, 3000000, REMUS_FINDING_OK, "here as there"},
		{2, 2000000, 3000000, REMUS_FINDING_WARNING, "wrong rate"},
		{2, 2000000, 2000000, REMUS_FINDING_OK, "2000000 kHz"},
	};
	static struct remus_report report;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		struct remus_xen_description d = {
			.name = "web1", .tsc_mode = cases[i].mode, .tsc_khz = cases[i].khz};
		memset(&report, 0, sizeof report);
		remus_xen_check_tsc(&d, cases[i].host, &report);
		CU_ASSERT_EQUAL_FATAL(report.count, cases[i].severity >= 0);
		if (!report.count)
			continue;
		CU_ASSERT_EQUAL((int)report.list[0].severity, cases[i].severity);
		CU_ASSERT(strstr(report.list[0].what, cases[i].word) != NULL);
	}
}

static void test_nics(void)
{
	static const struct {
		const char *config, *interface;
		int count;
	} cases[] = {
		{"{}", "", 0},
		{"{\"nics\":[{\"devid\":2,\"mac\":\"00:16:3e:0a:00:65\"}]}", "vif7.2", 1},
		{"{\"nics\":[{\"mac\":\"00:16:3e:0a:00:65\"}]}", "vif7.0", 1},
		{"{\"nics\":[{\"devid\":0,\"mac\":\"00:16:3e:0a:00:65\",\"ifname\":\"web\"}]}", "web", 1},
		{"{\"nics\":[{\"devid\":0}]}", "", -EBADMSG},
		{"{\"nics\":[{\"mac\":\"00:16:3e:0a:00\"}]}", "", -EBADMSG},
		{"{\"nics\":[{\"mac\":\"00:16:3e:0a:00:-5\"}]}", "", -EBADMSG},
		{"{\"nics\":[{},{},{}]}", "", -E2BIG},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(cases); i++) {
		struct remus_xen_description d = {.config = strdup(cases[i].config)};
		struct remus_nic nic[2];
		CU_ASSERT_EQUAL(remus_xen_description_nics(&d, 7, nic, 2, NULL), cases[i].count);
		if (cases[i].count == 1) {
			CU_ASSERT_STRING_EQUAL(nic[0].interface, cases[i].interface);
			CU_ASSERT(nic[0].kind == REMUS_NIC_VIF && nic[0].mac[3] == 0x0a);
		}
		remus_xen_description_free(&d);
	}
}

static const struct unit_case cases[] = {
	{"page types", test_types},
	{"shadow", test_shadow},
	{"description: round trip", test_description},
	{"description: refused", test_description_refused},
	{"description: interfaces", test_nics},
	{"time offset", test_time_offset},
	{"tsc", test_tsc},
};

UNIT_MAIN("xen-facts", cases)
