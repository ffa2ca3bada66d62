/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See reseed.h; random(4) describes the calls. */
#include "reseed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int reseed_kernel(const uint8_t seed[REMUS_SEED_SIZE])
{
	struct {
		struct rand_pool_info info;
		uint8_t bytes[REMUS_SEED_SIZE];
	} pool = {.info = {.entropy_count = REMUS_SEED_SIZE * 8, .buf_size = REMUS_SEED_SIZE}};
	int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	int rc = fd < 0 ? -errno : 0;

	memcpy(pool.info.buf, seed, REMUS_SEED_SIZE);
	if (rc == 0 && ioctl(fd, RNDADDENTROPY, &pool) < 0)
		rc = -errno;
	if (rc == 0 && ioctl(fd, RNDRESEEDCRNG) < 0)
		rc = -errno;
	explicit_bzero(&pool, sizeof pool);
	if (fd >= 0)
		close(fd);
	return rc;
}
