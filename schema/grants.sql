-- SPDX-License-Identifier: Apache-2.0
-- What the broker's role may do. Runs after every `nexus-broker migrate` by the schema's owner, so that a role that
-- was made later gets its rights too. Everything that is not granted here is refused: the broker can neither change
-- nor delete audit leaves, nor change what an API key or a signing key is.
DO $$
DECLARE
    can_create boolean;
BEGIN
    SELECT rolcreaterole OR rolsuper INTO can_create FROM pg_catalog.pg_roles WHERE rolname = current_user;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'nexus_broker') THEN
        IF NOT can_create THEN
            RAISE NOTICE 'role nexus_broker is missing and % may not create it: grants skipped', current_user;
            RETURN;
        END IF;
        CREATE ROLE nexus_broker NOLOGIN;
    END IF;
    REVOKE ALL ON SCHEMA nexus FROM PUBLIC;
    GRANT USAGE ON SCHEMA nexus TO nexus_broker;
    GRANT SELECT ON nexus.schema_migrations TO nexus_broker;
    GRANT SELECT, INSERT, UPDATE ON nexus.agents TO nexus_broker;
    GRANT SELECT, INSERT, UPDATE, DELETE ON nexus.issuers, nexus.scopes TO nexus_broker;
    GRANT SELECT, UPDATE (revision) ON nexus.policy_revision TO nexus_broker;
    REVOKE ALL ON FUNCTION nexus.issue_stands FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION nexus.issue_stands TO nexus_broker;
    GRANT SELECT, UPDATE (latest) ON nexus.clock TO nexus_broker;
    GRANT SELECT, INSERT, DELETE ON nexus.dpop_nonces TO nexus_broker;
    GRANT SELECT, INSERT ON nexus.pseudonym_keys TO nexus_broker;
    GRANT SELECT, INSERT, UPDATE ON nexus.providers TO nexus_broker;
    GRANT SELECT, INSERT, UPDATE (closed_at) ON nexus.agent_sessions TO nexus_broker;
    GRANT SELECT, INSERT, UPDATE (revoked_at, last_used_at) ON nexus.api_keys TO nexus_broker;
    GRANT SELECT, INSERT, UPDATE (state, activated_at) ON nexus.signing_keys TO nexus_broker;
    GRANT SELECT, INSERT, DELETE ON nexus.replay_guard TO nexus_broker;
    GRANT SELECT, INSERT, UPDATE (settled_at) ON nexus.audit_writers TO nexus_broker;
    GRANT SELECT, INSERT ON nexus.audit_leaves TO nexus_broker;
END
$$;
