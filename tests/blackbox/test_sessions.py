# SPDX-License-Identifier: Apache-2.0
"""POST /v1/agent-sessions: what is granted, what is refused, and in which order."""

import secrets
from datetime import datetime

import pytest

from lib.keys import ASSERTION_TYPE, Key
from lib.verify import claims_of, is_error, jwks_of

SESSIONS = "/v1/agent-sessions"


def lifetime(session):
    return (datetime.fromisoformat(session["expires_at"]) - datetime.fromisoformat(session["created_at"])).total_seconds()


# --- what is granted


@pytest.mark.parametrize("asked,granted", [(None, 900), (0, 900), (1, 1), (3600, 3600)])
def test_ttl_granted(broker, agent, asked, granted):
    session = agent().session(ttl_seconds=asked)
    assert lifetime(session) == granted
    claims = claims_of(session["session_token"], jwks_of(broker))
    assert claims["exp"] - claims["iat"] == granted


@pytest.mark.parametrize("asked", [-1, 3601, -(2**31), 2**31, 2**53 - 1])
def test_ttl_refused(agent, asked):
    is_error(agent().open(ttl_seconds=asked), 400, "invalid_ttl", "ttl_seconds")


@pytest.mark.parametrize("asked", [2**31, 2**53, 2**63, -(2**63) - 1, 10**30])
def test_ttl_beyond_any_integer_refused(agent, asked):
    reply = agent().open(ttl_seconds=asked)
    assert reply.status_code == 400 and reply.json()["error"] in ("invalid_ttl", "invalid_request", "invalid_json")


def test_ttl_of_one_agent(agent):
    a = agent(max_ttl_seconds=60)
    assert lifetime(a.session(ttl_seconds=60)) == 60
    assert lifetime(a.session()) == 60
    is_error(a.open(ttl_seconds=61), 400, "invalid_ttl")


def test_scopes_are_trimmed_and_repeats_collapse(agent):
    session = agent().session(scopes=[" acme:write", "acme:read ", "acme:write"])
    assert session["scopes_granted"] == ["acme:write", "acme:read"]


def test_audience_is_the_issuer_unless_asked(broker, agent):
    claims = claims_of(agent().session()["session_token"], jwks_of(broker))
    assert claims["aud"] == broker.issuer


def test_audience_must_be_registered(broker, agent):
    a = agent(allowed_audiences=["https://api.example.org", "urn:acme:x"])
    for audience in ("https://api.example.org", "urn:acme:x", broker.issuer):
        claims = claims_of(a.session(audience=audience)["session_token"], jwks_of(broker))
        assert claims["aud"] == audience
    for audience in ("https://api.example.org/", "HTTPS://api.example.org", "https://other.example", "*"):
        is_error(a.open(audience=audience), 400, "invalid_target")


def test_every_session_has_its_own_ids(broker, agent):
    a = agent()
    sessions = [a.session() for _ in range(10)]
    keys = jwks_of(broker)
    assert len({s["session_id"] for s in sessions}) == 10
    assert len({claims_of(s["session_token"], keys)["jti"] for s in sessions}) == 10


# --- what is refused


@pytest.mark.parametrize("agent_id", [None, "", "  "])
def test_agent_id_missing(agent, agent_id):
    a = agent()
    body = {**a.body(), "agent_id": agent_id}
    if agent_id is None:
        del body["agent_id"]
    is_error(a.broker.call("POST", SESSIONS, json=body), 400, "missing_agent_id")


@pytest.mark.parametrize("scopes", [None, []])
def test_scopes_missing(agent, scopes):
    is_error(agent().open(scopes=scopes), 400, "missing_scopes")


@pytest.mark.parametrize("scopes", [[""], [" "], ["acme:read", ""], ["a b"], ['a"'], ["a\\"], ["ä"]])
def test_scope_ill_formed(agent, scopes):
    is_error(agent().open(scopes=scopes), 400, "invalid_scope")


def test_scope_outside_the_ceiling_grants_nothing_at_all(broker, agent):
    a = agent(scopes=["acme:read"])
    is_error(a.open(scopes=["acme:read", "acme:admin"]), 403, "scope_not_allowed", "acme:admin", a.id)
    assert broker.sql("SELECT count(*) FROM nexus.agent_sessions WHERE agent_id = %s", a.id) == [(0,)]


@pytest.mark.parametrize("scope", ["acme:*", "*", "acme", "acme:read:sub", "ACME:READ", "acme:rea"])
def test_scopes_have_no_wildcards_and_no_hierarchy(agent, scope):
    is_error(agent(scopes=["acme:read"]).open(scopes=[scope]), 403, "scope_not_allowed")


@pytest.mark.parametrize(
    "fields", [{"provider_name": "github"}, {"connection_id": "00000000-0000-4000-8000-000000000000"},
               {"provider_name": "github", "workspace_id": "w"}]
)  # fmt: skip
def test_sessions_over_a_provider_are_not_served(agent, fields):
    is_error(agent().open(**fields), 400, "unsupported_agent_session_provider")


@pytest.mark.parametrize("field", ["client_assertion", "client_assertion_type"])
def test_assertion_missing(agent, field):
    a = agent()
    body = a.body()
    del body[field]
    is_error(a.broker.call("POST", SESSIONS, json=body), 401, "invalid_client")


@pytest.mark.parametrize(
    "kind", ["", "jwt-bearer", ASSERTION_TYPE + " ", ASSERTION_TYPE.upper(),
             "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"]
)  # fmt: skip
def test_assertion_type_of_another_kind(agent, kind):
    is_error(agent().open(client_assertion_type=kind), 401, "invalid_client")


def test_every_failure_of_authentication_looks_the_same(broker, agent):
    a, other = agent(), agent()
    now = a.claims()["iat"]
    replayed = a.assertion()
    assert a.open(assertion=replayed).status_code == 201
    replies = {
        "unknown agent": a.open(agent_id=f"agent-{secrets.token_hex(6)}"),
        "another agent's assertion": a.open(assertion=other.assertion()),
        "signature by another key": a.open(assertion=a.assertion(key=Key("ES256"))),
        "kid of nobody": a.open(assertion=a.assertion(header={"kid": "nobody"})),
        "expired": a.open(assertion=a.assertion(claims={"iat": now - 300, "exp": now - 200})),
        "replayed": a.open(assertion=replayed),
        "wrong audience": a.open(assertion=a.assertion(claims={"aud": "https://other.example"})),
        "no jti": a.open(assertion=a.assertion(claims={"jti": None})),
        "not a JWT": a.open(assertion="x.y.z"),
        "empty": a.open(assertion=""),
    }
    bodies = {name: reply.content for name, reply in replies.items()}
    for reply in replies.values():
        is_error(reply, 401, "invalid_client")
        assert "WWW-Authenticate" in reply.headers
    assert len(set(bodies.values())) == 1, bodies
    assert len({tuple(sorted(r.headers)) for r in replies.values()}) == 1


def test_log_tells_which_part_of_authentication_failed(broker, agent):
    a = agent()
    reply = a.broker.call(
        "POST", SESSIONS, json=a.body(assertion=a.assertion(claims={"aud": "https://x.example"})),
        headers={"X-Request-Id": f"why-{secrets.token_hex(4)}"},
    )  # fmt: skip
    lines = [line for line in broker.log_lines() if line.get("request_id") == reply.headers["X-Request-Id"]]
    assert any("aud" in line.get("detail", "") for line in lines), lines


# --- the order of checks


def test_authentication_comes_before_everything_that_depends_on_the_agent(agent):
    a = agent()
    bad = a.assertion(key=Key("ES256"))
    for fields in ({"scopes": []}, {"scopes": ["a b"]}, {"ttl_seconds": -1}, {"scopes": ["acme:none"]}, {"audience": "x"}):
        is_error(a.open(assertion=bad, **fields), 401, "invalid_client")


def test_checks_come_in_upstreams_order(broker, agent):
    a = agent(scopes=["acme:read"])
    worst = {"scopes": [""], "ttl_seconds": -1, "audience": "https://x.example"}
    is_error(a.open(**worst), 400, "invalid_scope")
    is_error(a.open(**{**worst, "scopes": []}), 400, "missing_scopes")
    is_error(a.open(**{**worst, "scopes": ["acme:none"]}), 400, "invalid_ttl")
    is_error(a.open(scopes=["acme:none"], audience="https://x.example"), 403, "scope_not_allowed")
    is_error(a.open(audience="https://x.example"), 400, "invalid_target")
    broker.admin("PATCH", f"/admin/v1/agents/{a.id}", json={"active": False})
    is_error(a.open(**{**worst, "scopes": ["acme:none"]}), 400, "invalid_ttl")
    is_error(a.open(scopes=["acme:none"], audience="https://x.example"), 403, "agent_inactive")


def test_refused_request_uses_its_assertion_up(agent):
    a = agent()
    assertion = a.assertion()
    is_error(a.open(assertion=assertion, scopes=["acme:none"]), 403, "scope_not_allowed")
    is_error(a.open(assertion=assertion), 401, "invalid_client")


def test_assertion_is_accepted_once(broker, agent):
    a = agent()
    assertion = a.assertion()
    assert a.open(assertion=assertion).status_code == 201
    for _ in range(3):
        is_error(a.open(assertion=assertion), 401, "invalid_client")
    assert broker.sql("SELECT count(*) FROM nexus.agent_sessions WHERE agent_id = %s", a.id) == [(1,)]


def test_one_jti_of_two_agents_is_no_replay(agent):
    a, b = agent(), agent()
    jti = secrets.token_urlsafe(16)
    a.session(client_assertion=a.assertion(claims={"jti": jti}))
    b.session(client_assertion=b.assertion(claims={"jti": jti}))


def test_jti_is_one_time_for_whatever_else_the_assertion_says(agent):
    a = agent()
    claims = a.claims()
    assert a.open(assertion=a.assertion(claims=claims)).status_code == 201
    is_error(a.open(assertion=a.assertion(claims={**claims, "exp": claims["exp"] + 5})), 401, "invalid_client")
    # It is compared by its bytes.
    assert a.open(assertion=a.assertion(claims={**claims, "jti": claims["jti"].swapcase() + "x"})).status_code == 201
