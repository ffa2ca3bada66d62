/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a peer says of a Xen guest: what was understood describes the same guest again. */
#include "fuzz.h"

#include "replicator/domain/xen/description.h"
#include "replicator/domain/xen/isolate.h"

#define NICS 4

/* A drill's copy of it has no network, or there is no copy. */
static void check_copy(const struct remus_xen_description *d)
{
	static const uint8_t random[16] = {1};
	struct remus_xen_description copy = *d;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_nic nic[NICS];
	int rc = remus_xen_isolate(d->config, random, &copy.config, &err);

	fuzz_check_error(rc, &err);
	FUZZ_CHECK((rc == 0) == (copy.config != NULL));
	if (rc == 0)
		FUZZ_CHECK(remus_xen_description_nics(&copy, 7, nic, NICS, &err) == 0);
	free(copy.config);
}

static void check(const struct remus_xen_description *d)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_xen_description again;
	struct remus_nic nic[NICS];
	char *json;

	FUZZ_CHECK(d->name[0] && !strchr(d->name, '/'));
	FUZZ_CHECK(d->pages && d->memory_kib && (d->type == REMUS_XEN_PVH || d->width == 4 || d->width == 8));
	FUZZ_CHECK(d->cpuid_bytes % 24 == 0 && d->msr_bytes % 16 == 0);
	int rc = remus_xen_description_nics(d, 7, nic, NICS, &err);
	fuzz_check_error(rc, &err);
	for (int i = 0; i < rc; i++)
		FUZZ_CHECK(strnlen(nic[i].interface, sizeof nic[i].interface) < sizeof nic[i].interface);
	check_copy(d);
	FUZZ_CHECK(remus_xen_describe(d, &json, &err) == 0);
	FUZZ_CHECK(remus_xen_description_parse(json, &again, &err) == 0);
	FUZZ_CHECK(again.type == d->type && again.pages == d->pages && again.memory_kib == d->memory_kib &&
		   again.major == d->major && again.minor == d->minor && !strcmp(again.name, d->name));
	FUZZ_CHECK(again.cpuid_bytes == d->cpuid_bytes && again.msr_bytes == d->msr_bytes &&
		   !memcmp(again.cpuid, d->cpuid, d->cpuid_bytes) &&
		   !memcmp(again.msr, d->msr, d->msr_bytes));
	free(json);
	remus_xen_description_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_xen_description d;
	char *text = fuzz_text(data, size);

	int rc = remus_xen_description_parse(text, &d, &err);
	fuzz_check_error(rc, &err);
	if (rc == 0) {
		check(&d);
		remus_xen_description_free(&d);
	} else {
		FUZZ_CHECK(!d.cpuid && !d.msr && !d.config);
	}
	free(text);
	return 0;
}

static void seed(const char *name, enum remus_xen_type type, const char *guest, char *config)
{
	uint8_t policy[48] = {1, 2, 3};
	struct remus_xen_description in = {.type = type,
					   .width = 8,
					   .major = 4,
					   .minor = 17,
					   .pages = 1044480,
					   .memory_kib = 131072,
					   .cpuid = policy,
					   .msr = policy,
					   .cpuid_bytes = 48,
					   .msr_bytes = 16,
					   .config = config};
	char *json;

	snprintf(in.name, sizeof in.name, "%s", guest);
	FUZZ_CHECK(remus_xen_describe(&in, &json, NULL) == 0);
	fuzz_seed_text(name, json);
	free(json);
}

void fuzz_seeds(void)
{
	char nics[] = "{\"nics\":[{\"mac\":\"00:16:3e:00:00:01\",\"devid\":0},"
		      "{\"mac\":\"00:16:3e:00:00:02\",\"ifname\":\"web1.1\"}]}",
	     bad_mac[] = "{\"nics\":[{\"mac\":\"00:16:3e\"}]}", many[] = "{\"nics\":[{},{},{},{},{}]}",
	     none[] = "{}",
	     odd[] = "{\"nics\":[{\"mac\":\"00:16:3e:00:00:01\",\"devid\":\"0\",\"ifname\":7}]}";

	char domain[] = "{\"c_info\":{\"name\":\"web1\",\"uuid\":\"\"},\"b_info\":{},\"nics\":[{}],"
			"\"disks\":[{\"readwrite\":1},{\"readwrite\":0},{}]}";

	seed("pvh", REMUS_XEN_PVH, "web1", nics);
	seed("domain", REMUS_XEN_PVH, "web1", domain);
	seed("pv", REMUS_XEN_PV, "web1", none);
	seed("bad-mac", REMUS_XEN_PVH, "a.b-c_d+e:f@g", bad_mac);
	seed("many-nics", REMUS_XEN_PVH, "web1", many);
	seed("odd-nic", REMUS_XEN_PVH, "web1", odd);
	seed("name", REMUS_XEN_PVH, "../web1", none);
	seed("no-name", REMUS_XEN_PVH, "", none);
#define TEXT(type, version, pages, kib, cpuid)                                                         \
	"{\"xen\":1,\"type\":\"" type "\",\"name\":\"a\",\"version\":\"" version "\",\"pages\":" pages \
	",\"memory_kib\":" kib ",\"cpuid\":\"" cpuid "\",\"msr\":\"\",\"config\":{}}"
	fuzz_seed_text("hvm", TEXT("hvm", "4.17", "10", "40", ""));
	fuzz_seed_text("pv-no-width", TEXT("pv", "4.17", "10", "40", ""));
	fuzz_seed_text("version", TEXT("pvh", "4.17.1", "10", "40", ""));
	fuzz_seed_text("version-sign", TEXT("pvh", "4.-17", "10", "40", ""));
	fuzz_seed_text("pages", TEXT("pvh", "4.17", "-1", "40", ""));
	fuzz_seed_text("kib", TEXT("pvh", "4.17", "10", "41", ""));
	fuzz_seed_text("cpuid", TEXT("pvh", "4.17", "10", "40", "00"));
	fuzz_seed_text("hex",
		       TEXT("pvh", "4.17", "10", "40", "zz112233445566778899aabbccddeeff0011223344556677"));
	fuzz_seed_text("format",
		       "{\"xen\":2,\"type\":\"\",\"name\":\"\",\"version\":\"\",\"pages\":1,\"memory_kib\":1,"
		       "\"cpuid\":\"\",\"msr\":\"\",\"config\":{}}");
	fuzz_seed_text("no-guest", "{}");
	fuzz_seed_text("no-json", "[");
}
