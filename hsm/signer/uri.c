/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/uri.h"

#include <p11-kit/uri.h>
#include <stdlib.h>

struct token_uri {
    P11KitUri *uri;
    const char *pin_path; /* points into uri */
};

void token_uri_free(struct token_uri **u)
{
    if (*u == NULL)
        return;
    p11_kit_uri_free((*u)->uri);
    free(*u);
    *u = NULL;
}

/* RFC 7512 section 2.4: pin-source may be a file: URI or a bare path, or ask for a program ("|command"), which a
 * signer does not run. */
static struct err read_pin_source(struct token_uri *u)
{
    const char *source = p11_kit_uri_get_pin_source(u->uri);
    if (source == NULL)
        return OK;
    if (strncmp(source, "file:", 5) == 0)
        source += 5;
    if (strncmp(source, "//", 2) == 0)
        source += 2;
    if (source[0] != '/')
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_URI: pin-source must be file: and an absolute path");
    u->pin_path = source;
    return OK;
}

static struct err check(struct token_uri *u)
{
    const CK_TOKEN_INFO *t = p11_kit_uri_get_token_info(u->uri);
    if (p11_kit_uri_get_pin_value(u->uri) != NULL)
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_URI: pin-value would show the PIN in the environment; use pin-source");
    if (p11_kit_uri_get_module_path(u->uri) != NULL || p11_kit_uri_get_module_name(u->uri) != NULL)
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_URI: name the module in NEXUS_PKCS11_MODULE, not in the URI");
    if (p11_kit_uri_any_unrecognized(u->uri) != 0)
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_URI: has an attribute that does not name a token");
    if (t->label[0] == '\0' && t->serialNumber[0] == '\0')
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_URI: must name the token by token= or serial=");
    return read_pin_source(u);
}

struct err token_uri_parse(const char *text, struct token_uri **out)
{
    CLEANUP(token_uri_free) struct token_uri *u = calloc(1, sizeof *u);
    if (u == NULL || (u->uri = p11_kit_uri_new()) == NULL)
        return FAIL(ERR_NO_MEMORY, "a PKCS#11 URI");
    int r = p11_kit_uri_parse(text, P11_KIT_URI_FOR_TOKEN, u->uri);
    if (r != P11_KIT_URI_OK)
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_URI: %s", p11_kit_uri_message(r));
    TRY(check(u));
    *out = u;
    u = NULL;
    return OK;
}

const char *token_uri_pin_path(const struct token_uri *u)
{
    return u->pin_path;
}

bool token_uri_matches(const struct token_uri *u, CK_TOKEN_INFO *info)
{
    return p11_kit_uri_match_token_info(u->uri, info) != 0;
}
