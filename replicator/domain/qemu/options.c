/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of options and the walk over it. An option that isn't in the table is refused by its name: an
 * option of a future QEMU is never passed on by accident. Invariant I14 is upheld here (no writable disk), and
 * I1 (no interface whose egress can't be held).
 */
#include "options.h"

#include <stdio.h>

#include "remus/util.h"
#include "walk.h"

void remus_qemu_emit(struct remus_qemu_walk *w, const char *name, const struct remus_keyval *kv,
		     const char *implied)
{
	struct remus_args *args = &w->guest->args;
	remus_args_add(args, "-%s", name);
	remus_args_add(args, "%s", "");
	for (int i = 0; i < kv->count; i++) {
		bool bare = i == 0 && implied && !strcmp(kv->pair[i].key, implied);
		remus_args_append(args, bare ? "" : kv->pair[i].key, kv->pair[i].value);
	}
}

int remus_qemu_check_keys(const struct remus_keyval *kv, const char *keys, struct remus_error *err)
{
	for (int i = 0; i < kv->count; i++) {
		if (!remus_word_in(keys, kv->pair[i].key))
			return remus_fail(err, -ENOTSUP,
					  "its property %s isn't on the list of what a standby may "
					  "be started with",
					  kv->pair[i].key);
		if (!remus_plain(kv->pair[i].value, "_.:+-"))
			return remus_fail(err, -EINVAL, "%s=%s: not a plain word", kv->pair[i].key,
					  kv->pair[i].value);
	}
	return 0;
}

int remus_qemu_run_path(const char *run_dir, const char *what, char out[108], struct remus_error *err)
{
	int n = snprintf(out, 108, "%s/%s", run_dir, what);
	if (n >= 108)
		return remus_fail(err, -ENAMETOOLONG,
				  "the socket path %s/%s has %d bytes, a unix socket's limit is "
				  "107: use a shorter run directory",
				  run_dir, what, n);
	return 0;
}

const char *remus_qemu_input(struct remus_qemu_walk *w, const char *path, struct remus_error *err)
{
	char absolute[4096];
	struct remus_qemu_guest *g = w->guest;

	if (*path != '/' && !w->how->cwd) {
		remus_fail(err, -EINVAL, "the file's path \"%s\" isn't absolute", path);
		return NULL;
	}
	if (*path != '/' && w->daemonized) {
		remus_fail(err, -EINVAL,
			   "the path \"%s\" can't be resolved, as -daemonize changes the directory: "
			   "give QEMU absolute paths",
			   path);
		return NULL;
	}
	int n = *path == '/' ? snprintf(absolute, sizeof absolute, "%s", path)
			     : snprintf(absolute, sizeof absolute, "%s/%s", w->how->cwd, path);
	if (n >= (int)sizeof absolute || g->files == REMUS_QEMU_FILES_MAX) {
		remus_fail(err, -E2BIG, "more than %d files, or a path of more than %zu bytes",
			   REMUS_QEMU_FILES_MAX, sizeof absolute - 1);
		return NULL;
	}
	g->file[g->files] = strdup(absolute);
	if (!g->file[g->files]) {
		remus_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
	return g->file[g->files++];
}

/* Of this host's QEMU only, or given by remus itself: not passed on. */
static int take_drop(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
		     struct remus_error *err)
{
	return 0;
}

/* A flag that is passed on. */
static int take_flag(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
		     struct remus_error *err)
{
	if (!strcmp(name, "nodefaults"))
		w->nodefaults = true;
	int rc = strcmp(name, "enable-kvm") ? 0 : remus_qemu_note_accelerator(w, "kvm", err);
	if (rc)
		return rc;
	remus_args_add(&w->guest->args, "-%s", name);
	return 0;
}

/* Passed on as it is when made of letters, digits and @text. */
static int take_plain(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
		      struct remus_error *err)
{
	if (!remus_plain(value, text))
		return remus_fail(err, -EINVAL, "\"%s\" has characters other than letters, digits and %s",
				  value, text);
	size_t model = strcspn(value, ",");
	if (!strcmp(name, "cpu"))
		w->guest->cpu_host = (model == 4 && !strncmp(value, "host", 4)) ||
				     (model == 3 && !strncmp(value, "max", 3));
	remus_args_add(&w->guest->args, "-%s", name);
	remus_args_add(&w->guest->args, "%s", value);
	return 0;
}

/* The guest's own text; no program but the guest's kernel reads it. */
static int take_text(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
		     struct remus_error *err)
{
	remus_args_add(&w->guest->args, "-%s", name);
	remus_args_add(&w->guest->args, "%s", value);
	return 0;
}

static int take_input(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
		      struct remus_error *err)
{
	if (!strcmp(name, "bios") && !strchr(value, '/'))
		return remus_fail(err, -ENOTSUP,
				  "\"%s\" may be a file of the current directory or of QEMU's: give "
				  "its absolute path, e.g. /usr/share/qemu/%s",
				  value, value);
	const char *path = remus_qemu_input(w, value, err);
	if (!path)
		return -EINVAL;
	remus_args_add(&w->guest->args, "-%s", name);
	remus_args_add(&w->guest->args, "%s", path);
	return 0;
}

/* The keys in @text, plain values. */
static int take_keys(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
		     struct remus_error *err)
{
	struct remus_keyval kv;
	const char *implied = strcmp(name, "boot") ? NULL : "order";
	int rc = remus_keyval_parse(value, implied, &kv, err);
	if (rc)
		return rc;
	rc = remus_qemu_check_keys(&kv, text, err);
	if (rc == 0)
		remus_qemu_emit(w, name, &kv, implied);
	remus_keyval_free(&kv);
	return rc;
}

/* "none" is dropped (-nodefaults says so already); anything else is refused because of @text. */
static int take_none(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
		     struct remus_error *err)
{
	if (strcmp(value, "none"))
		return remus_fail(err, -ENOTSUP, "\"%s\": %s", value, text);
	return 0;
}

static int take_refuse(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
		       struct remus_error *err)
{
	return remus_fail(err, -ENOTSUP, "%s", text);
}

static int take_name(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
		     struct remus_error *err)
{
	struct remus_keyval kv;
	int rc = remus_keyval_parse(value, "guest", &kv, err);
	if (rc)
		return rc;
	const char *guest = remus_keyval_get(&kv, "guest");
	snprintf(w->guest->name, sizeof w->guest->name, "%s", guest ? guest : "");
	remus_keyval_free(&kv);
	return 0; /* the standby gets its own, see finish() */
}

#define WRITABLE                                                                                           \
	"a disk that the guest can write isn't replicated: memory and disk would be of different moments " \
	"(I14). Use -drive file=...,format=raw,readonly=on or storage inside the guest's memory"
#define FIRMWARE \
	"the firmware's variables are a writable disk that isn't replicated; use -bios or the default"
#define GATED                                                                                          \
	"its packets can't be held until they are committed: use -netdev dgram over unix sockets and " \
	"-device"

static const struct option {
	const char *name;
	bool has_value;
	remus_qemu_take *take;
	const char *text;
} table[] = {
	/* the machine */
	{"M", true, remus_qemu_take_machine,
	 "type accel memory-backend acpi pit pic rtc isa-serial pcie ioapic2 usb x-option-roms "
	 "option-roms auto-kernel-cmdline suppress-vmdesc kernel-irqchip smm vmport hpet smbus sata i8042 "
	 "graphics "
	 "dump-guest-core mem-merge max-ram-below-4g"},
	{"machine", true, remus_qemu_take_machine, NULL},
	{"accel", true, remus_qemu_take_accel, "accel thread tb-size kernel-irqchip split-wx"},
	{"enable-kvm", false, take_flag, NULL},
	{"cpu", true, take_plain, "_.+=,-"},
	{"smp", true, take_plain, "=,"},
	{"m", true, remus_qemu_take_memory, NULL},
	{"object", true, remus_qemu_take_object, NULL},
	{"global", true, remus_qemu_take_global, NULL},
	{"nodefaults", false, take_flag, NULL},
	{"no-user-config", false, take_flag, NULL},
	{"no-reboot", false, take_flag, NULL},
	{"no-acpi", false, take_flag, NULL},
	{"no-hpet", false, take_flag, NULL},
	{"no-fd-bootchk", false, take_flag, NULL},
	{"only-migratable", false, take_flag, NULL},
	{"nographic", false, take_flag, NULL},
	{"rtc", true, take_keys, "base clock driftfix"},
	{"boot", true, take_keys, "order once menu strict reboot-timeout"},
	{"overcommit", true, take_keys, "mem-lock cpu-pm"},
	{"sandbox", true, take_plain, "=,"},
	{"uuid", true, take_plain, "-"},
	{"name", true, take_name, NULL},
	/* what it runs */
	{"kernel", true, take_input, NULL},
	{"initrd", true, take_input, NULL},
	{"bios", true, take_input, NULL},
	{"append", true, take_text, NULL},
	/* devices */
	{"device", true, remus_qemu_take_device, NULL},
	{"netdev", true, remus_qemu_take_netdev, NULL},
	{"chardev", true, remus_qemu_take_chardev, NULL},
	{"serial", true, remus_qemu_take_serial, NULL},
	{"drive", true, remus_qemu_take_drive, WRITABLE},
	{"blockdev", true, remus_qemu_take_blockdev, WRITABLE},
	{"parallel", true, take_none, "parallel ports aren't supported"},
	{"display", true, take_none, "the display's memory isn't replicated: use -display none"},
	{"vga", true, take_none, "video memory isn't replicated: use -vga none"},
	{"vnc", true, take_none, "the display's memory isn't replicated: use -display none"},
	{"nic", true, take_none, GATED},
	{"net", true, take_none, GATED},
	/* of this host's QEMU only */
	{"qmp", true, take_drop, NULL},
	{"qmp-pretty", true, take_drop, NULL},
	{"mon", true, take_drop, NULL},
	{"monitor", true, take_drop, NULL},
	{"S", false, take_drop, NULL},
	{"incoming", true, take_drop, NULL}, /* an activated standby has "defer" */
	{"daemonize", false, take_drop, NULL},
	{"pidfile", true, take_drop, NULL},
	{"no-shutdown", false, take_drop, NULL},
	{"msg", true, take_drop, NULL},
	{"D", true, take_drop, NULL},
	{"d", true, take_drop, NULL},
	{"trace", true, take_drop, NULL},
	/* refused for a reason worth saying */
	{"hda", true, take_refuse, WRITABLE},
	{"hdb", true, take_refuse, WRITABLE},
	{"hdc", true, take_refuse, WRITABLE},
	{"hdd", true, take_refuse, WRITABLE},
	{"fda", true, take_refuse, WRITABLE},
	{"fdb", true, take_refuse, WRITABLE},
	{"sd", true, take_refuse, WRITABLE},
	{"mtdblock", true, take_refuse, WRITABLE},
	{"cdrom", true, take_refuse, "use -drive file=...,media=cdrom,format=raw,readonly=on"},
	{"pflash", true, take_refuse, FIRMWARE},
	{"snapshot", false, take_refuse, "temporary writes to disks aren't replicated; use read-only disks"},
	{"loadvm", true, take_refuse,
	 "the guest came from a snapshot of a disk that the standby doesn't have"},
	{"usb", false, take_refuse, "USB isn't supported yet"},
	{"usbdevice", true, take_refuse, "USB isn't supported yet"},
	{"icount", true, take_refuse, "instruction counting keeps state that isn't in a checkpoint"},
	{"mem-path", true, take_refuse,
	 "memory must be a memfd: use -object memory-backend-memfd,id=ram0,size=...,share=on,prealloc=on and "
	 "-machine ...,memory-backend=ram0"},
	{"numa", true, take_refuse, "several memory nodes aren't supported yet"},
	{"virtfs", true, take_refuse, "a file system shared with the host isn't replicated"},
	{"fsdev", true, take_refuse, "a file system shared with the host isn't replicated"},
};

static const struct option *find(const char *name)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++)
		if (!strcmp(table[i].name, name))
			return !strcmp(name, "machine") ? &table[0] : &table[i];
	return NULL;
}

/* What must be there, however the options came. @whole: none was refused, or what they say together isn't known. */
static void check_whole(struct remus_qemu_walk *w, bool whole, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (!w->nodefaults)
		remus_report_fatal(report, -ENOTSUP, "devices", "start it with -nodefaults",
				   "the guest's QEMU was started without -nodefaults: it has devices "
				   "(video memory, a network card) that can't be replicated");
	if (whole && !*w->guest->machine)
		remus_report_fatal(report, -ENOTSUP, "machine",
				   "name the machine type, e.g. -machine q35,memory-backend=ram0",
				   "the guest's QEMU was started without -machine");
	if (whole && (!*w->memory_backend || strcmp(w->memory_backend, w->ram_id)))
		remus_report_fatal(report, -ENOTSUP, "memory", NULL,
				   "the guest's memory isn't a shared memfd, so it can't be read from "
				   "outside: start QEMU with -machine %s,memory-backend=ram0 -object "
				   "memory-backend-memfd,id=ram0,size=<the guest's>,share=on,prealloc=on",
				   *w->guest->machine ? w->guest->machine : "TYPE");
	if (!w->no_configuration)
		remus_report_fatal(report, -ENOTSUP, "state", "start it with that option",
				   "the guest's QEMU was started without -global "
				   "migration.send-configuration=off: its state couldn't be loaded on "
				   "the backup");
	if (whole && remus_qemu_join_nics(w, &err))
		remus_report_error(report, "network", NULL, &err);
}

static int finish(struct remus_qemu_walk *w, struct remus_error *err)
{
	struct remus_args *args = &w->guest->args;
	const char *run_dir = w->how->run_dir;
	char socket[108];
	int rc = 0;

	if (run_dir) {
		rc = remus_qemu_run_path(run_dir, "qmp.sock", socket, err);
		if (rc)
			return rc;
		remus_args_add(args, "-name");
		remus_args_add(args, "%s", "");
		remus_args_append(args, "guest", w->how->name ? w->how->name : "standby");
		remus_args_add(args, "-display");
		remus_args_add(args, "none");
		remus_args_add(args, "-qmp");
		remus_args_add(args, "unix:%s,server=on,wait=off", socket);
		remus_args_add(args, "-incoming");
		remus_args_add(args, "defer");
	}
	if (rc == 0 && args->failed)
		rc = remus_fail(err, -ENOMEM, "QEMU's command line: out of memory");
	return rc;
}

static int take_one(struct remus_qemu_walk *w, int *at, struct remus_error *err)
{
	const char *word = w->argv[(*at)++];
	if (*word != '-')
		return remus_fail(err, -ENOTSUP,
				  "the guest's QEMU was started with the disk image \"%s\": %s", word,
				  WRITABLE);
	const char *name = word + 1 + (word[1] == '-');
	const struct option *option = find(name);
	if (!option)
		return remus_fail(err, -ENOTSUP,
				  "option -%s of the guest's QEMU isn't on the list of options that "
				  "a standby may be started with",
				  name);
	if (option->has_value && *at == w->argc)
		return remus_fail(err, -EINVAL, "option -%s of the guest's QEMU lacks its value", name);
	const char *value = option->has_value ? w->argv[(*at)++] : "";
	int rc = 0;
	if (*value == '{' && option->take != take_text)
		rc = remus_fail(err, -ENOTSUP, "JSON isn't understood here: write it as key=value,...");
	if (rc == 0)
		rc = option->take(w, name, value, option->text, err);
	if (rc)
		remus_error_prefix(err, "option -%s of the guest's QEMU", name);
	return rc;
}

static bool check_bounds(int argc, const struct remus_qemu_how *how, struct remus_report *report)
{
	if (argc > REMUS_QEMU_ARGS_MAX)
		remus_report_fatal(report, -E2BIG, "options", "shorten it",
				   "the guest's QEMU has %d words on its command line, more than %d", argc,
				   REMUS_QEMU_ARGS_MAX);
	else if (how->run_dir && (*how->run_dir != '/' || strchr(how->run_dir, ',')))
		remus_report_fatal(report, -EINVAL, "run-dir", "start remusd with another --run-dir",
				   "run directory %s: its path must be absolute and without commas",
				   how->run_dir);
	else
		return true;
	return false;
}

void remus_qemu_options_check(char *const *argv, int argc, const struct remus_qemu_how *how,
			      struct remus_qemu_guest *out, struct remus_report *report)
{
	struct remus_qemu_walk w = {.argv = argv, .argc = argc, .how = how, .guest = out};
	uint32_t before = remus_report_count(report, REMUS_FINDING_FATAL);
	struct remus_error err = REMUS_ERROR_INIT;

	memset(out, 0, sizeof *out);
	if (!check_bounds(argc, how, report))
		return;
	for (int i = 0; i < argc; i++) /* wherever it stands, it counts for all paths */
		w.daemonized |= remus_word_in("-daemonize --daemonize", argv[i]);
	for (int at = 0; at < argc;)
		if (take_one(&w, &at, &err))
			remus_report_error(report, "option",
					   "start the guest's QEMU anew without it, or as told here", &err);
	check_whole(&w, remus_report_count(report, REMUS_FINDING_FATAL) == before, report);
	if (remus_report_count(report, REMUS_FINDING_FATAL) == before && finish(&w, &err))
		remus_report_error(report, "options", NULL, &err);
	if (remus_report_count(report, REMUS_FINDING_FATAL) != before)
		remus_qemu_guest_free(out);
}

int remus_qemu_options(char *const *argv, int argc, const struct remus_qemu_how *how,
		       struct remus_qemu_guest *out, struct remus_error *err)
{
	struct remus_report report = {0};

	remus_qemu_options_check(argv, argc, how, out, &report);
	return remus_report_first(&report, err);
}

void remus_qemu_guest_free(struct remus_qemu_guest *g)
{
	for (int i = 0; i < g->files; i++)
		free(g->file[i]);
	remus_args_free(&g->args);
	memset(g, 0, sizeof *g);
}
