/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encoding in the pause (design, section 3, step 4: "or encode them straight from guest memory"): the pages of an
 * epoch are encoded by CAPTURE and wait for SEND_EPOCH. It puts what can still fail, a seal, behind the encoder, so
 * that giving up an epoch must roll the base cache back (I9).
 */
#include "process.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "remus/link.h"
#include "world.h"

void early_clear(struct proc *p)
{
	for (unsigned i = 0; i < p->pieces; i++)
		free(p->piece[i].payload);
	p->pieces = 0;
	p->early = false;
}

static int keep(void *context, const void *payload, size_t bytes, uint32_t pages, struct remus_error *err)
{
	struct proc *p = context;

	if (p->pieces == sizeof p->piece / sizeof p->piece[0])
		return -E2BIG;
	p->piece[p->pieces].payload = malloc(bytes);
	memcpy(p->piece[p->pieces].payload, payload, bytes);
	p->piece[p->pieces].bytes = bytes;
	p->piece[p->pieces++].pages = pages;
	return 0;
}

int early_encode(struct proc *p)
{
	struct capture *c = p->capture;

	early_clear(p);
	p->early = true;
	return remus_encoder_run(c->encoder, c->epoch, c->pfn, c->pages, c->count, REMUS_PAGES_PAYLOAD_MAX,
				 keep, p, NULL);
}

static int send_one(struct proc *p, uint16_t type, void *payload, size_t bytes, struct remus_digest *digest)
{
	struct iovec part = {.iov_base = payload, .iov_len = bytes};
	struct remus_frame_header header;
	int rc = remus_link_send((struct remus_link *)p->link, type, REMUS_FRAME_MANDATORY, p->capture->epoch,
				 &part, 1, &header, NULL);

	if (rc == 0 && digest)
		remus_digest_add(digest, &header);
	return rc;
}

int early_send(struct proc *p, uint64_t *digest)
{
	struct capture *c = p->capture;
	struct remus_digest sum = {0};
	struct remus_commit commit = {.state_bytes = c->state_bytes};
	uint8_t body[REMUS_COMMIT_SIZE];
	int rc = 0;

	for (unsigned i = 0; i < p->pieces && rc == 0; i++) {
		rc = send_one(p, REMUS_FRAME_PAGES, p->piece[i].payload, p->piece[i].bytes, &sum);
		commit.pages += p->piece[i].pages;
		commit.page_bytes += p->piece[i].bytes;
	}
	if (rc == 0)
		rc = send_one(p, REMUS_FRAME_STATE, c->state, c->state_bytes, &sum);
	commit.digest = sum.value;
	remus_commit_encode(&commit, body);
	if (rc == 0)
		rc = send_one(p, REMUS_FRAME_COMMIT, body, sizeof body, NULL);
	*digest = sum.value;
	early_clear(p);
	return rc;
}
