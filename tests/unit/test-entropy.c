/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reservoir of randomness. HKDF is held against RFC 5869's own vectors. What the reservoir asks of the system goes
 * through the functions below (the linker's --wrap), so that the test can take its randomness away, fill its disk, and
 * end the process at each call: whatever was served before is never served again, and the next one is always served.
 */
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "hkdf.h"
#include "remus/continuity.h"
#include "remus/log.h"
#include "unit.h"

/* ---- between the reservoir and the system ---- */

static struct {
	unsigned calls;	 /* of open, read, write ... that it made */
	unsigned die_at; /* the call to die at, 0 = none */
	bool die_after;	 /* once it is done; else before, and a write half-way */
	bool same;	 /* getrandom gives the same bytes for ever */
	bool none;	 /* getrandom gives nothing */
	int write_errno; /* write fails */
	const uint8_t *given[8];
	size_t given_bytes[8];
	unsigned gave; /* getrandom's buffers since cleared */
} os;

static bool about_to(bool after)
{
	bool now = os.die_at && os.calls == os.die_at && os.die_after == after;
	return now;
}

/* A call that the process may die at, before and after. */
#define CALL(type, what)               \
	do {                           \
		os.calls++;            \
		if (about_to(false))   \
			_exit(77);     \
		type result_ = (what); \
		if (about_to(true))    \
			_exit(77);     \
		return result_;        \
	} while (0)

int __real_open(const char *path, int flags, mode_t mode);
int __real_openat(int dir, const char *path, int flags, mode_t mode);
ssize_t __real_read(int fd, void *out, size_t bytes);
ssize_t __real_write(int fd, const void *data, size_t bytes);
int __real_fsync(int fd);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_close(int fd);
int __real_flock(int fd, int how);
ssize_t __real_getrandom(void *out, size_t bytes, unsigned flags);
void __real_explicit_bzero(void *data, size_t bytes);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);
ssize_t __wrap_read(int fd, void *out, size_t bytes);
ssize_t __wrap_write(int fd, const void *data, size_t bytes);
int __wrap_fsync(int fd);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_close(int fd);
int __wrap_flock(int fd, int how);
ssize_t __wrap_getrandom(void *out, size_t bytes, unsigned flags);
void __wrap_explicit_bzero(void *data, size_t bytes);

int __wrap_open(const char *path, int flags, mode_t mode)
{
	if (!strcmp(path, "/dev/hwrng")) { /* this machine's doesn't matter */
		errno = ENOENT;
		return -1;
	}
	CALL(int, __real_open(path, flags, mode));
}

int __wrap_openat(int dir, const char *path, int flags, mode_t mode)
{
	CALL(int, __real_openat(dir, path, flags, mode));
}

ssize_t __wrap_read(int fd, void *out, size_t bytes)
{
	CALL(ssize_t, __real_read(fd, out, bytes));
}

ssize_t __wrap_write(int fd, const void *data, size_t bytes)
{
	if (fd <= 2)
		return __real_write(fd, data, bytes);
	os.calls++;
	if (about_to(false)) {
		(void)!__real_write(fd, data, bytes / 2);
		_exit(77);
	}
	if (os.write_errno) {
		errno = os.write_errno;
		return -1;
	}
	ssize_t n = __real_write(fd, data, bytes);
	if (about_to(true))
		_exit(77);
	return n;
}

int __wrap_fsync(int fd)
{
	CALL(int, __real_fsync(fd));
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	CALL(int, __real_renameat(from_dir, from, to_dir, to));
}

int __wrap_close(int fd)
{
	CALL(int, __real_close(fd));
}

int __wrap_flock(int fd, int how)
{
	CALL(int, __real_flock(fd, how));
}

ssize_t __wrap_getrandom(void *out, size_t bytes, unsigned flags)
{
	if (os.none) {
		errno = ENOSYS;
		return -1;
	}
	if (os.gave < REMUS_ARRAY_SIZE(os.given)) {
		os.given[os.gave] = out;
		os.given_bytes[os.gave++] = bytes;
	}
	if (!os.same)
		return __real_getrandom(out, bytes, flags);
	memset(out, 0x5a, bytes);
	return (ssize_t)bytes;
}

void __wrap_explicit_bzero(void *data, size_t bytes)
{
	const uint8_t *from = data;

	for (unsigned i = 0; i < os.gave; i++)
		if (os.given[i] >= from && os.given[i] + os.given_bytes[i] <= from + bytes)
			os.given[i] = NULL;
	__real_explicit_bzero(data, bytes);
}

/* ---- what the cases are made of ---- */

static char dir[128];

static void make_dir(void)
{
	memset(&os, 0, sizeof os);
	snprintf(dir, sizeof dir, "/tmp/remus-test-entropy-XXXXXX");
	if (!mkdtemp(dir))
		abort();
}

static void remove_dir(void)
{
	static const char *const names[] = {"entropy", "entropy.new"};
	char path[192];

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	CU_ASSERT(rmdir(dir) == 0); /* and nothing else was there */
}

static void put_file(const char *content, size_t bytes)
{
	char path[192];

	snprintf(path, sizeof path, "%s/entropy", dir);
	FILE *f = fopen(path, "we");
	if (!f)
		abort();
	fwrite(content, 1, bytes, f);
	fclose(f);
}

static struct remus_entropy *open_one(void)
{
	struct remus_entropy *e = NULL;
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_FATAL(remus_entropy_open(dir, &e, &err) == 0);
	return e;
}

struct seed {
	uint8_t bytes[REMUS_SEED_SIZE];
};

static struct seed take(struct remus_entropy *e, const char *purpose)
{
	struct seed seed = {{0}};
	struct remus_error err = REMUS_ERROR_INIT;
	char fingerprint[REMUS_FINGERPRINT] = "";

	CU_ASSERT(remus_entropy_take(e, purpose, seed.bytes, fingerprint, &err) == 0);
	CU_ASSERT(strlen(fingerprint) == REMUS_FINGERPRINT - 1);
	return seed;
}

static bool equal(const struct seed *a, const struct seed *b)
{
	return !memcmp(a, b, sizeof *a);
}

/* ---- HKDF ---- */

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		unsigned byte;
		sscanf(hex + 2 * i, "%2x", &byte);
		out[i] = (uint8_t)byte;
	}
	return n;
}

/* RFC 5869, appendices A.1 to A.3. */
static void rfc5869(void)
{
	static const struct {
		const char *material, *salt, *info, *key, *output;
	} vectors[] = {
		{
			"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
			"000102030405060708090a0b0c",
			"f0f1f2f3f4f5f6f7f8f9",
			"077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b88718586"
			"5",
		},
		{
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
			"28292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
			"606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f8081828384858687"
			"88898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
			"b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7"
			"d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
			"06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac78272"
			"71cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f"
			"1d87",
		},
		{
			"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
			"",
			"",
			"19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c"
			"8",
		},
	};

	memset(&os, 0, sizeof os);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(vectors); i++) {
		uint8_t material[128], salt[128], info[128], key[32], output[128], out[128], prk[HKDF_KEY];
		size_t materials = unhex(vectors[i].material, material), salts = unhex(vectors[i].salt, salt),
		       infos = unhex(vectors[i].info, info), outputs = unhex(vectors[i].output, output);

		unhex(vectors[i].key, key);
		CU_ASSERT(hkdf_extract((struct hkdf_bytes){salt, salts},
				       (struct hkdf_bytes){material, materials}, prk) == 0);
		CU_ASSERT(!memcmp(prk, key, sizeof key));
		CU_ASSERT(hkdf_expand(prk, (struct hkdf_bytes){info, infos}, out, outputs) == 0);
		CU_ASSERT(!memcmp(out, output, outputs));
		/* into its own salt, as the pool is stirred */
		memcpy(out, salt, sizeof salt);
		if (salts <= HKDF_KEY && salts) {
			CU_ASSERT(hkdf_extract((struct hkdf_bytes){out, salts},
					       (struct hkdf_bytes){material, materials}, out) == 0);
			CU_ASSERT(!memcmp(out, key, sizeof key));
		}
		CU_ASSERT(hkdf_expand(prk, (struct hkdf_bytes){info, infos}, NULL, HKDF_WIDE_MAX + 1) ==
			  -EINVAL);
	}
}

/* ---- seeds ---- */

static void fingerprint_is_of_the_seed(void)
{
	uint8_t seed[REMUS_SEED_SIZE], hash[32];
	char fingerprint[REMUS_FINGERPRINT], expected[REMUS_FINGERPRINT];

	make_dir();
	struct remus_entropy *e = open_one();
	CU_ASSERT(remus_entropy_take(e, "activation", seed, fingerprint, NULL) == 0);
	remus_entropy_close(e);
	gnutls_hash_fast(GNUTLS_DIG_SHA256, seed, sizeof seed, hash);
	snprintf(expected, sizeof expected, "%02x%02x%02x%02x%02x%02x%02x%02x", hash[0], hash[1], hash[2],
		 hash[3], hash[4], hash[5], hash[6], hash[7]);
	CU_ASSERT_STRING_EQUAL(fingerprint, expected);
	remove_dir();
}

/* With a getrandom that repeats itself, what is left are the number, the purpose, the age and what was stirred in. */
static void everything_enters(void)
{
	make_dir();
	os.same = true;
	put_file("remus entropy 1 0000000000000007\n", 33);
	struct remus_entropy *one = open_one();
	struct seed a = take(one, "activation"), b = take(one, "activation");
	CU_ASSERT(!equal(&a, &b));
	remus_entropy_close(one);

	struct remus_entropy *older = open_one();
	struct seed c = take(older, "activation");
	CU_ASSERT(!equal(&a, &c) && !equal(&b, &c));
	remus_entropy_close(older);

	put_file("remus entropy 1 0000000000000007\n", 33); /* a directory that was restored from a copy */
	struct remus_entropy *again = open_one();
	struct seed d = take(again, "activation");
	CU_ASSERT(equal(&a, &d)); /* so it is these, and nothing else, that the others differ by */
	remus_entropy_close(again);

	static const struct {
		const char *purpose;
		const char *material;
	} ways[] = {{"clone", ""}, {"activation", "x"}, {"activation", "y"}};
	struct seed seen[REMUS_ARRAY_SIZE(ways)];
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(ways); i++) {
		put_file("remus entropy 1 0000000000000007\n", 33);
		struct remus_entropy *e = open_one();
		if (*ways[i].material)
			remus_entropy_stir(e, ways[i].material, strlen(ways[i].material));
		seen[i] = take(e, ways[i].purpose);
		remus_entropy_close(e);
		CU_ASSERT(!equal(&a, &seen[i]));
		for (size_t j = 0; j < i; j++)
			CU_ASSERT(!equal(&seen[j], &seen[i]));
	}
	remove_dir();
}

static void restored_directory_has_fresh_seeds(void)
{
	make_dir();
	struct seed seen[2];
	for (int i = 0; i < 2; i++) {
		put_file("remus entropy 1 0000000000000007\n", 33);
		struct remus_entropy *e = open_one();
		seen[i] = take(e, "activation");
		remus_entropy_close(e);
	}
	CU_ASSERT(!equal(&seen[0], &seen[1]));
	remove_dir();
}

/* A failover waits for no disk. */
static void taking_does_no_io(void)
{
	make_dir();
	struct remus_entropy *e = open_one();
	CU_ASSERT(os.calls > 0);
	os.calls = 0;
	take(e, "activation");
	remus_entropy_stir(e, "material", 8);
	take(e, "clone");
	CU_ASSERT(os.calls == 0);
	remus_entropy_close(e);
	remove_dir();
}

static void erased(void)
{
	make_dir();
	struct remus_entropy *e = open_one();
	os.gave = 0;
	take(e, "activation");
	remus_entropy_stir(e, "material", 8);
	CU_ASSERT(os.gave == 2);
	for (unsigned i = 0; i < os.gave; i++)
		CU_ASSERT(os.given[i] == NULL);
	os.given[0] = (const uint8_t *)e; /* the pool, its first member */
	os.given_bytes[0] = HKDF_KEY;
	remus_entropy_close(e);
	CU_ASSERT(os.given[0] == NULL);
	remove_dir();
}

static void without_getrandom(void)
{
	uint8_t seed[REMUS_SEED_SIZE];
	char fingerprint[REMUS_FINGERPRINT];
	struct remus_error err = REMUS_ERROR_INIT;

	make_dir();
	os.none = true;
	struct remus_entropy *e = open_one();
	CU_ASSERT(remus_entropy_take(e, "activation", seed, fingerprint, &err) == -EIO);
	UNIT_ASSERT_MESSAGE(err, "getrandom");
	remus_entropy_stir(e, "what the other host gave", 24);
	CU_ASSERT(remus_entropy_take(e, "activation", seed, fingerprint, &err) == 0);
	remus_entropy_close(e);
	remove_dir();
}

/* ---- the directory ---- */

static void damaged_files(void)
{
	static const char *const contents[] = {
		"",
		"r",
		"remus entropy 1 00000000000000",
		"remus entropy 1 0000000000000007",
		"remus entropy 1 000000000000000g\n",
		"remus entropy 1 -000000000000007\n",
		"remus entropy 2 0000000000000007\n",
		"remus entropy 1 0000000000000007\nmore",
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(contents); i++) {
		/* what was served from these ages on must not come again because half a number was believed */
		static const char *const whole[] = {"remus entropy 1 0000000000000000\n",
						    "remus entropy 1 0000000000000007\n", NULL, NULL, NULL};
		struct seed seen[REMUS_ARRAY_SIZE(whole)];
		make_dir();
		os.same = true; /* the age alone tells them apart */
		for (size_t j = 0; j < REMUS_ARRAY_SIZE(whole); j++) {
			if (whole[j])
				put_file(whole[j], strlen(whole[j]));
			else if (j == 2)
				put_file(contents[i], strlen(contents[i]));
			struct remus_entropy *e = open_one();
			seen[j] = take(e, "activation");
			remus_entropy_close(e);
			for (size_t k = 0; k < j; k++)
				CU_ASSERT(!equal(&seen[j], &seen[k]));
		}
		remove_dir();
	}
}

static void no_room(void)
{
	static const int errors[] = {ENOSPC, EDQUOT, EIO, EROFS};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(errors); i++) {
		make_dir();
		os.write_errno = errors[i];
		struct remus_entropy *e = open_one();
		struct seed a = take(e, "activation"), b = take(e, "activation");
		remus_entropy_close(e);
		e = open_one();
		struct seed c = take(e, "activation");
		remus_entropy_close(e);
		CU_ASSERT(!equal(&a, &b) && !equal(&a, &c) && !equal(&b, &c));
		remove_dir();
	}
}

static void no_directory(void)
{
	make_dir();
	CU_ASSERT(rmdir(dir) == 0);
	struct remus_entropy *e = open_one();
	struct seed a = take(e, "activation"), b = take(e, "activation");
	CU_ASSERT(!equal(&a, &b));
	remus_entropy_close(e);
}

/* In a process of its own: a whole life of a reservoir, which dies at a call. Tells each seed that it was served. */
static bool live(unsigned die_at, bool after, int to)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct remus_entropy *e;
		struct seed seed;
		char fingerprint[REMUS_FINGERPRINT];

		os.calls = 0;
		os.die_at = die_at;
		os.die_after = after;
		if (remus_entropy_open(dir, &e, NULL))
			_exit(1);
		for (int i = 0; i < 2; i++) {
			if (remus_entropy_take(e, "activation", seed.bytes, fingerprint, NULL) ||
			    __real_write(to, &seed, sizeof seed) != sizeof seed)
				_exit(1);
			remus_entropy_stir(e, "material", 8);
		}
		remus_entropy_close(e);
		_exit(0);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
	return WIFEXITED(status) && WEXITSTATUS(status) == 77;
}

/*
 * Life after life in one directory, each ended one call later than the one before, with a getrandom that repeats
 * itself: only what is on the disk keeps the seeds apart.
 */
static void killed_at_every_call(void)
{
	static struct seed served[512];
	size_t seeds = 0;
	unsigned deaths = 0;
	int ends[2];

	make_dir();
	os.same = true;
	if (pipe(ends))
		abort();
	for (int after = 0; after <= 1; after++)
		for (unsigned n = 1, died = 1; died; n++) {
			died = live(n, after, ends[1]);
			deaths += died;
			live(0, false, ends[1]); /* the next one always lives */
		}
	__real_close(ends[1]);
	while (seeds < REMUS_ARRAY_SIZE(served) &&
	       __real_read(ends[0], &served[seeds], sizeof *served) == (ssize_t)sizeof *served)
		seeds++;
	__real_close(ends[0]);
	CU_ASSERT(deaths >= 2 * 8); /* open, lock, read, write, two syncs, rename, close */
	CU_ASSERT(seeds >= 2 * deaths);
	for (size_t i = 0; i < seeds; i++)
		for (size_t j = 0; j < i; j++)
			CU_ASSERT(!equal(&served[i], &served[j]));
	remove_dir();
}

static const struct unit_case cases[] = {
	{"HKDF: RFC 5869's vectors", rfc5869},
	{"a fingerprint is the seed's", fingerprint_is_of_the_seed},
	{"age, number, purpose and material enter", everything_enters},
	{"a restored directory repeats nothing", restored_directory_has_fresh_seeds},
	{"taking does no input or output", taking_does_no_io},
	{"what was used is erased", erased},
	{"without getrandom", without_getrandom},
	{"a damaged file", damaged_files},
	{"no room", no_room},
	{"no directory", no_directory},
	{"killed at every call", killed_at_every_call},
};

int main(void)
{
	remus_log_level(REMUS_LOG_ERROR);
	return unit_main("entropy", cases, REMUS_ARRAY_SIZE(cases));
}
