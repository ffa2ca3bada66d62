/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers and texts for people; the contract is in human.h. Pure. */
#include "human.h"

#include <string.h>
#include "remus/util.h"

const char *ctl_bytes(char out[CTL_NUMBER_TEXT], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double value = (double)bytes;
	size_t u = 0;

	/* 1023.5 and above would be printed as four digits. */
	for (; value >= 1023.5 && u + 1 < REMUS_ARRAY_SIZE(units); u++)
		value /= 1024.0;
	bool whole = value == (double)(uint64_t)value || (value >= 0.9995 && value < 1.0);
	int digits = whole || value >= 99.95 ? 0 : 1;
	snprintf(out, CTL_NUMBER_TEXT, "%.*f %s", digits, value, units[u]);
	return out;
}

const char *ctl_us(char out[CTL_NUMBER_TEXT], uint64_t us)
{
	double value = us < 1000000 ? (double)us / 1e3 : (double)us / 1e6;
	bool whole = us % (us < 1000000 ? 1000 : 1000000) == 0;

	if (us < 1000)
		snprintf(out, CTL_NUMBER_TEXT, "%u us", (unsigned)us);
	else /* three digits */
		snprintf(out, CTL_NUMBER_TEXT, "%.*f %s",
			 whole || value >= 99.95 ? 0
			 : value < 9.995	 ? 2
						 : 1,
			 value, us < 1000000 ? "ms" : "s");
	return out;
}

char *ctl_squeeze(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++)
		if (*from != ' ')
			*to++ = *from;
	*to = '\0';
	return text;
}

char *ctl_clean(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; /* U+0080 to U+009F in UTF-8 */
		if (c1)
			*p++ = '?';
		if (c1 || *p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	return text;
}

void ctl_print_clean(FILE *out, const char *text)
{
	REMUS_AUTO_FREE char *copy = strdup(text ? text : "-");

	if (copy)
		fputs(ctl_clean(copy), out);
}

const json_t *ctl_get(const json_t *object, const char *path)
{
	const char *dot = strchr(path, '.');
	char key[64];

	if (!dot)
		return json_object_get(object, path);
	snprintf(key, sizeof key, "%.*s", (int)(dot - path), path);
	return ctl_get(json_object_get(object, key), dot + 1);
}

uint64_t ctl_get_count(const json_t *object, const char *path)
{
	double value = ctl_get_real(object, path);
	const json_t *member = ctl_get(object, path);

	if (value <= 0)
		return 0;
	if (json_is_integer(member))
		return (uint64_t)json_integer_value(member);
	return value < 9e18 ? (uint64_t)value : UINT64_C(9000000000000000000);
}

uint64_t ctl_get_ms(const json_t *object, const char *path)
{
	double us = 1000.0 * ctl_get_real(object, path);

	return us > 0 && us < 9e18 ? (uint64_t)us : 0;
}

double ctl_get_real(const json_t *object, const char *path)
{
	return json_number_value(ctl_get(object, path));
}

const char *ctl_get_text(const json_t *object, const char *path)
{
	const char *text = json_string_value(ctl_get(object, path));

	return text ? text : "";
}

const char *ctl_get_word(const json_t *object, const char *path)
{
	const char *text = ctl_get_text(object, path);

	return text[0] ? text : "-";
}
