/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A drill's copy on Xen: a snapshot of the shadow stays as it was (I3), and its configuration reaches nobody. */
#include "unit.h"

#include <jansson.h>
#include <pthread.h>

#include "remus/util.h"
#include "replicator/domain/xen/isolate.h"
#include "replicator/domain/xen/snapshot.h"

enum { PAGES = 1044480, FEW = 500, BATCH = 32 };

/* ---- the snapshot ---- */

struct scene {
	struct remus_xen_shadow shadow;
	struct remus_xen_snapshot *snapshot;
	uint64_t pfn[BATCH];
	uint8_t memory[BATCH * 4096];
	struct remus_error err;
};

static uint64_t number_of(unsigned i)
{
	return (uint64_t)i * 2000 + i % 3; /* sparse, over many words */
}

static void fill(uint8_t *page, uint64_t pfn, unsigned generation)
{
	for (unsigned w = 0; w < 512; w++)
		remus_put_le64(page + 8 * (size_t)w, pfn << 20 | generation);
}

static bool is_of(const uint8_t *page, uint64_t pfn, unsigned generation)
{
	for (unsigned w = 0; w < 512; w++)
		if (remus_get_le64(page + 8 * (size_t)w) != (pfn << 20 | generation))
			return false;
	return true;
}

static void write_page(struct scene *s, unsigned i, unsigned generation)
{
	uint64_t pfn = number_of(i);
	fill(remus_xen_shadow_page(&s->shadow, pfn), pfn, generation);
}

static struct scene *begin(uint64_t most)
{
	struct scene *s = calloc(1, sizeof *s);

	CU_ASSERT_EQUAL_FATAL(remus_xen_shadow_create(&s->shadow, PAGES, NULL), 0);
	for (unsigned i = 0; i < FEW; i++)
		write_page(s, i, 1);
	CU_ASSERT_EQUAL_FATAL(remus_xen_snapshot_begin(&s->shadow, most, &s->snapshot, &s->err), 0);
	return s;
}

static void end(struct scene *s)
{
	remus_xen_snapshot_close(s->snapshot);
	remus_xen_shadow_destroy(&s->shadow);
	free(s);
}

static int take(struct scene *s, unsigned *seen)
{
	int n = remus_xen_snapshot_take(s->snapshot, s->pfn, BATCH, s->memory, &s->err);

	for (int i = 0; i < n; i++, ++*seen) {
		CU_ASSERT_EQUAL(s->pfn[i], number_of(*seen));
		CU_ASSERT(is_of(s->memory + (size_t)i * 4096, s->pfn[i], 1));
	}
	return n;
}

/* Pages are written to before they are taken, after, twice, and new ones come. */
static void snapshot_stays(void)
{
	struct scene *s = begin(FEW);
	unsigned seen = 0;

	for (unsigned i = 0; i < FEW; i += 7)
		write_page(s, i, 2);
	while (take(s, &seen) > 0) {
		for (unsigned i = 3; i < FEW; i += 5)
			write_page(s, i, 3 + seen);
		fill(remus_xen_shadow_page(&s->shadow, PAGES - 1 - seen), 9, 9); /* was not there */
	}
	CU_ASSERT_EQUAL(seen, FEW);
	uint64_t kept = remus_xen_snapshot_kept(s->snapshot);
	CU_ASSERT(kept >= FEW / 7 &&
		  kept < FEW / 7 + FEW / 5 + 2); /* once each, those already taken not at all */
	CU_ASSERT(is_of(s->shadow.memory + number_of(0) * 4096, number_of(0), 2)); /* the shadow went on */
	/* It is over on the copy's side: the shadow is as fast as it was. */
	remus_xen_snapshot_close(s->snapshot);
	s->snapshot = NULL;
	write_page(s, 1, 4);
	CU_ASSERT_PTR_NULL(s->shadow.snapshot);
	end(s);
}

static void snapshot_is_bounded(void)
{
	struct scene *s = begin(10);
	unsigned seen = 0;

	for (unsigned i = 100; i < 110; i++)
		write_page(s, i, 2);
	CU_ASSERT_EQUAL(take(s, &seen), BATCH);
	write_page(s, 5, 2); /* taken: needs no room */
	CU_ASSERT_EQUAL(take(s, &seen), BATCH);
	write_page(s, 111, 2); /* the eleventh */
	CU_ASSERT_EQUAL(take(s, &seen), -ENOMEM);
	UNIT_ASSERT_MESSAGE(s->err, "10 pages");
	CU_ASSERT(is_of(remus_xen_shadow_page(&s->shadow, number_of(111)), number_of(111), 2));
	CU_ASSERT_PTR_NULL(s->shadow.snapshot);
	end(s);
}

static void either_side_may_go_first(void)
{
	struct scene *s = begin(FEW);
	struct remus_xen_snapshot *second;
	unsigned seen = 0;

	take(s, &seen);
	CU_ASSERT_EQUAL(remus_xen_snapshot_begin(&s->shadow, FEW, &second, NULL), 0); /* of the next drill */
	CU_ASSERT_EQUAL(take(s, &seen), -ECANCELED);
	remus_xen_snapshot_close(s->snapshot);
	s->snapshot = second;
	remus_xen_shadow_destroy(&s->shadow);
	CU_ASSERT_EQUAL(take(s, &seen), -ECANCELED);
	UNIT_ASSERT_MESSAGE(s->err, "gone");
	end(s);
}

static void *copy(void *context)
{
	struct scene *s = context;
	unsigned seen = 0;

	while (take(s, &seen) > 0)
		;
	CU_ASSERT_EQUAL(seen, FEW);
	return NULL;
}

/* For TSan: the standby's thread and the copy's. */
static void two_threads(void)
{
	struct scene *s = begin(FEW);
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, copy, s), 0);
	for (unsigned round = 2; round < 12; round++)
		for (unsigned i = FEW; i-- > 0;)
			write_page(s, i, round);
	pthread_join(thread, NULL);
	end(s);
}

/* ---- the configuration ---- */

static const uint8_t random_bytes[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};

static void nothing_reaches_out(void)
{
	const char *config =
		"{\"c_info\":{\"type\":\"pvh\",\"name\":\"web1\",\"uuid\":\"11111111-2222-3333-4444-"
		"555555555555\"},\"b_info\":{\"max_vcpus\":2},\"disks\":["
		"{\"pdev_path\":\"/ro\",\"vdev\":\"xvda\"},{\"pdev_path\":\"/zero\",\"readwrite\":0},"
		"{\"pdev_path\":\"/rw\",\"readwrite\":1},{\"pdev_path\":\"/odd\",\"readwrite\":\"yes\"},7],"
		"\"nics\":[{\"mac\":\"00:16:3e:00:00:01\"}],\"pcidevs\":[{}],\"p9s\":[{}],\"channels\":[{}],"
		"\"on_reboot\":\"restart\",\"on_crash\":\"preserve\",\"something_new\":[1]}";
	struct remus_error err = REMUS_ERROR_INIT;
	char *out;

	CU_ASSERT_EQUAL_FATAL(remus_xen_isolate(config, random_bytes, &out, &err), 0);
	json_t *copy = json_loads(out, 0, NULL);
	const json_t *disks = json_object_get(copy, "disks");
	CU_ASSERT_EQUAL(json_object_size(copy), 3);
	CU_ASSERT_EQUAL_FATAL(json_array_size(disks), 2);
	for (size_t i = 0; i < 2; i++)
		CU_ASSERT_STRING_EQUAL(
			json_string_value(json_object_get(json_array_get(disks, i), "pdev_path")),
			i ? "/zero" : "/ro");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(json_object_get(copy, "b_info"), "max_vcpus")), 2);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(json_object_get(copy, "c_info"), "uuid")),
			       "ffffffff-ffff-4fff-bfff-ffffffffff01");
	json_decref(copy);
	free(out);
}

static void what_is_no_configuration(void)
{
	static const char *const wrong[] = {"", "[]", "{}", "{\"c_info\":{}}",
					    "{\"b_info\":{},\"c_info\":3}"};
	struct remus_error err = REMUS_ERROR_INIT;
	char *out;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(wrong); i++) {
		CU_ASSERT_EQUAL(remus_xen_isolate(wrong[i], random_bytes, &out, &err), -EBADMSG);
		CU_ASSERT_PTR_NULL(out);
	}
}

static const struct unit_case cases[] = {
	{"a snapshot stays as it was", snapshot_stays},
	{"what is kept aside is bounded", snapshot_is_bounded},
	{"the shadow or the copy goes first", either_side_may_go_first},
	{"two threads", two_threads},
	{"a copy's configuration", nothing_reaches_out},
	{"a configuration that is none", what_is_no_configuration},
};

UNIT_MAIN("xen-copy", cases)
