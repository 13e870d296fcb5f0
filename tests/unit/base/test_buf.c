/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "tests/unit/base/check.h"

static int setup(void **state)
{
    struct arena *a = NULL;
    assert_ok(arena_new(1 << 20, &a));
    *state = a;
    return 0;
}

static int teardown(void **state)
{
    struct arena *a = *state;
    arena_free(&a);
    return 0;
}

static void test_appends(void **state)
{
    struct buf b = buf_in(*state, 100);
    buf_add(&b, "ab", 2);
    buf_str(&b, STR("cd"));
    buf_cstr(&b, "ef");
    buf_char(&b, 'g');
    buf_printf(&b, "%d%s", 12, "h");
    memcpy(buf_room(&b, 2), "ij", 2);
    buf_add(&b, NULL, 0);
    assert_ok(buf_status(&b));
    assert_str(buf_view(&b), "abcdefg12hij");
    assert_int_equal(12, buf_bytes(&b).n);
}

static void test_growth_keeps_the_content(void **state)
{
    struct buf b = buf_in(*state, 100000);
    for (int i = 0; i < 20000; i++)
        buf_printf(&b, "%04d,", i % 10000);
    assert_ok(buf_status(&b));
    assert_int_equal(100000, b.n);
    for (size_t i = 0; i < 20000; i++)
        assert_int_equal((int)(i % 10), b.p[5 * i + 3] - '0');
}

static void test_the_maximum_is_reached_and_not_passed(void **state)
{
    struct buf b = buf_in(*state, 4);
    buf_printf(&b, "%d", 1234);
    assert_ok(buf_status(&b));
    buf_char(&b, '5');
    assert_fails(ERR_TOO_LARGE, buf_status(&b));
    assert_str(buf_view(&b), "1234");
    struct buf c = buf_in(*state, 3);
    buf_printf(&c, "%d", 1234);
    assert_fails(ERR_TOO_LARGE, buf_status(&c));
    struct buf none = buf_in(*state, 0);
    assert_ok(buf_status(&none));
    assert_null(buf_room(&none, 1));
    struct buf huge = buf_in(*state, 16);
    buf_char(&huge, 'x');
    assert_null(buf_room(&huge, SIZE_MAX));
    assert_fails(ERR_TOO_LARGE, buf_status(&huge));
}

static void test_failure_is_sticky(void **state)
{
    struct buf b = buf_in(*state, 4);
    buf_cstr(&b, "12345");
    buf_cstr(&b, "1");
    assert_null(buf_room(&b, 0));
    assert_fails(ERR_TOO_LARGE, buf_status(&b));
    assert_int_equal(0, b.n);
}

static void test_a_full_arena_fails_the_buffer(void **state)
{
    (void)state;
    struct arena *a = NULL;
    assert_ok(arena_new(4096, &a));
    struct buf b = buf_in(a, 1 << 20);
    for (int i = 0; i < 100000; i++)
        buf_char(&b, 'x');
    assert_fails(ERR_NO_MEMORY, buf_status(&b));
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_growth_keeps_the_content),
        cmocka_unit_test(test_the_maximum_is_reached_and_not_passed),
        cmocka_unit_test(test_failure_is_sticky),
        cmocka_unit_test(test_a_full_arena_fails_the_buffer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
