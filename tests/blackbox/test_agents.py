# SPDX-License-Identifier: Apache-2.0
"""/admin/v1/agents: the register of agents, with every rule and code."""

import secrets

import pytest

from lib.keys import Key, b64u, rsa_key
from lib.verify import is_error

AGENTS = "/admin/v1/agents"


def new_id():
    return f"agent-{secrets.token_hex(6)}"


def body(**changes):
    members = {"agent_id": new_id(), "allowed_scopes": ["acme:read"], "jwks": {"keys": [Key("ES256").jwk()]}, **changes}
    return {k: v for k, v in members.items() if v is not None}


def post(broker, **changes):
    return broker.admin("POST", AGENTS, json=body(**changes))


# --- registration


def test_registered_agent_is_shown_whole(broker):
    key = Key("ES256")
    sent = {
        "agent_id": new_id(),
        "description": "  books gliders  ",
        "allowed_scopes": ["acme:read", " acme:gliding ", "acme:read"],
        "jwks": {"keys": [key.jwk()]},
        "workspaces": ["tenant-1"],
        "allowed_audiences": ["https://api.example.org"],
        "max_ttl_seconds": 1200,
    }
    reply = broker.admin("POST", AGENTS, json=sent)
    assert reply.status_code == 201
    shown = reply.json()
    assert shown["agent_id"] == sent["agent_id"]
    assert shown["description"] == "books gliders"
    assert shown["allowed_scopes"] == ["acme:read", "acme:gliding"]
    assert shown["workspaces"] == ["tenant-1"]
    assert shown["allowed_audiences"] == ["https://api.example.org"]
    assert shown["max_ttl_seconds"] == 1200
    assert shown["active"] is True
    assert shown["created_at"].endswith("Z")
    [kept] = shown["jwks"]["keys"]
    assert {k: kept[k] for k in ("kty", "crv", "x", "y", "kid")} == {k: key.jwk()[k] for k in ("kty", "crv", "x", "y", "kid")}
    assert broker.admin("GET", f"{AGENTS}/{sent['agent_id']}").json() == shown


def test_second_registration_of_an_id_is_refused(broker):
    first = body()
    assert broker.admin("POST", AGENTS, json=first).status_code == 201
    is_error(broker.admin("POST", AGENTS, json=first), 409, "agent_exists")


@pytest.mark.parametrize("agent_id", ["a", "9", "A.b_c:d-e", "x" * 128, " padded "])
def test_agent_id_accepted(broker, agent_id):
    unique = agent_id if len(agent_id) == 128 else agent_id.rstrip() + new_id() + " " * (agent_id != agent_id.rstrip())
    reply = post(broker, agent_id=unique)
    if reply.status_code == 409 and len(agent_id) == 128:
        return
    assert reply.status_code == 201, reply.text
    assert reply.json()["agent_id"] == unique.strip()


@pytest.mark.parametrize(
    "agent_id",
    ["", "   ", "-x", ".x", "_x", ":x", "a b", "a/b", "a\nb", "ä", "a\u202eb", "x" * 129, "a%b", "a'--", "../x"],
)
def test_agent_id_refused(broker, agent_id):
    is_error(post(broker, agent_id=agent_id), 400, "invalid_agent_id", "agent_id")


def test_agent_id_missing(broker):
    reply = post(broker, agent_id=None)
    assert reply.status_code == 400 and reply.json()["error"] in ("invalid_request", "missing_agent_id", "invalid_agent_id")
    assert "agent_id" in reply.json()["message"]


@pytest.mark.parametrize("scope", ["", " ", "a b", 'a"b', "a\\b", "ä", "a\tb", "a\x7fb", "x" * 2000])
def test_scope_refused(broker, scope):
    reply = post(broker, allowed_scopes=["acme:ok", scope])
    assert reply.status_code == 400
    assert reply.json()["error"] == "invalid_scope" or (len(scope) > 1000 and "allowed_scopes" in reply.text), reply.text


def test_scope_of_every_allowed_character(broker):
    # RFC 6749 section 3.3: %x21 / %x23-5B / %x5D-7E
    scope = "".join(chr(c) for c in range(0x21, 0x7F) if c not in (0x22, 0x5C))
    assert post(broker, allowed_scopes=[scope]).json()["allowed_scopes"] == [scope]


def test_empty_ceiling_is_accepted_and_grants_nothing(broker, agent):
    a = agent(scopes=[])
    is_error(a.open(scopes=["acme:read"]), 403, "scope_not_allowed")


@pytest.mark.parametrize("ttl", [0, -1, 2**31, 2**53 - 1])
def test_max_ttl_seconds_refused(broker, ttl):
    reply = post(broker, max_ttl_seconds=ttl)
    assert reply.status_code == 400 and "max_ttl_seconds" in reply.json()["message"]


# --- keys


@pytest.mark.parametrize("count", [1, 8])
def test_as_many_keys_are_accepted(broker, count):
    reply = post(broker, jwks={"keys": [Key("ES256").jwk() for _ in range(count)]})
    assert reply.status_code == 201 and len(reply.json()["jwks"]["keys"]) == count


@pytest.mark.parametrize("count", [0, 9])
def test_as_many_keys_are_refused(broker, count):
    is_error(post(broker, jwks={"keys": [Key("ES256").jwk() for _ in range(count)]}), 400, "invalid_jwks")


def test_jwks_missing(broker):
    is_error(post(broker, jwks=None), 400, "invalid_jwks", "jwks")


def _ec(crv, size):
    return {"kty": "EC", "crv": crv, "x": b64u(b"\1" * size), "y": b64u(b"\2" * size), "kid": "k"}


def _rsa(bits=2048, exponent=65537, **members):
    numbers = rsa_key(bits).public_key().public_numbers()
    size = (bits + 7) // 8
    e = exponent.to_bytes((exponent.bit_length() + 7) // 8 or 1, "big")
    return {"kty": "RSA", "n": b64u(numbers.n.to_bytes(size, "big")), "e": b64u(e), "kid": "k", "alg": "PS256", **members}


def _twice():
    key = Key("ES256").jwk(kid="same")
    return [key, Key("ES256").jwk(kid="same")]


REFUSED_KEYS = {
    "private EC": lambda: [Key("ES256").private_jwk()],
    "private RSA": lambda: [Key("PS256").private_jwk()],
    "private Ed25519": lambda: [Key("EdDSA").private_jwk()],
    "symmetric": lambda: [{"kty": "oct", "k": b64u(b"secret-secret-secret-secret-1234"), "alg": "HS256", "kid": "k"}],
    "symmetric beside a good one": lambda: [Key("ES256").jwk(), {"kty": "oct", "k": b64u(b"0" * 32), "kid": "k"}],
    "k in a public key": lambda: [Key("ES256").jwk(k=b64u(b"0" * 32))],
    "RSA of 1024 bits": lambda: [_rsa(1024)],
    "RSA of 8192 bits": lambda: [{"kty": "RSA", "n": b64u(b"\xff" * 1024), "e": "AQAB", "kid": "k", "alg": "PS256"}],
    "RSA with e of 1": lambda: [_rsa(exponent=1)],
    "RSA with e of 3": lambda: [_rsa(exponent=3)],
    "RSA with an even e": lambda: [_rsa(exponent=65536)],
    "RSA with e above 2^32": lambda: [_rsa(exponent=2**33 + 1)],
    "RSA with n of zero": lambda: [{"kty": "RSA", "n": b64u(bytes(256)), "e": "AQAB", "kid": "k", "alg": "PS256"}],
    "RSA with an even n": lambda: [{"kty": "RSA", "n": b64u(b"\xff" * 255 + b"\xfe"), "e": "AQAB", "kid": "k", "alg": "PS256"}],
    "P-521": lambda: [_ec("P-521", 66)],
    "secp256k1": lambda: [_ec("secp256k1", 32)],
    "a point off the curve": lambda: [_ec("P-256", 32)],
    "the point at infinity": lambda: [{**_ec("P-256", 32), "x": b64u(bytes(32)), "y": b64u(bytes(32))}],
    "a short coordinate": lambda: [{**Key("ES256").jwk(), "x": b64u(b"\1" * 31)}],
    "X25519": lambda: [{"kty": "OKP", "crv": "X25519", "x": b64u(b"\1" * 32), "kid": "k"}],
    "Ed448": lambda: [{"kty": "OKP", "crv": "Ed448", "x": b64u(b"\1" * 57), "kid": "k"}],
    "alg of another curve": lambda: [Key("ES256").jwk(alg="ES384")],
    "alg none": lambda: [Key("ES256").jwk(alg="none")],
    "alg HS256": lambda: [Key("ES256").jwk(alg="HS256")],
    "use enc": lambda: [Key("ES256").jwk(use="enc")],
    "key_ops without verify": lambda: [Key("ES256").jwk(key_ops=["encrypt"])],
    "two keys of one kid": _twice,
    "kid with a slash": lambda: [Key("ES256").jwk(kid="../../dev/null")],
    "kid with a quote": lambda: [Key("ES256").jwk(kid="' OR 1=1--")],
    "kid too long": lambda: [Key("ES256").jwk(kid="k" * 129)],
    "kid a number": lambda: [Key("ES256").jwk(kid=7)],
    "padded base64": lambda: [{**Key("ES256").jwk(), "x": b64u(b"\1" * 32) + "="}],
    "kty unknown": lambda: [{"kty": "XYZ", "kid": "k"}],
    "a string": lambda: ["key"],
    "null": lambda: [None],
}


@pytest.mark.parametrize("name", REFUSED_KEYS)
def test_key_refused(broker, name):
    agent_id = new_id()
    is_error(post(broker, agent_id=agent_id, jwks={"keys": REFUSED_KEYS[name]()}), 400, "invalid_jwks")
    is_error(broker.admin("GET", f"{AGENTS}/{agent_id}"), 404, "agent_not_found")


@pytest.mark.parametrize("jwks", [[], "x", 7, None, {"keys": {}}, {"keys": "x"}, {}])
def test_jwks_of_another_shape_refused(broker, jwks):
    reply = broker.admin("POST", AGENTS, json={**body(), "jwks": jwks})
    assert reply.status_code == 400 and reply.json()["error"] in ("invalid_jwks", "invalid_request"), reply.text
    assert "jwks" in reply.json()["message"] or "keys" in reply.json()["message"]


# --- reading, changing, deleting


def test_unknown_agent_is_not_found(broker):
    path = f"{AGENTS}/{new_id()}"
    is_error(broker.admin("GET", path), 404, "agent_not_found")
    is_error(broker.admin("PATCH", path, json={"active": False}), 404, "agent_not_found")
    is_error(broker.admin("DELETE", path), 404, "agent_not_found")


def test_patch_changes_what_it_names_and_nothing_else(broker, agent):
    a = agent(description="before", max_ttl_seconds=100, workspaces=["w"])
    path = f"{AGENTS}/{a.id}"
    changes = {
        "description": "after",
        "allowed_scopes": ["acme:other"],
        "workspaces": ["w", "v"],
        "allowed_audiences": ["https://a.example"],
        "max_ttl_seconds": 50,
    }
    state = dict(a.registered)
    for name, value in changes.items():
        reply = broker.admin("PATCH", path, json={name: value})
        assert reply.status_code == 200
        state[name] = value
        shown = reply.json()
        assert {k: shown[k] for k in state if k != "updated_at"} == {k: v for k, v in state.items() if k != "updated_at"}
        assert shown["updated_at"] >= state["updated_at"]
    assert broker.admin("GET", path).json()["description"] == "after"


@pytest.mark.parametrize("change", [{"agent_id": "other"}, {"created_at": "2026-01-01T00:00:00Z"}, {"version": 1}, {}])
def test_patch_of_what_cannot_change_is_refused(broker, agent, change):
    a = agent()
    reply = broker.admin("PATCH", f"{AGENTS}/{a.id}", json=change)
    is_error(reply, 400, "invalid_request", *change)
    assert broker.admin("GET", f"{AGENTS}/{a.id}").json() == a.registered


def test_patch_obeys_the_rules_of_registration(broker, agent):
    a = agent()
    path = f"{AGENTS}/{a.id}"
    is_error(broker.admin("PATCH", path, json={"allowed_scopes": ["a b"]}), 400, "invalid_scope")
    is_error(broker.admin("PATCH", path, json={"jwks": {"keys": []}}), 400, "invalid_jwks")
    is_error(broker.admin("PATCH", path, json={"jwks": {"keys": [Key("ES256").private_jwk()]}}), 400, "invalid_jwks")
    assert broker.admin("GET", path).json() == a.registered


def test_new_keys_take_effect_at_once(broker, agent):
    a = agent()
    a.session()
    old, new = a.key, Key("EdDSA")
    assert broker.admin("PATCH", f"{AGENTS}/{a.id}", json={"jwks": {"keys": [new.jwk()]}}).status_code == 200
    is_error(a.open(), 401, "invalid_client")
    a.keys = [new]
    a.session()
    is_error(a.open(assertion=a.assertion(header={"alg": "ES256", "kid": old.kid}, key=old)), 401, "invalid_client")


def test_narrower_ceiling_takes_effect_at_once(broker, agent):
    a = agent(scopes=["acme:read", "acme:write"])
    a.session(scopes=["acme:write"])
    broker.admin("PATCH", f"{AGENTS}/{a.id}", json={"allowed_scopes": ["acme:read"]})
    for _ in range(20):  # every worker has its own cache
        is_error(a.open(scopes=["acme:write"]), 403, "scope_not_allowed")
    a.session(scopes=["acme:read"])


def test_wider_ceiling_takes_effect_at_once(broker, agent):
    a = agent(scopes=["acme:read"])
    a.session()
    broker.admin("PATCH", f"{AGENTS}/{a.id}", json={"allowed_scopes": ["acme:read", "acme:write"]})
    for _ in range(20):
        a.session(scopes=["acme:write"])


def test_deactivation_closes_sessions_and_is_reversible(broker, agent):
    a = agent()
    sessions = [a.session() for _ in range(3)]
    path = f"{AGENTS}/{a.id}"
    assert broker.admin("PATCH", path, json={"active": False}).json()["active"] is False
    for _ in range(20):
        is_error(a.open(), 403, "agent_inactive")
    for s in sessions:
        is_error(broker.call("GET", f"/v1/agent-sessions/{s['session_id']}", bearer=s["session_token"]), 401, "invalid_token")
        assert broker.admin("GET", f"/v1/agent-sessions/{s['session_id']}").json()["active"] is False
    assert broker.admin("PATCH", path, json={"active": True}).json()["active"] is True
    a.session()
    assert broker.admin("GET", f"/v1/agent-sessions/{sessions[0]['session_id']}").json()["active"] is False


def test_deletion_is_final_and_closes_sessions(broker, agent):
    a = agent()
    s = a.session()
    path = f"{AGENTS}/{a.id}"
    assert broker.admin("DELETE", path).status_code == 200
    for _ in range(20):
        is_error(a.open(), 401, "invalid_client")
    is_error(broker.call("GET", f"/v1/agent-sessions/{s['session_id']}", bearer=s["session_token"]), 401, "invalid_token")
    is_error(broker.admin("GET", path), 404, "agent_not_found")
    is_error(broker.admin("DELETE", path), 404, "agent_not_found")
    is_error(broker.admin("PATCH", path, json={"active": True}), 404, "agent_not_found")
    # The audit log speaks of this id: it never means another agent.
    is_error(post(broker, agent_id=a.id), 409, "agent_exists")


def test_id_with_all_its_characters_can_be_addressed(broker, agent):
    a = agent(agent_id=f"x.y_z:{secrets.token_hex(4)}-1")
    for path in (f"{AGENTS}/{a.id}", f"{AGENTS}/{a.id.replace(':', '%3A').replace('.', '%2e')}"):
        reply = broker.call("GET", path, key=broker.admin_key)
        assert reply.status_code == 200 and reply.json()["agent_id"] == a.id


# --- lists


def walk(broker, query, member, limit=3):
    """All items of a list, page by page."""
    items, cursor, pages = [], None, 0
    while True:
        params = {**query, "limit": limit, **({"cursor": cursor} if cursor else {})}
        reply = broker.admin("GET", AGENTS, params=params)
        assert reply.status_code == 200, reply.text
        page = reply.json()
        assert len(page[member]) <= limit
        items += page[member]
        cursor, pages = page.get("next_cursor"), pages + 1
        if not cursor:
            return items, pages


def test_list_walks_every_agent_once(broker, agent):
    made = [agent().id for _ in range(7)]
    items, pages = walk(broker, {}, "agents")
    ids = [i["agent_id"] for i in items]
    assert len(ids) == len(set(ids)) and set(made) <= set(ids)
    assert pages >= 3


def test_list_is_stable_while_agents_come(broker, agent):
    before = {agent().id for _ in range(4)}
    first = broker.admin("GET", AGENTS, params={"limit": 2}).json()
    late = agent().id
    seen = [i["agent_id"] for i in first["agents"]]
    cursor = first["next_cursor"]
    while cursor:
        page = broker.admin("GET", AGENTS, params={"limit": 2, "cursor": cursor}).json()
        seen += [i["agent_id"] for i in page["agents"]]
        cursor = page.get("next_cursor")
    assert before <= set(seen) and late not in seen and len(seen) == len(set(seen))


def test_list_filters_by_active(broker, agent):
    on, off, gone = agent().id, agent().id, agent().id
    broker.admin("PATCH", f"{AGENTS}/{off}", json={"active": False})
    broker.admin("DELETE", f"{AGENTS}/{gone}")
    active = {i["agent_id"] for i in walk(broker, {"active": "true"}, "agents", 100)[0]}
    inactive = {i["agent_id"] for i in walk(broker, {"active": "false"}, "agents", 100)[0]}
    assert on in active and off not in active and off in inactive and on not in inactive
    assert gone not in active | inactive


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=-1", "limit=abc", "limit=", "limit=1.5", "limit=99999999999999999999", "active=yes",
     "active=", "active=TRUE", "cursor=garbage", "cursor=%00", "cursor=%ff", "unknown=1", "limit=1&limit=2", "active",
     "limit=%zz", "cursor=" + "a" * 3000],
)  # fmt: skip
def test_list_refuses_bad_parameters(broker, query):
    reply = broker.admin("GET", f"{AGENTS}?{query}")
    assert reply.status_code == 400 and reply.json()["error"] == "invalid_request", reply.text
    name = query.split("=")[0]
    if query not in ("cursor=%00", "cursor=%ff", "limit=%zz"):
        assert name in reply.json()["message"]


# --- roles


@pytest.mark.parametrize(
    "method,path,allowed",
    [
        ("POST", AGENTS, {"admin"}),
        ("GET", AGENTS, {"admin", "auditor"}),
        ("GET", f"{AGENTS}/none", {"admin", "auditor"}),
        ("PATCH", f"{AGENTS}/none", {"admin"}),
        ("DELETE", f"{AGENTS}/none", {"admin"}),
        ("GET", "/admin/v1/sessions", {"admin", "auditor"}),
    ],
)
def test_roles(broker, method, path, allowed):
    payload = {"json": {"active": True}} if method == "PATCH" else {"json": {}} if method == "POST" else {}
    for role in ("admin", "auditor", "gateway"):
        key = getattr(broker, f"{role}_key")
        for how in ({"key": key}, {"bearer": key}):
            reply = broker.call(method, path, **how, **payload)
            if role in allowed:
                assert reply.status_code in (200, 400, 404), reply.text
            else:
                is_error(reply, 403, "access_denied")
    is_error(broker.call(method, path, **payload), 401, "missing_api_key")
    for wrong in (broker.admin_key[:-1] + "x", "x", broker.admin_key + "x", "nxk_" + "A" * 43):
        is_error(broker.call(method, path, key=wrong, **payload), 403, "invalid_api_key")
