/* SPDX-License-Identifier: Apache-2.0
 * A provider: a third party whose API agents use, and how consent and tokens are had there. A plain value; its text
 * lies in some arena, and text that was not given has p == NULL. */
#ifndef SERVICE_CORE_PROVIDER_H
#define SERVICE_CORE_PROVIDER_H

#include "service/core/domain.h"

enum {
    PROVIDERS_MAX = 500, /* of those that are not deleted: what is listed as a whole must fit into a reply */
    PROVIDER_NAME_MAX = 63,
    PROVIDER_CATEGORY_MAX = 100,
    PROVIDER_URL_MAX = 1024,
    PROVIDER_CLIENT_ID_MAX = 512,
    PROVIDER_SECRET_MAX = 4096,
    PROVIDER_PARAMS_MAX = 16384,
    PROVIDER_WORD_MAX = 128 /* names of headers, parameters and credential fields */
};

/* How an agent proves to the provider on whose behalf it calls. */
enum provider_auth {
    PROVIDER_OAUTH2,
    PROVIDER_API_KEY,
    PROVIDER_BASIC_AUTH,
    PROVIDER_HEADER,
    PROVIDER_QUERY_PARAM,
    PROVIDER_HMAC_PAYLOAD,
    PROVIDER_AWS_SIGV4,
    PROVIDER_AUTH_COUNT
};

/* How a token as narrow as a session's scopes is had there. */
enum downscope {
    DOWNSCOPE_NONE,
    DOWNSCOPE_REFRESH,  /* RFC 6749 section 6: a refresh that asks for fewer scopes */
    DOWNSCOPE_EXCHANGE, /* RFC 8693 at the provider's token endpoint */
    DOWNSCOPE_COUNT
};

/* The client secret, sealed under a data key of the provider's own. */
struct provider_secret {
    struct dek dek;         /* wrapped.p == NULL: no data key yet, since there was no secret yet */
    struct bytes sealed;    /* p == NULL: no secret */
    int64_t version;        /* grows with every new secret, also across times without one */
    struct str fingerprint; /* what may be shown of it */
};

struct provider {
    struct str id, name;
    struct str description, category;
    enum provider_auth auth;
    struct str auth_header; /* oauth2: how the client authenticates; else the header that carries the credential */
    struct str client_id;
    struct provider_secret secret;
    struct str auth_url, token_url, issuer;
    bool enable_discovery;
    struct str_list scopes;
    struct str api_base_url;
    struct str user_info_endpoint; /* a URL, or a path below api_base_url that may hold {field} */
    struct str params;             /* a JSON object, as provider_params_read takes it */
    enum downscope downscope;
    bool allow_full_token; /* agents may get the connection's whole token where none that is as narrow can be had */
    int64_t version;       /* grows with every change */
    int64_t created_us, updated_us;
};

#endif
