/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/provider_words.h"

#include "base/cleanup.h"

#include <strings.h>

enum { FIELD_MAX = 64, HEADER_MAX = 128 };

size_t words_count(struct str s, const char *characters)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] != '\0' && strchr(characters, s.p[i]) != NULL;
    return n;
}

bool words_hold_only(struct str s, const char *characters)
{
    return words_count(s, characters) == s.n;
}

bool words_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    }
    return true;
}

bool words_visible(struct str s)
{
    return s.n > 0 && words_printable(s) && memchr(s.p, ' ', s.n) == NULL;
}

bool words_is_field(struct str s)
{
    return s.n > 0 && s.n <= FIELD_MAX && words_hold_only(s, LOWER UPPER DIGITS "_-");
}

/* Which of the names s is, whatever the case of its letters. */
static const char *among(struct str s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(names[i]) == s.n && strncasecmp(s.p, names[i], s.n) == 0)
            return names[i];
    }
    return NULL;
}

/* RFC 9110 section 5.1 says what a name is; what frames or routes a message (section 7) is not for credentials. */
const char *words_header_fault(struct str s)
{
    static const char *const framing[] = {"Host",    "Connection", "Content-Length", "Transfer-Encoding",
                                          "Upgrade", "TE",         "Trailer"};
    if (s.n == 0 || s.n > HEADER_MAX || !words_hold_only(s, LOWER UPPER DIGITS "!#$%&'*+-.^_`|~"))
        return "is not the name of an HTTP header";
    return among(s, framing, COUNT(framing)) != NULL ? "names a header that frames the message" : NULL;
}

const char *words_reserved(struct str s)
{
    static const char *const names[] = {"client_id", "redirect_uri",   "response_type", "state",
                                        "scope",     "code_challenge", "nonce",         "resource",
                                        "request",   "request_uri",    "client_secret", "code_challenge_method"};
    return among(s, names, COUNT(names));
}
