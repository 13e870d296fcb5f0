-- SPDX-License-Identifier: Apache-2.0
-- Sessions on behalf of users, delegation from agent to agent, and what both are decided by.

ALTER TABLE nexus.agents
    -- Agents that may take up a delegation where this one is the current actor. Default: none.
    ADD COLUMN delegates_to text[] NOT NULL DEFAULT '{}',
    ADD COLUMN require_dpop boolean NOT NULL DEFAULT false;

-- chain: the agents that act, the current one first. ancestors: the sessions it was exchanged from, nearest first; a
-- session lives only while all of them do. cnf_jkt: the RFC 7638 thumbprint of the key that its token is bound to.
ALTER TABLE nexus.agent_sessions
    ADD COLUMN audiences text[],
    ADD COLUMN chain text[] COLLATE "C",
    ADD COLUMN ancestors text[] COLLATE "C" NOT NULL DEFAULT '{}',
    ADD COLUMN grant_type text NOT NULL DEFAULT 'session',
    ADD COLUMN user_issuer text,
    ADD COLUMN cnf_jkt text;
UPDATE nexus.agent_sessions SET audiences = ARRAY[audience], chain = ARRAY[agent_id];
ALTER TABLE nexus.agent_sessions
    ALTER COLUMN audiences SET NOT NULL,
    ALTER COLUMN chain SET NOT NULL,
    DROP COLUMN audience,
    -- 128 random bits, which nobody looks up: the index only cost every session a page somewhere.
    DROP CONSTRAINT agent_sessions_jti_key;
-- Finds descendants. Partial: sessions that nobody delegated cost nothing here. No pending list: every look would read
-- all of it, and who closes 10,000 sessions looks 10,000 times.
CREATE INDEX agent_sessions_ancestors ON nexus.agent_sessions USING gin (ancestors) WITH (fastupdate = off)
    WHERE ancestors <> '{}';
-- A row is written once and closed once. With room for both on its page no index is touched when it is closed, and all
-- sessions of an agent are closed in a third of the time.
ALTER TABLE nexus.agent_sessions SET (fillfactor = 50);

-- Who may vouch for users. Exactly one source of keys.
CREATE TABLE nexus.issuers (
    id                text COLLATE "C" PRIMARY KEY,
    issuer            text COLLATE "C" NOT NULL UNIQUE CHECK (octet_length(issuer) BETWEEN 1 AND 512),
    jwks              text CHECK (octet_length(jwks) <= 65536),
    jwks_uri          text CHECK (octet_length(jwks_uri) <= 1024),
    discovery         boolean NOT NULL,
    algorithms        text[] NOT NULL CHECK (cardinality(algorithms) > 0),
    audience          text NOT NULL CHECK (octet_length(audience) BETWEEN 1 AND 512),
    typ               text,
    claim_user_id     text NOT NULL,
    claim_tenant_id   text NOT NULL,
    claim_clearance   text NOT NULL,
    claim_permissions text NOT NULL,
    max_age_seconds   bigint CHECK (max_age_seconds > 0),
    one_time_jti      boolean NOT NULL,
    active            boolean NOT NULL,
    version           bigint NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CHECK ((jwks IS NOT NULL)::int + (jwks_uri IS NOT NULL)::int + discovery::int = 1)
);

-- What the enterprise says of its own scopes. A scope without a row has no conditions.
CREATE TABLE nexus.scopes (
    name            text COLLATE "C" PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 128),
    description     text NOT NULL DEFAULT '' CHECK (octet_length(description) <= 1024),
    min_clearance   bigint NOT NULL DEFAULT 0 CHECK (min_clearance >= 0),
    max_ttl_seconds bigint CHECK (max_ttl_seconds > 0),
    requires_obo    boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

-- Grows with every change of issuers and of scopes' conditions, in the same statement. Brokers keep copies of both. An
-- issuing statement names the revision that it decided on, and asks, behind the gate at which such changes wait for it,
-- whether that is still the one in force (issue_stands).
CREATE TABLE nexus.policy_revision (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    revision  bigint NOT NULL
);
INSERT INTO nexus.policy_revision (revision) VALUES (1);

-- The latest time that the database's clock has shown while a broker's agreed with it. No one-time id is forgotten before
-- its time has come by this one, and nothing is issued while the clock is behind it: so setting the clocks back does not
-- make an id good once more.
CREATE TABLE nexus.clock (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    latest    timestamptz NOT NULL
);
INSERT INTO nexus.clock (latest) VALUES (now());

-- RFC 9449 section 8: a nonce of each slot of time, the same for all brokers.
CREATE TABLE nexus.dpop_nonces (
    slot  bigint PRIMARY KEY,
    nonce text NOT NULL
);

-- Keys of the pseudonyms that stand in audit leaves in place of users, each wrapped under a KEK of the HSM. Destroying
-- a row makes its period's pseudonyms meaningless.
CREATE TABLE nexus.pseudonym_keys (
    period     text COLLATE "C" PRIMARY KEY CHECK (period ~ '^[0-9]{4}-[0-9]{2}$'),
    kek        bytea NOT NULL CHECK (octet_length(kek) = 16),
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What an issuing statement asks after it has passed the gates and locked its agent: whether all that was decided on
-- still stands. A VOLATILE function sees what was committed before each of its own statements, where the issuing
-- statement itself sees only what was committed before it began to wait; and what is read here stays as it is until the
-- issuer commits: the revision by the policy gate, the rows by their locks. 0: it stands; 1: it has changed, decide
-- anew; 2: a session that it rests on has ended.
CREATE FUNCTION nexus.issue_stands(decided_revision bigint, others text[], versions bigint[], rests_on text[])
    RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    n bigint;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM nexus.policy_revision WHERE revision = decided_revision) THEN
        RETURN 1;
    END IF;
    IF cardinality(rests_on) = 0 THEN
        RETURN 0;
    END IF;
    SELECT count(*) INTO n FROM (SELECT 1 FROM nexus.agents
        WHERE id = ANY (others) AND version = versions[array_position(others, id)] AND active AND deleted_at IS NULL
        ORDER BY id FOR SHARE) locked;
    IF n <> cardinality(others) THEN
        RETURN 1;
    END IF;
    SELECT count(*) INTO n FROM (SELECT 1 FROM nexus.agent_sessions
        WHERE session_id = ANY (rests_on) AND closed_at IS NULL AND expires_at > clock_timestamp()
        ORDER BY session_id FOR SHARE) locked;
    RETURN CASE WHEN n = cardinality(rests_on) THEN 0 ELSE 2 END;
END
$$;
