# SPDX-License-Identifier: Apache-2.0
"""Recorded before signed: what the audit log holds, checked byte by byte and against what the HSM did.

The stack of this module runs with the PKCS#11 shim, whose log counts the signatures that the token really made."""

import psycopg
import pytest

from lib import agents, audit
from lib.broker import run_command
from lib.keys import parts
from lib.stack import running_stack
from lib.wait import until


@pytest.fixture(scope="module")
def stack():
    with running_stack(with_shim=True, NEXUS_HEARTBEAT_S=1) as s:
        yield s


@pytest.fixture(scope="module")
def jane(stack):
    return agents.register(stack, agent_id="jane", scopes=["acme:read", "acme:write"])


def test_issuance_has_its_intent_before_its_outcome(stack, jane):
    session = jane.session(scopes=["acme:write"])
    stack.settle()
    leaves = stack.leaves()
    claims = parts(session["session_token"])[1]
    intent = audit.check_token(leaves, session["session_token"], claims["jti"])
    body = intent.body
    assert body["op"] == "sign" and body["kind"] == "intent" and body["policy"] == "granted"
    assert body["client"] == jane.id and body["session"] == session["session_id"]
    assert body["scope"] == ["acme:write"]
    assert body["iss"] == stack.issuer and body["aud"] == claims["aud"] and body["exp"] == claims["exp"]
    assert body["kid"] == parts(session["session_token"])[0]["kid"] and body["mech"] == "ES256"
    assert body["req_id"]
    [outcome] = [x for x in leaves if x.kind == "outcome" and x.jti == claims["jti"]]
    assert outcome.body["reason"] == "ok"
    assert outcome.body["sgnr_ctr"] > 0 and outcome.body["sgnr_inst"] and outcome.body["sig_sha256"]
    assert body["t"] <= outcome.body["t"]


def test_leaves_are_canonical_hashed_chained_and_paired(stack, jane):
    for _ in range(40):
        jane.session()
    jane.open(scopes=["acme:none"])
    stack.settle()
    leaves = stack.leaves()
    audit.check(leaves)
    assert len({leaf.writer for leaf in leaves}) > 1
    assert len({leaf.hash for leaf in leaves}) == len(leaves)


def test_one_outcome_ok_for_every_signature_of_the_token(stack, jane):
    def both():
        stack.settle()
        return audit.outcomes_ok(stack.leaves()), stack.shim.count("C_Sign CKR_OK")

    before = both()
    for _ in range(25):
        jane.session()
    # A trial signature of the health check may lie between the two looks.
    after = until(lambda: (lambda now: now if now[0] - before[0] == now[1] - before[1] else None)(both()), 10, "the counts agree")
    assert after[0] - before[0] >= 25
    # Since the first start every signature of the token is on record but those that provisioning tried its keys with.
    assert after[1] >= after[0]


def test_signers_counter_has_no_gap(stack, jane):
    """A signature outside the log would show."""
    for _ in range(10):
        jane.session()
    stack.settle()
    marks = {}
    for leaf in stack.leaves("kind = 'outcome'"):
        if "sgnr_ctr" in leaf.body:
            marks.setdefault(leaf.body["sgnr_inst"], []).append(leaf.body["sgnr_ctr"])
    assert marks
    for counters in marks.values():
        assert len(set(counters)) == len(counters), "a counter twice"
        assert sorted(counters) == list(range(min(counters), min(counters) + len(counters)))


def test_refusal_after_authentication_is_on_record(stack, jane):
    before = len(stack.leaves("kind = 'refusal'"))
    refusals = [("scope_not_allowed", {"scopes": ["acme:none"]}), ("invalid_ttl", {"ttl_seconds": -1}),
                ("missing_scopes", {"scopes": []}), ("invalid_target", {"audience": "https://x.example"})]  # fmt: skip
    for _, fields in refusals:
        assert jane.open(**fields).status_code in (400, 403)
    leaves = stack.leaves("kind = 'refusal'")[before:]
    assert [leaf.body["reason"] for leaf in leaves] == [code for code, _ in refusals]
    assert all(leaf.body["client"] == jane.id and leaf.body["policy"] == "refused" for leaf in leaves)


def test_failed_authentication_leaves_nothing(stack, jane):
    """Else anybody could fill the log."""
    before = stack.row_counts()["audit_leaves"] - len(stack.leaves("kind IN ('heartbeat', 'intent', 'outcome')"))
    for _ in range(5):
        assert jane.open(assertion="x.y.z").status_code == 401
    after = stack.row_counts()["audit_leaves"] - len(stack.leaves("kind IN ('heartbeat', 'intent', 'outcome')"))
    assert after <= before


def test_close_is_on_record_once(stack, jane):
    by = {
        "session": lambda s: {"bearer": s["session_token"]},
        f"agent:{jane.id}": lambda s: {"bearer": jane.assertion()},
        "key:gateway": lambda s: {"key": stack.gateway_key},
    }
    for actor, credential in by.items():
        session = jane.session()
        path = f"/v1/agent-sessions/{session['session_id']}"
        assert stack.call("DELETE", path, **credential(session)).status_code == 200
        stack.admin("DELETE", path)
        closes = [x for x in stack.leaves("kind = 'close'") if x.body["session"] == session["session_id"]]
        assert [x.body["actor"] for x in closes] == [actor]


def test_changes_by_administrators_are_on_record(stack):
    a = agents.register(stack)
    path = f"/admin/v1/agents/{a.id}"
    stack.admin("PATCH", path, json={"active": False})
    stack.admin("DELETE", path)
    leaves = [x for x in stack.leaves("kind = 'admin'") if x.body.get("target") == a.id]
    assert [x.body["op"] for x in leaves] == ["agent.register", "agent.update", "agent.delete"]
    assert {x.body["actor"] for x in leaves} == {"admin"}
    assert leaves[0].body["scope"] == ["acme:read", "acme:write"]
    assert "active=false" in leaves[1].body["detail"]


def test_refused_change_has_no_leaf(stack, jane):
    before = len(stack.leaves("kind = 'admin'"))
    assert stack.admin("POST", "/admin/v1/agents", json={"agent_id": "-x"}).status_code == 400
    body = {"agent_id": jane.id, "allowed_scopes": [], "jwks": {"keys": [jane.key.jwk()]}}
    assert stack.admin("POST", "/admin/v1/agents", json=body).status_code == 409
    assert stack.admin("DELETE", "/admin/v1/agents/nobody").status_code == 404
    assert stack.admin("PATCH", "/admin/v1/agents/nobody", json={"active": False}).status_code == 404
    assert len(stack.leaves("kind = 'admin'")) == before


def test_boot_and_heartbeats(stack):
    [boot, *_] = stack.leaves("kind = 'boot'")
    assert boot.body["cfg"] and "token_serial" in boot.body["detail"] and "sgnr_inst" in boot.body
    count = len(stack.leaves("kind = 'heartbeat'"))
    until(lambda: len(stack.leaves("kind = 'heartbeat'")) >= count + 2, 15, "heartbeats go on")


def test_restart_begins_new_chains(stack, jane):
    boots = len(stack.leaves("kind = 'boot'"))
    stack.restart()
    jane.session()
    stack.settle()
    assert len(stack.leaves("kind = 'boot'")) == boots + 1
    audit.check(stack.leaves())


@pytest.mark.parametrize(
    "statement",
    ["UPDATE nexus.audit_leaves SET leaf = 'x'", "UPDATE nexus.audit_leaves SET seq = seq + 1", "DELETE FROM nexus.audit_leaves",
     "TRUNCATE nexus.audit_leaves", "DROP TABLE nexus.audit_leaves", "ALTER TABLE nexus.audit_leaves DISABLE TRIGGER ALL",
     "DELETE FROM nexus.agents", "DELETE FROM nexus.agent_sessions", "UPDATE nexus.agent_sessions SET expires_at = now()",
     "UPDATE nexus.api_keys SET role = 'admin'", "UPDATE nexus.api_keys SET hash = hash", "DELETE FROM nexus.api_keys",
     "UPDATE nexus.signing_keys SET jwk = 'x'", "DELETE FROM nexus.signing_keys", "UPDATE nexus.replay_guard SET expires_at = now()",
     "TRUNCATE nexus.replay_guard", "CREATE TABLE nexus.mine (x int)", "CREATE TABLE public.mine (x int)",
     "UPDATE nexus.schema_migrations SET version = 0"],
)  # fmt: skip
def test_brokers_database_role_may_not(stack, jane, statement):
    """P07"""
    with stack.connect(as_owner=False) as db:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE nexus.audit_leaves SET seq = seq", "DELETE FROM nexus.audit_leaves", "TRUNCATE nexus.audit_leaves"])
def test_not_even_the_owner_changes_leaves_by_mistake(stack, jane, statement):
    with stack.connect() as db:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)


def test_no_effect_without_its_leaf(stack, jane):
    """When leaves cannot be written, nothing else is."""
    sessions = stack.row_counts()["agent_sessions"]
    guard = stack.row_counts()["replay_guard"]
    signatures = stack.shim.count("C_Sign CKR_OK")
    # A leaf that the table refuses: stands for a full disk and whatever else may be wrong with it.
    stack.sql("ALTER TABLE nexus.audit_leaves ADD CONSTRAINT broken CHECK (false) NOT VALID")
    try:
        assert jane.open().status_code >= 500
        a = {"agent_id": "leafless", "allowed_scopes": [], "jwks": {"keys": [jane.key.jwk()]}}
        assert stack.admin("POST", "/admin/v1/agents", json=a).status_code >= 500
        assert stack.row_counts()["agent_sessions"] == sessions
        assert stack.row_counts()["replay_guard"] == guard
        assert stack.sql("SELECT count(*) FROM nexus.agents WHERE id = 'leafless'") == [(0,)]
        assert stack.shim.count("C_Sign CKR_OK") == signatures
    finally:
        stack.sql("ALTER TABLE nexus.audit_leaves DROP CONSTRAINT broken")
    until(lambda: jane.open().status_code == 201, 20, "issuance goes on")
    stack.settle()
    audit.check(stack.leaves())


@pytest.mark.parametrize("setting,value", [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")])
def test_start_is_refused_without_durability(stack, broker_factory, setting, value):
    if setting == "synchronous_commit":
        # The broker asks for it on each connection of its own; that no server setting undoes this is the point.
        stack.sql(f"ALTER ROLE CURRENT_USER SET {setting} = {value}")
        stack.sql(f"ALTER ROLE CURRENT_USER RESET {setting}")
        broker_factory(share_with=stack)
        return
    admin_password = (stack.state_dir / "pg-superuser-password").read_text().strip()
    with psycopg.connect(
        stack.env["NEXUS_MIGRATE_DATABASE_URL"], user="postgres", password=admin_password, autocommit=True
    ) as db:
        db.execute(f"ALTER SYSTEM SET {setting} = {value}")
        db.execute("SELECT pg_reload_conf()")
        try:
            until(lambda: db.execute(f"SHOW {setting}").fetchone() == (value,), 10, "the setting is in force")
            other = broker_factory(share_with=stack, wait=False)
            assert other.wait_exit() != 0
            assert setting in other.log()
        finally:
            db.execute(f"ALTER SYSTEM RESET {setting}")
            db.execute("SELECT pg_reload_conf()")


def test_start_is_refused_with_a_role_that_could_change_leaves(stack, broker_factory):
    other = broker_factory({"DATABASE_URL": stack.env["NEXUS_MIGRATE_DATABASE_URL"]}, share_with=stack, wait=False)
    assert other.wait_exit() != 0
    assert "audit" in other.log()


def test_keys_of_provisioning_are_on_record(stack):
    done = run_command(stack, "provision")
    assert done.returncode == 0, done.stderr
    keys = stack.sql("SELECT encode(cka_id, 'hex'), purpose FROM nexus.signing_keys")
    text = "\n".join(leaf.raw.decode() for leaf in stack.leaves("kind IN ('admin', 'intent', 'outcome')"))
    assert sorted(purpose for _, purpose in keys) == ["call", "kek", "session"]
    for cka_id, _ in keys:
        assert cka_id in text
    assert "generate" in text
