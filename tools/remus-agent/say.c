/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See say.h. */
#include "say.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static int output = 2;

void say_to_kernel_log(void)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		output = fd;
}

void say(const char *fmt, ...)
{
	char line[600];
	int n = snprintf(line, sizeof line, "%sremus-agent: ", output == 2 ? "" : "<30>"); /* daemon.info */
	va_list ap;

	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof line - 2)
		n = (int)sizeof line - 2;
	line[n++] = '\n';
	if (write(output, line, (size_t)n) < 0)
		return; /* nowhere to say so */
}
