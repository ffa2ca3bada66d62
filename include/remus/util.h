/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small things that every folder needs and no library gives: monotonic time, scope clean-up, whole reads
 * and writes, little-endian access.
 */
#ifndef REMUS_UTIL_H
#define REMUS_UTIL_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* CLOCK_MONOTONIC in microseconds. */
static inline uint64_t remus_now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static inline void remus_cleanup_free(void *p)
{
	free(*(void **)p);
}
static inline void remus_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
/* Scope clean-up: `REMUS_AUTO_FREE char *s = ...;`, `REMUS_AUTO_CLOSE int fd = -1;` */
#define REMUS_AUTO_FREE	 __attribute__((cleanup(remus_cleanup_free)))
#define REMUS_AUTO_CLOSE __attribute__((cleanup(remus_cleanup_close)))

#define REMUS_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Unaligned little-endian access to wire bytes. */
static inline uint16_t remus_get_le16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return le16toh(v);
}
static inline uint32_t remus_get_le32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return le32toh(v);
}
static inline uint64_t remus_get_le64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return le64toh(v);
}
static inline void remus_put_le16(void *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof v);
}
static inline void remus_put_le32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof v);
}
static inline void remus_put_le64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof v);
}

#endif
