/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

/* The two settings of this process, written once before threads start (see scripts/mutable-globals.allow). */
static const char *log_component = "nexus";
static enum log_level log_lowest = LOG_INFO;

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

/* A line under construction. Room for the closing brace is always kept, so a long value is cut, never the line. */
struct line {
    char p[LINE_MAX_BYTES];
    size_t n;
};

static void add(struct line *l, const char *s, size_t n)
{
    enum { TAIL = 4 };
    if (n > sizeof l->p - TAIL - l->n)
        n = sizeof l->p - TAIL - l->n;
    memcpy(l->p + l->n, s, n);
    l->n += n;
}

static void addf(struct line *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void addf(struct line *l, const char *fmt, ...)
{
    char tmp[64];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(tmp, sizeof tmp, fmt, ap);
    va_end(ap);
    if (n > 0)
        add(l, tmp, (size_t)n < sizeof tmp ? (size_t)n : sizeof tmp - 1);
}

/* A JSON string. Everything outside printable ASCII is escaped bytewise as \u00XX: log readers get no terminal
 * sequences, no line separators (U+2028) and no invalid UTF-8, whatever a client sent. */
static void add_quoted(struct line *l, struct str s)
{
    enum { VALUE_MAX = 1024, TAIL_ROOM = 64 };
    add(l, "\"", 1);
    for (size_t i = 0; i < s.n && i < VALUE_MAX && l->n < sizeof l->p - TAIL_ROOM; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            addf(l, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            addf(l, "\\u%04x", c);
        else
            add(l, (const char *)&c, 1);
    }
    add(l, "\"", 1);
}

static void add_field(struct line *l, const struct log_field *f)
{
    add(l, ",", 1);
    add_quoted(l, str_of(f->key));
    add(l, ":", 1);
    if (f->type == LOG_FIELD_STR)
        add_quoted(l, f->s);
    else if (f->type == LOG_FIELD_BOOL)
        addf(l, "%s", f->i != 0 ? "true" : "false");
    else
        addf(l, "%lld", (long long)f->i);
}

void log_setup(const char *component, enum log_level lowest)
{
    log_component = component;
    log_lowest = lowest;
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t n)
{
    if (level < log_lowest)
        return;
    int saved = errno;
    struct line l;
    l.n = 0;
    char when[CLOCK_TEXT];
    struct clock wall = clock_real();
    struct str t = clock_rfc3339_us(clock_now_us(&wall), when);
    add(&l, "{\"time\":", 8);
    add_quoted(&l, t);
    addf(&l, ",\"level\":\"%s\",\"component\":", level_names[level]);
    add_quoted(&l, str_of(log_component));
    add(&l, ",\"msg\":", 7);
    add_quoted(&l, str_of(msg));
    for (size_t i = 0; i < n; i++) {
        /* Room for the longest key and an integer; a field that no longer fits is dropped whole, not cut. */
        enum { FIELD_ROOM = 160 };
        if (l.n + FIELD_ROOM < sizeof l.p)
            add_field(&l, &fields[i]);
    }
    memcpy(l.p + l.n, "}\n", 2);
    l.n += 2;
    /* Nobody can be told when stderr is gone. */
    ssize_t ignored = write(STDERR_FILENO, l.p, l.n);
    (void)ignored;
    errno = saved;
}

void log_err(enum log_level level, const char *msg, const struct err *e, const struct log_field *fields, size_t n)
{
    enum { MORE = 16, OWN = 3 };
    struct log_field all[MORE + OWN];
    char place[96];
    (void)snprintf(place, sizeof place, "%s:%d", e->file != NULL ? e->file : "?", e->line);
    all[0] = LOG_CSTR("error", err_name(e->code));
    all[1] = LOG_CSTR("detail", e->detail);
    all[2] = LOG_CSTR("at", place);
    size_t k = n < MORE ? n : MORE;
    for (size_t i = 0; i < k; i++)
        all[OWN + i] = fields[i];
    log_write(level, msg, all, OWN + k);
}

bool log_level_parse(struct str text, enum log_level *out)
{
    for (size_t i = 0; i < COUNT(level_names); i++) {
        if (str_is(text, level_names[i])) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}
