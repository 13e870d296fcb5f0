/* SPDX-License-Identifier: Apache-2.0
 * A provider as it is shown and as it is recorded: without its secret, of which the fingerprint stands for it. */
#ifndef SERVICE_API_PROVIDER_VIEW_H
#define SERVICE_API_PROVIDER_VIEW_H

#include "service/api/record.h"
#include "service/core/provider.h"

/* 200 with all of it. */
struct err provider_view_reply(const struct http_request *req, const struct provider *p, struct http_reply *out);

/* A member of the metadata: its name, and what agents' developers want to know. */
struct err provider_view_metadata(const struct call *c, const struct provider *p, struct json_writer *w);

/* What an auditor wants to know of a provider after a change: where it is, which secret it has, how far a token may
 * reach; all else by its hash. */
struct err provider_view_detail(const struct call *c, const struct provider *p, struct str *out);

#endif
