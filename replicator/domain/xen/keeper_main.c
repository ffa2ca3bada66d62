/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remus-xen-keeper: builds a standby domain from the stream that the receiver feeds it, runs it when told, and
 * then does for it what `xl create` does for an ordinary domain: acts on its shutdown, reboot or crash as its
 * configuration says. libxl forks helpers, installs a SIGCHLD handler and may call exit(): it gets a process of
 * its own. See keeper.h for the words and descriptors.
 *
 * It must never run a guest that it was not told to run (I5): the stream's end is written here, after
 * "activate", and nowhere else; before that, the loss of the receiver means that the domain is destroyed. To
 * abort a restore, libxl's save helper is killed: asked politely (SIGTERM) it would take the closed stream for
 * a failover.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper.h"
#include "keeper_nics.h"
#include "keeper_warm.h"
#include <libxl_utils.h>
#include "libxl_log.h"
#include "libxl_wait.h"
#include "remus/log.h"
#include "remus/util.h"
#include "stream.h"

enum { TALK = 3, STREAM_READ = 4, STREAM_WRITE = 5 };

#define RESTORE_TAG  0x72657374u /* any */
#define CONFIG_MAX   (256u * 1024u)
#define ACTIVATE_MS  60000 /* devices attach, hotplug scripts run: libxl's own limit is 40 s each */
#define ABORT_MS     8000
#define DESTROY_MS   60000 /* of a guest that has run, whose hotplug scripts may be slow: nobody waits for it */
/* After a guest runs: xenstored and the processor are its own, which reconnects its devices and is waited for. */
#define QUIET_MS     2000
#define NAME_MAX_LEN 128
#define COPY_WEIGHT  64 /* of Xen's schedulers, whose usual one is 256 */
#define COPY_NICE    10 /* a copy is no reason for its standby, or a guest, to wait */

struct keeper {
	libxl_ctx *ctx;
	libxl_domain_config config;
	char name[NAME_MAX_LEN];  /* while it stands by */
	char final[NAME_MAX_LEN]; /* "" = not activated */
	struct remus_xen_keeper_nics nics;
	uint32_t domid;
	uint64_t quiet_until; /* what is left to do for a guest that runs is done then; 0 = it is done */
	bool copy;	      /* of a drill */
	bool found, told_domid, receiver_gone, ended /* the stream */, doomed;
};

static void say(struct keeper *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct keeper *k, const char *fmt, ...)
{
	char text[REMUS_XEN_KEEPER_MESSAGE];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	remus_info("%s", text);
	if (!k->receiver_gone && n > 0)
		send(TALK, text, strlen(text), MSG_NOSIGNAL);
}

static int load_config(struct keeper *k, const char *path)
{
	REMUS_AUTO_FREE char *text = calloc(1, CONFIG_MAX);
	FILE *file = fopen(path, "re");

	if (!file || !text)
		return -1;
	size_t n = fread(text, 1, CONFIG_MAX - 1, file);
	fclose(file);
	if (n == 0 || n == CONFIG_MAX - 1 || libxl_domain_config_from_json(k->ctx, &k->config, text))
		return -1;
	free(k->config.c_info.name);
	k->config.c_info.name = strdup(k->name);
	remus_xen_keeper_nics_take(&k->nics, &k->config);
	return k->config.c_info.name ? 0 : -1;
}

/* What the receiver says. */
static void hear(struct keeper *k)
{
	char text[REMUS_XEN_KEEPER_MESSAGE];
	ssize_t n = recv(TALK, text, sizeof text - 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		k->receiver_gone = true;
		k->doomed |= k->copy;
		return;
	}
	text[n] = 0;
	if (!strncmp(text, "activate ", 9) && !k->final[0]) {
		snprintf(k->final, sizeof k->final, "%s", text + 9);
		remus_log_level(REMUS_LOG_DEBUG); /* from here on each step is told, once */
		remus_info("to be run as %s", k->final);
	} else if (!strcmp(text, "destroy"))
		k->doomed = true;
}

/* The stream's end, once it may be written and as soon as the pipe takes it: eight bytes, all or nothing. */
static void end_stream(struct keeper *k)
{
	struct remus_xen_buffer end = {0};

	if (!k->final[0] || k->ended)
		return;
	remus_xen_stream_end(&end);
	k->ended = !end.failed && write(STREAM_WRITE, end.data, end.bytes) == (ssize_t)end.bytes;
	if (k->ended)
		remus_info("the stream is ended");
	remus_xen_buffer_free(&end);
}

/* Kill libxl's helper processes: the children of any thread of ours. */
static void kill_helpers(void)
{
	DIR *tasks = opendir("/proc/self/task");

	for (struct dirent *e; tasks && (e = readdir(tasks));) {
		char path[300];
		int pid;
		snprintf(path, sizeof path, "/proc/self/task/%s/children", e->d_name);
		FILE *children = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		while (children && fscanf(children, "%d", &pid) == 1)
			kill(pid, SIGKILL);
		if (children)
			fclose(children);
	}
	if (tasks)
		closedir(tasks);
}

/* The domain appears while libxl restores it; told is its number once its interfaces are attached. */
static void follow_building(struct keeper *k)
{
	if (k->told_domid || k->doomed)
		return;
	if (!k->found) {
		uint32_t domid;
		if (libxl_name_to_domid(k->ctx, k->name, &domid))
			return;
		k->found = true;
		k->domid = domid;
		int rc = remus_xen_keeper_nics_attach(&k->nics, k->ctx, domid, &k->config);
		if (rc) {
			say(k, "failed its network interfaces can't be attached: libxl error %d", rc);
			k->doomed = true;
			return;
		}
	}
	if (!remus_xen_keeper_nics_settled(&k->nics, k->ctx))
		return;
	if (k->nics.failed >= 0) {
		const libxl_device_nic *nic = &k->nics.nic[k->nics.failed];
		say(k,
		    "failed vif %d can't be attached to %s on this host: libxl error %d. Is there such a "
		    "bridge?",
		    k->nics.failed, nic->bridge ? nic->bridge : "the default bridge", k->nics.error);
		k->doomed = true;
		return;
	}
	k->told_domid = true;
	say(k, "domid %u", k->domid);
	remus_xen_keeper_warm(remus_xen_libxl_log());
}

static int destroy(struct keeper *k, int ms)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int rc = remus_xen_libxl_destroy(k->domid, ms, &err);

	if (rc < 0)
		remus_error_log("%s", err.message);
	return rc;
}

/* The restore, to its end. 0 = the domain is built and paused. */
static int restore(struct keeper *k)
{
	libxl_domain_restore_params params;
	libxl_asyncop_how how = {.callback = NULL, .u = {.for_event = RESTORE_TAG}};
	uint64_t abort_at = 0, activate_at = 0;
	int rc;

	libxl_domain_restore_params_init(&params);
	params.checkpointed_stream = LIBXL_CHECKPOINTED_STREAM_REMUS;
	params.stream_version = 2;
	k->domid = INVALID_DOMID;
	uint32_t built = INVALID_DOMID;
	rc = libxl_domain_create_restore(k->ctx, &k->config, &built, STREAM_READ, -1, &params, &how, NULL);
	if (rc)
		return rc;
	for (;;) {
		if (remus_xen_libxl_done(k->ctx, RESTORE_TAG, &rc))
			break;
		follow_building(k);
		bool soon = !k->told_domid || (k->final[0] && !k->ended);
		if (remus_xen_libxl_turn(k->ctx, k->receiver_gone ? -1 : TALK, soon ? 20 : 1000))
			hear(k);
		end_stream(k);
		uint64_t now = remus_now_us();
		if ((k->receiver_gone || k->doomed) && (k->copy || !k->final[0]) && !abort_at) {
			remus_warn("%s: the standby domain is destroyed",
				   k->doomed ? "it is given up" : "the receiver is gone");
			remus_log_level(REMUS_LOG_DEBUG); /* what libxl waits for now is worth a line each */
			kill_helpers();
			abort_at = now + ABORT_MS * 1000u;
		}
		if (k->final[0] && !activate_at)
			activate_at = now + ACTIVATE_MS * 1000u;
		if ((abort_at && now >= abort_at) || (activate_at && now >= activate_at)) {
			kill_helpers();
			if (k->found)
				destroy(k, ABORT_MS);
			say(k, "failed libxl did not finish the domain within %d ms",
			    abort_at ? ABORT_MS : ACTIVATE_MS);
			_exit(EXIT_FAILURE); /* libxl is in the middle of something */
		}
	}
	libxl_domain_restore_params_dispose(&params);
	remus_info("libxl has finished the domain: %d", rc);
	if (rc == 0)
		k->domid = built;
	return rc;
}

/* What a copy does with the processor it does when nobody else wants it. Schedulers without weights have none to set. */
static void make_light(struct keeper *k)
{
	libxl_domain_sched_params params;

	libxl_domain_sched_params_init(&params);
	params.weight = COPY_WEIGHT;
	if (libxl_domain_sched_params_set(k->ctx, k->domid, &params))
		remus_info("this host's scheduler takes no weight");
	libxl_domain_sched_params_dispose(&params);
}

static int run(struct keeper *k)
{
	if (k->copy)
		make_light(k);
	free(k->config.c_info.name);
	k->config.c_info.name = strdup(k->final);
	if (!k->config.c_info.name)
		return -1;
	if (strcmp(k->name, k->final) && libxl_domain_rename(k->ctx, k->domid, NULL, k->final))
		return -1;
	if (libxl_domain_unpause(k->ctx, k->domid, NULL))
		return -1;
	say(k, "running");
	remus_log_level(REMUS_LOG_INFO);
	k->quiet_until = remus_now_us() + QUIET_MS * 1000u;
	return 0;
}

/* What can wait until the guest is heard again: libxl's record of it. */
static void complete(struct keeper *k)
{
	k->quiet_until = 0;
	if (remus_xen_keeper_nics_give_back(&k->nics, k->ctx, k->domid, &k->config))
		remus_warn(
			"libxl's record of %s lacks its network interfaces: they work, but `xl network-list` "
			"and a new protection will not know them",
			k->final);
}

/* ---- keeping it ---- */

static libxl_action_on_shutdown action_for(const struct keeper *k, int reason)
{
	switch (reason) {
	case LIBXL_SHUTDOWN_REASON_POWEROFF:
		return k->config.on_poweroff;
	case LIBXL_SHUTDOWN_REASON_REBOOT:
		return k->config.on_reboot;
	case LIBXL_SHUTDOWN_REASON_WATCHDOG:
		return k->config.on_watchdog;
	case LIBXL_SHUTDOWN_REASON_SOFT_RESET:
		return k->config.on_soft_reset;
	default:
		return k->config.on_crash;
	}
}

/* What the configuration says, without core dumps. true = it was started anew. */
static bool act(struct keeper *k, int reason)
{
	bool again = false;

	switch (action_for(k, reason)) {
	case LIBXL_ACTION_ON_SHUTDOWN_PRESERVE:
		return false;
	case LIBXL_ACTION_ON_SHUTDOWN_RESTART:
	case LIBXL_ACTION_ON_SHUTDOWN_RESTART_RENAME:
	case LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_RESTART:
	case LIBXL_ACTION_ON_SHUTDOWN_SOFT_RESET:
		again = true;
		break;
	default:
		break;
	}
	if (destroy(k, DESTROY_MS) < 0 || !again)
		return false;
	if (libxl_domain_create_new(k->ctx, &k->config, &k->domid, NULL, NULL) ||
	    libxl_domain_unpause(k->ctx, k->domid, NULL)) {
		remus_error_log("%s can't be started anew", k->final);
		return false;
	}
	return true;
}

/* Wait for a while, or until the receiver or the domain wants something. */
static void turn(struct keeper *k)
{
	uint64_t now = remus_now_us();
	int ms = k->quiet_until > now ? (int)((k->quiet_until - now) / 1000) + 1 : k->quiet_until ? 0 : 60000;

	if (remus_xen_libxl_turn(k->ctx, k->receiver_gone ? -1 : TALK, ms))
		hear(k);
	if (k->quiet_until && remus_now_us() >= k->quiet_until)
		complete(k);
}

static void keep(struct keeper *k)
{
	static const char *const words[] = {"shutdown the guest shut down", "shutdown the guest rebooted", "",
					    "shutdown the guest crashed"};
	libxl_evgen_domain_death *death = NULL;
	bool reported = false;

	while (k->quiet_until && !k->doomed)
		turn(k);
	while (!libxl_evenable_domain_death(k->ctx, k->domid, 0, &death)) {
		libxl_event *event = NULL;
		while (!k->doomed && libxl_event_check(k->ctx, &event, LIBXL_EVENTMASK_ALL, NULL, NULL))
			turn(k);
		if (k->doomed) {
			destroy(k, DESTROY_MS);
			return;
		}
		bool died = event->type == LIBXL_EVENT_TYPE_DOMAIN_DEATH;
		bool shut = event->type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN;
		int reason = shut ? event->u.domain_shutdown.shutdown_reason : -1;
		libxl_event_free(k->ctx, event);
		libxl_evdisable_domain_death(k->ctx, death);
		death = NULL;
		if (shut && reason == LIBXL_SHUTDOWN_REASON_SUSPEND) {
			usleep(100000); /* somebody saves or protects it: it goes on or dies */
			continue;
		}
		if ((died || shut) && !reported)
			say(k, "ended %s",
			    died			? "shutdown the domain was destroyed"
			    : reason >= 0 && reason < 4 ? words[reason]
							: "shutdown the guest ended");
		reported = true;
		if (died || !shut || !act(k, reason))
			return;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"name", required_argument, NULL, 'n'},
						{"config", required_argument, NULL, 'c'},
						{"copy", no_argument, NULL, 'd'},
						{0}};
	static struct keeper k;
	const char *config = NULL;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'n')
			snprintf(k.name, sizeof k.name, "%s", optarg);
		else if (c == 'c')
			config = optarg;
		else if (c == 'd')
			k.copy = true;
		else
			return 2;
	}
	if (!k.name[0] || !config || fcntl(STREAM_WRITE, F_GETFD) < 0) {
		fputs("remus-xen-keeper is run by remusd, not by hand\n", stderr);
		return 2;
	}
	for (int fd = TALK; fd <= STREAM_WRITE; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC); /* libxl passes on what its helpers need, itself */
	signal(SIGPIPE, SIG_IGN);
	if (k.copy)
		nice(COPY_NICE);
	remus_log_identity(k.name);
	libxl_domain_config_init(&k.config);
	if (libxl_ctx_alloc(&k.ctx, LIBXL_VERSION, 0, remus_xen_libxl_log())) {
		say(&k, "failed libxl can't be initialised: does this host run on Xen?");
		return EXIT_FAILURE;
	}
	if (load_config(&k, config)) {
		say(&k, "failed libxl does not understand the guest's configuration");
		return EXIT_FAILURE;
	}
	int rc = restore(&k);
	/* libxl thinks it is done, and nobody said so: a stream cut short; or a copy that is not wanted any more */
	if (rc == 0 && (!k.final[0] || (k.copy && k.doomed))) {
		destroy(&k, ABORT_MS);
		rc = ERROR_FAIL;
	}
	if (rc == 0 && run(&k)) {
		destroy(&k, ABORT_MS);
		rc = ERROR_FAIL;
	}
	if (rc) {
		say(&k, "failed libxl error %d; its words are in the standby's xen.log", rc);
		return EXIT_FAILURE;
	}
	keep(&k);
	return EXIT_SUCCESS;
}
