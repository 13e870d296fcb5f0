/* SPDX-License-Identifier: Apache-2.0
 * How addresses are guarded: a host's name is looked up once, by us. If any of its addresses may not be reached, the
 * call is refused, since honest names do not mix public addresses with inner ones. libcurl is told the checked
 * addresses (CURLOPT_RESOLVE) and so asks no name service again: a name that changes meanwhile (rebinding) changes
 * nothing. Last, each address is checked once more when libcurl opens the socket for it (transfer.c:on_socket), which
 * also holds should libcurl read a host in another way than getaddrinfo(3) does. */
#include "service/net/internal.h"

#include "base/buf.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

enum { AUTHORIZATION_MAX = 16384, PINNED_MAX = 8, PIN_MAX = 1024 };

struct err net_global(void)
{
    /* libcurl would write the keys of all TLS connections to the file that this names. */
    (void)unsetenv("SSLKEYLOGFILE");
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    return code == CURLE_OK ? OK : FAIL(ERR_INTERNAL, "libcurl does not start: %s", curl_easy_strerror(code));
}

static void free_text(char **s)
{
    free(*s);
}

void net_free(struct net **n)
{
    if (*n == NULL)
        return;
    curl_easy_cleanup((*n)->curl);
    lookups_wipe(&(*n)->lookups);
    free((*n)->ca_file);
    free(*n);
    *n = NULL;
}

/* The system's authorities come from its bundle too, where it has one: libcurl keeps those of a file from one call to
 * the next, but would load a directory's anew each time, which takes longer than all the rest of a call. */
static struct err choose_ca_file(struct str given, char **out)
{
    struct str path = given.n > 0 ? given : str_of(curl_version_info(CURLVERSION_NOW)->cainfo);
    if (path.n == 0)
        return OK;
    CLEANUP(free_text) char *copy = strndup(path.p, path.n);
    if (copy == NULL)
        return FAIL(ERR_NO_MEMORY, "name of the CA file");
    if (access(copy, R_OK) != 0)
        return given.n == 0 ? OK
                            : FAIL(ERR_CONFIG, "the CA file %s cannot be read; name a PEM file of authorities", copy);
    *out = copy;
    copy = NULL;
    return OK;
}

struct err net_new(const struct net_options *o, struct net **out)
{
    CLEANUP(net_free) struct net *n = calloc(1, sizeof *n);
    if (n == NULL)
        return FAIL(ERR_NO_MEMORY, "outbound HTTP");
    TRY(net_rules_init(o, &n->rules));
    TRY(choose_ca_file(o->ca_file, &n->ca_file));
    n->curl = curl_easy_init();
    if (n->curl == NULL)
        return FAIL(ERR_NO_MEMORY, "libcurl");
    *out = n;
    n = NULL;
    return OK;
}

/* What only our own code can get wrong. */
static struct err check_request(const struct net_request *q)
{
    if (q->method == NET_POST ? q->content_type == NULL : q->body.n > 0)
        return FAIL(ERR_INTERNAL, "outbound request: a POST has a content type, a GET no body");
    if (q->authorization.n > AUTHORIZATION_MAX)
        return FAIL(ERR_INTERNAL, "outbound request: Authorization of more than %d bytes", AUTHORIZATION_MAX);
    /* RFC 9110 section 5.5: a control character could end the field and begin another. */
    for (size_t i = 0; i < q->authorization.n; i++) {
        if (q->authorization.p[i] < ' ' || q->authorization.p[i] > '~')
            return FAIL(ERR_INTERNAL, "outbound request: Authorization holds more than printable ASCII");
    }
    return OK;
}

static struct err check_addresses(const struct net *n, enum net_reach reach, const struct net_url *u,
                                  const struct lookup *l)
{
    for (const struct addrinfo *i = lookup_list(l); i != NULL; i = i->ai_next) {
        if (!net_rules_allow(&n->rules, reach, u->https, i->ai_addr))
            return FAIL(ERR_NET_REFUSED,
                        "an address that may not be reached from here (ALLOWED_CIDRS lists exceptions): host %s",
                        u->host);
    }
    return OK;
}

static void add_address(struct buf *b, const struct sockaddr *sa)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text);
        buf_printf(b, "[%s]", text);
    } else {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        (void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
        buf_cstr(b, text);
    }
}

/* "+": libcurl forgets the entry after a minute, and the next call for that host replaces it. */
static struct err make_pin(const struct net_url *u, const struct lookup *l, struct arena *a, char **out)
{
    struct buf b = buf_in(a, PIN_MAX);
    buf_printf(&b, "+%s:%s:", u->host, u->port);
    size_t n = 0;
    for (const struct addrinfo *i = lookup_list(l); i != NULL && n < PINNED_MAX; i = i->ai_next) {
        if (n++ > 0)
            buf_char(&b, ',');
        add_address(&b, i->ai_addr);
    }
    buf_char(&b, '\0');
    *out = b.p;
    return buf_status(&b);
}

struct err net_call(struct net *n, const struct net_request *q, struct arena *a, struct net_reply *out)
{
    TRY(check_request(q));
    CLEANUP(net_url_wipe) struct net_url u = {0};
    TRY(net_url_parse(&n->rules, q->reach, q->url, &u));
    CLEANUP(lookup_free) struct lookup *l = NULL;
    TRY(lookup_host(&n->lookups, u.host, q->deadline_us, &l));
    TRY(check_addresses(n, q->reach, &u, l));
    char *pin = NULL;
    if (u.is_name)
        TRY(make_pin(&u, l, a, &pin));
    return net_transfer(n, q, &u, pin, a, out);
}
