/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/internal.h"

#include "base/buf.h"

enum { PROBLEMS_MAX = 4096 };

/* Short texts: an error's detail has room for all of them on one line. */
static void problem(struct buf *b, const char *text)
{
    if (b->n > 0)
        buf_cstr(b, "; ");
    buf_cstr(b, text);
}

/* synchronous_commit is what this connection has after asking for `on`. Only `off` breaks the promise: a commit would
 * be answered before it is on this server's disk. `local`, `remote_write`, `remote_apply` and `on` differ in what they
 * promise about standbys, which is the operator's choice; without synchronous_standby_names they are the same. */
static struct err check_durability(const struct store *s, struct buf *b)
{
    static const struct sql sql = {
        "check_durability", "SELECT current_setting('fsync')::boolean, current_setting('full_page_writes')::boolean, "
                            "current_setting('synchronous_commit') <> 'off', NOT pg_is_in_recovery()"};
    static const char *const texts[] = {"fsync is off", "full_page_writes is off", "synchronous_commit is off",
                                        "the server is a standby"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    for (size_t i = 0; i < COUNT(texts); i++) {
        bool good = false;
        TRY(db_get_bool(r, 0, (int)i, &good));
        if (!good)
            problem(b, texts[i]);
    }
    return OK;
}

static struct err check_schema(const struct store *s, struct buf *b)
{
    static const struct sql exists = {"check_schema",
                                      "SELECT coalesce(has_schema_privilege(to_regnamespace('nexus'), 'USAGE') AND "
                                      "has_table_privilege(to_regclass('nexus.schema_migrations'), 'SELECT'), false)"};
    static const struct sql version = {"schema_version",
                                       "SELECT coalesce(max(version), 0) FROM nexus.schema_migrations"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &exists, NULL, 0, &r));
    bool readable = false;
    TRY(db_get_bool(r, 0, 0, &readable));
    if (!readable) {
        problem(b, "no schema that this role can read: run nexus-broker migrate");
        return OK;
    }
    CLEANUP(db_rows_free) struct db_rows *v = NULL;
    int64_t have = 0, want = store_schema_version();
    TRY(store_run(s, &version, NULL, 0, &v));
    TRY(db_get_int(v, 0, 0, &have));
    if (have < want)
        problem(b, "the schema is older than this program: run nexus-broker migrate");
    if (have > want)
        problem(b, "the schema is newer than this program: run nexus-broker migrate and serve of one version");
    return OK;
}

static struct err check_role(const struct store *s, struct buf *b)
{
    static const struct sql sql = {
        "check_role", "SELECT NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), "
                      "NOT coalesce(pg_has_role((SELECT relowner FROM pg_class WHERE oid = "
                      "to_regclass('nexus.audit_leaves')), 'MEMBER'), false), "
                      "NOT coalesce(has_table_privilege(to_regclass('nexus.audit_leaves'), "
                      "'UPDATE, DELETE, TRUNCATE, TRIGGER'), false) AND "
                      "NOT coalesce(has_any_column_privilege(to_regclass('nexus.audit_leaves'), 'UPDATE'), false)"};
    static const char *const texts[] = {"the role is a superuser (use nexus_broker's rights)",
                                        "the role owns the audit log (use nexus_broker's rights)",
                                        "the role may change audit leaves (revoke that)"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, NULL, 0, &r));
    for (size_t i = 0; i < COUNT(texts); i++) {
        bool good = false;
        TRY(db_get_bool(r, 0, (int)i, &good));
        if (!good) {
            problem(b, texts[i]);
            return OK; /* the first says it all: a superuser owns and may everything */
        }
    }
    return OK;
}

struct err store_check_server(const struct store *s, bool accept_privileged_role)
{
    struct buf b = buf_in(s->arena, PROBLEMS_MAX);
    TRY(check_durability(s, &b));
    TRY(check_schema(s, &b));
    if (!accept_privileged_role)
        TRY(check_role(s, &b));
    TRY(buf_status(&b));
    return b.n == 0 ? OK : FAIL(ERR_CONFIG, "%.*s", STR_FMT(buf_view(&b)));
}
