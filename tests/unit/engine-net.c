/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See engine-rig.h: the network. A thread notes every frame with its number, who sent it and when; a frame is
 * noted later than it was sent, never earlier, so "seen before the ack" is proof of "sent before the ack".
 */
#include "engine-rig.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ECHO_MARK 0xe5

static void note(struct rig_net *net, const struct sockaddr_un *sender, const uint8_t *frame, size_t bytes)
{
	struct rig_seen seen = {.at_us = remus_now_us()};
	size_t n = strlen(sender->sun_path);

	seen.from = n ? sender->sun_path[n - 1] : '?';
	pthread_mutex_lock(&net->lock);
	if (!remus_fake_frame_decode(frame, bytes, &seen.number, &seen.writes)) {
		if (bytes == 64 && frame[20] == ECHO_MARK)
			net->echoes++;
		else if (seen.from == 'b')
			net->announced++;
		pthread_mutex_unlock(&net->lock);
		return;
	}
	if (net->count == net->room) {
		net->room = net->room ? net->room * 2 : 1024;
		net->seen = realloc(net->seen, net->room * sizeof *net->seen);
		if (!net->seen)
			abort();
	}
	net->seen[net->count++] = seen;
	pthread_mutex_unlock(&net->lock);
}

static void *net_main(void *context)
{
	struct rig_net *net = context;
	uint8_t frame[2048];

	for (;;) {
		struct pollfd p[2] = {{.fd = net->fd, .events = POLLIN}, {.fd = net->wake, .events = POLLIN}};
		poll(p, 2, -1);
		struct sockaddr_un sender = {0};
		socklen_t length = sizeof sender;
		ssize_t n;
		while ((n = recvfrom(net->fd, frame, sizeof frame, MSG_DONTWAIT, (struct sockaddr *)&sender,
				     &length)) > 0) {
			note(net, &sender, frame, (size_t)n);
			length = sizeof sender;
		}
		if (p[1].revents)
			return NULL;
	}
}

bool net_start(struct rig_net *net, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	pthread_mutex_init(&net->lock, NULL);
	snprintf(net->path, sizeof net->path, "%s", path);
	memcpy(address.sun_path, net->path, sizeof net->path);
	net->wake = eventfd(0, EFD_CLOEXEC);
	net->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return net->fd >= 0 && !bind(net->fd, (struct sockaddr *)&address, sizeof address) &&
	       !pthread_create(&net->thread, NULL, net_main, net);
}

void net_stop(struct rig_net *net)
{
	eventfd_write(net->wake, 1);
	pthread_join(net->thread, NULL);
	close(net->fd);
	close(net->wake);
	unlink(net->path);
	free(net->seen);
	pthread_mutex_destroy(&net->lock);
}

size_t net_count(struct rig_net *net)
{
	pthread_mutex_lock(&net->lock);
	size_t n = net->count;
	pthread_mutex_unlock(&net->lock);
	return n;
}

uint64_t net_last(struct rig_net *net)
{
	pthread_mutex_lock(&net->lock);
	uint64_t n = net->count ? net->seen[net->count - 1].number : 0;
	pthread_mutex_unlock(&net->lock);
	return n;
}

bool net_wait(struct rig_net *net, char from, uint64_t than)
{
	for (int ms = 0; ms < RIG_PATIENCE_MS; ms++) {
		pthread_mutex_lock(&net->lock);
		struct rig_seen last = net->count ? net->seen[net->count - 1] : (struct rig_seen){0};
		pthread_mutex_unlock(&net->lock);
		if (last.from == from && last.number > than)
			return true;
		usleep(1000);
	}
	printf("\n    no frame newer than %llu came from %c\n", (unsigned long long)than, from);
	return false;
}

bool net_echo(struct rig_net *net, const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	uint8_t frame[64] = {0};
	bool come = false;

	snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	memset(frame + 6, 2, 6);
	frame[20] = ECHO_MARK;
	pthread_mutex_lock(&net->lock);
	unsigned before = net->echoes;
	pthread_mutex_unlock(&net->lock);
	if (sendto(net->fd, frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to) < 0)
		return false;
	for (int ms = 0; ms < RIG_PATIENCE_MS && !come; ms++) {
		usleep(1000);
		pthread_mutex_lock(&net->lock);
		come = net->echoes > before;
		pthread_mutex_unlock(&net->lock);
	}
	return come;
}

/* ---- judging by the traces ---- */

#define EPOCHS_MAX 65536
struct traces {
	uint64_t sealed[EPOCHS_MAX]; /* frames accepted when the epoch was sealed; 0 = it wasn't */
	uint64_t acked[EPOCHS_MAX];  /* µs; 0 = never */
	uint64_t before, pass_us, epochs;
};

static uint64_t member(const json_t *line, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(line, name));
}

static bool read_trace(const char *path, struct traces *t, bool backup)
{
	char text[1024];
	bool holding = false;
	FILE *f = fopen(path, "re");

	if (!f)
		return false;
	if (!backup)
		t->before = UINT64_MAX; /* until a hold, all may pass */
	while (fgets(text, sizeof text, f)) {
		json_t *line = json_loads(text, 0, NULL);
		const char *ev = json_string_value(json_object_get(line, "ev"));
		uint64_t epoch = member(line, "epoch") % EPOCHS_MAX;
		uint64_t accepted =
			(uint64_t)json_integer_value(json_array_get(json_object_get(line, "accepted"), 0));
		if (!ev) {
			json_decref(line);
			break; /* the writer was killed in the middle of it */
		}
		if (backup && !strcmp(ev, "ack") && !t->acked[epoch])
			t->acked[epoch] = member(line, "t");
		if (!backup && !strcmp(ev, "hold") && !holding) {
			t->before = accepted;
			holding = true;
		}
		if (!backup && !strcmp(ev, "seal")) {
			t->sealed[epoch] = accepted;
			t->epochs = epoch > t->epochs ? epoch : t->epochs;
		}
		if (!backup && !strcmp(ev, "pass") && holding)
			t->pass_us = member(line, "t");
		json_decref(line);
	}
	fclose(f);
	return true;
}

/* May frame @k (of those that the buffer accepted) have been seen at @at_us? */
static bool allowed(const struct traces *t, uint64_t k, uint64_t at_us)
{
	if (k <= t->before || (t->pass_us && at_us >= t->pass_us))
		return true;
	for (uint64_t e = 1; e <= t->epochs; e++)
		if (t->sealed[e] >= k)
			return t->acked[e] && at_us >= t->acked[e];
	return false;
}

static uint64_t first_from(const struct rig_net *net, char from)
{
	for (size_t i = 0; i < net->count; i++)
		if (net->seen[i].from == from)
			return net->seen[i].number;
	return 0;
}

bool net_gated(struct rig_net *net, const char *primary_trace, const char *backup_trace, uint64_t *gaps)
{
	struct traces *t = calloc(1, sizeof *t);
	uint64_t last[2] = {0}; /* of the primary, of the backup */
	bool good = t && read_trace(primary_trace, t, false);

	if (!good)
		printf("\n    no trace at %s\n", primary_trace);
	if (good)
		read_trace(backup_trace, t, true); /* not there when it refused */
	pthread_mutex_lock(&net->lock);
	uint64_t first = net->count ? net->seen[0].number : 1;
	for (size_t i = 0; good && i < net->count; i++) {
		const struct rig_seen *s = &net->seen[i];
		uint64_t *mine = &last[s->from == 'b'];
		/* The backup goes on after what was committed, hence above all that the primary may let out; frames
		 * of the primary may still be on their way then. */
		if (s->number <= *mine || (s->from == 'b' && s->number <= last[0])) {
			printf("\n    frame %llu was seen from %c after frames %llu (p), %llu (b)\n",
			       (unsigned long long)s->number, s->from, (unsigned long long)last[0],
			       (unsigned long long)last[1]);
			good = false;
		}
		if (s->from == 'p' && !allowed(t, s->number - first + 1, s->at_us)) {
			printf("\n    frame %llu was seen before its epoch's ack\n",
			       (unsigned long long)s->number);
			good = false;
		}
		*mine = s->number;
	}
	uint64_t first_b = first_from(net, 'b');
	if (first_b && last[0] >= first_b) {
		printf("\n    the primary let frame %llu out, the backup began with frame %llu\n",
		       (unsigned long long)last[0], (unsigned long long)first_b);
		good = false;
	}
	if (gaps && net->count)
		*gaps = (last[1] ? last[1] : last[0]) - first + 1 - net->count;
	pthread_mutex_unlock(&net->lock);
	free(t);
	return good;
}
