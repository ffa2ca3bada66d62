/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands behind a guest's devices: memory, entropy, sockets, files. This is where paths are, so this is
 * where a standby's command line differs from its primary's: inputs are files that both hosts have (their
 * content is compared elsewhere), outputs go into the standby's own directory (I13).
 */
#include <stdio.h>

#include "remus/renewal.h"
#include "remus/util.h"
#include "walk.h"

static int memory_backend(struct remus_qemu_walk *w, const struct remus_keyval *kv, struct remus_error *err)
{
	const char *id = remus_keyval_get(kv, "id"), *size = remus_keyval_get(kv, "size");
	struct remus_args *args = &w->guest->args;

	int rc = remus_qemu_check_keys(
		kv, "qom-type id size share prealloc prealloc-threads merge dump seal hugetlb", err);
	if (rc)
		return rc;
	if (*w->ram_id)
		return remus_fail(err, -ENOTSUP,
				  "the guest's memory is made of several memory backends; one is "
				  "supported");
	if (!id || !remus_id_wellformed(id) || !size || remus_size_parse(size, 1, &w->guest->ram_bytes) ||
	    w->guest->ram_bytes == 0 || w->guest->ram_bytes % 4096)
		return remus_fail(err, -EINVAL,
				  "memory backend: id and size (a multiple of 4096 bytes) are needed");
	if (!remus_keyval_on(remus_keyval_get(kv, "share")))
		return remus_fail(err, -ENOTSUP,
				  "memory backend %s: share=on is missing, so the memory can't be read "
				  "from outside: use -object memory-backend-memfd,id=%s,size=%s,"
				  "share=on,prealloc=on",
				  id, id, size);
	if (remus_keyval_on(remus_keyval_get(kv, "hugetlb")))
		return remus_fail(err, -ENOTSUP,
				  "memory backend %s: hugetlb=on: huge pages can't be tracked yet", id);
	strcpy(w->ram_id, id);
	remus_args_add(args, "-object");
	remus_args_add(args, "memory-backend-memfd,id=%s,size=%s,share=on,prealloc=on", id, size);
	return 0;
}

/* Guests get entropy from the host's generator, whatever file the primary named. */
static int entropy(struct remus_qemu_walk *w, const char *type, const struct remus_keyval *kv,
		   struct remus_error *err)
{
	const char *id = remus_keyval_get(kv, "id"), *file = remus_keyval_get(kv, "filename");

	if (!id || !remus_id_wellformed(id))
		return remus_fail(err, -EINVAL, "%s: a well-formed id is needed", type);
	for (int i = 0; i < kv->count; i++)
		if (!remus_word_in("qom-type id filename", kv->pair[i].key))
			return remus_fail(err, -ENOTSUP, "%s: unknown property %s", type, kv->pair[i].key);
	if (file && !remus_word_in("/dev/urandom /dev/random /dev/hwrng", file))
		return remus_fail(err, -ENOTSUP,
				  "%s: filename=%s: only /dev/urandom, /dev/random and /dev/hwrng", type,
				  file);
	remus_args_add(&w->guest->args, "-object");
	remus_args_add(&w->guest->args, "%s,id=%s%s", type, id,
		       !strcmp(type, "rng-random") ? ",filename=/dev/urandom" : "");
	return 0;
}

static int check_object(struct remus_qemu_walk *w, const struct remus_keyval *kv, struct remus_error *err)
{
	const char *type = remus_keyval_get(kv, "qom-type");
	if (!type)
		type = "";
	if (!strcmp(type, "memory-backend-memfd"))
		return memory_backend(w, kv, err);
	if (!strcmp(type, "rng-random") || !strcmp(type, "rng-builtin"))
		return entropy(w, type, kv, err);
	if (!strncmp(type, "memory-backend-", 15))
		return remus_fail(err, -ENOTSUP,
				  "%s can't be read and tracked from outside: use memory-backend-memfd,"
				  "id=ram0,size=...,share=on,prealloc=on",
				  type);
	return remus_fail(err, -ENOTSUP,
			  "\"%s\" isn't on the list of objects that a standby may be started with", type);
}

int remus_qemu_take_object(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			   struct remus_error *err)
{
	struct remus_keyval kv;
	int rc = remus_keyval_parse(value, "qom-type", &kv, err);
	if (rc)
		return rc;
	rc = check_object(w, &kv, err);
	remus_keyval_free(&kv);
	return rc;
}

/* The socket path @given of the primary, or on the standby "nicN.WHAT" in its directory. */
static int nic_path(struct remus_qemu_walk *w, const char *given, const char *what, char out[108],
		    struct remus_error *err)
{
	char file[32];
	snprintf(file, sizeof file, "nic%d.%s", w->netdevs, what);
	if (w->how->run_dir)
		return remus_qemu_run_path(w->how->run_dir, file, out, err);
	if (!given || !*given)
		return remus_fail(err, -EINVAL, "netdev dgram: local.path and remote.path are needed");
	if (*given == '/'
		    ? snprintf(out, 108, "%s", given) >= 108
		    : !w->how->cwd || w->daemonized || snprintf(out, 108, "%s/%s", w->how->cwd, given) >= 108)
		return remus_fail(err, -EINVAL,
				  "netdev dgram: the path %s must be absolute and have at most 107 bytes",
				  given);
	return 0;
}

static int check_netdev(struct remus_qemu_walk *w, const struct remus_keyval *kv, struct remus_error *err)
{
	const char *type = remus_keyval_get(kv, "type"), *id = remus_keyval_get(kv, "id"),
		   *local = remus_keyval_get(kv, "local.type"), *remote = remus_keyval_get(kv, "remote.type");
	struct remus_args *args = &w->guest->args;

	if (!type || !id || !remus_id_wellformed(id))
		return remus_fail(err, -EINVAL, "a type and a well-formed id are needed");
	if (!strncmp(type, "vhost-", 6) || remus_keyval_on(remus_keyval_get(kv, "vhost")) ||
	    remus_keyval_get(kv, "vhostfd") || remus_keyval_get(kv, "vhostfds"))
		return remus_fail(err, -ENOTSUP,
				  "netdev %s: vhost backends write guest memory where dirty tracking "
				  "doesn't see it",
				  id);
	if (strcmp(type, "dgram") || !local || strcmp(local, "unix") || !remote || strcmp(remote, "unix"))
		return remus_fail(err, -ENOTSUP,
				  "netdev %s, type %s: its packets can't be held until they are "
				  "committed yet: use -netdev dgram,id=%s,local.type=unix,local.path=...,"
				  "remote.type=unix,remote.path=...",
				  id, type, id);
	for (int i = 0; i < kv->count; i++)
		if (!remus_word_in("type id local.type local.path remote.type remote.path", kv->pair[i].key))
			return remus_fail(err, -ENOTSUP, "netdev %s: unknown property %s", id,
					  kv->pair[i].key);
	if (w->netdevs == REMUS_NICS_MAX)
		return remus_fail(err, -E2BIG, "more than %d netdevs", REMUS_NICS_MAX);

	char *guest_path = w->netdev[w->netdevs].local, *host_path = w->netdev[w->netdevs].remote;
	int rc = nic_path(w, remus_keyval_get(kv, "local.path"), "guest", guest_path, err);
	if (rc == 0)
		rc = nic_path(w, remus_keyval_get(kv, "remote.path"), "host", host_path, err);
	if (rc)
		return rc;
	strcpy(w->netdev[w->netdevs++].id, id);
	remus_args_add(args, "-netdev");
	remus_args_add(args, "dgram,id=%s,local.type=unix", id);
	remus_args_append(args, "local.path", guest_path);
	remus_args_append(args, "remote.type", "unix");
	remus_args_append(args, "remote.path", host_path);
	return 0;
}

int remus_qemu_take_netdev(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			   struct remus_error *err)
{
	struct remus_keyval kv;
	int rc = remus_keyval_parse(value, "type", &kv, err);
	if (rc)
		return rc;
	rc = check_netdev(w, &kv, err);
	remus_keyval_free(&kv);
	return rc;
}

enum use { UNUSED, USED, AGENT };

/* What the device @value, if it has the character device @id behind it, makes of that. */
static enum use use_by(const char *value, const char *id)
{
	struct remus_keyval kv;
	enum use use = UNUSED;

	if (remus_keyval_parse(value, "driver", &kv, NULL))
		return UNUSED;
	const char *chardev = remus_keyval_get(&kv, "chardev"), *name = remus_keyval_get(&kv, "name"),
		   *driver = remus_keyval_get(&kv, "driver");
	if (chardev && !strcmp(chardev, id))
		use = driver && !strcmp(driver, "virtserialport") && name && !strcmp(name, REMUS_AGENT_PORT)
			      ? AGENT
			      : USED;
	remus_keyval_free(&kv);
	return use;
}

/* Is the character device @id behind a device or a serial port? (The others belong to monitors.) */
static enum use chardev_use(const struct remus_qemu_walk *w, const char *id)
{
	for (int i = 0; i + 1 < w->argc; i++) {
		const char *value = w->argv[i + 1];
		if (remus_word_in("-serial --serial", w->argv[i]) && !strncmp(value, "chardev:", 8) &&
		    !strcmp(value + 8, id))
			return USED;
		enum use use = remus_word_in("-device --device", w->argv[i]) ? use_by(value, id) : UNUSED;
		if (use)
			return use;
	}
	return UNUSED;
}

/* Where the agent's port @id is reached on this host: the primary's own @path, or the standby's. */
static int note_agent(struct remus_qemu_walk *w, const char *id, const char *path, struct remus_error *err)
{
	char *out = w->guest->agent;

	if (w->how->run_dir) {
		char file[32];
		snprintf(file, sizeof file, "chardev%d.sock", w->chardevs);
		return remus_qemu_run_path(w->how->run_dir, file, out, err);
	}
	if (*path == '/'
		    ? snprintf(out, 108, "%s", path) < 108
		    : w->how->cwd && !w->daemonized && snprintf(out, 108, "%s/%s", w->how->cwd, path) < 108)
		return 0;
	*out = 0;
	return remus_fail(err, -EINVAL, "%s: the path %s must be absolute and have at most 107 bytes", id,
			  path);
}

/* What a standby has instead: a file and a listening socket of its own, null for all that reaches out. */
static int standby_chardev(struct remus_qemu_walk *w, const char *backend, const char *id, bool server,
			   struct remus_error *err)
{
	struct remus_args *args = &w->guest->args;
	char path[108], file[32];
	bool log = remus_word_in("file stdio", backend), listen = !strcmp(backend, "socket") && server;

	snprintf(file, sizeof file, "chardev%d.%s", w->chardevs++, log ? "log" : "sock");
	int rc = log || listen ? remus_qemu_run_path(w->how->run_dir, file, path, err) : 0;
	if (rc)
		return rc;
	remus_args_add(args, "-chardev");
	if (log)
		remus_args_add(args, "file,id=%s,path=%s", id, path);
	else if (listen)
		remus_args_add(args, "socket,id=%s,path=%s,server=on,wait=off", id, path);
	else
		remus_args_add(args, "null,id=%s", id);
	return 0;
}

int remus_qemu_take_chardev(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			    struct remus_error *err)
{
	struct remus_keyval kv;
	int rc = remus_keyval_parse(value, "backend", &kv, err);
	if (rc)
		return rc;
	const char *backend = remus_keyval_get(&kv, "backend"), *id = remus_keyval_get(&kv, "id"),
		   *server = remus_keyval_get(&kv, "server");
	/* Only sockets in the file system listen again on the standby; a TCP port may be taken there. */
	bool listens = remus_keyval_on(server) && remus_keyval_get(&kv, "path");

	enum use use = id && remus_id_wellformed(id) ? chardev_use(w, id) : UNUSED;
	if (!id || !remus_id_wellformed(id))
		rc = remus_fail(err, -EINVAL, "a well-formed id is needed");
	else if (!use)
		rc = 0; /* a monitor's: of this host's QEMU only */
	else if (!backend || !remus_word_in("null file socket stdio pty", backend))
		rc = remus_fail(err, -ENOTSUP,
				"%s, backend %s: null, file, socket, stdio and pty are supported", id,
				backend ? backend : "(none)");
	else if (remus_keyval_on(remus_keyval_get(&kv, "mux")))
		rc = remus_fail(err, -ENOTSUP, "%s: mux=on shares a port with the monitor: use two", id);
	else if (use == AGENT && (strcmp(backend, "socket") || !listens))
		rc = remus_fail(err, -ENOTSUP,
				"%s: behind the agent's port " REMUS_AGENT_PORT
				" must be a socket to which remus "
				"can connect: -chardev socket,id=%s,path=...,server=on,wait=off",
				id, id);
	else if (use == AGENT)
		rc = note_agent(w, id, remus_keyval_get(&kv, "path"), err);
	if (!use || rc)
		;
	else if (w->how->run_dir)
		rc = standby_chardev(w, backend, id, listens, err);
	else { /* canonical: what the standby needs to know of it */
		remus_args_add(&w->guest->args, "-chardev");
		remus_args_add(&w->guest->args, "%s,id=%s%s", backend, id,
			       listens ? ",path=rewritten,server=on,wait=off" : "");
	}
	remus_keyval_free(&kv);
	return rc;
}

int remus_qemu_take_serial(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			   struct remus_error *err)
{
	struct remus_args *args = &w->guest->args;
	const char *run_dir = w->how->run_dir;
	int port = w->serials++;

	bool same = remus_word_in("null none", value) ||
		    (!strncmp(value, "chardev:", 8) && remus_id_wellformed(value + 8));
	bool log = !strncmp(value, "file:", 5) || remus_word_in("stdio mon:stdio pty", value);
	bool listen = !strncmp(value, "unix:", 5);
	char path[108], file[32];

	if (!same && !log && !listen)
		return remus_fail(err, -ENOTSUP,
				  "\"%s\": null, none, stdio, pty, file:, unix: and chardev: are "
				  "supported",
				  value);
	if (!run_dir) { /* canonical: the primary's paths are nobody else's business */
		remus_args_add(args, "-serial");
		remus_args_add(args, "%s", same ? value : log ? "file:rewritten" : "unix:rewritten");
		return 0;
	}
	snprintf(file, sizeof file, "serial%d.%s", port, log ? "log" : "sock");
	int rc = same ? 0 : remus_qemu_run_path(run_dir, file, path, err);
	if (rc)
		return rc;
	remus_args_add(args, "-serial");
	if (same)
		remus_args_add(args, "%s", value);
	else if (log)
		remus_args_add(args, "file:%s", path);
	else
		remus_args_add(args, "unix:%s,server=on,wait=off", path);
	return 0;
}

/* A read-only disk: raw (other formats may name further files), a plain file, its content compared elsewhere.
 * @file is the key under which the path stands. */
static int read_only_disk(struct remus_qemu_walk *w, const char *name, struct remus_keyval *kv,
			  const char *keys, const char *file, bool read_only, const char *why,
			  struct remus_error *err)
{
	if (!read_only)
		return remus_fail(err, -ENOTSUP, "%s", why);
	const char *path = remus_keyval_get(kv, file);
	if (path && strcspn(path, ":") < strcspn(path, "/"))
		return remus_fail(err, -ENOTSUP, "%s=%s: only plain files are supported", file, path);
	for (int i = 0; i < kv->count; i++) {
		if (!strcmp(kv->pair[i].key, file)) {
			kv->pair[i].value = remus_qemu_input(w, path, err);
			if (!kv->pair[i].value)
				return -EINVAL;
			continue;
		}
		struct remus_keyval one = {.count = 1};
		one.pair[0] = kv->pair[i];
		int rc = remus_qemu_check_keys(&one, keys, err);
		if (rc)
			return rc;
	}
	remus_qemu_emit(w, name, kv, NULL);
	return 0;
}

int remus_qemu_take_drive(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			  struct remus_error *err)
{
	struct remus_keyval kv;
	int rc = remus_keyval_parse(value, NULL, &kv, err);
	if (rc)
		return rc;
	const char *format = remus_keyval_get(&kv, "format"), *readonly = remus_keyval_get(&kv, "readonly"),
		   *kind = remus_keyval_get(&kv, "if");
	bool read_only = remus_keyval_on(readonly ? readonly : remus_keyval_get(&kv, "read-only"));

	if (read_only && (!format || strcmp(format, "raw")))
		rc = remus_fail(err, -ENOTSUP,
				"only format=raw, said explicitly, is supported: other formats can refer "
				"to further files");
	else if (kind && !remus_word_in("none virtio ide", kind))
		rc = remus_fail(err, -ENOTSUP, "if=%s: none, virtio and ide are supported", kind);
	else
		rc = read_only_disk(
			w, name, &kv,
			"if id format media readonly read-only index bus unit cache aio werror rerror",
			"file", read_only, text, err);
	remus_keyval_free(&kv);
	return rc;
}

int remus_qemu_take_blockdev(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			     struct remus_error *err)
{
	struct remus_keyval kv;
	int rc = remus_keyval_parse(value, "driver", &kv, err);
	if (rc)
		return rc;
	const char *driver = remus_keyval_get(&kv, "driver"), *below = remus_keyval_get(&kv, "file.driver");

	if (!driver || !remus_word_in("raw file", driver) || (below && strcmp(below, "file")))
		rc = remus_fail(err, -ENOTSUP, "driver %s%s%s: only raw files are supported",
				driver ? driver : "(none)", below ? " over " : "", below ? below : "");
	else
		rc = read_only_disk(w, name, &kv,
				    "driver node-name read-only file file.driver file.read-only cache.direct "
				    "cache.no-flush discard detect-zeroes aio",
				    remus_keyval_get(&kv, "file.filename") ? "file.filename" : "filename",
				    remus_keyval_on(remus_keyval_get(&kv, "read-only")), text, err);
	remus_keyval_free(&kv);
	return rc;
}
