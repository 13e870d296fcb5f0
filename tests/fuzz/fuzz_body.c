/* SPDX-License-Identifier: Apache-2.0
 * The bodies of the endpoints that take JSON. */
#include "tests/fuzz/broker.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static api_handler *const handlers[] = {api_session_create,     api_agent_create,  api_agent_update,
                                            api_session_create_obo, api_issuer_create, api_issuer_update,
                                            api_scope_create,       api_scope_update,  api_sessions_revoke};
    static const struct endpoints all = {"application/json", false, handlers, COUNT(handlers)};
    broker_take(&all, data, size);
    return 0;
}
