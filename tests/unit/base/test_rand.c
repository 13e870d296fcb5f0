/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rand.h"

#include "tests/unit/base/check.h"

static void test_hex(void **state)
{
    (void)state;
    const uint8_t p[] = {0x00, 0x0f, 0xa5, 0xff};
    char out[9];
    hex_encode(p, sizeof p, out);
    assert_string_equal("000fa5ff", out);
    hex_encode(p, 0, out);
    assert_string_equal("", out);
}

static void test_ids(void **state)
{
    (void)state;
    char a[ID_TEXT];
    char b[ID_TEXT];
    assert_ok(rand_id("sess_", a));
    assert_ok(rand_id("sess_", b));
    assert_int_equal(5 + 32, strlen(a));
    assert_int_equal(0, strncmp(a, "sess_", 5));
    assert_int_equal(32, strspn(a + 5, "0123456789abcdef"));
    assert_string_not_equal(a, b);
    assert_ok(rand_id("123456789012345", a));
    assert_int_equal(ID_TEXT - 1, strlen(a));
    assert_fails(ERR_INTERNAL, rand_id("1234567890123456", a));
}

static void test_every_byte_is_filled(void **state)
{
    (void)state;
    uint8_t seen[300] = {0};
    for (int i = 0; i < 20; i++) {
        uint8_t p[300];
        assert_ok(rand_bytes(p, sizeof p));
        for (size_t k = 0; k < sizeof p; k++)
            seen[k] |= p[k];
    }
    for (size_t k = 0; k < sizeof seen; k++)
        assert_int_not_equal(0, seen[k]);
    assert_ok(rand_bytes(seen, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_every_byte_is_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
