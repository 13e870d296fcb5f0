/* SPDX-License-Identifier: Apache-2.0 */
#include "hsm/signer/config.h"

#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#define AT(field) offsetof(struct signer_config, field)

static const struct conf_key table[] = {
    {"NEXUS_PKCS11_MODULE", CONF_STR, AT(module), NULL, 0, 0, "absolute path of the PKCS#11 module"},
    {"NEXUS_PKCS11_URI", CONF_STR, AT(uri), NULL, 0, 0, "RFC 7512 URI that names the token, e.g. pkcs11:token=nexus"},
    {"NEXUS_PKCS11_PIN_FILE", CONF_STR, AT(pin_file), "", 0, 0, "file with the user PIN (or pin-source in the URI)"},
    {"NEXUS_SIGNER_STATE_DIR", CONF_STR, AT(state_dir), NULL, 0, 0, "folder of mode 0700 that holds the PIN fuse"},
    {"NEXUS_SIGNER_SOCKET", CONF_STR, AT(socket), "", 0, 107, "unix socket to listen on (serve)"},
    {"NEXUS_SIGNER_PEER_UID", CONF_INT, AT(peer_uid), "-1", -1, 4294967294, "user id that may connect; -1: our own"},
    {"NEXUS_SIGNER_MAX_SESSIONS", CONF_INT, AT(max_sessions), "0", 0, 100000,
     "most sessions on the token, never more than 256; 0: what the token allows"},
    {"NEXUS_HSM_TIMEOUT_MS", CONF_INT, AT(timeout_ms), "10000", 100, 600000, "longest a call of the module may take"},
    {"NEXUS_INSECURE_ACCEPT_IMPORTED_KEYS", CONF_BOOL, AT(accept_imported), "off", 0, 0,
     "accept keys that were not born in the token; gives up the proof that no copy exists"},
    {"NEXUS_LOG_LEVEL", CONF_STR, AT(log_level_text), "info", 0, 5, "debug, info, warn or error"},
};

const struct conf_key *signer_config_table(size_t *n)
{
    *n = COUNT(table);
    return table;
}

static struct err check_state_dir(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return FAIL(ERR_CONFIG, "NEXUS_SIGNER_STATE_DIR: %s: errno %d (make it with mode 0700)", path, errno);
    if (!S_ISDIR(st.st_mode) || (st.st_mode & 0077) != 0 || st.st_uid != geteuid())
        return FAIL(ERR_CONFIG, "NEXUS_SIGNER_STATE_DIR: %s must be a folder of ours with mode 0700", path);
    return OK;
}

static struct err check(enum signer_mode mode, struct signer_config *c)
{
    if (c->module.n == 0 || c->module.p[0] != '/')
        return FAIL(ERR_CONFIG, "NEXUS_PKCS11_MODULE: must be an absolute path");
    if (!log_level_parse(c->log_level_text, &c->log_level))
        return FAIL(ERR_CONFIG, "NEXUS_LOG_LEVEL: must be debug, info, warn or error");
    if (mode == SIGNER_SERVE && (c->socket.n == 0 || c->socket.p[0] != '/'))
        return FAIL(ERR_CONFIG, "NEXUS_SIGNER_SOCKET: must be an absolute path to listen on");
    return check_state_dir(c->state_dir.p);
}

struct err signer_config_load(enum signer_mode mode, char *const *envp, struct arena *a, struct signer_config *out,
                              struct str *problems)
{
    static const char *const anything[] = {"NEXUS_*", NULL};
    TRY(conf_load(table, COUNT(table), mode == SIGNER_CHILD ? anything : NULL, envp, NULL, a, out, problems));
    struct err e = check(mode, out);
    if (err_is(&e))
        *problems = arena_printf(a, "%s\n", e.detail);
    return e;
}
