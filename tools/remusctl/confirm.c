/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --force takes the decision from the arbiter and gives it to a person, so a person must have read what for. */
#include "confirm.h"

#include <string.h>
#include <unistd.h>
#include "client.h"

enum ctl_exit ctl_confirm(const struct ctl_call *call, const char *warning)
{
	char answer[16] = "";

	if (!json_is_true(json_object_get(call->request, "force")) || ctl_flag(call, "yes"))
		return CTL_OK;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		ctl_complain("--force needs --yes where nobody can be asked", NULL);
		return CTL_USAGE;
	}
	fprintf(stderr, "%s\nType yes to go on: ", warning);
	if (fgets(answer, sizeof answer, stdin) && !strcmp(answer, "yes\n"))
		return CTL_OK;
	ctl_complain("nothing was done", NULL);
	return CTL_FAILED;
}
