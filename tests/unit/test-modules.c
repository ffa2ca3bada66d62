/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which kernel modules are there, on systems made of files. */
#include <sys/stat.h>
#include "modules.h"
#include "unit.h"

static char top[64];

static const char *in(const char *name)
{
	static char path[4][128];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof path[0], "%s/%s", top, name);
	return p;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(in(name), "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fclose(f);
}

static void run(void)
{
	snprintf(top, sizeof top, "/tmp/remus-modules-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	char sys[128], tree[128], symbols[128], modprobe[128];
	snprintf(sys, sizeof sys, "%s/sys", top);
	snprintf(tree, sizeof tree, "%s/tree", top);
	snprintf(symbols, sizeof symbols, "%s/kallsyms", top);
	snprintf(modprobe, sizeof modprobe, "%s/modprobe", top);
	struct module_places places = {sys, tree, symbols, modprobe};

	CU_ASSERT_EQUAL(module_state(&places, "ifb", "ifb_xmit"),
			MODULE_UNKNOWN); /* nothing tells anything */
	mkdir(sys, 0700);
	mkdir(in("sys/ifb"), 0700);
	CU_ASSERT_EQUAL(module_state(&places, "ifb", "ifb_xmit"), MODULE_THERE);
	mkdir(tree, 0700);
	write_file("tree/modules.builtin", "kernel/net/sched/sch_plug.ko\nkernel/drivers/net/not-it.ko\n");
	write_file("tree/modules.dep", "kernel/net/sched/act_mirred.ko.xz: "
				       "kernel/lib/x.ko.xz\nact-dashed.ko:\nold_cls.ko.old: cls.ko\n");
	CU_ASSERT_EQUAL(module_state(&places, "sch_plug", "plug_enqueue"), MODULE_THERE);
	/* Loadable only if the kernel finds something to load it with. */
	CU_ASSERT_EQUAL(module_state(&places, "act_mirred", "x"), MODULE_MISSING);
	write_file("modprobe", "/nowhere/modprobe\n");
	CU_ASSERT_EQUAL(module_state(&places, "act_mirred", "x"), MODULE_MISSING);
	write_file("modprobe", "/bin/sh\n");
	CU_ASSERT_EQUAL(module_state(&places, "act_mirred", "x"), MODULE_LOADABLE);
	CU_ASSERT_EQUAL(module_state(&places, "act_dashed", "x"), MODULE_LOADABLE);
	/* Not a part of a name, nor what another one needs. */
	CU_ASSERT_EQUAL(module_state(&places, "mirred", "x"), MODULE_MISSING);
	CU_ASSERT_EQUAL(module_state(&places, "x", "x"), MODULE_MISSING);
	CU_ASSERT_EQUAL(module_state(&places, "cls_matchall", "mall_classify"), MODULE_MISSING);
	/* A kernel without a tree of modules has what its symbols say. */
	write_file("kallsyms", "0000000000000000 t mall_classify_not\n0000000000000000 t mall_classify\n");
	places.tree = "/nowhere";
	CU_ASSERT_EQUAL(module_state(&places, "cls_matchall", "mall_classify"), MODULE_THERE);
	CU_ASSERT_EQUAL(module_state(&places, "act_mirred", "x"), MODULE_MISSING);

	static const char *const made[] = {"tree/modules.builtin", "tree/modules.dep", "modprobe",
					   "kallsyms"};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(made); i++)
		unlink(in(made[i]));
	rmdir(in("sys/ifb"));
	rmdir(sys);
	rmdir(tree);
	CU_ASSERT_EQUAL(rmdir(top), 0);
}

static const struct unit_case cases[] = {{"modules of systems made of files", run}};
UNIT_MAIN("modules", cases)
