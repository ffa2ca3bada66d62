/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child that stands by for one guest of another host, and forwards its network once it runs here. */
#include "remusd.h"

#include <stdio.h>
#include <stdlib.h>
#include "remus/log.h"
#include "remus/tls.h"
#include "remus/util.h"

/* From a connected socket to a peer that has proved to be one, unless everybody is welcome. */
static int let_in(const struct options *options, int socket, struct remus_tls **tls,
		  struct remus_transport **out, struct remus_error *err)
{
	uint64_t deadline_us = remus_now_us() + REMUS_TLS_HANDSHAKE_MS * UINT64_C(1000);
	struct remus_transport *plain;

	int rc = remus_transport_tcp(socket, &plain, err);
	if (rc < 0 || options->insecure) {
		*out = plain;
		return rc;
	}
	rc = remus_tls_load(options->tls_dir, tls, err);
	if (rc < 0) {
		plain->ops->close(plain);
		return rc;
	}
	return remus_transport_tls_accept(plain, *tls, deadline_us, out, err);
}

int receiver_main(struct child *child, int socket)
{
	struct remus_guest guest = {0};
	struct remus_supervisor supervisor;
	struct remus_outcome outcome = {0};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_transport *transport;
	struct remus_tls *tls = NULL;
	struct remus_receive_config config = {
		.arbiter_uri = child->options->arbiter,
		.trace_dir = child->options->trace_dir,
		.machine.staging_bytes = child->options->staging_bytes,
	};

	child_supervisor(child, &supervisor);
	int rc = let_in(child->options, socket, &tls, &transport, &err);
	if (rc == 0)
		rc = remus_backup_run(transport, &config, &supervisor, &guest, &outcome, &err);
	remus_tls_free(tls);
	if (rc < 0) {
		child_failed(child, &err);
		return EXIT_FAILURE;
	}
	child_outcome(child, &outcome);
	if (outcome.guest_here) {
		do { /* it may have been asked for while the guest was being activated */
			if (child->check.request)
				check_for_child(child, &guest);
			rc = child->quit ? 1 : remus_relay_run(&guest, &supervisor, &outcome, &err);
		} while (rc == 2);
		if (rc < 0)
			child_failed(child, &err);
	}
	remus_guest_close(&guest);
	return rc < 0 ? EXIT_FAILURE : rc == 1 ? EXIT_GUEST_STAYS : EXIT_SUCCESS;
}
