/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/skew.h"

#include "tests/unit/base/check.h"

#include <string.h>

enum { SECOND = 1000000, MAX = 30 * SECOND };
static const int64_t noon = INT64_C(1800000000) * SECOND;

/* Our clock shows noon, the question takes a second, and theirs is ahead by that much. */
static struct skew_case ahead(int64_t theirs_us)
{
    return (struct skew_case){.before_us = noon,
                              .after_us = noon + SECOND,
                              .database_us = noon + theirs_us,
                              .latest_us = noon + theirs_us - 5 * SECOND,
                              .max_us = MAX};
}

static void refuses(const struct skew_case *k, const char *why)
{
    struct err e = skew_check(k);
    assert_int_equal(e.code, ERR_CLOCK);
    if (strstr(e.detail, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", e.detail, why);
}

static void test_clocks_may_differ_by_no_more_than_the_bound(void **state)
{
    (void)state;
    const int64_t good[] = {0, SECOND, -MAX, MAX + SECOND};
    for (size_t i = 0; i < COUNT(good); i++) {
        const struct skew_case k = ahead(good[i]);
        assert_ok(skew_check(&k));
    }
    struct skew_case k = ahead(-MAX - 1);
    refuses(&k, "30 s ahead of the database's");
    k = ahead(MAX + SECOND + 1);
    refuses(&k, "30 s behind the database's");
    k = ahead(INT64_C(315360000) * SECOND);
    refuses(&k, "behind the database's");
}

/* A slow answer is no difference of clocks: the time is somewhere between question and answer. */
static void test_a_slow_answer_is_no_difference(void **state)
{
    (void)state;
    struct skew_case k = ahead(0);
    k.after_us = noon + INT64_C(10) * MAX;
    k.database_us = k.after_us;
    assert_ok(skew_check(&k));
    k.database_us = noon;
    assert_ok(skew_check(&k));
}

static void test_both_clocks_set_back_are_noticed(void **state)
{
    (void)state;
    struct skew_case k = ahead(0);
    k.latest_us = k.database_us + MAX;
    assert_ok(skew_check(&k));
    k.latest_us = k.database_us + INT64_C(3600) * SECOND;
    refuses(&k, "set back by 3600 s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clocks_may_differ_by_no_more_than_the_bound),
        cmocka_unit_test(test_a_slow_answer_is_no_difference),
        cmocka_unit_test(test_both_clocks_set_back_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
