/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qemu backend against real QEMUs. The guest has no operating system but 40 bytes of firmware that count:
 * in memory, in a register that is copied to memory, and over a megabyte of pages. So a guest that goes on after
 * failover shows it: both counters continue from the committed epoch and stay equal.
 */
#include "config.h"

#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../../replicator/domain/qemu/process.h"
#include "../../replicator/domain/qemu/spawn.h"
#include "remus/bitmap.h"
#include "remus/domain.h"

#define QEMU	"qemu-system-x86_64"
#define MEGS	32
#define PAGES	(MEGS * 256)
#define COUNTER 7 /* page of the counters: 0x7000 in memory, 0x7004 from the register */

static const struct remus_domain_ops *domains = &remus_qemu_domain_ops;
static const struct remus_standby_ops *standbys = &remus_qemu_standby_ops;
static char top[] = "/tmp/remus-test-XXXXXX", firmware[64];

/* 64 KiB at 0xf0000; the processor starts at the last 16 bytes. */
static int write_firmware(void)
{
	static const uint8_t code[] = {
		0xfa,				    /* cli */
		0x31, 0xc0, 0x8e, 0xd8,		    /* ds = 0 */
		0x66, 0x31, 0xc9,		    /* ecx = 0 */
		0xb8, 0x00, 0x10,		    /* again: ax = 0x1000 */
		0x8e, 0xc0,			    /* page: es = ax */
		0x66, 0x41,			    /* ecx++ */
		0x66, 0xff, 0x06, 0x00, 0x70,	    /* [ds:0x7000]++ */
		0x66, 0x89, 0x0e, 0x04, 0x70,	    /* [ds:0x7004] = ecx */
		0x26, 0x66, 0x89, 0x0e, 0x00, 0x00, /* [es:0] = ecx */
		0x05, 0x00, 0x01,		    /* ax += 0x100, one page on */
		0x3d, 0x00, 0x90,		    /* up to 0x90000 */
		0x75, 0xe4,			    /* jne page */
		0xeb, 0xdf,			    /* jmp again */
	};
	static const uint8_t reset[] = {0xea, 0x00, 0x00, 0x00, 0xf0}; /* jmp f000:0000 */
	static uint8_t image[65536];

	memcpy(image, code, sizeof code);
	memcpy(image + 0xfff0, reset, sizeof reset);
	snprintf(firmware, sizeof firmware, "%s/firmware", top);
	int fd = open(firmware, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = fd < 0 ? -1 : write(fd, image, sizeof image);
	if (fd >= 0)
		close(fd);
	return n == sizeof image ? 0 : -1;
}

static void remove_folder(const char *path)
{
	char file[600];
	DIR *dir = opendir(path);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
		if (*entry->d_name != '.')
			unlink(file);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

/* A fresh directory under the test's. */
static const char *folder(const char *name, char out[64])
{
	snprintf(out, 64, "%s/%s", top, name);
	CU_ASSERT_EQUAL_FATAL(mkdir(out, 0700), 0);
	return out;
}

/* Start a QEMU in @dir with the options @memory for its memory. */
static struct remus_qemu_child start_primary(const char *dir, const char *memory)
{
	char text[2048], *args[64], path[PATH_MAX];
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qemu_child child = {.pidfd = -1};
	int n = 0;

	snprintf(text, sizeof text,
		 "-M microvm,acpi=on%s -accel tcg -m 32 -global migration.send-configuration=off -display "
		 "none "
		 "-nodefaults -no-reboot -serial file:%s/serial -qmp unix:%s/qmp.sock,server=on,wait=off "
		 "-bios %s "
		 "-netdev dgram,id=n0,local.type=unix,local.path=guest,remote.type=unix,remote.path=%s/host "
		 "-device virtio-net-device,netdev=n0,mac=52:54:00:00:00:2a "
		 "-drive file=%s,format=raw,readonly=on,if=none,id=d0 -device virtio-blk-device,drive=d0 "
		 "-name unit",
		 memory, dir, dir, firmware, dir, firmware);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		args[n++] = word;
	args[n] = NULL;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(remus_qemu_find(QEMU, path, &err), 0);
	CU_ASSERT_EQUAL_FATAL(remus_qemu_spawn(path, args, dir, null, false, &child, &err), 0);
	close(null);
	return child;
}

#define MEMFD ",memory-backend=ram0 -object memory-backend-memfd,id=ram0,size=32M,share=on,prealloc=on"

static void stop_primary(struct remus_qemu_child *child)
{
	remus_qemu_process_kill(child->pidfd, 5000, NULL);
	remus_qemu_reap(child);
}

/* Attach, waiting for the QEMU to listen. */
static int attach(const char *dir, struct remus_domain **domain, struct remus_error *err)
{
	struct remus_domain_config config = {.tracking = REMUS_TRACK_AUTO, .run_dir = dir};
	char path[128];
	snprintf(path, sizeof path, "%s/qmp.sock", dir);
	for (int tries = 0;; tries++) {
		int rc = domains->open(path, &config, domain, err);
		if ((rc != -ENOENT && rc != -ECONNREFUSED) || tries == 500)
			return rc;
		usleep(10000);
	}
}

static uint32_t counter(const uint8_t *page, size_t offset)
{
	return remus_get_le32(page + offset);
}

/* What the engine does in an epoch, all in one thread. @dirty_only = false sends every page. */
static uint64_t epoch(struct remus_domain *d, struct remus_standby *s, uint64_t number, bool dirty_only)
{
	static uint64_t map[PAGES / 64], pfn[PAGES];
	static uint8_t copy[PAGES * 4096ul];
	struct remus_error err = REMUS_ERROR_INIT;
	const uint8_t *state;
	size_t bytes = 0;
	uint64_t count = 0, cursor = 0;

	memset(map, 0, sizeof map);
	if (!dirty_only)
		remus_bitmap_set_range(map, 0, PAGES);
	CU_ASSERT_EQUAL(domains->pause(d, &err), 0);
	CU_ASSERT_EQUAL(domains->track_fetch(d, map, &count, &err), 0);
	size_t n = remus_bitmap_take(map, PAGES, &cursor, pfn, PAGES);
	CU_ASSERT_EQUAL(domains->copy(d, pfn, n, copy, &err), 0);
	CU_ASSERT_EQUAL(domains->save_state(d, &state, &bytes, &err), 0);
	CU_ASSERT(bytes > 1000);
	for (size_t i = 0; i < n; i++)
		memcpy(standbys->page(s, pfn[i]), copy + i * 4096, 4096);
	CU_ASSERT_EQUAL(standbys->commit(s, number, state, bytes, &err), 0);

	/* The guest is still stopped: the image must be equal in every byte. */
	for (size_t i = 0; i < PAGES; i++)
		pfn[i] = i;
	CU_ASSERT_EQUAL(domains->copy(d, pfn, PAGES, copy, &err), 0);
	CU_ASSERT_EQUAL(memcmp(copy, standbys->page(s, 0), sizeof copy), 0);
	CU_ASSERT_EQUAL(domains->resume(d, &err), 0);
	CU_ASSERT_EQUAL(domains->resume(d, &err), 0);
	if (*err.message)
		printf("\n    %s\n", err.message);
	return n;
}

/* Wait until @page shows a running guest. */
static void await_counting(struct remus_standby *s, uint32_t from)
{
	for (int i = 0; i < 500 && counter(standbys->page(s, COUNTER), 0) == from; i++)
		usleep(10000);
	CU_ASSERT(counter(standbys->page(s, COUNTER), 0) > from);
}

/* Wait until the primary's guest counts: under load its start may take a while. */
static void await_guest(struct remus_domain *d)
{
	static uint8_t page[4096];
	const uint64_t pfn = COUNTER;
	for (int i = 0; i < 500 && counter(page, 0) == 0; i++) {
		usleep(10000);
		CU_ASSERT_EQUAL(domains->copy(d, &pfn, 1, page, NULL), 0);
	}
	CU_ASSERT(counter(page, 0) > 0);
	memset(page, 0, sizeof page);
}

static int readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return poll(&p, 1, timeout_ms);
}

static bool exists(const char *dir, const char *name)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static struct remus_standby *create(const char *description, const char *dir, int expected,
				    struct remus_error *err)
{
	struct remus_standby_config config = {.run_dir = dir, .name = "unit"};
	struct remus_standby *s = NULL;
	int rc = standbys->create(description, &config, &s, err);
	CU_ASSERT_EQUAL(rc, expected);
	if (rc != expected)
		printf("\n    %d: %s\n", rc, err->message);
	return s;
}

static void fails_over(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_domain *d, *again;
	char a[64], b[64], why[REMUS_TEXT_MAX] = "", *json, path[128];
	struct remus_nic nic[2];

	struct remus_qemu_child child = start_primary(folder("a", a), MEMFD);
	int rc = attach(a, &d, &err);
	if (rc)
		printf("\n    %s\n", err.message);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	CU_ASSERT_STRING_EQUAL(domains->name(d), "unit");
	CU_ASSERT_EQUAL(domains->pages(d), PAGES);
	CU_ASSERT_EQUAL_FATAL(domains->describe(d, &json, &err), 0);
	CU_ASSERT_EQUAL(domains->nics(d, nic, 2, &err), 1);
	snprintf(path, sizeof path, "%s/guest", a);
	CU_ASSERT_STRING_EQUAL(nic[0].guest_path, path);
	CU_ASSERT_EQUAL(nic[0].mac[5], 0x2a);

	/* One QMP client at a time: the second is told so. */
	CU_ASSERT_EQUAL(attach(a, &again, &err), -EBUSY);
	UNIT_ASSERT_MESSAGE(err, "another QMP client");

	memset(&err, 0, sizeof err);
	struct remus_standby *s = create(json, folder("b", b), 0, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	CU_ASSERT_EQUAL(standbys->pages(s), PAGES);
	CU_ASSERT(standbys->pid(s) > 0);
	CU_ASSERT(exists(b, "qemu.pid"));
	for (uint64_t pfn = 0; pfn < PAGES; pfn++)
		CU_ASSERT(standbys->page(s, pfn)[0] == 0 &&
			  !memcmp(standbys->page(s, pfn), standbys->page(s, pfn) + 1, 4095));
	CU_ASSERT(standbys->activate(s, &err) < 0);
	UNIT_ASSERT_MESSAGE(err, "no epoch");

	rc = domains->track_start(d, &err);
	if (rc)
		printf("\n    %s\n", err.message);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	printf("(tracking: %s) ", domains->track_name(d));
	await_guest(d);
	epoch(d, s, 1, false);
	for (uint64_t n = 2; n < 12; n++) {
		usleep(20000);
		CU_ASSERT(epoch(d, s, n, true) < 200);
	}
	CU_ASSERT_EQUAL(domains->next_event(d, why), REMUS_DOMAIN_NONE);
	CU_ASSERT_EQUAL(readable(domains->event_fd(d), 0), 0);
	CU_ASSERT_EQUAL(standbys->next_event(s, why), REMUS_DOMAIN_NONE);
	CU_ASSERT_EQUAL(readable(standbys->event_fd(s), 0), 0);

	/* The primary goes on and dies; its later counts must be unknown to the standby. */
	uint32_t committed = counter(standbys->page(s, COUNTER), 0);
	CU_ASSERT(committed > 0);
	kill(child.pid, SIGKILL);
	CU_ASSERT_EQUAL(readable(domains->event_fd(d), 5000), 1);
	while (readable(child.pidfd, 5000) != 1)
		;
	CU_ASSERT_EQUAL(domains->next_event(d, why), REMUS_DOMAIN_LOST);
	CU_ASSERT_EQUAL(domains->next_event(d, why), REMUS_DOMAIN_NONE);
	CU_ASSERT_EQUAL(readable(domains->event_fd(d), 0), 0);
	CU_ASSERT(domains->pause(d, &err) < 0);
	CU_ASSERT_EQUAL(domains->destroy(d, &err), 0);
	remus_qemu_reap(&child);
	domains->close(d);

	memset(&err, 0, sizeof err);
	CU_ASSERT_EQUAL(standbys->activate(s, &err), 0);
	if (err.code)
		printf("\n    %s\n", err.message);
	await_counting(s, committed);
	CU_ASSERT_EQUAL(standbys->activate(s, &err), 0);
	CU_ASSERT(standbys->commit(s, 99, (const uint8_t *)"x", 1, &err) < 0);
	CU_ASSERT_EQUAL(standbys->nics(s, nic, 2, &err), 1);
	snprintf(path, sizeof path, "%s/nic0.guest", b);
	CU_ASSERT_STRING_EQUAL(nic[0].guest_path, path);
	CU_ASSERT(exists(b, "nic0.guest"));

	/* Let go of it, and protect it in its turn. */
	snprintf(path, sizeof path, "%s", standbys->locator(s));
	CU_ASSERT_EQUAL(strncmp(path, "qemu:", 5), 0);
	standbys->close(s);
	struct remus_domain_config config = {.tracking = REMUS_TRACK_AUTO, .run_dir = a};
	rc = domains->open(path + 5, &config, &d, &err);
	if (rc)
		printf("\n    %s\n", err.message);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	CU_ASSERT_EQUAL(domains->pause(d, &err), 0);
	uint64_t pfn = COUNTER;
	static uint8_t page[4096];
	CU_ASSERT_EQUAL(domains->copy(d, &pfn, 1, page, &err), 0);
	/* The register went along: it may be ahead by the instruction that counts it. */
	uint32_t ahead = counter(page, 0) - counter(page, 4);
	CU_ASSERT(ahead <= 1 && counter(page, 0) > committed);
	pfn = PAGES;
	CU_ASSERT_EQUAL(domains->copy(d, &pfn, 1, page, &err), -EINVAL);
	free(json);
	CU_ASSERT_EQUAL_FATAL(domains->describe(d, &json, &err), 0);
	CU_ASSERT_EQUAL(domains->destroy(d, &err), 0);
	CU_ASSERT_EQUAL(domains->destroy(d, &err), 0);
	domains->close(d);
	CU_ASSERT_EQUAL(domains->open(path + 5, &config, &d, &err), -ECONNREFUSED);
	UNIT_ASSERT_MESSAGE(err, "is dead");
	CU_ASSERT(exists(a, "guest"));
	free(json);
	remove_folder(a);
	remove_folder(b);
}

/* A state that can't be loaded: nothing runs, and a good one can still be activated. */
static void retries(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_domain *d;
	char a[64], b[64], why[REMUS_TEXT_MAX], *json;
	static uint8_t bad[5000];

	struct remus_qemu_child child = start_primary(folder("a", a), MEMFD);
	CU_ASSERT_EQUAL_FATAL(attach(a, &d, &err), 0);
	CU_ASSERT_EQUAL_FATAL(domains->describe(d, &json, &err), 0);
	struct remus_standby *s = create(json, folder("b", b), 0, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	CU_ASSERT_EQUAL(domains->track_start(d, &err), 0);
	await_guest(d);
	epoch(d, s, 1, false);
	uint32_t committed = counter(standbys->page(s, COUNTER), 0);

	/* Its QEMU dies while it waits: that is told, and the image survives. */
	kill(standbys->pid(s), SIGKILL);
	CU_ASSERT_EQUAL(readable(standbys->event_fd(s), 5000), 1);
	usleep(100000);
	CU_ASSERT_EQUAL(standbys->next_event(s, why), REMUS_DOMAIN_LOST);
	CU_ASSERT_EQUAL(counter(standbys->page(s, COUNTER), 0), committed);

	CU_ASSERT_EQUAL(domains->pause(d, &err), 0);
	const uint8_t *state;
	size_t bytes;
	CU_ASSERT_EQUAL(domains->save_state(d, &state, &bytes, &err), 0);
	CU_ASSERT_EQUAL(standbys->commit(s, 2, bad, sizeof bad, &err), 0);
	CU_ASSERT(standbys->activate(s, &err) < 0);
	UNIT_ASSERT_MESSAGE(err, "epoch 2");
	UNIT_ASSERT_MESSAGE(err, "QEMU's last words");
	CU_ASSERT_EQUAL(standbys->pid(s), 0);

	/* (The image is of epoch 1 and the state of a later stop; for this test that's good enough.) */
	CU_ASSERT_EQUAL(standbys->commit(s, 3, state, bytes, &err), 0);
	memset(&err, 0, sizeof err);
	CU_ASSERT_EQUAL(standbys->activate(s, &err), 0);
	if (err.code)
		printf("\n    %s\n", err.message);
	await_counting(s, committed);
	pid_t pid = standbys->pid(s);
	CU_ASSERT(pid > 0);
	standbys->destroy(s);
	standbys->destroy(s);
	CU_ASSERT(kill(pid, 0) != 0);
	CU_ASSERT(!exists(b, "qmp.sock") && !exists(b, "qemu.pid") && !exists(b, "nic0.guest"));
	standbys->close(s);
	domains->track_stop(d);
	domains->track_stop(d);
	domains->close(d);
	stop_primary(&child);
	free(json);
	remove_folder(a);
	remove_folder(b);
}

/* A guest that is shut down isn't lost; the domain is left as it is by close(). */
static void tells_shutdown_from_loss(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_domain *d;
	char a[64], why[REMUS_TEXT_MAX] = "";

	struct remus_qemu_child child = start_primary(folder("a", a), MEMFD);
	CU_ASSERT_EQUAL_FATAL(attach(a, &d, &err), 0);
	CU_ASSERT_EQUAL(domains->pause(d, &err), 0);
	domains->close(d);
	CU_ASSERT_EQUAL_FATAL(attach(a, &d, &err),
			      0); /* paused, as a killed engine leaves it: may be repaired */
	CU_ASSERT_EQUAL(domains->resume(d, &err), 0);
	kill(child.pid, SIGTERM);
	CU_ASSERT_EQUAL(readable(child.pidfd, 5000), 1);
	CU_ASSERT(domains->resume(d, &err) < 0); /* swallows the event, which must still be found */
	CU_ASSERT_EQUAL(readable(domains->event_fd(d), 0), 1);
	CU_ASSERT_EQUAL(domains->next_event(d, why), REMUS_DOMAIN_SHUTDOWN);
	CU_ASSERT(strstr(why, "signal") != NULL);
	CU_ASSERT_EQUAL(domains->next_event(d, why), REMUS_DOMAIN_NONE);
	CU_ASSERT_EQUAL(readable(domains->event_fd(d), 0), 0);
	domains->close(d);
	remus_qemu_reap(&child);
	remove_folder(a);
}

/* Replace the first @from in @text by @to of the same length. */
static void patch(char *text, const char *from, const char *to)
{
	char *at = strstr(text, from);
	CU_ASSERT_FATAL(at != NULL && strlen(from) == strlen(to));
	memcpy(at, to, strlen(to));
}

static void refuses(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_domain *d;
	char a[64], b[64], *json;

	struct remus_qemu_child child = start_primary(folder("a", a), "");
	CU_ASSERT_EQUAL(attach(a, &d, &err), -ENOTSUP);
	UNIT_ASSERT_MESSAGE(err, "-object memory-backend-memfd,id=ram0");
	stop_primary(&child);
	CU_ASSERT_EQUAL(attach(a, &d, &err), -ECONNREFUSED);
	remove_folder(a);

	child = start_primary(folder("a", a), MEMFD);
	CU_ASSERT_EQUAL_FATAL(attach(a, &d, &err), 0);
	folder("b", b);
	static const struct {
		const char *from, *to, *word;
		int code;
	} table[] = {
		{"\"version\":\"", "\"version\":\"9", "both must be the same", -EINVAL},
		{"\"binary\":\"qemu-system-x86_64\"", "\"binary\":\"../../../tmp/evil-\"", "isn't a program",
		 -EINVAL},
		{",\"size\":65536,\"xxh3\":\"", ",\"size\":65536,\"xxh3\":\"x", "differs", -EINVAL},
		{"{\"size\":65536", "{\"size\":65537", "guest's firmware", -ENOENT},
		{"\"-accel\"", "\"-readc\"", "-readc", -ENOTSUP},
		{"\"32\"", "\"33\"", "last words", -ECHILD}, /* QEMU itself objects */
		{"size=32M", "size=99T", "bytes of memory", -EINVAL},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		CU_ASSERT_EQUAL_FATAL(domains->describe(d, &json, &err), 0);
		char *longer = calloc(1, strlen(json) + 16), *at = strstr(json, table[i].from);
		CU_ASSERT_PTR_NOT_NULL_FATAL(at);
		sprintf(longer, "%.*s%s%s", (int)(at - json), json, table[i].to, at + strlen(table[i].from));
		create(longer, b, table[i].code, &err);
		UNIT_ASSERT_MESSAGE(err, table[i].word);
		free(longer);
		free(json);
	}
	/* More memory than the host has. */
	CU_ASSERT_EQUAL_FATAL(domains->describe(d, &json, &err), 0);
	char *longer = calloc(1, strlen(json) + 64), *at;
	patch(json, "size=32M", "size=99T");
	at = strstr(json, "\"memory\":");
	sprintf(longer, "%.*s\"memory\":%llu%s", (int)(at - json), json, 99ull << 40, strchr(at, ','));
	create(longer, b, -ENOMEM, &err);
	UNIT_ASSERT_MESSAGE(err, "available");
	CU_ASSERT(!exists(b, "qmp.sock") && !exists(b, "qemu.pid"));
	free(longer);
	free(json);
	domains->close(d);
	stop_primary(&child);
	remove_folder(a);
	remove_folder(b);
}

static const struct unit_case cases[] = {
	{"fails over and can be protected again", fails_over},
	{"tries an activation again", retries},
	{"tells shutdown from loss", tells_shutdown_from_loss},
	{"refuses what can't be failed over", refuses},
};

int main(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char path[PATH_MAX];
	if (remus_qemu_find(QEMU, path, &err)) {
		printf("SKIP: %s\n", err.message);
		return UNIT_SKIP;
	}
	if (!mkdtemp(top) || write_firmware())
		return 99;
	int rc = unit_main("qemu-live", cases, REMUS_ARRAY_SIZE(cases));
	remove_folder(top);
	return rc;
}
