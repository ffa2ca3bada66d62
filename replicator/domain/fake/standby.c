/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fake guest that stands by: a remus-fake-guest started with --wait, memory empty, tied to this process by
 * the lifeline until it is activated, or, if it is mortal, for good (I13). Its image is its memory itself; it runs
 * nothing before activate() (I5), and then exactly from the committed state (I3).
 */
#include "fake.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <jansson.h>
#include "remus/host.h"
#include "remus/util.h"

struct fake_standby {
	struct remus_standby base;
	struct remus_fake_guest guest;
	int lifeline;
	bool activated, destroyed, committed;
	uint64_t epoch;
	uint8_t state[REMUS_FAKE_STATE];
	char locator[128];
};

static struct fake_standby *of(struct remus_standby *standby)
{
	return (struct fake_standby *)standby;
}

/* The arguments that make a guest equal to the described one. */
struct arguments {
	char number[6][24], control[108], nic[256], name[64];
	const char *argv[24];
	uint64_t pages;
	uint8_t mac[6];
	bool has_nic;
};

static int build_arguments(const char *description, const struct remus_standby_config *config,
			   struct arguments *a, struct remus_error *err)
{
	static const char *const option[] = {"--pages", "--seed", "--words",
					     "--hot",	"--rate", "--frame-every"};
	json_error_t where;
	json_t *object = json_loads(description, 0, &where);
	json_int_t value[6];
	const char *mac = "";
	int fake = 0, n = 0, code = 0;

	if (!object || json_unpack(object, "{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "fake", &fake, "pages",
				   &value[0], "seed", &value[1], "words", &value[2], "hot", &value[3], "rate",
				   &value[4], "frame_every", &value[5], "mac", &mac))
		code = remus_fail(err, -EINVAL, "standby %s: the description is no fake guest's",
				  config->name);
	else if (fake != 1)
		code = remus_fail(err, -EPROTONOSUPPORT,
				  "standby %s: version %d of a fake guest's description", config->name, fake);
	if (!code) {
		struct remus_fake_params params = {
			.pages = (uint64_t)value[0], .words = (uint64_t)value[2], .hot = (uint64_t)value[3]};
		code = remus_fake_params_check(&params, err);
		a->pages = params.pages;
		a->has_nic = sscanf(mac, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &a->mac[0], &a->mac[1],
				    &a->mac[2], &a->mac[3], &a->mac[4], &a->mac[5]) == 6;
	}
	for (int i = 0; !code && i < 6; i++) {
		snprintf(a->number[i], sizeof a->number[i], "%" PRIu64, (uint64_t)value[i]);
		a->argv[n++] = option[i];
		a->argv[n++] = a->number[i];
	}
	size_t length = strlen(config->run_dir) + sizeof "/guest.sock";
	if (!code && length > sizeof a->control)
		code = remus_fail(err, -ENAMETOOLONG, "standby %s: %s is too long for a socket's path",
				  config->name, config->run_dir);
	if (!code) {
		snprintf(a->control, sizeof a->control, "%s/fake.sock", config->run_dir);
		snprintf(a->name, sizeof a->name, "%s", config->name);
		a->argv[n++] = "--control";
		a->argv[n++] = a->control;
		a->argv[n++] = "--name";
		a->argv[n++] = a->name;
		a->argv[n++] = "--wait";
		if (config->mortal)
			a->argv[n++] = "--mortal";
		if (mac[0]) {
			snprintf(a->nic, sizeof a->nic, "%.17s,%s/nic0.guest,%s/nic0.host", mac,
				 config->run_dir, config->run_dir);
			a->argv[n++] = "--nic";
			a->argv[n++] = a->nic;
		}
		a->argv[n] = NULL;
	}
	json_decref(object);
	return code;
}

/* What create() needs, all of it. */
static void examine(const char *description, const struct remus_standby_config *config, struct arguments *a,
		    struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char program[4096], what[128];

	memset(a, 0, sizeof *a);
	if (remus_fake_program(program, &err))
		remus_report_error(report, "program", NULL, &err);
	if (build_arguments(description, config, a, &err)) {
		remus_report_error(report, "guest", NULL, &err);
		return;
	}
	snprintf(what, sizeof what, "the standby of %.64s", config->name);
	remus_host_check_memory(a->pages * REMUS_FAKE_PAGE, what, REMUS_FINDING_FATAL, report);
}

static void fake_check(const char *description, const struct remus_standby_config *config,
		       struct remus_nic nic[REMUS_NICS_MAX], int *nics, struct remus_report *report)
{
	struct arguments a;

	examine(description, config, &a, report);
	*nics = a.has_nic ? 1 : 0;
	if (!a.has_nic)
		return;
	memset(nic, 0, sizeof *nic);
	nic->kind = REMUS_NIC_DGRAM;
	memcpy(nic->mac, a.mac, sizeof nic->mac);
	snprintf(nic->guest_path, sizeof nic->guest_path, "%s/nic0.guest", config->run_dir);
	snprintf(nic->host_path, sizeof nic->host_path, "%s/nic0.host", config->run_dir);
}

static int fake_create(const char *description, const struct remus_standby_config *config,
		       struct remus_standby **out, struct remus_error *err)
{
	struct remus_report report = {0};
	struct arguments a;

	examine(description, config, &a, &report);
	int code = remus_report_first(&report, err);
	if (code)
		return code;
	struct fake_standby *fake = calloc(1, sizeof *fake);
	if (!fake)
		return remus_fail(err, -ENOMEM, "standby %s: out of memory", config->name);
	pid_t pid;
	code = remus_fake_spawn(a.argv, &pid, &fake->lifeline, err);
	if (!code) {
		code = remus_fake_guest_open(&fake->guest, a.control, err);
		if (code) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			close(fake->lifeline);
		}
	}
	if (code) {
		remus_error_prefix(err, "standby %s", config->name);
		free(fake);
		return code;
	}
	fake->base.ops = &remus_fake_standby_ops;
	snprintf(fake->locator, sizeof fake->locator, "fake:%s", a.control);
	*out = &fake->base;
	return 0;
}

static uint64_t fake_pages(struct remus_standby *standby)
{
	return of(standby)->guest.params.pages;
}

static uint8_t *fake_page(struct remus_standby *standby, uint64_t pfn)
{
	return of(standby)->guest.memory + pfn * REMUS_FAKE_PAGE;
}

static int fake_commit(struct remus_standby *standby, uint64_t epoch, const uint8_t *state, size_t bytes,
		       struct remus_error *err)
{
	struct fake_standby *fake = of(standby);
	struct remus_fake_state decoded;
	int code = remus_fake_state_decode(state, bytes, &decoded, err);

	if (code)
		return remus_error_prefix(err, "epoch %" PRIu64, epoch), code;
	memcpy(fake->state, state, bytes);
	fake->epoch = epoch;
	fake->committed = true;
	return 0;
}

static int fake_copy_into(struct remus_standby *standby, struct remus_standby *copy, uint64_t *epoch,
			  struct remus_error *err)
{
	struct fake_standby *fake = of(standby);

	if (!fake->committed)
		return remus_fail(err, -ENODATA, "no epoch is committed");
	*epoch = fake->epoch;
	return remus_standby_copy_image(standby, copy, fake->epoch, fake->state, sizeof fake->state, err);
}

static int fake_activate(struct remus_standby *standby, struct remus_error *err)
{
	struct fake_standby *fake = of(standby);

	if (!fake->committed)
		return remus_fail(err, -ENODATA, "%s: no epoch is complete, there is nothing to run",
				  fake->locator);
	int code = remus_fake_call(&fake->guest.control, REMUS_FAKE_ACTIVATE, fake->state, sizeof fake->state,
				   NULL, NULL, NULL, REMUS_FAKE_CALL_MS, err);
	if (code)
		return remus_error_prefix(err, "activate from epoch %" PRIu64, fake->epoch), code;
	fake->activated = true;
	return 0;
}

static int fake_nics(struct remus_standby *standby, struct remus_nic *out, int max, struct remus_error *err)
{
	const struct remus_fake_guest *guest = &of(standby)->guest;

	for (int i = 0; i < guest->nics && i < max; i++)
		out[i] = guest->nic;
	return guest->nics < max ? guest->nics : max;
}

static const char *fake_locator(struct remus_standby *standby)
{
	return of(standby)->locator;
}

static struct remus_channel *fake_agent(struct remus_standby *standby, char why[REMUS_TEXT_MAX])
{
	return remus_fake_guest_agent(&of(standby)->guest, why);
}

static pid_t fake_pid(struct remus_standby *standby)
{
	return of(standby)->destroyed ? 0 : of(standby)->guest.pid;
}

static int fake_event_fd(struct remus_standby *standby)
{
	return of(standby)->guest.events.fd;
}

static enum remus_domain_event fake_next_event(struct remus_standby *standby, char why[REMUS_TEXT_MAX])
{
	return remus_fake_guest_event(&of(standby)->guest, why);
}

static void fake_destroy(struct remus_standby *standby)
{
	struct fake_standby *fake = of(standby);

	if (fake->destroyed)
		return;
	fake->destroyed = true;
	if (!remus_fake_guest_kill(&fake->guest, NULL))
		waitpid(fake->guest.pid, NULL, 0);
}

static void fake_close(struct remus_standby *standby)
{
	struct fake_standby *fake = of(standby);

	if (!fake->activated)
		fake_destroy(standby);
	close(fake->lifeline);
	remus_fake_guest_close(&fake->guest);
	free(fake);
}

const struct remus_standby_ops remus_fake_standby_ops = {
	.backend = "fake",
	.check = fake_check,
	.create = fake_create,
	.pages = fake_pages,
	.page = fake_page,
	.commit = fake_commit,
	.copy_into = fake_copy_into,
	.activate = fake_activate,
	.nics = fake_nics,
	.locator = fake_locator,
	.agent = fake_agent,
	.pid = fake_pid,
	.event_fd = fake_event_fd,
	.next_event = fake_next_event,
	.destroy = fake_destroy,
	.close = fake_close,
};
