/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log: the only module besides the tools that prints. One line per call, to stderr, prefixed with the
 * systemd priority ("<3>") when stderr is a journal stream, else with a UTC time stamp, the level and the
 * identity. Thread safe; a line is written with one write(2), so that lines of several processes that share
 * stderr do not mix.
 */
#ifndef REMUS_LOG_H
#define REMUS_LOG_H

enum remus_log_level { REMUS_LOG_ERROR, REMUS_LOG_WARNING, REMUS_LOG_INFO, REMUS_LOG_DEBUG };

/* Name put in front of every line, e.g. "remusd" or "engine vm1" (copied, 63 bytes kept). */
void remus_log_identity(const char *identity);

/* Lines less urgent than @level are dropped. The default is REMUS_LOG_INFO. */
void remus_log_level(enum remus_log_level level);

/* "error", "warning", "info" or "debug" to a level; -EINVAL for any other word. */
int remus_log_level_parse(const char *word, enum remus_log_level *out);

void remus_log(enum remus_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define remus_error_log(...) remus_log(REMUS_LOG_ERROR, __VA_ARGS__)
#define remus_warn(...)	     remus_log(REMUS_LOG_WARNING, __VA_ARGS__)
#define remus_info(...)	     remus_log(REMUS_LOG_INFO, __VA_ARGS__)
#define remus_debug(...)     remus_log(REMUS_LOG_DEBUG, __VA_ARGS__)

#endif
