/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/provider_rules.h"

#include "service/core/domain.h"
#include "service/core/provider_words.h"
#include "service/core/scope.h"

static const char *const auth_names[] = {
    [PROVIDER_OAUTH2] = "oauth2",           [PROVIDER_API_KEY] = "api_key",
    [PROVIDER_BASIC_AUTH] = "basic_auth",   [PROVIDER_HEADER] = "header",
    [PROVIDER_QUERY_PARAM] = "query_param", [PROVIDER_HMAC_PAYLOAD] = "hmac_payload",
    [PROVIDER_AWS_SIGV4] = "aws_sigv4",
};
_Static_assert(COUNT(auth_names) == PROVIDER_AUTH_COUNT, "a name for each");

static const char *const downscope_names[] = {
    [DOWNSCOPE_NONE] = "none", [DOWNSCOPE_REFRESH] = "refresh", [DOWNSCOPE_EXCHANGE] = "exchange"};
_Static_assert(COUNT(downscope_names) == DOWNSCOPE_COUNT, "a name for each");

const char *provider_auth_name(enum provider_auth a)
{
    return auth_names[a];
}

const char *downscope_name(enum downscope d)
{
    return downscope_names[d];
}

/* Which of the names text is; n when none. An empty text is the first. */
static size_t find_name(struct str text, const char *const *names, size_t n)
{
    if (text.n == 0)
        return 0;
    size_t i = 0;
    while (i < n && !str_is(text, names[i]))
        i++;
    return i;
}

struct err provider_auth_parse(struct str text, enum provider_auth *out)
{
    if (str_is(text, "saml"))
        return FAIL(ERR_INVALID_REQUEST, "field \"auth_type\": saml is not served here; if the provider speaks OAuth "
                                         "too, register it as oauth2");
    size_t i = find_name(text, auth_names, COUNT(auth_names));
    if (i == COUNT(auth_names))
        return FAIL(ERR_INVALID_REQUEST, "field \"auth_type\": is none of oauth2, api_key, basic_auth, header, "
                                         "query_param, hmac_payload and aws_sigv4");
    *out = (enum provider_auth)i;
    return OK;
}

struct err downscope_parse(struct str text, enum downscope *out)
{
    size_t i = find_name(text, downscope_names, COUNT(downscope_names));
    if (i == COUNT(downscope_names))
        return FAIL(ERR_INVALID_REQUEST, "field \"downscope\": is none of refresh, exchange and none");
    *out = (enum downscope)i;
    return OK;
}

static struct err check_name(struct str name)
{
    if (name.n > 0 && name.n <= PROVIDER_NAME_MAX && words_hold_only(name, LOWER DIGITS "-"))
        return OK;
    return FAIL(ERR_INVALID_PROVIDER_NAME, "field \"name\": must have 1 to %d lower-case letters, digits and -",
                PROVIDER_NAME_MAX);
}

struct err provider_secret_check(struct str secret)
{
    if (secret.n > PROVIDER_SECRET_MAX)
        return FAIL(ERR_INVALID_REQUEST, "field \"client_secret\": must be at most %d bytes long", PROVIDER_SECRET_MAX);
    if (!words_printable(secret))
        return FAIL(ERR_INVALID_REQUEST, "field \"client_secret\": must be printable ASCII");
    return OK;
}

/* Whether parameters of a URL's query have names that the broker sets by itself, or that hide behind an encoding. */
static struct err check_query(struct str url)
{
    const char *mark = memchr(url.p, '?', url.n);
    if (mark == NULL)
        return OK;
    struct str rest = {mark + 1, url.n - (size_t)(mark + 1 - url.p)};
    while (rest.n > 0) {
        const char *end = memchr(rest.p, '&', rest.n);
        struct str one = {rest.p, end != NULL ? (size_t)(end - rest.p) : rest.n};
        const char *equals = memchr(one.p, '=', one.n);
        struct str name = {one.p, equals != NULL ? (size_t)(equals - one.p) : one.n};
        if (memchr(name.p, '%', name.n) != NULL)
            return FAIL(ERR_INVALID_REQUEST,
                        "field \"auth_url\": a name in its query is percent-encoded; write it out");
        const char *taken = words_reserved(name);
        if (taken != NULL)
            return FAIL(ERR_INVALID_REQUEST, "field \"auth_url\": its query must not hold %s, which the broker sets",
                        taken);
        rest.p += one.n;
        rest.n -= one.n;
        if (rest.n > 0)
            rest = (struct str){rest.p + 1, rest.n - 1};
    }
    return OK;
}

/* Paths are joined to api_base_url, and RFC 8414 section 2 allows an issuer no query. */
static struct err check_urls(const struct provider *p)
{
    const struct {
        const char *name;
        struct str url;
        bool query;
    } urls[] = {{"auth_url", p->auth_url, true},
                {"token_url", p->token_url, true},
                {"issuer", p->issuer, false},
                {"api_base_url", p->api_base_url, false},
                {"user_info_endpoint", p->user_info_endpoint, true}};
    for (size_t i = 0; i < COUNT(urls); i++) {
        if (urls[i].url.n > PROVIDER_URL_MAX)
            return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must be at most %d bytes long", urls[i].name,
                        PROVIDER_URL_MAX);
        if (!urls[i].query && urls[i].url.n > 0 && memchr(urls[i].url.p, '?', urls[i].url.n) != NULL)
            return FAIL(ERR_INVALID_REQUEST, "field \"%s\": must have no query (from ? on)", urls[i].name);
    }
    return p->auth_url.n > 0 ? check_query(p->auth_url) : OK;
}

/* "/users/{account_id}?full=1": braces stand around the name of a credential field, and nowhere else. */
static struct err check_user_info_path(struct str path)
{
    static const char shape[] = "field \"user_info_endpoint\": %s";
    if (!words_visible(path) || words_count(path, "\"#<>\\^`|") > 0)
        return FAIL(ERR_INVALID_REQUEST, shape, "holds a character that must be percent-encoded");
    for (size_t i = 0; i < path.n; i++) {
        if (path.p[i] != '{' && path.p[i] != '}')
            continue;
        const char *close = memchr(path.p + i, '}', path.n - i);
        struct str name = {path.p + i + 1, close != NULL && close > path.p + i ? (size_t)(close - path.p) - i - 1 : 0};
        if (path.p[i] == '}' || !words_is_field(name))
            return FAIL(ERR_INVALID_REQUEST, shape, "in braces stands the name of a credential field, as in {account}");
        i += name.n + 1;
    }
    return OK;
}

static struct err check_texts(const struct provider *p)
{
    if (p->description.n > DESCRIPTION_MAX)
        return FAIL(ERR_INVALID_REQUEST, "field \"description\": must be at most %d bytes long", DESCRIPTION_MAX);
    if (p->category.n > PROVIDER_CATEGORY_MAX)
        return FAIL(ERR_INVALID_REQUEST, "field \"category\": must be at most %d bytes long", PROVIDER_CATEGORY_MAX);
    /* RFC 6749 appendix A.1. */
    if (p->client_id.n > PROVIDER_CLIENT_ID_MAX || !words_printable(p->client_id))
        return FAIL(ERR_INVALID_REQUEST, "field \"client_id\": must be printable ASCII of at most %d bytes",
                    PROVIDER_CLIENT_ID_MAX);
    return OK;
}

/* RFC 6749 section 2.3.1: by header, or in the body. */
static struct err check_client_authentication(struct str how)
{
    static const char *const known[] = {"client_secret_post", "client_secret_basic", "Basic"};
    for (size_t i = 0; i < COUNT(known); i++) {
        if (how.n == 0 || str_is(how, known[i]))
            return OK;
    }
    return FAIL(ERR_INVALID_REQUEST, "field \"auth_header\": is neither client_secret_post nor client_secret_basic, "
                                     "the ways in which an oauth2 client authenticates");
}

static struct err needed(const char *field)
{
    return FAIL(ERR_INVALID_REQUEST, "field \"%s\": is missing: a provider of type oauth2 needs it", field);
}

static struct err check_endpoints(struct provider *p)
{
    static const struct str none = {NULL, 0};
    if (p->enable_discovery) {
        if (p->issuer.n == 0)
            return FAIL(ERR_INVALID_REQUEST,
                        "field \"issuer\": is missing: enable_discovery asks it for the endpoints");
        p->auth_url = p->token_url = none;
        return OK;
    }
    if (p->issuer.n > 0 && p->auth_url.n == 0 && p->token_url.n == 0)
        return FAIL(ERR_INVALID_REQUEST, "field \"auth_url\": is missing, and so is token_url: set enable_discovery to "
                                         "let the issuer tell them");
    if (p->auth_url.n == 0)
        return needed("auth_url");
    return p->token_url.n == 0 ? needed("token_url") : OK;
}

static struct err check_oauth2(bool has_secret, struct provider *p)
{
    TRY(check_client_authentication(p->auth_header));
    if (p->client_id.n == 0)
        return needed("client_id");
    if (!has_secret)
        return needed("client_secret");
    return check_endpoints(p);
}

static struct err check_static(const struct provider *p)
{
    const char *fault = p->auth_header.n > 0 ? words_header_fault(p->auth_header) : NULL;
    return fault == NULL ? OK : FAIL(ERR_INVALID_REQUEST, "field \"auth_header\": %s", fault);
}

struct err provider_check(struct arena *a, bool has_secret, struct provider *p)
{
    TRY(check_name(p->name));
    TRY(check_texts(p));
    TRY(check_urls(p));
    if (provider_user_info_is_path(p))
        TRY(check_user_info_path(p->user_info_endpoint));
    struct err e = scopes_normalise(a, p->scopes, &p->scopes);
    if (e.code == ERR_INVALID_SCOPE)
        return FAIL(ERR_INVALID_SCOPE, "field \"scopes\": %s", e.detail);
    TRY(e);
    return p->auth == PROVIDER_OAUTH2 ? check_oauth2(has_secret, p) : check_static(p);
}
