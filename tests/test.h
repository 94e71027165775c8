/*
 * test.h - cmocka with the headers it wants, in the order it wants them.
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

/* The call succeeds; where it does not, the test fails with the error's own words. */
#define assert_ok(call) \
    do { \
        enum err_code code_ = (call); \
        if (code_ != OK) \
            fail_msg("%s: %s: %s", #call, err_name(code_), e.text); \
    } while (0)

#endif
