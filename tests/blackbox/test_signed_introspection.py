# SPDX-License-Identifier: Apache-2.0
"""RFC 9701: answers of introspection that are signed, verified by a JOSE library that is not the broker's."""

import hashlib

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from lib import audit
from lib.keys import b64u, parts
from lib.oauth import INTROSPECT_PATH, OAuthClient
from lib.verify import jwks_of

SIGNED = "application/token-introspection+jwt"


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
    assert claims["iss"] == broker.issuer
    assert claims["token_introspection"] == by_key(broker, token, "application/json").json()
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
    assert by_key(broker, signed, "application/json").json() == {"active": False}
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
