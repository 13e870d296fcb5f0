/* SPDX-License-Identifier: Apache-2.0
 * The signer's settings. Strings live as long as the arena that they were loaded into. */
#ifndef HSM_SIGNER_CONFIG_H
#define HSM_SIGNER_CONFIG_H

#include "base/conf.h"
#include "base/log.h"

enum signer_mode { SIGNER_SERVE, SIGNER_CHILD };

struct signer_config {
    struct str module, uri, pin_file, state_dir, socket, log_level_text;
    int64_t peer_uid; /* -1: our own */
    int64_t max_sessions;
    int64_t timeout_ms;
    bool accept_imported;
    enum log_level log_level;
};

/* The table, for help texts. */
const struct conf_key *signer_config_table(size_t *n);

/* As the broker's child, the environment may hold any setting of the broker's; by itself, an unknown NEXUS_ name is a
 * mistake. ERR_CONFIG: *problems lists every mistake, one a line. */
struct err signer_config_load(enum signer_mode mode, char *const *envp, struct arena *a, struct signer_config *out,
                              struct str *problems);

#endif
