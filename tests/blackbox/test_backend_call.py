# SPDX-License-Identifier: Apache-2.0
"""The broker asks the application's back end: how it proves who it is, what each answer means, the key that it signs
with, and the pseudonym that stands in the log for a user.

The stack of this module runs with the PKCS#11 shim, whose log counts what the token really did."""

import hashlib
import os
import re
import signal
from datetime import datetime, timedelta, timezone

import pytest

from lib import agents, audit, loopback, obo
from lib.backend import PATH, Backend
from lib.broker import run_command
from lib.keys import b64u, parts
from lib.stack import running_stack
from lib.verify import is_error, jwks_of
from lib.wait import until

TIMEOUT_MS = 1000
USER = {"user_id": "alice", "tenant_id": "acme", "clearance_level": 3, "permissions": ["acme:read"]}


@pytest.fixture(scope="module")
def backend():
    with Backend() as it:
        yield it


@pytest.fixture(scope="module")
def stack(backend):
    # The slash at its end is not part of the name that the back end goes by.
    wishes = {"BACKEND_AUTH_URL": backend.url + "/", "NEXUS_BACKEND_TIMEOUT_MS": TIMEOUT_MS, "NEXUS_HEARTBEAT_S": 1}
    with running_stack(with_shim=True, **wishes) as s:
        backend.trust(s)
        yield s


@pytest.fixture
def jane(stack):
    return agents.register(stack)


@pytest.fixture(autouse=True)
def well_behaved(backend):
    yield
    backend.behave()


def last_jwt(backend):
    """What came in the Authorization header of the last call."""
    return backend.requests[-1].headers["Authorization"].removeprefix("Bearer ")


def session_key(stack):
    return jwks_of(stack)["keys"][0]["kid"]


def reload_keys(stack, done):
    os.kill(stack.pid, signal.SIGHUP)
    until(lambda: done([k["kid"] for k in jwks_of(stack)["keys"]]), 20, "the broker has read its keys anew")


# --- who asks


def test_call_proves_who_asks_and_about_which_token(stack, backend, jane):
    """lib.backend verifies the call with a JOSE library that is not the broker's."""
    tokens = [backend.user("alice"), backend.user("bob")]
    for token in tokens:
        obo.session(jane, token)
    first, second = backend.calls[-2:]
    assert (first.wrong, second.wrong) == (None, None)
    assert [first.token, second.token] == tokens
    for call in (first, second):
        assert call.header["typ"] == "nexus-call+jwt" and call.header["kid"] != session_key(stack)
        claims = call.claims
        assert set(claims) == {"iss", "aud", "iat", "exp", "jti", "token_sha256"}
        assert claims["aud"] == backend.url and claims["exp"] - claims["iat"] == 60
        assert claims["token_sha256"] == b64u(hashlib.sha256(call.token.encode()).digest())


def test_call_goes_to_the_documented_place(backend, jane):
    obo.session(jane, backend.user())
    request = backend.requests[-1]
    assert (request.method, request.path) == ("POST", PATH)
    assert request.headers.get_content_type() == "application/json"


def test_call_is_recorded_before_it_is_signed(stack, backend, jane):
    obo.session(jane, backend.user())
    jwt = last_jwt(backend)
    jti = parts(jwt)[1]["jti"]
    stack.settle()
    leaves = stack.leaves()
    audit.check(leaves)
    intent = audit.check_token(leaves, jwt, jti)
    assert (intent.body["op"], intent.body["detail"], intent.body["aud"]) == ("sign", "call", backend.url)
    assert intent.body["kid"] == parts(jwt)[0]["kid"] and intent.body["req_id"]
    [outcome] = [leaf for leaf in leaves if leaf.kind == "outcome" and leaf.jti == jti]
    assert (outcome.body["op"], outcome.body["reason"]) == ("sign", "ok") and outcome.body["sgnr_ctr"] > 0


def test_call_is_no_other_kind_of_token(stack, backend, jane):
    """RFC 8725 section 3.12: signed by a key of the JWKS, and accepted nowhere."""
    session = obo.session(jane, backend.user())
    jwt = last_jwt(backend)
    path = f"/v1/agent-sessions/{session['session_id']}"
    assert stack.call("GET", path, bearer=session["session_token"]).status_code == 200
    assert stack.call("GET", path, bearer=jwt).status_code == 401
    is_error(jane.open(assertion=jwt), 401, "invalid_client")
    asked = len(backend.calls)
    is_error(obo.ask(jane, jwt), 401, "invalid_user_context_token")
    assert len(backend.calls) == asked
    introspected = stack.call("POST", "/oauth/introspect", key=stack.gateway_key, data={"token": jwt})
    assert introspected.json() == {"active": False}


# --- what an answer means


REFUSED = (401, "invalid_user_context_token")
AWAY = (503, "backend_auth_unavailable")


def says(**changes):
    return loopback.says({k: v for k, v in {**USER, **changes}.items() if v is not None})


def at(seconds):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


MISBEHAVIOURS = {
    "400": (loopback.status(400), REFUSED),
    "401": (loopback.status(401), REFUSED),
    "403": (loopback.status(403), REFUSED),
    "expired": (says(expires_at=1), REFUSED),
    "expired, as text": (says(expires_at="2020-01-01T00:00:00Z"), REFUSED),
    "201": (loopback.status(201), AWAY),
    "204": (loopback.status(204, b""), AWAY),
    "404": (loopback.status(404), AWAY),
    "429": (loopback.status(429), AWAY),
    "500": (loopback.status(500), AWAY),
    "503": (loopback.status(503), AWAY),
    "redirect": (loopback.redirect("/elsewhere"), AWAY),
    "garbage": (loopback.garbage, AWAY),
    "empty": (loopback.says(b""), AWAY),
    "array": (loopback.says([USER]), AWAY),
    "error with 200": (loopback.says({"error": "invalid_token"}), AWAY),
    "closes": (loopback.drop, AWAY),
    "too short": (loopback.longer, AWAY),
    "10 MB": (loopback.huge(), AWAY),
    "10 MB in chunks": (loopback.huge(chunked=True), AWAY),
    "no user": (says(user_id=None), AWAY),
    "no tenant": (says(tenant_id=None), AWAY),
    "no clearance": (says(clearance_level=None), AWAY),
    "no permissions": (says(permissions=None), AWAY),
    "user with a line feed": (says(user_id="a\nb"), AWAY),
    "clearance is text": (says(clearance_level="3"), AWAY),
    "clearance is below": (says(clearance_level=-1), AWAY),
    "clearance is above": (says(clearance_level=1000001), AWAY),
    "permissions are text": (says(permissions="acme:read"), AWAY),
    "permission is no scope": (says(permissions=["acme:read", "acme write"]), AWAY),
    "expiry is a date": (says(expires_at="2999-01-01"), AWAY),
    "expiry is in milliseconds": (says(expires_at=4102444800000), AWAY),
}


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_every_answer_but_one_grants_nothing(backend, jane, name):
    how, expected = MISBEHAVIOURS[name]
    token = backend.user()
    backend.misbehave(PATH, how)
    is_error(obo.ask(jane, token), *expected)
    assert obo.count_sessions(jane) == 0
    backend.behave()
    obo.session(jane, token)


def test_the_assertion_of_an_outage_can_be_used_again(backend, jane):
    token, assertion = backend.user(), jane.assertion()
    backend.misbehave(PATH, loopback.status(500))
    is_error(obo.ask(jane, token, assertion=assertion), *AWAY)
    backend.behave()
    assert obo.ask(jane, token, assertion=assertion).status_code == 201


def test_back_end_that_hangs_or_is_gone(backend, jane):
    token = backend.user()
    for hang in (loopback.Hang(), loopback.Hang(after=10)):
        backend.misbehave(PATH, hang)
        is_error(obo.ask(jane, token), *AWAY)
        hang.release.set()
    backend.behave()
    backend.close()
    try:
        is_error(obo.ask(jane, token), *AWAY)
    finally:
        backend.open()
    obo.session(jane, token)


@pytest.mark.parametrize("expires_at", [lambda: at(120), lambda: int(datetime.now().timestamp()) + 120])
def test_session_ends_when_the_back_end_says(backend, jane, expires_at):
    session = obo.session(jane, backend.user(expires_at=expires_at()), ttl_seconds=900)
    claims = parts(session["session_token"])[1]
    assert claims["exp"] - claims["iat"] <= 120


def test_unknown_members_are_ignored(backend, jane):
    token = backend.user()
    backend.misbehave(PATH, loopback.says({**USER, "name": "Alice", "groups": [{"id": 7, "of": None}]}))
    assert obo.session(jane, token)["acting_for"] == "alice"


# --- the key


def test_keys_of_the_jwks_session_first(stack):
    ring = dict(stack.sql("SELECT purpose, kid FROM nexus.signing_keys WHERE state = 'active' AND kid IS NOT NULL"))
    assert [k["kid"] for k in jwks_of(stack)["keys"]] == [ring["session"], ring["call"]]


def test_without_a_call_key_all_else_is_served(stack, backend, jane):
    token = backend.user()
    [(kid,)] = stack.sql("SELECT kid FROM nexus.signing_keys WHERE purpose = 'call' AND state = 'active'")
    stack.sql("UPDATE nexus.signing_keys SET state = 'retired' WHERE kid = %s", kid)
    try:
        reload_keys(stack, lambda kids: kid not in kids)
        asked = len(backend.calls)
        is_error(obo.ask(jane, token), 503, "no_active_key")
        assert len(backend.calls) == asked
        jane.session()
        assert stack.is_ready()
    finally:
        stack.sql("UPDATE nexus.signing_keys SET state = 'active' WHERE kid = %s", kid)
    reload_keys(stack, lambda kids: kid in kids)
    obo.session(jane, token)


def test_a_retiring_call_key_is_published_and_the_new_one_signs(stack, backend, jane):
    [(old,)] = stack.sql("SELECT kid FROM nexus.signing_keys WHERE purpose = 'call' AND state = 'active'")
    stack.sql("UPDATE nexus.signing_keys SET state = 'retiring' WHERE kid = %s", old)
    done = run_command(stack, "provision")
    assert done.returncode == 0, done.stderr
    [(new,)] = stack.sql("SELECT kid FROM nexus.signing_keys WHERE purpose = 'call' AND state = 'active'")
    reload_keys(stack, lambda kids: new in kids)
    assert [k["kid"] for k in jwks_of(stack)["keys"]] == [session_key(stack), old, new]
    obo.session(jane, backend.user())
    assert backend.calls[-1].header["kid"] == new and backend.calls[-1].wrong is None


def test_a_call_key_that_is_not_on_the_token_is_no_outage(stack, backend, jane):
    """Who needs it gets an error; this broker goes on to issue."""
    key = "purpose = 'call' AND state = 'active'"
    [(cka_id,)] = stack.sql(f"SELECT cka_id FROM nexus.signing_keys WHERE {key}")
    stack.sql(f"UPDATE nexus.signing_keys SET cka_id = %s WHERE {key}", os.urandom(16))
    try:
        stack.restart()
        is_error(obo.ask(jane, backend.user()), 500, "hsm_refused")
        assert stack.is_ready()
        jane.session()
    finally:
        stack.sql(f"UPDATE nexus.signing_keys SET cka_id = %s WHERE {key}", cka_id)
    stack.restart()
    obo.session(jane, backend.user())


def test_provision_adds_the_key_that_an_older_stack_lacks():
    """By itself, and by scripts/stack up on the state that an older version left."""
    with running_stack() as s:
        keys = "SELECT purpose, kid, cka_id FROM nexus.signing_keys ORDER BY purpose"
        before = s.sql(keys)
        assert [purpose for purpose, _, _ in before] == ["call", "kek", "session"]
        s.sql("DELETE FROM nexus.signing_keys WHERE purpose = 'call'")
        first, second = run_command(s, "provision"), run_command(s, "provision")
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert re.findall(r"^(\w+) key (made|is there)", first.stdout, re.M) == [
            ("session", "is there"), ("call", "made"), ("kek", "is there")]  # fmt: skip
        assert "made" not in second.stdout
        after = s.sql(keys)
        assert after[1:] == before[1:] and after[0][1:] != before[0][1:]
        s.sql("DELETE FROM nexus.signing_keys WHERE purpose = 'call'")
        s.down()
        s._stack("up", "--quiet")
        assert [k["kid"] for k in jwks_of(s)["keys"]] == [kid for purpose in ("session", "call") for (kid,) in s.sql(
            "SELECT kid FROM nexus.signing_keys WHERE purpose = %s", purpose)]  # fmt: skip
        s.settle()
        audit.check(s.leaves())


# --- the pseudonym


def pseudonyms(agent):
    return [leaf["sub_p"] for leaf in obo.leaves_of(agent.broker, agent, "intent")]


def uses_of_kek(stack):
    """(operation, key, month, outcome) of each use, in order; every one has its number in the signer's sequence."""
    leaves = stack.leaves()
    outcomes = {leaf.body["corr"]: leaf.body for leaf in leaves if leaf.kind == "outcome"}
    uses = [leaf for leaf in leaves if leaf.kind == "intent" and leaf.body["op"] in ("wrap", "unwrap")]
    found = []
    for leaf in uses:
        outcome = outcomes[f"{leaf.writer}:{leaf.seq}"]
        assert outcome["op"] == leaf.body["op"] and outcome["sgnr_ctr"] > 0
        found.append((leaf.body["op"], leaf.body["key_id"], leaf.body["detail"], outcome["reason"]))
    return found


def test_two_brokers_make_one_pseudonym(stack, backend, jane, broker_factory):
    other = broker_factory(share_with=stack)
    for user in ("alice", "bob"):
        for broker in (stack, other):
            obo.session(jane, backend.user(user), broker=broker)
    alice, alice_elsewhere, bob, bob_elsewhere = pseudonyms(jane)
    assert alice == alice_elsewhere != bob == bob_elsewhere
    assert re.fullmatch("[A-Za-z0-9_-]{22}", alice)


def test_key_of_pseudonyms_is_wrapped_by_the_token(stack, backend, jane):
    obo.session(jane, backend.user())
    [(period, kek, wrapped)] = stack.sql("SELECT period, encode(kek, 'hex'), wrapped FROM nexus.pseudonym_keys")
    assert datetime.now(timezone.utc).strftime("%Y-%m") >= period
    assert [(kek,)] == stack.sql("SELECT encode(cka_id, 'hex') FROM nexus.signing_keys WHERE purpose = 'kek'")
    # Version, algorithm (RFC 3394), and eight bytes more than the key.
    assert len(wrapped) == 2 + 32 + 8 and wrapped[0] == 1
    stack.settle()
    audit.check(stack.leaves())
    uses = uses_of_kek(stack)
    assert ("wrap", kek, period, "ok") in uses and ("unwrap", kek, period, "ok") in uses


def test_each_use_of_the_kek_is_on_record(stack, backend, jane, broker_factory):
    """The broker's workers need the key one after the other, and unwrap it once each."""

    def count():
        recorded = [use[0] for use in uses_of_kek(stack)]
        made = [stack.shim.count(f"C_{name}Key CKR_OK") for name in ("Wrap", "Unwrap")]
        return recorded.count("wrap"), recorded.count("unwrap"), *made

    other = broker_factory({"NEXUS_WORKERS": "2"}, share_with=stack)
    before = count()
    for _ in range(20):
        obo.session(jane, backend.user(), broker=other)
    stack.settle()
    wraps, unwraps, wrapped, unwrapped = (now - then for now, then in zip(count(), before, strict=True))
    assert (wraps, wrapped) == (0, 0) and 1 <= unwraps == unwrapped <= 2


def test_destroying_the_key_makes_pseudonyms_meaningless(stack, backend, jane):
    obo.session(jane, backend.user("alice"))
    stack.sql("DELETE FROM nexus.pseudonym_keys")
    stack.restart()
    obo.session(jane, backend.user("alice"))
    obo.session(jane, backend.user("alice"))
    before, after, again = pseudonyms(jane)
    assert before != after == again


def test_signers_counter_has_no_gap_with_wraps_and_calls(stack, backend, jane):
    """A use of any key outside the log would show."""
    obo.session(jane, backend.user())
    stack.settle()
    marks = {}
    for leaf in stack.leaves("kind = 'outcome'"):
        if "sgnr_ctr" in leaf.body:
            marks.setdefault(leaf.body["sgnr_inst"], []).append(leaf.body["sgnr_ctr"])
    for counters in marks.values():
        assert sorted(counters) == list(range(min(counters), min(counters) + len(counters)))
