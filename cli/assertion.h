/* SPDX-License-Identifier: Apache-2.0
 * A client assertion (RFC 7523, as rfc7523bis tightens it): how an agent proves with its own key who it is. */
#ifndef CLI_ASSERTION_H
#define CLI_ASSERTION_H

#include "cli/cli.h"
#include "crypto/jwk.h"

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

struct assertion_ask {
    struct str agent_id;
    struct str key_file; /* PEM */
    struct str kid;      /* p == NULL: the key's thumbprint */
    struct str issuer;   /* of the broker: the one audience */
    enum jose_alg rsa_alg;
};

/* Signs one with the key in the file: good once, for one minute. */
struct err assertion_make(struct cli *cli, const struct assertion_ask *ask, struct str *out);

/* --alg of an RSA key; RS256 when it was not given. */
struct err assertion_rsa_alg(struct cli *cli, struct str name, enum jose_alg *out);

#endif
