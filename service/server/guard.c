/* SPDX-License-Identifier: Apache-2.0 */
#include "service/server/guard.h"

#include <stddef.h>
#include <strings.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_caseless(struct str a, const char *b)
{
    return a.n == strlen(b) && strncasecmp(a.p, b, a.n) == 0;
}

/* RFC 9110 section 5.6.2. */
static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_alnum(s.p[i]) && !is_in(s.p[i], "!#$%&'*+-.^_`|~"))
            return false;
    }
    return s.n > 0;
}

/* RFC 9110 section 5.5: CR, LF and NUL are dangerous, other control bytes invalid. A tab is the only one allowed. */
static bool is_field_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* Origin form only (RFC 9112 section 3.2.1), in the characters of RFC 3986. */
static struct err check_target(struct str t)
{
    if (t.n > GUARD_TARGET_MAX)
        return FAIL(ERR_URI_TOO_LONG, "%zu bytes, at most %d", t.n, GUARD_TARGET_MAX);
    if (t.n == 0 || t.p[0] != '/')
        return FAIL(ERR_BAD_HTTP, "the request target is not in origin form");
    for (size_t i = 0; i < t.n; i++) {
        if (!is_alnum(t.p[i]) && !is_in(t.p[i], "-._~:/?@!$&'()*+,;=%[]"))
            return FAIL(ERR_BAD_HTTP, "the request target holds a byte that a URI cannot hold");
    }
    return OK;
}

/* uri-host [ ":" port ] (RFC 9110 section 7.2), without user information. */
static bool is_host(struct str h)
{
    size_t i = 0;
    if (h.n > 0 && h.p[0] == '[') {
        i++;
        while (i < h.n && (is_alnum(h.p[i]) || is_in(h.p[i], ":.")))
            i++;
        if (i < 3 || i == h.n || h.p[i++] != ']')
            return false;
    } else {
        while (i < h.n && (is_alnum(h.p[i]) || is_in(h.p[i], "-._~")))
            i++;
        if (i == 0)
            return false;
    }
    if (i == h.n)
        return true;
    if (h.p[i++] != ':' || i == h.n || h.n - i > 5)
        return false;
    while (i < h.n && is_digit(h.p[i]))
        i++;
    return i == h.n;
}

/* Fields that may stand once at most, since two of them would mean different things to different readers. */
struct single {
    const char *name;
    size_t offset;   /* in struct singles */
    bool may_repeat; /* a list (RFC 9110 section 5.3); we look at the first */
};

struct singles {
    struct str length, coding;
    struct guard_facts facts;
};

#define SINGLE(name, member)                                                                                           \
    {                                                                                                                  \
        name, offsetof(struct singles, member), false                                                                  \
    }
static const struct single single_fields[] = {
    SINGLE("Host", facts.host),
    SINGLE("Content-Length", length),
    SINGLE("Transfer-Encoding", coding),
    SINGLE("Content-Type", facts.content_type),
    {"Accept", offsetof(struct singles, facts.accept), true},
    SINGLE("Authorization", facts.authorization),
    SINGLE("X-API-Key", facts.api_key),
    SINGLE("DPoP", facts.dpop), /* RFC 9449 section 4.3, check 1 (attack D05) */
    SINGLE("If-None-Match", facts.if_none_match),
    SINGLE("X-Request-Id", facts.request_id),
    SINGLE("traceparent", facts.traceparent),
};

static struct err take_single(const struct guard_field *f, struct singles *out)
{
    for (size_t i = 0; i < sizeof single_fields / sizeof single_fields[0]; i++) {
        struct str *slot = (struct str *)(void *)((char *)out + single_fields[i].offset);
        if (!is_caseless(f->name, single_fields[i].name))
            continue;
        if (slot->p != NULL && single_fields[i].may_repeat)
            return OK;
        if (slot->p != NULL)
            return FAIL(ERR_BAD_HTTP, "%s stands twice", single_fields[i].name);
        *slot = str_trim(f->value);
        return OK;
    }
    return OK;
}

static struct err check_fields(const struct guard_head *h, size_t max_bytes, struct singles *out)
{
    if (h->n > GUARD_FIELDS_MAX)
        return FAIL(ERR_HEADERS_TOO_LARGE, "more than %d fields", GUARD_FIELDS_MAX);
    if (h->bytes > max_bytes)
        return FAIL(ERR_HEADERS_TOO_LARGE, "%zu bytes, at most %zu", h->bytes, max_bytes);
    for (size_t i = 0; i < h->n; i++) {
        /* RFC 9112 section 5.1: white space before the colon, which makes the name no token, must be refused. */
        if (!is_token(h->fields[i].name))
            return FAIL(ERR_BAD_HTTP, "a field's name is not a token");
        if (!is_field_value(h->fields[i].value))
            return FAIL(ERR_BAD_HTTP, "a field's value holds a control byte");
        TRY(take_single(&h->fields[i], out));
    }
    return OK;
}

static struct err parse_length(struct str s, uint64_t *out)
{
    enum { DIGITS_MAX = 18 };
    if (s.n == 0 || s.n > DIGITS_MAX)
        return FAIL(ERR_BAD_HTTP, "Content-Length is not a number");
    *out = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]))
            return FAIL(ERR_BAD_HTTP, "Content-Length is not a number");
        *out = *out * 10 + (uint64_t)(s.p[i] - '0');
    }
    return OK;
}

/* RFC 9112 sections 6.1 to 6.3. One framing, in its one spelling: anything else could be read as another length by
 * another reader, and the library waits for ever on a coding that it does not know. */
static struct err check_framing(const struct singles *s, bool http_1_1, struct guard_facts *out)
{
    if (s->length.p != NULL) {
        out->has_length = true;
        TRY(parse_length(s->length, &out->length));
    }
    if (s->coding.p == NULL)
        return OK;
    if (s->length.p != NULL)
        return FAIL(ERR_BAD_HTTP, "Content-Length and Transfer-Encoding exclude each other");
    if (!http_1_1)
        return FAIL(ERR_BAD_HTTP, "HTTP/1.0 has no Transfer-Encoding");
    if (!is_caseless(s->coding, "chunked"))
        return FAIL(ERR_BAD_HTTP, "the only Transfer-Encoding is chunked");
    out->chunked = true;
    return OK;
}

struct err guard_head(const struct guard_head *h, size_t max_bytes, struct guard_facts *out)
{
    struct singles s = {.length = {NULL, 0}};
    bool http_1_1 = str_is(h->version, "HTTP/1.1");
    if (!http_1_1 && !str_is(h->version, "HTTP/1.0"))
        return FAIL(ERR_BAD_HTTP, "the version is neither HTTP/1.1 nor HTTP/1.0");
    if (!is_token(h->method))
        return FAIL(ERR_BAD_HTTP, "the method is not a token");
    TRY(check_target(h->target));
    TRY(check_fields(h, max_bytes, &s));
    *out = s.facts;
    TRY(check_framing(&s, http_1_1, out));
    /* RFC 9112 section 3.2: a request without Host, or with an invalid one, is answered 400. */
    if (out->host.p == NULL ? http_1_1 : !is_host(out->host))
        return FAIL(ERR_BAD_HTTP, "Host is missing or not well formed");
    return OK;
}

/* Whether the bytes from one place to another are exactly n. Addresses, since the library may have copied a part. */
static bool is_gap(const char *from, const char *to, size_t n)
{
    return (uintptr_t)to - (uintptr_t)from == n;
}

struct err guard_layout(const struct guard_head *h)
{
    enum { SPACE = 1, COLON = 1, CRLF = 2 };
    if (!is_gap(h->method.p + h->method.n, h->at, SPACE) || !is_gap(h->at + h->target.n, h->version.p, SPACE))
        return FAIL(ERR_BAD_HTTP, "the request line has stray bytes");
    const char *end = h->version.p + h->version.n;
    for (size_t i = 0; i < h->n && i < GUARD_FIELDS_MAX; i++) {
        const struct guard_field *f = &h->fields[i];
        /* The library skips optional white space before a value, and nothing else. */
        bool joined = (uintptr_t)f->value.p >= (uintptr_t)(f->name.p + f->name.n + COLON) &&
                      (uintptr_t)f->value.p <= (uintptr_t)h->method.p + h->bytes;
        if (!is_gap(end, f->name.p, CRLF) || !joined)
            return FAIL(ERR_BAD_HTTP, "a header line has stray bytes or does not end in CR LF");
        end = f->value.p + f->value.n;
    }
    if (!is_gap(h->method.p, end + CRLF + CRLF, h->bytes))
        return FAIL(ERR_BAD_HTTP, "the header has stray bytes or does not end in CR LF");
    return OK;
}

static bool is_lower_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]) && !(s.p[i] >= 'a' && s.p[i] <= 'f'))
            return false;
    }
    return true;
}

static bool is_zeros(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '0')
            return false;
    }
    return true;
}

bool guard_traceparent_ok(struct str v)
{
    enum { VERSION = 2, TRACE_AT = 3, TRACE = 32, PARENT_AT = 36, PARENT = 16, FLAGS_AT = 53, FLAGS = 2, LENGTH = 55 };
    if (v.n < LENGTH || v.p[VERSION] != '-' || v.p[PARENT_AT - 1] != '-' || v.p[FLAGS_AT - 1] != '-')
        return false;
    struct str version = {v.p, VERSION}, trace = {v.p + TRACE_AT, TRACE}, parent = {v.p + PARENT_AT, PARENT};
    struct str flags = {v.p + FLAGS_AT, FLAGS};
    if (!is_lower_hex(version) || !is_lower_hex(trace) || !is_lower_hex(parent) || !is_lower_hex(flags))
        return false;
    if (str_is(version, "ff") || is_zeros(trace) || is_zeros(parent))
        return false;
    return v.n == LENGTH || (!str_is(version, "00") && v.n <= 2 * LENGTH && v.p[LENGTH] == '-');
}

bool guard_request_id_ok(struct str v)
{
    enum { SHORTEST = 8, LONGEST = 64 };
    for (size_t i = 0; i < v.n; i++) {
        if (!is_alnum(v.p[i]) && !is_in(v.p[i], "._-"))
            return false;
    }
    return v.n >= SHORTEST && v.n <= LONGEST;
}
