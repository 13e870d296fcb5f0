# SPDX-License-Identifier: Apache-2.0
"""POST /oauth/introspect (RFC 7662) and POST /oauth/revoke (RFC 7009): who is told what (attacks I01 to I05, I09), and
what ends."""

import time

import pytest

from lib import audit
from lib.broker import run_command
from lib.delegation import (
    INACTIVE,
    delegate,
    form,
    granted,
    has_ended,
    introspect,
    is_in_force,
    is_not_stored,
    is_oauth_error,
    line,
    new_user,
    session_path,
    trusted_issuer,
)
from lib.dpop import DPoPKey
from lib.keys import Key, b64u, compact, parts
from lib.oauth import ID_TOKEN, INTROSPECT_PATH, REVOKE_PATH, OAuthClient
from lib.verify import claims_of, jwks_of
from lib.wait import until

API = "https://api.example.org"
LEDGER = "https://ledger.example.org"
HINTS = [None, "access_token", "refresh_token", ID_TOKEN, "nonsense", "\u00e9", "x" * 256]


@pytest.fixture(scope="module")
def issuer(broker):
    with trusted_issuer(broker) as i:
        yield i


@pytest.fixture
def client(broker, agent):
    return OAuthClient(broker, agent(allowed_audiences=[API, LEDGER]))


@pytest.fixture
def service(broker, agent):
    """An agent that stands for API."""
    return OAuthClient(broker, agent(allowed_audiences=[API]))


def told(reply):
    assert reply.status_code == 200, reply.text
    is_not_stored(reply)
    return reply.json()


def token_for(client, *audiences):
    params = form("client_credentials", scope="acme:read", audience=list(audiences))
    return granted(client.raw_token(params))["access_token"]


# --- what is told


def tokens(broker, issuer, agent):
    """One of every kind: {name: what the token endpoint answered}."""
    a, b, c = line(broker, 3, allowed_audiences=[API, LEDGER])
    bound = OAuthClient(broker, a.agent, dpop=DPoPKey())
    chain = delegate([a, b, c], issuer.token())
    return {
        "an agent's": a.client_credentials("acme:read"),
        "for two audiences": {"access_token": token_for(a, API, LEDGER), "token_type": "Bearer"},
        "a user's": chain[0],
        "a chain's": chain[2],
        "bound": bound.client_credentials("acme:read acme:write"),
        "of the session endpoint": {**a.agent.session(ttl_seconds=30), "token_type": "Bearer"},
    }


def test_active_answer_holds_the_tokens_claims(broker, issuer, agent):
    """RFC 7662 section 2.2, RFC 9449 section 6.2"""
    for name, grant in tokens(broker, issuer, agent).items():
        answer = told(introspect(broker, grant["access_token"]))
        claims = claims_of(grant["access_token"], jwks_of(broker))
        assert answer == {"active": True, "token_type": grant["token_type"], **claims}, name
        assert answer["exp"] > time.time() - 1


def test_answer_is_the_same_at_every_broker(broker, broker_factory, client):
    token = client.client_credentials("acme:read")["access_token"]
    assert introspect(broker_factory(), token).content == introspect(broker, token).content != INACTIVE


@pytest.mark.parametrize("hint", HINTS)
def test_hint_changes_nothing(broker, client, hint):
    """I04"""
    grant = client.client_credentials("acme:read")
    more = {} if hint is None else {"token_type_hint": hint}
    assert told(introspect(broker, grant["access_token"], **more))["active"] is True
    assert introspect(broker, "x.y.z", **more).content == INACTIVE
    reply = client.raw_revoke([("token", grant["access_token"]), *more.items()])
    assert reply.status_code == 200
    assert introspect(broker, grant["access_token"], **more).content == INACTIVE


# --- of whatever is not active, nothing more


def dead_tokens(broker, issuer, client):
    closed, revoked = client.client_credentials("acme:read"), client.client_credentials("acme:read")
    broker.admin("DELETE", session_path(closed["session_id"]))
    client.revoke(revoked["access_token"])
    good = client.client_credentials("acme:read")["access_token"]
    header, claims = parts(good)
    forged = Key("ES256", kid=header["kid"])
    return {
        "closed": closed["access_token"],
        "revoked": revoked["access_token"],
        "garbage": "garbage",
        "dots": "..",
        "five parts": "a.b.c.d.e",
        "no signature": good.rsplit(".", 1)[0] + ".",
        "broken signature": good[:-8] + "AAAAAAAA",
        "padded": good + "=",
        "with a blank": good + " ",
        "cut": good[:-1],
        "signed by somebody": compact(header, claims, forged),
        "unsigned": compact({**header, "alg": "none"}, claims, signature=b""),
        "of an unknown key": compact({**header, "kid": "nobody"}, claims, forged),
        "of a user's issuer": issuer.token(),
        "an ID-JAG": issuer.id_jag(client.agent),
        "a client assertion": client.agent.assertion(),
        "a DPoP proof": DPoPKey().proof("POST", broker.issuer + INTROSPECT_PATH),
        "an API key": broker.gateway_key,
        "a session id": closed["session_id"],
        "not ASCII": "\u00e9",
        "JSON": '{"active":true}',
        "long": "x" * 20000,
        "long in parts": ".".join([b64u(b"x" * 6000)] * 3),
    }


def test_token_that_is_not_active(broker, issuer, client, service):
    """I01, I09: one answer, byte for byte, whatever is wrong with it and whoever asks"""
    for name, token in dead_tokens(broker, issuer, client).items():
        for reply in (introspect(broker, token), service.raw_introspect([("token", token)])):
            told(reply)
            assert reply.content == INACTIVE, name
            varying = {"Date", "X-Request-Id"}
            headers = {k: v for k, v in reply.headers.items() if k not in varying}
            assert headers == {k: v for k, v in introspect(broker, "x").headers.items() if k not in varying}, name
        assert client.raw_revoke([("token", token)]).status_code == 200, name


def test_token_that_has_expired(broker, client):
    token = client.agent.session(ttl_seconds=1)["access_token"]
    until(lambda: introspect(broker, token).content == INACTIVE, 10, "the token is over")


def test_token_of_an_agent_that_is_out(broker, client):
    grant = client.client_credentials("acme:read")
    broker.admin("PATCH", f"/admin/v1/agents/{client.agent.id}", json={"active": False})
    has_ended(grant, broker)


# --- who may ask


def test_gateways_key_sees_every_token(broker, client):
    for audiences in ([], [API]):
        token = token_for(client, *audiences)
        for how in ({"key": broker.gateway_key}, {"bearer": broker.gateway_key}):
            reply = broker.call("POST", INTROSPECT_PATH, data={"token": token}, **how)
            assert told(reply)["active"] is True


def test_key_that_was_revoked_is_no_key(broker, client):
    token = client.client_credentials("acme:read")["access_token"]
    name = new_user()
    made = run_command(broker, "api-key", "create", "--role", "gateway", "--name", name)
    assert made.returncode == 0, made.stderr
    key = next(word for word in made.stdout.split() if word.startswith("nxk_"))
    assert told(introspect(broker, token, key))["active"] is True
    assert run_command(broker, "api-key", "revoke", "--name", name).returncode == 0
    is_oauth_error(introspect(broker, token, key), 401, "invalid_client")


@pytest.mark.parametrize("which", ["admin", "auditor", "unknown", "empty", "cut", "bearer garbage", "basic"])
def test_any_other_key_is_told_nothing(broker, client, which):
    """I02: nor is the token looked at"""
    token = client.client_credentials("acme:read")["access_token"]
    how = {
        "admin": {"key": broker.admin_key},
        "auditor": {"key": broker.auditor_key},
        "unknown": {"key": "nxk_" + "B" * 43},
        "empty": {"key": ""},
        "cut": {"key": broker.gateway_key[:-1]},
        "bearer garbage": {"bearer": "garbage"},
        "basic": {"headers": {"Authorization": "Basic YTpi"}},
    }[which]
    bodies = set()
    for data in ({"token": token}, {"token": "x"}, {"token": ""}, {}):
        reply = broker.call("POST", INTROSPECT_PATH, data=data or {"x": "y"}, **how)
        is_oauth_error(reply, 401, "invalid_client")
        assert reply.headers["WWW-Authenticate"]
        bodies.add(reply.content)
    assert len(bodies) == 1


def test_nobody_is_told_nothing(broker, client):
    """I02"""
    token = client.client_credentials("acme:read")["access_token"]
    replies = [
        broker.call("POST", path, data=data, **more)
        for path in (INTROSPECT_PATH, REVOKE_PATH)
        for data in ({"token": token}, {"token": "x"}, {"token": ""}, {"x": "y"}, {"token": "x" * 30000})
        for more in ({}, {"bearer": token}, {"bearer": "x.y.z"})
    ]
    for reply in replies:
        is_oauth_error(reply, 401, "invalid_client")
    assert len({r.content for r in replies}) == 1
    assert told(introspect(broker, token))["active"] is True


def test_token_is_needed(broker, client):
    for form in ([], [("token", "")]):
        is_oauth_error(client.raw_introspect(form), 400, "invalid_request", "token")
        is_oauth_error(client.raw_revoke(form), 400, "invalid_request", "token")
        reply = broker.call("POST", INTROSPECT_PATH, key=broker.gateway_key, data=[*form, ("x", "y")])
        is_oauth_error(reply, 400, "invalid_request", "token")


def test_agent_sees_tokens_that_are_for_it(broker, client, service):
    """RFC 7662 section 2.1; whose they are does not matter, not even if they are its own"""
    cases = [((API,), True, True), ((LEDGER,), False, True), ((LEDGER, API), True, True), ((), False, False),
             ((broker.issuer, API), True, True)]  # fmt: skip
    for audiences, services, owners in cases:
        token = token_for(client, *audiences)
        for who, sees in ((service, services), (client, owners)):
            reply = who.raw_introspect([("token", token)])
            if sees:
                assert told(reply) == told(introspect(broker, token)) and reply.json()["active"] is True
            else:
                assert reply.content == INACTIVE
    token = token_for(client, API)
    broker.admin("PATCH", f"/admin/v1/agents/{service.agent.id}", json={"allowed_audiences": []})
    assert service.raw_introspect([("token", token)]).content == INACTIVE


def test_agent_proves_itself(broker, client, service):
    token = token_for(client, API)
    auth = service.authentication()
    assert told(service.raw_introspect([("token", token), *auth], authenticate=False))["active"] is True
    is_oauth_error(service.raw_introspect([("token", token), *auth], authenticate=False), 401, "invalid_client")
    bad = service.authentication(service.agent.assertion(key=Key("ES256")))
    is_oauth_error(service.raw_introspect([("token", token), *bad], authenticate=False), 401, "invalid_client")
    broker.admin("PATCH", f"/admin/v1/agents/{service.agent.id}", json={"active": False})
    is_oauth_error(service.raw_introspect([("token", token)]), 401, "invalid_client")


def test_authlib_introspects_and_revokes(broker, client, agent):
    """A client that is not ours; the service asks with its private_key_jwt"""
    service = OAuthClient(broker, agent(allowed_audiences=[broker.issuer]))
    token = client.client_credentials("acme:read")["access_token"]
    assert service.introspect(token, "access_token").json()["sub"] == client.agent.id
    assert client.revoke(token, "access_token").status_code == 200
    assert service.introspect(token).json() == {"active": False}


# --- revocation


def test_own_token_ends_with_all_that_came_of_it(broker, issuer):
    a, b, c = line(broker, 3)
    first, second, third = delegate([a, b, c], issuer.token())
    other = a.client_credentials("acme:read")
    reply = b.raw_revoke([("token", second["access_token"])])
    assert reply.status_code == 200
    is_not_stored(reply)
    has_ended(second, broker)
    has_ended(third, broker)
    is_in_force(first, broker)
    is_in_force(other, broker)
    [leaf] = broker.leaves("kind = 'close' AND jti = %s", parts(second["access_token"])[1]["jti"])
    audit.check_bytes(leaf)
    assert (leaf.body["op"], leaf.body["actor"]) == ("token.revoke", f"agent:{b.agent.id}")
    assert leaf.body["session"] == second["session_id"]


def test_token_of_another_agent_stays(broker, issuer, agent):
    """I03, RFC 7009 section 2.1: be it before the agent in a chain, or after it, or nothing to do with it"""
    a, b, c = line(broker, 3)
    stranger = OAuthClient(broker, agent(allowed_audiences=[broker.issuer]))
    grants = delegate([a, b, c], issuer.token())
    unknown = b.raw_revoke([("token", "x")])
    before = len(broker.leaves("kind = 'close'"))
    for client, grant in ((b, grants[0]), (b, grants[2]), (stranger, grants[0]), (c, grants[1])):
        reply = client.raw_revoke([("token", grant["access_token"])])
        assert (reply.status_code, reply.content) == (200, unknown.content)
    for grant in grants:
        is_in_force(grant, broker)
    assert len(broker.leaves("kind = 'close'")) == before


def test_revoking_again_changes_nothing(broker, client):
    grant = client.client_credentials("acme:read")
    replies = [client.raw_revoke([("token", grant["access_token"])])]
    first = broker.admin("GET", session_path(grant["session_id"])).json()
    replies += [client.raw_revoke([("token", grant["access_token"])]) for _ in range(2)]
    assert {(r.status_code, r.content) for r in replies} == {(200, replies[0].content)}
    assert broker.admin("GET", session_path(grant["session_id"])).json() == first
    jti = parts(grant["access_token"])[1]["jti"]
    assert len(broker.leaves("kind = 'close' AND jti = %s", jti)) == 1


def test_bound_token_is_revoked_without_a_proof(broker, client):
    """The agent proves itself; whoever lost the key must be able to end what it was for."""
    bound = OAuthClient(broker, client.agent, dpop=DPoPKey()).client_credentials("acme:read")
    assert told(introspect(broker, bound["access_token"]))["token_type"] == "DPoP"
    assert client.raw_revoke([("token", bound["access_token"])]).status_code == 200
    has_ended(bound, broker)


@pytest.mark.parametrize("endpoint", ["oauth", "/v1/agent-sessions"])
def test_session_of_either_door_is_revoked(broker, client, endpoint):
    grant = client.client_credentials("acme:read") if endpoint == "oauth" else client.agent.session()
    assert client.revoke(grant["access_token"]).status_code == 200
    has_ended(grant, broker)
    assert broker.admin("GET", f"/admin/v1/sessions?agent={client.agent.id}&active=true").json()["sessions"] == []
