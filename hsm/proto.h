/* SPDX-License-Identifier: Apache-2.0
 * The one codec of both sides. A request is version, operation and fields; a reply is version, operation, status and
 * mark, then a reason or fields. Integers are big-endian, everything variable has a length before it, and a message
 * must end where its last field ends. One table says which fields an operation has, for writing and for reading.
 * Decoded views point into the message. */
#ifndef HSM_PROTO_H
#define HSM_PROTO_H

#include "hsm/frame.h"
#include "hsm/wire.h"

enum { PROTO_VERSION = 1, PROTO_RANDOM_MAX = 256, PROTO_KEYS_PAGE = 64, PROTO_TEXT_MAX = 255 };

enum proto_op {
    PROTO_HELLO = 1,
    PROTO_KEYS,
    PROTO_SIGN,
    PROTO_WRAP,
    PROTO_UNWRAP,
    PROTO_RANDOM,
    PROTO_GENERATE,
    PROTO_PING,
    PROTO_OP_END
};

enum proto_status { PROTO_OK, PROTO_UNAVAILABLE, PROTO_REFUSED, PROTO_PIN, PROTO_FAILED, PROTO_STATUS_END };

struct proto_request {
    enum proto_op op;
    struct hsm_key_id key;    /* sign, wrap, unwrap, generate */
    enum jose_alg alg;        /* sign */
    enum hsm_purpose purpose; /* generate */
    enum hsm_key_type type;   /* generate */
    uint16_t count;           /* random: how many bytes; keys: index of the first one wanted */
    struct bytes data;        /* sign: the input; wrap: the DEK; unwrap: the blob */
};

struct proto_reply {
    enum proto_op op;
    enum proto_status status;
    struct hsm_mark mark;
    struct str reason;    /* of any status but PROTO_OK */
    struct bytes data;    /* sign, wrap, unwrap, random */
    uint32_t us;          /* sign */
    struct hsm_info info; /* hello; its mark is the reply's */
    uint16_t total;       /* keys: how many there are in all */
    struct hsm_key *keys; /* keys, generate: the reader brings room for PROTO_KEYS_PAGE of them, or NULL */
    size_t n;
};

const char *proto_op_name(enum proto_op op);

/* ERR_TOO_LARGE or ERR_INVALID_REQUEST when a value does not fit its field. */
struct err proto_write_request(const struct proto_request *q, struct frame *out);
struct err proto_write_reply(const struct proto_reply *r, struct frame *out);

/* ERR_INVALID_REQUEST for anything but exactly one well-formed message. */
struct err proto_read_request(struct bytes in, struct proto_request *out);
struct err proto_read_reply(struct bytes in, struct proto_reply *out);

/* What a status means to the broker, and the status that tells an error. */
enum err_code proto_status_error(enum proto_status s);
enum proto_status proto_status_of(enum err_code code);

#endif
