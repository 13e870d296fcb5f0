/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/broker.h"

#include "base/log.h"
#include "service/api/health.h"
#include "service/api/issuer_keys.h"
#include "service/api/keyring.h"
#include "tests/fuzz/fuzz.h"

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
    log_setup("fuzz", LOG_ERROR + 1);
    config.base_url = STR("https://broker.example");
    config.database_url = STR("host=/nonexistent dbname=none");
    config.agent_cache_s = 30;
    config.clock_skew_max_s = INT32_MAX; /* the clock stands still */
    struct crypto *crypto = NULL;
    app =
        (struct app){.config = &config, .clock = clock_fixed(INT64_C(1800000000000000)), .hsm = {.connect = no_signer}};
    FUZZ_OK(crypto_new("default", &crypto));
    app.crypto = crypto;
    FUZZ_OK(api_metrics_new(&app.metrics));
    FUZZ_OK(buckets_new(64, 1000000000, 1000000000, &app.agents));
    FUZZ_OK(keyring_new(&app.keyring));
    FUZZ_OK(health_new(&app.health));
    const struct err ok = OK;
    health_report(app.health, PART_CLOCK, &ok);
    FUZZ_OK(issuer_keys_new(&app.issuer_keys));
    FUZZ_OK(api_new(&app, &api));
    return api;
}

static void check_refusal(const struct http_request *req, const struct err *e)
{
    struct http_reply reply;
    http_reply_error(req, e, &reply);
    FUZZ_CHECK((reply.status >= 400 && reply.status < 500) || reply.status == 503);
    const struct json *body = NULL;
    FUZZ_OK(json_parse(req->arena, str_bytes(reply.body), &body));
    FUZZ_CHECK(json_get(body, "error") != NULL);
    FUZZ_CHECK(json_get(body, req->oauth ? "error_description" : "message") != NULL);
}

void broker_take(const struct endpoints *e, const uint8_t *data, size_t size)
{
    if (size == 0)
        return;
    CLEANUP(arena_free) struct arena *a = fuzz_arena();
    const struct http_request req = {.arena = a,
                                     .method = HTTP_POST,
                                     .path = STR("/"),
                                     .args = {STR("some-name")},
                                     .content_type = str_of(e->content_type),
                                     .body = {(const char *)data + 1, size - 1},
                                     .request_id = STR("fuzz"),
                                     .peer = STR("127.0.0.1"),
                                     .oauth = e->oauth,
                                     .deadline_us = clock_mono_us() + 100000};
    struct http_reply reply = {.status = 0};
    struct err refused = e->handlers[data[0] % e->n](the_api(), &req, &reply);
    FUZZ_CHECK(err_is(&refused));
    check_refusal(&req, &refused);
}
