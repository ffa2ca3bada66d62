/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers with units, and texts from elsewhere, for people. */
#ifndef REMUSCTL_HUMAN_H
#define REMUSCTL_HUMAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CTL_NUMBER_TEXT 32 /* holds any text made here */

/* "960 B", "1.5 KiB", "256 MiB": three digits at least, an exact whole number where there is one. */
const char *ctl_bytes(char out[CTL_NUMBER_TEXT], uint64_t bytes);
/* "900 us", "1.50 ms", "12 ms", "2.30 s". */
const char *ctl_us(char out[CTL_NUMBER_TEXT], uint64_t us);
/* The same without the space, for a cell of a table. */
char *ctl_squeeze(char *text);

/* Write @text with control characters (C1 included) as '?': a domain's name or a peer's message must not drive
 * the operator's terminal. NULL is written as "-". */
void ctl_print_clean(FILE *out, const char *text);
/* Clean @text in place. */
char *ctl_clean(char *text);

/* Members of an answer, by a path such as "pause_us.p50"; what is absent or of another type is 0, "" or false. */
const json_t *ctl_get(const json_t *object, const char *path);
uint64_t ctl_get_count(const json_t *object, const char *path); /* negative: 0 */
uint64_t ctl_get_ms(const json_t *object, const char *path);	/* milliseconds there, µs here */
double ctl_get_real(const json_t *object, const char *path);
const char *ctl_get_text(const json_t *object, const char *path);
/* The text, or "-" where there is none. */
const char *ctl_get_word(const json_t *object, const char *path);

#endif
