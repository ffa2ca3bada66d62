/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remus-agent(8): runs in the guest. When the guest was activated on another host it gives the kernel fresh randomness,
 * corrects the clock, runs the hooks, and tells the host (agent.h). This file is the command line and the loop.
 *
 * It is linked statically and needs no other program, so that it runs in an initramfs, before anything that makes keys;
 * its memory is locked, so that it does not wait for a disk in the moment that matters.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent.h"
#include "clock.h"
#include "hooks.h"
#include "reseed.h"
#include "say.h"
#include "steal.h"
#include "transport.h"

#define RETRY_NS     UINT64_C(1000000000) /* between two looks for a device */
#define HOOK_LIMIT_S 30

static const struct transport_ops *const transports[] = {&transport_virtio, &transport_xenstore};

struct options {
	const struct transport_ops *only; /* NULL = whichever is there */
	const char *hooks, *pid_file;
	unsigned hook_limit_s;
	bool once, foreground;
};

struct program {
	struct options options;
	struct agent agent;
	struct hooks hooks;
	struct transport *transport; /* NULL = none yet */
	struct remus_message_stream in;
	uint64_t look_ns; /* for a transport again */
	int last_code;	  /* why there was none, so as to say it once */
	int epoll, signals;
	bool done;
};

static const char usage[] =
	"usage: remus-agent [OPTION...]\n"
	"Runs in a guest that remus protects. After a failover it renews the guest's randomness and clock.\n"
	"\n"
	"  --transport auto|virtio|xenstore  the way to the host (default auto: the one that there is)\n"
	"  --hooks DIR          programs to run after an activation (default /etc/remus/resume.d)\n"
	"  --hook-timeout S     each is killed after so many seconds (default 30)\n"
	"  --once               end after one activation, when its hooks are over\n"
	"  --foreground         stay there, and speak on stderr rather than in the kernel's log\n"
	"  --pid-file FILE      write the process's number there; removed at the end\n"
	"  --version, --help\n"
	"\n"
	"exit status: 0 told to end, or --once is through; 1 it cannot run; 2 bad usage\n";

/* ---- the world of the agent ---- */

static void lose_transport(struct program *p, const struct remus_error *err)
{
	say("%s; opened again in a moment", err->message);
	p->transport->ops->close(p->transport);
	p->transport = NULL;
	p->look_ns = clock_monotonic_ns() + RETRY_NS;
}

static uint64_t world_monotonic(void *context)
{
	return clock_monotonic_ns();
}

static int64_t world_realtime(void *context)
{
	return clock_realtime_ns();
}

static void world_send(void *context, const struct remus_message *message)
{
	struct program *p = context;
	struct remus_error err = REMUS_ERROR_INIT;
	char line[REMUS_MESSAGE_MAX];
	int n = remus_message_encode(message, line);

	if (n > 0 && p->transport && p->transport->ops->write(p->transport, line, (size_t)n, &err) < 0)
		lose_transport(p, &err);
}

static int world_stolen(void *context, struct remus_steal *out)
{
	(void)context;
	return steal_read("/proc/stat", out);
}

static int world_reseed(void *context, const uint8_t seed[REMUS_SEED_SIZE])
{
	int rc = reseed_kernel(seed);

	if (rc < 0)
		say("the kernel's random numbers could not be renewed: %s", strerror(-rc));
	return rc;
}

static int world_adjust(void *context, int64_t step_ns, int64_t slew_ns)
{
	int rc = clock_adjust(step_ns, slew_ns);

	if (rc < 0)
		say("the clock could not be corrected: %s", strerror(-rc));
	return rc;
}

static void hooks_over(struct program *p)
{
	agent_hooks_ended(&p->agent, p->hooks.id, &p->hooks.result);
	if (p->hooks.result.ran)
		say("%u hooks run, %u failed", p->hooks.result.ran, p->hooks.result.failed);
	p->done |= p->options.once;
}

static void world_hooks(void *context, uint64_t id, const struct remus_renewed *renewed)
{
	struct program *p = context;
	char text[400];

	remus_renewed_text(renewed, text, sizeof text);
	say("activated on another host: %s", text);
	if (!hooks_begin(&p->hooks, id, renewed))
		hooks_over(p);
}

/* ---- the loop ---- */

static bool is_absent(int code)
{
	return code == -ENOENT || code == -ENODEV || code == -ENXIO;
}

static int open_one(struct program *p, const struct transport_ops *ops)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int rc = ops->open(&p->transport, &err);

	if (rc < 0 && !is_absent(rc) && rc != p->last_code)
		say("%s; tried again every second", err.message);
	return rc;
}

static void look_for_transport(struct program *p)
{
	uint64_t now = clock_monotonic_ns();
	int rc = -ENODEV;

	if (p->transport || now < p->look_ns)
		return;
	p->look_ns = now + RETRY_NS;
	for (size_t i = 0; i < sizeof transports / sizeof *transports && is_absent(rc); i++)
		if (!p->options.only || p->options.only == transports[i])
			rc = open_one(p, transports[i]);
	if (rc < 0 && rc != p->last_code && is_absent(rc))
		say("there is no way to the host yet: neither a virtio-serial port " REMUS_AGENT_PORT
		    " nor xenstore; looked for every second");
	p->last_code = rc;
	if (rc < 0)
		return;
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->transport->ops->fd(p->transport), &event) < 0)
		say("epoll: %s", strerror(errno));
	memset(&p->in, 0, sizeof p->in);
	say("listening to the host by %s", p->transport->ops->name);
	agent_greet(&p->agent);
}

static void hear(struct program *p, const uint8_t *bytes, size_t count)
{
	struct remus_message m;
	bool got;

	while (count) {
		size_t n = remus_message_feed(&p->in, bytes, count, &m, &got);
		if (got)
			agent_message(&p->agent, &m);
		explicit_bzero(&m, sizeof m);
		bytes += n;
		count -= n;
	}
}

static void listen_to_host(struct program *p)
{
	uint8_t buffer[4096];

	while (p->transport) {
		struct remus_error err = REMUS_ERROR_INIT;
		ssize_t n = p->transport->ops->read(p->transport, buffer, sizeof buffer, &err);
		if (n < 0)
			lose_transport(p, &err);
		if (n <= 0)
			break;
		hear(p, buffer, (size_t)n);
	}
	explicit_bzero(buffer, sizeof buffer);
}

static int wait_ms(const struct program *p)
{
	uint64_t now = clock_monotonic_ns(), due = agent_due(&p->agent);

	if (hooks_due(&p->hooks) < due)
		due = hooks_due(&p->hooks);
	if (!p->transport && p->look_ns < due)
		due = p->look_ns;
	if (due == UINT64_MAX)
		return -1;
	return due <= now ? 0 : (int)((due - now) / 1000000) + 1;
}

static void loop(struct program *p)
{
	while (!p->done) {
		look_for_transport(p);
		agent_tick(&p->agent);
		if (hooks_turn(&p->hooks))
			hooks_over(p);
		listen_to_host(p); /* last: what is said above may have taken in what would wake us */
		if (p->done)
			break;
		struct pollfd fds[3] = {
			{.fd = p->epoll, .events = POLLIN},
			{.fd = p->signals, .events = POLLIN},
			{.fd = hooks_fd(&p->hooks), .events = POLLIN},
		};
		poll(fds, 3, wait_ms(p));
		if (fds[1].revents)
			break;
		struct epoll_event seen; /* the edge is taken; what made it is read above */
		epoll_wait(p->epoll, &seen, 1, 0);
	}
}

/* ---- the command line ---- */

static int choose_transport(struct options *o, const char *word)
{
	o->only = NULL;
	for (size_t i = 0; i < sizeof transports / sizeof *transports; i++)
		if (!strcmp(word, transports[i]->name))
			o->only = transports[i];
	return o->only || !strcmp(word, "auto") ? 0 : -EINVAL;
}

/* 0 = go on; else the exit status plus one. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"transport", required_argument, NULL, 't'},
		{"hooks", required_argument, NULL, 'h'},
		{"hook-timeout", required_argument, NULL, 'l'},
		{"once", no_argument, NULL, 'o'},
		{"foreground", no_argument, NULL, 'f'},
		{"pid-file", required_argument, NULL, 'p'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, '?' + 256},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		char *end = NULL;
		switch (c) {
		case 't':
			if (choose_transport(o, optarg) == 0)
				break;
			fprintf(stderr, "remus-agent: --transport %s: auto, virtio or xenstore\n", optarg);
			return 3;
		case 'h':
			o->hooks = optarg;
			break;
		case 'l':
			o->hook_limit_s = (unsigned)strtoul(optarg, &end, 10);
			if (!*end && o->hook_limit_s >= 1 && o->hook_limit_s <= 86400)
				break;
			fprintf(stderr, "remus-agent: --hook-timeout %s: 1 to 86400 seconds\n", optarg);
			return 3;
		case 'o':
			o->once = true;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 'p':
			o->pid_file = optarg;
			break;
		case 'V':
			printf("remus-agent %s\n", PACKAGE_VERSION);
			return 1;
		case '?' + 256:
			fputs(usage, stdout);
			return 1;
		default:
			fputs("try remus-agent --help\n", stderr);
			return 3;
		}
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "remus-agent: \"%s\": no arguments are taken; try remus-agent --help\n",
		argv[optind]);
	return 3;
}

static int write_pid_file(const char *path)
{
	char text[32];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
	bool ok = fd >= 0 && write(fd, text, (size_t)n) == n;

	if (!ok)
		say("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

/* As far as it is allowed: without these it works, only not as surely in time. */
static void be_ready(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "-1000", 5) < 0)
			say("the kernel may end this process when memory is short: %s", strerror(errno));
		close(fd);
	}
	setpriority(PRIO_PROCESS, 0, -20);
	mlockall(MCL_CURRENT | MCL_FUTURE);
}

static int watch_signals(void)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv)
{
	static struct program p = {.options = {.hooks = "/etc/remus/resume.d", .hook_limit_s = HOOK_LIMIT_S}};
	static const struct agent_world world = {
		.context = &p,
		.monotonic_ns = world_monotonic,
		.realtime_ns = world_realtime,
		.send = world_send,
		.reseed = world_reseed,
		.adjust = world_adjust,
		.stolen = world_stolen,
		.hooks = world_hooks,
	};
	int end = parse(argc, argv, &p.options);

	if (end)
		return end - 1;
	if (!p.options.foreground) {
		say_to_kernel_log();
		if (daemon(0, 0) < 0) {
			fprintf(stderr, "remus-agent: cannot go to the background: %s\n", strerror(errno));
			return 1;
		}
	}
	be_ready();
	agent_init(&p.agent, &world);
	hooks_init(&p.hooks, p.options.hooks, p.options.hook_limit_s);
	p.signals = watch_signals();
	p.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p.signals < 0 || p.epoll < 0 || (p.options.pid_file && write_pid_file(p.options.pid_file) < 0))
		return 1;
	loop(&p);
	hooks_stop(&p.hooks);
	if (p.transport)
		p.transport->ops->close(p.transport);
	if (p.options.pid_file)
		unlink(p.options.pid_file);
	return 0;
}
