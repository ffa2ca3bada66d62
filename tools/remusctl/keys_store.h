/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The folder of keys on disk: files that appear whole or not at all, with the mode that they must have. */
#ifndef REMUSCTL_KEYS_STORE_H
#define REMUSCTL_KEYS_STORE_H

#include <stdbool.h>
#include <sys/types.h>
#include "remus/error.h"

/* Open the folder @path, locked against another remusctl keys until the descriptor is closed. With @make it is made,
 * mode 0700, and the one above it. A descriptor, or a negative code; -ENOENT without @make. */
int keys_folder(const char *path, bool make, struct remus_error *err);

bool keys_has(int folder, const char *name);
/* All of a file of at most 256 KiB, malloc'ed; 0 and NULL: there is none. */
int keys_read(int folder, const char *name, char **out, struct remus_error *err);

/*
 * Write @text to the file @name: under another name, synced, then put in its place in one step. Without @replace an
 * existing one is left as it is: -EEXIST.
 */
int keys_write(int folder, const char *name, const char *text, mode_t mode, bool replace,
	       struct remus_error *err);

#endif
