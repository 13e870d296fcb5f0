/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "tests/unit/base/check.h"

#include <stdalign.h>

static void test_allocations_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct arena *a = NULL;
    assert_ok(arena_new(65536, &a));
    uint8_t *last = NULL;
    for (size_t n = 0; n < 200; n++) {
        uint8_t *p = arena_alloc(a, n);
        assert_non_null(p);
        assert_int_equal(0, (uintptr_t)p % alignof(max_align_t));
        assert_true(last == NULL || p >= last);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(0, p[i]);
        memset(p, 0xaa, n);
        last = p + n;
    }
    arena_free(&a);
    assert_null(a);
}

static void test_the_maximum_holds(void **state)
{
    (void)state;
    struct arena *a = NULL;
    assert_ok(arena_new(1, &a));
    size_t max = arena_max(a);
    assert_null(arena_alloc(a, max + 1));
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_array(a, SIZE_MAX / 2, 3));
    assert_int_equal(0, arena_used(a));
    assert_non_null(arena_alloc(a, max));
    assert_int_equal(max, arena_used(a));
    assert_null(arena_alloc(a, 1));
    assert_null(arena_str(a, STR("x")).p);
    assert_null(arena_bytes(a, bytes_of("x", 1)).p);
    assert_null(arena_printf(a, "%d", 1).p);
    arena_free(&a);
    struct err e = arena_new(SIZE_MAX, &a);
    assert_int_equal(ERR_NO_MEMORY, e.code);
}

static void test_reset_wipes(void **state)
{
    (void)state;
    struct arena *a = NULL;
    assert_ok(arena_new(4096, &a));
    struct str s = arena_str(a, STR("a secret"));
    arena_reset(a);
    assert_int_equal(0, arena_used(a));
    for (size_t i = 0; i < s.n; i++)
        assert_int_equal(0, s.p[i]);
    assert_ptr_equal(s.p, arena_alloc(a, 8));
    arena_free(&a);
}

static void test_copies(void **state)
{
    (void)state;
    struct arena *a = NULL;
    assert_ok(arena_new(4096, &a));
    struct str s = arena_str(a, (struct str){"abcdef", 3});
    assert_int_equal(3, s.n);
    assert_string_equal("abc", s.p);
    assert_non_null(arena_str(a, (struct str){NULL, 0}).p);
    assert_true(bytes_eq(arena_bytes(a, bytes_of("a\0b", 3)), bytes_of("a\0b", 3)));
    assert_string_equal("7-x", arena_printf(a, "%d-%s", 7, "x").p);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_are_zeroed_aligned_and_apart),
        cmocka_unit_test(test_the_maximum_holds),
        cmocka_unit_test(test_reset_wipes),
        cmocka_unit_test(test_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
