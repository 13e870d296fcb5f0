/* SPDX-License-Identifier: Apache-2.0
 * A form is either bound or refused as invalid_request, in a reply of OAuth's form. What was bound is text that JSON
 * can hold, is never empty, and comes out the same when it is sent again in the plainest way. */
#include "service/http/http.h"
#include "tests/fuzz/fuzz.h"

#include <stddef.h>

struct bound {
    struct str scope, assertion;
    struct str_list resource;
};

static const struct json_field table[] = {
    {"scope", BIND_STR, offsetof(struct bound, scope), false, 0, 0, 0},
    {"assertion", BIND_STR, offsetof(struct bound, assertion), false, 0, 0, 0},
    {"resource", BIND_STR_LIST, offsetof(struct bound, resource), false, 0, 0, 0}};
static const char *const repeatable[] = {"resource", NULL};

static struct err bind(struct arena *a, struct str body, struct bound *out)
{
    const struct http_request req = {
        .arena = a, .content_type = STR("application/x-www-form-urlencoded"), .body = body, .oauth = true};
    *out = (struct bound){.scope = {NULL, 0}};
    return http_bind_form(&req, table, COUNT(table), repeatable, out);
}

static void check_text(struct arena *a, struct str s)
{
    struct buf b = buf_in(a, 8 << 20);
    struct json_writer w = json_writer(&b);
    json_put_str(&w, NULL, s);
    FUZZ_OK(buf_status(&b));
    FUZZ_CHECK(s.n > 0);
}

static void put(struct arena *a, struct buf *form, const char *name, struct str value)
{
    if (value.p == NULL)
        return;
    check_text(a, value);
    buf_printf(form, "%s%s=", form->n > 0 ? "&" : "", name);
    for (size_t i = 0; i < value.n; i++)
        buf_printf(form, "%%%02X", (unsigned)(unsigned char)value.p[i]);
}

static void check_sent_again(struct arena *a, const struct bound *b)
{
    struct buf form = buf_in(a, 8 << 20);
    put(a, &form, "scope", b->scope);
    put(a, &form, "assertion", b->assertion);
    for (size_t i = 0; i < b->resource.n; i++)
        put(a, &form, "resource", b->resource.v[i]);
    FUZZ_OK(buf_status(&form));
    struct bound again;
    FUZZ_OK(bind(a, buf_view(&form), &again));
    FUZZ_CHECK(str_eq(b->scope, again.scope) && str_eq(b->assertion, again.assertion));
    FUZZ_CHECK(b->resource.n == again.resource.n);
    for (size_t i = 0; i < b->resource.n; i++)
        FUZZ_CHECK(str_eq(b->resource.v[i], again.resource.v[i]));
}

static void check_refusal(struct arena *a, const struct err *e)
{
    FUZZ_CHECK(e->code == ERR_INVALID_REQUEST);
    const struct http_request req = {.arena = a, .oauth = true};
    struct http_reply reply;
    http_reply_error(&req, e, &reply);
    const struct json *body = NULL;
    FUZZ_OK(json_parse(a, str_bytes(reply.body), &body));
    const struct json *text = json_get(body, "error_description");
    FUZZ_CHECK(reply.status == 400 && text != NULL);
    /* RFC 6749 section 5.2. */
    for (size_t i = 0; i < text->s.n; i++)
        FUZZ_CHECK(text->s.p[i] >= 0x20 && text->s.p[i] < 0x7f && text->s.p[i] != '"' && text->s.p[i] != '\\');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    struct bound b;
    struct err e = bind(a, bytes_str(bytes_of(data, size)), &b);
    if (err_is(&e))
        check_refusal(a, &e);
    else
        check_sent_again(a, &b);
    return 0;
}
