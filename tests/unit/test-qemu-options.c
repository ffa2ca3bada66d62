/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allow-list of QEMU's options: what is refused and why, what the standby is started with word for word,
 * and that a hostile description can neither run, write nor read anything (see options.h).
 */
#include "unit.h"

#include <fcntl.h>

#include "../../replicator/domain/qemu/files.h"
#include "../../replicator/domain/qemu/firmware.h"
#include "../../replicator/domain/qemu/options.h"

#define BASE                                                                                           \
	"-M microvm,memory-backend=ram0 -m 64 -object memory-backend-memfd,id=ram0,size=64M,share=on " \
	"-nodefaults "                                                                                 \
	"-global migration.send-configuration=off "

static const struct remus_qemu_how primary = {.cwd = "/home/vm"};
static const struct remus_qemu_how standby = {.run_dir = "/run/remus/vm1", .name = "vm1"};

/* Cut @line at its spaces and walk it. */
static int walk(const char *line, const struct remus_qemu_how *how, struct remus_qemu_guest *guest,
		struct remus_error *err)
{
	char text[4096], *argv[128];
	int argc = 0;

	snprintf(text, sizeof text, "%s", line);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	return remus_qemu_options(argv, argc, how, guest, err);
}

static int check_files(const struct remus_qemu_description *d, const struct remus_qemu_guest *guest,
		       struct remus_error *err)
{
	static struct remus_report report;

	memset(&report, 0, sizeof report);
	remus_qemu_description_check_files(d, guest, &report);
	return remus_report_first(&report, err);
}

static void join(const struct remus_args *args, char *out, size_t size)
{
	size_t n = 0;
	*out = 0;
	for (int i = 0; i < args->n; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "", args->v[i]);
}

static void refused(void)
{
	static const struct {
		const char *more, *word, *reason;
	} table[] = {
		{"-foo", "-foo", "isn't on the list of options that a standby"},
		{"-fw_cfg name=x,file=/etc/passwd", "-fw_cfg", "isn't on the list"},
		{"-readconfig /etc/passwd", "-readconfig", "isn't on the list"},
		{"disk.img", "disk.img", "isn't replicated"},
		{"-hda disk.img", "-hda", "isn't replicated"},
		{"-drive file=a.img,format=raw", "-drive", "isn't replicated"},
		{"-drive file=a.img,readonly=on", "-drive", "format=raw"},
		{"-drive file=a.qcow2,format=qcow2,readonly=on", "-drive", "format=raw"},
		{"-drive file=nbd:host:10809,format=raw,readonly=on", "-drive", "plain files"},
		{"-drive file=a,format=raw,readonly=on,if=pflash", "if=pflash", "are supported"},
		{"-blockdev raw,node-name=d,file.driver=file,file.filename=a", "-blockdev",
		 "isn't replicated"},
		{"-blockdev qcow2,node-name=d,file.driver=file,file.filename=a,read-only=on", "qcow2",
		 "raw files"},
		{"-blockdev raw,node-name=d,file.driver=nbd,file.host=h,read-only=on", "over nbd",
		 "raw files"},
		{"-pflash vars.fd", "-pflash", "variables"},
		{"-cdrom a.iso", "-cdrom", "readonly=on"},
		{"-snapshot", "-snapshot", "temporary writes"},
		{"-loadvm s", "-loadvm", "snapshot"},
		{"-icount 3", "-icount", "instruction counting"},
		{"-numa node", "-numa", "several memory nodes"},
		{"-mem-path /dev/shm", "-mem-path", "memory-backend-memfd"},
		{"-m 64,slots=2,maxmem=1G", "-m", "hot-plugged"},
		{"-netdev user,id=n0", "type user", "can't be held"},
		{"-netdev tap,id=n0,ifname=tap0,script=/tmp/x", "type tap", "can't be held"},
		{"-netdev tap,id=n0,vhost=on", "n0", "vhost backends"},
		{"-netdev vhost-user,id=n0,chardev=c", "n0", "vhost backends"},
		{"-netdev socket,id=n0,listen=:1", "type socket", "can't be held"},
		{"-netdev dgram,id=n0,local.type=inet,local.host=a,local.port=1", "type dgram",
		 "can't be held"},
		{"-netdev dgram,id=n0,local.type=unix,local.path=/a,remote.type=unix,remote.path=/b,fd=3",
		 "fd", "unknown property"},
		{"-nic user", "-nic", "-netdev dgram"},
		{"-net nic", "-net", "-netdev dgram"},
		{"-device virtio-balloon-pci", "virtio-balloon-pci", "discards guest memory"},
		{"-device vfio-pci,host=01:00.0", "vfio-pci", "device of the host"},
		{"-device usb-host", "usb-host", "device of the host"},
		{"-device vhost-vsock-pci,guest-cid=3", "vhost-vsock-pci", "vhost backends"},
		{"-device isa-debug-exit", "isa-debug-exit", "end its QEMU"},
		{"-device VGA", "VGA", "video memory"},
		{"-device frobnicator", "frobnicator", "isn't on the list of devices"},
		{"-device loader,file=/etc/shadow,addr=0x1000", "loader", "isn't on the list of devices"},
		{"-device virtio-net-device,netdev=n0", "mac=", "both hosts agree"},
		{"-device virtio-net-device,netdev=n9,mac=52:54:00:00:00:01", "n9",
		 "isn't on QEMU's command line"},
		{"-device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01,romfile=/etc/shadow", "romfile",
		 "not a plain word"},
		{"-device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01,romfile=shadow", "romfile",
		 "must be empty"},
		{"-device virtio-rng-device,foo=1", "foo", "isn't on the list"},
		{"-device vmgenid,guid=auto,addr=4", "addr", "isn't on the list"},
		{"-device vmgenid,guid=/etc/passwd", "guid", "not a plain word"},
		{"-device virtio-rng-device,rng=a,rng=b", "rng", "twice"},
		{"-device {\"driver\":\"virtio-rng-pci\"}", "-device", "key=value"},
		{"-global virtio-net-pci.romfile=shadow", "virtio-net-pci.romfile", "isn't on the list"},
		{"-global isa-debugcon.chardev=x", "isa-debugcon", "isn't on the list"},
		{"-object memory-backend-file,id=m,mem-path=/x,size=1M", "memory-backend-file",
		 "memory-backend-memfd"},
		{"-object memory-backend-memfd,id=ram1,size=1M,share=on", "-object",
		 "several memory backends"},
		{"-object rng-random,id=r,filename=/etc/shadow", "/etc/shadow", "only /dev/urandom"},
		{"-object filter-dump,id=f,netdev=n0,file=/etc/cron.d/x", "filter-dump", "list of objects"},
		{"-object secret,id=s,file=/etc/shadow", "secret", "list of objects"},
		{"-serial tcp::4444,server", "tcp::4444", "are supported"},
		{"-chardev tty,id=c,path=/dev/ttyS0 -serial chardev:c", "backend tty", "are supported"},
		{"-chardev file,id=../x,path=y -serial chardev:c", "-chardev", "well-formed id"},
		{"-chardev null,id=c -device virtserialport,chardev=c,name=org.remus.agent.0", "-chardev",
		 "-chardev socket,id=c,path=...,server=on,wait=off"},
		{"-chardev socket,id=c,path=/a -device virtserialport,chardev=c,name=org.remus.agent.0",
		 "-chardev", "-chardev socket,id=c,path=...,server=on,wait=off"},
		{"-chardev socket,id=c,host=h,port=1,server=on -device "
		 "virtserialport,chardev=c,name=org.remus.agent.0",
		 "-chardev", "-chardev socket,id=c,path=...,server=on,wait=off"},
		{"-chardev socket,id=a,path=/a,server=on -chardev socket,id=b,path=/b,server=on -device "
		 "virtserialport,chardev=a,name=org.remus.agent.0 -device "
		 "virtserialport,chardev=b,name=org.remus.agent.0",
		 "virtserialport", "a second port named org.remus.agent.0"},
		{"-display gtk", "gtk", "-display none"},
		{"-vga std", "std", "-vga none"},
		{"-accel hvf", "hvf", "tcg or kvm"},
		{"-accel tcg -accel kvm", "accelerator", "twice"},
		{"-M q35", "-M", "twice"},
		{"-cpu host;reboot", "-cpu", "other than letters"},
		{"-bios qboot.rom", "-bios", "absolute path"},
		{"-kernel", "-kernel", "lacks its value"},
		{"-sandbox on,spawn=/x", "-sandbox", "other than letters"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_qemu_guest guest;
		char line[2048];
		snprintf(line, sizeof line, BASE "%s", table[i].more);
		int rc = walk(line, &primary, &guest, &err);
		if (rc >= 0)
			printf("\n    not refused: %s\n", table[i].more);
		CU_ASSERT(rc < 0 && rc == err.code);
		UNIT_ASSERT_MESSAGE(err, table[i].word);
		UNIT_ASSERT_MESSAGE(err, table[i].reason);
	}
}

/* Where the agent in the guest is reached: on the primary and on the standby. */
static void agents(void)
{
	static const struct {
		const char *given, *primary, *standby;
	} table[] = {
		{"", "", ""},
		{"-chardev socket,id=c,path=/a,server=on -device virtserialport,chardev=c,name=org.x", "",
		 ""},
		{"-chardev socket,id=c,path=/a,server=on -device "
		 "virtserialport,chardev=c,name=org.remus.agent.0",
		 "/a", "/run/remus/vm1/chardev0.sock"},
		/* relative, after its device, and the second of two */
		{"-device virtserialport,chardev=d,name=org.remus.agent.0 -chardev file,id=c,path=/log "
		 "-serial chardev:c "
		 "-chardev socket,id=d,path=a,server=on,wait=off",
		 "/home/vm/a", "/run/remus/vm1/chardev1.sock"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_qemu_guest guest;
		char line[2048];

		snprintf(line, sizeof line, BASE "%s", table[i].given);
		CU_ASSERT_EQUAL_FATAL(walk(line, &primary, &guest, NULL), 0);
		CU_ASSERT_STRING_EQUAL(guest.agent, table[i].primary);
		join(&guest.args, line, sizeof line);
		remus_qemu_guest_free(&guest);
		CU_ASSERT_EQUAL_FATAL(walk(line, &standby, &guest, NULL), 0);
		CU_ASSERT_STRING_EQUAL(guest.agent, table[i].standby);
		if (*table[i].standby) {
			char path[160];
			snprintf(path, sizeof path, "path=%s,server=on,wait=off", table[i].standby);
			join(&guest.args, line, sizeof line);
			CU_ASSERT(strstr(line, path) != NULL);
		}
		remus_qemu_guest_free(&guest);
	}
}

/* What must be there: each line lacks one thing, and the message says what to add. */
static void lacking(void)
{
	static const struct {
		const char *line, *reason;
	} table[] = {
		{"-M microvm,memory-backend=ram0 -object memory-backend-memfd,id=ram0,size=64M,share=on "
		 "-global "
		 "migration.send-configuration=off",
		 "-nodefaults"},
		{"-M microvm,memory-backend=ram0 -object memory-backend-memfd,id=ram0,size=64M,share=on "
		 "-nodefaults",
		 "-global migration.send-configuration=off"},
		{"-M microvm,memory-backend=ram0 -object memory-backend-memfd,id=ram0,size=64M,share=on "
		 "-nodefaults "
		 "-global migration.send-configuration=on",
		 "-global migration.send-configuration=off"},
		{"-M microvm -m 64 -nodefaults -global migration.send-configuration=off",
		 "-object memory-backend-memfd,id=ram0,size=<the guest's>,share=on"},
		{"-M microvm,memory-backend=ram0 -object memory-backend-memfd,id=ram0,size=64M -nodefaults",
		 "size=64M,share=on,prealloc=on"},
		{"-M microvm,memory-backend=ram0 -object memory-backend-ram,id=ram0,size=64M -nodefaults",
		 "use memory-backend-memfd"},
		{"-machine memory-backend=ram0 -nodefaults", "one must be named"},
		{"-nodefaults", "-machine"},
		{"-M isapc,memory-backend=ram0", "microvm, pc, q35"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_qemu_guest guest;
		CU_ASSERT(walk(table[i].line, &primary, &guest, &err) < 0);
		UNIT_ASSERT_MESSAGE(err, table[i].reason);
	}
}

/* One option on the primary, in the canonical list, and on the standby ("" = dropped). */
static void rewritten(void)
{
	static const struct {
		const char *given, *canonical, *standby;
	} table[] = {
		{"-S", "", ""},
		{"-incoming defer", "", ""},
		{"-daemonize -pidfile /run/q.pid -D log -d cpu -msg timestamp=on", "", ""},
		{"-no-shutdown", "", ""},
		{"-monitor none -qmp unix:/q,server=on,wait=off", "", ""},
		{"-chardev socket,id=m,path=/q,server=on,wait=off -mon chardev=m,mode=control", "", ""},
		{"-name guest=web,debug-threads=on", "", ""},
		{"-display none -vga none -parallel none -nic none", "", ""},
		{"-cpu max,+x2apic -smp 2,cores=2 --accel tcg,thread=multi",
		 "-cpu max,+x2apic -smp 2,cores=2 -accel "
		 "tcg,thread=multi",
		 NULL},
		{"-enable-kvm -no-reboot -rtc base=utc,clock=vm -boot c",
		 "-enable-kvm -no-reboot -rtc "
		 "base=utc,clock=vm -boot c",
		 NULL},
		{"-kernel vmlinuz -initrd /boot/i -append root=/dev/ram0,x",
		 "-kernel /home/vm/vmlinuz -initrd /boot/i "
		 "-append root=/dev/ram0,x",
		 NULL},
		{"-serial file:/home/vm/s -serial null -serial none -serial stdio",
		 "-serial file:rewritten -serial null -serial none -serial file:rewritten",
		 "-serial file:/run/remus/vm1/serial0.log -serial null -serial none -serial "
		 "file:/run/remus/vm1/serial3.log"},
		{"-serial unix:/s,server=on", "-serial unix:rewritten",
		 "-serial unix:/run/remus/vm1/serial0.sock,server=on,wait=off"},
		{"-chardev file,id=c,path=/etc/passwd,logfile=/etc/shadow -serial chardev:c",
		 "-chardev file,id=c -serial chardev:c",
		 "-chardev file,id=c,path=/run/remus/vm1/chardev0.log -serial chardev:c"},
		{"-chardev socket,id=c,path=/a,server=on,wait=off -device virtio-serial-device -device "
		 "virtserialport,chardev=c,name=org.x",
		 "-chardev socket,id=c,path=rewritten,server=on,wait=off -device virtio-serial-device "
		 "-device "
		 "virtserialport,chardev=c,name=org.x",
		 "-chardev socket,id=c,path=/run/remus/vm1/chardev0.sock,server=on,wait=off -device "
		 "virtio-serial-device -device virtserialport,chardev=c,name=org.x"},
		{"-chardev socket,id=c,path=/var/run/docker.sock -device virtio-serial-pci -device "
		 "virtconsole,chardev=c",
		 "-chardev socket,id=c -device virtio-serial-pci -device virtconsole,chardev=c",
		 "-chardev null,id=c -device virtio-serial-pci -device virtconsole,chardev=c"},
		{"-device vmgenid,guid=324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87,id=generation",
		 "-device vmgenid,guid=auto,id=generation", NULL},
		{"-device vmgenid", "-device vmgenid,guid=auto", NULL},
		{"-object rng-builtin,id=r -device virtio-rng-pci,rng=r,max-bytes=1024,period=1000",
		 "-object rng-builtin,id=r -device virtio-rng-pci,rng=r,max-bytes=1024,period=1000", NULL},
		{"-object rng-random,id=r,filename=/dev/random -device virtio-rng-device,rng=r",
		 "-object rng-random,id=r,filename=/dev/urandom -device virtio-rng-device,rng=r", NULL},
		{"-netdev dgram,id=n0,local.type=unix,local.path=g,remote.type=unix,remote.path=/h,,1 "
		 "-device "
		 "virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56,romfile=",
		 "-netdev "
		 "dgram,id=n0,local.type=unix,local.path=/home/vm/g,remote.type=unix,remote.path=/h,,1 "
		 "-device "
		 "virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56,romfile=",
		 "-netdev dgram,id=n0,local.type=unix,local.path=/run/remus/vm1/nic0.guest,remote.type=unix,"
		 "remote.path=/run/remus/vm1/nic0.host -device "
		 "virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56,romfile="},
		{"-drive file=a.iso,format=raw,readonly=on,if=none,id=d,media=cdrom -device "
		 "virtio-blk-pci,drive=d",
		 "-drive file=/home/vm/a.iso,format=raw,readonly=on,if=none,id=d,media=cdrom -device "
		 "virtio-blk-pci,drive=d",
		 NULL},
		{"-blockdev raw,node-name=d,read-only=on,file.driver=file,file.filename=/a",
		 "-blockdev driver=raw,node-name=d,read-only=on,file.driver=file,file.filename=/a", NULL},
		{"-global ICH9-LPC.disable_s3=1 -global virtio-net-pci.disable-legacy=on",
		 "-global ICH9-LPC.disable_s3=1 -global virtio-net-pci.disable-legacy=on", NULL},
	};
	const char *base = "-machine microvm,memory-backend=ram0%s -m 64 -object "
			   "memory-backend-memfd,id=ram0,size=64M,share=on,prealloc=on -nodefaults -global "
			   "migration.send-configuration=off";
	const char *tail = " -name guest=vm1 -display none -qmp "
			   "unix:/run/remus/vm1/qmp.sock,server=on,wait=off -incoming defer";

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_qemu_guest guest;
		char line[2048], canonical[2048], expected[2048];
		const char *on_standby = table[i].standby ? table[i].standby : table[i].canonical;

		snprintf(line, sizeof line, BASE "%s", table[i].given);
		int rc = walk(line, &primary, &guest, &err);
		CU_ASSERT_EQUAL(rc, 0);
		if (rc) {
			printf("\n    %s: %s\n", table[i].given, err.message);
			continue;
		}
		join(&guest.args, canonical, sizeof canonical);
		remus_qemu_guest_free(&guest);
		int n = snprintf(expected, sizeof expected, base, "");
		snprintf(expected + n, sizeof expected - (size_t)n, "%s%s", *table[i].canonical ? " " : "",
			 table[i].canonical);
		CU_ASSERT_STRING_EQUAL(canonical, expected);

		rc = walk(canonical, &standby, &guest, &err);
		CU_ASSERT_EQUAL(rc, 0);
		if (rc) {
			printf("\n    %s: %s\n", canonical, err.message);
			continue;
		}
		join(&guest.args, line, sizeof line);
		remus_qemu_guest_free(&guest);
		n = snprintf(expected, sizeof expected, base, ",suppress-vmdesc=on");
		snprintf(expected + n, sizeof expected - (size_t)n, "%s%s%s", *on_standby ? " " : "",
			 on_standby, tail);
		CU_ASSERT_STRING_EQUAL(line, expected);
		if (strcmp(line, expected))
			printf("\n    is  %s\n    not %s\n", line, expected);
	}
}

/* A standby's own command line must be protectable in its turn, and give the same canonical list. */
static void chained(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qemu_guest first, second;
	char line[2048], again[2048];

	CU_ASSERT_EQUAL(walk(BASE
			     "-serial stdio -kernel /k -netdev dgram,id=n0,local.type=unix,local.path=/g,"
			     "remote.type=unix,remote.path=/h -device virtio-net-device,netdev=n0,"
			     "mac=52:54:00:12:34:56",
			     &standby, &first, &err),
			0);
	join(&first.args, line, sizeof line);
	CU_ASSERT_EQUAL(walk(line, &primary, &second, &err), 0);
	CU_ASSERT_STRING_EQUAL(second.name, "vm1");
	CU_ASSERT_EQUAL(second.nics, 1);
	CU_ASSERT_STRING_EQUAL(second.nic[0].guest_path, "/run/remus/vm1/nic0.guest");
	CU_ASSERT_STRING_EQUAL(second.nic[0].host_path, "/run/remus/vm1/nic0.host");
	CU_ASSERT_EQUAL(second.nic[0].mac[5], 0x56);
	CU_ASSERT_EQUAL(second.ram_bytes, 64u << 20);
	CU_ASSERT_STRING_EQUAL(second.file[0], "/k");
	remus_qemu_guest_free(&second);
	CU_ASSERT_EQUAL(walk(line, &standby, &second, &err), 0);
	join(&second.args, again, sizeof again);
	CU_ASSERT_STRING_EQUAL(line, again);
	remus_qemu_guest_free(&first);
	remus_qemu_guest_free(&second);
}

/* A check tells of every option, not of the first; what depends on a refused one isn't guessed at. */
static void all_at_once(void)
{
	static struct remus_report report;
	struct remus_qemu_guest guest;
	static const char *const argv[] = {
		"-M",	   "microvm,memory-backend=ram0", "-hda", "disk.img", "-foo",
		"-device", "virtio-balloon-device",	  "-usb"};
	static const char *const words[] = {"-hda", "-foo",	   "virtio-balloon",
					    "-usb", "-nodefaults", "send-configuration"};

	memset(&report, 0, sizeof report);
	remus_qemu_options_check((char *const *)(uintptr_t)argv, REMUS_ARRAY_SIZE(argv), &primary, &guest,
				 &report);
	CU_ASSERT_EQUAL(remus_report_count(&report, REMUS_FINDING_FATAL), REMUS_ARRAY_SIZE(words));
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(words) && i < report.count; i++)
		CU_ASSERT(strstr(report.list[i].what, words[i]) != NULL);
	CU_ASSERT_EQUAL(guest.args.n, 0); /* nothing to start a standby with */
}

static void limits(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qemu_guest guest;
	char *many[REMUS_QEMU_ARGS_MAX + 1], deep[128];

	for (int i = 0; i <= REMUS_QEMU_ARGS_MAX; i++)
		many[i] = (char *)(uintptr_t) "-S";
	CU_ASSERT_EQUAL(remus_qemu_options(many, REMUS_QEMU_ARGS_MAX + 1, &primary, &guest, &err), -E2BIG);

	memset(deep, 'd', sizeof deep);
	deep[0] = '/';
	deep[98] = 0;
	struct remus_qemu_how how = {.run_dir = deep, .name = "vm1"};
	CU_ASSERT_EQUAL(walk(BASE, &how, &guest, &err), 0); /* 98 + "/qmp.sock" is 107: just fits */
	remus_qemu_guest_free(&guest);
	deep[98] = 'd';
	deep[99] = 0;
	CU_ASSERT_EQUAL(walk(BASE, &how, &guest, &err), -ENAMETOOLONG);
	UNIT_ASSERT_MESSAGE(err, "/qmp.sock");
	UNIT_ASSERT_MESSAGE(err, "107");

	how.run_dir = "/run,x";
	CU_ASSERT_EQUAL(walk(BASE, &how, &guest, &err), -EINVAL);
	CU_ASSERT_EQUAL(walk(BASE "-kernel etc/shadow", &standby, &guest, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "isn't absolute");
	CU_ASSERT_EQUAL(walk(BASE "-kernel vmlinuz -daemonize", &primary, &guest, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "-daemonize");
}

/* describe() to parse() and back, and what the files must be. */
static void description(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qemu_guest guest;
	struct remus_qemu_description d;
	char path[] = "/tmp/remus-test-XXXXXX", line[512], *json;

	int fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, "kernel", 6), 6);
	snprintf(line, sizeof line, BASE "-kernel %s -append with,comma", path);
	CU_ASSERT_EQUAL_FATAL(walk(line, &primary, &guest, &err), 0);
	const struct remus_qemu_facts facts = {.version = "7.2.0 (x)",
					       .exe = "/usr/bin/qemu-system-x86_64",
					       .memory = 64 << 20,
					       .firmware_size = 65536,
					       .firmware_hash = 0xfedcba9876543210,
					       .firmware_patch = "1:ff"};
	CU_ASSERT_EQUAL_FATAL(remus_qemu_describe(&guest, &facts, &json, &err), 0);
	CU_ASSERT_EQUAL_FATAL(remus_qemu_description_parse(json, &d, &err), 0);
	CU_ASSERT_STRING_EQUAL(d.version, "7.2.0 (x)");
	CU_ASSERT_STRING_EQUAL(d.binary, "qemu-system-x86_64");
	CU_ASSERT_EQUAL(d.memory, 64 << 20);
	CU_ASSERT_EQUAL(d.firmware_size, 65536);
	CU_ASSERT_STRING_EQUAL(d.firmware_patch, "1:ff");
	CU_ASSERT_EQUAL(d.firmware_hash, 0xfedcba9876543210);
	CU_ASSERT_EQUAL(d.argc, guest.args.n);
	CU_ASSERT_STRING_EQUAL(d.argv[d.argc - 1], "with,comma");
	CU_ASSERT_EQUAL(check_files(&d, &guest, &err), 0);

	CU_ASSERT_EQUAL(pwrite(fd, "K", 1, 0), 1); /* same size, other content */
	CU_ASSERT_EQUAL(check_files(&d, &guest, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, path);
	UNIT_ASSERT_MESSAGE(err, "differs");
	CU_ASSERT_EQUAL(ftruncate(fd, REMUS_QEMU_FILE_MAX + 1), 0); /* sparse */
	CU_ASSERT_EQUAL(check_files(&d, &guest, &err), -EFBIG);
	unlink(path);
	CU_ASSERT_EQUAL(check_files(&d, &guest, &err), -ENOENT);
	UNIT_ASSERT_MESSAGE(err, "copy it there");
	remus_qemu_guest_free(&guest);

	/* A file that the list names but the description doesn't vouch for, and one that isn't a file. */
	CU_ASSERT_EQUAL_FATAL(walk(BASE "-kernel /etc/shadow", &standby, &guest, &err), 0);
	CU_ASSERT_EQUAL(check_files(&d, &guest, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "lacks the checksum of /etc/shadow");
	remus_qemu_guest_free(&guest);
	uint64_t size, hash;
	CU_ASSERT_EQUAL(remus_qemu_hash_file("/dev/zero", &size, &hash, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "regular file");
	remus_qemu_description_free(&d);
	free(json);
	close(fd);
}

static void hostile_descriptions(void)
{
	static const char *const table[] = {
		"",
		"[]",
		"{",
		"{\"format\":1}",
#define DESCRIPTION(format, memory, argv)                                                         \
	"{\"format\":" format                                                                     \
	",\"hypervisor\":\"qemu\",\"version\":\"7\",\"binary\":\"q\",\"memory\":" memory          \
	",\"firmware\":{\"size\":4096,\"xxh3\":\"0\",\"patch\":\"\"},\"cpu\":\"\",\"argv\":" argv \
	",\"files\":[]}"
		DESCRIPTION("2", "4096", "[]"),
		DESCRIPTION("1", "0", "[]"),
		DESCRIPTION("1", "-4096", "[]"),
		DESCRIPTION("1", "4097", "[]"),
		DESCRIPTION("1", "4096", "{}"),
		DESCRIPTION("1", "4096", "[\"-m\",1]"),
		DESCRIPTION("1", "4096", "[\"a\\u0000b\"]"),
	};
	struct remus_qemu_description d;
	struct remus_error err = REMUS_ERROR_INIT;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		int rc = remus_qemu_description_parse(table[i], &d, &err);
		if (rc == 0)
			printf("\n    taken: %s\n", table[i]);
		CU_ASSERT(rc < 0);
		UNIT_ASSERT_MESSAGE(err, "description of");
	}
	char *large = malloc(REMUS_QEMU_DESCRIPTION_MAX + 2);
	memset(large, '[', REMUS_QEMU_DESCRIPTION_MAX + 1);
	large[REMUS_QEMU_DESCRIPTION_MAX + 1] = 0;
	CU_ASSERT(remus_qemu_description_parse(large, &d, &err) < 0);
	free(large);
	CU_ASSERT_EQUAL(remus_qemu_description_parse(DESCRIPTION("1", "4096", "[\"-m\",\"1\"]"), &d, &err),
			0);
	remus_qemu_description_free(&d);
}

static void firmware_patches(void)
{
	static uint8_t from[65536], to[65536], got[65536];
	static const char *const bad[] = {"x",
					  ":00",
					  "1",
					  "1:",
					  "1:0",
					  "1:0g",
					  "10000:00",
					  "ffff:0000",
					  "1:00;2:00",
					  "1:00,",
					  ",1:00",
					  "-1:00",
					  "ffffffffffffffffff:00",
					  "1: 0"};

	memset(to, 0, sizeof to);
	to[0] = 1;
	to[0x2640] = 0xff;
	to[0x2641] = 2;
	to[0xffff] = 0x80;
	char *patch = remus_qemu_patch_make(from, to, sizeof to);
	CU_ASSERT_STRING_EQUAL(patch, "0:01,2640:ff02,ffff:80");
	CU_ASSERT_EQUAL(remus_qemu_patch_apply(patch, got, sizeof got), 0);
	CU_ASSERT_EQUAL(memcmp(to, got, sizeof got), 0);
	free(patch);
	patch = remus_qemu_patch_make(from, from, sizeof from);
	CU_ASSERT_STRING_EQUAL(patch, "");
	CU_ASSERT_EQUAL(remus_qemu_patch_apply(patch, got, sizeof got), 0);
	free(patch);
	memset(to, 0x55, sizeof to);
	CU_ASSERT_PTR_NULL(remus_qemu_patch_make(from, to, sizeof to));
	for (size_t i = 0; i < sizeof to; i += 2) /* the dearest: every second byte */
		to[i] = 0;
	CU_ASSERT_PTR_NULL(remus_qemu_patch_make(from, to, sizeof to));
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++)
		CU_ASSERT_EQUAL(remus_qemu_patch_apply(bad[i], got, sizeof got), -EINVAL);
}

static void values(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_keyval kv;
	uint64_t n;

	CU_ASSERT_EQUAL(remus_keyval_parse("a,,b,c=d,,,e,f=", "x", &kv, &err), 0);
	CU_ASSERT_EQUAL(kv.count, 4);
	CU_ASSERT_STRING_EQUAL(remus_keyval_get(&kv, "x"), "a,b");
	CU_ASSERT_STRING_EQUAL(remus_keyval_get(&kv, "c"), "d,");
	CU_ASSERT_STRING_EQUAL(remus_keyval_get(&kv, "e"), "on");
	CU_ASSERT_STRING_EQUAL(remus_keyval_get(&kv, "f"), "");
	CU_ASSERT_PTR_NULL(remus_keyval_get(&kv, "g"));
	remus_keyval_free(&kv);
	CU_ASSERT_EQUAL(remus_keyval_parse("a=1,a=2", NULL, &kv, &err), -EINVAL);

	CU_ASSERT(remus_size_parse("64", 1 << 20, &n) == 0 && n == 64u << 20);
	CU_ASSERT(remus_size_parse("1G", 1, &n) == 0 && n == 1u << 30);
	CU_ASSERT(remus_size_parse("512k", 1, &n) == 0 && n == 512u << 10);
	static const char *const bad[] = {"",	       "x", "-1", "1.5G", "1Mi", "99999999999999999999",
					  "99999999T", " 1"};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++)
		CU_ASSERT_EQUAL(remus_size_parse(bad[i], 1 << 20, &n), -EINVAL);

	CU_ASSERT(remus_word_in("on off", "off") && !remus_word_in("on off", "of") &&
		  !remus_word_in("on off", ""));
	CU_ASSERT(!remus_word_in("on off", "on off"));
	CU_ASSERT(remus_id_wellformed("n0") && !remus_id_wellformed("0n") && !remus_id_wellformed("a/b"));
}

static const struct unit_case cases[] = {
	{"refuses by name and with the reason", refused},
	{"says what is lacking", lacking},
	{"rewrites for the standby", rewritten},
	{"a standby can be protected in its turn", chained},
	{"every refused option is told", all_at_once},
	{"limits", limits},
	{"description and files", description},
	{"hostile descriptions", hostile_descriptions},
	{"firmware patches", firmware_patches},
	{"values", values},
	{"the agent's port", agents},
};
UNIT_MAIN("qemu-options", cases)
