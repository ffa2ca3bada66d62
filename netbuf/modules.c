/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See modules.h. */
#include "modules.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Does a line of @path tell of the module's file? "kernel/net/sched/sch_plug.ko.xz: ..." */
static bool listed(const char *path, const char *name, bool *readable)
{
	char line[4096];
	size_t length = strlen(name);
	bool found = false, begins = true;
	FILE *file = fopen(path, "re");

	*readable = file != NULL;
	while (file && !found && fgets(line, sizeof line, file)) {
		bool whole = strchr(line, '\n') != NULL;
		if (begins) {
			line[strcspn(line, ": \n")] = 0;
			const char *slash = strrchr(line, '/'), *base = slash ? slash + 1 : line;
			bool same = strlen(base) > length + 2 && !strncmp(base + length, ".ko", 3);
			for (size_t i = 0; same && i < length; i++)
				same = base[i] == name[i] || (base[i] == '-' && name[i] == '_');
			found = same;
		}
		begins = whole;
	}
	if (file)
		fclose(file);
	return found;
}

/* "0000000000000000 T name\n"; addresses are hidden from most, names aren't. */
static bool has_symbol(const char *path, const char *symbol, bool *readable)
{
	char line[512], name[256];
	bool found = false;
	FILE *file = fopen(path, "re");

	*readable = file != NULL;
	while (file && !found && fgets(line, sizeof line, file))
		found = sscanf(line, "%*s %*s %255s", name) == 1 && !strcmp(name, symbol);
	if (file)
		fclose(file);
	return found;
}

/* Will the kernel find the program that loads modules? */
static bool can_load(const char *path)
{
	char program[256] = "";
	FILE *file = fopen(path, "re");

	if (file && fgets(program, sizeof program, file))
		program[strcspn(program, "\n")] = 0;
	if (file)
		fclose(file);
	return program[0] && !access(program, X_OK);
}

enum module_state module_state(const struct module_places *places, const char *name, const char *symbol)
{
	char path[512];
	bool has_builtin, has_dep, has_symbols = false;

	snprintf(path, sizeof path, "%s/%s", places->sys, name);
	if (!access(path, F_OK))
		return MODULE_THERE;
	snprintf(path, sizeof path, "%s/modules.builtin", places->tree);
	if (listed(path, name, &has_builtin))
		return MODULE_THERE;
	snprintf(path, sizeof path, "%s/modules.dep", places->tree);
	if (listed(path, name, &has_dep))
		return can_load(places->modprobe) ? MODULE_LOADABLE : MODULE_MISSING;
	if (has_builtin && has_dep)
		return MODULE_MISSING;
	/* Last, since there are 200,000 of them: a slow host takes a second to list them. */
	if (has_symbol(places->symbols, symbol, &has_symbols))
		return MODULE_THERE;
	return has_symbols ? MODULE_MISSING : MODULE_UNKNOWN;
}
