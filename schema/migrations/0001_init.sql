-- SPDX-License-Identifier: Apache-2.0
-- The first schema. Names are qualified throughout: nothing here depends on a search_path.
-- Identifiers collate as bytes ("C"): they are compared, never sorted for people, and page cursors need one order.

-- What the hot tables check of a single value, they check by domains: PostgreSQL keeps those ready, while it parses a
-- table's CHECK anew in every statement (a quarter of the cost of issuing a session, when there are ten of them).
CREATE DOMAIN nexus.sha256 AS bytea CHECK (octet_length(VALUE) = 32);
-- Upper bound: audit leaves must fit the log's entry format. See service/core/leaf.h.
CREATE DOMAIN nexus.leaf AS bytea CHECK (octet_length(VALUE) BETWEEN 1 AND 16384);
CREATE DOMAIN nexus.leaf_number AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN nexus.leaf_kind AS text COLLATE "C"
    CHECK (VALUE IN ('intent', 'outcome', 'refusal', 'admin', 'close', 'boot', 'heartbeat'));

CREATE TABLE nexus.agents (
    id                text COLLATE "C" PRIMARY KEY CHECK (octet_length(id) BETWEEN 1 AND 128),
    description       text NOT NULL DEFAULT '' CHECK (octet_length(description) <= 1024),
    allowed_scopes    text[] NOT NULL,
    workspaces        text[] NOT NULL,
    allowed_audiences text[] NOT NULL,
    -- The JWK set as the broker wrote it: public members only. Text, since bytes are compared, never members.
    jwks              text NOT NULL CHECK (octet_length(jwks) <= 65536),
    max_ttl_seconds   bigint NOT NULL CHECK (max_ttl_seconds BETWEEN 1 AND 86400),
    active            boolean NOT NULL,
    version           bigint NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    deleted_at        timestamptz,
    CHECK (deleted_at IS NULL OR NOT active)
);
CREATE INDEX agents_page ON nexus.agents (created_at, id);

-- No foreign key to agents: rows of agents are never deleted, and the issuing statement has just read and locked the
-- agent's row; the key would look it up and lock it once more, for a seventh of the statement's whole cost.
CREATE TABLE nexus.agent_sessions (
    session_id      text COLLATE "C" PRIMARY KEY,
    agent_id        text COLLATE "C" NOT NULL,
    scopes          text[] NOT NULL,
    jti             text COLLATE "C" NOT NULL UNIQUE,
    kid             text NOT NULL,
    audience        text NOT NULL,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    closed_at       timestamptz,
    obo             boolean NOT NULL,
    acting_for      text COLLATE "C",
    tenant_id       text COLLATE "C",
    clearance_level bigint NOT NULL,
    -- No session is longer than a day: closing an agent's open sessions need not look further back.
    CONSTRAINT agent_sessions_day CHECK (expires_at > created_at AND expires_at <= created_at + interval '24 hours'
        AND (NOT obo OR acting_for IS NOT NULL))
);
CREATE INDEX agent_sessions_page ON nexus.agent_sessions (created_at, session_id);
CREATE INDEX agent_sessions_agent ON nexus.agent_sessions (agent_id, created_at, session_id);
CREATE INDEX agent_sessions_user ON nexus.agent_sessions (acting_for, created_at, session_id)
    WHERE acting_for IS NOT NULL;

CREATE TABLE nexus.api_keys (
    name         text COLLATE "C" PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 128),
    prefix       text NOT NULL,
    hash         nexus.sha256 NOT NULL UNIQUE,
    role         text NOT NULL CHECK (role IN ('admin', 'auditor', 'gateway')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE nexus.signing_keys (
    cka_id       bytea PRIMARY KEY CHECK (octet_length(cka_id) = 16),
    purpose      text NOT NULL,
    type         text NOT NULL,
    state        text NOT NULL CHECK (state IN ('pending', 'active', 'retiring', 'retired')),
    kid          text COLLATE "C" UNIQUE,
    alg          text,
    jwk          text,
    evidence     jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    -- A public half has all three, a KEK none of them.
    CHECK ((kid IS NULL) = (jwk IS NULL) AND (kid IS NULL) = (alg IS NULL)),
    CHECK (state = 'pending' OR activated_at IS NOT NULL)
);
CREATE UNIQUE INDEX signing_keys_one_active ON nexus.signing_keys (purpose) WHERE state = 'active';

-- Ids of assertions that were accepted, until none could be accepted again. Logged like any table: forgetting them in
-- a crash would let each be used once more.
CREATE TABLE nexus.replay_guard (
    issuer     text COLLATE "C" NOT NULL,
    jti_hash   nexus.sha256 NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, jti_hash)
);
CREATE INDEX replay_guard_expiry ON nexus.replay_guard (expires_at);

-- A writer is one database connection of one broker. It is alive as long as that connection holds the advisory lock
-- on lock_key. settled_at: it is dead, and each of its intents has its outcome.
CREATE TABLE nexus.audit_writers (
    writer     text COLLATE "C" PRIMARY KEY CHECK (writer ~ '^[0-9a-f]{32}$'),
    instance   text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    lock_key   bigint NOT NULL UNIQUE,
    settled_at timestamptz
);
CREATE INDEX audit_writers_unsettled ON nexus.audit_writers (started_at) WHERE settled_at IS NULL;

-- The audit log's leaves, as bytes. (writer, seq) makes a repeated number impossible. Two rows per issuance: every
-- index here costs. corr_* name the intent of an outcome, which has one at most.
CREATE TABLE nexus.audit_leaves (
    writer      text COLLATE "C" NOT NULL,
    seq         nexus.leaf_number NOT NULL,
    kind        nexus.leaf_kind NOT NULL,
    t           timestamptz NOT NULL DEFAULT clock_timestamp(),
    jti         text COLLATE "C",
    corr_writer text COLLATE "C",
    corr_seq    nexus.leaf_number,
    leaf        nexus.leaf NOT NULL,
    leaf_hash   nexus.sha256 NOT NULL,
    PRIMARY KEY (writer, seq),
    CHECK ((corr_writer IS NULL) = (corr_seq IS NULL))
);
CREATE UNIQUE INDEX audit_leaves_one_outcome ON nexus.audit_leaves (corr_writer, corr_seq)
    WHERE corr_writer IS NOT NULL AND kind = 'outcome';

-- The second fence behind the grants: not even the owner changes a leaf by mistake.
CREATE FUNCTION nexus.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'audit leaves are append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_leaves_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON nexus.audit_leaves
    FOR EACH STATEMENT EXECUTE FUNCTION nexus.refuse_change();
-- Also under session_replication_role = replica.
ALTER TABLE nexus.audit_leaves ENABLE ALWAYS TRIGGER audit_leaves_append_only;
