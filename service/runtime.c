/* SPDX-License-Identifier: Apache-2.0 */
#include "service/runtime.h"

#include "base/log.h"
#include "base/rand.h"
#include "service/api/bulkhead.h"
#include "service/api/health.h"
#include "service/api/issuer_keys.h"
#include "service/api/keyring.h"
#include "service/net/net.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_ARENA = 524288, AGENT_NAMES = 65536, ENV_MAX = 1024 };

/* The digest of the effective settings goes into the boot leaf, so that a change of configuration shows in the log. */
static struct err digest_config(struct runtime *r)
{
    size_t n = 0;
    const struct conf_key *table = config_table(&n);
    struct buf b = buf_in(r->arena, CONFIG_ARENA / 4);
    for (size_t i = 0; i < n; i++) {
        const char *slot = (const char *)&r->config + table[i].offset;
        /* Connection strings hold passwords. */
        if (strstr(table[i].name, "DATABASE_URL") != NULL)
            continue;
        if (table[i].type == CONF_STR)
            buf_printf(&b, "%s=%.*s\n", table[i].name, STR_FMT(*(const struct str *)(const void *)slot));
        else if (table[i].type == CONF_INT)
            buf_printf(&b, "%s=%lld\n", table[i].name, (long long)*(const int64_t *)(const void *)slot);
        else
            buf_printf(&b, "%s=%s\n", table[i].name, *(const bool *)(const void *)slot ? "on" : "off");
    }
    TRY(buf_status(&b));
    return crypto_sha256(r->crypto, buf_bytes(&b), r->config.digest);
}

struct err runtime_configure(char *const *envp, const char *file, struct runtime *out)
{
    *out = (struct runtime){.arena = NULL};
    TRY(arena_new(CONFIG_ARENA, &out->arena));
    struct str problems = {NULL, 0};
    struct err e = config_load(envp, file, out->arena, &out->config, &problems);
    if (problems.n > 0)
        (void)fprintf(stderr, "nexus-broker: the configuration is not usable:\n%.*s", STR_FMT(problems));
    TRY(e);
    enum log_level level = LOG_INFO;
    if (!log_level_parse(out->config.log_level, &level))
        return FAIL(ERR_CONFIG, "NEXUS_LOG_LEVEL: must be debug, info, warn or error");
    log_setup("broker", level);
    return OK;
}

/* The signer's environment: ours without what it has no business to know, and with what the file said for it. */
static struct err signer_environment(struct runtime *r, char *const *envp, char ***out)
{
    const struct config *c = &r->config;
    const struct {
        const char *name;
        struct str value;
    } own[] = {
        {"NEXUS_PKCS11_MODULE", c->pkcs11_module},
        {"NEXUS_PKCS11_URI", c->pkcs11_uri},
        {"NEXUS_PKCS11_PIN_FILE", c->pkcs11_pin_file},
        {"NEXUS_SIGNER_STATE_DIR", c->signer_state_dir},
        {"NEXUS_LOG_LEVEL", c->log_level},
        {"NEXUS_SIGNER_MAX_SESSIONS",
         c->signer_max_sessions > 0 ? arena_printf(r->arena, "%lld", (long long)c->signer_max_sessions) : STR("")},
        {"NEXUS_HSM_TIMEOUT_MS", arena_printf(r->arena, "%lld", (long long)c->hsm_timeout_ms)},
        {"NEXUS_INSECURE_ACCEPT_IMPORTED_KEYS", c->insecure_accept_imported_keys ? STR("on") : STR("off")},
    };
    char **env = arena_array(r->arena, ENV_MAX, sizeof *env);
    if (env == NULL)
        return FAIL(ERR_NO_MEMORY, "environment");
    size_t n = 0;
    for (size_t i = 0; i < COUNT(own); i++) {
        if (own[i].value.n > 0)
            env[n++] = (char *)(uintptr_t)arena_printf(r->arena, "%s=%.*s", own[i].name, STR_FMT(own[i].value)).p;
    }
    for (; *envp != NULL && n + 1 < ENV_MAX; envp++) {
        bool database = strncmp(*envp, "DATABASE_URL=", 13) == 0 || strncmp(*envp, "PGPASSWORD=", 11) == 0;
        bool ours = strncmp(*envp, "NEXUS_", 6) == 0 && strncmp(*envp, "NEXUS_SHIM_", 11) != 0;
        if (!database && !ours)
            env[n++] = *envp;
    }
    env[n] = NULL;
    *out = env;
    return OK;
}

static struct err signer_path(struct runtime *r, char out[static PATH_MAX])
{
    if (r->config.signer_program.n > 0) {
        (void)snprintf(out, PATH_MAX, "%.*s", STR_FMT(r->config.signer_program));
        return OK;
    }
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n <= 0)
        return FAIL(ERR_CONFIG, "cannot tell where nexus-broker lies; set NEXUS_SIGNER_PROGRAM");
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    size_t room = PATH_MAX - (size_t)(slash - out) - 1;
    int wrote = snprintf(slash + 1, room, "nexus-signer");
    return wrote > 0 && (size_t)wrote < room ? OK : FAIL(ERR_CONFIG, "the path of nexus-signer is too long");
}

static struct err open_signer(struct runtime *r, char *const *envp)
{
    if (r->config.signer_socket.n > 0) {
        struct hsm_peer *peer = arena_array(r->arena, 1, sizeof *peer);
        if (peer == NULL)
            return FAIL(ERR_NO_MEMORY, "the signer's address");
        bool own = r->config.signer_uid < 0;
        *peer = (struct hsm_peer){r->config.signer_socket.p, own ? getuid() : (uid_t)r->config.signer_uid};
        r->app.hsm = hsm_connector_peer(peer);
        return OK;
    }
    char path[PATH_MAX];
    TRY(signer_path(r, path));
    char **env = NULL;
    TRY(signer_environment(r, envp, &env));
    TRY(hsm_supervisor_start(path, env, &r->supervisor));
    r->app.hsm = hsm_supervisor_connector(r->supervisor);
    return OK;
}

static struct err no_signer(void *self, int64_t deadline_us, int *fd)
{
    (void)self;
    (void)deadline_us;
    (void)fd;
    return FAIL(ERR_HSM_UNAVAILABLE, "this command works without the signer");
}

struct err runtime_open(struct runtime *r, char *const *envp, bool with_signer)
{
    char provider[64];
    (void)snprintf(provider, sizeof provider, "%.*s", STR_FMT(r->config.openssl_provider));
    TRY(crypto_new(provider, &r->crypto));
    TRY(digest_config(r));
    uint8_t id[WRITER_ID_LEN / 2];
    TRY(rand_bytes(id, sizeof id));
    r->app =
        (struct app){.config = &r->config, .crypto = r->crypto, .clock = clock_real(), .hsm = {.connect = no_signer}};
    hex_encode(id, sizeof id, r->app.instance);
    TRY(api_metrics_new(&r->app.metrics));
    TRY(buckets_new(AGENT_NAMES, r->config.agent_rate, r->config.agent_burst, &r->app.agents));
    TRY(keyring_new(&r->app.keyring));
    TRY(health_new(&r->app.health));
    TRY(issuer_keys_new(&r->app.issuer_keys));
    TRY(bulkhead_new(r->config.workers, r->app.metrics, &r->app.outbound));
    TRY(net_global());
    return with_signer ? open_signer(r, envp) : OK;
}

void runtime_close(struct runtime *r)
{
    hsm_supervisor_stop(&r->supervisor);
    bulkhead_free(&r->app.outbound);
    issuer_keys_free(&r->app.issuer_keys);
    health_free(&r->app.health);
    keyring_free(&r->app.keyring);
    buckets_free(&r->app.agents);
    metrics_free(&r->app.metrics);
    crypto_free(&r->crypto);
    arena_free(&r->arena);
}
