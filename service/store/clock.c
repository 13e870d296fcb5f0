/* SPDX-License-Identifier: Apache-2.0 */
#include "service/store/clock.h"

#include "service/store/internal.h"

struct err store_clock(const struct store *s, int64_t now_us, int64_t max_s, int64_t *database_us, int64_t *latest_us)
{
    static const struct sql sql = {"clock",
                                   "WITH u AS (UPDATE nexus.clock SET latest = now() WHERE latest < now() AND "
                                   "now() - $1 BETWEEN -make_interval(secs => $2) AND make_interval(secs => $2)) "
                                   "SELECT clock_timestamp(), latest FROM nexus.clock"};
    CLEANUP(db_rows_free) struct db_rows *r = NULL;
    TRY(store_run(s, &sql, (struct db_param[]){P_TIME(now_us), P_INT(max_s)}, 2, &r));
    if (db_count(r) != 1)
        return FAIL(ERR_DB, "nexus.clock has no row");
    TRY(db_get_time(r, 0, 0, database_us));
    return db_get_time(r, 0, 1, latest_us);
}
