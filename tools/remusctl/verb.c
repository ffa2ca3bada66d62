/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of verbs, in the order of the help. A new verb is a new file and a line here. */
#include "verb.h"

#include <string.h>

const struct ctl_verb *const ctl_verbs[] = {
	&ctl_preflight, &ctl_protect, &ctl_unprotect, &ctl_failover, &ctl_drill,   &ctl_status, &ctl_list,
	&ctl_events,	&ctl_attach,  &ctl_detach,    &ctl_keys,     &ctl_version, &ctl_help,	NULL,
};

const struct ctl_verb *ctl_verb_find(const char *name)
{
	for (size_t i = 0; ctl_verbs[i]; i++)
		if (!strcmp(ctl_verbs[i]->name, name))
			return ctl_verbs[i];
	return NULL;
}
