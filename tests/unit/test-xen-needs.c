/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a Xen guest's configuration needs of a host, on a host made of files; and what a peer may write into one. */
#include <stdarg.h>
#include <sys/stat.h>
#include "unit.h"
#include "replicator/domain/xen/needs.h"

static char top[64], net[128], scripts[128];
static const struct remus_xen_places places = {net, scripts};
static struct remus_report report;

static void begin(void)
{
	char path[192];

	snprintf(top, sizeof top, "/tmp/remus-needs-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	snprintf(net, sizeof net, "%s/net", top);
	snprintf(scripts, sizeof scripts, "%s/scripts", top);
	mkdir(net, 0700);
	mkdir(scripts, 0700);
	snprintf(path, sizeof path, "%s/xenbr0", net);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/vif-bridge", scripts);
	fclose(fopen(path, "w"));
	chmod(path, 0700);
	snprintf(path, sizeof path, "%s/disk.img", top);
	fclose(fopen(path, "w"));
}

static void end(void)
{
	static const char *const files[] = {"disk.img", "scripts/vif-bridge"}, *const folders[] = {
										       "net/xenbr0", "net",
										       "scripts", ""};
	char path[192];

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof path, "%s/%s", top, files[i]);
		unlink(path);
	}
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof path, "%s/%s", top, folders[i]);
		rmdir(path);
	}
}

/* "%" in @config stands for the folder. */
static void look(const char *config)
{
	char text[2048];
	size_t n = 0;
	struct remus_xen_description d = {.name = "web1", .config = text};

	for (; *config && n < sizeof text - 70; config++)
		n += *config == '%' ? (size_t)sprintf(text + n, "%s", top)
				    : (size_t)sprintf(text + n, "%c", *config);
	memset(&report, 0, sizeof report);
	remus_xen_check_needs(&d, &places, &report);
}

static bool says(enum remus_severity severity, const char *subject, const char *word)
{
	for (uint32_t i = 0; i < report.count; i++)
		if (report.list[i].severity == severity && !strcmp(report.list[i].subject, subject) &&
		    strstr(report.list[i].what, word))
			return true;
	return false;
}

static void all_there(void)
{
	begin();
	look("{\"b_info\":{\"kernel\":\"%/disk.img\"},\"nics\":[{\"bridge\":\"xenbr0\",\"script\":\"%/"
	     "scripts/vif-bridge\"},"
	     "{\"bridge\":\"xenbr0\"}],\"disks\":[{\"pdev_path\":\"%/"
	     "disk.img\",\"vdev\":\"xvda\"},{\"vdev\":\"xvdb\"}]}");
	CU_ASSERT_EQUAL(remus_report_count(&report, REMUS_FINDING_FATAL), 0);
	CU_ASSERT_EQUAL(remus_report_count(&report, REMUS_FINDING_WARNING), 0);
	CU_ASSERT(says(REMUS_FINDING_OK, "bridge", "xenbr0"));
	CU_ASSERT(says(REMUS_FINDING_OK, "disk", "disk.img"));
	end();
}

static void all_missing(void)
{
	begin();
	look("{\"b_info\":{\"kernel\":\"/nowhere/vmlinux\",\"ramdisk\":\"/nowhere/initrd\"},"
	     "\"nics\":[{\"bridge\":\"xenbr1\"},{\"bridge\":\"xenbr0\",\"script\":\"vif-openvswitch\"}],"
	     "\"disks\":[{\"pdev_path\":\"/nowhere/"
	     "disk\",\"vdev\":\"xvda\"},{\"pdev_path\":\"%\",\"vdev\":\"xvdb\"},"
	     "{\"pdev_path\":\"rbd:pool/x\",\"vdev\":\"xvdc\",\"script\":\"block-rbd\"}]}");
	CU_ASSERT(says(REMUS_FINDING_FATAL, "bridge", "network interface 1 is on the bridge xenbr1"));
	CU_ASSERT(says(REMUS_FINDING_FATAL, "script", "network interface 2 is attached by"));
	CU_ASSERT(says(REMUS_FINDING_FATAL, "disk", "xvda is /nowhere/disk"));
	CU_ASSERT(says(REMUS_FINDING_FATAL, "disk", "neither a file nor a block device"));
	CU_ASSERT(says(REMUS_FINDING_FATAL, "script", "block-rbd"));
	CU_ASSERT(says(REMUS_FINDING_WARNING, "disk", "rbd:pool/x"));
	CU_ASSERT(says(REMUS_FINDING_WARNING, "boot", "/nowhere/vmlinux"));
	CU_ASSERT(says(REMUS_FINDING_WARNING, "boot", "/nowhere/initrd"));
	CU_ASSERT_EQUAL(remus_report_count(&report, REMUS_FINDING_FATAL), 5);
	end();
}

/* The configuration is a peer's. */
static void strange(void)
{
	static const char *const configs[] = {
		"",
		"[]",
		"{}",
		"{\"nics\":7,\"disks\":\"x\",\"b_info\":[]}",
		"{\"nics\":[7,null,[]],\"disks\":[null,{}]}",
		"{\"nics\":[{\"bridge\":7,\"script\":{}}],\"disks\":[{\"pdev_path\":[],\"vdev\":3}]}",
	};

	begin();
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(configs); i++)
		look(configs[i]);
	look("{\"nics\":[{\"bridge\":\"../../../etc\"},{\"bridge\":\"..\"}]}");
	CU_ASSERT_EQUAL(remus_report_count(&report, REMUS_FINDING_FATAL), 2);
	CU_ASSERT(says(REMUS_FINDING_FATAL, "bridge", "is no bridge's name"));
	look("{\"nics\":[{\"bridge\":"
	     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}]}");
	CU_ASSERT(says(REMUS_FINDING_FATAL, "bridge", "is no bridge's name"));
	end();
}

static const struct unit_case cases[] = {
	{"all is there", all_there},
	{"everything is missing", all_missing},
	{"strange configurations", strange},
};
UNIT_MAIN("what a Xen guest needs", cases)
