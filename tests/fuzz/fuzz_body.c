/* SPDX-License-Identifier: Apache-2.0
 * The input is a request body, its first byte chooses the endpoint. The database is away, so the property is: whatever
 * the body, the answer is a refusal of the caller's (4xx) or says that a part is away (503), as a JSON error; never
 * another 5xx, never a success. */
#include "service/api/api.h"
#include "service/api/health.h"
#include "service/api/issuer_keys.h"
#include "service/api/keyring.h"
#include "tests/fuzz/fuzz.h"

#include "base/log.h"

static struct err no_signer(void *self, int64_t deadline_us, int *fd)
{
    (void)self;
    (void)deadline_us;
    *fd = -1;
    return FAIL(ERR_HSM_UNAVAILABLE, "no signer here");
}

/* Made once: libFuzzer calls on one thread, and never tells when it is done. */
static struct api *the_api(void)
{
    static struct config config;
    static struct app app;
    static struct api *api;
    if (api != NULL)
        return api;
    log_setup("fuzz", LOG_ERROR);
    config.base_url = STR("https://broker.example");
    config.database_url = STR("host=/nonexistent dbname=none");
    config.agent_cache_s = 30;
    struct crypto *crypto = NULL;
    app =
        (struct app){.config = &config, .clock = clock_fixed(INT64_C(1800000000000000)), .hsm = {.connect = no_signer}};
    struct err e = crypto_new("default", &crypto);
    FUZZ_CHECK(!err_is(&e));
    app.crypto = crypto;
    e = api_metrics_new(&app.metrics);
    FUZZ_CHECK(!err_is(&e));
    e = buckets_new(64, 1000000000, 1000000000, &app.agents);
    FUZZ_CHECK(!err_is(&e));
    e = keyring_new(&app.keyring);
    FUZZ_CHECK(!err_is(&e));
    e = health_new(&app.health);
    FUZZ_CHECK(!err_is(&e));
    e = issuer_keys_new(&app.issuer_keys);
    FUZZ_CHECK(!err_is(&e));
    e = api_new(&app, &api);
    FUZZ_CHECK(!err_is(&e));
    return api;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static api_handler *const handlers[] = {api_session_create, api_agent_create, api_agent_update};
    if (size == 0)
        return 0;
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    const struct http_request req = {.arena = a,
                                     .method = HTTP_POST,
                                     .path = STR("/"),
                                     .args = {STR("some-agent")},
                                     .content_type = STR("application/json"),
                                     .api_key = STR("nxk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
                                     .body = {(const char *)data + 1, size - 1},
                                     .request_id = STR("fuzz"),
                                     .peer = STR("127.0.0.1"),
                                     .deadline_us = clock_mono_us() + 100000};
    struct http_reply reply = {.status = 0};
    struct err e = handlers[data[0] % COUNT(handlers)](the_api(), &req, &reply);
    FUZZ_CHECK(err_is(&e));
    http_reply_error(&req, &e, &reply);
    FUZZ_CHECK((reply.status >= 400 && reply.status < 500) || reply.status == 503);
    const struct json *body = NULL;
    e = json_parse(a, str_bytes(reply.body), &body);
    FUZZ_CHECK(!err_is(&e) && json_get(body, "error") != NULL && json_get(body, "message") != NULL);
    return 0;
}
