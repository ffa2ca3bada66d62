/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Findings: what is collected, which of them is protect's error, and what a lying peer may put into a frame. */
#include "remus/findings.h"
#include "remus/wire.h"
#include "unit.h"

static struct remus_report in, out;

static void sample(void)
{
	memset(&in, 0, sizeof in);
	strcpy(in.release, "0.1.0");
	remus_report_ok(&in, "memory", "%d MiB are free", 512);
	remus_report_warn(&in, "clock", "run an NTP client", "the clock isn't synchronised");
	remus_report_fatal(&in, -ENODEV, "bridge", "make it", "there is no bridge %s", "xenbr1");
}

static void first_fatal_is_the_error(void)
{
	struct remus_error err = REMUS_ERROR_INIT, why = REMUS_ERROR_INIT;

	memset(&in, 0, sizeof in);
	CU_ASSERT_EQUAL(remus_report_first(&in, &err), 0);
	remus_report_warn(&in, "clock", "run an NTP client", "off");
	CU_ASSERT_EQUAL(remus_report_first(&in, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.message, "");
	CU_ASSERT_EQUAL(remus_report_fatal(&in, -ENODEV, "bridge", "make it", "no bridge %s", "br0"),
			-ENODEV);
	remus_fail(&why, -ENOMEM, "no memory for it");
	CU_ASSERT_EQUAL(remus_report_error(&in, "memory", NULL, &why), -ENOMEM);
	CU_ASSERT_EQUAL(remus_report_first(&in, &err), -ENODEV);
	CU_ASSERT_STRING_EQUAL(err.message, "no bridge br0; make it");
	CU_ASSERT_EQUAL(remus_report_first(&in, NULL), -ENODEV);
	CU_ASSERT_EQUAL(remus_report_count(&in, REMUS_FINDING_FATAL), 2);
	CU_ASSERT_EQUAL(remus_report_count(&in, REMUS_FINDING_WARNING), 1);
	CU_ASSERT_EQUAL(remus_report_count(&in, REMUS_FINDING_OK), 0);
}

static void a_full_report_keeps_what_is_fatal(void)
{
	memset(&in, 0, sizeof in);
	for (unsigned i = 0; i < REMUS_FINDINGS_MAX + 5; i++)
		remus_report_ok(&in, "x", "%u", i);
	CU_ASSERT_EQUAL(in.count, REMUS_FINDINGS_MAX);
	CU_ASSERT_EQUAL(in.lost, 5);
	CU_ASSERT_EQUAL(remus_report_fatal(&in, -EPERM, "x", NULL, "late"), -EPERM);
	CU_ASSERT_EQUAL(remus_report_first(&in, NULL), -EPERM);
	for (unsigned i = 0; i < 2 * REMUS_FINDINGS_MAX; i++)
		remus_report_fatal(&in, -EIO, "y", NULL, "%u", i);
	CU_ASSERT_EQUAL(remus_report_count(&in, REMUS_FINDING_FATAL), REMUS_FINDINGS_MAX);
	CU_ASSERT_EQUAL(in.lost, 5 + 1 + 2 * REMUS_FINDINGS_MAX);
	/* A code that is none still makes a fatal finding an error. */
	memset(&in, 0, sizeof in);
	remus_report_fatal(&in, 0, "x", NULL, "no code");
	CU_ASSERT_EQUAL(remus_report_first(&in, NULL), -EIO);
}

static void round_trip(void)
{
	uint8_t *bytes = NULL;
	size_t n = 0;

	sample();
	CU_ASSERT_EQUAL_FATAL(remus_findings_encode(&in, &bytes, &n, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_findings_decode(bytes, n, &out, NULL), 0);
	CU_ASSERT(!memcmp(&in, &out, sizeof in));
	free(bytes);
	memset(&in, 0, sizeof in); /* nothing to say */
	CU_ASSERT_EQUAL_FATAL(remus_findings_encode(&in, &bytes, &n, NULL), 0);
	CU_ASSERT_EQUAL(n, 12);
	CU_ASSERT_EQUAL(remus_findings_decode(bytes, n, &out, NULL), 0);
	CU_ASSERT_EQUAL(out.count, 0);
	free(bytes);
}

static void everything_at_its_cap_fits(void)
{
	uint8_t *bytes = NULL;
	size_t n = 0;

	memset(&in, 0, sizeof in);
	memset(in.release, 'r', sizeof in.release - 1);
	in.count = REMUS_FINDINGS_MAX;
	for (unsigned i = 0; i < in.count; i++) {
		in.list[i].severity = REMUS_FINDING_FATAL;
		in.list[i].code = -4095;
		memset(in.list[i].subject, 's', sizeof in.list[i].subject - 1);
		memset(in.list[i].what, 'w', sizeof in.list[i].what - 1);
		memset(in.list[i].remedy, 'd', sizeof in.list[i].remedy - 1);
	}
	CU_ASSERT_EQUAL_FATAL(remus_findings_encode(&in, &bytes, &n, NULL), 0);
	CU_ASSERT(n <= remus_frame_payload_max(REMUS_FRAME_FINDINGS));
	CU_ASSERT_EQUAL_FATAL(remus_findings_decode(bytes, n, &out, NULL), 0);
	CU_ASSERT(!memcmp(&in, &out, sizeof in));
	free(bytes);
}

static void every_truncation_is_refused(void)
{
	uint8_t *bytes = NULL;
	size_t n = 0;
	unsigned wrong = 0;

	sample();
	CU_ASSERT_EQUAL_FATAL(remus_findings_encode(&in, &bytes, &n, NULL), 0);
	for (size_t cut = 0; cut < n; cut++) {
		struct remus_error err = REMUS_ERROR_INIT;
		uint8_t *exact = malloc(cut ? cut : 1); /* so that a sanitizer sees a read past the end */
		memcpy(exact, bytes, cut);
		wrong += remus_findings_decode(exact, cut, &out, &err) != -EBADMSG || out.count ||
			 !err.message[0];
		free(exact);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	uint8_t *more = malloc(n + 1);
	memcpy(more, bytes, n);
	more[n] = 0;
	CU_ASSERT_EQUAL(remus_findings_decode(more, n + 1, &out, NULL), -EBADMSG);
	free(more);
	free(bytes);
}

/* Overwrite 4 bytes of a good report: 0 count, 4 lost, 8 release (5 bytes), 17 the first finding's severity, 21 its
 * code, 25 its subject (6 bytes), 35 what it says. */
static void lies(void)
{
	static const struct {
		size_t at;
		uint32_t value;
		const char *word;
	} table[] = {
		{0, REMUS_FINDINGS_MAX + 1, "at most"},
		{0, UINT32_MAX, "at most"},
		{0, 4, "end in the middle"},
		{0, 2, "follow"},
		{8, UINT32_MAX, "release"},
		{8, REMUS_FINDINGS_RELEASE_MAX, "release"},
		{17, 3, "severity 0x3"},
		{17, 0x100, "severity 0x100"},
		{17, REMUS_FINDING_FATAL, "errno value 0"}, /* fatal without a code */
		{21, 5, "errno value 5"},		    /* a code of what is well */
		{25, REMUS_FINDING_SUBJECT_MAX, "subject"},
		{25, UINT32_MAX - 3, "subject"},
		{35, REMUS_FINDING_WHAT_MAX, "finding"},
	};
	uint8_t *bytes = NULL;
	size_t n = 0;

	sample();
	CU_ASSERT_EQUAL_FATAL(remus_findings_encode(&in, &bytes, &n, NULL), 0);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		uint8_t *copy = malloc(n);
		memcpy(copy, bytes, n);
		remus_put_le32(copy + table[i].at, table[i].value);
		CU_ASSERT_EQUAL(remus_findings_decode(copy, n, &out, &err), -EBADMSG);
		UNIT_ASSERT_MESSAGE(err, table[i].word);
		CU_ASSERT_EQUAL(out.count, 0);
		free(copy);
	}
	/* What would drive a terminal or end a string early comes out harmless. */
	memcpy(bytes + 29, "\033[2J\0\n", 6);
	CU_ASSERT_EQUAL(remus_findings_decode(bytes, n, &out, NULL), 0);
	CU_ASSERT_STRING_EQUAL(out.list[0].subject, "?[2J??");
	free(bytes);
}

static void random_bytes(void)
{
	uint8_t noise[512];
	unsigned seed = 1;

	for (unsigned i = 0; i < 20000; i++) {
		size_t n = (unsigned)rand_r(&seed) % sizeof noise;
		for (size_t k = 0; k < n; k++)
			noise[k] = (uint8_t)rand_r(&seed);
		if (n > 4)
			remus_put_le32(noise, i % (REMUS_FINDINGS_MAX + 2));
		if (n > 12)
			remus_put_le32(noise + 8, i % 8);
		int rc = remus_findings_decode(noise, n, &out, NULL);
		if (rc && (rc != -EBADMSG || out.count))
			CU_FAIL("a decoder that fails leaves nothing and says EBADMSG");
	}
}

static const struct unit_case cases[] = {
	{"the first fatal finding is the error", first_fatal_is_the_error},
	{"a full report keeps what is fatal", a_full_report_keeps_what_is_fatal},
	{"round trip", round_trip},
	{"everything at its cap fits a frame", everything_at_its_cap_fits},
	{"every truncation is refused", every_truncation_is_refused},
	{"lies are refused", lies},
	{"random bytes", random_bytes},
};
UNIT_MAIN("findings", cases)
