/* SPDX-License-Identifier: Apache-2.0 */
#include "base/span.h"

#include "tests/unit/base/check.h"

static void test_equality(void **state)
{
    (void)state;
    const struct str none = {NULL, 0};
    assert_true(str_eq(none, STR("")));
    assert_true(str_is(none, ""));
    assert_false(str_is(STR("ab"), "a"));
    assert_false(str_is(STR("a\0b"), "a"));
    assert_true(str_eq(STR("a\0b"), (struct str){"a\0b", 3}));
    assert_false(bytes_eq(bytes_of("a", 1), bytes_of("b", 1)));
    assert_true(str_eq(str_of(NULL), none));
}

static void test_starts(void **state)
{
    (void)state;
    assert_true(str_starts(STR("application/jwt"), STR("application/")));
    assert_false(str_starts(STR("app"), STR("application/")));
    assert_true(str_starts((struct str){NULL, 0}, STR("")));
}

static void test_trim(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \t\r\n a b \n")), "a b");
    assert_str(str_trim(STR(" \n ")), "");
    assert_str(str_trim((struct str){NULL, 0}), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
