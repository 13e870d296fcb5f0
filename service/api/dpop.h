/* SPDX-License-Identifier: Apache-2.0
 * DPoP (RFC 9449) as this service asks for it: the proof of a request, this service's nonces, and the key that a
 * session token is bound to. */
#ifndef SERVICE_API_DPOP_H
#define SERVICE_API_DPOP_H

#include "service/api/record.h"

/* A proof that holds. Its id must be consumed by whoever acts on it. */
struct dpop_use {
    struct str jkt; /* p == NULL: no proof came */
    struct one_time id;
};

/* Checks the proof of a request, if it has one, all but whether it was used before. access_token: what it must be bound
 * to by ath (p == NULL: none goes with it). ERR_DPOP_PROOF; ERR_DPOP_NONCE when it lacks a nonce of this service or
 * holds one that has passed (section 8). */
struct err dpop_of_request(const struct call *c, const struct http_request *req, struct str access_token,
                           struct dpop_use *out);

/* Whether the bearer of a session token may use it: a bound one comes with the DPoP scheme and a fresh proof by its key
 * (section 7.1), another one as a plain bearer token. by_dpop_scheme: how it came. Consumes the proof. */
struct err dpop_check_bearer(const struct call *c, const struct http_request *req, bool by_dpop_scheme,
                             struct str token, const struct session *session);

/* Sections 8 and 8.2: replies to requests with a proof, or that ask for one, carry the nonce in force. */
void dpop_offer_nonce(struct api *api, const struct http_request *req, const struct err *e, struct http_reply *out);

struct dpop_nonces; /* a worker's copy */
struct err dpop_nonces_new(struct dpop_nonces **out);
void dpop_nonces_free(struct dpop_nonces **n);

#endif
