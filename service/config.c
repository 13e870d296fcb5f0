/* SPDX-License-Identifier: Apache-2.0 */
#include "service/config.h"

#include "base/buf.h"

static const struct conf_key table[] = {
#define STR_SETTING(field, name, def, help)         {name, CONF_STR, offsetof(struct config, field), def, 0, 0, help},
#define INT_SETTING(field, name, def, lo, hi, help) {name, CONF_INT, offsetof(struct config, field), def, lo, hi, help},
#define BOOL_SETTING(field, name, def, help)        {name, CONF_BOOL, offsetof(struct config, field), def, 0, 0, help},
#include "service/config.def"
#undef STR_SETTING
#undef INT_SETTING
#undef BOOL_SETTING
};

/* Names of other programs of this project, which may share an environment with the broker. */
static const char *const known[] = {
    "NEXUS_URL",    "NEXUS_API_KEY_FILE", "NEXUS_ADMIN_KEY_FILE",  "NEXUS_AUDITOR_KEY_FILE",
    "NEXUS_TEST_*", "NEXUS_SHIM_*",       "NEXUS_SIGNER_PEER_UID", NULL};

const struct conf_key *config_table(size_t *n)
{
    *n = COUNT(table);
    return table;
}

/* RFC 8414 section 2: a URL without query or fragment; and no trailing slash, since aud and iss compare bytewise. */
static bool is_issuer(struct str s)
{
    if (!str_starts(s, STR("https://")) && !str_starts(s, STR("http://")))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        /* '@' would end a user's name: DPoP proofs could never name such a URL. Challenges quote it. */
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr("?#@\"\\", s.p[i]) != NULL)
            return false;
    }
    /* Nor one with dot segments. */
    return s.p[s.n - 1] != '/' && s.p[s.n - 1] != '.' && memmem(s.p, s.n, "/./", 3) == NULL &&
           memmem(s.p, s.n, "/../", 4) == NULL;
}

/* What a single setting's range cannot say. */
static void check_together(const struct config *c, struct buf *problems)
{
    if (!is_issuer(c->base_url))
        buf_cstr(problems, "BASE_URL: must be an http or https URL without user, query, fragment, quotes, dot segments "
                           "or trailing slash\n");
    if (memmem(c->pkcs11_uri.p, c->pkcs11_uri.n, "pin-value", 9) != NULL)
        buf_cstr(problems,
                 "NEXUS_PKCS11_URI: must not hold a PIN (pin-value): put it into a file, NEXUS_PKCS11_PIN_FILE\n");
    if (c->signer_socket.n > 0)
        return;
    const char *why = "must be set, unless NEXUS_SIGNER_SOCKET names a signer that runs by itself\n";
    if (c->pkcs11_module.n == 0)
        buf_printf(problems, "NEXUS_PKCS11_MODULE: %s", why);
    if (c->pkcs11_uri.n == 0)
        buf_printf(problems, "NEXUS_PKCS11_URI: %s", why);
    if (c->signer_state_dir.n == 0)
        buf_printf(problems, "NEXUS_SIGNER_STATE_DIR: %s", why);
}

struct err config_load(char *const *envp, const char *file, struct arena *a, struct config *out, struct str *problems)
{
    enum { PROBLEMS_MAX = 32768 };
    struct str found = {NULL, 0};
    struct err e = conf_load(table, COUNT(table), known, envp, file, a, out, &found);
    if (err_is(&e) && found.n == 0)
        return e;
    if (out->base_url.n == 0)
        out->base_url = arena_printf(a, "http://127.0.0.1:%lld", (long long)out->port);
    if (out->base_url.p == NULL)
        return FAIL(ERR_NO_MEMORY, "base url");
    struct buf b = buf_in(a, PROBLEMS_MAX);
    buf_str(&b, found);
    check_together(out, &b);
    TRY(buf_status(&b));
    *problems = buf_view(&b);
    return problems->n == 0 ? OK : FAIL(ERR_CONFIG, "bad configuration");
}
