# SPDX-License-Identifier: Apache-2.0
"""Attacks J01 to J25 on session tokens. The HSM signs only good ones, so these are signed by a key that the tests put
into the key ring: each is perfect but for what its name says."""

import json
import os
import secrets
import signal
import time

import pytest

from lib import agents
from lib.keys import Key, compact, parts, signing_input
from lib.stack import running_stack
from lib.verify import is_error, jwks_of
from lib.wait import until


def add_to_ring(stack, key, state):
    """As a key of the same purpose and type as the one that signs."""
    stack.sql(
        "INSERT INTO nexus.signing_keys (cka_id, purpose, type, state, kid, alg, jwk, evidence, activated_at)"
        " SELECT %s, purpose, type, %s, %s, alg, %s, '{}', now() FROM nexus.signing_keys"
        " WHERE purpose = 'session' AND state = 'active'",
        secrets.token_bytes(16), state, key.kid, json.dumps(key.jwk()),
    )  # fmt: skip


class Forge:
    def __init__(self, stack):
        self.stack = stack
        self.ring = {state: Key("ES256") for state in ("retiring", "retired", "pending")}
        for state, key in self.ring.items():
            add_to_ring(stack, key, state)
        os.kill(stack.pid, signal.SIGHUP)
        until(lambda: any(k["kid"] == self.key.kid for k in jwks_of(stack)["keys"]), 20, "the ring holds the tests' key")
        self.agent = agents.register(stack)
        self.session, self.other = self.agent.session(ttl_seconds=3600), self.agent.session(ttl_seconds=3600)
        self.path = f"/v1/agent-sessions/{self.session['session_id']}"

    @property
    def key(self):
        return self.ring["retiring"]

    def header(self, **changes):
        header, _ = parts(self.session["session_token"])
        return {k: v for k, v in {**header, "kid": self.key.kid, **changes}.items() if v is not None}

    def claims(self, **changes):
        _, claims = parts(self.session["session_token"])
        return {k: v for k, v in {**claims, **changes}.items() if v is not None}

    def token(self, header=None, claims=None, key=None, signature=None):
        header = header if isinstance(header, (str, bytes)) else self.header(**(header or {}))
        claims = claims if isinstance(claims, (str, bytes)) else self.claims(**(claims or {}))
        return compact(header, claims, key or self.key, signature)

    def text(self, name, text):
        """Claims with one member in a spelling of its own."""
        return f'{json.dumps(self.claims(**{name: None}))[:-1]}, "{name}": {text}}}'


@pytest.fixture(scope="module")
def forge():
    with running_stack() as stack:
        yield Forge(stack)


def now(seconds):
    return int(time.time()) + seconds


INVALID = {
    "J01 none": lambda f: f.token(header={"alg": "none"}, signature=b""),
    "J01 none, but signed": lambda f: f.token(header={"alg": "none"}),
    "J02 no signature": lambda f: signing_input(f.header(), f.claims()),
    "J02 empty signature": lambda f: signing_input(f.header(), f.claims()) + ".",
    "J02 padding": lambda f: f.token() + "==",
    "J02 four segments": lambda f: f.token() + ".x",
    "J03 HMAC": lambda f: f.token(header={"alg": "HS256"}),
    "J04 alg of another key": lambda f: f.token(header={"alg": "ES384"}),
    "J04 signed by another kind of key": lambda f: f.token(header={"alg": "RS256"}, key=Key("RS256")),
    "J05 no kid": lambda f: f.token(header={"kid": None}),
    "J05 kid of nobody": lambda f: f.token(header={"kid": "nobody"}),
    "J05 kid of the HSM's key": lambda f: f.token(header={"kid": parts(f.session["session_token"])[0]["kid"]}),
    "J05 another key under this kid": lambda f: f.token(key=Key("ES256")),
    "J05 key that is not in use yet": lambda f: f.token(header={"kid": f.ring["pending"].kid}, key=f.ring["pending"]),
    "J05 key that is retired": lambda f: f.token(header={"kid": f.ring["retired"].kid}, key=f.ring["retired"]),
    "J05 key of the agent": lambda f: f.token(header={"kid": f.agent.key.kid}, key=f.agent.key),
    "J06 key in the header": lambda f: f.token(header={"jwk": f.key.jwk()}),
    "J07 crit": lambda f: f.token(header={"crit": ["exp"]}),
    "J07 b64": lambda f: f.token(header={"b64": False}),
    "J08 kid twice": lambda f: f.token(header=f'{json.dumps(f.header())[:-1]}, "kid": "{f.key.kid}"}}'),
    "J08 sid twice": lambda f: f.token(claims=f'{json.dumps(f.claims())[:-1]}, "sid": "{f.session["session_id"]}"}}'),
    "J08 sid twice by an escape": lambda f: f.token(
        claims=f'{json.dumps(f.claims())[:-1]}, "\\u0073id": "{f.session["session_id"]}"}}'
    ),
    "J09 zeros": lambda f: f.token(signature=bytes(64)),
    "J13 deep": lambda f: f.token(claims=f.text("x", "[" * 500 + "]" * 500)),
    "J14 no exp": lambda f: f.token(claims={"exp": None}),
    "J14 exp a string": lambda f: f.token(claims={"exp": str(now(60))}),
    "J14 exp a float": lambda f: f.token(claims=f.text("exp", f"{now(60)}.0")),
    "J14 exp 1e308": lambda f: f.token(claims=f.text("exp", "1e308")),
    "J14 exp 2^53": lambda f: f.token(claims={"exp": 2**53}),
    "J14 exp 2^63": lambda f: f.token(claims={"exp": 2**63}),
    "J14 exp negative": lambda f: f.token(claims={"exp": -1}),
    "J14 no iat": lambda f: f.token(claims={"iat": None}),
    "J14 iat null": lambda f: f.token(claims=f.text("iat", "null")),
    "J15 expired": lambda f: f.token(claims={"exp": now(-61), "iat": now(-120), "nbf": now(-120)}),
    "J15 not yet": lambda f: f.token(claims={"nbf": now(61)}),
    "J15 from the future": lambda f: f.token(claims={"iat": now(61)}),
    "J15 over before it began": lambda f: f.token(claims={"exp": now(60), "iat": now(60)}),
    "J17 no issuer": lambda f: f.token(claims={"iss": None}),
    "J17 other issuer": lambda f: f.token(claims={"iss": "https://other.example"}),
    "J17 issuer with a slash": lambda f: f.token(claims={"iss": f.stack.issuer + "/"}),
    "J17 issuer in upper case": lambda f: f.token(claims={"iss": f.stack.issuer.upper()}),
    "J17 issuer is the agent": lambda f: f.token(claims={"iss": f.agent.id}),
    "J18 self test by its claims": lambda f: f.token(claims={"sid": None, "sub": None, "aud": None, "client_id": None}),
    "J19 no jti": lambda f: f.token(claims={"jti": None}),
    "J19 other jti": lambda f: f.token(claims={"jti": secrets.token_hex(16)}),
    "J19 jti in upper case": lambda f: f.token(claims={"jti": f.claims()["jti"].swapcase() + "x"}),
    "J21 no sid": lambda f: f.token(claims={"sid": None}),
    "J21 sid a number": lambda f: f.token(claims={"sid": 7}),
    "J21 sid a list": lambda f: f.token(claims={"sid": [f.session["session_id"]]}),
    "J21 sid of no session": lambda f: f.token(claims={"sid": f"sess_{secrets.token_hex(16)}"}),
    "J21 sid of another session": lambda f: f.token(claims={"sid": f.other["session_id"]}),
    "J21 sid and NUL": lambda f: f.token(claims={"sid": f.session["session_id"] + "\0"}),
    "J21 sid for SQL": lambda f: f.token(claims={"sid": "' OR '1'='1"}),
    "J22 detached payload": lambda f: "{}..{}".format(*f.token().split(".")[::2]),
    "J25 not UTF-8": lambda f: f.token(claims=json.dumps(f.claims()).encode()[:-1] + b', "x": "\xed\xa0\x80"}'),
}

# Another kind of JWT is taken for an assertion, and the broker is no agent.
OTHER_TYP = ["nexus-selftest+jwt", "JWT", "client-authentication+jwt", "dpop+jwt", "logout+jwt", "at", "at+jwt;x", "", None]


def is_denied(f, token, code):
    for method in ("GET", "DELETE"):
        is_error(f.stack.call(method, f.path, bearer=token), 401, code)
    assert f.stack.admin("GET", f.path).json()["active"] is True


def test_perfect_one_is_accepted(forge):
    """Or else the refusals below would say nothing."""
    for typ in ("at+jwt", "application/at+jwt", "AT+JWT"):
        reply = forge.stack.call("GET", forge.path, bearer=forge.token(header={"typ": typ}))
        assert reply.status_code == 200 and reply.json()["session_id"] == forge.session["session_id"]


@pytest.mark.parametrize("name", INVALID)
def test_invalid(forge, name):
    is_denied(forge, INVALID[name](forge), "invalid_token")


@pytest.mark.parametrize("typ", OTHER_TYP)
def test_J18_other_typ(forge, typ):
    is_denied(forge, forge.token(header={"typ": typ}), "invalid_client")


def test_J18_self_test_as_the_signer_sees_it(forge):
    """All that the broker has signed without a session: not one of its tokens opens anything."""
    claims = {"iss": forge.stack.issuer, "iat": now(0), "exp": now(60), "jti": secrets.token_hex(16)}
    for typ, code in (("nexus-selftest+jwt", "invalid_client"), ("at+jwt", "invalid_token")):
        token = compact(forge.header(typ=typ), claims, forge.key)
        is_denied(forge, token, code)
        is_error(forge.agent.open(assertion=token), 401, "invalid_client")
        is_error(forge.stack.call("GET", "/admin/v1/agents", bearer=token), 403, "invalid_api_key")


def test_J18_key_of_the_ring_signs_no_assertion(forge):
    f = forge
    for header in ({}, {"typ": "client-authentication+jwt"}, {"typ": "JWT"}, {"typ": None}):
        token = f.agent.assertion(header={"kid": f.key.kid, **header}, key=f.key)
        is_error(f.agent.open(assertion=token), 401, "invalid_client")
        is_denied(f, token, "invalid_client")
        is_error(f.agent.open(assertion=f.token(header=header)), 401, "invalid_client")


def test_J18_session_token_is_no_api_key(forge):
    for method, path in (("GET", "/admin/v1/agents"), ("GET", "/admin/v1/sessions"), ("DELETE", f"/admin/v1/agents/{forge.agent.id}")):
        for how in ({"bearer": forge.token()}, {"key": forge.token()}):
            is_error(forge.stack.call(method, path, **how), 403, "invalid_api_key")
    assert forge.stack.admin("GET", f"/admin/v1/agents/{forge.agent.id}").status_code == 200


def test_J21_what_a_token_says_beside_its_session_changes_nothing(forge):
    """The row is the truth: other claims of a signed token are for resource servers."""
    before = forge.stack.admin("GET", forge.path).json()
    claims = {"scope": "acme:admin", "sub": "admin", "client_id": "admin", "exp": now(10**6), "act": {"sub": "x"}}
    assert forge.stack.call("GET", forge.path, bearer=forge.token(claims=claims)).json() == before


def test_J24_ended_session_ends_its_token(forge):
    """However long the token itself would last."""
    session = forge.agent.session(ttl_seconds=1)
    path = f"/v1/agent-sessions/{session['session_id']}"
    _, claims = parts(session["session_token"])
    token = compact(forge.header(), {**claims, "exp": now(3600)}, forge.key)
    until(lambda: forge.stack.admin("GET", path).json()["active"] is False, 5, "the session is over")
    is_error(forge.stack.call("GET", path, bearer=token), 401, "invalid_token")
    is_error(forge.stack.call("DELETE", path, bearer=token), 401, "invalid_token")


def test_I01_all_of_these_look_the_same(forge):
    replies = {name: forge.stack.call("GET", forge.path, bearer=make(forge)) for name, make in INVALID.items()}
    assert {r.content for r in replies.values()} == {replies["J01 none"].content}
    assert len({tuple(sorted(r.headers)) for r in replies.values()}) == 1
    assert forge.stack.call("GET", forge.path, bearer=forge.session["session_token"]).status_code == 200
