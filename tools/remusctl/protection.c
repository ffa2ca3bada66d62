/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See protection.h. */
#include "protection.h"

#include "remus/domain.h"

int ctl_check_protection(const struct ctl_call *call, struct remus_error *err)
{
	const json_t *request = call->request;
	size_t nics = json_array_size(json_object_get(request, "egress"));
	size_t standby = json_array_size(json_object_get(request, "standby_egress"));

	if (!json_object_get(request, "to"))
		return remus_fail(err, -EINVAL, "%s needs --to HOST[:PORT]: the host that takes over",
				  call->verb->name);
	if (nics > REMUS_NICS_MAX || standby > REMUS_NICS_MAX)
		return remus_fail(err, -EINVAL, "--egress is for at most %d NICs", REMUS_NICS_MAX);
	if (standby && nics && standby != nics) /* none: those of an earlier session here */
		return remus_fail(err, -EINVAL,
				  "--standby-egress is given %zu times and --egress %zu times: each "
				  "NIC needs one of both",
				  standby, nics);
	return 0;
}
