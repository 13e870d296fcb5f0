# SPDX-License-Identifier: Apache-2.0
"""Attacks J01 to J25 on an agent's assertion behind Authorization: Bearer, which reads and closes its sessions."""

import hashlib
import hmac
import json
import secrets
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from lib import agents
from lib.agents import grants
from lib.keys import Key, b64u, compact, signing_input, unb64u
from lib.stack import running_stack
from lib.verify import is_error
from lib.wait import until

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def path(session):
    return f"/v1/agent-sessions/{session['session_id']}"


def segments(agent):
    return agent.assertion().split(".")


def with_twice(members, name):
    return f'{json.dumps(members)[:-1]}, "{name}": {json.dumps(members[name])}}}'


def member_text(members, name, text):
    """JSON with one member in a spelling of its own."""
    rest = {k: v for k, v in members.items() if k != name}
    return f'{json.dumps(rest)[:-1]}, "{name}": {text}}}'


def non_canonical(agent):
    """The same 64 bytes: four bits of the last character say nothing."""
    token = agent.assertion()
    return token[:-1] + ALPHABET[ALPHABET.index(token[-1]) ^ 1]


def hs256(agent):
    text = signing_input(agent.header(alg="HS256"), agent.claims())
    return f"{text}.{b64u(hmac.new(agent.key.public_pem(), text.encode(), hashlib.sha256).digest())}"


def with_signature(agent, change):
    """A good assertion whose signature bytes are changed."""
    header, payload, signature = segments(agent)
    return f"{header}.{payload}.{b64u(change(unb64u(signature)))}"


def der(raw):
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def at(**seconds):
    now = int(time.time())
    return {name: now + s for name, s in seconds.items()}


# No JWT in the compact form with a header that could be ours: nobody even asks whose it is.
MALFORMED = {
    "J01 none": lambda a: a.assertion(header={"alg": "none"}, signature=b""),
    "J01 none, but signed": lambda a: a.assertion(header={"alg": "none"}),
    "J01 no alg": lambda a: a.assertion(header={"alg": None}),
    "J01 alg a number": lambda a: a.assertion(header={"alg": 0}),
    "J02 no signature": lambda a: ".".join(segments(a)[:2]),
    "J02 empty signature": lambda a: ".".join(segments(a)[:2]) + ".",
    "J02 trailing dot": lambda a: a.assertion() + ".",
    "J02 four segments": lambda a: a.assertion() + ".x",
    "J02 padding": lambda a: a.assertion() + "==",
    "J02 the alphabet of base64": lambda a: a.assertion()[:-4] + "+/+/",
    "J02 non-canonical last character": non_canonical,
    "J03 HMAC with the public key": hs256,
    "J05 kid a path": lambda a: a.assertion(header={"kid": "../../dev/null"}),
    "J05 kid for SQL": lambda a: a.assertion(header={"kid": "' OR 1=1--"}),
    "J05 kid of 129 characters": lambda a: a.assertion(header={"kid": "k" * 129}),
    "J05 kid a number": lambda a: a.assertion(header={"kid": 7}),
    "J06 jwk": lambda a: a.assertion(header={"jwk": a.key.jwk()}),
    "J06 jku": lambda a: a.assertion(header={"jku": "http://127.0.0.1:1/"}),
    "J06 x5c": lambda a: a.assertion(header={"x5c": ["MIIB"]}),
    "J07 crit": lambda a: a.assertion(header={"crit": ["exp"], "exp": 1}),
    "J07 empty crit": lambda a: a.assertion(header={"crit": []}),
    "J07 b64": lambda a: a.assertion(header={"b64": False}),
    "J08 alg twice": lambda a: a.assertion(header=with_twice(a.header(), "alg")),
    "J08 kid twice": lambda a: a.assertion(header=with_twice(a.header(), "kid")),
    "J12 long header": lambda a: a.assertion(header={"x": "x" * 2100}),
    "J13 deep header": lambda a: a.assertion(header=member_text(a.header(), "x", "[" * 500 + "]" * 500)),
    "J18 typ a list": lambda a: a.assertion(header={"typ": ["JWT"]}),
    "J22 encrypted": lambda a: ".".join([b64u(b'{"alg":"dir","enc":"A256GCM"}'), "AAAA", "AAAA", "AAAA", "AAAA"]),
    "J22 detached payload": lambda a: "{}..{}".format(*segments(a)[::2]),
    "J25 header not UTF-8": lambda a: a.assertion(header=json.dumps(a.header()).encode()[:-1] + b', "x": "\xc0\xaf"}'),
    "J25 byte order mark": lambda a: a.assertion(header=b"\xef\xbb\xbf" + json.dumps(a.header()).encode()),
}

# In form, but by nobody who may.
FORGED = {
    "J04 alg of another key": lambda a: a.assertion(header={"alg": "ES384"}),
    "J05 kid unknown": lambda a: a.assertion(header={"kid": "unknown"}),
    "J05 another key under this kid": lambda a: a.assertion(key=Key("ES256")),
    "J08 sub twice": lambda a: a.assertion(claims=with_twice(a.claims(), "sub")),
    "J09 zeros": lambda a: a.assertion(signature=bytes(64)),
    "J09 DER": lambda a: with_signature(a, der),
    "J09 65 bytes": lambda a: with_signature(a, lambda raw: raw + b"\0"),
    "J09 s and r": lambda a: with_signature(a, lambda raw: raw[32:] + raw[:32]),
    "J09 of another message": lambda a: "{}.{}.{}".format(*segments(a)[:2], segments(a)[2]),
    "J13 deep claims": lambda a: a.assertion(claims=member_text(a.claims(), "x", "[" * 500 + "]" * 500)),
    "J13 long number": lambda a: a.assertion(claims=member_text(a.claims(), "x", "9" * 3000)),
    "J14 no exp": lambda a: a.assertion(claims={"exp": None}),
    "J14 exp a string": lambda a: a.assertion(claims={"exp": str(int(time.time()) + 60)}),
    "J14 exp a float": lambda a: a.assertion(claims=member_text(a.claims(), "exp", "1e308")),
    "J14 exp 2^64": lambda a: a.assertion(claims={"exp": 2**64}),
    "J15 expired": lambda a: a.assertion(claims=at(iat=-120, exp=-61)),
    "J15 not yet": lambda a: a.assertion(claims=at(nbf=61)),
    "J15 from the future": lambda a: a.assertion(claims=at(iat=61, exp=120)),
    "J15 lives too long": lambda a: a.assertion(claims=at(exp=400)),
    "J16 other audience": lambda a: a.assertion(claims={"aud": "https://other.example"}),
    "J16 list of audiences": lambda a: a.assertion(claims={"aud": [a.broker.issuer]}),
    "J16 trailing slash": lambda a: a.assertion(claims={"aud": a.broker.issuer + "/"}),
    "J17 of nobody": lambda a: a.assertion(claims={"iss": "nobody", "sub": "nobody"}),
    "J17 no issuer": lambda a: a.assertion(claims={"iss": None}),
    "J17 issuer is the broker": lambda a: a.assertion(claims={"iss": a.broker.issuer}),
    "J17 other subject": lambda a: a.assertion(claims={"sub": "nobody"}),
    "J18 DPoP proof": lambda a: a.assertion(header={"typ": "dpop+jwt"}),
    "J18 self test": lambda a: a.assertion(header={"typ": "nexus-selftest+jwt"}),
    "J19 no jti": lambda a: a.assertion(claims={"jti": None}),
    "J19 long jti": lambda a: a.assertion(claims={"jti": "j" * 257}),
    "J21 NUL behind the name": lambda a: a.assertion(claims={"iss": a.id + "\0", "sub": a.id + "\0"}),
    "J21 direction mark": lambda a: a.assertion(claims={"iss": a.id + "\u202e", "sub": a.id + "\u202e"}),
    "J25 claims not UTF-8": lambda a: a.assertion(claims=json.dumps(a.claims()).encode()[:-1] + b', "x": "\xff"}'),
}


@pytest.fixture
def target(victim):
    return victim.session()


def is_denied(agent, session, forge, code):
    before = grants(agent)
    for method in ("GET", "DELETE"):
        is_error(agent.broker.call(method, path(session), bearer=forge(agent)), 401, code)
    assert grants(agent) == before
    assert agent.broker.admin("GET", path(session)).json()["active"] is True


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(victim, target, name):
    is_denied(victim, target, MALFORMED[name], "invalid_token")


@pytest.mark.parametrize("name", FORGED)
def test_forged(victim, target, name):
    is_denied(victim, target, FORGED[name], "invalid_client")


@pytest.mark.parametrize("kind", ["ES384", "EdDSA", "RS256", "PS256"])
def test_J04_of_an_agent_with_another_kind_of_key(victims, kind):
    agent = victims[kind]
    session = agent.session()
    is_denied(agent, session, lambda a: a.assertion(header={"alg": "ES256"}), "invalid_client")
    is_denied(agent, session, lambda a: a.assertion(key=Key("ES256"), header={"alg": "ES256"}), "invalid_client")
    is_denied(agent, session, lambda a: compact(a.header(), a.claims(), signature=bytes(64)), "invalid_client")
    assert agent.broker.call("GET", path(session), bearer=agent.assertion()).status_code == 200


def test_J12_longer_than_a_header_may_be(victim, target):
    token = victim.assertion(claims={"x": "x" * 16384})
    is_error(victim.broker.call("GET", path(target), bearer=token), 431, "request_header_fields_too_large")


def test_J18_named_as_a_session_token(victim, target):
    is_denied(victim, target, lambda a: a.assertion(header={"typ": "at+jwt"}), "invalid_token")
    is_denied(victim, target, lambda a: a.assertion(header={"typ": "application/AT+JWT"}), "invalid_token")


def test_J19_one_assertion_for_one_request_of_any_kind(victim, target):
    for first, second in (("GET", "GET"), ("GET", "DELETE"), ("GET", "POST"), ("POST", "GET"), ("POST", "DELETE")):
        assertion = victim.assertion()

        def send(method):
            if method == "POST":
                return victim.open(assertion=assertion)
            return victim.broker.call(method, path(target), bearer=assertion)

        assert send(first).status_code in (200, 201)
        before = grants(victim)
        is_error(send(second), 401, "invalid_client")
        assert grants(victim) == before
    assert victim.broker.admin("GET", path(target)).json()["active"] is True


def test_J19_refused_signature_uses_nothing_up(victim, target):
    """Who forges an assertion with somebody's jti must not keep the real one from being used."""
    claims = victim.claims()
    forged = victim.assertion(claims=claims, key=Key("ES256"))
    is_error(victim.broker.call("GET", path(target), bearer=forged), 401, "invalid_client")
    is_error(victim.open(assertion=forged), 401, "invalid_client")
    assert victim.broker.call("GET", path(target), bearer=victim.assertion(claims=claims)).status_code == 200


def test_I01_every_failure_looks_the_same(victim, victims, target):
    """I06 and I08: which agents exist, and what was wrong with an assertion, is for the log."""
    used = victim.assertion()
    assert victim.broker.call("GET", path(target), bearer=used).status_code == 200
    unknown = f"agent-{secrets.token_hex(6)}"
    tokens = {name: forge(victim) for name, forge in FORGED.items()}
    tokens |= {
        "used": used,
        "unknown agent": victim.assertion(claims={"iss": unknown, "sub": unknown}),
        "in another agent's name": victim.assertion(claims={"iss": victims["RS256"].id, "sub": victims["RS256"].id}),
    }
    replies = {name: victim.broker.call("GET", path(target), bearer=token) for name, token in tokens.items()}
    own = {"X-Request-Id", "Date"}
    for name, reply in replies.items():
        is_error(reply, 401, "invalid_client")
        assert reply.content == replies["used"].content, name
        heads = [{k: v for k, v in r.headers.items() if k not in own} for r in (reply, replies["used"])]
        assert heads[0] == heads[1], name


def test_no_refusal_costs_a_signature():
    """Counted where signatures are made, at the token: only the broker's own trials may add any."""
    with running_stack(with_shim=True) as stack:
        agent = agents.register(stack)
        session = agent.session()
        stack.settle()
        intents = len(stack.leaves("kind = 'intent'"))
        signatures = stack.shim.count("C_Sign CKR_OK")
        for forge in (MALFORMED | FORGED).values():
            is_error(agent.open(assertion=forge(agent)), 401, "invalid_client")
            assert stack.call("GET", path(session), bearer=forge(agent)).status_code == 401

        def trials():
            stack.settle()
            return stack.leaves("kind = 'intent'")[intents:]

        until(lambda: len(trials()) == stack.shim.count("C_Sign CKR_OK") - signatures, 20, "as many intents as signatures")
        assert not [leaf.body for leaf in trials() if "session" in leaf.body or "client" in leaf.body]
        assert agent.open().status_code == 201
        assert stack.shim.count("C_Sign CKR_OK") > signatures
