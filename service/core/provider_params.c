/* SPDX-License-Identifier: Apache-2.0
 * The params of a provider: settings that have a meaning here; all else are parameters for its authorization endpoint.
 */
#include "service/core/provider_rules.h"

#include "service/core/provider_words.h"

enum { EXTRAS_MAX = 32, EXTRA_VALUE_MAX = 1024, STATUSES_MAX = 32, BODY_TEXT_MAX = 256, RULES_MAX = 4 };

/* What the text of a strategy's setting must be. */
enum word_kind { WORD_HEADER, WORD_FIELD, WORD_PREFIX, WORD_NAME, WORD_ALGORITHM, WORD_ENCODING };

struct word_rule {
    const char *name; /* NULL: no more rules */
    enum word_kind kind;
    bool required;
};

static const struct {
    const char *type;
    struct word_rule rules[RULES_MAX];
} strategies[] = {
    {"oauth2", {{NULL, 0, false}}},
    {"header",
     {{"header_name", WORD_HEADER, false},
      {"credential_field", WORD_FIELD, false},
      {"value_prefix", WORD_PREFIX, false}}},
    {"query_param", {{"param_name", WORD_NAME, true}, {"credential_field", WORD_FIELD, false}}},
    {"basic_auth", {{"username_field", WORD_FIELD, false}, {"password_field", WORD_FIELD, false}}},
    {"hmac_payload",
     {{"header_name", WORD_HEADER, true},
      {"secret_field", WORD_FIELD, false},
      {"algo", WORD_ALGORITHM, false},
      {"encoding", WORD_ENCODING, false}}},
    {"aws_sigv4", {{"service", WORD_NAME, true}, {"region", WORD_NAME, false}}},
    {"path", {{NULL, 0, false}}},
};

/* What is wrong with a word; NULL: nothing. */
static const char *word_fault(enum word_kind kind, struct str s)
{
    bool good = false;
    switch (kind) {
    case WORD_HEADER:
        return words_header_fault(s);
    case WORD_FIELD:
        return words_is_field(s) ? NULL : "is not the name of a credential field (1 to 64 letters, digits, _ and -)";
    case WORD_PREFIX:
        good = s.n <= PROVIDER_WORD_MAX && words_printable(s);
        return good ? NULL : "must be printable ASCII of at most 128 bytes";
    case WORD_NAME:
        good = s.n <= PROVIDER_WORD_MAX && s.n > 0 && words_hold_only(s, LOWER UPPER DIGITS "-._~[]:");
        return good ? NULL : "must have 1 to 128 letters, digits and - . _ ~ : [ ]";
    case WORD_ALGORITHM:
        return str_is(s, "sha256") || str_is(s, "sha1") ? NULL : "is neither sha256 nor sha1";
    case WORD_ENCODING:
        return str_is(s, "hex") || str_is(s, "base64") ? NULL : "is neither hex nor base64";
    }
    return "is not known here";
}

static struct err strategy_fault(struct str name, const char *fault)
{
    enum { QUOTED = 40 };
    return FAIL(ERR_INVALID_REQUEST, "field \"params\": auth_strategy.config.%.*s %s",
                (int)(name.n < QUOTED ? name.n : QUOTED), name.p, fault);
}

static struct err check_setting(const struct word_rule *rules, struct str name, const struct json *v)
{
    size_t k = 0;
    while (k < RULES_MAX && rules[k].name != NULL && !str_is(name, rules[k].name))
        k++;
    if (k == RULES_MAX || rules[k].name == NULL)
        return strategy_fault(name, "is not known for this type");
    const char *fault = v->type == JSON_STR ? word_fault(rules[k].kind, v->s) : "must be a string";
    return fault == NULL ? OK : strategy_fault(name, fault);
}

/* config is NULL when it was not given. */
static struct err check_config(const struct word_rule *rules, const struct json *config)
{
    for (size_t i = 0; config != NULL && i < config->n; i++)
        TRY(check_setting(rules, config->names[i], &config->items[i]));
    for (size_t k = 0; k < RULES_MAX && rules[k].name != NULL; k++) {
        if (rules[k].required && json_get(config, rules[k].name) == NULL)
            return strategy_fault(str_of(rules[k].name), "is missing");
    }
    return OK;
}

/* An error of a part of params says where the part stands. */
static struct err within(const char *part, struct err e)
{
    return e.code == ERR_INVALID_REQUEST ? FAIL(e.code, "field \"params\": %s%s", part, e.detail) : e;
}

struct strategy {
    struct str type;
    const struct json *config;
};

static struct err check_strategy(struct arena *a, const struct json *json)
{
    static const struct json_field fields[] = {
        {"type", BIND_STR, offsetof(struct strategy, type), true, 0, 0, 0},
        {"config", BIND_OBJECT, offsetof(struct strategy, config), false, 0, 0, 0},
    };
    struct strategy s = {.config = NULL};
    TRY(within("auth_strategy: ", json_bind_object(json, fields, COUNT(fields), JSON_UNKNOWN_REFUSED, a, &s)));
    for (size_t i = 0; i < COUNT(strategies); i++) {
        if (str_is(s.type, strategies[i].type))
            return check_config(strategies[i].rules, s.config);
    }
    return FAIL(ERR_INVALID_REQUEST, "field \"params\": auth_strategy.type is none of oauth2, header, query_param, "
                                     "basic_auth, hmac_payload, aws_sigv4 and path");
}

struct validation {
    struct json_bool skip;
    const struct json *failure_status;
    struct str failure_body, success_body;
};

static struct err check_validation(struct arena *a, const struct json *json)
{
    static const struct json_field fields[] = {
        {"skip", BIND_BOOL, offsetof(struct validation, skip), false, 0, 0, 0},
        {"failure_status", BIND_ARRAY, offsetof(struct validation, failure_status), false, 0, STATUSES_MAX, 0},
        {"failure_body_contains", BIND_STR, offsetof(struct validation, failure_body), false, 1, BODY_TEXT_MAX, 0},
        {"success_body_contains", BIND_STR, offsetof(struct validation, success_body), false, 1, BODY_TEXT_MAX, 0},
    };
    struct validation v = {.failure_status = NULL};
    TRY(within("validation: ", json_bind_object(json, fields, COUNT(fields), JSON_UNKNOWN_REFUSED, a, &v)));
    for (size_t i = 0; v.failure_status != NULL && i < v.failure_status->n; i++) {
        const struct json *status = &v.failure_status->items[i];
        if (status->type != JSON_INT || status->i < 100 || status->i > 599)
            return FAIL(ERR_INVALID_REQUEST,
                        "field \"params\": validation.failure_status holds what is no HTTP status");
    }
    return OK;
}

struct known {
    struct json_bool skip_on_auth, skip_on_exchange;
    struct str format, revocation_endpoint;
    const struct json *auth_strategy, *credential_schema, *validation;
};

static const struct json_field known_fields[] = {
    {"skip_scope_on_auth", BIND_BOOL, offsetof(struct known, skip_on_auth), false, 0, 0, 0},
    {"skip_scope_on_exchange", BIND_BOOL, offsetof(struct known, skip_on_exchange), false, 0, 0, 0},
    {"token_request_format", BIND_STR, offsetof(struct known, format), false, 0, 0, 0},
    {"revocation_endpoint", BIND_STR, offsetof(struct known, revocation_endpoint), false, 1, PROVIDER_URL_MAX, 0},
    {"auth_strategy", BIND_OBJECT, offsetof(struct known, auth_strategy), false, 0, 0, 0},
    {"credential_schema", BIND_OBJECT, offsetof(struct known, credential_schema), false, 0, 0, 0},
    {"validation", BIND_OBJECT, offsetof(struct known, validation), false, 0, 0, 0},
};

static bool is_known(struct str name)
{
    size_t i = 0;
    while (i < COUNT(known_fields) && !str_is(name, known_fields[i].name))
        i++;
    return i < COUNT(known_fields);
}

/* A parameter of the authorization request beside those that the broker sets, which it cannot take the place of. */
static struct err take_extra(struct str name, const struct json *v, struct provider_params *out)
{
    enum { QUOTED = 40 };
    int n = (int)(name.n < QUOTED ? name.n : QUOTED);
    if (name.n == 0 || name.n > PROVIDER_WORD_MAX || !words_hold_only(name, LOWER UPPER DIGITS "-._~"))
        return FAIL(ERR_INVALID_REQUEST,
                    "field \"params\": \"%.*s\" cannot be a parameter's name: 1 to 128 letters, digits and - . _ ~", n,
                    name.p);
    if (words_reserved(name) != NULL)
        return FAIL(ERR_INVALID_REQUEST, "field \"params\": \"%.*s\" is set by the broker; leave it out", n, name.p);
    if (v->type != JSON_STR || v->s.n > EXTRA_VALUE_MAX)
        return FAIL(ERR_INVALID_REQUEST,
                    "field \"params\": \"%.*s\" must be a string of at most %d bytes, for the authorization request", n,
                    name.p, EXTRA_VALUE_MAX);
    if (out->extra_names.n == EXTRAS_MAX)
        return FAIL(ERR_INVALID_REQUEST, "field \"params\": more than %d parameters for the authorization request",
                    EXTRAS_MAX);
    out->extra_names.v[out->extra_names.n++] = name;
    out->extra_values.v[out->extra_values.n++] = v->s;
    return OK;
}

static struct err take_extras(struct arena *a, const struct json *params, struct provider_params *out)
{
    out->extra_names.v = arena_array(a, EXTRAS_MAX, sizeof *out->extra_names.v);
    out->extra_values.v = arena_array(a, EXTRAS_MAX, sizeof *out->extra_values.v);
    if (out->extra_names.v == NULL || out->extra_values.v == NULL)
        return FAIL(ERR_NO_MEMORY, "parameters");
    for (size_t i = 0; i < params->n; i++) {
        if (!is_known(params->names[i]))
            TRY(take_extra(params->names[i], &params->items[i], out));
    }
    return OK;
}

struct err provider_params_read(struct arena *a, const struct json *params, struct provider_params *out)
{
    struct known k = {.validation = NULL};
    TRY(within("", json_bind_object(params, known_fields, COUNT(known_fields), JSON_UNKNOWN_IGNORED, a, &k)));
    bool json = k.format.p != NULL && str_is(k.format, "json");
    if (k.format.p != NULL && !json && !str_is(k.format, "form"))
        return FAIL(ERR_INVALID_REQUEST, "field \"params\": token_request_format is neither json nor form");
    if (k.auth_strategy != NULL)
        TRY(check_strategy(a, k.auth_strategy));
    if (k.validation != NULL)
        TRY(check_validation(a, k.validation));
    *out = (struct provider_params){.skip_scope_on_auth = k.skip_on_auth.v,
                                    .skip_scope_on_exchange = k.skip_on_exchange.v,
                                    .json_token_request = json,
                                    .revocation_endpoint = k.revocation_endpoint,
                                    .auth_strategy = k.auth_strategy,
                                    .credential_schema = k.credential_schema,
                                    .validation = k.validation};
    return take_extras(a, params, out);
}
