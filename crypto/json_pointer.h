/* SPDX-License-Identifier: Apache-2.0
 * JSON Pointer (RFC 6901): where in a document a value stands, as an operator writes it. Pure. */
#ifndef CRYPTO_JSON_POINTER_H
#define CRYPTO_JSON_POINTER_H

#include "crypto/json.h"

/* Whether the text is a pointer: "", or tokens that each begin with '/', in which '~' stands before 0 or 1 only. */
bool json_pointer_ok(struct str pointer);

/* The value that a pointer leads to from root; NULL: none, or the text is no pointer. "" is root itself. An item of an
 * array is named by its index without leading zeros; "-" (the item after the last) never leads to one. */
const struct json *json_pointer_get(const struct json *root, struct str pointer);

#endif
