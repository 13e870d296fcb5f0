# SPDX-License-Identifier: Apache-2.0
"""What was decided on rows that have changed since (J24, X05): a broker's copies, and a statement that was waiting while
somebody else's change was made and acknowledged. With the acknowledgement the old rights are gone."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lib import agents, audit, obo
from lib.backend import Backend
from lib.delegation import delegate, exchange, form, introspect, line, scope_rule, trusted_issuer
from lib.dpop import DPoPKey
from lib import dpop as dpop_tools
from lib.issuer import Issuer
from lib.loopback import Hang
from lib.oauth import ACCESS_TOKEN, JWT, JWT_BEARER, OAuthClient
from lib.wait import until


def patch(broker, what, name, **fields):
    reply = broker.admin("PATCH", f"/admin/v1/{what}/{name}", json=fields)
    assert reply.status_code == 200, reply.text


def is_refused(reply, status, code):
    assert (reply.status_code, reply.json()["error"]) == (status, code), reply.text


@pytest.fixture(scope="module")
def one_worker(broker):
    """Two requests of this broker share one worker's copies."""
    from lib.broker import Process, environment_beside, program

    folder = broker.state_dir / f"one-worker-{secrets.token_hex(4)}.log"
    settings = environment_beside(broker, {"NEXUS_WORKERS": "1", "NEXUS_INSECURE_LOOPBACK_FETCHES": "on"})
    process = Process(program(settings), settings, folder)
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


# --- copies


@pytest.mark.parametrize("grant", ["obo", "exchange", "jwt-bearer"])
def test_J24_issuer_is_switched_off_and_the_agent_changed(broker, one_worker, grant):
    with trusted_issuer(broker) as issuer:
        agent = agents.register(broker)
        client = OAuthClient(one_worker, agent)
        ask = {
            "obo": lambda: obo.ask(agent, issuer.token(), one_worker),
            "exchange": lambda: exchange(client, issuer.token(), JWT),
            "jwt-bearer": lambda: client.raw_token(form(JWT_BEARER, assertion=issuer.token(), scope="acme:read")),
        }[grant]
        assert ask().status_code in (200, 201)
        patch(broker, "issuers", issuer.id, active=False)
        patch(broker, "agents", agent.id, description="changed at the same moment")
        refused = {
            "obo": (401, "invalid_user_context_token"),
            "exchange": (400, "invalid_request"),
            "jwt-bearer": (400, "invalid_grant"),
        }[grant]
        is_refused(ask(), *refused)


def test_J24_issuer_is_switched_off_and_a_scope_loosened(broker, one_worker):
    """The first decision fails on an old copy of the scope; the second one must look at the issuer again."""
    with trusted_issuer(broker) as issuer, scope_rule(broker, min_clearance=9) as scope:
        agent = agents.register(broker, scopes=["acme:read", scope])

        def ask(scopes):
            token = issuer.token(claims={"permissions": ["acme:read", scope]})
            return obo.ask(agent, token, one_worker, scopes=scopes)

        assert ask(["acme:read"]).status_code == 201
        patch(broker, "issuers", issuer.id, active=False)
        patch(broker, "scopes", scope, min_clearance=0)
        is_refused(ask([scope]), 401, "invalid_user_context_token")


def test_J24_issuer_is_switched_off_while_it_is_slow_to_answer(broker, one_worker):
    with Issuer(broker.issuer) as issuer:
        registered = issuer.register(one_worker, "jwks_uri")
        agent = agents.register(broker)
        hang = Hang()
        issuer.misbehave(issuer.jwks_path, hang)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(obo.ask, agent, issuer.token(), one_worker)
            assert hang.arrived.wait(10)
            patch(broker, "issuers", registered["id"], active=False)
            issuer.behave()
            hang.release.set()
            reply = asked.result()
        assert reply.status_code in (401, 503), reply.text
        assert obo.count_sessions(agent) == 0
        assert broker.admin("DELETE", f"/admin/v1/issuers/{registered['id']}").status_code == 200


def test_deactivated_agent_has_nobody_asked_about_a_user(broker_factory, broker):
    with Backend() as back_end:
        front = broker_factory({"NEXUS_WORKERS": "1", "BACKEND_AUTH_URL": back_end.url})
        back_end.trust(front)
        agent = agents.register(broker)
        assert obo.ask(agent, back_end.user(), front).status_code == 201
        patch(broker, "agents", agent.id, active=False)
        calls = len(back_end.calls)
        is_refused(obo.ask(agent, "whatever", front), 403, "agent_inactive")
        assert len(back_end.calls) == calls


def test_used_assertion_has_nobody_asked_about_a_user(broker_factory, broker):
    with Backend() as back_end:
        front = broker_factory({"BACKEND_AUTH_URL": back_end.url})
        back_end.trust(front)
        agent = agents.register(broker)
        assertion = agent.assertion()
        assert obo.ask(agent, back_end.user(), front, assertion=assertion).status_code == 201
        calls, intents = len(back_end.calls), broker.sql("SELECT count(*) FROM nexus.audit_leaves WHERE kind = 'intent'")
        for n in range(5):
            is_refused(obo.ask(agent, f"chosen-{n}", front, assertion=assertion), 401, "invalid_client")
        assert len(back_end.calls) == calls
        assert broker.sql("SELECT count(*) FROM nexus.audit_leaves WHERE kind = 'intent'") == intents


# --- a statement that waits


@contextmanager
def gate(broker, kind, name):
    """Holds the gate that an issuing statement passes (1: an agent's, 3: a user's), as its change or revocation does.
    Yields a function that waits until somebody waits there."""
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = %s"
    with broker.connect() as db, db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [kind, name])
        yield lambda: until(lambda: broker.sql(waiting, kind), 10, "an issuing statement waits at the gate")


def test_J24_issuer_is_switched_off_while_the_statement_waits(broker):
    user = f"user-{secrets.token_hex(4)}"
    with trusted_issuer(broker) as issuer, ThreadPoolExecutor(1) as pool:
        agent = agents.register(broker)
        with gate(broker, 3, user) as somebody_waits:
            asked = pool.submit(obo.ask, agent, issuer.token(user))
            somebody_waits()
            patch(broker, "issuers", issuer.id, active=False)
        is_refused(asked.result(), 401, "invalid_user_context_token")
        assert obo.count_sessions(agent) == 0


@pytest.mark.parametrize("change", [{"delegates_to": []}, {"allowed_scopes": ["other"]}, {"active": False}])
def test_X05_earlier_agent_is_changed_while_the_statement_waits(broker, change):
    with trusted_issuer(broker) as issuer, ThreadPoolExecutor(1) as pool:
        a, b = line(broker, 2)
        [first] = delegate([a], issuer.token())
        with gate(broker, 1, b.agent.id) as somebody_waits:
            asked = pool.submit(exchange, b, first["access_token"])
            somebody_waits()
            patch(broker, "agents", a.agent.id, **change)
        is_refused(asked.result(), 400, "invalid_request")
        assert obo.count_sessions(b.agent) == 0


def test_X05_parent_is_revoked_while_the_statement_waits(broker):
    with trusted_issuer(broker) as issuer, ThreadPoolExecutor(1) as pool:
        a, b = line(broker, 2)
        [first] = delegate([a], issuer.token())
        with gate(broker, 1, b.agent.id) as somebody_waits:
            asked = pool.submit(exchange, b, first["access_token"])
            somebody_waits()
            reply = broker.admin("POST", "/admin/v1/sessions/revoke", json={"session_id": first["session_id"]})
            assert reply.status_code == 200
        is_refused(asked.result(), 400, "invalid_request")
        assert obo.count_sessions(b.agent) == 0


def test_edge_that_was_taken_back_ends_the_chain_behind_it(broker):
    with trusted_issuer(broker) as issuer:
        a, b, c = line(broker, 3)
        _, second = delegate([a, b], issuer.token())
        patch(broker, "agents", a.agent.id, delegates_to=[])
        is_refused(exchange(c, second["access_token"]), 400, "invalid_request")


# --- what a new session rests on


def test_X06_session_ends_with_the_actors_own(broker):
    with trusted_issuer(broker) as issuer:
        agent = agents.register(broker)
        client = OAuthClient(broker, agent)
        actor = agent.session(ttl_seconds=60)
        reply = exchange(client, issuer.token(), JWT, actor_token=actor["access_token"], actor_token_type=ACCESS_TOKEN)
        assert reply.status_code == 200, reply.text
        assert reply.json()["expires_in"] <= 60
        assert introspect(broker, reply.json()["access_token"]).json()["active"] is True
        assert broker.admin("DELETE", f"/v1/agent-sessions/{actor['session_id']}").status_code == 200
        assert introspect(broker, reply.json()["access_token"]).json() == {"active": False}


def test_users_of_two_issuers_are_told_apart(broker):
    with trusted_issuer(broker) as one, trusted_issuer(broker) as two:
        agent = agents.register(broker)
        claims = [introspect(broker, obo.session(agent, i.token("alice"))["access_token"]).json() for i in (one, two)]
        assert [c["sub"] for c in claims] == ["alice", "alice"]
        assert [c["sub_id"] for c in claims] == [
            {"format": "iss_sub", "iss": i.issuer, "sub": "alice"} for i in (one, two)
        ]


# --- what must be on record


def test_rights_that_were_asked_for_at_the_end_of_the_bucket_are_on_record(broker, broker_factory):
    one = broker_factory({"NEXUS_WORKERS": "1", "NEXUS_AGENT_RATE_PER_S": "1", "NEXUS_AGENT_BURST": "2"})
    agent = agents.register(broker)
    assert agent.open(broker=one).status_code == 201
    is_refused(agent.open(broker=one, scopes=["acme:none"]), 403, "scope_not_allowed")
    assert len(audit.read(broker, "kind = 'refusal' AND convert_from(leaf, 'UTF8')::json->>'client' = %s", agent.id)) == 1


@pytest.mark.parametrize("how", ["another key", "plain bearer", "another session"])
def test_signs_of_a_theft_are_on_record(broker, how):
    agent, key = agents.register(broker), DPoPKey()
    bound = OAuthClient(broker, agent, key).client_credentials("acme:read")
    path = f"/v1/agent-sessions/{bound['session_id']}"
    if how == "another key":
        reply = dpop_tools.call(broker, DPoPKey(), "GET", path, access_token=bound["access_token"])
        is_refused(reply, 401, "invalid_dpop_proof")
    elif how == "plain bearer":
        is_refused(broker.call("GET", path, bearer=bound["access_token"]), 401, "invalid_token")
    else:
        other = agent.session()["session_token"]
        is_refused(broker.call("GET", path, bearer=other), 404, "session_not_found")
    leaves = audit.read(broker, "kind = 'refusal' AND convert_from(leaf, 'UTF8')::json->>'client' = %s", agent.id)
    assert [leaf.body["op"] for leaf in leaves] == ["session.access"]
    assert leaves[0].body["target"] == bound["session_id"]


def test_deactivated_agent_at_introspection_is_on_record(broker):
    agent = agents.register(broker)
    patch(broker, "agents", agent.id, active=False)
    is_refused(OAuthClient(broker, agent).raw_introspect([("token", "x")]), 401, "invalid_client")
    leaves = audit.read(broker, "kind = 'refusal' AND convert_from(leaf, 'UTF8')::json->>'client' = %s", agent.id)
    assert [leaf.body["reason"] for leaf in leaves] == ["agent_inactive"]


def test_refused_request_uses_its_proof_up(broker):
    agent, key = agents.register(broker), DPoPKey()
    client = OAuthClient(broker, agent)
    challenge = client.raw_token(form("client_credentials", scope="acme:read"), headers={"DPoP": key.proof("POST", f"{broker.issuer}/oauth/token")})
    nonce = challenge.headers["DPoP-Nonce"]
    proof = key.proof("POST", f"{broker.issuer}/oauth/token", nonce=nonce)
    refused = client.raw_token(form("client_credentials", scope="acme:none"), headers={"DPoP": proof})
    is_refused(refused, 400, "invalid_scope")
    again = client.raw_token(form("client_credentials", scope="acme:read"), headers={"DPoP": proof})
    is_refused(again, 400, "invalid_dpop_proof")


@pytest.mark.parametrize("segment", ["%2e%2e", "%2E", "..", "."])
def test_dot_segments_are_refused(broker, segment):
    lines = [f"GET /v1/agent-sessions/{segment} HTTP/1.1", f"Host: {broker.host}:{broker.port}", "Connection: close"]
    assert broker.raw("\r\n".join([*lines, "", ""]).encode()).startswith(b"HTTP/1.1 400 ")
