/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include "tests/unit/base/check.h"

static struct err fails(void)
{
    return FAIL(ERR_DB, "row %d", 7);
}

static struct err passes_on(void)
{
    TRY(fails());
    return OK;
}

static void test_the_place_and_detail_travel(void **state)
{
    (void)state;
    struct err e = passes_on();
    assert_int_equal(ERR_DB, e.code);
    assert_string_equal("row 7", e.detail);
    assert_non_null(strstr(e.file, "test_err.c"));
    struct err as = err_as(e, ERR_INVALID_CLIENT);
    assert_int_equal(ERR_INVALID_CLIENT, as.code);
    assert_int_equal(e.line, as.line);
    as = err_as(OK, ERR_INVALID_CLIENT);
    assert_false(err_is(&as));
}

static void test_details_are_printable_ascii_and_bounded(void **state)
{
    (void)state;
    char longest[400];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    struct err e = FAIL(ERR_DB, "%s", longest);
    assert_int_equal(sizeof e.detail - 1, strlen(e.detail));
    e = FAIL(ERR_DB, "%s", "a\nb\r\x1b[2J\x7f\xc3\xa9\xff");
    assert_string_equal("a?b??[2J????", e.detail);
}

static void test_every_code_has_an_outside(void **state)
{
    (void)state;
    for (int i = 1; i < ERR_CODE_COUNT; i++) {
        const struct err_public *p = err_public((enum err_code)i);
        assert_in_range(p->status, 400, 599);
        assert_true(strlen(p->code) > 0 && strlen(p->text) > 0);
        assert_int_equal(0, strncmp(err_name((enum err_code)i), "ERR_", 4));
    }
    assert_int_equal(500, err_public((enum err_code)9999)->status);
    assert_string_equal("ERR_INTERNAL", err_name((enum err_code)9999));
    assert_string_equal("ERR_DB", err_name(ERR_DB));
}

/* Why authentication failed is for the log alone. */
static void test_reasons_of_failed_authentication_are_hidden(void **state)
{
    (void)state;
    static const enum err_code hidden[] = {
        ERR_INVALID_CLIENT, ERR_INVALID_TOKEN, ERR_INVALID_API_KEY, ERR_JOSE_MALFORMED, ERR_JOSE_ALG, ERR_JOSE_KEY,
        ERR_JOSE_SIGNATURE, ERR_JOSE_CLAIM,    ERR_JOSE_EXPIRED,    ERR_JOSE_REPLAY,    ERR_DB,       ERR_CRYPTO};
    for (size_t i = 0; i < COUNT(hidden); i++)
        assert_false(err_public(hidden[i])->show_detail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_place_and_detail_travel),
        cmocka_unit_test(test_details_are_printable_ascii_and_bounded),
        cmocka_unit_test(test_every_code_has_an_outside),
        cmocka_unit_test(test_reasons_of_failed_authentication_are_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
