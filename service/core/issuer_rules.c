/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/issuer_rules.h"

#include "crypto/json_pointer.h"
#include "crypto/jwk.h"
#include "service/core/scope.h"
#include "service/core/user_token.h"

#include <arpa/inet.h>
#include <strings.h>

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

enum { HOST_MAX = 253, PORT_DIGITS = 5, PORT_MAX = 65535 };

static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    }
    return s.n > 0;
}

/* How many of its characters, none of them a NUL, are among these. */
static size_t count_of(struct str s, const char *characters)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] != '\0' && strchr(characters, s.p[i]) != NULL;
    return n;
}

static bool holds_only(struct str s, const char *characters)
{
    return count_of(s, characters) == s.n;
}

static bool is_port(struct str s)
{
    int port = 0;
    if (s.n > PORT_DIGITS || !holds_only(s, DIGITS))
        return false;
    for (size_t i = 0; i < s.n; i++)
        port = port * 10 + (s.p[i] - '0');
    return port >= 1 && port <= PORT_MAX;
}

/* No name's last label begins with a digit, so "127.1" and the like, which some readers take for addresses, are none.
 */
static bool is_name(const char *text)
{
    struct str name = str_of(text);
    const char *dot = strrchr(text, '.');
    char first = dot != NULL ? dot[1] : text[0];
    return holds_only(name, LOWER UPPER DIGITS "-._") && text[0] != '.' && strstr(text, "..") == NULL &&
           first != '\0' && strchr(DIGITS, first) == NULL;
}

/* A name, or an address in its one usual spelling. *loopback: it means this machine. */
static bool is_host(struct str host, bool *loopback)
{
    char text[HOST_MAX + 1];
    bool v6 = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (v6)
        host = (struct str){host.p + 1, host.n - 2};
    if (host.n == 0 || host.n > HOST_MAX)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    struct in6_addr six;
    struct in_addr four;
    if (v6) {
        bool good = inet_pton(AF_INET6, text, &six) == 1;
        *loopback = good && IN6_IS_ADDR_LOOPBACK(&six);
        return good;
    }
    if (inet_pton(AF_INET, text, &four) == 1) {
        *loopback = ntohl(four.s_addr) >> 24 == IN_LOOPBACKNET;
        return true;
    }
    *loopback = strcasecmp(text, "localhost") == 0;
    return is_name(text);
}

/* Splits off a port, if there is one. */
static bool is_authority(struct str s, bool *loopback)
{
    const char *colon = s.n > 0 ? memrchr(s.p, ':', s.n) : NULL;
    const char *bracket = s.n > 0 ? memrchr(s.p, ']', s.n) : NULL;
    if (colon == NULL || (bracket != NULL && bracket > colon))
        return is_host(s, loopback);
    struct str host = {s.p, (size_t)(colon - s.p)};
    return is_host(host, loopback) && is_port((struct str){colon + 1, s.n - host.n - 1});
}

/* What is wrong with a URL; NULL: nothing. */
static const char *url_fault(const struct issuer_site *site, struct str url, bool query_allowed)
{
    bool https = str_starts(url, STR("https://"));
    size_t from = https ? sizeof "https://" - 1 : sizeof "http://" - 1;
    if (!https && !str_starts(url, STR("http://")))
        return "must begin with https://";
    /* RFC 3986 section 2: these do not stand in a URI. */
    if (!is_visible(url) || count_of(url, "\"<>\\^`{|}") > 0)
        return "holds a character that must be percent-encoded";
    if (memchr(url.p, '#', url.n) != NULL)
        return "must have no fragment (from # on)";
    if (!query_allowed && memchr(url.p, '?', url.n) != NULL)
        return "must have no query (from ? on)";
    size_t to = from;
    while (to < url.n && url.p[to] != '/' && url.p[to] != '?')
        to++;
    bool loopback = false;
    if (!is_authority((struct str){url.p + from, to - from}, &loopback))
        return "needs a host, maybe a port, and nothing else before its path";
    if (!https && !site->http_loopback)
        return "must begin with https://";
    if (!https && !loopback)
        return "must begin with https://, other than on localhost or a loopback address";
    return NULL;
}

static struct err check_issuer(const struct issuer_site *site, struct str issuer)
{
    if (issuer.n == 0 || issuer.n > ISSUER_URL_MAX)
        return FAIL(ERR_INVALID_ISSUER, "field \"issuer\": must have 1 to %d bytes", ISSUER_URL_MAX);
    /* Else a session token of ours could come back as a user's token. Tokens' iss is compared byte for byte, too. */
    if (str_eq(issuer, site->own))
        return FAIL(ERR_INVALID_ISSUER, "field \"issuer\": is this broker itself, which vouches for no users");
    const char *fault = url_fault(site, issuer, false);
    return fault == NULL ? OK : FAIL(ERR_INVALID_ISSUER, "field \"issuer\": %s", fault);
}

static struct err check_jwks_uri(const struct issuer_site *site, struct str uri)
{
    if (uri.n > ISSUER_JWKS_URI_MAX)
        return FAIL(ERR_INVALID_REQUEST, "field \"jwks_uri\": must be at most %d bytes long", ISSUER_JWKS_URI_MAX);
    const char *fault = url_fault(site, uri, true);
    return fault == NULL ? OK : FAIL(ERR_INVALID_REQUEST, "field \"jwks_uri\": %s", fault);
}

static struct err check_algorithms(struct str_list l)
{
    for (size_t i = 0; i < l.n; i++) {
        enum jose_alg alg;
        struct err e = jose_alg_parse(l.v[i], &alg);
        if (err_is(&e))
            return FAIL(ERR_INVALID_REQUEST,
                        "field \"algorithms\": item %zu is none of ES256, ES384, PS256, RS256 and EdDSA", i);
        if (str_list_has((struct str_list){l.v, i}, l.v[i]))
            return FAIL(ERR_INVALID_REQUEST, "field \"algorithms\": item %zu stands there twice", i);
    }
    return OK;
}

/* RFC 7515 section 4.1.9: a media type, whose case does not matter. */
static struct err normalise_typ(struct arena *a, struct str *typ)
{
    char *p = arena_alloc(a, typ->n);
    if (p == NULL)
        return FAIL(ERR_NO_MEMORY, "typ");
    for (size_t i = 0; i < typ->n; i++)
        p[i] = typ->p[i] >= 'A' && typ->p[i] <= 'Z' ? (char)(typ->p[i] - 'A' + 'a') : typ->p[i];
    *typ = (struct str){p, typ->n};
    if (typ->n == 0 || typ->n > ISSUER_TYP_MAX || !holds_only(*typ, LOWER DIGITS ".+-"))
        return FAIL(ERR_INVALID_REQUEST, "field \"typ\": must have 1 to %d letters, digits and . + -", ISSUER_TYP_MAX);
    /* RFC 8725 section 3.11: a kind that means something else here. */
    if (user_token_typ_is_taken(*typ))
        return FAIL(ERR_INVALID_REQUEST, "field \"typ\": is that of another kind of token, not of users' tokens");
    return OK;
}

static struct err check_pointers(const struct issuer *i)
{
    const struct {
        const char *name;
        struct str pointer;
    } claims[] = {{"user_id", i->claim_user_id},
                  {"tenant_id", i->claim_tenant_id},
                  {"clearance_level", i->claim_clearance},
                  {"permissions", i->claim_permissions}};
    for (size_t k = 0; k < COUNT(claims); k++) {
        struct str p = claims[k].pointer;
        /* The empty pointer is well formed, but means the token as a whole, which is no claim. */
        if (p.p != NULL && (p.n == 0 || p.n > POINTER_MAX || !json_pointer_ok(p)))
            return FAIL(ERR_INVALID_REQUEST,
                        "field \"claims\": \"%s\" must be a JSON Pointer (RFC 6901) such as /sub, of at most %d bytes",
                        claims[k].name, POINTER_MAX);
    }
    return OK;
}

struct err issuer_check(const struct issuer_site *site, struct arena *a, struct issuer *i)
{
    if (i->issuer.p != NULL)
        TRY(check_issuer(site, i->issuer));
    if (i->jwks_uri.p != NULL)
        TRY(check_jwks_uri(site, i->jwks_uri));
    TRY(check_algorithms(i->algorithms));
    if (i->audience.p != NULL && (i->audience.n > AUDIENCE_MAX || !is_visible(i->audience)))
        return FAIL(ERR_INVALID_REQUEST, "field \"audience\": must have 1 to %d visible ASCII characters",
                    AUDIENCE_MAX);
    if (i->typ.p != NULL)
        TRY(normalise_typ(a, &i->typ));
    return check_pointers(i);
}

struct err scope_name_check(struct arena *a, struct str raw, struct str *out)
{
    struct str_list one;
    struct err e = scopes_normalise(a, (struct str_list){&raw, 1}, &one);
    if (e.code == ERR_INVALID_SCOPE)
        return FAIL(ERR_INVALID_SCOPE, "field \"name\": is empty, longer than %d bytes or not of RFC 6749 section 3.3",
                    SCOPE_MAX);
    TRY(e);
    *out = one.v[0];
    /* Clients take dot segments out of a path (RFC 3986 section 5.2.4), however they are written. */
    if (memchr(out->p, '/', out->n) != NULL || str_is(*out, ".") || str_is(*out, ".."))
        return FAIL(ERR_INVALID_SCOPE,
                    "field \"name\": stands in the path of its endpoint, so it must hold no / and be neither . nor ..");
    return OK;
}
