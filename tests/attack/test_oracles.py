# SPDX-License-Identifier: Apache-2.0
"""Attacks I01, I02, I08 and J24: what answers tell of what is inside."""

import json
import secrets


from lib import agents
from lib.keys import Key, b64u
from lib.verify import is_error

AGENTS = "/admin/v1/agents"


# --- I01: what a stranger can learn of sessions


def test_I01_every_token_that_is_not_good_looks_the_same(broker, victim):
    session, closed, foreign = victim.session(), victim.session(), victim.session()
    broker.admin("DELETE", f"/v1/agent-sessions/{closed['session_id']}")
    good = session["session_token"]
    path = f"/v1/agent-sessions/{session['session_id']}"
    header, payload, signature = good.split(".")
    tokens = {
        "closed": (f"/v1/agent-sessions/{closed['session_id']}", closed["session_token"]),
        "malformed": (path, "x.y.z"),
        "not a token": (path, "x"),
        "broken signature": (path, f"{header}.{payload}.{signature[:-6]}AAAAAA"),
        "other kid": (path, f"{b64u(json.dumps({'alg': 'ES256', 'typ': 'at+jwt', 'kid': 'x'}).encode())}.{payload}.{signature}"),
        "no kid": (path, f"{b64u(json.dumps({'alg': 'ES256', 'typ': 'at+jwt'}).encode())}.{payload}.{signature}"),
        "alg none": (path, f"{b64u(json.dumps({'alg': 'none', 'typ': 'at+jwt'}).encode())}.{payload}."),
        "unknown session": (f"/v1/agent-sessions/sess_{secrets.token_hex(16)}", "x.y.z"),
    }
    replies = {name: broker.call("GET", where, bearer=token) for name, (where, token) in tokens.items()}
    for name, reply in replies.items():
        is_error(reply, 401, "invalid_token")
        assert reply.content == replies["closed"].content, name
        assert {k for k in reply.headers} == {k for k in replies["closed"].headers}
    is_error(broker.call("GET", path, bearer=foreign["session_token"]), 404, "session_not_found")


def test_I01_foreign_and_unknown_sessions_cannot_be_told_apart(broker, victims):
    mine, yours = victims["ES256"], victims["EdDSA"]
    session, other = mine.session(), yours.session()
    for method in ("GET", "DELETE"):
        for bearer in (lambda: yours.assertion(), lambda: other["session_token"]):
            known = broker.call(method, f"/v1/agent-sessions/{session['session_id']}", bearer=bearer())
            unknown = broker.call(method, f"/v1/agent-sessions/sess_{secrets.token_hex(16)}", bearer=bearer())
            is_error(known, 404, "session_not_found")
            assert known.content == unknown.content
    assert broker.admin("GET", f"/v1/agent-sessions/{session['session_id']}").json()["active"] is True


def test_I02_nothing_is_parsed_before_the_caller_is_known(broker):
    """The admin interface answers a stranger the same whatever the body holds."""
    bodies = [b"", b"{", b"[]", json.dumps({"agent_id": "x"}).encode(), b"\xff" * 100]
    replies = {broker.call("POST", AGENTS, data=body, headers={"Content-Type": "application/json"}).content for body in bodies}
    assert len(replies) == 1
    assert json.loads(replies.pop())["error"] == "missing_api_key"


# --- J24: the state at the moment of commit


def test_J24_cached_agent_is_checked_again(broker, broker_factory):
    """The second broker has the agent in its cache when the first one changes it."""
    other = broker_factory({"NEXUS_WORKERS": 2, "NEXUS_AGENT_CACHE_S": 3600})
    a = agents.register(broker)
    for _ in range(8):
        a.session(broker=other)
    new = Key("ES256")
    broker.admin("PATCH", f"{AGENTS}/{a.id}", json={"jwks": {"keys": [new.jwk()]}})
    for _ in range(4):
        is_error(a.open(broker=other), 401, "invalid_client")
    a.keys = [new]
    a.session(broker=other)
    broker.admin("PATCH", f"{AGENTS}/{a.id}", json={"active": False})
    for _ in range(4):
        is_error(a.open(broker=other), 403, "agent_inactive")


# --- I08: texts


def test_I08_errors_tell_nothing_of_the_inside(broker, victim):
    replies = [
        victim.open(assertion=victim.assertion(key=Key("ES256"))),
        victim.open(scopes=["x" * 3000]),
        broker.call("GET", "/admin/v1/agents", key="nxk_" + "C" * 43),
        broker.admin("GET", f"{AGENTS}/{'x' * 200}"),
        broker.call("GET", "/v1/agent-sessions/x", bearer=victim.assertion()),
        broker.call("POST", "/v1/agent-sessions", data=b"\xff"),
    ]
    for reply in replies:
        text = reply.text.lower()
        for word in ("/home", "/usr", "/tmp", "select ", "nexus.", "pkcs11", "ckr_", "errno", ".c:", "err_", "stack", "openssl", "libpq"):
            assert word not in text, (word, text)
