/* SPDX-License-Identifier: Apache-2.0 */
#include "service/net/internal.h"

#include <strings.h>

enum { URL_MAX = 2048, PORT_MAX = 65535 };

static bool starts_as(struct str s, struct str scheme)
{
    return s.n >= scheme.n && strncasecmp(s.p, scheme.p, scheme.n) == 0;
}

/* Printable ASCII without what RFC 3986 section 2 leaves out of URLs. A name in another script is written as its
 * A-label (RFC 5890), so that it cannot look like another one. */
static bool plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\"<>\\^`{|}", s.p[i]) != NULL)
            return false;
    }
    return true;
}

/* The authority may hold a host and a port alone: no user, no percent-encoded host, no zone of an IPv6 address. */
static bool plain_authority(struct str s)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]";
    for (size_t i = 0; i < s.n; i++) {
        if (strchr(allowed, s.p[i]) == NULL)
            return false;
    }
    return s.n > 0 && s.p[0] != ':' && s.p[s.n - 1] != ':';
}

static struct err check_text(struct str text, bool *https)
{
    static const struct str tls = {"https://", 8}, clear = {"http://", 7};
    if (text.n == 0 || text.n > URL_MAX)
        return FAIL(ERR_NET_REFUSED, "a URL has 1 to %d bytes", URL_MAX);
    *https = starts_as(text, tls);
    if (!*https && !starts_as(text, clear))
        return FAIL(ERR_NET_REFUSED, "a URL begins with https://");
    if (!plain(text))
        return FAIL(ERR_NET_REFUSED,
                    "the URL holds a character that must be percent-encoded, or in its host written as an A-label");
    if (memchr(text.p, '#', text.n) != NULL)
        return FAIL(ERR_NET_REFUSED, "the URL has a fragment (from # on); leave it out");
    size_t at = *https ? tls.n : clear.n, end = at;
    while (end < text.n && text.p[end] != '/' && text.p[end] != '?')
        end++;
    if (!plain_authority((struct str){text.p + at, end - at}))
        return FAIL(ERR_NET_REFUSED,
                    "the URL needs a host, maybe a port, and nothing else (no user, no %%) before its path");
    return OK;
}

static bool good_port(const char *port)
{
    long value = 0;
    for (const char *p = port; *p != '\0' && value <= PORT_MAX; p++)
        value = value * 10 + (*p - '0');
    return value >= 1 && value <= PORT_MAX;
}

static struct err take_parts(const char *text, struct net_url *out)
{
    out->u = curl_url();
    if (out->u == NULL)
        return FAIL(ERR_NO_MEMORY, "URL");
    if (curl_url_set(out->u, CURLUPART_URL, text, CURLU_DISALLOW_USER | CURLU_PATH_AS_IS) != CURLUE_OK ||
        curl_url_get(out->u, CURLUPART_HOST, &out->host, 0) != CURLUE_OK ||
        curl_url_get(out->u, CURLUPART_PORT, &out->port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return FAIL(ERR_NET_REFUSED, "the URL is malformed (form: https://host/path)");
    size_t n = strlen(out->host);
    if (out->host[0] == '[' && n > 2) {
        memmove(out->host, out->host + 1, n - 2);
        out->host[n - 2] = '\0';
    }
    if (n == 0 || n > LOOKUP_HOST_MAX || out->host[n - 1] == '.')
        return FAIL(ERR_NET_REFUSED, "the URL's host has 1 to %d characters and no dot at its end", LOOKUP_HOST_MAX);
    return good_port(out->port) ? OK : FAIL(ERR_NET_REFUSED, "the URL's port is not between 1 and %d", PORT_MAX);
}

/* Addresses are judged now, names when they are looked up; for plain http, the name itself must say loopback. */
static struct err check_host(const struct net_rules *r, enum net_reach reach, struct net_url *u)
{
    struct sockaddr_storage address;
    u->is_name = !net_address(u->host, &address);
    bool loopback_spoken = r->allow_loopback || reach == NET_OPERATOR;
    if (!u->https && (!loopback_spoken || (u->is_name && strcasecmp(u->host, "localhost") != 0)))
        return FAIL(ERR_NET_REFUSED, "a URL begins with https://%s",
                    loopback_spoken ? ", other than to localhost or a loopback address" : "");
    if (!u->is_name && !net_rules_allow(r, reach, u->https, (const struct sockaddr *)&address))
        return FAIL(ERR_NET_REFUSED, "the URL leads to an address that may not be reached from here");
    return OK;
}

struct err net_url_parse(const struct net_rules *r, enum net_reach reach, struct str text, struct net_url *out)
{
    TRY(check_text(text, &out->https));
    char copy[URL_MAX + 1];
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    TRY(take_parts(copy, out));
    return check_host(r, reach, out);
}

void net_url_wipe(struct net_url *u)
{
    curl_free(u->host);
    curl_free(u->port);
    curl_url_cleanup(u->u);
    *u = (struct net_url){0};
}

struct err net_url_check(const struct net *n, enum net_reach reach, struct str url)
{
    CLEANUP(net_url_wipe) struct net_url u = {0};
    return net_url_parse(&n->rules, reach, url, &u);
}
