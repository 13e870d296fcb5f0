/* SPDX-License-Identifier: Apache-2.0
 * Structured logs: one JSON object a line on stderr, written with one write(2), so that lines of several threads and
 * of the signer do not mix. Values are escaped: a caller's bytes can never make a second line. Secrets are never
 * passed here. Safe on any thread; the level is set once, before the first thread starts. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"
#include "base/span.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *key;
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_BOOL } type;
    struct str s;
    int64_t i;
};

#define LOG_STR(k, v)  ((struct log_field){.key = (k), .type = LOG_FIELD_STR, .s = (v)})
#define LOG_CSTR(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_STR, .s = str_of(v)})
#define LOG_INT(k, v)  ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .i = (int64_t)(v)})
#define LOG_BOOL(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_BOOL, .i = (v)})

/* The program's name for the "component" field, and the lowest level that is written. Call once from main. */
void log_setup(const char *component, enum log_level lowest);

/* LOG(LOG_INFO, "agent registered", LOG_STR("agent_id", id), LOG_INT("scopes", n)): message first, then fields. */
#define LOG(level, msg, ...)                                                                                           \
    log_write((level), (msg), (struct log_field[]){__VA_ARGS__}, COUNT(((struct log_field[]){__VA_ARGS__})))
/* The same without fields. */
#define LOG0(level, msg) log_write((level), (msg), NULL, 0)

void log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t n);

/* Logs an error with its name, detail and place, under a message and with further fields (may be NULL, 0). */
void log_err(enum log_level level, const char *msg, const struct err *e, const struct log_field *fields, size_t n);
#define LOG_ERR(level, msg, e, ...)                                                                                    \
    log_err((level), (msg), (e), (struct log_field[]){__VA_ARGS__}, COUNT(((struct log_field[]){__VA_ARGS__})))

/* "debug", "info", "warn" or "error"; false when the text is none of them. */
bool log_level_parse(struct str text, enum log_level *out);

#endif
