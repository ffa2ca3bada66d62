/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What TLS costs on the way of an epoch, as ratios to plaintext of things measured in the same run: a fake guest with
 * random words, so that the wire carries much, and two paths of the same kind, one with a shared key. Both carry the
 * same pages in each round, in turns first and second; the caches are swept in between; medians are compared.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "epoch-path.h"
#include "remus/tls.h"
#include "remus/util.h"
#include "replicator/domain/fake/fake.h"

#define ROUNDS 41u /* odd, for the median */
#define SWEEP  (64u << 20)

static uint8_t *cold;
static volatile unsigned keep;

static void sweep(void)
{
	for (size_t i = 0; i < SWEEP; i += 64)
		keep += cold[i]++;
}

static struct remus_tls *keys(const char *dir)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_tls *tls;
	char path[64];

	snprintf(path, sizeof path, "%s/psk", dir);
	FILE *f = fopen(path, "w");
	if (!f || fchmod(fileno(f), 0600))
		exit(77);
	fputs("bench:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", f);
	fclose(f);
	if (remus_tls_load(dir, &tls, &err) < 0)
		bench_die("keys", &err);
	unlink(path);
	return tls;
}

struct figures {
	double send, ack,
		commit; /* µs: until all is in the kernel, from then to the ack, from the pause on */
};

struct series {
	double send[ROUNDS], ack[ROUNDS], commit[ROUNDS];
};

static struct figures medians(struct series *s)
{
	return (struct figures){bench_median(ROUNDS, s->send), bench_median(ROUNDS, s->ack),
				bench_median(ROUNDS, s->commit)};
}

static void run(struct path *p, struct remus_domain *d, struct series *s, unsigned i)
{
	double commit = path_epoch(p, d);

	s->commit[i] = commit;
	s->send[i] = p->send_us;
	s->ack[i] = p->ack_us;
}

static void measure(struct path *plain, struct path *tls, struct remus_domain *d,
		    struct remus_fake_guest *guest, uint64_t writes)
{
	static struct series a, b;
	struct remus_error err = REMUS_ERROR_INIT;
	uint8_t body[8];

	remus_put_le64(body, writes);
	for (unsigned r = 0; r < ROUNDS + 2; r++) { /* the first two warm up */
		unsigned i = r < 2 ? 0 : r - 2;
		bool turn = r % 2;
		if (remus_fake_call(&guest->control, REMUS_FAKE_WRITE, body, sizeof body, NULL, NULL, NULL,
				    REMUS_FAKE_CALL_MS, &err) < 0)
			bench_die("guest", &err);
		sweep();
		run(turn ? tls : plain, d, turn ? &b : &a, i);
		path_also_dirty(turn ? plain : tls, (turn ? tls : plain)->capture);
		sweep();
		run(turn ? plain : tls, d, turn ? &a : &b, i);
	}
	size_t pages = plain->capture->count;
	double wire = (double)plain->bytes / 1024;
	struct figures p = medians(&a), t = medians(&b);
	printf("%zu dirty pages, %.0f KiB on the wire\n", pages, wire);
	printf("%-46s %6.2f   (%.0f / %.0f us)\n", "commit: TLS / plaintext", t.commit / p.commit, t.commit,
	       p.commit);
	printf("%-46s %6.2f   (%.0f / %.0f us)\n", "  encode and send", t.send / p.send, t.send, p.send);
	printf("%-46s          (%.0f / %.0f us)\n", "  wait for the ack", t.ack, p.ack);
}

int main(void)
{
	/* 2 % of each page changes, or all of it: deltas, or pages as they are. */
	static const struct {
		const char *hot, *words;
		uint64_t writes;
	} sizes[] = {{"150", "10", 1200}, {"1000", "10", 8000}, {"1000", "512", 8000}};
	char dir[] = "/tmp/remus-bench-XXXXXX", control[64];

	if (!mkdtemp(dir))
		return 77;
	snprintf(control, sizeof control, "%s/guest", dir);
	struct remus_tls *tls = keys(dir);
	cold = bench_memory(SWEEP);
	printf("%-46s %6s\n", "256 MiB guest, TLS 1.3 with a shared key", "ratio");
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(sizes); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_domain_config config = {.run_dir = dir};
		struct remus_guest guest = {0};
		struct remus_fake_guest second;
		const char *args[] = {
			"--control", control,	   "--pages", "65536", "--words", sizes[i].words,
			"--hot",     sizes[i].hot, "--rate",  "0",     NULL};
		int lifeline;
		pid_t pid;

		if (remus_fake_spawn(args, &pid, &lifeline, &err) < 0 ||
		    remus_fake_domain_ops.open(control, &config, &guest.domain, &err) < 0 ||
		    remus_fake_guest_open(&second, control, &err) < 0 ||
		    guest.domain->ops->track_start(guest.domain, &err) < 0)
			bench_die("guest", &err);
		struct path *plain = path_open(&guest, UINT64_C(512) << 20, 1, NULL);
		struct path *secure = path_open(&guest, UINT64_C(512) << 20, 1, tls);
		path_full_copy(plain);
		path_full_copy(secure);
		measure(plain, secure, guest.domain, &second, sizes[i].writes);
		fflush(stdout);
		path_close(plain);
		path_close(secure);
		remus_fake_guest_close(&second);
		guest.domain->ops->destroy(guest.domain, &err);
		waitpid(pid, NULL, 0);
		remus_guest_close(&guest);
		close(lifeline);
	}
	remus_tls_free(tls);
	rmdir(dir);
	return 0;
}
