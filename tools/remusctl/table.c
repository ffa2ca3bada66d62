/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables and fields; the contract is in table.h. */
#include "table.h"

#include <langinfo.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include "human.h"
#include "remus/util.h"

#define GAP	     2u
#define FIELD_INDENT 14u

struct ctl_screen ctl_screen_of(FILE *out)
{
	struct ctl_screen screen = {0, !strcmp(nl_langinfo(CODESET), "UTF-8")};
	const char *columns = getenv("COLUMNS");
	struct winsize size = {0};

	if (!isatty(fileno(out)))
		return screen;
	screen.width = 80;
	if (!ioctl(fileno(out), TIOCGWINSZ, &size) && size.ws_col)
		screen.width = size.ws_col;
	else if (columns && atoi(columns) > 0)
		screen.width = (unsigned)atoi(columns);
	return screen;
}

/* Continuation bytes of UTF-8 take no column. */
static bool continues(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

size_t ctl_text_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += !continues(*text);
	return n;
}

/* Bytes of the first @width characters of @text. */
static size_t prefix_bytes(const char *text, size_t width)
{
	size_t i = 0;

	for (size_t n = 0; text[i]; i++)
		if (!continues(text[i]) && n++ == width)
			break;
	return i;
}

static void print_cell(FILE *out, const struct ctl_screen *screen, const char *text, size_t width, bool right,
		       bool last)
{
	REMUS_AUTO_FREE char *clean = strdup(text ? text : "-");
	if (!clean)
		return;
	size_t have = ctl_text_width(ctl_clean(clean)), pad = have < width ? width - have : 0;

	if (right)
		fprintf(out, "%*s", (int)pad, "");
	if (have <= width) {
		fputs(clean, out);
	} else {
		const char *mark = screen->utf8 ? "\u2026" : "...";
		size_t room = ctl_text_width(mark) < width ? width - ctl_text_width(mark) : 0;
		fprintf(out, "%.*s%s", (int)prefix_bytes(clean, room), clean, mark);
	}
	if (!right && !last)
		fprintf(out, "%*s", (int)pad, "");
	fputs(last ? "\n" : "  ", out);
}

/* Columns are cut, then left out (width 0), until the table fits or nothing more can be done. */
static void fit(unsigned screen_width, const struct ctl_column *column, size_t columns, size_t *width)
{
	for (;;) {
		size_t total = 0, cut = columns, spare = columns;
		for (size_t c = 0; c < columns; c++) {
			if (!width[c])
				continue;
			total += width[c] + (total ? GAP : 0);
			if (column[c].min && width[c] > column[c].min &&
			    (cut == columns || width[c] > width[cut]))
				cut = c;
			if (column[c].spared && (spare == columns || column[c].spared > column[spare].spared))
				spare = c;
		}
		if (total <= screen_width)
			return;
		if (cut < columns)
			width[cut]--;
		else if (spare < columns)
			width[spare] = 0;
		else
			return;
	}
}

void ctl_table_print(FILE *out, struct ctl_screen screen, const struct ctl_column *column, size_t columns,
		     const char *const *cells, size_t rows)
{
	size_t width[CTL_COLUMNS_MAX] = {0}, last = 0;

	if (columns > CTL_COLUMNS_MAX)
		columns = CTL_COLUMNS_MAX;
	for (size_t c = 0; c < columns; c++) {
		width[c] = ctl_text_width(column[c].title);
		for (size_t r = 0; r < rows; r++) {
			const char *text = cells[r * columns + c];
			size_t n = text ? ctl_text_width(text) : 1;
			width[c] = n > width[c] ? n : width[c];
		}
	}
	if (screen.width)
		fit(screen.width, column, columns, width);
	for (size_t c = 0; c < columns; c++)
		if (width[c])
			last = c;
	for (size_t c = 0; c < columns; c++)
		if (width[c])
			print_cell(out, &screen, column[c].title, width[c], column[c].right, c == last);
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < columns; c++)
			if (width[c])
				print_cell(out, &screen, cells[r * columns + c], width[c], column[c].right,
					   c == last);
}

void ctl_field(FILE *out, struct ctl_screen screen, const char *label, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	ctl_clean(text);
	int indent = fprintf(out, "  %-*s", (int)FIELD_INDENT - 2, label);
	size_t room = screen.width > FIELD_INDENT + 20 ? screen.width - FIELD_INDENT : 0;
	char *rest = text;
	while (room && ctl_text_width(rest) > room) {
		size_t end = prefix_bytes(rest, room + 1), from = end;
		while (end && rest[end - 1] != ' ')
			end--;
		if (!end) /* one long word: let it stand */
			end = from + strcspn(rest + from, " ") + 1;
		if (end > strlen(rest))
			break;
		fprintf(out, "%.*s\n%*s", (int)end - 1, rest, indent, "");
		rest += end;
	}
	fprintf(out, "%s\n", rest);
}
