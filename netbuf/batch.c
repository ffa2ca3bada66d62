// SPDX-License-Identifier: GPL-2.0-or-later
/* Receiving frames by the batch; see batch.h. The memory is untouched, and so not resident, until used. */
#include "config.h"
#include "batch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

int frame_batch_init(struct frame_batch *batch)
{
	batch->count = batch->next = 0;
	batch->memory = malloc((size_t)BATCH_FRAMES * BATCH_SLOT);
	return batch->memory ? 0 : -ENOMEM;
}

void frame_batch_free(struct frame_batch *batch)
{
	free(batch->memory);
	batch->memory = NULL;
}

int frame_batch_receive(struct frame_batch *batch, int fd)
{
	struct iovec piece[BATCH_FRAMES];
	struct mmsghdr message[BATCH_FRAMES] = {0};
	int n;

	batch->count = batch->next = 0;
	for (unsigned i = 0; i < BATCH_FRAMES; i++) {
		piece[i] = (struct iovec){frame_batch_slot(batch, i), FRAME_MAX + 1};
		message[i].msg_hdr.msg_iov = &piece[i];
		message[i].msg_hdr.msg_iovlen = 1;
	}
	do
		n = recvmmsg(fd, message, BATCH_FRAMES, MSG_DONTWAIT, NULL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	for (int i = 0; i < n; i++)
		if (message[i].msg_len <= FRAME_MAX)
			batch->frame[batch->count++] = (struct iovec){piece[i].iov_base, message[i].msg_len};
	return n;
}
