-- SPDX-License-Identifier: Apache-2.0
-- Third parties whose APIs agents use through connections.

CREATE TABLE nexus.providers (
    id                        text COLLATE "C" PRIMARY KEY
                              CHECK (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'),
    name                      text COLLATE "C" NOT NULL CHECK (name ~ '^[a-z0-9-]{1,63}$'),
    description               text CHECK (octet_length(description) <= 1024),
    category                  text CHECK (octet_length(category) <= 100),
    auth_type                 text NOT NULL,
    auth_header               text,
    client_id                 text,
    auth_url                  text,
    token_url                 text,
    issuer                    text,
    enable_discovery          boolean NOT NULL,
    scopes                    text[] NOT NULL,
    api_base_url              text,
    user_info_endpoint        text,
    params                    text NOT NULL CHECK (octet_length(params) <= 16384),
    downscope                 text NOT NULL,
    allow_full_token          boolean NOT NULL,
    -- The provider's own data key, wrapped under a KEK of the HSM, and the client secret that is sealed under it. The
    -- number of the secret is sealed in with it and grows with every new one.
    dek_kek                   bytea CHECK (octet_length(dek_kek) = 16),
    dek_wrapped               bytea,
    client_secret_sealed      bytea,
    client_secret_version     bigint NOT NULL DEFAULT 0 CHECK (client_secret_version >= 0),
    client_secret_fingerprint text,
    version                   bigint NOT NULL DEFAULT 1,
    created_at                timestamptz NOT NULL DEFAULT now(),
    updated_at                timestamptz NOT NULL DEFAULT now(),
    deleted_at                timestamptz,
    CHECK ((dek_kek IS NULL) = (dek_wrapped IS NULL)),
    CHECK ((client_secret_sealed IS NULL) = (client_secret_fingerprint IS NULL)),
    CHECK (client_secret_sealed IS NULL OR (dek_wrapped IS NOT NULL AND client_secret_version > 0))
);
-- A deleted provider's row stays for its connections; its name is free again.
CREATE UNIQUE INDEX providers_name ON nexus.providers (name) WHERE deleted_at IS NULL;
