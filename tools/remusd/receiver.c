/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child that stands by for one guest of another host, and forwards its network once it runs here. */
#include "remusd.h"

#include <stdio.h>
#include <stdlib.h>
#include "remus/log.h"

int receiver_main(struct child *child, int socket)
{
	struct remus_guest guest = {0};
	struct remus_supervisor supervisor;
	struct remus_outcome outcome = {0};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_transport *transport;
	struct remus_receive_config config = {
		.arbiter_uri = child->options->arbiter,
		.trace_dir = child->options->trace_dir,
	};

	child_supervisor(child, &supervisor);
	int rc = remus_transport_tcp(socket, &transport, &err);
	if (rc == 0)
		rc = remus_backup_run(transport, &config, &supervisor, &guest, &outcome, &err);
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
