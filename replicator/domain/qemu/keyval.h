/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's "word,key=value,key=value" option values, and growing lists of arguments. */
#ifndef REMUS_QEMU_KEYVAL_H
#define REMUS_QEMU_KEYVAL_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/error.h"

#define REMUS_KEYVAL_MAX 48 /* pairs in one option */

struct remus_keyval {
	char *text; /* what the pairs point into */
	int count;
	struct {
		const char *key, *value;
	} pair[REMUS_KEYVAL_MAX];
};

/*
 * Cut @text at its commas (",," is a comma in a value). The first word may stand without "key=" and then gets
 * the key @implied; a later bare word is "word=on". A key given twice is refused: programs disagree on which
 * one counts.
 */
int remus_keyval_parse(const char *text, const char *implied, struct remus_keyval *out,
		       struct remus_error *err);
void remus_keyval_free(struct remus_keyval *);
/* The value of @key, or NULL. */
const char *remus_keyval_get(const struct remus_keyval *, const char *key);
/* Is @value one of QEMU's words for true? NULL is not. */
bool remus_keyval_on(const char *value);

/* Is @word one of the space-separated @words? */
bool remus_word_in(const char *words, const char *word);
/* Is @text made of letters, digits and the characters of @more only? The empty text is. */
bool remus_plain(const char *text, const char *more);
/* May @id name a QEMU object (a letter, then letters, digits, '-', '.', '_'; 63 bytes)? */
bool remus_id_wellformed(const char *id);
/* "256M" to bytes; a number without a suffix counts in @unit. -EINVAL. */
int remus_size_parse(const char *text, uint64_t unit, uint64_t *out);

/* A NULL-terminated list of owned strings. Out of memory is remembered in @failed and reported once. */
struct remus_args {
	char **v;
	int n;
	bool failed;
};
void remus_args_add(struct remus_args *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with ",KEY=VALUE" appended to the last argument, commas in @value doubled; "" key = the bare value. */
void remus_args_append(struct remus_args *, const char *key, const char *value);
void remus_args_free(struct remus_args *);

#endif
