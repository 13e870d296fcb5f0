/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "tests/unit/base/check.h"

static void test_rfc3339(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *s, *with_us;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"},
        {INT64_C(1300819380000001), "2011-03-22T18:43:00Z", "2011-03-22T18:43:00.000001Z"},
        {INT64_C(951827696789012), "2000-02-29T12:34:56Z", "2000-02-29T12:34:56.789012Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"},
    };
    char out[CLOCK_TEXT];
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_str(clock_rfc3339(cases[i].us, out), cases[i].s);
        assert_str(clock_rfc3339_us(cases[i].us, out), cases[i].with_us);
    }
    /* Dates outside stay well formed. */
    assert_int_equal(20, clock_rfc3339(INT64_MAX, out).n);
    assert_int_equal(20, clock_rfc3339(INT64_MIN, out).n);
    assert_int_equal(27, clock_rfc3339_us(INT64_MIN, out).n);
}

static void test_fixed_and_real(void **state)
{
    (void)state;
    const struct clock fixed = clock_fixed(INT64_C(1300819380500000));
    assert_true(clock_now_us(&fixed) == INT64_C(1300819380500000));
    assert_true(clock_now_s(&fixed) == 1300819380);
    const struct clock real = clock_real();
    assert_true(clock_now_s(&real) > 1700000000);
}

static void test_poll_time(void **state)
{
    (void)state;
    int64_t now = clock_mono_us();
    assert_true(clock_mono_us() >= now);
    assert_int_equal(0, clock_poll_ms(now));
    assert_int_equal(0, clock_poll_ms(INT64_MIN));
    assert_int_equal(60000, clock_poll_ms(INT64_MAX));
    /* Rounded up: a wait must not end just before its deadline and spin. */
    int ms = clock_poll_ms(clock_mono_us() + 30000000 + 1);
    assert_in_range(ms, 29000, 30001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc3339),
        cmocka_unit_test(test_fixed_and_real),
        cmocka_unit_test(test_poll_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
