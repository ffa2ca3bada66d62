/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session's reservoir of randomness (I12). Two guests that wake up from one checkpoint would draw the same "random"
 * numbers; each gets a seed of its own from here.
 *
 *   pool        32 bytes, HKDF-SHA256 (RFC 5869). stir(): pool = extract(salt = pool, material | 32 bytes of getrandom)
 *   take()      key = extract(salt = pool, 64 bytes of getrandom); seed = expand(key, "seed" | age | number | purpose);
 *               pool = expand(key, "pool" | ...): who reads the pool afterwards cannot work out seeds of before
 *
 * So a seed is no weaker than the better one of this host's randomness and the other host's. Why none is served twice:
 * the number rises with each take(), and the age, a number that no other life of this reservoir has, is kept in a file
 * that is replaced and synced when the reservoir is opened, before there can be a take(). A take() does no input or
 * output, since it happens in a failover. What the file can't do (a full disk, a directory restored from a copy) the
 * fresh getrandom does, as long as that is one; so a file that can't be read or written is told, and nothing else.
 *
 * /dev/hwrng is read once, when the reservoir is opened: a slow chip must not stop who stirs. The kernel feeds what the
 * chip gives into getrandom by itself too.
 */
#include "remus/continuity.h"

#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>

#include "hkdf.h"
#include "remus/log.h"
#include "remus/util.h"

#define AGE_FILE     "entropy"
#define AGE_FILE_NEW "entropy.new"
#define AGE_FORMAT   "remus entropy 1 %016" PRIx64 "\n" /* fixed width: a torn one is known by its length */
#define AGE_BYTES    33
#define LOCK_TRIES   20 /* of 5 ms: a holder needs one fsync */

struct remus_entropy {
	uint8_t pool[HKDF_KEY];
	uint64_t age, number;
	uint64_t stirred; /* times */
};

/* Never waits: a host that has only just started gives what it has. */
static int fresh(void *out, size_t bytes)
{
	ssize_t n = getrandom(out, bytes, GRND_NONBLOCK);

	if (n != (ssize_t)bytes)
		n = getrandom(out, bytes, GRND_INSECURE); /* Linux 5.6 */
	return n == (ssize_t)bytes ? 0 : -EIO;
}

void remus_entropy_stir(struct remus_entropy *e, const void *material, size_t bytes)
{
	uint8_t both[2 * HKDF_KEY] = {0};

	/* However much came, it is pressed into one key first; on failure the pool stays as it is. */
	if (hkdf_extract((struct hkdf_bytes){"remus", 5}, (struct hkdf_bytes){material, bytes}, both) == 0) {
		fresh(both + HKDF_KEY, HKDF_KEY); /* if there is none, the material still counts */
		if (hkdf_extract((struct hkdf_bytes){e->pool, sizeof e->pool},
				 (struct hkdf_bytes){both, sizeof both}, e->pool) == 0)
			e->stirred++;
	}
	explicit_bzero(both, sizeof both);
}

/* ---- the age ---- */

static bool read_age(int dir, uint64_t *age)
{
	char text[AGE_BYTES + 2] = "", again[AGE_BYTES + 1];
	REMUS_AUTO_CLOSE int fd = openat(dir, AGE_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof text - 1);
	if (n == AGE_BYTES && sscanf(text, "remus entropy 1 %16" SCNx64, age) == 1) {
		snprintf(again, sizeof again, AGE_FORMAT, *age);
		if (!strcmp(text, again))
			return true;
	}
	remus_warn("the file %s of a standby is damaged; it begins anew, and seeds are still of fresh "
		   "randomness",
		   AGE_FILE);
	return false;
}

/* Replace the file: whole or not at all, and on the disk when this returns 0. */
static int write_age(int dir, uint64_t age)
{
	char text[AGE_BYTES + 1];

	snprintf(text, sizeof text, AGE_FORMAT, age);
	int fd = openat(dir, AGE_FILE_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int rc = write(fd, text, AGE_BYTES) == AGE_BYTES ? 0 : -(errno ? errno : EIO);
	if (rc == 0 && fsync(fd))
		rc = -errno;
	if (close(fd) && rc == 0)
		rc = -errno;
	if (rc == 0 && renameat(dir, AGE_FILE_NEW, dir, AGE_FILE))
		rc = -errno;
	if (rc == 0 && fsync(dir))
		rc = -errno;
	return rc;
}

static bool lock(int dir)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(dir, LOCK_EX | LOCK_NB) == 0)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	return false;
}

/* An age that no reservoir of this directory had. Where there is no older one, a number out of the air. */
static int new_age(struct remus_entropy *e, const char *path)
{
	uint64_t older;

	errno = 0;
	REMUS_AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (!lock(dir))
		return -EBUSY;
	if (read_age(dir, &older))
		e->age = older + 1;
	return write_age(dir, e->age);
}

static void read_hwrng(struct remus_entropy *e)
{
	uint8_t bytes[HKDF_KEY];
	REMUS_AUTO_CLOSE int fd = open("/dev/hwrng", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
	if (n > 0)
		remus_entropy_stir(e, bytes, (size_t)n);
	explicit_bzero(bytes, sizeof bytes);
}

int remus_entropy_open(const char *dir, struct remus_entropy **out, struct remus_error *err)
{
	struct remus_entropy *e = calloc(1, sizeof *e);

	if (!e)
		return remus_fail(err, -ENOMEM, "the standby's randomness: no memory");
	fresh(e->pool, sizeof e->pool);
	fresh(&e->age, sizeof e->age);
	read_hwrng(e);
	e->stirred = 0; /* counts what the other host gave */
	int rc = new_age(e, dir);
	if (rc)
		remus_warn(
			"%s: the number that tells this standby's seeds from earlier ones could not be kept "
			"(%s); each seed is still made with fresh randomness of this host",
			dir, strerror(-rc));
	*out = e;
	return 0;
}

/* ---- seeds ---- */

/* What a seed is derived for: no two takes have the same. */
static size_t info(const struct remus_entropy *e, const char *what, const char *purpose, uint8_t out[64])
{
	memset(out, 0, 64);
	memcpy(out, "remus", 5);
	memcpy(out + 5, what, 4);
	remus_put_le64(out + 9, e->age);
	remus_put_le64(out + 17, e->number);
	size_t n = strnlen(purpose, 39);
	memcpy(out + 25, purpose, n);
	return 25 + n;
}

static int derive(struct remus_entropy *e, const char *purpose, const uint8_t *random, size_t bytes,
		  uint8_t seed[REMUS_SEED_SIZE])
{
	uint8_t key[HKDF_KEY], text[64];

	int rc = hkdf_extract((struct hkdf_bytes){e->pool, sizeof e->pool},
			      (struct hkdf_bytes){random, bytes}, key);
	if (rc == 0)
		rc = hkdf_expand(key, (struct hkdf_bytes){text, info(e, "seed", purpose, text)}, seed,
				 REMUS_SEED_SIZE);
	if (rc == 0)
		rc = hkdf_expand(key, (struct hkdf_bytes){text, info(e, "pool", purpose, text)}, e->pool,
				 sizeof e->pool);
	explicit_bzero(key, sizeof key);
	return rc;
}

static void print_fingerprint(const uint8_t seed[REMUS_SEED_SIZE], char out[REMUS_FINGERPRINT])
{
	uint8_t hash[32] = {0};

	gnutls_hash_fast(GNUTLS_DIG_SHA256, seed, REMUS_SEED_SIZE, hash);
	for (int i = 0; i < 8; i++)
		snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

int remus_entropy_take(struct remus_entropy *e, const char *purpose, uint8_t seed[REMUS_SEED_SIZE],
		       char fingerprint[REMUS_FINGERPRINT], struct remus_error *err)
{
	uint8_t random[REMUS_SEED_SIZE] = {0};

	e->number++; /* first: whatever happens below, this one is used up */
	bool none = fresh(random, sizeof random) < 0;
	int rc = derive(e, purpose, random, sizeof random, seed);
	if (none && (rc || !e->stirred)) {
		explicit_bzero(seed, REMUS_SEED_SIZE);
		return remus_fail(err, -EIO,
				  "no randomness: getrandom gives none on this host, and the other host gave "
				  "none. The guest has to do with what it had");
	}
	if (rc)
		memcpy(seed, random, sizeof random); /* a library that doesn't work; this is still random */
	explicit_bzero(random, sizeof random);
	print_fingerprint(seed, fingerprint);
	remus_info("one seed was taken for the guest's %s: fingerprint %s, %s", purpose, fingerprint,
		   rc		? "of getrandom alone, as HKDF failed"
		   : e->stirred ? "mixed of both hosts' randomness"
				: "of this host's randomness alone, as the other host has given none");
	return 0;
}

void remus_entropy_close(struct remus_entropy *e)
{
	if (!e)
		return;
	explicit_bzero(e, sizeof *e);
	free(e);
}
