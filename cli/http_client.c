/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/http_client.h"

#include "cli/output.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_URL "http://127.0.0.1:8080"

enum { CONNECT_MS = 5000, TOTAL_MS = 60000, CREDENTIAL_MAX = 16384, REQUEST_ID_MAX = 128, HTTP_TOO_MANY = 429 };

static void curl_free_easy(CURL **c)
{
    curl_easy_cleanup(*c);
}

static void curl_free_url(CURLU **u)
{
    curl_url_cleanup(*u);
}

static void curl_free_text(char **s)
{
    curl_free(*s);
}

/* The exchange under way. */
struct exchange {
    struct cli *cli;
    CURL *curl;
    struct str url;
    struct buf body;
    char why[CURL_ERROR_SIZE];
};

struct str http_base_url(const struct cli *cli)
{
    struct str url = cli->url.p != NULL ? cli->url : cli_env(cli, "NEXUS_URL");
    if (url.p == NULL)
        url = STR(DEFAULT_URL);
    while (url.n > 0 && url.p[url.n - 1] == '/')
        url.n--;
    return url;
}

void http_escape(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (alnum || c == '-' || c == '.' || c == '_' || c == '~')
            buf_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

struct str http_path(struct arena *a, const char *prefix, struct str id)
{
    struct buf b = buf_in(a, strlen(prefix) + 3 * id.n + 1);
    buf_cstr(&b, prefix);
    http_escape(&b, id);
    return buf_view(&b);
}

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 || strncmp(host, "127.", 4) == 0;
}

/* What may be spoken to: https, or http to this machine. *local tells which of the two kinds of host it is. */
static struct err check_url(struct cli *cli, struct str url, bool *local)
{
    CLEANUP(curl_free_url) CURLU *u = curl_url();
    CLEANUP(curl_free_text) char *scheme = NULL;
    CLEANUP(curl_free_text) char *host = NULL;
    CLEANUP(curl_free_text) char *user = NULL;
    if (u == NULL || curl_url_set(u, CURLUPART_URL, url.p, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        return cli_fail(cli, CLI_USAGE, NULL, "not a URL such as https://broker.example: %s", url.p);
    if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
        return cli_fail(cli, CLI_USAGE, NULL, "the URL holds a user: credentials come from files only");
    bool plain = strcmp(scheme, "http") == 0;
    if (!plain && strcmp(scheme, "https") != 0)
        return cli_fail(cli, CLI_USAGE, NULL, "only https and http are spoken, not %s", scheme);
    *local = is_loopback(host);
    if (plain && !*local && !cli->insecure_http)
        return cli_fail(cli, CLI_USAGE, NULL,
                        "http to %s would show keys and tokens to the network: use https, or --insecure-plain-http if "
                        "something else protects the way",
                        host);
    return OK;
}

/* "Name: value" of the credential, in locked memory as the credential itself. */
static struct err credential_header(struct cli *cli, const char *name, const char *what, struct str path,
                                    struct secret **out)
{
    CLEANUP(secret_free) struct secret *value = NULL;
    TRY(cli_read_secret(cli, what, path, CREDENTIAL_MAX, &value));
    for (size_t i = 0; i < value->n; i++) {
        if (value->p[i] <= 0x20 || value->p[i] >= 0x7f)
            return cli_fail(cli, CLI_UNAVAILABLE, NULL, "the %s %s must hold the %s alone, on one line", what, path.p,
                            strstr(what, "key") != NULL ? "key" : "token");
    }
    size_t prefix = strlen(name);
    TRY(secret_new(prefix + value->n + 1, out));
    memcpy((*out)->p, name, prefix);
    memcpy((*out)->p + prefix, value->p, value->n);
    (*out)->p[prefix + value->n] = '\0';
    return OK;
}

static struct err make_credential(struct cli *cli, const struct http_call *call, struct secret **out)
{
    if (call->auth == AUTH_NONE)
        return OK;
    if (call->auth == AUTH_TOKEN)
        return credential_header(cli, "Authorization: Bearer ", "token file", call->token_file, out);
    static const char *const order[][2] = {
        [AUTH_ADMIN] = {"NEXUS_ADMIN_KEY_FILE", "NEXUS_API_KEY_FILE"},
        [AUTH_KEY] = {"NEXUS_API_KEY_FILE", "NEXUS_ADMIN_KEY_FILE"},
    };
    struct str path = cli->api_key_file;
    for (size_t i = 0; i < 2 && path.p == NULL; i++)
        path = cli_env(cli, order[call->auth][i]);
    if (path.p == NULL)
        return cli_fail(cli, CLI_USAGE, NULL,
                        "this needs an API key: put it in a file of mode 0600 and name the file by --api-key-file or "
                        "NEXUS_API_KEY_FILE");
    return credential_header(cli, "X-API-Key: ", "API key file", path, out);
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct buf *b = arg;
    buf_add(b, p, size * n);
    return b->failed ? 0 : size * n;
}

static struct err setup(struct exchange *x, const struct http_call *call, struct curl_slist *headers, bool local)
{
    CURL *c = x->curl;
    struct str ca = x->cli->ca_file.p != NULL ? x->cli->ca_file : cli_env(x->cli, "NEXUS_CA_FILE");
    bool good = curl_easy_setopt(c, CURLOPT_URL, x->url.p) == CURLE_OK &&
                /* An id of ".." is an id, not a step up. */
                curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)TOTAL_MS) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->why) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_USERAGENT, "nexus/" NEXUS_VERSION) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_WRITEDATA, &x->body) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, call->method) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers) == CURLE_OK;
    if (good && local) /* what stays on this machine has no business with a proxy */
        good = curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK;
    if (good && ca.p != NULL)
        good = curl_easy_setopt(c, CURLOPT_CAINFO, ca.p) == CURLE_OK;
    if (good && call->body.p != NULL)
        good = curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)call->body.n) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_POSTFIELDS, call->body.p) == CURLE_OK;
    return good ? OK : FAIL(ERR_INTERNAL, "libcurl lacks an option");
}

static struct err explain_curl(const struct exchange *x, CURLcode code)
{
    const char *why = x->why[0] != '\0' ? x->why : curl_easy_strerror(code);
    const char *advice = "check --url or NEXUS_URL";
    if (code == CURLE_COULDNT_CONNECT)
        advice = "check --url or NEXUS_URL, and that the broker runs (`scripts/stack status` for one of this tree)";
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        advice = "for a CA of your own, name its certificate by --ca-file or NEXUS_CA_FILE";
    if (code == CURLE_SSL_CACERT_BADFILE)
        advice = "check --ca-file or NEXUS_CA_FILE";
    if (x->body.failed)
        return cli_fail(x->cli, CLI_UNAVAILABLE, NULL, "%s: the answer is larger than %d bytes", x->url.p,
                        JSON_TEXT_MAX);
    return cli_fail(x->cli, CLI_UNAVAILABLE, NULL, "no answer from %s: %s; %s", x->url.p, why, advice);
}

/* What to do about an error of the broker's, where its own message cannot know the command line. */
static const struct {
    const char *code, *advice;
} hints[] = {
    {"missing_api_key", "name a file with one by --api-key-file or NEXUS_API_KEY_FILE"},
    {"invalid_api_key", "check --api-key-file, NEXUS_ADMIN_KEY_FILE and NEXUS_API_KEY_FILE"},
    {"access_denied", "use a key of another role by --api-key-file"},
    {"agent_not_found", "`nexus agents list` shows those that are"},
    {"agent_exists", "`nexus agents update` changes it"},
    {"agent_inactive", "`nexus agents activate` does that"},
    {"provider_not_found", "`nexus providers list` shows those that are"},
    {"provider_exists", "`nexus providers update` changes it"},
    {"scope_not_allowed", "`nexus agents get` shows the ceiling"},
    {"invalid_client", "check --agent and --key-file: the agent must be active and have this key"},
};

static const char *hint_for(struct str code)
{
    for (size_t i = 0; i < COUNT(hints); i++) {
        if (str_is(code, hints[i].code))
            return hints[i].advice;
    }
    return NULL;
}

static void take_request_id(const struct exchange *x)
{
    struct curl_header *h = NULL;
    if (curl_easy_header(x->curl, "X-Request-Id", 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return;
    struct str id = str_of(h->value);
    if (id.n <= REQUEST_ID_MAX)
        x->cli->request_id = output_clean(x->cli->arena, id);
}

static struct err explain_status(const struct exchange *x, long status, const struct json *json)
{
    struct cli *cli = x->cli;
    enum cli_exit how = status >= 500 || status == HTTP_TOO_MANY ? CLI_UNAVAILABLE : CLI_REFUSED;
    const struct json *code = json_get(json, "error");
    const struct json *message = json_get(json, "message");
    take_request_id(x);
    if (code == NULL || code->type != JSON_STR || message == NULL || message->type != JSON_STR)
        return cli_fail(cli, CLI_UNAVAILABLE, NULL, "%s answered with HTTP status %ld and no error of a broker's: %s",
                        x->url.p, status,
                        status / 100 == 3 ? "redirects are not followed, so give the broker's own address"
                                          : "check --url or NEXUS_URL");
    struct str code_text = output_clean(cli->arena, code->s);
    struct str text = output_clean(cli->arena, message->s);
    struct str code_z = arena_str(cli->arena, code_text);
    const char *hint = hint_for(code_text);
    return cli_fail(cli, how, code_z.p, "%.*s%s%s (%.*s, HTTP status %ld)", STR_FMT(text), hint != NULL ? "; " : "",
                    hint != NULL ? hint : "", STR_FMT(code_text), status);
}

static struct err perform(struct exchange *x, struct arena *a, struct http_answer *out)
{
    CURLcode code = curl_easy_perform(x->curl);
    if (code != CURLE_OK)
        return explain_curl(x, code);
    long status = 0;
    (void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    const struct json *json = NULL;
    struct err e = json_parse(a, buf_bytes(&x->body), &json);
    if (status / 100 != 2)
        return explain_status(x, status, err_is(&e) ? NULL : json);
    if (err_is(&e) || json->type != JSON_OBJECT)
        return cli_fail(x->cli, CLI_UNAVAILABLE, NULL, "%s did not answer with a JSON object: is it a broker's?",
                        x->url.p);
    *out = (struct http_answer){.body = buf_view(&x->body), .json = json};
    return OK;
}

static struct err exchange_url(struct cli *cli, struct arena *a, struct str url, const struct http_call *call,
                               struct http_answer *out)
{
    bool local = false;
    TRY(check_url(cli, url, &local));
    CLEANUP(secret_free) struct secret *credential = NULL;
    TRY(make_credential(cli, call, &credential));
    CLEANUP(curl_free_easy) CURL *curl = curl_easy_init();
    if (curl == NULL)
        return FAIL(ERR_NO_MEMORY, "curl");
    struct exchange x = {.cli = cli, .curl = curl, .url = url, .body = buf_in(a, JSON_TEXT_MAX)};
    char accept[] = "Accept: application/json";
    char type[] = "Content-Type: application/json";
    /* Nodes of our own: curl's constructor would copy the credential to the heap. */
    struct curl_slist third = {.data = credential != NULL ? (char *)credential->p : NULL};
    struct curl_slist second = {.data = type, .next = credential != NULL ? &third : NULL};
    struct curl_slist first = {.data = accept, .next = call->body.p != NULL ? &second : second.next};
    TRY(setup(&x, call, &first, local));
    return perform(&x, a, out);
}

struct err http_json(struct cli *cli, struct arena *a, const struct http_call *call, struct http_answer *out)
{
    struct str url = arena_printf(a, "%.*s%.*s", STR_FMT(http_base_url(cli)), STR_FMT(call->path));
    if (url.p == NULL)
        return FAIL(ERR_NO_MEMORY, "URL");
    return exchange_url(cli, a, url, call, out);
}

struct err http_get_url(struct cli *cli, struct arena *a, struct str url, struct http_answer *out)
{
    const struct http_call call = {.method = "GET"};
    struct str copy = arena_str(a, url);
    return copy.p != NULL ? exchange_url(cli, a, copy, &call, out) : FAIL(ERR_NO_MEMORY, "URL");
}
