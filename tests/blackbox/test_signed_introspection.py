# SPDX-License-Identifier: Apache-2.0
"""RFC 9701: answers of introspection that are signed, verified by a JOSE library that is not the broker's."""

import hashlib

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from lib import audit
from lib.broker import run_command
from lib.delegation import form, is_oauth_error
from lib.keys import b64u, parts
from lib.oauth import INTROSPECT_PATH, OAuthClient
from lib.verify import jwks_of
from lib.wait import until

SIGNED = "application/token-introspection+jwt"
PLAIN = "application/json"
BURST = 4


def answer(reply, broker):
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"] == SIGNED
    assert reply.headers["Cache-Control"] == "no-store"
    header, _ = parts(reply.text)
    assert header["typ"] == "token-introspection+jwt"
    return jwt.decode(reply.text, KeySet.import_key_set(jwks_of(broker)), algorithms=[header["alg"]]).claims


def by_key(broker, token, accept=SIGNED):
    return broker.call("POST", INTROSPECT_PATH, key=broker.gateway_key, headers={"Accept": accept}, data={"token": token})


def test_answer_for_a_key_holds_what_the_plain_one_says(broker, agent):
    token = agent().session()["session_token"]
    claims = answer(by_key(broker, token), broker)
    assert set(claims) == {"iss", "aud", "iat", "jti", "token_introspection"}
    assert (claims["iss"], claims["aud"]) == (broker.issuer, "@key/gateway")
    assert claims["token_introspection"] == by_key(broker, token, PLAIN).json()
    assert claims["token_introspection"]["active"] is True


def test_answer_for_an_agent_names_it(broker, agent):
    of = "https://ledger.example"
    asker, other = agent(allowed_audiences=[of]), agent(allowed_audiences=[of])
    token = other.session(audience=of)["session_token"]
    claims = answer(OAuthClient(broker, asker).introspect(token, accept=SIGNED), broker)
    assert claims["aud"] == asker.id
    assert claims["token_introspection"]["client_id"] == other.id


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
def test_nothing_is_said_of_a_token_that_is_none(broker, token):
    reply = by_key(broker, token)
    if not token:
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")
        return
    assert answer(reply, broker)["token_introspection"] == {"active": False}


def test_answer_is_no_session_token(broker, agent):
    """Its key, typ and claims tell it apart wherever a session token is taken."""
    session = agent().session()
    signed = by_key(broker, session["session_token"]).text
    assert by_key(broker, signed, PLAIN).json() == {"active": False}
    path = f"/v1/agent-sessions/{session['session_id']}"
    assert broker.call("GET", path, bearer=signed).status_code == 401


def test_answer_is_signed_on_record(broker, agent):
    signed = by_key(broker, agent().session()["session_token"]).text
    jti = parts(signed)[1]["jti"]
    leaves = audit.read(broker, "jti = %s", jti)
    intent = audit.intent_of(leaves, jti)
    assert intent.body["in_sha256"] == b64u(hashlib.sha256(signed.rsplit(".", 1)[0].encode()).digest())
    assert intent.body["detail"] == "introspection"


def test_metadata_names_the_algorithm(broker, agent):
    metadata = broker.call("GET", "/.well-known/oauth-authorization-server").json()
    alg = parts(by_key(broker, agent().session()["session_token"]).text)[0]["alg"]
    assert metadata["introspection_signing_alg_values_supported"] == [alg]


# --- which form is asked for (RFC 9110 section 12.5.1)

NAMES_IT = [
    SIGNED,
    "Application/Token-Introspection+JWT",
    f"{PLAIN}, {SIGNED}",
    f"{SIGNED}, {PLAIN}",
    f"{PLAIN};q=0.9,{SIGNED};q=0.1",
    f"{SIGNED};q=1.000",
    f"{SIGNED} ; q=0.001",
    f"{SIGNED};charset=utf-8",
    f'text/plain;x="a,b;q=0",{SIGNED}',
    f'text/plain;x="\\",q=0", {SIGNED}',
    f"{SIGNED};q=0, {SIGNED}",
    f",, {SIGNED},",
]
DOES_NOT = [
    "",
    PLAIN,
    "*/*",
    "application/*",
    f"{SIGNED};q=0",
    f"{SIGNED}; Q=0.000, {PLAIN}",
    f"{SIGNED};x=1;q=0",
    f"x{SIGNED}",
    f"{SIGNED}x",
    "application/jwt",
    f'text/plain;x=",{SIGNED}"',
    f'text/plain;x="\\",{SIGNED},"',
    f"text/plain;{SIGNED}",
    ",",
    ";",
    '"',
]


@pytest.mark.parametrize("accept", NAMES_IT)
def test_signed_form_is_for_those_who_name_it(broker, accept):
    assert answer(by_key(broker, "x", accept), broker)["token_introspection"] == {"active": False}


@pytest.mark.parametrize("accept", DOES_NOT)
def test_plain_form_is_for_all_others(broker, accept):
    reply = by_key(broker, "x", accept)
    assert reply.headers["Content-Type"].startswith(PLAIN)
    assert (reply.status_code, reply.json()) == (200, {"active": False})


# --- how much, and how often


def test_largest_token_has_an_answer(broker, agent):
    """As many and as long scopes as an agent can have, and then audiences until the token is too large."""
    scopes = [f"acme:{i:02}:".ljust(128, "x") for i in range(64)]
    of = ["a" * n for n in (512, 511, 510, 509, 508, 507, 256, 128, 64, 32, 16, 8, 4, 2, 1)]
    client = OAuthClient(broker, agent(scopes=scopes, allowed_audiences=of))
    largest, named, refused = None, [], 0
    for audience in of:
        if len(named) == 8:
            break
        reply = client.raw_token(form("client_credentials", scope=" ".join(scopes), audience=[*named, audience]))
        if reply.status_code != 200:
            is_oauth_error(reply, 400, "invalid_request")
            refused += 1
            continue
        named.append(audience)
        largest = reply.json()["access_token"]
    assert refused > 0
    claims = answer(by_key(broker, largest), broker)["token_introspection"]
    assert claims == by_key(broker, largest, PLAIN).json()
    assert claims["active"] is True and claims["aud"] == named


def test_key_gets_no_more_signatures_than_its_rate_allows(broker, broker_factory):
    slow = broker_factory({"NEXUS_AGENT_RATE_PER_S": 1, "NEXUS_AGENT_BURST": BURST})
    other = run_command(slow, "api-key", "create", "--name", "other-gateway", "--role", "gateway").stdout.strip()
    count = "SELECT count(*) FROM nexus.audit_leaves WHERE kind = 'intent' AND convert_from(leaf, 'UTF8')::json->>'detail' = 'introspection'"
    [(before,)] = broker.sql(count)
    replies = []

    def is_limited():
        replies.append(by_key(slow, "x"))
        return replies[-1].status_code == 429

    until(is_limited, 30, "the rate is used up")
    assert len(replies) > BURST
    is_oauth_error(replies[-1], 429, "temporarily_unavailable")
    assert int(replies[-1].headers["Retry-After"]) >= 1
    for reply in replies[:-1]:
        answer(reply, broker)
    # Nothing is signed for who is refused; what needs no signature, and others, go on.
    assert broker.sql(count) == [(before + len(replies) - 1,)]
    assert by_key(slow, "x", PLAIN).json() == {"active": False}
    reply = slow.call("POST", INTROSPECT_PATH, key=other, headers={"Accept": SIGNED}, data={"token": "x"})
    assert answer(reply, broker)["aud"] == "@key/other-gateway"
    until(lambda: by_key(slow, "x").status_code == 200, 30, "the rate recovers by itself")
