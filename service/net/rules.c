/* SPDX-License-Identifier: Apache-2.0 */
#include "service/net/rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum kind {
    PUBLIC,
    LOOPBACK,
    PRIVATE, /* an operator's own networks */
    SPECIAL, /* nothing that a service lives at, unless allowed_cidrs says so */
    NAT64,   /* an IPv4 address behind a translator */
    NEVER
};

/* The special-purpose address registries of IANA (RFC 6890) and what has joined them since. The first match counts. */
static const struct {
    struct net_range range;
    enum kind kind;
} special[] = {
    {{false, 8, {0}}, NEVER}, /* "this network"; Linux takes 0.0.0.0 for this machine */
    {{false, 8, {10}}, PRIVATE},
    {{false, 10, {100, 64}}, PRIVATE}, /* carrier-grade NAT, RFC 6598 */
    {{false, 8, {127}}, LOOPBACK},
    {{false, 16, {169, 254}}, SPECIAL}, /* link-local: clouds' metadata services */
    {{false, 12, {172, 16}}, PRIVATE},
    {{false, 24, {192, 0, 0}}, SPECIAL},
    {{false, 24, {192, 0, 2}}, SPECIAL},   /* documentation, RFC 5737; two more below */
    {{false, 24, {192, 88, 99}}, SPECIAL}, /* 6to4 relays, RFC 7526 */
    {{false, 16, {192, 168}}, PRIVATE},
    {{false, 15, {198, 18}}, SPECIAL}, /* benchmarking, RFC 2544 */
    {{false, 24, {198, 51, 100}}, SPECIAL},
    {{false, 24, {203, 0, 113}}, SPECIAL},
    {{false, 4, {224}}, NEVER},   /* multicast */
    {{false, 4, {240}}, SPECIAL}, /* reserved, and broadcast */
    {{true, 128, {[15] = 1}}, LOOPBACK},
    {{true, 96, {0, 0x64, 0xff, 0x9b}}, NAT64}, /* RFC 6052 */
    /* ::, and IPv4 in disguise: mapped (::ffff:0:0/96), compatible, and behind local translators (RFC 8215). */
    {{true, 8, {0}}, NEVER},
    {{true, 23, {0x20, 0x01}}, SPECIAL},             /* IETF protocols, Teredo among them, RFC 2928 */
    {{true, 32, {0x20, 0x01, 0x0d, 0xb8}}, SPECIAL}, /* documentation, RFC 3849; one more below */
    {{true, 16, {0x20, 0x02}}, NEVER},               /* 6to4, RFC 3056: the same, and no longer in use */
    {{true, 20, {0x3f, 0xff}}, SPECIAL},             /* RFC 9637 */
    {{true, 7, {0xfc}}, PRIVATE},                    /* unique local, RFC 4193 */
    {{true, 8, {0xff}}, NEVER},                      /* multicast */
    {{true, 3, {0x20}}, PUBLIC},                     /* global unicast, RFC 4291 section 2.4 */
    {{true, 0, {0}}, SPECIAL},                       /* the rest: link-local, site-local, unassigned */
};

static bool within(const struct net_range *r, bool v6, const uint8_t *addr)
{
    if (r->v6 != v6 || memcmp(r->addr, addr, r->bits / 8) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00 >> r->bits % 8);
    return mask == 0 || ((r->addr[r->bits / 8] ^ addr[r->bits / 8]) & mask) == 0;
}

static enum kind kind_of(bool v6, const uint8_t *addr)
{
    for (size_t i = 0; i < COUNT(special); i++) {
        if (within(&special[i].range, v6, addr))
            return special[i].kind;
    }
    return PUBLIC;
}

static bool listed(const struct net_rules *r, bool v6, const uint8_t *addr)
{
    for (size_t i = 0; i < r->n; i++) {
        if (within(&r->allowed[i], v6, addr))
            return true;
    }
    return false;
}

static bool allow(const struct net_rules *r, enum net_reach reach, bool v6, const uint8_t *addr)
{
    switch (kind_of(v6, addr)) {
    case PUBLIC:
        return true;
    case LOOPBACK:
        return r->allow_loopback || reach == NET_OPERATOR;
    case PRIVATE:
        return reach == NET_OPERATOR || listed(r, v6, addr);
    case SPECIAL:
        return listed(r, v6, addr);
    case NAT64: {
        /* The translator's prefix may be listed; what lies behind it must then be allowed by itself. */
        const uint8_t *v4 = addr + 12;
        return listed(r, true, addr) && kind_of(false, v4) != LOOPBACK && allow(r, reach, false, v4);
    }
    case NEVER:
        break;
    }
    return false;
}

bool net_rules_allow(const struct net_rules *r, enum net_reach reach, bool https, const struct sockaddr *sa)
{
    uint8_t addr[16];
    bool v6 = sa->sa_family == AF_INET6;
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        memcpy(addr, &in.sin_addr, 4);
    } else if (v6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        memcpy(addr, &in6.sin6_addr, 16);
        /* A zone (RFC 4007) means an address that is not global. */
        if (in6.sin6_scope_id != 0)
            return false;
    } else {
        return false;
    }
    return (https || kind_of(v6, addr) == LOOPBACK) && allow(r, reach, v6, addr);
}

bool net_address(const char *text, struct sockaddr_storage *out)
{
    *out = (struct sockaddr_storage){0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        memcpy(out, &in, sizeof in);
    else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        memcpy(out, &in6, sizeof in6);
    else
        return false;
    return true;
}

/* Digits that stand for at most max; -1: none. */
static int parse_bits(struct str s, int max)
{
    int bits = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || bits > max)
            return -1;
        bits = bits * 10 + (s.p[i] - '0');
    }
    return s.n > 0 && bits <= max ? bits : -1;
}

static bool parse_range(struct str s, struct net_range *out)
{
    const char *slash = s.n > 0 ? memchr(s.p, '/', s.n) : NULL;
    size_t n = slash != NULL ? (size_t)(slash - s.p) : 0;
    char text[INET6_ADDRSTRLEN];
    if (n == 0 || n >= sizeof text)
        return false;
    memcpy(text, s.p, n);
    text[n] = '\0';
    *out = (struct net_range){.v6 = memchr(text, ':', n) != NULL};
    int bits = parse_bits((struct str){slash + 1, s.n - n - 1}, out->v6 ? 128 : 32);
    if (bits < 0 || inet_pton(out->v6 ? AF_INET6 : AF_INET, text, out->addr) != 1)
        return false;
    out->bits = (uint8_t)bits;
    return true;
}

/* Bits behind the prefix mean that something else was meant. */
static bool ends_at_prefix(const struct net_range *r)
{
    for (size_t bit = r->bits; bit < 128; bit++) {
        if ((r->addr[bit / 8] & (0x80 >> bit % 8)) != 0)
            return false;
    }
    return true;
}

/* Wider than any network that one organisation has: with 0.0.0.0/0, nothing would be guarded any more. */
static bool too_wide(const struct net_range *r)
{
    return r->bits < (r->v6 ? 7 : 8);
}

static struct err add_range(struct str entry, struct net_rules *r)
{
    struct net_range range;
    if (!parse_range(entry, &range))
        return FAIL(ERR_CONFIG, "ALLOWED_CIDRS: \"%.*s\" is none; write it as 10.1.0.0/16 or fd00::/8", STR_FMT(entry));
    if (!ends_at_prefix(&range))
        return FAIL(ERR_CONFIG, "ALLOWED_CIDRS: \"%.*s\" has bits behind its prefix; a single host is /%d",
                    STR_FMT(entry), range.v6 ? 128 : 32);
    if (too_wide(&range))
        return FAIL(ERR_CONFIG, "ALLOWED_CIDRS: \"%.*s\" is too wide; at most /8, for IPv6 /7", STR_FMT(entry));
    enum kind kind = kind_of(range.v6, range.addr);
    if (kind == NEVER || kind == LOOPBACK)
        return FAIL(ERR_CONFIG, "ALLOWED_CIDRS: \"%.*s\" holds addresses that no list can allow; take it out",
                    STR_FMT(entry));
    if (r->n == NET_RANGES_MAX)
        return FAIL(ERR_CONFIG, "ALLOWED_CIDRS: more than %d, from \"%.*s\" on; join some", NET_RANGES_MAX,
                    STR_FMT(entry));
    r->allowed[r->n++] = range;
    return OK;
}

struct err net_rules_init(const struct net_options *o, struct net_rules *out)
{
    *out = (struct net_rules){.allow_loopback = o->allow_loopback};
    struct str rest = o->allowed_cidrs;
    while (rest.n > 0) {
        const char *comma = memchr(rest.p, ',', rest.n);
        size_t n = comma != NULL ? (size_t)(comma - rest.p) : rest.n;
        TRY(add_range(str_trim((struct str){rest.p, n}), out));
        if (comma == NULL)
            break;
        rest = (struct str){comma + 1, rest.n - n - 1};
    }
    return OK;
}
