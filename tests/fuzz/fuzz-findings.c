/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FINDINGS, which end on an operator's screen: printable, bounded, and stable under encoding and decoding. */
#include "fuzz.h"

#include "remus/findings.h"

static void check_text(const char *text, size_t size)
{
	FUZZ_CHECK(strnlen(text, size) < size);
	for (; *text; text++)
		FUZZ_CHECK(*text >= 0x20 && *text < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct remus_report report, again, none;
	struct remus_error err = REMUS_ERROR_INIT;
	uint8_t *out;
	size_t n;

	int rc = remus_findings_decode(data, size, &report, &err);
	fuzz_check_error(rc, &err);
	if (rc) {
		FUZZ_CHECK(!memcmp(&report, &none, sizeof none));
		return 0;
	}
	check_text(report.release, sizeof report.release);
	for (uint32_t i = 0; i < report.count; i++) {
		check_text(report.list[i].subject, sizeof report.list[i].subject);
		check_text(report.list[i].what, sizeof report.list[i].what);
		check_text(report.list[i].remedy, sizeof report.list[i].remedy);
		FUZZ_CHECK(remus_severity_name(report.list[i].severity));
	}
	remus_report_first(&report, &err);
	FUZZ_CHECK(remus_findings_encode(&report, &out, &n, &err) == 0 && n == size);
	FUZZ_CHECK(remus_findings_decode(out, n, &again, &err) == 0 &&
		   !memcmp(&report, &again, sizeof again));
	free(out);
	return 0;
}

static void seed(const char *name, const struct remus_report *report, size_t less)
{
	uint8_t *out;
	size_t n;

	FUZZ_CHECK(remus_findings_encode(report, &out, &n, NULL) == 0);
	fuzz_seed(name, out, n - less);
	free(out);
}

void fuzz_seeds(void)
{
	static struct remus_report report;

	seed("empty", &report, 0);
	snprintf(report.release, sizeof report.release, "0.1.0");
	remus_report_ok(&report, "memory", "256 MiB, shared");
	remus_report_warn(&report, "clock", "run an NTP client", "the clocks are %d s apart", 3);
	remus_report_fatal(&report, -ENOTSUP, "disk", "use read-only disks", "a disk is writable\x07");
	seed("three", &report, 0);
	seed("cut", &report, 5);
	seed("cut-more", &report, 30);
	for (int i = 0; i < 60; i++)
		remus_report_ok(&report, "more", "finding %d", i);
	seed("most", &report, 0);
	fuzz_seed("too-many", "\xff\0\0\0\0\0\0\0\0\0\0\0", 12);
	fuzz_seed("no-errno", "\1\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32);
	fuzz_seed("severity", "\1\0\0\0\0\0\0\0\0\0\0\0\3\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32);
	fuzz_seed("errno", "\1\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32);
	fuzz_seed("head-only", "\1\0\0\0\0\0\0\0\0\0\0\0\2\0\0", 15);
	fuzz_seed("short", "\1\0\0", 3);
	fuzz_seed("cut-length", "\0\0\0\0\0\0\0\0\1\0", 10);
	fuzz_seed("cut-text", "\0\0\0\0\0\0\0\0\4\0\0\0abc", 15);
	fuzz_seed("unprintable", "\0\0\0\0\0\0\0\0\3\0\0\0a\x7f\x1b", 15);
	fuzz_seed("longer", "\0\0\0\0\0\0\0\0\0\0\0\0x", 13);
	fuzz_seed(
		"long-release",
		"\0\0\0\0\0\0\0\0\x40\0\0\0xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		76);
}
