/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables and labelled fields that fit the screen. On a terminal a table is made to fit: columns that may be cut
 * are (the widest first), then the least needed ones are left out. Piped, nothing is cut or wrapped and cells
 * hold no spaces, so that awk can read them. Pure, but for ctl_screen_of().
 */
#ifndef REMUSCTL_TABLE_H
#define REMUSCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CTL_COLUMNS_MAX 12

struct ctl_screen {
	unsigned width; /* columns; 0 = not a terminal */
	bool utf8;	/* an ellipsis is one character */
};
/* What @out is: TIOCGWINSZ, else $COLUMNS, else 80; width 0 where it is no terminal. */
struct ctl_screen ctl_screen_of(FILE *out);

struct ctl_column {
	const char *title;
	bool right;	 /* aligned to the right */
	unsigned min;	 /* may be cut to this width; 0 = never cut */
	unsigned spared; /* the column with the highest number is left out first; 0 = never */
};

/* @cells: @rows times @columns texts, row by row; NULL reads as "-". Nothing is printed but the titles if @rows
 * is 0. Control characters come out as '?'. */
void ctl_table_print(FILE *out, struct ctl_screen screen, const struct ctl_column *column, size_t columns,
		     const char *const *cells, size_t rows);

/* "  label       text", wrapped at the screen's width and indented under itself. */
void ctl_field(FILE *out, struct ctl_screen screen, const char *label, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Columns that @text takes: its UTF-8 characters, each counted as one. */
size_t ctl_text_width(const char *text);

#endif
