// SPDX-License-Identifier: Apache-2.0
#include "script.h"

#include "names.h"

#include <string.h>

#define MAX_LINE 512

// The longest that a call may be delayed: a typing error in a script must not stall a test run for days.
#define MAX_MS 600000

struct action {
    const char *word;
    bool (*set)(struct rule *rule, const char *value); // value is NULL for a word without "="
};

struct setting {
    const char *word;
    bool (*set)(struct script *script, const char *value);
};

static bool is_number_up_to(const char *value, CK_ULONG max, CK_ULONG *number)
{
    return names_number(value, number) && *number <= max;
}

static bool set_rv(struct rule *rule, const char *value)
{
    rule->effect.answered = true;
    return names_value(NAME_RV, value, &rule->effect.rv);
}

static bool set_delay(struct rule *rule, const char *value)
{
    return is_number_up_to(value, MAX_MS, &rule->effect.delay_ms);
}

static bool set_limit(struct rule *rule, const char *value)
{
    rule->effect.limited = true;
    return rule->call == CALL_C_OpenSession && names_number(value, &rule->effect.limit);
}

static bool set_hang(struct rule *rule, const char *value)
{
    rule->effect.hang = true;
    return value == NULL;
}

static bool set_crash(struct rule *rule, const char *value)
{
    rule->effect.crash = true;
    return value == NULL;
}

static bool has_output(const struct rule *rule)
{
    return rule->call < CALL_COUNT && (call_infos[rule->call].flags & CALL_OUTPUT) != 0;
}

static bool set_corrupt(struct rule *rule, const char *value)
{
    rule->effect.corrupt = true;
    return value == NULL && has_output(rule);
}

static bool set_overlong(struct rule *rule, const char *value)
{
    rule->effect.overlong = true;
    return value == NULL && has_output(rule);
}

static bool set_samer(struct rule *rule, const char *value)
{
    rule->effect.samer = true;
    return value == NULL && rule->call == CALL_C_Sign;
}

static bool set_rule_lost_login(struct rule *rule, const char *value)
{
    rule->effect.lost_login = true;
    return value == NULL;
}

static bool set_once(struct rule *rule, const char *value)
{
    rule->once = true;
    return value == NULL;
}

static const struct action actions[] = {
    {"rv", set_rv},           {"delay", set_delay},
    {"hang", set_hang},       {"crash", set_crash},
    {"corrupt", set_corrupt}, {"overlong", set_overlong},
    {"samer", set_samer},     {"limit", set_limit},
    {"once", set_once},       {"lost-login", set_rule_lost_login},
};

static bool set_lost_login(struct script *script, const char *value)
{
    script->lost_login = true;
    return value == NULL;
}

static bool set_token_swap(struct script *script, const char *value)
{
    script->token_swap = true;
    return value == NULL;
}

static bool set_token_flags(struct script *script, const char *value)
{
    while (value != NULL && *value != '\0') {
        char name[64];
        size_t len = strcspn(value, "|");
        if (len == 0 || len >= sizeof(name))
            return false;
        memcpy(name, value, len);
        name[len] = '\0';
        CK_FLAGS flag = 0;
        if (!names_value(NAME_TOKEN_FLAG, name, &flag))
            return false;
        script->token_flags |= flag;
        value += len + (value[len] == '|');
    }
    return script->token_flags != 0;
}

static bool set_no_mechanism(struct script *script, const char *value)
{
    if (script->hidden_count == SCRIPT_MAX_HIDDEN)
        return false;
    return names_value(NAME_MECHANISM, value, &script->hidden[script->hidden_count++]);
}

static bool set_fail_nth(struct script *script, const char *value)
{
    CK_ULONG nth = 0;
    if (script->rule_count == SCRIPT_MAX_RULES || !names_number(value, &nth) || nth == 0)
        return false;
    script->rules[script->rule_count++] = (struct rule){
        .call = SCRIPT_ANY_CALL,
        .first = nth,
        .last = nth,
        .step = 1,
        .effect = {.answered = true, .rv = CKR_FUNCTION_FAILED},
    };
    return true;
}

static bool set_latency(struct script *script, const char *value)
{
    return is_number_up_to(value, MAX_MS, &script->latency_ms);
}

static bool set_sessions(struct script *script, const char *value)
{
    return names_number(value, &script->sessions);
}

static const struct setting settings[] = {
    {"lost-login", set_lost_login},     {"token-swap", set_token_swap}, {"token-flags", set_token_flags},
    {"no-mechanism", set_no_mechanism}, {"fail-nth", set_fail_nth},     {"latency", set_latency},
    {"sessions", set_sessions},
};

// Cuts the next word off a line; NULL at its end.
static char *next_word(char **cursor)
{
    char *word = *cursor + strspn(*cursor, " \t\r");
    size_t len = strcspn(word, " \t\r");
    if (len == 0)
        return NULL;
    *cursor = word + len + (word[len] != '\0');
    word[len] = '\0';
    return word;
}

// Cuts "name=value" in two; NULL without "=".
static char *cut_value(char *word)
{
    char *equals = strchr(word, '=');
    if (equals == NULL)
        return NULL;
    *equals = '\0';
    return equals + 1;
}

static const char *parse_action(struct rule *rule, char *word)
{
    const char *value = cut_value(word);
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(actions[i].word, word) == 0)
            return actions[i].set(rule, value) ? NULL : "an action does not fit its call or has a bad value";
    }
    return "unknown action";
}

static const char *parse_setting(struct script *script, char *word)
{
    const char *value = cut_value(word);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (strcmp(settings[i].word, word) == 0)
            return settings[i].set(script, value) ? NULL : "a setting has a bad value";
    }
    return "unknown setting";
}

static bool parse_call(const char *word, struct rule *rule)
{
    rule->call = SCRIPT_ANY_CALL;
    if (strcmp(word, "*") == 0)
        return true;
    for (rule->call = 0; rule->call < CALL_COUNT; rule->call++) {
        if (strcmp(call_infos[rule->call].name, word) == 0)
            return true;
    }
    return false;
}

static bool parse_when(char *word, struct rule *rule)
{
    rule->first = 1;
    rule->last = (CK_ULONG)-1;
    rule->step = 1;
    if (strcmp(word, "every") == 0)
        return true;
    if (strncmp(word, "every/", 6) == 0) {
        bool ok = names_number(word + 6, &rule->step) && rule->step > 0;
        rule->first = rule->step;
        return ok;
    }
    char *dash = strchr(word, '-');
    if (dash != NULL)
        *dash = '\0';
    if (!names_number(word, &rule->first) || rule->first == 0)
        return false;
    if (dash == NULL)
        rule->last = rule->first;
    else if (dash[1] != '\0' && !names_number(dash + 1, &rule->last))
        return false;
    return rule->last >= rule->first;
}

static const char *parse_rule(struct script *script, char *call, char *cursor, unsigned line)
{
    if (script->rule_count == SCRIPT_MAX_RULES)
        return "too many rules";
    struct rule *rule = &script->rules[script->rule_count++];
    rule->line = line;
    if (!parse_call(call, rule))
        return "unknown call";
    char *word = next_word(&cursor);
    if (word == NULL || !parse_when(word, rule))
        return "when? One of N, N-M, N-, every, every/K";
    word = next_word(&cursor);
    if (word == NULL)
        return "a rule without an action";
    const char *why = NULL;
    for (; word != NULL && why == NULL; word = next_word(&cursor))
        why = parse_action(rule, word);
    return why;
}

static const char *parse_line(struct script *script, char *text, unsigned line)
{
    char *cursor = text;
    char *word = next_word(&cursor);
    if (word == NULL)
        return NULL;
    if (strcmp(word, "*") == 0 || strncmp(word, "C_", 2) == 0)
        return parse_rule(script, word, cursor, line);
    const char *why = NULL;
    for (; word != NULL && why == NULL; word = next_word(&cursor))
        why = parse_setting(script, word);
    return why;
}

bool script_parse(const char *text, struct script *script, struct script_error *error)
{
    *script = (struct script){0};
    *error = (struct script_error){0};
    for (unsigned line = 1; *text != '\0'; line++) {
        char copy[MAX_LINE];
        size_t len = strcspn(text, "\n");
        size_t used = strcspn(text, "\n#");
        error->line = line;
        error->why = "line too long";
        if (used >= sizeof(copy))
            return false;
        memcpy(copy, text, used);
        copy[used] = '\0';
        error->why = parse_line(script, copy, line);
        if (error->why != NULL)
            return false;
        text += len + (text[len] == '\n');
    }
    return true;
}

bool script_rule_matches(const struct rule *rule, enum call_id id, CK_ULONG nth, CK_ULONG total)
{
    if (rule->call != SCRIPT_ANY_CALL && rule->call != id)
        return false;
    CK_ULONG count = rule->call == SCRIPT_ANY_CALL ? total : nth;
    return count >= rule->first && count <= rule->last && (count - rule->first) % rule->step == 0;
}

void script_effect_add(struct effect *sum, const struct effect *more)
{
    if (more->answered && !sum->answered) {
        sum->answered = true;
        sum->rv = more->rv;
    }
    if (more->limited && !sum->limited) {
        sum->limited = true;
        sum->limit = more->limit;
    }
    sum->delay_ms += more->delay_ms;
    sum->hang |= more->hang;
    sum->crash |= more->crash;
    sum->corrupt |= more->corrupt;
    sum->overlong |= more->overlong;
    sum->samer |= more->samer;
    sum->lost_login |= more->lost_login;
}
