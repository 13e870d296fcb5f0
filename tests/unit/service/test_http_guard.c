/* SPDX-License-Identifier: Apache-2.0
 * The header guard on headers taken apart as the library does it. What the library really does is held by
 * tests/blackbox/test_http_strictness.py. */
#include "service/server/guard.h"

#include "tests/unit/base/check.h"

#include <stdio.h>

enum { MAX = 16384 };

/* Takes a header apart in place like libmicrohttpd 0.9.75: lines end at LF, a CR before it goes too, values start after
 * white space, what follows a NUL is lost. */
static void take_apart(char *text, size_t n, char *target, struct guard_head *h)
{
    *h = (struct guard_head){.bytes = n};
    char *line = text;
    for (char *p = text; p < text + n; p++) {
        if (*p != '\n')
            continue;
        *p = '\0';
        if (p > text && p[-1] == '\r')
            p[-1] = '\0';
        if (h->at == NULL) {
            char *sp = strchr(line, ' ');
            char *last = memrchr(line, ' ', (size_t)(p - line));
            assert_true(sp != NULL && last > sp);
            *sp = *last = '\0';
            h->method = str_of(line);
            h->at = sp + 1;
            h->version = str_of(last + 1);
            memcpy(target, sp + 1, strlen(sp + 1));
            h->target = (struct str){target, strlen(sp + 1)};
        } else if (line[0] != '\0' && h->n < GUARD_FIELDS_MAX) {
            char *colon = strchr(line, ':');
            assert_non_null(colon);
            *colon++ = '\0';
            colon += strspn(colon, " \t");
            h->fields[h->n++] = (struct guard_field){str_of(line), str_of(colon)};
        }
        line = p + 1;
    }
}

static struct err check_n(const char *text, size_t n, struct guard_facts *facts)
{
    static char copy[65536], target[65536];
    memcpy(copy, text, n);
    struct guard_head h;
    take_apart(copy, n, target, &h);
    TRY(guard_head(&h, MAX, facts));
    return guard_layout(&h);
}

static struct err check(const char *text, struct guard_facts *facts)
{
    return check_n(text, strlen(text), facts);
}

#define HEAD  "GET /x HTTP/1.1\r\nHost: a\r\n"
#define BEGIN "POST /x HTTP/1.1\r\nHost: a\r\n"

static void test_a_plain_request_passes(void **state)
{
    (void)state;
    struct guard_facts f;
    assert_ok(check(BEGIN "Content-Type:  application/json \r\nContent-Length: 12\r\nAuthorization: Bearer t\r\n"
                          "X-API-Key: k\r\nIf-None-Match: \"e\"\r\nX-Request-Id: 12345678\r\nX-Empty:\r\n\r\n",
                    &f));
    assert_str(f.host, "a");
    assert_str(f.content_type, "application/json");
    assert_str(f.authorization, "Bearer t");
    assert_str(f.api_key, "k");
    assert_str(f.if_none_match, "\"e\"");
    assert_str(f.request_id, "12345678");
    assert_null(f.traceparent.p);
    assert_true(f.has_length && !f.chunked);
    assert_int_equal(12, f.length);
    assert_ok(check(BEGIN "transfer-ENCODING: Chunked\r\n\r\n", &f));
    assert_true(f.chunked && !f.has_length);
    assert_ok(check("GET / HTTP/1.0\r\n\r\n", &f));
    assert_null(f.host.p);
}

static void test_hosts(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a.b-c_d~e", "127.0.0.1:80", "[::1]", "[2001:db8::1]:65535"};
    static const char *const bad[] = {"",    ":80", "a:",   "a:b", "a:123456", "a@b",      "a/b",
                                      "a b", "a,b", "[::1", "[]",  "[::1]x",   "\xc3\xa4", "a%41"};
    struct guard_facts f;
    char text[256];
    for (size_t i = 0; i < COUNT(good); i++) {
        (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
        assert_ok(check(text, &f));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        assert_fails(ERR_BAD_HTTP, check(text, &f));
    }
    assert_fails(ERR_BAD_HTTP, check("GET / HTTP/1.1\r\n\r\n", &f));
}

static void test_framing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\ncontent-length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length: 1e3\r\n",
        "Content-Length: 9999999999999999999\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
    };
    struct guard_facts f;
    char text[512];
    for (size_t i = 0; i < COUNT(bad); i++) {
        (void)snprintf(text, sizeof text, BEGIN "%s\r\n", bad[i]);
        struct err e = check(text, &f);
        if (e.code != ERR_BAD_HTTP)
            fail_msg("passed: %s", bad[i]);
    }
    assert_fails_with(ERR_BAD_HTTP, "HTTP/1.0",
                      check("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", &f));
}

static void test_request_lines(void **state)
{
    (void)state;
    struct guard_facts f;
    assert_fails(ERR_BAD_HTTP, check("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("GET / HTTP/1.2\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("GET / HTTP/2.0\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check("GET /a /b HTTP/1.1\r\nHost: a\r\n\r\n", &f));
}

static void test_singles_and_values(void **state)
{
    (void)state;
    /* D05, H10: two proofs or two credentials, also of different schemes. */
    static const char *const single[] = {"Host", "Content-Type",  "Authorization", "X-API-Key",
                                         "DPoP", "If-None-Match", "X-Request-Id",  "traceparent"};
    struct guard_facts f;
    char text[256];
    for (size_t i = 0; i < COUNT(single); i++) {
        (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s: a\r\n%s: a\r\n\r\n", single[i], single[i]);
        assert_fails_with(ERR_BAD_HTTP, single[i], check(text, &f));
    }
    assert_fails(ERR_BAD_HTTP, check(HEAD "DPoP:\r\nX-A: 1\r\ndpop: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check(HEAD "Authorization: Bearer a\r\nauthorization: DPoP a\r\n\r\n", &f));
    assert_ok(check(HEAD "DPoP:  a.b.c \r\nAuthorization: DPoP a\r\n\r\n", &f));
    assert_str(f.dpop, "a.b.c");
    assert_ok(check(HEAD "X-A: 1\r\nX-A: 2\r\n\r\n", &f));
    assert_null(f.dpop.p);
    assert_ok(check(HEAD "X-A: a\tb \xff\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check(HEAD "X-A: a\x01\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check(HEAD "X-A: a\rb\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check(HEAD "X-A: a\x7f\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check(HEAD "X A: a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check(HEAD "X-A : a\r\n\r\n", &f));
    assert_fails(ERR_BAD_HTTP, check(HEAD ": a\r\n\r\n", &f));
}

#define BYTES(lit) (lit), sizeof(lit) - 1

static void test_layout_finds_what_was_dropped(void **state)
{
    (void)state;
    struct guard_facts f;
    assert_ok(check_n(BYTES(HEAD "X-A: 1\r\n\r\n"), &f));
    assert_fails(ERR_BAD_HTTP, check_n(BYTES(HEAD "X-A: 1\0002\r\n\r\n"), &f));
    assert_fails(ERR_BAD_HTTP, check_n(BYTES(HEAD "X-A: 1\000\r\n\r\n"), &f));
    assert_fails(ERR_BAD_HTTP, check_n(BYTES(HEAD "X-A: \000\r\nX-B: 2\r\n\r\n"), &f));
    assert_fails(ERR_BAD_HTTP, check_n(BYTES("GET /x\000y HTTP/1.1\r\nHost: a\r\n\r\n"), &f));
    assert_fails(ERR_BAD_HTTP, check_n(BYTES("GET /x HTTP/1.1\nHost: a\r\n\r\n"), &f));
    assert_fails(ERR_BAD_HTTP, check_n(BYTES(HEAD "X-A: 1\nX-B: 2\r\n\r\n"), &f));
    assert_fails(ERR_BAD_HTTP, check_n(BYTES(HEAD "X-A: 1\n\r\n"), &f));
    assert_fails(ERR_BAD_HTTP, check_n(BYTES(HEAD "X-A: 1\r\n\n"), &f));
}

/* A value that was put together elsewhere (a folded line), a line that vanished, and a header that is longer. */
static void test_layout_finds_strangers(void **state)
{
    (void)state;
    static char text[] = HEAD "X-A: 1\r\nX-B: 2\r\n\r\n", target[64];
    struct guard_head h;
    take_apart(text, sizeof text - 1, target, &h);
    assert_ok(guard_layout(&h));
    struct guard_head folded = h;
    folded.fields[1].value = STR("1");
    assert_fails(ERR_BAD_HTTP, guard_layout(&folded));
    struct guard_head gone = h;
    gone.fields[1] = gone.fields[2];
    gone.n = 2;
    assert_fails(ERR_BAD_HTTP, guard_layout(&gone));
    struct guard_head longer = h;
    longer.bytes++;
    assert_fails(ERR_BAD_HTTP, guard_layout(&longer));
}

static void test_sizes(void **state)
{
    (void)state;
    static char text[40000], target[16];
    struct guard_facts f;
    int n = snprintf(text, sizeof text, HEAD "X-A: %0*d\r\n\r\n", MAX - 100, 0);
    assert_ok(check_n(text, (size_t)n, &f));
    n = snprintf(text, sizeof text, HEAD "X-A: %0*d\r\n\r\n", MAX, 0);
    assert_fails(ERR_HEADERS_TOO_LARGE, check_n(text, (size_t)n, &f));
    n = snprintf(text, sizeof text, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", GUARD_TARGET_MAX - 1, 0);
    assert_ok(check_n(text, (size_t)n, &f));
    n = snprintf(text, sizeof text, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", GUARD_TARGET_MAX, 0);
    assert_fails(ERR_URI_TOO_LONG, check_n(text, (size_t)n, &f));
    static char plain[] = HEAD "\r\n";
    struct guard_head h;
    take_apart(plain, sizeof plain - 1, target, &h);
    h.n = GUARD_FIELDS_MAX + 1;
    assert_fails(ERR_HEADERS_TOO_LARGE, guard_head(&h, MAX, &f));
}

static void test_traceparent(void **state)
{
    (void)state;
#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define ZEROS  "00000000000000000000000000000000"
    assert_true(guard_traceparent_ok(STR("00-" TRACE "-" PARENT "-01")));
    assert_true(guard_traceparent_ok(STR("cc-" TRACE "-" PARENT "-01-more")));
    assert_true(guard_traceparent_ok(STR("cc-" TRACE "-" PARENT "-01")));
    assert_false(guard_traceparent_ok(STR("00-" TRACE "-" PARENT "-01-more")));
    assert_false(guard_traceparent_ok(STR("ff-" TRACE "-" PARENT "-01")));
    assert_false(guard_traceparent_ok(STR("00-" ZEROS "-" PARENT "-01")));
    assert_false(guard_traceparent_ok(STR("00-" TRACE "-0000000000000000-01")));
    assert_false(guard_traceparent_ok(STR("00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01")));
    assert_false(guard_traceparent_ok(STR("00-" TRACE "_" PARENT "-01")));
    assert_false(guard_traceparent_ok(STR("00-" TRACE "-" PARENT "-0")));
    assert_false(guard_traceparent_ok(STR("")));
}

static void test_request_ids(void **state)
{
    (void)state;
    assert_true(guard_request_id_ok(STR("Ab.-_019")));
    assert_false(guard_request_id_ok(STR("1234567")));
    assert_false(guard_request_id_ok(STR("12345678\"")));
    assert_false(guard_request_id_ok(STR("1234 5678")));
    assert_false(guard_request_id_ok(STR("0123456789012345678901234567890123456789012345678901234567890123x")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_plain_request_passes),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_request_lines),
        cmocka_unit_test(test_singles_and_values),
        cmocka_unit_test(test_layout_finds_what_was_dropped),
        cmocka_unit_test(test_layout_finds_strangers),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_traceparent),
        cmocka_unit_test(test_request_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
