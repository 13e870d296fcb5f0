/* SPDX-License-Identifier: Apache-2.0
 * Everything that nexus-broker's commands share, made in order from the configuration and taken down in reverse. */
#ifndef SERVICE_RUNTIME_H
#define SERVICE_RUNTIME_H

#include "hsm/supervisor.h"
#include "service/api/api.h"

struct runtime {
    struct arena *arena; /* the configuration's text lives here */
    struct config config;
    struct crypto *crypto;
    struct hsm_supervisor *supervisor; /* NULL: the signer runs by itself, or is not wanted */
    struct app app;
};

/* Reads the configuration; on mistakes prints all of them to stderr. */
struct err runtime_configure(char *const *envp, const char *file, struct runtime *out);
/* Makes the app. with_signer: also starts, or finds, the signer. */
struct err runtime_open(struct runtime *r, char *const *envp, bool with_signer);
void runtime_close(struct runtime *r);

#endif
