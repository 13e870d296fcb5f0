/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/hsm/fixture.h"

#include "base/clock.h"
#include "base/fd.h"
#include "hsm/proto.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct frame *new_frame(void)
{
    struct frame *f = calloc(1, sizeof *f);
    assert_non_null(f);
    return f;
}

static const uint8_t dek[HSM_DEK_LEN] = "0123456789abcdef0123456789abcde";

static const struct proto_request requests[] = {
    {.op = PROTO_HELLO},
    {.op = PROTO_PING},
    {.op = PROTO_KEYS, .count = 300},
    {.op = PROTO_SIGN, .key = {{1, 2, 3}}, .alg = JOSE_PS256, .data = {dek, 5}},
    {.op = PROTO_WRAP, .key = {{9}}, .data = {dek, sizeof dek}},
    {.op = PROTO_UNWRAP, .key = {{9}}, .data = {dek, 30}},
    {.op = PROTO_RANDOM, .count = 256},
    {.op = PROTO_GENERATE, .key = {{7}}, .purpose = HSM_CALL, .type = HSM_ED25519},
};

static void request_comes_back(void **state)
{
    (void)state;
    struct frame *f = new_frame();
    for (size_t i = 0; i < COUNT(requests); i++) {
        const struct proto_request *q = &requests[i];
        struct proto_request back;
        assert_ok(proto_write_request(q, f));
        assert_ok(proto_read_request(frame_body(f), &back));
        assert_int_equal(back.op, q->op);
        assert_memory_equal(back.key.v, q->key.v, sizeof q->key.v);
        assert_int_equal(back.alg, q->alg);
        assert_int_equal(back.purpose, q->purpose);
        assert_int_equal(back.type, q->type);
        assert_int_equal(back.count, q->count);
        assert_true(bytes_eq(back.data, q->data));
    }
    free(f);
}

/* Every message must fail when it is cut anywhere, and when anything follows it. */
static void request_is_exact(void **state)
{
    (void)state;
    struct frame *f = new_frame();
    for (size_t i = 0; i < COUNT(requests); i++) {
        struct proto_request back;
        assert_ok(proto_write_request(&requests[i], f));
        struct bytes whole = frame_body(f);
        for (size_t n = 0; n < whole.n; n++)
            assert_err(proto_read_request(bytes_of(whole.p, n), &back), ERR_INVALID_REQUEST);
        f->p[f->n] = 0;
        assert_err(proto_read_request(bytes_of(whole.p, whole.n + 1), &back), ERR_INVALID_REQUEST);
    }
    free(f);
}

static void wrong_values_are_refused(void **state)
{
    (void)state;
    struct frame *f = new_frame();
    struct proto_request back;
    struct proto_request q = requests[3];
    assert_ok(proto_write_request(&q, f));
    struct bytes body = frame_body(f);
    uint8_t copy[128];
    const struct {
        size_t at;
        uint8_t v;
    } bad[] = {{0, PROTO_VERSION + 1}, {1, 0}, {1, PROTO_OP_END}, {1, 255}, {18, JOSE_ALG_COUNT}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        memcpy(copy, body.p, body.n);
        copy[bad[i].at] = bad[i].v;
        assert_err(proto_read_request(bytes_of(copy, body.n), &back), ERR_INVALID_REQUEST);
    }
    q = (struct proto_request){.op = PROTO_RANDOM, .count = 257};
    assert_ok(proto_write_request(&q, f));
    assert_err(proto_read_request(frame_body(f), &back), ERR_INVALID_REQUEST);
    q = (struct proto_request){.op = PROTO_WRAP, .data = {dek, 31}};
    assert_err(proto_write_request(&q, f), ERR_TOO_LARGE);
    uint8_t *large = calloc(1, HSM_INPUT_MAX + 1);
    q = (struct proto_request){.op = PROTO_SIGN, .data = {large, HSM_INPUT_MAX}};
    assert_ok(proto_write_request(&q, f));
    q.data.n++;
    assert_err(proto_write_request(&q, f), ERR_TOO_LARGE);
    free(large);
    free(f);
}

static void reply_comes_back(void **state)
{
    (void)state;
    struct frame *f = new_frame();
    struct hsm_key page[PROTO_KEYS_PAGE], room[PROTO_KEYS_PAGE];
    for (size_t i = 0; i < PROTO_KEYS_PAGE; i++)
        page[i] = (struct hsm_key){.id = {{(uint8_t)i}},
                                   .purpose = HSM_CALL,
                                   .type = HSM_RSA_3072,
                                   .label = STR("nexus:call:00"),
                                   .evidence = {.local = true, .never_extractable = true, .token_object = true},
                                   .n = {dek, 32},
                                   .e = {dek, 3}};
    struct proto_reply r = {.op = PROTO_KEYS, .total = 70, .keys = page, .n = PROTO_KEYS_PAGE};
    struct proto_reply back = {.keys = room};
    r.mark.instance[3] = 5;
    r.mark.counter = UINT64_C(0x0102030405060708);
    assert_ok(proto_write_reply(&r, f));
    assert_ok(proto_read_reply(frame_body(f), &back));
    assert_int_equal(back.total, 70);
    assert_int_equal(back.n, PROTO_KEYS_PAGE);
    assert_memory_equal(&back.mark, &r.mark, sizeof r.mark);
    assert_memory_equal(back.keys[9].id.v, page[9].id.v, HSM_KEY_ID_LEN);
    assert_true(str_is(back.keys[9].label, "nexus:call:00"));
    assert_true(back.keys[9].evidence.local && back.keys[9].evidence.never_extractable);
    assert_false(back.keys[9].evidence.extractable || back.keys[9].evidence.sensitive);
    assert_true(bytes_eq(back.keys[9].n, page[9].n) && bytes_eq(back.keys[9].e, page[9].e));
    back.keys = NULL;
    assert_err(proto_read_reply(frame_body(f), &back), ERR_INVALID_REQUEST);
    free(f);
}

static void refusal_carries_reason_and_mark(void **state)
{
    (void)state;
    struct frame *f = new_frame();
    struct proto_reply r = {
        .op = PROTO_SIGN, .status = PROTO_REFUSED, .reason = STR("because"), .mark = {.counter = 7}};
    struct proto_reply back = {0};
    assert_ok(proto_write_reply(&r, f));
    assert_ok(proto_read_reply(frame_body(f), &back));
    assert_int_equal(back.status, PROTO_REFUSED);
    assert_true(str_is(back.reason, "because"));
    assert_int_equal(back.mark.counter, 7);
    assert_int_equal(back.data.n, 0);
    free(f);
}

static void frames_are_strict(void **state)
{
    (void)state;
    int pair[2];
    struct frame *f = new_frame();
    int64_t soon = clock_mono_us() + 20000;
    const struct {
        const char *bytes;
        size_t n;
        enum err_code code;
    } cases[] = {{"\0\1\0\1x", 5, ERR_IO},
                 {"\377\377\377\377", 4, ERR_IO},
                 {"\0\0\0\1ab", 6, ERR_IO},
                 {"\0\0\0\2a", 5, ERR_DEADLINE}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        assert_ok(fd_write_full(pair[0], cases[i].bytes, cases[i].n, INT64_MAX));
        assert_err(frame_recv(pair[1], f, soon), cases[i].code);
        close(pair[0]);
        close(pair[1]);
    }
    free(f);
}

static void names_come_back(void **state)
{
    (void)state;
    for (int p = 0; p < HSM_PURPOSE_COUNT; p++) {
        enum hsm_purpose back = HSM_PURPOSE_COUNT;
        assert_true(hsm_purpose_parse(str_of(hsm_purpose_name((enum hsm_purpose)p)), &back));
        assert_int_equal(back, p);
    }
    for (int t = 0; t < HSM_KEY_TYPE_COUNT; t++) {
        enum hsm_key_type back = HSM_KEY_TYPE_COUNT;
        assert_true(hsm_key_type_parse(str_of(hsm_key_type_name((enum hsm_key_type)t)), &back));
        assert_int_equal(back, t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_comes_back),
        cmocka_unit_test(request_is_exact),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(reply_comes_back),
        cmocka_unit_test(refusal_carries_reason_and_mark),
        cmocka_unit_test(frames_are_strict),
        cmocka_unit_test(names_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
