/* SPDX-License-Identifier: Apache-2.0
 * The forms of the OAuth endpoints. */
#include "tests/fuzz/broker.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static api_handler *const handlers[] = {api_oauth_token, api_oauth_introspect, api_oauth_revoke};
    static const struct endpoints all = {"application/x-www-form-urlencoded", true, handlers, COUNT(handlers)};
    broker_take(&all, data, size);
    return 0;
}
