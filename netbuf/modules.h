/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of the kernel's modules are there, without loading any: what a check may do. (Whoever holds packets just
 * asks for them: the kernel loads what it needs.)
 */
#ifndef REMUS_NETBUF_MODULES_H
#define REMUS_NETBUF_MODULES_H

enum module_state {
	MODULE_THERE,	 /* loaded, or built in */
	MODULE_LOADABLE, /* the kernel will load it */
	MODULE_MISSING,
	MODULE_UNKNOWN, /* this system doesn't tell */
};

struct module_places {
	const char *sys;     /* "/sys/module": what is loaded, and what is built in and has parameters */
	const char *tree;    /* "/lib/modules/RELEASE": modules.builtin, modules.dep */
	const char *symbols; /* "/proc/kallsyms": names of the running kernel's functions */
	const char
		*modprobe; /* "/proc/sys/kernel/modprobe": the program that the kernel loads modules with */
};

/* @name with underscores; @symbol: a function that only this module has. */
enum module_state module_state(const struct module_places *places, const char *name, const char *symbol);

#endif
