/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/b64u.h"

#include "tests/unit/crypto/support.h"

/* RFC 4648 section 10, without the padding. */
static const struct {
    const char *text, *encoded;
} rfc4648[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},         {"foo", "Zm9v"},
               {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}};

static void test_rfc4648_vectors(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT(rfc4648); i++) {
        struct bytes back = {NULL, 0};
        assert_str(test_b64u(f, str_of(rfc4648[i].text)), rfc4648[i].encoded);
        assert_ok(b64u_decode(f->arena, str_of(rfc4648[i].encoded), &back));
        assert_str(bytes_str(back), rfc4648[i].text);
    }
}

/* RFC 7515 appendix C. */
static void test_rfc7515_appendix_c(void **state)
{
    struct fixture *f = *state;
    const uint8_t raw[] = {3, 236, 255, 224, 193};
    struct bytes back = {NULL, 0};
    assert_str(b64u_text(f->arena, bytes_of(raw, sizeof raw)), "A-z_4ME");
    assert_ok(b64u_decode(f->arena, STR("A-z_4ME"), &back));
    assert_true(bytes_eq(back, bytes_of(raw, sizeof raw)));
}

static void test_every_length_comes_back(void **state)
{
    struct fixture *f = *state;
    uint8_t raw[256];
    for (size_t i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)(i * 167 + 13);
    for (size_t n = 0; n <= sizeof raw; n++) {
        struct bytes back = {NULL, 0};
        struct buf text = buf_in(f->arena, 1024);
        b64u_encode(&text, bytes_of(raw, n));
        assert_ok(buf_status(&text));
        assert_int_equal(B64U_LEN(n), text.n);
        assert_ok(b64u_decode(f->arena, buf_view(&text), &back));
        assert_true(bytes_eq(back, bytes_of(raw, n)));
    }
}

static void test_j02_other_spellings_are_refused(void **state)
{
    struct fixture *f = *state;
    const struct str bad[] = {STR("Zg=="), STR("Zm8="), STR("="), STR("Zm9v\n"), STR(" Zm9v"), STR("Zm 9v"),
                              STR("Zm+v"), STR("Zm/v"), STR("Z"), STR("Zm9vY"), STR("Zm\0v"), STR("Zm.v"),
                              STR("Zm\x80v"),
                              /* stray bits behind the last byte */
                              STR("Zh"), STR("Zv"), STR("Zm9"), STR("A-z_4MF")};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct bytes out = {NULL, 0};
        assert_fails(ERR_JOSE_MALFORMED, b64u_decode(f->arena, bad[i], &out));
    }
}

static void test_each_two_characters_decode_to_one_byte_at_most_once(void **state)
{
    struct fixture *f = *state;
    int spellings[256] = {0};
    for (int i = 0; i < 65536; i++) {
        const char two[] = {(char)(i >> 8), (char)(i & 255)};
        struct bytes out = {NULL, 0};
        arena_reset(f->arena);
        struct err e = b64u_decode(f->arena, (struct str){two, 2}, &out);
        if (err_is(&e))
            continue;
        assert_int_equal(1, out.n);
        spellings[out.p[0]]++;
    }
    for (size_t i = 0; i < COUNT(spellings); i++)
        assert_int_equal(1, spellings[i]);
}

static void test_a_full_arena_is_an_error(void **state)
{
    (void)state;
    struct arena *small = NULL;
    assert_ok(arena_new(64, &small));
    assert_non_null(arena_alloc(small, arena_max(small)));
    struct bytes out = {NULL, 0};
    assert_fails(ERR_NO_MEMORY, b64u_decode(small, STR("Zm9v"), &out));
    assert_null(b64u_text(small, str_bytes(STR("foo"))).p);
    arena_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rfc4648_vectors, fixture_reset),
        cmocka_unit_test_setup(test_rfc7515_appendix_c, fixture_reset),
        cmocka_unit_test_setup(test_every_length_comes_back, fixture_reset),
        cmocka_unit_test_setup(test_j02_other_spellings_are_refused, fixture_reset),
        cmocka_unit_test_setup(test_each_two_characters_decode_to_one_byte_at_most_once, fixture_reset),
        cmocka_unit_test_setup(test_a_full_arena_is_an_error, fixture_reset),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
