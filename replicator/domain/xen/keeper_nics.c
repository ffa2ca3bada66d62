/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxl attaches a restored domain's network interfaces at the very end, when the guest is already missed: the
 * hotplug script that puts a vif into its bridge takes most of a failover. A vif needs nothing of the guest's
 * memory, so here the interfaces are left out of what libxl restores and attached to the domain, by libxl too,
 * while it stands by. A bridge that isn't there, or a script that fails, then shows when protection begins and
 * not when it is needed. Until the guest runs nobody is at the other end of the vif: it has no carrier.
 *
 * Adding a device wants libxl's record of the domain ("libxl-json"), which libxl writes when a domain is
 * complete; so one is written at the beginning, and completed at the end, when nobody but us knows of it.
 *
 * HVM guests keep their interfaces with the rest: an emulated one belongs to the device model, which libxl starts.
 */
#include "keeper_nics.h"

#include <libxl_event.h>
#include <stdlib.h>
#include <string.h>

#include "libxl_wait.h"

#define TAG    0x6e696300u /* + index */
#define RECORD "libxl-json"

void remus_xen_keeper_nics_take(struct remus_xen_keeper_nics *nics, libxl_domain_config *config)
{
	*nics = (struct remus_xen_keeper_nics){.failed = -1};
	if (config->c_info.type == LIBXL_DOMAIN_TYPE_HVM || config->num_nics > REMUS_XEN_KEEPER_NICS)
		return;
	nics->count = config->num_nics;
	if (nics->count > 0)
		memcpy(nics->nic, config->nics, (size_t)nics->count * sizeof nics->nic[0]);
	free(config->nics);
	config->nics = NULL;
	config->num_nics = 0;
}

static int write_record(libxl_ctx *ctx, uint32_t domid, libxl_domain_config *config)
{
	char *json = libxl_domain_config_to_json(ctx, config);
	int rc = ERROR_NOMEM;

	if (json) /* with its final zero, as libxl itself stores it */
		rc = libxl_userdata_store(ctx, domid, RECORD, (uint8_t *)json, (int)strlen(json) + 1);
	free(json);
	return rc ? ERROR_FAIL : 0;
}

int remus_xen_keeper_nics_attach(struct remus_xen_keeper_nics *nics, libxl_ctx *ctx, uint32_t domid,
				 libxl_domain_config *config)
{
	int rc = nics->count ? write_record(ctx, domid, config) : 0;

	for (int i = 0; i < nics->count && !rc; i++) {
		libxl_asyncop_how how = {.callback = NULL, .u = {.for_event = TAG + (unsigned)i}};
		nics->nic[i].nictype = LIBXL_NIC_TYPE_VIF;
		rc = libxl_device_nic_add(ctx, domid, &nics->nic[i], &how);
	}
	return rc;
}

bool remus_xen_keeper_nics_settled(struct remus_xen_keeper_nics *nics, libxl_ctx *ctx)
{
	int rc;

	while (nics->failed < 0 && nics->done < nics->count &&
	       remus_xen_libxl_done(ctx, TAG + (unsigned)nics->done, &rc)) {
		if (rc) {
			nics->failed = nics->done;
			nics->error = rc;
		}
		nics->done++;
	}
	return nics->failed >= 0 || nics->done == nics->count;
}

/* What libxl wrote when it completed the domain, with the interfaces that it didn't know of. */
static int complete_record(struct remus_xen_keeper_nics *nics, libxl_ctx *ctx, uint32_t domid)
{
	libxl_domain_config recorded;
	uint8_t *json = NULL;
	int length = 0;

	libxl_domain_config_init(&recorded);
	int rc = libxl_userdata_retrieve(ctx, domid, RECORD, &json, &length);
	if (!rc)
		rc = json && length > 0 && !json[length - 1] ? 0 : ERROR_FAIL;
	if (!rc)
		rc = libxl_domain_config_from_json(ctx, &recorded, (const char *)json);
	if (!rc) {
		recorded.nics = nics->nic; /* borrowed */
		recorded.num_nics = nics->count;
		rc = write_record(ctx, domid, &recorded);
		recorded.nics = NULL;
		recorded.num_nics = 0;
	}
	libxl_domain_config_dispose(&recorded);
	free(json);
	return rc;
}

int remus_xen_keeper_nics_give_back(struct remus_xen_keeper_nics *nics, libxl_ctx *ctx, uint32_t domid,
				    libxl_domain_config *config)
{
	if (!nics->count)
		return 0;
	int rc = complete_record(nics, ctx, domid);
	config->nics = rc ? NULL : calloc((size_t)nics->count, sizeof config->nics[0]);
	if (!config->nics)
		return rc ? rc : ERROR_NOMEM;
	memcpy(config->nics, nics->nic, (size_t)nics->count * sizeof nics->nic[0]);
	config->num_nics = nics->count;
	nics->count = 0;
	return 0;
}
