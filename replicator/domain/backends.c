/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hypervisors that this build can protect: the one list that a new backend adds itself to. */
#include "config.h"

#include "remus/domain.h"

#include <stdio.h>
#include <string.h>
#include "remus/util.h"

static const struct remus_domain_ops *const domains[] = {
#ifdef HAVE_XEN
	&remus_xen_domain_ops,
#endif
	&remus_qemu_domain_ops,
	&remus_fake_domain_ops,
};
static const struct remus_standby_ops *const standbys[] = {
#ifdef HAVE_XEN
	&remus_xen_standby_ops,
#endif
	&remus_qemu_standby_ops,
	&remus_fake_standby_ops,
};

const struct remus_domain_ops *remus_domain_backend(const char *name)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(domains); i++)
		if (!strcmp(domains[i]->backend, name))
			return domains[i];
	return NULL;
}

const struct remus_standby_ops *remus_standby_backend(const char *name)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(standbys); i++)
		if (!strcmp(standbys[i]->backend, name))
			return standbys[i];
	return NULL;
}

int remus_standby_sweep(const char *line, int patience_ms, struct remus_error *err)
{
	char text[1024], *save = NULL;

	snprintf(text, sizeof text, "%s", line);
	const char *name = strtok_r(text, " ", &save), *mark = strtok_r(NULL, "\n", &save);
	const struct remus_standby_ops *ops = name ? remus_standby_backend(name) : NULL;
	if (!ops || !ops->sweep || !mark)
		return remus_fail(err, -EINVAL, "\"%.100s\" is no mark of a standby", line);
	return ops->sweep(mark, patience_ms, err);
}
