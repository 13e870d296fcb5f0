/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/domain.h"

static const struct {
    enum role role;
    const char *name;
} role_names[] = {{ROLE_ADMIN, "admin"}, {ROLE_AUDITOR, "auditor"}, {ROLE_GATEWAY, "gateway"}};

static const char *const state_names[] = {
    [KEY_PENDING] = "pending", [KEY_ACTIVE] = "active", [KEY_RETIRING] = "retiring", [KEY_RETIRED] = "retired"};

bool role_parse(struct str s, enum role *out)
{
    for (size_t i = 0; i < COUNT(role_names); i++) {
        if (str_is(s, role_names[i].name)) {
            *out = role_names[i].role;
            return true;
        }
    }
    return false;
}

const char *role_name(enum role r)
{
    for (size_t i = 0; i < COUNT(role_names); i++) {
        if (role_names[i].role == r)
            return role_names[i].name;
    }
    return "none";
}

const char *key_state_name(enum key_state s)
{
    return state_names[s];
}

bool key_state_parse(struct str s, enum key_state *out)
{
    for (size_t i = 0; i < COUNT(state_names); i++) {
        if (str_is(s, state_names[i])) {
            *out = (enum key_state)i;
            return true;
        }
    }
    return false;
}
