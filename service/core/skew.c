/* SPDX-License-Identifier: Apache-2.0 */
#include "service/core/skew.h"

static long long seconds(int64_t us)
{
    return (long long)(us / 1000000);
}

struct err skew_check(const struct skew_case *k)
{
    if (k->before_us - k->database_us > k->max_us)
        return FAIL(ERR_CLOCK, "this machine's clock is %lld s ahead of the database's: set the wrong one right",
                    seconds(k->before_us - k->database_us));
    if (k->database_us - k->after_us > k->max_us)
        return FAIL(ERR_CLOCK, "this machine's clock is %lld s behind the database's: set the wrong one right",
                    seconds(k->database_us - k->after_us));
    /* Ids that were used since may be forgotten already: they would be good once more. */
    if (k->latest_us - k->database_us > k->max_us)
        return FAIL(ERR_CLOCK,
                    "the clocks were set back by %lld s: set them right, or, if they had been wrong before, see "
                    "NEXUS_CLOCK_SKEW_MAX_S in docs/configuration.md",
                    seconds(k->latest_us - k->database_us));
    return OK;
}
