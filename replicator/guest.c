/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest on this host with the buffers of all its interfaces, treated as one: an interface that was forgotten
 * would be a hole in I1. Also the relay: forwarding the network of a guest that isn't protected.
 */
#include "agent.h"
#include "shell.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "remus/util.h"

/* One egress for each interface that is held in user space, in their order; the host's own have theirs. */
static int check_egresses(const struct remus_nic *nic, int nics, int egresses, struct remus_error *err)
{
	int needed = 0;

	for (int i = 0; i < nics; i++)
		if (nic[i].kind == REMUS_NIC_DGRAM && needed++ == egresses)
			return remus_fail(
				err, -EINVAL,
				"the guest has %d network interface%s but %d egress %s named: give --egress "
				"once per interface (packet:IFNAME, tap:IFNAME or unix:PATH); missing for "
				"interface %d, mac %02x:%02x:%02x:%02x:%02x:%02x",
				nics, nics == 1 ? "" : "s", egresses, egresses == 1 ? "was" : "were", i + 1,
				nic[i].mac[0], nic[i].mac[1], nic[i].mac[2], nic[i].mac[3], nic[i].mac[4],
				nic[i].mac[5]);
	if (egresses > needed)
		return remus_fail(err, -EINVAL, "%d egress URIs for a guest with %d network interface%s%s",
				  egresses, nics, nics == 1 ? "" : "s",
				  needed < nics ? ", not all of which take one" : "");
	return 0;
}

int remus_egress_split(char *list, const char **uri, int max)
{
	char *save = NULL;
	int n = 0;

	for (char *one = strtok_r(list, ";", &save); one && n < max; one = strtok_r(NULL, ";", &save))
		uri[n++] = one;
	return n;
}

static const struct remus_netbuf_ops *netbuf_for(const struct remus_nic *nic)
{
	return nic->kind == REMUS_NIC_DGRAM ? &remus_netbuf_hold : &remus_netbuf_plug;
}

void remus_guest_check_nics(const struct remus_nic *nic, int nics, const char *const *egress, int egresses,
			    uint64_t hold_bytes, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (nics == 0)
		remus_report_ok(report, "network", "the guest has no network interface to hold");
	if (check_egresses(nic, nics, egresses, &err) < 0)
		remus_report_error(report, "egress", "name as many as the guest has interfaces", &err);
	for (int i = 0, used = 0; i < nics; i++) {
		struct remus_netbuf_config config = {.nic = nic[i], .max_bytes = hold_bytes};
		if (nic[i].kind == REMUS_NIC_DGRAM && used == egresses)
			continue; /* it was told above that it lacks one */
		if (nic[i].kind == REMUS_NIC_DGRAM)
			config.egress = egress[used++];
		netbuf_for(&nic[i])->check(&config, report);
	}
}

int remus_guest_open_nics(struct remus_guest *guest, const struct remus_nic *nic, int nics,
			  const char *const *egress, int egresses, uint64_t hold_bytes,
			  struct remus_error *err)
{
	int rc = check_egresses(nic, nics, egresses, err);

	for (int i = 0, used = 0; i < nics && rc == 0; i++) {
		bool in_user_space = nic[i].kind == REMUS_NIC_DGRAM;
		const struct remus_netbuf_ops *ops = netbuf_for(&nic[i]);
		struct remus_netbuf_config config = {
			.nic = nic[i],
			.egress = in_user_space ? egress[used++] : NULL,
			.max_bytes = hold_bytes,
		};
		rc = ops->open(&config, &guest->nic[i], err);
		if (rc < 0) {
			remus_guest_close_nics(guest);
			remus_error_prefix(err, "network interface %d", i + 1);
			return rc;
		}
		guest->nics++;
	}
	if (rc < 0)
		return rc;
	guest->egress_state = "closed";
	return 0;
}

void remus_guest_close_nics(struct remus_guest *guest)
{
	for (; guest->nics > 0; guest->nics--)
		guest->nic[guest->nics - 1]->ops->close(guest->nic[guest->nics - 1]);
}

enum nic_call { HOLD, SEAL, RELEASE, DISCARD, PASS, ANNOUNCE };

/* Make @call of every buffer, whatever becomes of the others; the first failure is returned. */
static int each_nic(struct remus_guest *guest, enum nic_call call, uint64_t epoch, struct remus_error *err)
{
	int first = 0;

	for (int i = 0; i < guest->nics; i++) {
		struct remus_netbuf *nb = guest->nic[i];
		struct remus_error *keep = first ? NULL : err;
		int rc = 0;

		switch (call) {
		case HOLD:
			rc = nb->ops->hold(nb, keep);
			break;
		case SEAL:
			rc = nb->ops->seal(nb, epoch, keep);
			break;
		case RELEASE:
			rc = nb->ops->release(nb, epoch, keep);
			break;
		case DISCARD:
			rc = nb->ops->discard(nb, keep);
			break;
		case PASS:
			rc = nb->ops->pass(nb, keep);
			break;
		case ANNOUNCE:
			rc = nb->ops->announce(nb, &guest->addresses, keep);
			break;
		}
		if (rc < 0 && !first)
			first = rc;
	}
	return first;
}

int remus_guest_hold(struct remus_guest *guest, struct remus_error *err)
{
	guest->egress_state = "holding";
	return each_nic(guest, HOLD, 0, err);
}

int remus_guest_seal(struct remus_guest *guest, uint64_t epoch, struct remus_error *err)
{
	return each_nic(guest, SEAL, epoch, err);
}

int remus_guest_release(struct remus_guest *guest, uint64_t epoch, struct remus_error *err)
{
	return each_nic(guest, RELEASE, epoch, err);
}

int remus_guest_discard(struct remus_guest *guest, struct remus_error *err)
{
	return each_nic(guest, DISCARD, 0, err);
}

int remus_guest_pass(struct remus_guest *guest, struct remus_error *err)
{
	int rc = each_nic(guest, PASS, 0, err);

	if (rc == 0)
		guest->egress_state = "passing";
	return rc;
}

bool remus_guest_holds(const struct remus_guest *guest)
{
	return !strcmp(guest->egress_state, "holding");
}

int remus_guest_announce(struct remus_guest *guest, struct remus_error *err)
{
	return each_nic(guest, ANNOUNCE, 0, err);
}

void remus_guest_egress_stats(struct remus_guest *guest, struct remus_netbuf_stats *sum)
{
	memset(sum, 0, sizeof *sum);
	for (int i = 0; i < guest->nics; i++) {
		struct remus_netbuf_stats one;
		guest->nic[i]->ops->stats(guest->nic[i], &one);
		guest->accepted[i] = one.accepted_packets;
		sum->held_packets += one.held_packets;
		sum->held_bytes += one.held_bytes;
		sum->held_packets_peak += one.held_packets_peak;
		sum->accepted_packets += one.accepted_packets;
		sum->released_packets += one.released_packets;
		sum->released_bytes += one.released_bytes;
		sum->dropped_packets += one.dropped_packets;
		sum->discarded_packets += one.discarded_packets;
		sum->received_packets += one.received_packets;
	}
}

void remus_guest_close(struct remus_guest *guest)
{
	remus_guest_close_nics(guest);
	if (guest->domain)
		guest->domain->ops->close(guest->domain);
	if (guest->standby)
		guest->standby->ops->close(guest->standby);
	guest->domain = NULL;
	guest->standby = NULL;
	shell_agent_close(guest);
}

/* ---- relay ---- */

#define ANNOUNCE_US 10000000u /* how long an interface may fail to come up */
#define REPEAT_MS   500
#define RETRY_MS    50

static enum remus_domain_event guest_event(struct remus_guest *guest, char why[REMUS_TEXT_MAX])
{
	if (guest->domain)
		return guest->domain->ops->next_event(guest->domain, why);
	return guest->standby->ops->next_event(guest->standby, why);
}

static void relay_status(struct remus_guest *guest, const struct remus_supervisor *supervisor,
			 const struct remus_outcome *out)
{
	/* After a session its last word stays to be seen: "solo", "active", "ended". */
	struct remus_status status = {.role = "relay", .state = out->word[0] ? out->word : "relay"};

	snprintf(status.reason, sizeof status.reason, "%s", out->reason);
	status.egress_state = guest->egress_state;
	remus_guest_egress_stats(guest, &status.egress);
	if (guest->domain) {
		status.guest_pages = guest->domain->ops->pages(guest->domain);
		status.guest_pid = guest->domain->ops->pid(guest->domain);
	}
	if (guest->standby) {
		status.guest_pages = guest->standby->ops->pages(guest->standby);
		status.guest_pid = guest->standby->ops->pid(guest->standby);
		snprintf(status.locator, sizeof status.locator, "%s",
			 guest->standby->ops->locator(guest->standby));
	}
	shell_agent_status(guest->agent, &status.agent);
	supervisor->status(supervisor->context, &status);
}

/* Once more; an interface that isn't up yet (or any more) is not waited for for ever. Returns when to come again. */
static int repeat_announcement(struct remus_guest *guest, const struct remus_supervisor *supervisor,
			       uint64_t give_up_us)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (!guest->announcements)
		return REPEAT_MS;
	if (remus_guest_announce(guest, &err) == 0) {
		guest->announcements--;
		return REPEAT_MS;
	}
	if (remus_now_us() < give_up_us)
		return RETRY_MS;
	guest->announcements = 0;
	supervisor->event(supervisor->context, REMUS_LEVEL_WARNING, "failed", err.message);
	return REPEAT_MS;
}

/* The kernel's gates are of no use to a guest that isn't protected: its frames pass without them (I13). The others
 * forward. Not while they hold (I6), nor while announcements go through them. */
static void remove_gates(struct remus_guest *guest)
{
	int kept = 0;

	if (guest->announcements || strcmp(guest->egress_state ? guest->egress_state : "", "passing") != 0)
		return;
	for (int i = 0; i < guest->nics; i++) {
		if (guest->nic[i]->ops == &remus_netbuf_plug)
			guest->nic[i]->ops->close(guest->nic[i]);
		else
			guest->nic[kept++] = guest->nic[i];
	}
	guest->nics = kept;
}

int remus_relay_run(struct remus_guest *guest, const struct remus_supervisor *supervisor,
		    struct remus_outcome *out, struct remus_error *err)
{
	int event_fd = guest->domain ? guest->domain->ops->event_fd(guest->domain)
				     : guest->standby->ops->event_fd(guest->standby);
	uint64_t next_status = 0, give_up_us = remus_now_us() + ANNOUNCE_US;

	if (!strcmp(guest->egress_state ? guest->egress_state : "", "closed")) {
		int rc = remus_guest_pass(guest, err);
		if (rc < 0)
			return rc;
	}
	for (;;) {
		char why[REMUS_TEXT_MAX] = "", text[REMUS_REASON_MAX];

		int wait_ms = repeat_announcement(guest, supervisor, give_up_us);

		shell_agent_tell(supervisor, shell_agent_turn(guest->agent, text), text);
		remove_gates(guest);
		if (remus_now_us() >= next_status) {
			relay_status(guest, supervisor, out);
			next_status = remus_now_us() + 1000000;
		}
		switch (guest_event(guest, why)) {
		case REMUS_DOMAIN_SHUTDOWN:
			supervisor->event(supervisor->context, REMUS_LEVEL_INFO, "guest-shutdown", why);
			return 0;
		case REMUS_DOMAIN_LOST:
			supervisor->event(supervisor->context, REMUS_LEVEL_ERROR, "guest-lost", why);
			return 0;
		case REMUS_DOMAIN_NONE:
			break;
		}
		switch (supervisor->next_command(supervisor->context)) {
		case REMUS_COMMAND_QUIT:
			return 1;
		case REMUS_COMMAND_CHECK:
			return 2;
		default:
			break;
		}
		struct pollfd fds[3] = {
			{.fd = supervisor->command_fd, .events = POLLIN},
			{.fd = event_fd, .events = POLLIN},
			{.fd = shell_agent_fd(guest->agent), .events = POLLIN},
		};
		poll(fds, 3, shell_agent_wait(guest->agent, wait_ms));
	}
}
