/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remus-fake-guest: a guest for tests (fake.h). Memory is a shared memfd, mapped and present from the start, as
 * a hypervisor's with prealloc=on. With --wait it is a standby: memory zero, nothing runs before activation.
 */
#include "guest.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "remus/util.h"

static const char usage[] =
	"usage: remus-fake-guest --control SOCKET [--name NAME] [--pages N] [--seed N] [--rate WRITES/S]\n"
	"       [--words N] [--hot PAGES] [--nic MAC,GUEST-SOCKET,HOST-SOCKET] [--frame-every WRITES]\n"
	"       [--wait] [--mortal] [--lifeline FD]\n";

enum {
	OPT_CONTROL = 256,
	OPT_NAME,
	OPT_PAGES,
	OPT_SEED,
	OPT_RATE,
	OPT_WORDS,
	OPT_HOT,
	OPT_NIC,
	OPT_FRAME_EVERY,
	OPT_WAIT,
	OPT_MORTAL,
	OPT_LIFELINE
};

static const struct option options[] = {
	{"control", required_argument, NULL, OPT_CONTROL},
	{"name", required_argument, NULL, OPT_NAME},
	{"pages", required_argument, NULL, OPT_PAGES},
	{"seed", required_argument, NULL, OPT_SEED},
	{"rate", required_argument, NULL, OPT_RATE},
	{"words", required_argument, NULL, OPT_WORDS},
	{"hot", required_argument, NULL, OPT_HOT},
	{"nic", required_argument, NULL, OPT_NIC},
	{"frame-every", required_argument, NULL, OPT_FRAME_EVERY},
	{"wait", no_argument, NULL, OPT_WAIT},
	{"mortal", no_argument, NULL, OPT_MORTAL},
	{"lifeline", required_argument, NULL, OPT_LIFELINE},
	{0},
};

static int parse_nic(struct guest *guest, const char *text)
{
	unsigned m[6];

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x,%107[^,],%107[^,]", m, m + 1, m + 2, m + 3, m + 4, m + 5,
		   guest->guest_path, guest->host_path) != 8)
		return -1;
	for (int i = 0; i < 6; i++)
		guest->mac[i] = (uint8_t)m[i];
	guest->has_nic = true;
	return 0;
}

static int parse(struct guest *guest, int argc, char **argv)
{
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
		switch (c) {
		case OPT_CONTROL:
			guest->control = optarg;
			break;
		case OPT_NAME:
			guest->name = optarg;
			break;
		case OPT_PAGES:
			guest->params.pages = number;
			break;
		case OPT_SEED:
			guest->params.seed = number;
			break;
		case OPT_RATE:
			guest->params.rate = number;
			break;
		case OPT_WORDS:
			guest->params.words = number;
			break;
		case OPT_HOT:
			guest->params.hot = number;
			break;
		case OPT_FRAME_EVERY:
			guest->params.frame_every = number;
			break;
		case OPT_NIC:
			if (parse_nic(guest, optarg))
				return -1;
			break;
		case OPT_WAIT:
			guest->waiting = guest->paused = true;
			break;
		case OPT_MORTAL:
			guest->mortal = true;
			break;
		case OPT_LIFELINE:
			guest->lifeline = atoi(optarg);
			guest->tied = true;
			break;
		default:
			return -1;
		}
	}
	return guest->control && optind == argc ? 0 : -1;
}

static int make_memory(struct guest *guest)
{
	size_t bytes = guest->params.pages * REMUS_FAKE_PAGE;

	guest->memfd = memfd_create("remus-fake-memory", MFD_CLOEXEC);
	if (guest->memfd < 0 || fallocate(guest->memfd, 0, 0, (off_t)bytes))
		return -1;
	guest->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, guest->memfd, 0);
	if (guest->memory == MAP_FAILED)
		return -1;
	if (!guest->waiting)
		remus_fake_fill(&guest->params, guest->memory);
	return 0;
}

static int make_nic(struct guest *guest)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (!guest->has_nic)
		return 0;
	memcpy(address.sun_path, guest->guest_path, sizeof address.sun_path);
	unlink(guest->guest_path);
	guest->nic = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return guest->nic < 0 ? -1 : bind(guest->nic, (struct sockaddr *)&address, sizeof address);
}

int main(int argc, char **argv)
{
	static struct guest guest = {.params = {.pages = 1024, .seed = 1, .words = 8},
				     .name = "fake",
				     .memfd = -1,
				     .nic = -1,
				     .lifeline = -1,
				     .lock = PTHREAD_MUTEX_INITIALIZER,
				     .resumed = PTHREAD_COND_INITIALIZER};
	struct remus_error err = REMUS_ERROR_INIT;
	sigset_t blocked;
	pthread_t worker;

	if (parse(&guest, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	if (remus_fake_params_check(&guest.params, &err)) {
		fprintf(stderr, "remus-fake-guest: %s\n", err.message);
		return 2;
	}
	if (make_memory(&guest) || make_nic(&guest)) {
		fprintf(stderr, "remus-fake-guest: memory or network card: %s\n", strerror(errno));
		return 1;
	}
	if (guest.lifeline >= 0)
		fcntl(guest.lifeline, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* where yama would let only an ancestor track it */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL); /* guest_control.c reads them from a signalfd */
	int code = pthread_create(&worker, NULL, guest_work, &guest);
	if (code) {
		fprintf(stderr, "remus-fake-guest: thread: %s\n", strerror(code));
		return 1;
	}
	return guest_serve(&guest);
}
