/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fake domain and its standby, through domain.h's tables as the engine uses them: a guest is replicated
 * page by page and goes on elsewhere from its last committed epoch, with memory and state that agree (I3);
 * that a wrong page would be found; how its end is told; that nothing of it is left (I13).
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "remus/bitmap.h"
#include "remus/domain.h"
#include "replicator/domain/fake/fake.h"
#include "unit.h"

static char dir[64];

static char *in_dir(const char *name)
{
	static char text[4][128];
	static unsigned turn;
	char *out = text[turn++ % 4];
	snprintf(out, sizeof text[0], "%s/%s", dir, name);
	return out;
}

/* A running guest and the domain opened on it. */
struct primary {
	pid_t pid;
	int lifeline;
	struct remus_domain *domain;
	uint64_t pages;
	char control[128];
};

static struct primary primary_start(const char *pages, const char *rate, const char *nic)
{
	struct primary p = {.lifeline = -1};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_domain_config config = {.tracking = REMUS_TRACK_AUTO, .run_dir = dir};
	snprintf(p.control, sizeof p.control, "%s/primary.sock", dir);
	const char *args[] = {"--control",
			      p.control,
			      "--name",
			      "alice",
			      "--pages",
			      pages,
			      "--seed",
			      "77",
			      "--rate",
			      rate,
			      "--words",
			      "16",
			      "--frame-every",
			      "10",
			      nic ? "--nic" : NULL,
			      nic,
			      NULL};

	if (remus_fake_spawn(args, &p.pid, &p.lifeline, &err) ||
	    remus_fake_domain_ops.open(p.control, &config, &p.domain, &err)) {
		printf("\n    %s\n    ", err.message);
		CU_FAIL_FATAL("no primary");
	}
	p.pages = remus_fake_domain_ops.pages(p.domain);
	return p;
}

static void primary_end(struct primary *p)
{
	CU_ASSERT_EQUAL(remus_fake_domain_ops.destroy(p->domain, NULL), 0);
	CU_ASSERT_EQUAL(remus_fake_domain_ops.destroy(p->domain, NULL), 0); /* idempotent */
	waitpid(p->pid, NULL, 0);
	remus_fake_domain_ops.close(p->domain);
	close(p->lifeline);
	CU_ASSERT(access(p->control, F_OK) != 0);
}

static struct remus_standby *standby_for(struct remus_domain *domain, bool mortal)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_standby_config config = {
		.run_dir = in_dir("standby"), .name = "alice", .mortal = mortal};
	struct remus_standby *standby = NULL;
	char *json = NULL;

	mkdir(config.run_dir, 0700);
	CU_ASSERT_EQUAL_FATAL(remus_fake_domain_ops.describe(domain, &json, &err), 0);
	int code = remus_fake_standby_ops.create(json, &config, &standby, &err);
	if (code)
		printf("\n    %s\n    ", err.message);
	free(json);
	CU_ASSERT_EQUAL_FATAL(code, 0);
	return standby;
}

/* One epoch: what is dirty goes to the standby, which commits. @skip: a page that is "forgotten", if it comes. */
static uint64_t replicate(struct primary *p, struct remus_standby *standby, uint64_t epoch, uint64_t *dirty,
			  uint64_t skip)
{
	const struct remus_domain_ops *ops = &remus_fake_domain_ops;
	struct remus_error err = REMUS_ERROR_INIT;
	const uint8_t *state = NULL;
	uint64_t count = 0;
	size_t bytes = 0;

	CU_ASSERT_EQUAL(ops->pause(p->domain, &err), 0);
	CU_ASSERT_EQUAL(ops->save_state(p->domain, &state, &bytes, &err), 0);
	CU_ASSERT_EQUAL(ops->track_fetch(p->domain, dirty, &count, &err), 0);
	for (uint64_t pfn = 0; pfn < p->pages; pfn++)
		if (remus_bitmap_test(dirty, pfn) && pfn != skip)
			CU_ASSERT_EQUAL(ops->copy(p->domain, &pfn, 1,
						  remus_fake_standby_ops.page(standby, pfn), &err),
					0);
	memset(dirty, 0, remus_bitmap_words(p->pages) * 8);
	CU_ASSERT_EQUAL(remus_fake_standby_ops.commit(standby, epoch, state, bytes, &err), 0);
	CU_ASSERT_EQUAL(ops->resume(p->domain, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.message, "");
	return count;
}

static int ask(const char *path, enum remus_fake_verb verb, uint64_t number, struct remus_fake_state *state,
	       struct remus_error *err)
{
	struct remus_fake_client client;
	uint8_t body[8], reply[REMUS_FAKE_BODY_MAX];
	size_t bytes = 0;
	int code = remus_fake_connect(&client, path, err);

	remus_put_le64(body, number);
	if (!code)
		code = remus_fake_call(&client, verb, body, sizeof body, reply, &bytes, NULL,
				       REMUS_FAKE_VERIFY_MS, err);
	if (!code && state)
		code = remus_fake_state_decode(reply, bytes, state, err);
	remus_fake_disconnect(&client);
	return code;
}

static void pattern_finds_every_fault(void)
{
	struct remus_fake_params params = {.pages = 16, .seed = 5, .words = 3};
	uint8_t *memory = malloc(16 * 4096), *older = malloc(16 * 4096);
	struct remus_error err = REMUS_ERROR_INIT;

	remus_fake_fill(&params, memory);
	CU_ASSERT_EQUAL(remus_fake_verify(&params, memory, 0, &err), 0);
	for (uint64_t i = 1; i <= 100; i++) {
		memcpy(older, memory, 16 * 4096);
		remus_fake_write(&params, memory, i);
		CU_ASSERT_EQUAL(remus_fake_verify(&params, memory, i, &err), 0);
		CU_ASSERT_EQUAL(remus_fake_verify(&params, older, i, NULL), -EUCLEAN); /* one write too old */
	}
	memory[4096 * 9 + 4095] ^= 1;
	CU_ASSERT_EQUAL(remus_fake_verify(&params, memory, 100, &err), -EUCLEAN);
	UNIT_ASSERT_MESSAGE(err, "page 9,");
	UNIT_ASSERT_MESSAGE(err, "1 of 16");
	free(memory);
	free(older);
}

static void fails_over(bool stale)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_fake_state before, after;
	/* A stale page must not be written anew before it is found: one in 512 writes would. */
	struct primary p = primary_start("512", stale ? "20" : "20000", NULL);
	uint64_t *dirty = calloc(remus_bitmap_words(p.pages), 8);

	CU_ASSERT_EQUAL(p.pages, 512);
	CU_ASSERT_STRING_EQUAL(remus_fake_domain_ops.name(p.domain), "alice");
	struct remus_standby *standby = standby_for(p.domain, false);
	CU_ASSERT_EQUAL(remus_fake_standby_ops.pages(standby), 512);
	for (int i = 0; i < 4096; i++)
		CU_ASSERT_EQUAL_FATAL(remus_fake_standby_ops.page(standby, 511)[i], 0);
	CU_ASSERT_EQUAL(remus_fake_standby_ops.activate(standby, NULL), -ENODATA);
	CU_ASSERT_EQUAL_FATAL(remus_fake_domain_ops.track_start(p.domain, &err), 0);
	remus_bitmap_set_range(dirty, 0, p.pages); /* the first copy is of all pages */
	for (uint64_t epoch = 0; epoch < 20; epoch++) {
		replicate(&p, standby, epoch, dirty, UINT64_MAX);
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	/* write until page 200 must have been hit after the last epoch, then forget it or not */
	CU_ASSERT_EQUAL(ask(p.control, REMUS_FAKE_WRITE, 10000, NULL, &err), 0);
	CU_ASSERT(replicate(&p, standby, 20, dirty, stale ? 200 : UINT64_MAX) > 400);
	kill(p.pid, SIGKILL);

	const char *locator = remus_fake_standby_ops.locator(standby);
	CU_ASSERT(!strncmp(locator, "fake:", 5));
	CU_ASSERT_EQUAL(ask(locator + 5, REMUS_FAKE_STATUS, 0, &before, &err), 0);
	CU_ASSERT_EQUAL(before.writes, 0);
	CU_ASSERT_EQUAL(ask(locator + 5, REMUS_FAKE_RESUME, 0, NULL, NULL), -EPERM); /* I5: not this way */
	CU_ASSERT_EQUAL(remus_fake_standby_ops.activate(standby, &err), 0);
	CU_ASSERT_EQUAL(ask(locator + 5, REMUS_FAKE_STATUS, 0, &before, &err), 0);
	CU_ASSERT(before.writes >= 10000);
	if (!stale) {
		CU_ASSERT_EQUAL(ask(locator + 5, REMUS_FAKE_WRITE, 10, NULL, &err), 0);
		CU_ASSERT_EQUAL(ask(locator + 5, REMUS_FAKE_STATUS, 0, &after, &err), 0);
		CU_ASSERT(after.writes >= before.writes + 10); /* it goes on */
	}
	int code = ask(locator + 5, REMUS_FAKE_VERIFY, 0, NULL, &err);
	if (stale) {
		CU_ASSERT_EQUAL(code, -EUCLEAN);
		UNIT_ASSERT_MESSAGE(err, "1 of 512");
		UNIT_ASSERT_MESSAGE(err, "page 200,");
	} else {
		CU_ASSERT_EQUAL(code, 0);
		CU_ASSERT_STRING_EQUAL(err.message, "");
	}
	remus_fake_standby_ops.destroy(standby);
	remus_fake_standby_ops.destroy(standby);
	CU_ASSERT_EQUAL(remus_fake_standby_ops.pid(standby), 0);
	CU_ASSERT(access(locator + 5, F_OK) != 0);
	remus_fake_standby_ops.close(standby);
	primary_end(&p);
	free(dirty);
}
static void fails_over_whole(void)
{
	fails_over(false);
}
static void stale_page_is_found(void)
{
	fails_over(true);
}

static void pause_is_exact(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct primary p = primary_start("64", "100000", NULL);
	const uint8_t *state;
	size_t bytes;

	CU_ASSERT_EQUAL(remus_fake_domain_ops.save_state(p.domain, &state, &bytes, &err), -EBUSY);
	for (int i = 0; i < 20; i++) {
		CU_ASSERT_EQUAL(remus_fake_domain_ops.pause(p.domain, &err), 0);
		/* memory and state agree, and stay so */
		CU_ASSERT_EQUAL(ask(p.control, REMUS_FAKE_VERIFY, 0, NULL, &err), 0);
		CU_ASSERT_EQUAL(ask(p.control, REMUS_FAKE_WRITE, 1, NULL, NULL), -EBUSY);
		CU_ASSERT_EQUAL(remus_fake_domain_ops.resume(p.domain, &err), 0);
		CU_ASSERT_EQUAL(remus_fake_domain_ops.resume(p.domain, &err), 0);
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	primary_end(&p);
}

static void ends_are_told_apart(void)
{
	const struct remus_domain_ops *ops = &remus_fake_domain_ops;
	char why[REMUS_TEXT_MAX] = "";
	for (int killed = 0; killed < 2; killed++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct primary p = primary_start("64", "0", NULL);
		struct pollfd event = {.fd = ops->event_fd(p.domain), .events = POLLIN};
		CU_ASSERT_EQUAL(ops->next_event(p.domain, why), REMUS_DOMAIN_NONE);
		CU_ASSERT_EQUAL(poll(&event, 1, 0), 0);
		if (killed)
			kill(p.pid, SIGKILL);
		else
			CU_ASSERT_EQUAL(ask(p.control, REMUS_FAKE_SHUTDOWN, 0, NULL, &err), 0);
		CU_ASSERT_EQUAL(poll(&event, 1, 5000), 1);
		CU_ASSERT_EQUAL(ops->next_event(p.domain, why),
				killed ? REMUS_DOMAIN_LOST : REMUS_DOMAIN_SHUTDOWN);
		CU_ASSERT(strstr(why, killed ? "gone" : "shut down") != NULL);
		CU_ASSERT_EQUAL(ops->next_event(p.domain, why), REMUS_DOMAIN_NONE); /* told once */
		waitid(P_PID, (id_t)p.pid, NULL, WEXITED | WNOWAIT);
		CU_ASSERT_EQUAL(ops->pause(p.domain, &err), -ESRCH);
		UNIT_ASSERT_MESSAGE(err, "gone");
		primary_end(&p);
	}
}

static void hung_guest_meets_the_deadline(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct primary p = primary_start("64", "1000", NULL);
	kill(p.pid, SIGSTOP);
	CU_ASSERT_EQUAL(remus_fake_domain_ops.pause(p.domain, &err), -ETIMEDOUT);
	UNIT_ASSERT_MESSAGE(err, "hangs");
	kill(p.pid, SIGCONT);
	CU_ASSERT_EQUAL(remus_fake_domain_ops.resume(p.domain, &err),
			0); /* the late answer is not taken for this */
	CU_ASSERT_EQUAL(ask(p.control, REMUS_FAKE_WRITE, 1, NULL, &err), 0);
	primary_end(&p);
}

static int bind_dgram(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void frames_are_numbered_and_echoed(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_nic nic = {0};
	char text[512];
	uint8_t frame[2048];
	uint64_t number, writes;

	int fd = bind_dgram(in_dir("host"));
	snprintf(text, sizeof text, "52:54:00:00:00:07,%s,%s", in_dir("guest"), in_dir("host"));
	struct primary p = primary_start("64", "0", text);
	CU_ASSERT_EQUAL_FATAL(remus_fake_domain_ops.nics(p.domain, &nic, 1, &err), 1);
	CU_ASSERT_EQUAL(nic.kind, REMUS_NIC_DGRAM);
	CU_ASSERT_EQUAL(nic.mac[5], 7);
	CU_ASSERT_STRING_EQUAL(nic.host_path, in_dir("host"));
	CU_ASSERT_EQUAL(ask(p.control, REMUS_FAKE_WRITE, 35, NULL, &err), 0);
	for (uint64_t want = 1; want <= 3; want++) {
		struct pollfd in = {.fd = fd, .events = POLLIN};
		CU_ASSERT_EQUAL_FATAL(poll(&in, 1, 5000), 1);
		ssize_t n = recv(fd, frame, sizeof frame, 0);
		CU_ASSERT(remus_fake_frame_decode(frame, (size_t)n, &number, &writes));
		CU_ASSERT_EQUAL(number, want);
		CU_ASSERT_EQUAL(writes, want * 10);
	}
	/* towards the guest: not while paused, then echoed with the addresses turned round */
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	memcpy(to.sun_path, nic.guest_path, sizeof to.sun_path);
	memset(frame, 0xaa, 64);
	CU_ASSERT_EQUAL(remus_fake_domain_ops.pause(p.domain, &err), 0);
	CU_ASSERT_EQUAL(sendto(fd, frame, 64, 0, (struct sockaddr *)&to, sizeof to), 64);
	nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	CU_ASSERT(recv(fd, frame, sizeof frame, MSG_DONTWAIT) < 0);
	CU_ASSERT_EQUAL(remus_fake_domain_ops.resume(p.domain, &err), 0);
	struct pollfd in = {.fd = fd, .events = POLLIN};
	CU_ASSERT_EQUAL_FATAL(poll(&in, 1, 5000), 1);
	CU_ASSERT_EQUAL(recv(fd, frame, sizeof frame, 0), 64);
	CU_ASSERT(frame[0] == 0xaa && frame[6] == 0x52 && frame[11] == 7 && frame[63] == 0xaa);
	close(fd);
	unlink(in_dir("host"));
	primary_end(&p);
	CU_ASSERT(access(in_dir("guest"), F_OK) != 0);
}

/* Does the process go away (be it as a zombie of somebody)? */
static bool goes_away(pid_t pid)
{
	char path[64], line[256];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	for (int tries = 0; tries < 5000; tries++) {
		FILE *f = fopen(path, "re");
		char *paren = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
		if (f)
			fclose(f);
		if (!paren || paren[2] == 'Z' || paren[2] == 'X')
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return false;
}

/* The backup dies: a standby that wasn't activated goes with it, one that was stays; a drill's copy goes, too. */
static void standby_without_its_maker(void)
{
	for (int round = 0; round < 3; round++) {
		bool activated = round > 0, mortal = round == 2;
		struct primary p = primary_start("64", "0", NULL);
		int report[2];
		pid_t pid = 0;
		if (pipe(report))
			abort();
		fflush(NULL);
		pid_t maker = fork();
		if (!maker) {
			struct remus_fake_state state = {.writes = 3};
			uint8_t bytes[REMUS_FAKE_STATE];
			struct remus_standby *standby = standby_for(p.domain, mortal);
			remus_fake_state_encode(&state, bytes);
			if (remus_fake_standby_ops.commit(standby, 1, bytes, sizeof bytes, NULL) ||
			    (activated && remus_fake_standby_ops.activate(standby, NULL)))
				_exit(1);
			pid = remus_fake_standby_ops.pid(standby);
			if (write(report[1], &pid, sizeof pid) == sizeof pid)
				pause();
			_exit(1);
		}
		close(report[1]);
		CU_ASSERT_EQUAL_FATAL(read(report[0], &pid, sizeof pid), sizeof pid);
		close(report[0]);
		kill(maker, SIGKILL);
		waitpid(maker, NULL, 0);
		if (activated && !mortal) {
			struct remus_error err = REMUS_ERROR_INIT;
			struct remus_domain_config config = {.run_dir = dir};
			struct remus_domain *domain = NULL;
			nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
			/* alive, and it can be protected in its turn */
			CU_ASSERT_EQUAL_FATAL(remus_fake_domain_ops.open(in_dir("standby/fake.sock"), &config,
									 &domain, &err),
					      0);
			CU_ASSERT_EQUAL(remus_fake_domain_ops.track_start(domain, &err), 0);
			CU_ASSERT_EQUAL(remus_fake_domain_ops.destroy(domain, &err), 0);
			remus_fake_domain_ops.close(domain);
		}
		CU_ASSERT(goes_away(pid));
		CU_ASSERT(access(in_dir("standby/fake.sock"), F_OK) != 0);
		primary_end(&p);
	}
}

static void refusals(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_domain_config config = {.run_dir = dir};
	struct remus_standby_config standby_config = {.run_dir = dir, .name = "bob"};
	struct remus_domain *domain;
	struct remus_standby *standby;

	CU_ASSERT_EQUAL(remus_fake_domain_ops.open(in_dir("none"), &config, &domain, &err), -ENOENT);
	UNIT_ASSERT_MESSAGE(err, "/none: connect");
	CU_ASSERT_EQUAL(remus_fake_standby_ops.create("{\"pages\":3}", &standby_config, &standby, &err),
			-EINVAL);
	UNIT_ASSERT_MESSAGE(err, "standby bob");
	CU_ASSERT_EQUAL(
		remus_fake_standby_ops.create("{\"fake\":1,\"pages\":99999999999,\"seed\":1,\"words\":1,"
					      "\"hot\":0,\"rate\":0,\"frame_every\":0,\"mac\":\"\"}",
					      &standby_config, &standby, &err),
		-EINVAL); /* a hostile size allocates nothing (I11) */
}

/* A standby directory's mark may be cut short or of another build: it is refused, nothing is looked for. */
static void marks_of_nothing(void)
{
	static const char *const lines[] = {
		"", "xen", "xen \n", "nobody 3 web1--incoming\n", "fake 3 web1\n", "qemu 3\n"};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(lines); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		CU_ASSERT_EQUAL(remus_standby_sweep(lines[i], 0, &err), -EINVAL);
		CU_ASSERT(err.message[0] != 0);
	}
}

static const struct unit_case cases[] = {
	{"the pattern finds every fault", pattern_finds_every_fault},
	{"fails over with whole memory", fails_over_whole},
	{"a stale page is found", stale_page_is_found},
	{"a pause is exact", pause_is_exact},
	{"shutdown and loss are told apart", ends_are_told_apart},
	{"a hung guest meets the deadline", hung_guest_meets_the_deadline},
	{"frames are numbered and echoed", frames_are_numbered_and_echoed},
	{"a standby without its maker", standby_without_its_maker},
	{"refusals name their cause", refusals},
	{"a mark that names no standby", marks_of_nothing},
};

int main(void)
{
	snprintf(dir, sizeof dir, "/tmp/remus-fake-XXXXXX");
	if (!mkdtemp(dir))
		return 99;
	int status = unit_main("fake-domain", cases, REMUS_ARRAY_SIZE(cases));
	rmdir(in_dir("standby"));
	if (rmdir(dir)) { /* I13: all sockets were removed */
		printf("%s is not empty\n", dir);
		return EXIT_FAILURE;
	}
	return status;
}
