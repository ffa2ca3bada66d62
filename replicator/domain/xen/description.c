/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See description.h. */
#include "description.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include "remus/util.h"

#define PAGES_MAX   (UINT64_C(1) << 32) /* 16 TiB */
#define CPUID_ENTRY 24u			/* bytes of xen_cpuid_leaf_t */
#define MSR_ENTRY   16u			/* bytes of xen_msr_entry_t */
#define TSC_KHZ_MAX 100000000
#define POLICY_MAX  16384u /* bytes; 4.17 makes some 60 leaves and 2 MSRs */

static const char *const types[] = {[REMUS_XEN_PVH] = "pvh", [REMUS_XEN_PV] = "pv"};

static char *to_hex(const uint8_t *data, size_t bytes)
{
	char *text = malloc(2 * bytes + 1);

	for (size_t i = 0; text && i < bytes; i++)
		snprintf(text + 2 * i, 3, "%02x", data[i]);
	if (text)
		text[2 * bytes] = 0;
	return text;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int from_hex(const char *what, const char *text, size_t entry, uint8_t **out, size_t *bytes,
		    struct remus_error *err)
{
	size_t length = strlen(text);

	if (length % (2 * entry) || length / 2 > POLICY_MAX)
		return remus_fail(err, -EBADMSG, "description of a Xen guest: %s has %zu digits", what,
				  length);
	*bytes = length / 2;
	*out = malloc(length / 2 + 1);
	if (!*out)
		return remus_fail(err, -ENOMEM, "description of a Xen guest: out of memory");
	for (size_t i = 0; i < length / 2; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return remus_fail(err, -EBADMSG, "description of a Xen guest: %s is not hexadecimal",
					  what);
		(*out)[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

int remus_xen_describe(const struct remus_xen_description *in, char **json, struct remus_error *err)
{
	REMUS_AUTO_FREE char *cpuid = to_hex(in->cpuid, in->cpuid_bytes);
	REMUS_AUTO_FREE char *msr = to_hex(in->msr, in->msr_bytes);
	json_t *config = json_loads(in->config, 0, NULL);
	char version[32];

	*json = NULL;
	if (!config)
		return remus_fail(err, -EPROTO, "%s: libxl's JSON of its configuration can't be parsed",
				  in->name);
	snprintf(version, sizeof version, "%u.%u", in->major, in->minor);
	json_t *object = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:o}", "xen", 1, "type",
				   types[in->type], "name", in->name, "version", version, "pages",
				   (json_int_t)in->pages, "memory_kib", (json_int_t)in->memory_kib, "cpuid",
				   cpuid ? cpuid : "", "msr", msr ? msr : "", "config", config);
	if (object && in->type == REMUS_XEN_PV)
		json_object_set_new(object, "width", json_integer(in->width));
	if (object && in->tsc_khz)
		json_object_set_new(object, "tsc",
				    json_pack("{s:I, s:I}", "mode", (json_int_t)in->tsc_mode, "khz",
					      (json_int_t)in->tsc_khz));
	if (object)
		*json = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return *json ? 0 : remus_fail(err, -ENOMEM, "describing %s: out of memory", in->name);
}

/* It becomes part of a xenstore value and of messages; '/' and control characters have no place there. */
static int check_name(const char *name, struct remus_error *err)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.+:@", name[i]))
			length = 0;
	if (!length || length > REMUS_XEN_NAME_MAX)
		return remus_fail(err, -EBADMSG,
				  "a domain's name must be 1 to %d letters, digits or -_.+:@ for a standby",
				  REMUS_XEN_NAME_MAX);
	return 0;
}

static int check_type(const char *type, const json_t *width, struct remus_xen_description *out,
		      struct remus_error *err)
{
	for (out->type = 0; out->type < REMUS_ARRAY_SIZE(types) && strcmp(types[out->type], type);)
		out->type++;
	if (out->type == REMUS_ARRAY_SIZE(types))
		return remus_fail(err, -EPROTONOSUPPORT, "%.64s guests can't be stood by for in this version",
				  type);
	if (out->type != REMUS_XEN_PV)
		return 0;
	json_int_t bytes = json_integer_value(width);
	if (bytes != 4 && bytes != 8)
		return remus_fail(err, -EBADMSG, "description of a PV guest: words of %lld bytes",
				  (long long)bytes);
	out->width = (unsigned)bytes;
	return 0;
}

static int parse_tsc(const json_t *tsc, struct remus_xen_description *out, struct remus_error *err)
{
	json_int_t mode = json_integer_value(json_object_get(tsc, "mode"));
	json_int_t khz = json_integer_value(json_object_get(tsc, "khz"));

	if (!tsc)
		return 0;
	if (mode < 0 || mode > 3 || khz <= 0 || khz > TSC_KHZ_MAX)
		return remus_fail(err, -EBADMSG, "description of a Xen guest: a TSC of mode %lld, %lld kHz",
				  (long long)mode, (long long)khz);
	out->tsc_mode = (uint32_t)mode;
	out->tsc_khz = (uint32_t)khz;
	return 0;
}

static int parse(json_t *object, struct remus_xen_description *out, struct remus_error *err)
{
	const char *type, *name, *version, *cpuid, *msr;
	json_int_t pages, memory;
	json_t *config;
	int format = 0;
	char rest;

	if (json_unpack(object, "{s:i, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:o}", "xen", &format, "type",
			&type, "name", &name, "version", &version, "pages", &pages, "memory_kib", &memory,
			"cpuid", &cpuid, "msr", &msr, "config", &config) ||
	    !json_is_object(config))
		return remus_fail(err, -EBADMSG, "the description is no Xen guest's");
	if (format != 1)
		return remus_fail(err, -EPROTONOSUPPORT, "version %d of a Xen guest's description", format);
	int rc = check_type(type, json_object_get(object, "width"), out, err);
	if (rc < 0)
		return rc;
	if (version[strspn(version, "0123456789.")] || /* scanf takes a sign, too */
	    sscanf(version, "%3u.%3u%c", &out->major, &out->minor, &rest) != 2)
		return remus_fail(err, -EBADMSG, "description of a Xen guest: Xen version \"%.32s\"",
				  version);
	if (pages <= 0 || (uint64_t)pages > PAGES_MAX || memory <= 0 ||
	    (uint64_t)memory > (uint64_t)pages * 4)
		return remus_fail(err, -EBADMSG, "description of a Xen guest: %lld pages, %lld KiB",
				  (long long)pages, (long long)memory);
	out->pages = (uint64_t)pages;
	out->memory_kib = (uint64_t)memory;
	rc = parse_tsc(json_object_get(object, "tsc"), out, err);
	if (rc == 0)
		rc = check_name(name, err);
	if (rc == 0)
		rc = from_hex("cpuid", cpuid, CPUID_ENTRY, &out->cpuid, &out->cpuid_bytes, err);
	if (rc == 0)
		rc = from_hex("msr", msr, MSR_ENTRY, &out->msr, &out->msr_bytes, err);
	if (rc < 0)
		return rc;
	snprintf(out->name, sizeof out->name, "%s", name);
	out->config = json_dumps(config, JSON_COMPACT);
	return out->config ? 0 : remus_fail(err, -ENOMEM, "description of a Xen guest: out of memory");
}

int remus_xen_description_parse(const char *json, struct remus_xen_description *out, struct remus_error *err)
{
	json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);

	memset(out, 0, sizeof *out);
	int rc = object ? parse(object, out, err)
			: remus_fail(err, -EBADMSG, "the description of a Xen guest is no JSON");
	json_decref(object);
	if (rc < 0)
		remus_xen_description_free(out);
	return rc;
}

static int one_nic(const json_t *nic, size_t index, uint32_t domid, struct remus_nic *out,
		   struct remus_error *err)
{
	const char *mac = json_string_value(json_object_get(nic, "mac"));
	const char *ifname = json_string_value(json_object_get(nic, "ifname"));
	const json_t *devid = json_object_get(nic, "devid");
	unsigned m[6];
	char rest;

	memset(out, 0, sizeof *out);
	out->kind = REMUS_NIC_VIF;
	if (!mac || mac[strspn(mac, "0123456789abcdefABCDEF:")] ||
	    sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5], &rest) != 6)
		return remus_fail(err, -EBADMSG, "network interface %zu of a Xen guest has no address",
				  index + 1);
	for (int i = 0; i < 6; i++)
		out->mac[i] = (uint8_t)m[i];
	if (ifname && *ifname)
		snprintf(out->interface, sizeof out->interface, "%s", ifname);
	else
		snprintf(out->interface, sizeof out->interface, "vif%u.%lld", domid,
			 json_is_integer(devid) ? (long long)json_integer_value(devid) : (long long)index);
	return 0;
}

int remus_xen_description_nics(const struct remus_xen_description *d, uint32_t domid, struct remus_nic *out,
			       int max, struct remus_error *err)
{
	json_t *config = json_loads(d->config, 0, NULL);
	const json_t *nics = json_object_get(config, "nics");
	size_t count = json_array_size(nics);
	int rc = count <= (size_t)max ? (int)count
				      : remus_fail(err, -E2BIG, "%s has %zu network interfaces, more than %d",
						   d->name, count, max);

	for (size_t i = 0; rc >= 0 && i < count; i++) {
		int one = one_nic(json_array_get(nics, i), i, domid, &out[i], err);
		if (one < 0)
			rc = one;
	}
	json_decref(config);
	return rc;
}

void remus_xen_description_free(struct remus_xen_description *d)
{
	free(d->cpuid);
	free(d->msr);
	free(d->config);
	memset(d, 0, sizeof *d);
}
