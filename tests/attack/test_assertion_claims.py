# SPDX-License-Identifier: Apache-2.0
"""Attacks J14 to J21 on what a client assertion claims."""

import json
import os
import secrets
import signal
import time

import pytest

from lib import agents
from lib.keys import Key, parts
from lib.verify import is_error
from lib.wait import until


def claims_text(agent, name, text):
    """Claims with one member in a spelling that no JSON library would write."""
    claims = agent.claims(**{name: None})
    return json.dumps(claims)[:-1] + f', "{name}": {text}}}'


# --- J14: dates

NO_DATES = ['"123"', "true", "null", "-1", "1.5", "1e308", "1e400", "9007199254740992", "9223372036854775807", "9223372036854775808",
            "18446744073709551616", "NaN", "Infinity", "-Infinity", "[1]", "{}", '""', "01", "0x10", "1e3", "-0.0"]  # fmt: skip


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("text", NO_DATES)
def test_J14_no_date(victim, refused, name, text):
    refused(victim, victim.assertion(claims=claims_text(victim, name, text)))


def test_J14_float_with_the_value_of_a_good_date(victim, refused):
    """An integer is asked for; 1.0 is none, although RFC 7519 would let it pass."""
    refused(victim, victim.assertion(claims=claims_text(victim, "exp", f"{int(time.time()) + 60}.0")))


def test_J14_exp_is_required(victim, refused):
    refused(victim, victim.assertion(claims={"exp": None}))


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_J14_other_dates_are_not(victim, name):
    assert victim.open(assertion=victim.assertion(claims={name: None})).status_code == 201


# --- J15: skew and lifetime


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_J15_a_little_ahead_is_accepted(victim, name):
    now = int(time.time())
    assert victim.open(assertion=victim.assertion(claims={name: now + 8})).status_code == 201


@pytest.mark.parametrize(
    "shift",
    [{"nbf": 61}, {"iat": 61, "exp": 120}, {"exp": -61, "iat": -120}, {"exp": -3600, "iat": -3660}, {"exp": 400}, {"exp": 3600},
     {"exp": 250, "iat": -100}, {"exp": 60, "iat": -3600}, {"exp": 10**9}, {"nbf": 10**9}],
)  # fmt: skip
def test_J15_outside_its_time(victim, refused, shift):
    now = int(time.time())
    refused(victim, victim.assertion(claims={k: now + v for k, v in shift.items()}))


def test_J15_long_life_without_iat(victim, refused):
    refused(victim, victim.assertion(claims={"iat": None, "exp": int(time.time()) + 400}))
    refused(victim, victim.assertion(claims={"iat": None, "exp": 2**53 - 1}))


def test_J15_five_minutes_are_accepted(victim):
    now = int(time.time())
    assert victim.open(assertion=victim.assertion(claims={"iat": now, "exp": now + 300})).status_code == 201


# --- J16: audience


def audiences(issuer):
    return {
        "absent": None,
        "empty": "",
        "array of it": [issuer],
        "array of two": [issuer, "https://other.example"],
        "empty array": [],
        "array in array": [[issuer]],
        "number": 7,
        "object": {"aud": issuer},
        "token endpoint": f"{issuer}/v1/agent-sessions",
        "trailing slash": f"{issuer}/",
        "upper case": issuer.upper(),
        "upper-case scheme": issuer.replace("http", "HTTP"),
        "name for the address": issuer.replace("127.0.0.1", "localhost"),
        "other spelling of the address": issuer.replace("127.0.0.1", "127.1"),
        "other port": issuer.rsplit(":", 1)[0] + ":443",
        "no port": issuer.rsplit(":", 1)[0],
        "user information": issuer.replace("//", "//x@"),
        "query": f"{issuer}?x",
        "fragment": f"{issuer}#x",
        "blank behind": f"{issuer} ",
        "blank before": f" {issuer}",
        "prefix": issuer[:-1],
        "look-alike": issuer.replace("1", "\uff11", 1),
        "other host": "https://other.example",
    }


@pytest.mark.parametrize("name", audiences("http://127.0.0.1:1"))
def test_J16_audience(victim, refused, name):
    audience = audiences(victim.broker.issuer)[name]
    refused(victim, victim.assertion(claims={"aud": audience}))


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "Forwarded", "X-Forwarded-Proto", "X-Original-URL"])
def test_J16_audience_is_configured_never_taken_from_the_request(victim, header):
    """H15"""
    value = "host=evil.example;proto=https" if header == "Forwarded" else "evil.example"
    for audience in ("https://evil.example", "http://evil.example"):
        reply = victim.broker.call(
            "POST", "/v1/agent-sessions", json=victim.body(assertion=victim.assertion(claims={"aud": audience})),
            headers={header: value},
        )  # fmt: skip
        is_error(reply, 401, "invalid_client")
    reply = victim.broker.call("GET", "/.well-known/oauth-authorization-server", headers={header: value})
    assert reply.json()["issuer"] == victim.broker.issuer and "evil" not in reply.text


# --- J17: whose assertion


def test_J17_issuer_and_subject_are_the_agent(victim, victims, refused):
    other = victims["EdDSA"]
    for claims in (
        {"iss": other.id}, {"sub": other.id}, {"iss": other.id, "sub": other.id}, {"iss": None}, {"sub": None}, {"iss": ""},
        {"sub": ""}, {"iss": f"{victim.id}/"}, {"iss": victim.id.upper()}, {"iss": f" {victim.id}"}, {"sub": [victim.id]},
        {"iss": 7}, {"iss": {"id": victim.id}}, {"sub": f"{victim.id}\n"},
    ):  # fmt: skip
        refused(victim, victim.assertion(claims=claims))


def test_J17_one_key_of_two_agents_speaks_for_the_one_that_is_named(broker, refused):
    key = Key("ES256")
    a, b = agents.register(broker, keys=[key]), agents.register(broker, keys=[key])
    refused(b, a.assertion())
    refused(b, a.assertion(claims={"sub": b.id}))
    refused(b, a.assertion(claims={"iss": b.id}))
    a.session()
    b.session()


def test_J17_agent_of_the_request_and_of_the_assertion_differ(victim, victims, refused):
    other = victims["ES384"]
    refused(victim, other.assertion())
    refused(other, victim.assertion())


# --- J18: one kind of JWT in another's place


@pytest.mark.parametrize(
    "typ",
    ["at+jwt", "application/at+jwt", "AT+JWT", "dpop+jwt", "logout+jwt", "secevent+jwt", "token-introspection+jwt", "id_token", "JOSE",
     "nexus-selftest+jwt", "", "jwt ", "x", 7, None, ["JWT"]],
)  # fmt: skip
def test_J18_typ_of_another_kind(victim, refused, typ):
    refused(victim, victim.assertion(header=json.dumps({**victim.header(), "typ": typ})))


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "client-authentication+jwt", "application/client-authentication+jwt", "Client-Authentication+JWT"])
def test_J18_typ_of_an_assertion(victim, typ):
    assert victim.open(assertion=victim.assertion(header={"typ": typ})).status_code == 201


def test_J18_session_token_is_no_assertion(victim, refused):
    session = victim.session(audience=victim.broker.issuer)
    refused(victim, session["session_token"])


def test_J18_assertion_is_no_session_token(victim):
    """By the agent's own key, with all claims of a session token."""
    broker = victim.broker
    session = victim.session()
    header, claims = parts(session["session_token"])
    forged = [
        victim.assertion(header={**header, "alg": "ES256", "kid": victim.key.kid}, claims=claims),
        victim.assertion(header={**header, "alg": "ES256"}, claims=claims),
        victim.assertion(header={"typ": "at+jwt"}, claims={**claims, "iss": victim.id}),
        session["session_token"].rsplit(".", 1)[0] + ".",
        session["session_token"][:-4] + "AAAA",
    ]
    for token in forged:
        for method in ("GET", "DELETE"):
            reply = broker.call(method, f"/v1/agent-sessions/{session['session_id']}", bearer=token)
            assert reply.status_code == 401, reply.text
    path = f"/v1/agent-sessions/{session['session_id']}"
    assert broker.call("GET", path, bearer=session["session_token"]).json()["active"] is True


def test_J18_session_token_is_no_api_key(victim):
    session = victim.session()
    for path in ("/admin/v1/agents", "/admin/v1/sessions"):
        assert victim.broker.call("GET", path, bearer=session["session_token"]).status_code in (401, 403)
        assert victim.broker.call("GET", path, key=session["session_token"]).status_code in (401, 403)
        assert victim.broker.call("GET", path, bearer=victim.assertion()).status_code in (401, 403)


# --- J19: replay


@pytest.mark.parametrize("jti", [None, "", 7, ["x"], {}, "j" * 257, "j" * 10000, "a\u0000", "a\nb", True])
def test_J19_jti_ill_formed(victim, refused, jti):
    refused(victim, victim.assertion(claims=json.dumps({**victim.claims(), "jti": jti}) if jti is not None else {"jti": None}))


def test_J19_jti_null(victim, refused):
    refused(victim, victim.assertion(claims=claims_text(victim, "jti", "null")))


def test_J19_replay_while_the_skew_still_accepts_it(victim):
    now = int(time.time())
    assertion = victim.assertion(claims={"iat": now - 60, "exp": now - 10})
    assert victim.open(assertion=assertion).status_code == 201
    prune(victim.broker)
    is_error(victim.open(assertion=assertion), 401, "invalid_client")


def prune(broker):
    """Makes the broker prune one-time ids now, and waits until it has."""
    marker = secrets.token_bytes(32)
    broker.sql("INSERT INTO nexus.replay_guard VALUES ('marker', %s, now() - interval '1 hour')", marker)
    os.kill(broker.pid, signal.SIGHUP)
    gone = lambda: broker.sql("SELECT count(*) FROM nexus.replay_guard WHERE jti_hash = %s", marker) == [(0,)]  # noqa: E731
    until(gone, 10, "an expired one-time id is pruned")


def test_J19_expired_ids_are_pruned_and_others_are_kept(victim):
    assertion = victim.assertion()
    victim.open(assertion=assertion)
    prune(victim.broker)
    is_error(victim.open(assertion=assertion), 401, "invalid_client")


# --- J21: who acts for whom


@pytest.mark.parametrize("extra", [
    {"act": {"sub": "admin"}}, {"act": {"sub": "a", "act": {"sub": "b"}}}, {"may_act": {"sub": "x"}}, {"scope": "acme:admin"},
    {"client_id": "admin"}, {"tenant_id": "t"}, {"clearance_level": 9}, {"cnf": {"jkt": "x"}}, {"sid": "sess_x"}, {"roles": ["admin"]},
])  # fmt: skip
def test_J21_claims_of_the_client_do_not_reach_the_token(victim, extra):
    session = victim.session(client_assertion=victim.assertion(claims=extra))
    assert session["obo"] is False and session["clearance_level"] == 1
    claims = parts(session["session_token"])[1]
    assert set(claims) == {"iss", "sub", "aud", "client_id", "scope", "iat", "nbf", "exp", "jti", "sid"}
    assert claims["client_id"] == claims["sub"] == victim.id and claims["scope"] == "acme:read"


@pytest.mark.parametrize("sub", ["{id}\u0000", "{id}\u202e", "\u200b{id}", "{id}\u0301", "a" * 4096, "{id}\t"])
def test_J21_subject_that_only_looks_like_the_agent(victim, refused, sub):
    name = sub.replace("{id}", victim.id)
    refused(victim, victim.assertion(claims={"sub": name, "iss": name}))
    refused(victim, victim.assertion(claims={"sub": name}))


# --- J23: nothing but the registered keys counts


def test_J23_keys_come_from_the_register_alone(broker, refused):
    a = agents.register(broker)
    body = {"agent_id": a.id, "allowed_scopes": ["acme:read"], "jwks_uri": "http://127.0.0.1:1/keys"}
    reply = broker.admin("PATCH", f"/admin/v1/agents/{a.id}", json={"jwks_uri": "http://127.0.0.1:1/keys"})
    is_error(reply, 400, "invalid_request", "jwks_uri")
    is_error(broker.admin("POST", "/admin/v1/agents", json=body), 400, "invalid_request", "jwks_uri")
    refused(a, a.assertion(key=Key("ES256")))
