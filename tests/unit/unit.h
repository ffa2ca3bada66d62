/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame of every unit test program: a table of cases, run by CUnit, summary on stdout, exit status for
 * automake. A program is one file with `static const struct unit_case cases[]` and `UNIT_MAIN("name", cases)`.
 */
#ifndef REMUS_UNIT_H
#define REMUS_UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <CUnit/Basic.h>
#include "remus/error.h"
#include "remus/util.h"

struct unit_case {
	const char *name;
	void (*run)(void);
};

/* Exit status that automake counts as SKIP; say why on stdout first. */
#define UNIT_SKIP 77

static inline int unit_main(const char *suite_name, const struct unit_case *cases, size_t count)
{
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
	for (size_t i = 0; suite && i < count; i++)
		if (!CU_add_test(suite, cases[i].name, cases[i].run))
			return 99;
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	unsigned failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define UNIT_MAIN(suite, cases)                                          \
	int main(void)                                                   \
	{                                                                \
		return unit_main(suite, cases, REMUS_ARRAY_SIZE(cases)); \
	}

/* Assert that an error message holds a word: every refusal must name its thing. */
#define UNIT_ASSERT_MESSAGE(err, word)                                                        \
	do {                                                                                  \
		if (!strstr((err).message, (word)))                                           \
			printf("\n    message \"%s\" lacks \"%s\"\n", (err).message, (word)); \
		CU_ASSERT(strstr((err).message, (word)) != NULL);                             \
	} while (0)

#endif
