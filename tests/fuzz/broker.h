/* SPDX-License-Identifier: Apache-2.0
 * A broker without database and HSM, for targets whose input is the body of a request. */
#ifndef TESTS_FUZZ_BROKER_H
#define TESTS_FUZZ_BROKER_H

#include "service/api/api.h"

/* The endpoints of one kind of body; the first byte of an input chooses one. */
struct endpoints {
    const char *content_type;
    bool oauth; /* refusals have OAuth's form */
    api_handler *const *handlers;
    size_t n;
};

/* Has the rest of the input handled. Nothing can be granted here, so the property is: whatever the body, the answer is
 * a refusal of the caller's (4xx) or says that a part is away (503), as a JSON error; never another 5xx, never a
 * success. */
void broker_take(const struct endpoints *e, const uint8_t *data, size_t size);

#endif
