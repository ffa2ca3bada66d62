/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allow-list of QEMU's options. The input is a command line, one word a line. It is walked as a primary walks
 * its guest's, and as a standby walks what a hostile primary may have sent. What must be true of any of them:
 *
 *   - a canonical list is its own canonical list, and a standby takes it;
 *   - a standby's command line names no file but the inputs that it says it has (their content is compared before
 *     QEMU starts), sockets and logs in its own directory, and the host's entropy.
 */
#include "fuzz.h"

#include "replicator/domain/qemu/options.h"

#define RUN_DIR "/run/remus/vm1"

static bool is_input(const struct remus_qemu_guest *g, const char *path)
{
	for (int i = 0; i < g->files; i++)
		if (!strcmp(g->file[i], path))
			return true;
	return false;
}

static void check_path(const struct remus_qemu_guest *g, const char *path)
{
	bool own = !strncmp(path, RUN_DIR "/", sizeof RUN_DIR) && !strstr(path, "..") &&
		   !strchr(path + sizeof RUN_DIR, '/');

	FUZZ_CHECK(own || is_input(g, path) || !strcmp(path, "/dev/urandom"));
}

/* Every value of @text that could be a path is one that it may be. */
static void check_values(const struct remus_qemu_guest *g, const char *text)
{
	struct remus_keyval kv;

	FUZZ_CHECK(remus_keyval_parse(text, "", &kv, NULL) == 0);
	for (int i = 0; i < kv.count; i++) {
		const char *value = kv.pair[i].value;
		if (!strncmp(value, "unix:", 5) || !strncmp(value, "file:", 5))
			value += 5;
		if (strchr(value, '/'))
			check_path(g, value);
		FUZZ_CHECK(!remus_word_in("script downscript exec command romfile chardev.path",
					  kv.pair[i].key) ||
			   !*value);
	}
	remus_keyval_free(&kv);
}

static void check_standby(const struct remus_qemu_guest *g)
{
	static const char never[] =
		"hda hdb cdrom pflash fw_cfg readconfig writeconfig mon monitor pidfile D trace "
		"daemonize virtfs fsdev nic net vnc loadvm snapshot runas chroot debugcon gdb s";
	static const char flags[] =
		"enable-kvm nodefaults no-user-config no-reboot no-acpi no-hpet no-fd-bootchk "
		"only-migratable nographic";
	int qmp = 0, incoming = 0;

	for (int i = 0; i < g->args.n; i++) {
		const char *name = g->args.v[i];
		FUZZ_CHECK(name[0] == '-' && !remus_word_in(never, name + 1));
		if (remus_word_in(flags, name + 1))
			continue;
		FUZZ_CHECK(++i < g->args.n);
		const char *value = g->args.v[i];
		qmp += !strcmp(name, "-qmp");
		incoming += !strcmp(name, "-incoming") && !strcmp(value, "defer");
		if (remus_word_in("-kernel -initrd -bios", name))
			check_path(g, value);
		else if (!remus_word_in("-append -cpu -smp -sandbox -name", name))
			check_values(g, value);
	}
	FUZZ_CHECK(qmp == 1 && incoming == 1);
	for (int i = 0; i < g->files; i++)
		FUZZ_CHECK(g->file[i][0] == '/');
	for (int i = 0; i < g->nics; i++)
		check_path(g, g->nic[i].host_path);
}

static bool same(const struct remus_args *a, const struct remus_args *b)
{
	int n = a->n == b->n ? 0 : -1;

	while (n >= 0 && n < a->n && !strcmp(a->v[n], b->v[n]))
		n++;
	return n == a->n;
}

/* As a primary; then its canonical list once more, and on the standby. */
static void primary(char *const *argv, int argc)
{
	static const struct remus_qemu_how first = {.cwd = "/home/vm"}, again = {0},
					   standby = {.run_dir = RUN_DIR, .name = "vm1"};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qemu_guest guest, second;

	int rc = remus_qemu_options(argv, argc, &first, &guest, &err);
	fuzz_check_error(rc, &err);
	if (rc)
		return;
	FUZZ_CHECK(remus_qemu_options(guest.args.v, guest.args.n, &again, &second, &err) == 0);
	FUZZ_CHECK(same(&guest.args, &second.args) && guest.files == second.files &&
		   guest.nics == second.nics && guest.ram_bytes == second.ram_bytes &&
		   guest.kvm == second.kvm);
	remus_qemu_guest_free(&second);
	FUZZ_CHECK(remus_qemu_options(guest.args.v, guest.args.n, &standby, &second, &err) == 0);
	check_standby(&second);
	remus_qemu_guest_free(&second);
	remus_qemu_guest_free(&guest);
}

static void hostile(char *const *argv, int argc)
{
	static const struct remus_qemu_how how = {.run_dir = RUN_DIR, .name = "vm1"};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qemu_guest guest;

	int rc = remus_qemu_options(argv, argc, &how, &guest, &err);
	fuzz_check_error(rc, &err);
	if (rc)
		return;
	check_standby(&guest);
	remus_qemu_guest_free(&guest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[REMUS_QEMU_ARGS_MAX + 8], *text = fuzz_text(data, size), *rest = text, *word;
	int argc = 0;

	while (argc < (int)REMUS_ARRAY_SIZE(argv) && (word = strsep(&rest, "\n")))
		argv[argc++] = word;
	primary(argv, argc);
	hostile(argv, argc);
	free(text);
	return 0;
}

/* ---- seeds: an acceptable machine and one thing more ---- */

#define BASE                                                                                                 \
	"-M\nmicrovm,memory-backend=ram0\n-m\n64\n-object\nmemory-backend-memfd,id=ram0,size=64M,share=on\n" \
	"-nodefaults\n-global\nmigration.send-configuration=off"

void fuzz_seeds(void)
{
	static const char *const more[] = {
		"",
		"-machine\npc\n",
		"-cpu\nmax,+x2apic\n-smp\n2,cores=2\n--accel\ntcg,thread=multi",
		"-enable-kvm\n-no-reboot\n-rtc\nbase=utc,clock=vm\n-boot\nc\n-cpu\nhost",
		"-kernel\nvmlinuz\n-initrd\n/boot/i\n-append\nroot=/dev/ram0,x",
		"-daemonize\n-kernel\nvmlinuz",
		"-serial\nfile:/home/vm/s\n-serial\nnull\n-serial\nstdio\n-serial\nunix:/s,server=on",
		"-chardev\nfile,id=c,path=/etc/passwd,logfile=/etc/shadow\n-serial\nchardev:c",
		"-chardev\nsocket,id=c,path=/a,server=on,wait=off\n-device\nvirtio-serial-device\n-device\n"
		"virtserialport,chardev=c,name=org.x",
		"-chardev\nsocket,id=c,path=/var/run/docker.sock\n-device\nvirtconsole,chardev=c",
		"-chardev\nstdio,id=c,mux=on\n-serial\nchardev:c",
		"-object\nrng-random,id=r,filename=/dev/random\n-device\nvirtio-rng-device,rng=r",
		"-object\nrng-random,id=r,filename=/etc/shadow",
		"-netdev\ndgram,id=n0,local.type=unix,local.path=g,remote.type=unix,remote.path=/"
		"h,,1\n-device\n"
		"virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56,romfile=",
		"-netdev\ntap,id=n0,ifname=tap0,script=/tmp/x",
		"-device\nvirtio-net-device,netdev=n9,mac=52:54:00:00:00:01",
		"-drive\nfile=a.iso,format=raw,readonly=on,if=none,id=d,media=cdrom\n-device\nvirtio-blk-pci,"
		"drive=d",
		"-drive\nfile=nbd:host:10809,format=raw,readonly=on",
		"-blockdev\nraw,node-name=d,read-only=on,file.driver=file,file.filename=/a",
		"-blockdev\nqcow2,node-name=d,file.driver=file,file.filename=a,read-only=on",
		"-global\nICH9-LPC.disable_s3=1\n-global\nvirtio-net-pci.disable-legacy=on",
		"-name\nguest=web,debug-threads=on\n-display\nnone\n-monitor\nnone\n-bios\n/usr/share/qemu/b",
		"-uuid\n0a0b-1\n-sandbox\non,spawn=deny\n-overcommit\nmem-lock=on",
		"-hda\ndisk.img",
		"disk.img",
		"-device\n{\"driver\":\"x\"}",
		"-foo",
		"-kernel",
		"-device\nvirtio-balloon-pci",
		"-vga\nstd",
		"-accel\ntcg\n-accel\nkvm",
		"-chardev\npty,id=c\n-serial\nchardev:c",
		"-chardev\ntty,id=c,path=/dev/ttyS0\n-serial\nchardev:c",
		"-chardev\nsocket,id=m,path=/q,server=on\n-mon\nchardev=m",
		"-serial\ntcp::4444,server",
		"-object\nmemory-backend-memfd,id=ram1,size=1M,share=on",
		"-object\nmemory-backend-file,id=m,mem-path=/x,size=1M",
		"-object\nsecret,id=s,file=/etc/shadow",
		"-object\nrng-builtin,id=r",
		"-netdev\nvhost-user,id=n0,chardev=c",
		"-netdev\ndgram,id=n0,local.type=unix,local.path=/a,remote.type=unix,remote.path=/b,fd=3",
		"-drive\nfile=a.img,format=raw",
		"-drive\nfile=a,format=raw,readonly=on,if=pflash",
		"-device\nvirtio-rng-device,rng=a,rng=b",
		"-device\nvirtio-rng-device,foo=1",
		"-device\nvirtio-net-pci,netdev=n0,mac=52:54:00:00:00:01,romfile=shadow",
		"-device\nvfio-pci,host=01:00.0",
		"-device\nid=x",
		"-global\nvirtio-net-pci.romfile=shadow",
		"-global\ndriver=x,property=y,value=z",
		"-global\nmigration.send-configuration=on",
		"-m\n64,slots=2,maxmem=1G",
		"-m\n64Q",
		"-cpu\nhost;reboot",
		"-bios\nqboot.rom",
		"-accel\nhvf",
	};
	char text[1024], name[32];

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(more); i++) {
		snprintf(text, sizeof text, BASE "%s%s", *more[i] ? "\n" : "", more[i]);
		snprintf(name, sizeof name, "line-%zu", i);
		fuzz_seed_text(name, text);
	}
	fuzz_seed_text("bare", "-nodefaults");
}
