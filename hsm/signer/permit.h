/* SPDX-License-Identifier: Apache-2.0
 * The permission table: which operations each purpose of key allows, and which algorithms each type of key. What is
 * not in the tables is refused. */
#ifndef HSM_SIGNER_PERMIT_H
#define HSM_SIGNER_PERMIT_H

#include "hsm/proto.h"

struct err permit_use(enum hsm_purpose purpose, enum proto_op op);
struct err permit_alg(enum hsm_key_type type, enum jose_alg alg);
/* Which types of key may be made for a purpose. */
struct err permit_type(enum hsm_purpose purpose, enum hsm_key_type type);

#endif
