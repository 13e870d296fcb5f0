# SPDX-License-Identifier: Apache-2.0
"""The main job: an agent proves itself with its own key and gets a session token that the HSM signed."""

import time
from datetime import datetime

import pytest

from lib import agents
from lib.keys import KINDS, parts
from lib.stack import running_stack
from lib.verify import claims_of, is_error, jwks_of

SESSION_MEMBERS = {
    "session_id", "agent_id", "session_token", "access_token", "token_type", "scopes_granted", "expires_at", "active",
    "obo", "clearance_level",
}  # fmt: skip


def run_job(broker, kind):
    agent = agents.register(broker, kind, scopes=["acme:read", "acme:write", "acme:gliding"])
    before = int(time.time())
    session = agent.session(scopes=["acme:gliding", "acme:read"], ttl_seconds=600)
    assert SESSION_MEMBERS <= set(session)
    assert session["access_token"] == session["session_token"]
    assert session["token_type"] == "session"
    assert session["active"] is True and session["obo"] is False and session["clearance_level"] == 1
    assert session["agent_id"] == agent.id
    assert session["scopes_granted"] == ["acme:gliding", "acme:read"]
    assert session["session_id"].startswith("sess_") and len(session["session_id"]) == len("sess_") + 32

    claims = claims_of(session["session_token"], jwks_of(broker))
    assert claims["iss"] == broker.issuer
    assert claims["sub"] == claims["client_id"] == agent.id
    assert claims["scope"] == "acme:gliding acme:read"
    assert claims["sid"] == session["session_id"]
    assert claims["jti"]
    assert claims["exp"] - claims["iat"] == 600 and claims["nbf"] <= claims["iat"] <= int(time.time())
    assert before - 1 <= claims["iat"]
    assert datetime.fromisoformat(session["expires_at"]).timestamp() == claims["exp"]
    assert session["expires_at"].endswith("Z")
    assert not {"act", "tenant_id", "clearance_level", "cnf"} & set(claims)

    path = f"/v1/agent-sessions/{session['session_id']}"
    read = broker.call("GET", path, bearer=session["session_token"])
    assert read.status_code == 200 and read.json()["active"] is True
    assert "session_token" not in read.json() and "access_token" not in read.json()
    assert broker.call("DELETE", path, bearer=session["session_token"]).status_code == 200
    is_error(broker.call("GET", path, bearer=session["session_token"]), 401, "invalid_token")
    assert broker.admin("GET", path).json()["active"] is False
    return session["session_token"]


@pytest.mark.parametrize("kind", KINDS)
def test_agent_with_each_kind_of_key(broker, kind):
    run_job(broker, kind)


@pytest.mark.parametrize("alg", ["ES384", "PS256", "RS256", "EdDSA"])
def test_session_key_of_each_algorithm(alg):
    with running_stack(NEXUS_SESSION_ALG=alg) as stack:
        token = run_job(stack, "ES256")
        assert parts(token)[0]["alg"] == alg
        # The session key, and the call key after it.
        keys = jwks_of(stack)["keys"]
        assert [k["alg"] for k in keys] == [alg, alg] and keys[0]["kid"] == parts(token)[0]["kid"] != keys[1]["kid"]


def test_two_stacks_side_by_side_do_not_know_each_other(broker, agent):
    with running_stack() as other:
        session = agent().session()
        path = f"/v1/agent-sessions/{session['session_id']}"
        assert other.call("GET", path, bearer=session["session_token"]).status_code == 401
        assert other.admin("GET", "/admin/v1/agents").status_code == 200
        assert other.call("GET", "/admin/v1/agents", key=broker.admin_key).status_code in (401, 403)


def test_sessions_survive_a_restart_of_the_broker():
    with running_stack() as stack:
        agent = agents.register(stack)
        session = agent.session()
        keys = jwks_of(stack)
        stack.restart()
        assert jwks_of(stack) == keys
        path = f"/v1/agent-sessions/{session['session_id']}"
        assert stack.call("GET", path, bearer=session["session_token"]).json()["active"] is True
        agent.session()
