/* SPDX-License-Identifier: Apache-2.0
 * /admin/v1/scopes: the conditions of the enterprise's own scopes. Every change is one transaction with its leaf and,
 * if it is one of conditions, with the policy's next revision, as for issuers (issuers.c). */
#include "service/api/record.h"

#include "service/core/issuer_rules.h"
#include "service/store/policy.h"

struct scope_body {
    struct str name, description;
    struct json_int min_clearance, max_ttl;
    struct json_bool requires_obo;
};

#define AT(member) offsetof(struct scope_body, member)
/* A max_ttl_seconds of 0 is none, which takes away what was there. */
#define CONDITION_FIELDS                                                                                               \
    {"description", BIND_STR, AT(description), false, 0, DESCRIPTION_MAX, 0},                                          \
        {"min_clearance", BIND_INT, AT(min_clearance), false, 0, CLEARANCE_MAX, 0},                                    \
        {"max_ttl_seconds", BIND_INT, AT(max_ttl), false, 0, TTL_MAX_S, 0},                                            \
    {                                                                                                                  \
        "requires_obo", BIND_BOOL, AT(requires_obo), false, 0, 0, 0                                                    \
    }

static const struct json_field create_fields[] = {{"name", BIND_STR, AT(name), true, 0, 0, 0}, CONDITION_FIELDS};
static const struct json_field update_fields[] = {CONDITION_FIELDS};
#undef AT

/* Lays the members that were sent over the scope. */
static void apply(const struct scope_body *b, struct scope_rule *d)
{
    if (b->description.p != NULL)
        d->description = str_trim(b->description);
    if (b->min_clearance.set)
        d->min_clearance = b->min_clearance.v;
    if (b->max_ttl.set)
        d->max_ttl_s = b->max_ttl.v;
    if (b->requires_obo.set)
        d->requires_obo = b->requires_obo.v;
}

/* d is the scope after the change; NULL: it is gone. The router has checked the caller's role; here we take the name
 * for the record. */
static struct err record_change(const struct call *c, const char *op, struct str name, const struct scope_rule *d,
                                struct recording *out)
{
    struct leaf_fields f = {.kind = LEAF_ADMIN, .op = op, .actor = c->api->caller.name, .target = name, .exp = -1};
    if (d != NULL) {
        f.detail =
            arena_printf(c->arena, "min_clearance=%lld max_ttl_seconds=%lld requires_obo=%s",
                         (long long)d->min_clearance, (long long)d->max_ttl_s, d->requires_obo ? "true" : "false");
        if (f.detail.p == NULL)
            return FAIL(ERR_NO_MEMORY, "detail");
    }
    return record_begin(c, &f, out);
}

static void put_scope(struct json_writer *w, const struct scope_rule *d)
{
    char time[CLOCK_TEXT];
    json_begin_object(w, NULL);
    json_put_str(w, "created_at", clock_rfc3339(d->created_us, time));
    json_put_str(w, "description", d->description);
    if (d->max_ttl_s != 0)
        json_put_int(w, "max_ttl_seconds", d->max_ttl_s);
    json_put_int(w, "min_clearance", d->min_clearance);
    json_put_str(w, "name", d->name);
    json_put_bool(w, "requires_obo", d->requires_obo);
    json_put_str(w, "updated_at", clock_rfc3339(d->updated_us, time));
    json_end_object(w);
}

static struct err reply_scope(const struct http_request *req, int status, const struct scope_rule *d,
                              struct http_reply *out)
{
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    put_scope(&w, d);
    return http_reply_json(status, &b, out);
}

struct err api_scope_create(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct scope_body body = {.name = {NULL, 0}};
    TRY(http_bind_json(req, create_fields, COUNT(create_fields), JSON_UNKNOWN_REFUSED, &body));
    struct scope_rule d = {.description = STR("")};
    TRY(scope_name_check(req->arena, body.name, &d.name));
    apply(&body, &d);
    const struct call c = call_of(api, req);
    struct recording r;
    TRY(record_change(&c, "scope.define", d.name, &d, &r));
    struct store s = call_store(&c);
    struct err stored = store_scope_insert(&s, &d, &r.batch, &d.created_us);
    TRY(record_end(&c, &r, stored, true));
    d.updated_us = d.created_us;
    return reply_scope(req, 201, &d, out);
}

struct err api_scope_list(struct api *api, const struct http_request *req, struct http_reply *out)
{
    TRY(http_query_only(req, NULL, 0));
    const struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct scope_rule *scopes = NULL;
    size_t n = 0;
    TRY(store_scope_list(&s, &scopes, &n));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_begin_array(&w, "scopes");
    for (size_t i = 0; i < n; i++)
        put_scope(&w, &scopes[i]);
    json_end_array(&w);
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}

struct err api_scope_get(struct api *api, const struct http_request *req, struct http_reply *out)
{
    const struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct scope_rule d;
    TRY(store_scope_get(&s, req->args[0], &d));
    return reply_scope(req, 200, &d, out);
}

struct err api_scope_update(struct api *api, const struct http_request *req, struct http_reply *out)
{
    struct scope_body body = {.name = {NULL, 0}};
    TRY(http_bind_json(req, update_fields, COUNT(update_fields), JSON_UNKNOWN_REFUSED, &body));
    if (body.description.p == NULL && !body.min_clearance.set && !body.max_ttl.set && !body.requires_obo.set)
        return FAIL(ERR_INVALID_REQUEST, "the body names nothing to change");
    const struct call c = call_of(api, req);
    struct store s = call_store(&c);
    struct scope_rule d;
    TRY(store_scope_get(&s, req->args[0], &d));
    apply(&body, &d);
    struct recording r;
    TRY(record_change(&c, "scope.update", d.name, &d, &r));
    struct err stored = store_scope_update(&s, &d, &r.batch, &d);
    TRY(record_end(&c, &r, stored, true));
    return reply_scope(req, 200, &d, out);
}

struct err api_scope_delete(struct api *api, const struct http_request *req, struct http_reply *out)
{
    const struct call c = call_of(api, req);
    struct str name = req->args[0];
    struct recording r;
    TRY(record_change(&c, "scope.delete", name, NULL, &r));
    struct store s = call_store(&c);
    struct err stored = store_scope_delete(&s, name, &r.batch);
    TRY(record_end(&c, &r, stored, true));
    struct buf b = http_body(req);
    struct json_writer w = json_writer(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "name", name);
    json_put_str(&w, "status", STR("deleted"));
    json_end_object(&w);
    return http_reply_json(200, &b, out);
}
