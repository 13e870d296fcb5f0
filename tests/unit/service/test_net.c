/* SPDX-License-Identifier: Apache-2.0
 * Outbound calls against a real server that misbehaves (net_server.py), with names of the test's own. */
#include "service/net/net.h"

#include "tests/unit/base/check.h"
#include "tests/unit/service/test_net_support.h"

#include "base/clock.h"
#include "service/net/internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A public address, of which the stand-in for connect makes loopback. */
#define PUBLIC "93.184.216.34"

enum { BODY_MAX = 65536, LONG_MS = 60000, SHORT_MS = 300 };

struct world {
    struct server server;
    struct arena *arena;
    struct net *loose;  /* loopback by switch, trusts the test's authority */
    struct net *strict; /* trusts the test's authority */
};

static struct net *net_of(bool allow_loopback, const char *cidrs, const char *ca_file)
{
    const struct net_options o = {
        .allow_loopback = allow_loopback, .allowed_cidrs = str_of(cidrs), .ca_file = str_of(ca_file)};
    struct net *n = NULL;
    assert_ok(net_new(&o, &n));
    return n;
}

static int setup(void **state)
{
    static struct world w;
    *state = &w;
    if (!server_start(&w.server))
        return -1;
    /* Read when libcurl starts: the system's settings shall not be what refuses old TLS. */
    (void)setenv("OPENSSL_CONF", w.server.lax_cnf, 1);
    (void)setenv("SSLKEYLOGFILE", w.server.key_log, 1);
    name_set("public.test", PUBLIC);
    name_set("localhost", "127.0.0.1");
    assert_ok(net_global());
    assert_ok(arena_new(1 << 22, &w.arena));
    w.loose = net_of(true, "", w.server.ca_file);
    w.strict = net_of(false, "", w.server.ca_file);
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    net_free(&w->loose);
    net_free(&w->strict);
    arena_free(&w->arena);
    server_stop(&w->server);
    return 0;
}

static int each(void **state)
{
    struct world *w = *state;
    arena_reset(w->arena);
    seen_reset();
    return 0;
}

static struct str url_of(struct world *w, const char *scheme_and_host, int port, const char *path)
{
    struct str url = arena_printf(w->arena, "%s:%d%s", scheme_and_host, port, path);
    assert_non_null(url.p);
    return url;
}

static struct net_request get_of(enum net_reach reach, struct str url, int ms)
{
    return (struct net_request){.reach = reach,
                                .method = NET_GET,
                                .url = url,
                                .body_max = BODY_MAX,
                                .deadline_us = clock_mono_us() + (int64_t)ms * 1000};
}

static struct err get(struct world *w, struct net *n, struct str url, struct net_reply *out)
{
    const struct net_request q = get_of(NET_GUARDED, url, LONG_MS);
    *out = (struct net_reply){0};
    return net_call(n, &q, w->arena, out);
}

/* A page of the plain server, over loopback by switch. */
static struct err page(struct world *w, const char *path, struct net_reply *out)
{
    return get(w, w->loose, url_of(w, "http://127.0.0.1", w->server.http, path), out);
}

static bool has(struct bytes text, const char *part)
{
    return memmem(text.p, text.n, part, strlen(part)) != NULL;
}

static void test_a_reply(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    assert_ok(page(w, "/ok", &r));
    assert_int_equal(200, r.status);
    assert_str(r.content_type, "text/plain");
    assert_str(bytes_str(r.body), "fine");
    assert_ok(page(w, "/none?x=1", &r));
    assert_int_equal(404, r.status);
    assert_int_equal(0, r.body.n);
    assert_str(r.content_type, "");
    assert_ok(page(w, "/empty", &r));
    assert_int_equal(204, r.status);
}

static void test_what_a_get_sends(void **state)
{
    struct world *w = *state;
    struct str url = url_of(w, "http://127.0.0.1", w->server.http, "/up/../echo?a=%2F&b=/../c");
    struct net_request q = get_of(NET_GUARDED, url, LONG_MS);
    q.accept = "application/json";
    struct net_reply r;
    assert_ok(net_call(w->loose, &q, w->arena, &r));
    assert_true(has(r.body, "GET /up/../echo?a=%2F&b=/../c HTTP/1.1\r\n"));
    assert_true(has(r.body, "\r\nUser-Agent: nexus-broker\r\n"));
    assert_true(has(r.body, "\r\nAccept: application/json\r\n"));
    static const char *const never[] = {"Authorization", "Cookie",  "Accept-Encoding", "Expect",
                                        "Content-",      "Referer", "Upgrade"};
    for (size_t i = 0; i < COUNT(never); i++) {
        if (has(r.body, never[i]))
            fail_msg("%s was sent", never[i]);
    }
}

static void test_what_a_post_sends(void **state)
{
    struct world *w = *state;
    static const char body[] = "{\"token\":\"a\\u0000b\"}\r\n\0more";
    struct net_request q = get_of(NET_OPERATOR, url_of(w, "http://localhost", w->server.http, "/echo"), LONG_MS);
    q.method = NET_POST;
    q.body = (struct str){body, sizeof body - 1};
    q.content_type = "application/json";
    q.authorization = STR("Bearer abc.def.ghi");
    struct net_reply r;
    assert_ok(net_call(w->strict, &q, w->arena, &r));
    assert_true(has(r.body, "POST /echo HTTP/1.1\r\n"));
    assert_true(has(r.body, "\r\nContent-Type: application/json\r\n"));
    assert_true(has(r.body, "\r\nAuthorization: Bearer abc.def.ghi\r\n"));
    assert_true(r.body.n > sizeof body - 1);
    assert_memory_equal(r.body.p + r.body.n - (sizeof body - 1), body, sizeof body - 1);
    /* The next call on the same handle knows nothing of it. */
    assert_ok(page(w, "/echo", &r));
    assert_true(has(r.body, "GET /echo HTTP/1.1\r\n"));
    assert_false(has(r.body, "Bearer"));
}

static void test_large_and_empty_posts(void **state)
{
    struct world *w = *state;
    struct net_request q = get_of(NET_GUARDED, url_of(w, "http://127.0.0.1", w->server.http, "/echo"), LONG_MS);
    q.method = NET_POST;
    q.content_type = "application/json";
    struct net_reply r;
    assert_ok(net_call(w->loose, &q, w->arena, &r));
    assert_true(has(r.body, "\r\nContent-Length: 0\r\n"));
    char *large = arena_alloc(w->arena, 60000);
    memset(large, 'x', 60000);
    q.body = (struct str){large, 60000};
    assert_ok(net_call(w->loose, &q, w->arena, &r));
    assert_true(r.body.n > 60000);
    assert_memory_equal(r.body.p + r.body.n - 60000, large, 60000);
}

static void test_nonsense_of_our_own(void **state)
{
    struct world *w = *state;
    struct str url = url_of(w, "http://127.0.0.1", w->server.http, "/ok");
    struct net_request q = get_of(NET_GUARDED, url, LONG_MS);
    struct net_reply r;
    q.authorization = STR("Bearer a\r\nX-Other: b");
    assert_fails(ERR_INTERNAL, net_call(w->loose, &q, w->arena, &r));
    q.authorization = STR("");
    q.body = STR("x");
    assert_fails(ERR_INTERNAL, net_call(w->loose, &q, w->arena, &r));
    assert_int_equal(0, seen_connects());
}

/* Each is a way to say an address that is not public (attack catalogue S01). */
static const char *const inner[] = {
    "127.0.0.1",
    "localhost",
    "LocalHost",
    "0.0.0.0",
    "0",
    "127.1",
    "127.0.1",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "127.0.0.1.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "10.0.0.1",
    "10.1",
    "172.16.0.1",
    "192.168.0.1",
    "192.168.1",
    "100.64.0.1",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fc00::1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::808:808]",
    "[2002:7f00:1::]",
    "[2001::1]",
    "[2001:db8::1]",
    "[ff02::1]",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "255.255.255.255",
    "loop.test",
    "inner.test",
    "inner6.test",
    "metadata.test",
    "mapped.test",
    "translated.test",
    "public-then-inner.test",
    "inner-then-public.test",
    "public-then-inner6.test",
};

static void test_inner_addresses_are_refused(void **state)
{
    struct world *w = *state;
    name_set("loop.test", "127.0.0.1");
    name_set("inner.test", "192.168.1.1");
    name_set("inner6.test", "fd00::1");
    name_set("metadata.test", "169.254.169.254");
    name_set("mapped.test", "::ffff:127.0.0.1");
    name_set("translated.test", "64:ff9b::7f00:1");
    name_set("public-then-inner.test", PUBLIC ",10.0.0.1");
    name_set("inner-then-public.test", "10.0.0.1," PUBLIC);
    name_set("public-then-inner6.test", PUBLIC ",2606:4700::1111,::1");
    for (size_t i = 0; i < COUNT(inner); i++) {
        for (int tls = 0; tls < 2; tls++) {
            struct str url = arena_printf(w->arena, "http%s://%s:%d/ok", tls ? "s" : "", inner[i],
                                          tls ? w->server.https : w->server.http);
            struct net_reply r;
            struct err e = get(w, w->strict, url, &r);
            if (e.code != ERR_NET_REFUSED || seen_connects() != 0)
                fail_msg("%s: %s (%s), %d connections", url.p, err_name(e.code), e.detail, seen_connects());
        }
    }
}

static void test_public_addresses_are_reached(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    assert_ok(get(w, w->strict, url_of(w, "https://public.test", w->server.https, "/ok"), &r));
    assert_str(bytes_str(r.body), "fine");
    struct str to = arena_printf(w->arena, PUBLIC " %d", w->server.https);
    assert_string_equal(to.p, seen_address());
    assert_int_equal(1, seen_lookups());
    seen_reset();
    /* Upper case, and more than one address: the first that answers is taken. */
    name_set("PUBLIC.test", "2606:4700::1111,2606:4700::1112," PUBLIC);
    assert_ok(get(w, w->strict, url_of(w, "https://PUBLIC.TEST", w->server.https, "/ok"), &r));
    assert_str(bytes_str(r.body), "fine");
    assert_int_equal(1, seen_lookups());
    assert_true(seen_connects() > 1);
    name_set("public.test", PUBLIC);
}

/* Plain http goes to loopback only, whatever a name resolves to at the moment of the call. */
static void test_plain_http_stays_here(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    assert_fails(ERR_NET_REFUSED, get(w, w->loose, url_of(w, "http://public.test", w->server.http, "/ok"), &r));
    name_set("localhost", PUBLIC);
    struct net_request q = get_of(NET_OPERATOR, url_of(w, "http://localhost", w->server.http, "/ok"), LONG_MS);
    struct err e = net_call(w->strict, &q, w->arena, &r);
    name_set("localhost", "127.0.0.1");
    assert_int_equal(ERR_NET_REFUSED, e.code);
    assert_int_equal(0, seen_connects());
}

/* Rebinding (S03): the name is asked for once in a call, and each call judges anew. */
static void test_a_name_that_changes(void **state)
{
    struct world *w = *state;
    struct str url = url_of(w, "https://public.test", w->server.https, "/ok");
    struct net_reply r;
    assert_ok(get(w, w->strict, url, &r));
    assert_int_equal(1, seen_lookups());
    assert_int_equal(1, seen_connects());
    name_set("public.test", "127.0.0.1");
    struct err e = get(w, w->strict, url, &r);
    name_set("public.test", PUBLIC);
    assert_int_equal(ERR_NET_REFUSED, e.code);
    assert_int_equal(1, seen_connects());
    assert_ok(get(w, w->strict, url, &r));
    name_set("public.test", "93.184.216.35");
    e = get(w, w->strict, url, &r);
    name_set("public.test", PUBLIC);
    assert_ok(e);
    assert_memory_equal("93.184.216.35 ", seen_address(), 14);
}

/* What libcurl is about to connect to is judged, whatever was judged before. */
static void test_the_last_check(void **state)
{
    struct world *w = *state;
    const struct net_request q = get_of(NET_GUARDED, url_of(w, "https://public.test", w->server.https, "/ok"), LONG_MS);
    static const char *const addresses[] = {"10.0.0.1", "127.0.0.1", "[::1]", "10.0.0.1,93.184.216.34"};
    for (size_t i = 0; i < COUNT(addresses); i++) {
        CLEANUP(net_url_wipe) struct net_url u = {0};
        assert_ok(net_url_parse(&w->strict->rules, q.reach, q.url, &u));
        char pin[128];
        (void)snprintf(pin, sizeof pin, "+public.test:%d:%s", w->server.https, addresses[i]);
        struct net_reply r;
        assert_fails(ERR_NET_REFUSED, net_transfer(w->strict, &q, &u, pin, w->arena, &r));
        assert_int_equal(0, seen_connects());
    }
}

static void test_who_may_reach_what(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    struct str here = url_of(w, "http://127.0.0.1", w->server.http, "/ok");
    struct str name = url_of(w, "http://localhost", w->server.http, "/ok");
    struct net_request q = get_of(NET_OPERATOR, here, LONG_MS);
    assert_ok(net_call(w->strict, &q, w->arena, &r));
    q.url = name;
    assert_ok(net_call(w->strict, &q, w->arena, &r));
    assert_ok(get(w, w->loose, here, &r));
    assert_ok(get(w, w->loose, name, &r));
    assert_int_equal(4, seen_connects());

    struct str corp = url_of(w, "https://public.test", w->server.https, "/ok");
    name_set("public.test", "10.1.2.3");
    CLEANUP(net_free) struct net *listed = net_of(false, "10.1.0.0/16", w->server.ca_file);
    CLEANUP(net_free) struct net *other = net_of(false, "10.2.0.0/16", w->server.ca_file);
    q = get_of(NET_OPERATOR, corp, LONG_MS);
    struct err by_list = get(w, listed, corp, &r), by_other = get(w, other, corp, &r),
               by_operator = net_call(w->strict, &q, w->arena, &r);
    name_set("public.test", PUBLIC);
    assert_ok(by_list);
    assert_int_equal(ERR_NET_REFUSED, by_other.code);
    assert_ok(by_operator);
    q.url = url_of(w, "http://169.254.169.254", w->server.http, "/ok");
    assert_fails(ERR_NET_REFUSED, net_call(w->strict, &q, w->arena, &r));
}

static void test_redirects_are_replies(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    assert_ok(page(w, "/redirect", &r));
    assert_int_equal(302, r.status);
    assert_ok(page(w, "/redirect-away", &r));
    assert_int_equal(307, r.status);
    assert_ok(page(w, "/login", &r));
    assert_int_equal(401, r.status);
    assert_int_equal(3, seen_connects());
}

static void test_no_cookies_and_no_reuse(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    assert_ok(page(w, "/cookie", &r));
    assert_ok(page(w, "/echo", &r));
    assert_false(has(r.body, "taste"));
    assert_int_equal(2, seen_connects());
}

static void test_replies_without_end(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *path, *text;
    } cases[] = {
        {"/big-length", "too large"},      {"/big-stream", "too large"},     {"/endless-chunks", "too large"},
        {"/large-header", "header of"},    {"/endless-header", "header of"}, {"/endless-interim", "header of"},
        {"/endless-trailer", "header of"}, {"/says-more", "ends too early"}, {"/cut-chunks", "ends too early"},
        {"/nothing", "no reply"},          {"/no-http", "no HTTP"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct net_reply r;
        struct err e = page(w, cases[i].path, &r);
        if (e.code != ERR_NET || strstr(e.detail, cases[i].text) == NULL || strstr(e.detail, "127.0.0.1") == NULL)
            fail_msg("%s: %s (%s)", cases[i].path, err_name(e.code), e.detail);
        assert_null(strstr(e.detail, cases[i].path));
        assert_null(r.body.p);
    }
    /* All that, and what was kept of it is bounded: the bodies by body_max, each with its halves while it grew. */
    assert_true(arena_used(w->arena) < COUNT(cases) * 3 * BODY_MAX);
}

static void test_sizes_to_the_byte(void **state)
{
    struct world *w = *state;
    struct net_request q = get_of(NET_GUARDED, url_of(w, "http://127.0.0.1", w->server.http, "/ok"), LONG_MS);
    struct net_reply r;
    q.body_max = 4;
    assert_ok(net_call(w->loose, &q, w->arena, &r));
    assert_str(bytes_str(r.body), "fine");
    q.body_max = 3;
    assert_fails_with(ERR_NET, "too large", net_call(w->loose, &q, w->arena, &r));
    /* What a reply sends beyond its own length is not part of it. */
    assert_ok(page(w, "/says-less", &r));
    assert_str(bytes_str(r.body), "01234");
}

static void test_nothing_is_unpacked(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    static const char *const packed[] = {"/gzip", "/gzip-bomb"};
    for (size_t i = 0; i < COUNT(packed); i++) {
        assert_ok(page(w, packed[i], &r));
        assert_true(r.body.n > 2 && r.body.n < 20000);
        assert_memory_equal("\x1f\x8b", r.body.p, 2);
    }
}

static void test_servers_that_hang(void **state)
{
    struct world *w = *state;
    const struct str urls[] = {
        url_of(w, "http://127.0.0.1", w->server.http, "/hang"), url_of(w, "http://127.0.0.1", w->server.http, "/half"),
        url_of(w, "http://127.0.0.1", w->server.mute, "/"), url_of(w, "https://127.0.0.1", w->server.mute, "/")};
    for (size_t i = 0; i < COUNT(urls); i++) {
        const struct net_request q = get_of(NET_GUARDED, urls[i], SHORT_MS);
        struct net_reply r;
        assert_fails_with(ERR_NET, "timed out", net_call(w->loose, &q, w->arena, &r));
    }
    seen_reset();
    struct net_request late = get_of(NET_GUARDED, urls[0], 0);
    struct net_reply r;
    assert_fails_with(ERR_NET, "timed out", net_call(w->loose, &late, w->arena, &r));
    assert_int_equal(0, seen_connects());
}

static void test_nobody_there(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    name_set("none.test", NULL);
    assert_fails_with(ERR_NET, "none.test", get(w, w->strict, STR("https://none.test/?code=hunter2"), &r));
    struct err e = get(w, w->loose, STR("http://127.0.0.1:1/?code=hunter2"), &r);
    assert_int_equal(ERR_NET, e.code);
    assert_non_null(strstr(e.detail, "no connection"));
    assert_null(strstr(e.detail, "hunter2"));
}

static void test_certificates(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    CLEANUP(net_free) struct net *stranger = net_of(true, "", w->server.stranger_file);
    CLEANUP(net_free) struct net *system = net_of(true, "", "");
    struct str good = url_of(w, "https://localhost", w->server.https, "/ok");
    assert_ok(get(w, w->loose, good, &r));
    assert_ok(get(w, w->loose, url_of(w, "https://127.0.0.1", w->server.https, "/ok"), &r));
    assert_fails_with(ERR_NET, "certificate", get(w, stranger, good, &r));
    assert_fails_with(ERR_NET, "certificate", get(w, system, good, &r));
    assert_fails_with(ERR_NET, "certificate",
                      get(w, w->loose, url_of(w, "https://localhost", w->server.wrong_name, "/ok"), &r));
    assert_fails_with(ERR_NET, "TLS", get(w, w->loose, url_of(w, "https://localhost", w->server.old_tls, "/ok"), &r));
    assert_fails_with(ERR_NET, "TLS", get(w, w->loose, url_of(w, "https://localhost", w->server.http, "/ok"), &r));
    /* Trust is not carried from one call to the next. */
    assert_ok(get(w, w->loose, good, &r));
    assert_fails(ERR_NET, get(w, stranger, good, &r));
}

static void test_options(void **state)
{
    (void)state;
    struct net *n = NULL;
    assert_fails_with(ERR_CONFIG, "10.0.0/8", net_new(&(struct net_options){.allowed_cidrs = STR("10.0.0/8")}, &n));
    assert_fails_with(ERR_CONFIG, "/nowhere/ca.pem",
                      net_new(&(struct net_options){.ca_file = STR("/nowhere/ca.pem")}, &n));
    assert_null(n);
}

static void test_the_environment_is_ignored(void **state)
{
    struct world *w = *state;
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < COUNT(names); i++)
        (void)setenv(names[i], "http://127.0.0.1:1", 1);
    (void)setenv("no_proxy", "", 1);
    struct net_reply r;
    struct err plain = page(w, "/ok", &r);
    struct err tls = get(w, w->strict, url_of(w, "https://public.test", w->server.https, "/ok"), &r);
    for (size_t i = 0; i < COUNT(names); i++)
        (void)unsetenv(names[i]);
    assert_ok(plain);
    assert_ok(tls);
    assert_int_equal(2, seen_connects());
    assert_int_equal(-1, access(w->server.key_log, F_OK));
}

/* A name service that never answers costs a call its time, not more, and other names are still served. */
static void test_lookups_that_hang(void **state)
{
    struct world *w = *state;
    struct net_reply r;
    CLEANUP(net_free) struct net *n = net_of(false, "", w->server.ca_file);
    struct str good = url_of(w, "https://public.test", w->server.https, "/ok");
    for (int i = 0; i < LOOKUPS_LEFT_MAX; i++) {
        assert_ok(get(w, n, good, &r));
        const struct net_request q = get_of(NET_GUARDED, STR("https://hang.test/"), SHORT_MS);
        assert_fails_with(ERR_NET, "timed out", net_call(n, &q, w->arena, &r));
    }
    assert_fails_with(ERR_NET, "hang", get(w, n, good, &r));
    assert_ok(get(w, w->strict, good, &r));
    names_release();
    struct err e = get(w, n, good, &r);
    for (int64_t end = clock_mono_us() + (int64_t)LONG_MS * 1000; err_is(&e) && clock_mono_us() < end;) {
        (void)sched_yield();
        e = get(w, n, good, &r);
    }
    assert_ok(e);
}

static void test_an_arena_too_small(void **state)
{
    struct world *w = *state;
    CLEANUP(arena_free) struct arena *small = NULL;
    assert_ok(arena_new(4096, &small));
    struct net_request q = get_of(NET_GUARDED, url_of(w, "http://127.0.0.1", w->server.http, "/big-length"), LONG_MS);
    q.body_max = 16 << 20;
    struct net_reply r;
    assert_fails(ERR_NO_MEMORY, net_call(w->loose, &q, small, &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_reply, each),
        cmocka_unit_test_setup(test_what_a_get_sends, each),
        cmocka_unit_test_setup(test_what_a_post_sends, each),
        cmocka_unit_test_setup(test_large_and_empty_posts, each),
        cmocka_unit_test_setup(test_nonsense_of_our_own, each),
        cmocka_unit_test_setup(test_inner_addresses_are_refused, each),
        cmocka_unit_test_setup(test_public_addresses_are_reached, each),
        cmocka_unit_test_setup(test_plain_http_stays_here, each),
        cmocka_unit_test_setup(test_a_name_that_changes, each),
        cmocka_unit_test_setup(test_the_last_check, each),
        cmocka_unit_test_setup(test_who_may_reach_what, each),
        cmocka_unit_test_setup(test_redirects_are_replies, each),
        cmocka_unit_test_setup(test_no_cookies_and_no_reuse, each),
        cmocka_unit_test_setup(test_replies_without_end, each),
        cmocka_unit_test_setup(test_sizes_to_the_byte, each),
        cmocka_unit_test_setup(test_nothing_is_unpacked, each),
        cmocka_unit_test_setup(test_servers_that_hang, each),
        cmocka_unit_test_setup(test_nobody_there, each),
        cmocka_unit_test_setup(test_certificates, each),
        cmocka_unit_test_setup(test_options, each),
        cmocka_unit_test_setup(test_the_environment_is_ignored, each),
        cmocka_unit_test_setup(test_lookups_that_hang, each),
        cmocka_unit_test_setup(test_an_arena_too_small, each),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
