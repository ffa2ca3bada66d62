/* SPDX-License-Identifier: GPL-2.0-or-later */
/* error.h's contract: negative return, message owned by the object, cut and never overrun, NULL allowed. */
#include "unit.h"

static void fills_and_returns_code(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	CU_ASSERT_EQUAL(remus_fail(&err, -EINVAL, "page %d", 7), -EINVAL);
	CU_ASSERT_EQUAL(err.code, -EINVAL);
	CU_ASSERT_STRING_EQUAL(err.message, "page 7");
	CU_ASSERT_EQUAL(remus_fail(NULL, -EIO, "unseen"), -EIO);
}

static void appends_errno(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	errno = ENOENT;
	CU_ASSERT_EQUAL(remus_fail_errno(&err, "open %s", "x"), -ENOENT);
	CU_ASSERT_STRING_EQUAL(err.message, "open x: No such file or directory");
}

static void prefixes_and_cuts(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char longer[2 * REMUS_ERROR_MAX];
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = 0;
	remus_fail(&err, -EIO, "cause");
	CU_ASSERT_EQUAL(remus_error_prefix(&err, "host %s", "b"), -EIO);
	CU_ASSERT_STRING_EQUAL(err.message, "host b: cause");
	remus_error_prefix(&err, "%s", longer);
	CU_ASSERT_EQUAL(strlen(err.message), REMUS_ERROR_MAX - 1);
}

static const struct unit_case cases[] = {
	{"fills the object and returns the code", fills_and_returns_code},
	{"appends strerror", appends_errno},
	{"prefixes and cuts", prefixes_and_cuts},
};
UNIT_MAIN("error", cases)
