/* SPDX-License-Identifier: Apache-2.0 */
#include "service/net/internal.h"

#include "base/buf.h"
#include "base/clock.h"

#include <stdio.h>
#include <sys/socket.h>

enum { HEADERS_MAX = 4, REPLY_HEADER_MAX = 16384, WAIT_MAX_MS = 3600000, CA_CACHE_S = 600 };

struct transfer {
    const struct net *net;
    const struct net_request *q;
    const struct net_url *u;
    struct buf body;
    size_t header_bytes;
    bool refused;
};

/* Nodes of our own, with lines that can be wiped: libcurl's constructor would leave a copy on the heap. */
struct headers {
    size_t n;
    struct curl_slist v[HEADERS_MAX];
};

static void headers_wipe(struct headers *h)
{
    for (size_t i = 0; i < h->n; i++)
        explicit_bzero(h->v[i].data, strlen(h->v[i].data));
}

/* An empty value takes out a header that libcurl would send by itself. */
static struct err add_header(struct headers *h, struct arena *a, const char *name, struct str value)
{
    size_t n = strlen(name) + value.n + sizeof ": ";
    char *line = arena_alloc(a, n);
    if (line == NULL)
        return FAIL(ERR_NO_MEMORY, "header of an outbound request");
    (void)snprintf(line, n, "%s: %.*s", name, STR_FMT(value));
    h->v[h->n] = (struct curl_slist){.data = line};
    if (h->n > 0)
        h->v[h->n - 1].next = &h->v[h->n];
    h->n++;
    return OK;
}

static struct err make_headers(const struct net_request *q, struct arena *a, struct headers *h)
{
    TRY(add_header(h, a, "Expect", STR("")));
    if (q->accept != NULL)
        TRY(add_header(h, a, "Accept", str_of(q->accept)));
    if (q->method == NET_POST)
        TRY(add_header(h, a, "Content-Type", str_of(q->content_type)));
    if (q->authorization.n > 0)
        TRY(add_header(h, a, "Authorization", q->authorization));
    return OK;
}

/* The last word: libcurl asks for a socket for the very address that it is about to connect to. After a refusal there
 * is none for any other address either. */
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct transfer *t = arg;
    if (purpose != CURLSOCKTYPE_IPCXN || !net_rules_allow(&t->net->rules, t->q->reach, t->u->https, &to->addr))
        t->refused = true;
    return t->refused ? CURL_SOCKET_BAD : socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    buf_add(&t->body, p, size * n);
    return t->body.failed ? 0 : size * n;
}

/* Interim replies (1xx) and trailers come here too, so there is no end to them either. */
static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    (void)p;
    struct transfer *t = arg;
    t->header_bytes += size * n;
    return t->header_bytes > REPLY_HEADER_MAX ? 0 : size * n;
}

/* Where the exchange may go, whatever the reply or the environment say. */
static bool set_ways(CURL *c, struct transfer *t, struct curl_slist *pins)
{
    return curl_easy_setopt(c, CURLOPT_CURLU, t->u->u) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, t->u->https ? "https" : "http") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_RESOLVE, pins) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           /* Neither a connection nor a TLS session of an earlier call, whose rules may have been others. */
           curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_SSL_SESSIONID_CACHE, 0L) == CURLE_OK;
}

static bool set_tls(CURL *c, const struct net *n)
{
    bool good = curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_CACHE_S) == CURLE_OK;
    if (good && n->ca_file != NULL)
        good = curl_easy_setopt(c, CURLOPT_CAINFO, n->ca_file) == CURLE_OK &&
               /* or the system's directory would be trusted besides */
               curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK;
    return good;
}

static bool set_bounds(CURL *c, struct transfer *t, long ms)
{
    return curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, ms) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->q->body_max) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEDATA, t) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_HEADERDATA, t) == CURLE_OK;
}

static bool set_request(CURL *c, const struct net_request *q, struct curl_slist *headers)
{
    bool good = curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_HTTP_CONTENT_DECODING, 0L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_USERAGENT, "nexus-broker") == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
    if (good && q->method == NET_POST)
        good = curl_easy_setopt(c, CURLOPT_POST, 1L) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.n) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->body.n > 0 ? q->body.p : "") == CURLE_OK;
    return good;
}

/* Texts of our own: libcurl's may quote what the peer sent. */
static const struct {
    CURLcode code;
    const char *text;
} reasons[] = {
    {CURLE_OPERATION_TIMEDOUT, "timed out waiting for"},
    {CURLE_COULDNT_RESOLVE_HOST, "no address can be used of"},
    {CURLE_COULDNT_CONNECT, "no connection can be made to"},
    {CURLE_PEER_FAILED_VERIFICATION, "no trusted certificate of that name (NEXUS_CA_FILE tells whom to trust) from"},
    {CURLE_SSL_CACERT_BADFILE, "the trusted authorities cannot be loaded (check NEXUS_CA_FILE) for"},
    {CURLE_SSL_CONNECT_ERROR, "no TLS connection, of version 1.2 at least, with"},
    {CURLE_FILESIZE_EXCEEDED, "too large a reply from"},
    {CURLE_PARTIAL_FILE, "a reply that ends too early from"},
    {CURLE_GOT_NOTHING, "no reply from"},
    {CURLE_WEIRD_SERVER_REPLY, "no HTTP reply from"},
    {CURLE_UNSUPPORTED_PROTOCOL, "no HTTP/1.x reply from"},
    {CURLE_SEND_ERROR, "the connection broke to"},
    {CURLE_RECV_ERROR, "the connection broke, or what came was no HTTP, from"},
};

static struct err explain(const struct transfer *t, CURLcode code)
{
    const char *host = t->u->host;
    if (t->refused)
        return FAIL(ERR_NET_REFUSED, "an address that may not be reached from here: host %s", host);
    if (t->body.failed && !t->body.too_large)
        return buf_status(&t->body);
    if (t->body.too_large)
        code = CURLE_FILESIZE_EXCEEDED;
    if (t->header_bytes > REPLY_HEADER_MAX)
        return FAIL(ERR_NET, "a reply header of more than %d bytes from host %s", REPLY_HEADER_MAX, host);
    if (code == CURLE_OUT_OF_MEMORY)
        return FAIL(ERR_NO_MEMORY, "outbound request");
    for (size_t i = 0; i < COUNT(reasons); i++) {
        if (reasons[i].code == code)
            return FAIL(ERR_NET, "%s host %s", reasons[i].text, host);
    }
    return FAIL(ERR_NET, "%s: host %s", curl_easy_strerror(code), host);
}

static struct err take_reply(CURL *c, const struct transfer *t, struct arena *a, struct net_reply *out)
{
    long status = 0;
    const char *type = NULL;
    if (curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK ||
        curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type) != CURLE_OK)
        return FAIL(ERR_INTERNAL, "libcurl lacks a reply's status");
    *out = (struct net_reply){.status = (int)status, .body = buf_bytes(&t->body)};
    out->content_type = arena_str(a, str_of(type));
    return out->content_type.p != NULL ? OK : FAIL(ERR_NO_MEMORY, "reply");
}

/* Rounded up; 0: the deadline has passed. */
static long wait_ms(int64_t deadline_us)
{
    int64_t left_us = deadline_us - clock_mono_us();
    if (left_us <= 0)
        return 0;
    return left_us < (int64_t)WAIT_MAX_MS * 1000 ? (long)((left_us + 999) / 1000) : WAIT_MAX_MS;
}

struct err net_transfer(struct net *n, const struct net_request *q, const struct net_url *u, char *pin, struct arena *a,
                        struct net_reply *out)
{
    struct transfer t = {.net = n, .q = q, .u = u, .body = buf_in(a, q->body_max)};
    struct curl_slist pins = {.data = pin};
    CLEANUP(headers_wipe) struct headers headers = {0};
    TRY(make_headers(q, a, &headers));
    long ms = wait_ms(q->deadline_us);
    if (ms == 0)
        return explain(&t, CURLE_OPERATION_TIMEDOUT);
    curl_easy_reset(n->curl);
    if (!set_ways(n->curl, &t, pin != NULL ? &pins : NULL) || !set_tls(n->curl, n) || !set_bounds(n->curl, &t, ms) ||
        !set_request(n->curl, q, headers.v))
        return FAIL(ERR_INTERNAL, "libcurl lacks an option; 7.88 is needed");
    CURLcode code = curl_easy_perform(n->curl);
    struct err e = code == CURLE_OK && !t.refused ? take_reply(n->curl, &t, a, out) : explain(&t, code);
    /* The handle forgets what lay here. */
    curl_easy_reset(n->curl);
    return e;
}
