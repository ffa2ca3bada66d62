/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remusd's options and its loop. One thread: control socket, replication port, signals and the children's
 * messages are all poll(2)ed here; nothing in this process touches a guest.
 */
#include "remusd.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "config.h"
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif
#include "remus/control.h"
#include "remus/log.h"
#include "remus/tls.h"
#include "remus/util.h"

#define STOP_DEADLINE_MS 9000
#define WATCHDOG_S	 60 /* a pause, a stalled link and a mapping of much memory in a row stay below */
#define WATCHDOG_MAX_S	 86400
#define STAGING_MAX_MIB	 1048576u

static const char usage[] =
	"usage: remusd [--run-dir DIR] [--listen HOST[:PORT] | --no-listen] [--control PATH]\n"
	"              [--tls DIR | --insecure] [--control-group GROUP] [--arbiter URI] [--trace DIR]\n"
	"              [--watchdog SECONDS] [--staging MIB] [--log-level LEVEL]\n"
	"       remusd --version | --help\n"
	"\n"
	"The daemon of one host: protects guests of this host and stands by for guests of others.\n"
	"  --run-dir DIR          sockets and standbys (default: /run/remus, or $XDG_RUNTIME_DIR/remus)\n"
	"  --listen HOST[:PORT]   replication port (default: all addresses, port " REMUS_DEFAULT_PORT ")\n"
	"  --no-listen            never stand by for other hosts\n"
	"  --tls DIR              the keys of the link to other hosts (default: /etc/remus/tls, for others\n"
	"                         than root ~/.config/remus/tls); remusctl keys makes them\n"
	"  --insecure             the port takes plaintext from anybody: for a network that is yours alone\n"
	"  --control PATH         control socket (default: RUN_DIR/control)\n"
	"  --control-group GROUP  who besides its owner may use it (mode 0660)\n"
	"  --arbiter URI          this host's way to the arbiter, overrides what a primary names\n"
	"  --trace DIR            write what was sealed, acknowledged and released when\n"
	"  --watchdog SECONDS     kill an engine that has hung for so long (default 60)\n"
	"  --staging MIB          the most that one checkpoint may have in memory here (default: a whole "
	"guest)\n"
	"  --log-level LEVEL      error, warning, info (default) or debug\n";

static int fail_usage(const char *fmt, const char *what)
{
	fprintf(stderr, "remusd: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, "\nremusd --help shows the options\n");
	return 2;
}

/* -1 = go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	enum {
		RUN_DIR = 1,
		LISTEN,
		NO_LISTEN,
		CONTROL,
		GROUP,
		ARBITER,
		TRACE,
		WATCHDOG,
		STAGING,
		LEVEL,
		TLS,
		INSECURE,
		SHOW_VERSION,
		SHOW_HELP
	};
	static const struct option longs[] = {
		{"run-dir", required_argument, NULL, RUN_DIR},
		{"listen", required_argument, NULL, LISTEN},
		{"no-listen", no_argument, NULL, NO_LISTEN},
		{"control", required_argument, NULL, CONTROL},
		{"control-group", required_argument, NULL, GROUP},
		{"arbiter", required_argument, NULL, ARBITER},
		{"trace", required_argument, NULL, TRACE},
		{"watchdog", required_argument, NULL, WATCHDOG},
		{"staging", required_argument, NULL, STAGING},
		{"log-level", required_argument, NULL, LEVEL},
		{"tls", required_argument, NULL, TLS},
		{"insecure", no_argument, NULL, INSECURE},
		{"version", no_argument, NULL, SHOW_VERSION},
		{"help", no_argument, NULL, SHOW_HELP},
		{0},
	};
	struct remus_error err = REMUS_ERROR_INIT;
	enum remus_log_level level;
	struct remus_arbiter *probe;
	const char *listen = NULL;
	unsigned long staging_mib;
	char *end;
	int c;

	if (remus_default_run_dir(o->run_dir, sizeof o->run_dir, &err) < 0)
		return fail_usage("--run-dir: %s", err.message);
	o->listen = true;
	o->watchdog_s = WATCHDOG_S;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case RUN_DIR:
			snprintf(o->run_dir, sizeof o->run_dir, "%s", optarg);
			break;
		case LISTEN:
			listen = optarg;
			break;
		case NO_LISTEN:
			o->listen = false;
			break;
		case CONTROL:
			snprintf(o->control, sizeof o->control, "%s", optarg);
			break;
		case GROUP:
			o->group = optarg;
			break;
		case ARBITER:
			if (remus_arbiter_create(optarg, &probe, &err) < 0)
				return fail_usage("--arbiter: %s", err.message);
			probe->ops->close(probe);
			o->arbiter = optarg;
			break;
		case TRACE:
			o->trace_dir = optarg;
			break;
		case WATCHDOG:
			o->watchdog_s = (unsigned)strtoul(optarg, &end, 10);
			if (*end || end == optarg || o->watchdog_s < 1 || o->watchdog_s > WATCHDOG_MAX_S)
				return fail_usage("--watchdog %s: give seconds, 1 to 86400", optarg);
			break;
		case STAGING:
			staging_mib = strtoul(optarg, &end, 10);
			if (*end || end == optarg || staging_mib < 1 || staging_mib > STAGING_MAX_MIB)
				return fail_usage("--staging %s: give MiB, 1 to 1048576", optarg);
			o->staging_bytes = (uint64_t)staging_mib << 20;
			break;
		case LEVEL:
			if (remus_log_level_parse(optarg, &level) < 0)
				return fail_usage("--log-level %s: use error, warning, info or debug",
						  optarg);
			remus_log_level(level);
			break;
		case TLS:
			snprintf(o->tls_dir, sizeof o->tls_dir, "%s", optarg);
			break;
		case INSECURE:
			o->insecure = true;
			break;
		case SHOW_VERSION:
			puts("remusd " PACKAGE_VERSION);
			return 0;
		case SHOW_HELP:
			fputs(usage, stdout);
			return 0;
		default:
			return fail_usage("%s", "unknown option");
		}
	}
	if (optind < argc)
		return fail_usage("unexpected argument \"%s\"", argv[optind]);
	if (!o->tls_dir[0] && remus_tls_default_dir(o->tls_dir, sizeof o->tls_dir, &err) < 0 && !o->insecure)
		return fail_usage("--tls: %s", err.message);
	if (!o->control[0])
		snprintf(o->control, sizeof o->control, "%.*s/control", PATH_MAX - 16, o->run_dir);
	if (remus_link_parse_address(listen ? listen : "[::]", &o->host, &o->port, &err) < 0)
		return fail_usage("--listen: %s", err.message);
	return -1;
}

static int prepare_dir(const char *path, const char *option, struct remus_error *err)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return remus_fail_errno(err, "%s %s", option, path);
	if (stat(path, &st) < 0)
		return remus_fail_errno(err, "%s %s", option, path);
	/* What lies there decides which processes are ended at start: it must be nobody else's. */
	if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return remus_fail(
			err, -EPERM,
			"%s %s must belong to uid %u and be writable by it alone, but belongs to uid %u "
			"with mode %o: chown or chmod 700 it, or name another",
			option, path, (unsigned)geteuid(), (unsigned)st.st_uid,
			(unsigned)(st.st_mode & 07777));
	if (access(path, W_OK | X_OK) < 0)
		return remus_fail_errno(err, "%s %s is not writable", option, path);
	return 0;
}

/* Children read the keys again for each session, so that new ones need no restart; here is where the operator is told
 * that there are none. */
static int check_keys(const struct options *o, struct remus_error *err)
{
	struct remus_tls *tls;

	if (o->insecure) {
		remus_warn("--insecure: the replication port takes plaintext and anybody who reaches it");
		return 0;
	}
	int rc = remus_tls_load(o->tls_dir, &tls, err);
	if (rc == 0)
		remus_tls_free(tls);
	else if (rc == -ENOENT)
		remus_fail(err, rc,
			   "there are no keys for the link to other hosts in %s: make some there by "
			   "`remusctl keys "
			   "psk` and copy them to the other host, or name their folder by --tls, or take "
			   "plaintext from anybody by --insecure",
			   o->tls_dir);
	return rc;
}

static int set_up(struct daemon *d, struct remus_error *err)
{
	sigset_t set;
	char arbiter[PATH_MAX + 16];
	int rc = privileges_drop(err);

	if (rc == 0)
		rc = check_keys(&d->options, err);
	if (rc == 0)
		rc = prepare_dir(d->options.run_dir, "--run-dir", err);
	snprintf(arbiter, sizeof arbiter, "%s/arbiter", d->options.run_dir);
	if (rc == 0)
		rc = prepare_dir(arbiter, "arbiter directory", err);
	if (rc == 0 && d->options.trace_dir)
		rc = prepare_dir(d->options.trace_dir, "--trace", err);
	if (rc == 0)
		rc = control_open(d, err);
	if (rc == 0 && d->options.listen) {
		rc = remus_link_listen(d->options.host, d->options.port, err);
		d->listen_fd = rc;
	}
	if (rc < 0)
		return rc;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signal_fd < 0)
		return remus_fail_errno(err, "signalfd");
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* a dead receiver's hypervisor becomes ours to reap */
	return 0;
}

static void on_signals(struct daemon *d, bool *stop)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(d->signal_fd, &info, sizeof info) == sizeof info)
		if (info.ssi_signo != SIGCHLD)
			*stop = true;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		session_reap(d, pid, status);
}

static void accept_primary(struct daemon *d)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	uint64_t source = stranger_source(fd);
	const char *why = stranger_refused(d, source);
	struct session *s = why ? NULL : session_new(d, ROLE_RECEIVER, "connection", "");
	if (s)
		s->source = source;
	if (!s) {
		stranger_says("a connection is turned away: %s", why ? why : "no memory");
	} else if (spawn_receiver(d, s, fd, &err) < 0) {
		stranger_says("a connection is turned away: %s", err.message);
		session_drop(d, s);
	}
	close(fd);
}

static void poll_sessions(struct daemon *d, const struct pollfd *fds, int count)
{
	for (int i = 0; i < count; i++) {
		if (!fds[i].revents)
			continue;
		for (struct session *s = d->sessions; s; s = s->next)
			if (s->fd == fds[i].fd) {
				session_readable(d, s);
				break; /* the table may have changed */
			}
	}
}

/* The kernel's gate of a Xen guest outlives the engine on purpose (I6), and the guest's interface goes some time
 * after the guest: what is left of both is removed here (I13). */
static void sweep_gates(struct daemon *d)
{
	struct remus_error err = REMUS_ERROR_INIT;

	d->sweep_us = 0;
	if (remus_netbuf_plug_sweep(NULL, &err) < 0)
		remus_warn("gates of interfaces that are gone: %s", err.message);
}

static void loop(struct daemon *d)
{
	bool stop = false;

	while (!stop) {
		int count = 3, room = 3 + control_poll_count(d);
		for (struct session *s = d->sessions; s; s = s->next)
			room++;
		REMUS_AUTO_FREE struct pollfd *fds = calloc((size_t)room, sizeof *fds);
		if (!fds)
			abort();
		fds[0] = (struct pollfd){.fd = d->signal_fd, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = d->control_fd, .events = POLLIN};
		fds[2] = (struct pollfd){.fd = d->listen_fd, .events = POLLIN};
		int clients = control_poll_fill(d, fds + count);
		count += clients;
		int first_session = count;
		for (struct session *s = d->sessions; s; s = s->next)
			if (s->fd >= 0)
				fds[count++] = (struct pollfd){.fd = s->fd, .events = POLLIN};
		poll(fds, (nfds_t)count, 1000);
		poll_sessions(d, fds + first_session, count - first_session);
		if (fds[0].revents)
			on_signals(d, &stop);
		control_poll_done(d, fds + 3, clients);
		if (fds[1].revents)
			control_accept(d);
		if (fds[2].revents)
			accept_primary(d);
		for (struct session *s = d->sessions; s; s = s->next)
			session_watch(d, s);
		control_tell_events(d);
		checks_expire(d);
		if (d->sweep_us && remus_now_us() >= d->sweep_us)
			sweep_gates(d);
	}
}

static void notify(const char *state)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, state);
#else
	(void)state;
#endif
}

int main(int argc, char **argv)
{
	static struct daemon d = {
		.control_fd = -1, .listen_fd = -1, .signal_fd = -1, .control_gid = (gid_t)-1};
	struct remus_error err = REMUS_ERROR_INIT;
	char path[PATH_MAX + 16];

	remus_log_identity("remusd");
	int status = parse_options(argc, argv, &d.options);
	if (status >= 0)
		return status;
	if (set_up(&d, &err) < 0) {
		remus_error_log("cannot start: %s", err.message);
		if (d.control_made)
			unlink(d.options.control);
		return EXIT_FAILURE;
	}
	records_adopt(&d);
	remus_info("ready: control socket %s, replication %s%s%s", d.options.control,
		   d.options.listen ? d.options.host : "off", d.options.listen ? " port " : "",
		   d.options.listen ? d.options.port : "");
	notify("READY=1");
	loop(&d);
	remus_info("stopping: ending every session in order, guests run on");
	notify("STOPPING=1");
	sessions_stop(&d, STOP_DEADLINE_MS);
	if (d.sweep_us)
		sweep_gates(&d);
	control_close(&d);
	unlink(d.options.control);
	snprintf(path, sizeof path, "%s/arbiter", d.options.run_dir);
	rmdir(path); /* only if it holds no claims */
	return EXIT_SUCCESS;
}
