/* SPDX-License-Identifier: Apache-2.0
 * Sealed values: known answers, and that nothing opens but what was sealed, with its key, at its place. */
#include "crypto/envelope.h"

#include "crypto/internal.h"
#include "tests/unit/crypto/support.h"

#include <stdlib.h>

enum { HEAD = 1 + ENVELOPE_NONCE_LEN };

/* Test cases 13 to 16 of McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B; then answers of
 * Python's cryptography, which also agrees on the first four. sealed: ciphertext and tag. */
static const struct {
    const char *key, *nonce, *aad, *plain, *sealed;
} vectors[] = {
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
     "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "",
     "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449"
     "a6b525b16aedf5aa0de657ba637b391aafd255",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056"
     "828838c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449"
     "a6b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056"
     "828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
    {"15f035026ea88b2842fdb0e4d95a80a6a0f5d5741602b0c17551135a9e527ab5", "3e9cc874c43cc5e06427e194", "", "5e",
     "af96cc6c280320a9f2a999b228e8ad616d"},
    {"1d044295d4c7436f544051005b1bce298155e3cb3891fd41116c65aa5ad55b87", "d27ac8a6ad713f303755c527",
     "2265efcf9afbce406c149aa60eb3813a1aee44e9", "", "e964405303ef9cac1411428085b62340"},
    {"3e2bfb06b4cb727ff25f40d62a0b5de2ce68a883f1783135d4b1484260fe48de", "c6a00980d42ce5c2494d81b6", "be",
     "1f9b3ab386268a1caf3fb7f63d091e", "1ecfc1d6e1323c250d2d08e6dd1d5b5c8e748671ee21a07addff05d49d4e76"},
    {"de0158ff70b2a0abd04071d7e0fb817712e5ed724b97d9b52ab68d75d4425dd4", "295524c6d2c841231d63fc5c",
     "d6ddd9d1b271ac8c041757317e13899e", "f283fc264f983a5ea5cbbde539237712",
     "8ff64be87fdeb0af72f7869649750d32d823de159797857683017b3b97f08ab8"},
    {"c4e73d9f59caa1585841be139b136159bf5305635cb1bd05e15a72ca9c29ef02", "ab0a14a0c11df3f06fc5192d",
     "57deef29a282bbe972f4799ae2", "3c8aef649e0735156c678b795f82bcbd7a",
     "b377b7653445fe1c4d9c2445331dfbc946b5da191497ec9d8e54c2a074c4f2bd0e"},
};

static struct bytes unhex(struct fixture *f, const char *hex)
{
    size_t n = strlen(hex) / 2;
    uint8_t *p = arena_alloc(f->arena, n);
    for (size_t i = 0; i < n; i++) {
        const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        p[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return bytes_of(p, n);
}

static struct bytes copy(struct fixture *f, struct bytes b)
{
    b = arena_bytes(f->arena, b);
    assert_non_null(b.p);
    return b;
}

static struct bytes concat(struct fixture *f, struct bytes x, struct bytes y)
{
    struct buf b = buf_in(f->arena, 4096);
    buf_add(&b, x.p, x.n);
    buf_add(&b, y.p, y.n);
    assert_ok(buf_status(&b));
    return buf_bytes(&b);
}

static struct bytes flipped(struct fixture *f, struct bytes b, size_t bit)
{
    uint8_t *p = arena_alloc(f->arena, b.n);
    memcpy(p, b.p, b.n);
    p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    return bytes_of(p, b.n);
}

static void test_known_answers(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct envelope_input in = {
            .key32 = unhex(f, vectors[i].key), .aad = unhex(f, vectors[i].aad), .plain = unhex(f, vectors[i].plain)};
        struct bytes nonce = unhex(f, vectors[i].nonce), sealed;
        assert_int_equal(nonce.n, sizeof in.nonce);
        memcpy(in.nonce, nonce.p, nonce.n);
        assert_ok(envelope_seal_with(f->crypto, &in, f->arena, &sealed));
        struct bytes head = concat(f, bytes_of("\x01", 1), nonce);
        assert_true(bytes_eq(sealed, concat(f, head, unhex(f, vectors[i].sealed))));
        CLEANUP(secret_free) struct secret *plain = NULL;
        assert_ok(envelope_open(f->crypto, in.key32, in.aad, sealed, &plain));
        assert_true(bytes_eq(secret_bytes(plain), in.plain));
    }
}

/* What the tests below seal. */
struct sample {
    struct bytes key, aad, plain, sealed;
};

static struct sample sample(struct fixture *f, struct str plain)
{
    struct sample s = {.key = unhex(f, vectors[4].key), .aad = str_bytes(STR("a place")), .plain = str_bytes(plain)};
    assert_ok(envelope_seal(f->crypto, s.key, s.aad, s.plain, f->arena, &s.sealed));
    return s;
}

static void test_what_is_sealed_opens(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 4000, ENVELOPE_PLAIN_MAX};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        uint8_t *p = arena_alloc(f->arena, sizes[i]);
        memset(p, 0x5a, sizes[i]);
        struct sample s = sample(f, bytes_str(bytes_of(p, sizes[i])));
        assert_int_equal(s.sealed.n, sizes[i] + ENVELOPE_OVERHEAD);
        CLEANUP(secret_free) struct secret *plain = NULL;
        assert_ok(envelope_open(f->crypto, s.key, s.aad, s.sealed, &plain));
        assert_true(bytes_eq(secret_bytes(plain), s.plain));
    }
}

static void test_a_value_is_never_sealed_alike(void **state)
{
    struct fixture *f = *state;
    enum { TIMES = 200 };
    struct bytes sealed[TIMES];
    for (size_t i = 0; i < TIMES; i++) {
        sealed[i] = sample(f, STR("a secret that recurs")).sealed;
        assert_null(memmem(sealed[i].p, sealed[i].n, "secret", 6));
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(sealed[i].p + 1, sealed[k].p + 1, ENVELOPE_NONCE_LEN);
    }
}

/* One error for all: its reader learns nothing of what was wrong. */
static void assert_unreadable(struct fixture *f, struct bytes key, struct bytes aad, struct bytes sealed)
{
    struct secret *plain = NULL;
    struct err e = envelope_open(f->crypto, key, aad, sealed, &plain),
               other = envelope_open(f->crypto, key, aad, bytes_of(NULL, 0), &plain);
    assert_int_equal(e.code, ERR_SEALED);
    assert_null(plain);
    assert_string_equal(e.detail, other.detail);
    assert_int_equal(e.line, other.line);
}

static void test_no_changed_bit_opens(void **state)
{
    struct fixture *f = *state;
    struct sample s = sample(f, STR("a refresh token"));
    for (size_t bit = 0; bit < 8 * s.sealed.n; bit++)
        assert_unreadable(f, s.key, s.aad, flipped(f, s.sealed, bit));
    for (size_t bit = 0; bit < 8 * s.aad.n; bit++)
        assert_unreadable(f, s.key, flipped(f, s.aad, bit), s.sealed);
    for (size_t bit = 0; bit < 8 * s.key.n; bit++)
        assert_unreadable(f, flipped(f, s.key, bit), s.aad, s.sealed);
}

/* Each length gets a block of its own, so that the sanitizer sees a read past its end. */
static void test_no_other_length_opens(void **state)
{
    struct fixture *f = *state;
    struct sample s = sample(f, STR("a refresh token"));
    for (size_t n = 0; n < s.sealed.n; n++) {
        uint8_t *cut = malloc(n + 1);
        assert_non_null(cut);
        memcpy(cut + 1, s.sealed.p, n);
        assert_unreadable(f, s.key, s.aad, bytes_of(cut + 1, n));
        free(cut);
        if (n < s.aad.n)
            assert_unreadable(f, s.key, bytes_of(s.aad.p, n), s.sealed);
    }
    struct bytes zero = bytes_of("", 1);
    assert_unreadable(f, s.key, s.aad, concat(f, s.sealed, zero));
    assert_unreadable(f, s.key, concat(f, s.aad, zero), s.sealed);
    assert_unreadable(f, s.key, s.aad, bytes_of(s.sealed.p, SIZE_MAX / 2));
}

/* The parts of two values do not make a third. */
static void test_parts_cannot_be_exchanged(void **state)
{
    struct fixture *f = *state;
    struct sample one = sample(f, STR("token of alice")), two = sample(f, STR("token of carol"));
    struct bytes head = copy(f, bytes_of(two.sealed.p, HEAD)), tag = {two.sealed.p + HEAD + two.plain.n, 16};
    struct bytes rest = {one.sealed.p + HEAD, one.sealed.n - HEAD};
    assert_unreadable(f, one.key, one.aad, concat(f, head, rest));
    assert_unreadable(f, one.key, one.aad, concat(f, bytes_of(one.sealed.p, one.sealed.n - 16), tag));
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    struct sample s = sample(f, STR("x"));
    struct bytes out = {NULL, 0};
    struct secret *plain = NULL;
    struct bytes large = {s.plain.p, ENVELOPE_PLAIN_MAX + 1};
    assert_fails(ERR_TOO_LARGE, envelope_seal(f->crypto, s.key, s.aad, large, f->arena, &out));
    static const size_t lengths[] = {0, 16, 31, 33};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct bytes key = {s.sealed.p, lengths[i]};
        assert_fails(ERR_CRYPTO, envelope_seal(f->crypto, key, s.aad, s.plain, f->arena, &out));
        assert_fails(ERR_CRYPTO, envelope_open(f->crypto, key, s.aad, s.sealed, &plain));
    }
    assert_null(out.p);
    assert_null(plain);
    CLEANUP(arena_free) struct arena *small = NULL;
    assert_ok(arena_new(4096, &small));
    struct bytes much = arena_bytes(f->arena, bytes_of(arena_alloc(f->arena, 65536), 65536));
    assert_fails(ERR_NO_MEMORY, envelope_seal(f->crypto, s.key, s.aad, much, small, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_known_answers, fixture_reset),
        cmocka_unit_test_setup(test_what_is_sealed_opens, fixture_reset),
        cmocka_unit_test_setup(test_a_value_is_never_sealed_alike, fixture_reset),
        cmocka_unit_test_setup(test_no_changed_bit_opens, fixture_reset),
        cmocka_unit_test_setup(test_no_other_length_opens, fixture_reset),
        cmocka_unit_test_setup(test_parts_cannot_be_exchanged, fixture_reset),
        cmocka_unit_test_setup(test_limits, fixture_reset),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
