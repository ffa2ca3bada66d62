/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See engine-rig.h: the guest, the two sides, and the order of beginnings and ends. */
#include "engine-rig.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "remus/log.h"

extern char **environ;

#define OR(value, otherwise) ((value) ? (value) : (otherwise))

static void lay(struct rig *r, const char *dir)
{
#define PATH(field, ...) snprintf(r->field, sizeof r->field, __VA_ARGS__)
	PATH(dir, "%s", dir);
	PATH(p, "%s/p", dir);
	PATH(b, "%s/b", dir);
	PATH(arb, "%s/arb", dir);
	PATH(arb2, "%s/arb2", dir);
	PATH(net_p, "%s/net-p", dir);
	PATH(net_b, "%s/net-b", dir);
	PATH(control, "%s/p/guest.sock", dir);
	PATH(locator, "%s/b/fake.sock", dir);
	PATH(trace, "%s/p.trace", dir);
	PATH(backup_trace, "%s/" RIG_NAME ".backup.trace", dir);
	PATH(arbiter_uri, "file:%s/arb", dir);
	PATH(strange_uri, "file:%s/arb2", dir);
	PATH(egress, "unix:%s/net,bind=%s/net-p", dir, dir);
	PATH(standby_egress, "unix:%s/net,bind=%s/net-b", dir, dir);
	PATH(nic, "52:54:00:00:00:07,%s/p/nic.guest,%s/p/nic.host", dir, dir);
#undef PATH
	r->listener = r->lifeline = -1;
	r->generation = 1;
	up_init(&r->primary, "primary", NULL);
	up_init(&r->backup, "backup", r->b);
}

static struct remus_link_config link_config(const struct rig *r)
{
	return (struct remus_link_config){.heartbeat_ms = 100, .dead_ms = OR(r->options.dead_ms, 5000)};
}

/* ---- the primary's side ---- */

static int open_primary(struct rig *r, struct remus_guest *guest, struct remus_error *err)
{
	struct remus_domain_config config = {.tracking = REMUS_TRACK_AUTO, .run_dir = r->p};
	const char *egress[] = {r->egress};
	struct remus_nic nic[1];
	int rc = remus_fake_domain_ops.open(r->control, &config, &guest->domain, err);

	if (rc < 0)
		return rc;
	if (r->options.faults)
		guest->domain = faulty_domain(guest->domain, r->options.faults);
	int nics = guest->domain->ops->nics(guest->domain, nic, 1, err);
	return nics < 0 ? nics : remus_guest_open_nics(guest, nic, nics, egress, 1, 0, err);
}

static int protect(struct rig *r, struct remus_guest *guest, struct remus_arbiter *arbiter,
		   struct remus_outcome *out, struct remus_error *err)
{
	struct remus_supervisor up = up_supervisor(&r->primary);
	struct remus_protect_config config = {
		.name = RIG_NAME,
		.host = "127.0.0.1",
		.port = r->relay.port,
		.key = {.session = "engine-test", .generation = r->generation},
		.arbiter = arbiter,
		.arbiter_uri = r->arbiter_uri,
		.standby_egress = r->standby_egress,
		.machine = {.interval_us = OR(r->options.interval_ms, 10) * 1000u,
			    .on_backup_loss = r->options.policy,
			    .max_interval_us = r->options.max_interval_ms * UINT64_C(1000),
			    .on_overload = r->options.on_overload,
			    .sync_pages = 256},
		.link = link_config(r),
		.cache_bytes = 16 << 20,
		.staging_bytes = r->options.staging[0],
		.threads = 1,
		.clock_policy = REMUS_CLOCK_SLEW,
		.trace_path = r->trace,
		.recover = r->recover,
		.renew_wait_ms = r->options.renew_wait_ms,
	};
	int rc;

	if (r->recover) { /* as remusd does it: closed until the arbiter has spoken, and awake */
		rc = remus_guest_hold(guest, err);
		if (rc == 0)
			rc = guest->domain->ops->resume(guest->domain, err);
	} else {
		rc = arbiter->ops->open(arbiter, &config.key, err);
		if (rc == 0)
			rc = remus_guest_pass(guest, err);
	}
	return rc < 0 ? rc : remus_primary_run(guest, &config, &up, out, err);
}

static void *primary_main(void *context)
{
	struct rig *r = context;
	struct remus_guest guest = {0};
	struct remus_arbiter *arbiter = NULL;
	struct remus_outcome out = {.guest_here = true};
	struct remus_error err = REMUS_ERROR_INIT;
	int rc = open_primary(r, &guest, &err);

	if (rc == 0)
		rc = remus_arbiter_create(r->arbiter_uri, &arbiter, &err);
	if (rc == 0)
		rc = protect(r, &guest, arbiter, &out, &err);
	up_returned(&r->primary, rc, &out, &err);
	if (rc == 0 && out.guest_here && !atomic_load(&r->primary.quit)) {
		struct remus_supervisor up = up_supervisor(&r->primary);
		remus_relay_run(&guest, &up, &out, &err);
	}
	if (guest.domain && !r->keep_guest)
		guest.domain->ops->destroy(guest.domain, NULL);
	remus_guest_close(&guest);
	if (arbiter)
		arbiter->ops->close(arbiter);
	return NULL;
}

/* ---- the backup's side ---- */

static bool open_listener(struct rig *r)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct sockaddr_in at;
	socklen_t n = sizeof at;

	r->listener = remus_link_listen("127.0.0.1", "0", &err);
	if (r->listener < 0 || getsockname(r->listener, (struct sockaddr *)&at, &n)) {
		printf("\n    %s\n", err.message);
		return false;
	}
	r->listen_port = ntohs(at.sin_port);
	return true;
}

static int accept_primary(struct rig *r)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = r->listener, .events = POLLIN},
				      {.fd = r->backup.command_fd, .events = POLLIN}};
		poll(p, 2, 1000);
		if (atomic_load(&r->backup.quit))
			return -1;
		int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
}

static void *backup_main(void *context)
{
	struct rig *r = context;
	struct remus_supervisor up = up_supervisor(&r->backup);
	struct remus_guest guest = {0};
	struct remus_outcome out = {0};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_receive_config config = {
		.link = link_config(r),
		.arbiter_uri = r->options.strange_arbiter ? r->strange_uri : NULL,
		.trace_dir = r->dir,
		.machine.staging_bytes = r->options.staging[1],
	};
	struct remus_transport *transport = NULL;
	int fd = accept_primary(r), rc = -ECANCELED;

	if (fd >= 0)
		rc = remus_transport_tcp(fd, &transport, &err);
	if (rc == 0)
		rc = remus_backup_run(transport, &config, &up, &guest, &out, &err);
	up_returned(&r->backup, rc, &out, &err);
	if (rc == 0 && out.guest_here && !atomic_load(&r->backup.quit))
		remus_relay_run(&guest, &up, &out, &err);
	if (guest.standby)
		guest.standby->ops->destroy(guest.standby);
	remus_guest_close(&guest);
	return NULL;
}

/* ---- a side as a process of its own ---- */

static void run_apart(struct rig *r, int side)
{
	static const char *const word[] = {"primary", "backup"};
	char self[4096], dead[16], number[16];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	posix_spawn_file_actions_t actions;
	int out[2];

	CU_ASSERT_FATAL(n > 0 && !pipe2(out, O_CLOEXEC));
	self[n] = 0;
	snprintf(dead, sizeof dead, "%u", OR(r->options.dead_ms, 5000));
	snprintf(number, sizeof number, "%d", (int)getpid());
	char *argv[] = {self, (char *)word[side], r->dir, r->relay.port, dead, number, NULL};
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	CU_ASSERT_FATAL(!posix_spawn(&r->apart[side], self, &actions, NULL, argv, environ));
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	r->apart_out[side] = out[0];
	if (side == 1) { /* its first line is its port */
		char text[16] = "";
		for (size_t i = 0; i < sizeof text - 1 && read(out[0], text + i, 1) == 1 && text[i] != '\n';)
			i++;
		atomic_store(&r->relay.target, (uint16_t)atoi(text));
	}
}

static int main_apart(char **argv)
{
	struct rig *r = calloc(1, sizeof *r);
	bool backup = !strcmp(argv[1], "backup");

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!r || getppid() != atoi(argv[5]))
		return 1;
	lay(r, argv[2]);
	snprintf(r->relay.port, sizeof r->relay.port, "%s", argv[3]);
	r->options.dead_ms = (uint32_t)atoi(argv[4]);
	r->primary.echo = r->backup.echo = true;
	if (backup) {
		if (!open_listener(r))
			return 1;
		dprintf(STDOUT_FILENO, "%u\n", r->listen_port);
		backup_main(r);
	} else {
		primary_main(r);
	}
	return 0;
}

bool rig_apart_says(struct rig *r, int side, const char *word)
{
	char line[64];
	size_t n = 0;

	for (;;) {
		struct pollfd p = {.fd = r->apart_out[side], .events = POLLIN};
		char c;
		if (poll(&p, 1, RIG_PATIENCE_MS) != 1 || read(p.fd, &c, 1) != 1) {
			printf("\n    the %s apart never said \"%s\"\n", side ? "backup" : "primary", word);
			return false;
		}
		if (c != '\n') {
			line[n++ % (sizeof line - 1)] = c;
			continue;
		}
		line[n % (sizeof line - 1)] = 0;
		n = 0;
		if (!strcmp(line, word))
			return true;
	}
}

void rig_kill_apart(struct rig *r, int side)
{
	if (r->apart[side] <= 0)
		return;
	kill(r->apart[side], SIGKILL);
	waitpid(r->apart[side], NULL, 0);
	close(r->apart_out[side]);
	r->apart[side] = 0;
	r->swept[side] = true;
}

/* What a killed engine leaves is its daemon's to sweep; here there is none. */
static void sweep(struct rig *r)
{
	char path[96];

	for (int side = 0; side < 2; side++) {
		if (!r->swept[side])
			continue;
		unlink(side ? r->net_b : r->net_p);
		snprintf(path, sizeof path, "%s/%s", side ? r->b : r->p, side ? "nic0.host" : "nic.host");
		unlink(path);
	}
	if (r->guest_swept) {
		snprintf(path, sizeof path, "%s/nic.guest", r->p);
		unlink(path);
		unlink(r->control);
	}
}

/* ---- beginning ---- */

static void start_guest(struct rig *r)
{
	struct remus_error err = REMUS_ERROR_INIT;
	const struct rig_options *o = &r->options;
	char pages[24], rate[24], words[24], frames[24];

	snprintf(pages, sizeof pages, "%llu", (unsigned long long)OR(o->pages, 1024));
	snprintf(rate, sizeof rate, "%llu", (unsigned long long)OR(o->rate, 5000));
	snprintf(words, sizeof words, "%llu", (unsigned long long)OR(o->words, 16));
	snprintf(frames, sizeof frames, "%llu", (unsigned long long)OR(o->frame_every, 20));
	const char *args[] = {"--control", r->control, "--name",	RIG_NAME, "--pages", pages,
			      "--seed",	   "4711",     "--rate",	rate,	  "--words", words,
			      "--nic",	   r->nic,     "--frame-every", frames,	  NULL};
	int rc = remus_fake_spawn(args, &r->guest, &r->lifeline, &err);
	if (rc)
		printf("\n    %s\n", err.message);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
}

void rig_run_primary(struct rig *r, bool recover)
{
	if (r->options.primary_apart && !recover) {
		run_apart(r, 0);
		return;
	}
	r->recover = recover;
	r->primary_runs = true;
	CU_ASSERT_FATAL(!pthread_create(&r->primary_thread, NULL, primary_main, r));
}

void rig_run_backup(struct rig *r)
{
	if (r->options.backup_apart) {
		run_apart(r, 1);
		return;
	}
	if (r->listener < 0)
		CU_ASSERT_FATAL(open_listener(r));
	atomic_store(&r->relay.target, r->listen_port);
	r->backup_runs = true;
	CU_ASSERT_FATAL(!pthread_create(&r->backup_thread, NULL, backup_main, r));
}

struct rig *rig_start(const struct rig_options *options)
{
	struct rig *r = calloc(1, sizeof *r);
	char dir[] = "/tmp/remus-rig-XXXXXX", net[64];

	CU_ASSERT_FATAL(r && mkdtemp(dir));
	lay(r, dir);
	r->options = *options;
	snprintf(net, sizeof net, "%s/net", dir);
	CU_ASSERT_FATAL(!mkdir(r->p, 0700) && !mkdir(r->b, 0700) && !mkdir(r->arb, 0700) &&
			!mkdir(r->arb2, 0700));
	atomic_store(&r->relay.budget, options->budget ? options->budget : -1);
	CU_ASSERT_FATAL(net_start(&r->net, net) && relay_start(&r->relay));
	start_guest(r);
	if (options->agent)
		CU_ASSERT_FATAL(
			rig_agent_start(options->agent, (const char *const[]){r->control, r->locator}));
	rig_run_backup(r);
	rig_run_primary(r, false);
	return r;
}

struct rig *rig_protected(const struct rig_options *options)
{
	struct rig *r = rig_start(options);
	bool good =
		options->primary_apart ? rig_apart_says(r, 0, "running") : up_wait_committed(&r->primary, 5);
	CU_ASSERT_FATAL(good);
	return r;
}

/* ---- ending ---- */

void rig_quit(struct rig *r, struct rig_up *up)
{
	bool *runs = up == &r->primary ? &r->primary_runs : &r->backup_runs;

	if (!*runs)
		return;
	up_quit(up);
	if (!up_wait_return(up))
		abort(); /* nothing that follows would make sense */
	pthread_join(up == &r->primary ? r->primary_thread : r->backup_thread, NULL);
	*runs = false;
}

/* @allowed: a suffix that one entry may (and then must) have, NULL = none. The age of the standby's randomness (entropy.c)
 * is there for the next life in the same directory, and goes with that: the daemon removes it. */
static void check_empty(const char *path, const char *allowed)
{
	DIR *d = opendir(path);
	bool seen = false;

	CU_ASSERT_FATAL(d != NULL);
	for (struct dirent *e; (e = readdir(d));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		size_t n = strlen(e->d_name), m = allowed ? strlen(allowed) : 0;
		if (m && n > m && !strcmp(e->d_name + n - m, allowed) && !seen) {
			seen = true;
		} else if (strcmp(e->d_name, "entropy") != 0) {
			printf("\n    litter: %s/%s\n", path, e->d_name);
			CU_FAIL("litter");
		}
		unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
	CU_ASSERT_EQUAL(seen, allowed != NULL);
	CU_ASSERT_EQUAL(rmdir(path), 0);
}

void rig_end(struct rig *r)
{
	rig_kill_apart(r, 0);
	rig_kill_apart(r, 1);
	rig_quit(r, &r->primary);
	rig_quit(r, &r->backup);
	relay_stop(&r->relay);
	net_stop(&r->net);
	if (r->options.agent)
		rig_agent_stop(r->options.agent);
	kill(r->guest, SIGKILL); /* a zombie, if an engine destroyed it */
	waitpid(r->guest, NULL, 0);
	close(r->lifeline);
	if (r->listener >= 0)
		close(r->listener);
	unlink(r->trace);
	unlink(r->backup_trace);
	sweep(r);
	check_empty(r->p, NULL);
	check_empty(r->b, NULL);
	check_empty(r->arb, r->claimed == 'p'	? ".primary"
			    : r->claimed == 'b' ? ".backup"
			    : r->claimed == 'o' ? ".open"
						: NULL);
	check_empty(r->arb2, NULL);
	check_empty(r->dir, NULL);
	up_clear(&r->primary);
	up_clear(&r->backup);
	free(r);
}

/* ---- asking ---- */

int rig_ask(const char *control, enum remus_fake_verb verb, struct remus_fake_state *state)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_fake_client client;
	uint8_t reply[REMUS_FAKE_BODY_MAX];
	size_t bytes = 0;
	int rc = remus_fake_connect(&client, control, &err);

	if (!rc)
		rc = remus_fake_call(&client, verb, NULL, 0, reply, &bytes, NULL, REMUS_FAKE_VERIFY_MS, &err);
	if (!rc && state)
		rc = remus_fake_state_decode(reply, bytes, state, &err);
	if (rc)
		printf("\n    %s\n", err.message);
	remus_fake_disconnect(&client);
	return rc;
}

bool rig_guest_gone(const struct rig *r)
{
	siginfo_t info = {0};

	return !waitid(P_PID, (id_t)r->guest, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid == r->guest;
}

void rig_check_runs(const char *control)
{
	struct remus_fake_state before = {0}, now = {0};

	CU_ASSERT_EQUAL(rig_ask(control, REMUS_FAKE_STATUS, &before), 0);
	for (int ms = 0; ms < RIG_PATIENCE_MS && now.writes <= before.writes; ms += 2) {
		usleep(2000);
		if (rig_ask(control, REMUS_FAKE_STATUS, &now))
			break;
	}
	CU_ASSERT(now.writes > before.writes);
	CU_ASSERT_EQUAL(rig_ask(control, REMUS_FAKE_VERIFY, NULL), 0);
}

const char *rig_standby_control(const struct rig *r)
{
	return r->locator;
}

char rig_survivor(struct rig *r)
{
	CU_ASSERT_FATAL(up_wait_return(&r->primary));
	CU_ASSERT_FATAL(up_wait_return(&r->backup));
	CU_ASSERT_EQUAL(r->primary.rc, 0);
	CU_ASSERT_EQUAL(r->backup.rc, 0);
	bool here = r->primary.out.guest_here, there = r->backup.out.guest_here;
	CU_ASSERT_FATAL(here != there); /* I5, and nobody's guest is lost */
	if (up_count(&r->primary, "claim-won") + up_count(&r->backup, "claim-won"))
		r->claimed = here ? 'p' : 'b';
	if (here) {
		CU_ASSERT_STRING_NOT_EQUAL(r->backup.out.word, "active");
		CU_ASSERT(access(r->locator, F_OK) != 0);
		CU_ASSERT(!rig_guest_gone(r));
		rig_check_runs(r->control);
	} else {
		CU_ASSERT_STRING_EQUAL(r->backup.out.word, "active");
		CU_ASSERT_STRING_EQUAL(r->primary.out.word, "discarded");
		CU_ASSERT(rig_guest_gone(r));
		rig_check_runs(r->locator);
	}
	return here ? 'p' : 'b';
}

int rig_main(int argc, char **argv, const char *suite, const struct unit_case *cases, size_t count)
{
	if (argc == 6)
		return main_apart(argv);
	remus_log_level(getenv("RIG_VERBOSE") ? REMUS_LOG_DEBUG : REMUS_LOG_ERROR);
	if (argc == 2) { /* one case, by its number */
		size_t i = (size_t)atoi(argv[1]);
		return i < count ? unit_main(suite, cases + i, 1) : 2;
	}
	return unit_main(suite, cases, count);
}
