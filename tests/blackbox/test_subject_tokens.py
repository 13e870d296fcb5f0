# SPDX-License-Identifier: Apache-2.0
"""What a token exchange takes as subject_token and actor_token (RFC 8693 sections 2.1, 2.2 and 4.4, attacks X03, X04,
X08 and X11)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import agents
from lib.backend import Backend
from lib.delegation import (
    actors,
    delegate,
    exchange,
    exchange_form,
    exchange_refused,
    exchanged,
    introspect,
    is_in_force,
    is_oauth_error,
    line,
    new_user,
    trusted_issuer,
)
from lib.dpop import DPoPKey
from lib.keys import Key, parts
from lib.oauth import ACCESS_TOKEN, ID_TOKEN, JWT, TOKEN_PATH, OAuthClient
from lib.verify import claims_of, jwks_of
from lib.wait import until

TYPE = "urn:ietf:params:oauth:token-type:"


@pytest.fixture(scope="module")
def issuer(broker):
    with trusted_issuer(broker) as i:
        yield i


@pytest.fixture(scope="module")
def keys(broker):
    return jwks_of(broker)


# --- types (X04)


def test_subject_token_of_ours_is_an_access_token(broker, issuer):
    a, b = line(broker, 2)
    [grant] = delegate([a], issuer.token())
    for kind in (ACCESS_TOKEN, JWT):
        exchanged(b, grant["access_token"], kind)
    exchange_refused(b, grant["access_token"], ID_TOKEN)


@pytest.mark.parametrize("kind", ["refresh_token", "saml1", "saml2", "access-token", "ACCESS_TOKEN", "jwt ", ""])
def test_types_that_are_not_served(broker, issuer, kind):
    """RFC 8693 section 2.1: of subject, actor, and what is requested"""
    a, b = line(broker, 2)
    [grant] = delegate([a], issuer.token())
    token, own = grant["access_token"], b.client_credentials("acme:read")["access_token"]
    exchange_refused(b, token, TYPE + kind, words=["subject_token_type"])
    exchange_refused(b, token, actor_token=own, actor_token_type=TYPE + kind, words=["actor_token_type"])
    exchange_refused(b, token, requested_token_type=TYPE + kind, words=["requested_token_type"])
    exchange_refused(b, token, kind or "jwt")


def test_id_token_is_neither_requested_nor_an_actors(broker, issuer):
    a, b = line(broker, 2)
    [grant] = delegate([a], issuer.token())
    own = b.client_credentials("acme:read")["access_token"]
    exchange_refused(b, grant["access_token"], requested_token_type=ID_TOKEN)
    exchange_refused(b, grant["access_token"], actor_token=own, actor_token_type=ID_TOKEN)


@pytest.mark.parametrize("requested", [None, "", ACCESS_TOKEN, JWT])
def test_what_is_issued_is_an_access_token(broker, issuer, keys, requested):
    [client] = line(broker, 1)
    grant = exchanged(client, issuer.token(), JWT, requested_token_type=requested)
    assert grant["issued_token_type"] == ACCESS_TOKEN
    claims_of(grant["access_token"], keys)


@pytest.mark.parametrize("value", [None, ""])
def test_subject_token_and_its_type_are_needed(broker, issuer, value):
    [client] = line(broker, 1)
    exchange_refused(client, value, JWT, words=["subject_token"])
    exchange_refused(client, issuer.token(), value, words=["subject_token_type"])


def test_actor_token_and_its_type_go_together(broker, issuer):
    [client] = line(broker, 1)
    own = client.client_credentials("acme:read")["access_token"]
    exchange_refused(client, issuer.token(), JWT, actor_token=own, words=["actor_token_type"])
    exchange_refused(client, issuer.token(), JWT, actor_token_type=ACCESS_TOKEN, words=["actor_token"])


# --- actor_token (X03)


@pytest.mark.parametrize("kind", [ACCESS_TOKEN, JWT])
def test_actor_token_may_be_the_agents_own(broker, issuer, keys, kind):
    """It changes nothing: the agent is the actor anyway."""
    a, b = line(broker, 2)
    [first] = delegate([a], issuer.token())
    own = b.agent.session()["access_token"]
    grant = exchanged(b, first["access_token"], actor_token=own, actor_token_type=kind)
    assert actors(claims_of(grant["access_token"], keys)) == [b.agent.id, a.agent.id]


def test_actor_token_of_anybody_else(broker, issuer, agent):
    a, b = line(broker, 2)
    [first] = delegate([a], issuer.token())
    obo = exchanged(b, issuer.token(), JWT)
    closed = b.client_credentials("acme:read")
    b.revoke(closed["access_token"])
    bound = OAuthClient(broker, b.agent, dpop=DPoPKey()).client_credentials("acme:read")
    stranger = OAuthClient(broker, agent())
    candidates = {
        "the actor before": a.client_credentials("acme:read")["access_token"],
        "somebody else": stranger.client_credentials("acme:read")["access_token"],
        "the subject token": first["access_token"],
        "the agent's for a user": obo["access_token"],
        "the agent's, ended": closed["access_token"],
        "the agent's, bound, without a proof": bound["access_token"],
        "a client assertion": b.agent.assertion(),
        "a user's": issuer.token(),
        "of a user by the agent's name": issuer.token(b.agent.id),
        "signed by the agent": b.agent.assertion(header={"typ": "at+jwt"}, claims={"iss": broker.issuer}),
        "garbage": "x.y.z",
    }
    for name, token in candidates.items():
        reply = exchange(b, first["access_token"], actor_token=token, actor_token_type=ACCESS_TOKEN)
        bad = "invalid_dpop_proof" if "bound" in name else "invalid_request"
        assert (reply.status_code, reply.json()["error"]) == (400, bad), name
    # An agent cannot let another one act: the token of the named one helps a stranger as little.
    own = b.client_credentials("acme:read")["access_token"]
    exchange_refused(stranger, first["access_token"], actor_token=own, actor_token_type=ACCESS_TOKEN)


def test_actor_token_that_has_expired(broker, issuer):
    [client] = line(broker, 1)
    own = client.agent.session(ttl_seconds=1)["access_token"]
    until(lambda: introspect(broker, own).json() == {"active": False}, 10, "the token is over")
    exchange_refused(client, issuer.token(), JWT, actor_token=own, actor_token_type=ACCESS_TOKEN)


def test_actor_token_that_is_bound_takes_its_key(broker, issuer):
    key = DPoPKey()
    a, b = line(broker, 2)
    [first] = delegate([a], issuer.token())
    bound = OAuthClient(broker, b.agent, dpop=key)
    actor = {"actor_token": bound.client_credentials("acme:read")["access_token"], "actor_token_type": ACCESS_TOKEN}
    assert exchanged(bound, first["access_token"], **actor)["token_type"] == "DPoP"
    other = OAuthClient(broker, b.agent, dpop=DPoPKey())
    exchange_refused(other, first["access_token"], code="invalid_dpop_proof", **actor)


# --- tokens that are bound (X08)


def test_binding_is_never_dropped(broker, issuer, keys):
    """The actor binds what it gets to its own key; the record holds both."""
    mine, theirs = DPoPKey(), DPoPKey("EdDSA")
    a, b = line(broker, 2, dpop=[mine, theirs])
    [first] = delegate([a], issuer.token())
    assert first["token_type"] == "DPoP"
    exchange_refused(OAuthClient(broker, b.agent), first["access_token"], code="invalid_dpop_proof")
    grant = exchanged(b, first["access_token"])
    claims = claims_of(grant["access_token"], keys)
    assert (grant["token_type"], claims["cnf"]) == ("DPoP", {"jkt": theirs.jkt})
    [intent] = broker.leaves("kind = 'intent' AND jti = %s", claims["jti"])
    assert (intent.body["jkt"], intent.body["sub_jkt"]) == (theirs.jkt, mine.jkt)


def test_agents_that_must_bind_do_so_here_too(broker, issuer):
    [client] = line(broker, 1, require_dpop=True)
    exchange_refused(client, issuer.token(), JWT, code="invalid_dpop_proof")
    bound = OAuthClient(broker, client.agent, dpop=DPoPKey())
    assert exchanged(bound, issuer.token(), JWT)["token_type"] == "DPoP"


def test_users_token_that_is_bound_takes_its_key(broker, issuer):
    key = DPoPKey()
    token = issuer.token(claims={"cnf": {"jkt": key.jkt}})
    [client] = line(broker, 1)
    exchange_refused(client, token, JWT, code="invalid_dpop_proof")
    exchange_refused(OAuthClient(broker, client.agent, dpop=DPoPKey()), token, JWT, code="invalid_dpop_proof")
    assert exchanged(OAuthClient(broker, client.agent, dpop=key), token, JWT)["token_type"] == "DPoP"


# --- tokens of issuers


@pytest.mark.parametrize(
    "kind,typ",
    [(JWT, "JWT"), (JWT, "at+jwt"), (JWT, None), (ID_TOKEN, "JWT"), (ID_TOKEN, None), (ACCESS_TOKEN, "at+jwt"),
     (ACCESS_TOKEN, "JWT"), (ACCESS_TOKEN, None)],
)  # fmt: skip
def test_issuers_token_by_each_of_its_types(broker, issuer, keys, kind, typ):
    [client] = line(broker, 1)
    user = new_user()
    grant = exchanged(client, issuer.token(user, header={"typ": typ}), kind)
    claims = claims_of(grant["access_token"], keys)
    assert claims["sub"] == user and actors(claims) == [client.agent.id]


def test_access_token_of_an_issuer_is_no_id_token(broker, issuer):
    """RFC 9068 section 2.1 types it, so that it cannot be taken for one."""
    [client] = line(broker, 1)
    for typ in ("at+jwt", "application/at+jwt", "AT+JWT"):
        exchange_refused(client, issuer.token(header={"typ": typ}), ID_TOKEN)


ISSUERS_BAD = {
    "expired": lambda i, c: i.token(claims={"iat": 1000, "exp": 2000}),
    "not yet": lambda i, c: i.token(claims={"nbf": i.claims()["iat"] + 120}),
    "no exp": lambda i, c: i.token(claims={"exp": None}),
    "no sub": lambda i, c: i.token(claims={"sub": None}),
    "for another audience": lambda i, c: i.token(claims={"aud": "https://other.example"}),
    "for the agent": lambda i, c: i.token(claims={"aud": c.agent.id}),
    "no aud": lambda i, c: i.token(claims={"aud": None}),
    "unknown issuer": lambda i, c: i.token(claims={"iss": "https://unknown.example"}),
    "issuer with a slash": lambda i, c: i.token(claims={"iss": i.issuer + "/"}),
    "no issuer": lambda i, c: i.token(claims={"iss": None}),
    "our issuer": lambda i, c: i.token(header={"typ": "at+jwt"}, claims={"iss": c.broker.issuer}),
    "another's key": lambda i, c: i.token(key=Key("ES256")),
    "another's key under its kid": lambda i, c: i.token(key=Key("ES256", kid=i.key.kid)),
    "unsigned": lambda i, c: i.token(header={"alg": "none"}, signature=b""),
    "typ of an assertion": lambda i, c: i.token(header={"typ": "client-authentication+jwt"}),
    "typ of a proof": lambda i, c: i.token(header={"typ": "dpop+jwt"}),
    "an ID-JAG": lambda i, c: i.id_jag(c.agent),
    "the user is the agent": lambda i, c: i.token(c.agent.id),
    "permissions are a number": lambda i, c: i.token(claims={"permissions": 7}),
    # A delegation that began elsewhere cannot be checked (J21).
    "acted on elsewhere": lambda i, c: i.token(claims={"act": {"sub": "someone"}}),
    "acted on by the agent": lambda i, c: i.token(claims={"act": {"sub": c.agent.id}}),
    "an empty act": lambda i, c: i.token(claims={"act": {}}),
    # RFC 8693 section 4.4
    "another may act": lambda i, c: i.token(claims={"may_act": {"sub": "agent-other"}}),
    "another client may act": lambda i, c: i.token(claims={"may_act": {"client_id": "agent-other"}}),
    "agent by sub, another by client": lambda i, c: i.token(
        claims={"may_act": {"sub": c.agent.id, "client_id": "agent-other"}}
    ),
    "of another issuer may act": lambda i, c: i.token(
        claims={"may_act": {"sub": c.agent.id, "iss": "https://other.example"}}
    ),
    "nobody may act": lambda i, c: i.token(claims={"may_act": {}}),
    "may_act is a list": lambda i, c: i.token(claims={"may_act": [{"sub": c.agent.id}]}),
    "may_act is a name": lambda i, c: i.token(claims={"may_act": c.agent.id}),
    "may_act is no name": lambda i, c: i.token(claims={"may_act": {"sub": [c.agent.id]}}),
    "bound by what cannot be proved": lambda i, c: i.token(claims={"cnf": {"x5t#S256": "A" * 43}}),
}


@pytest.mark.parametrize("name", ISSUERS_BAD)
def test_issuers_token_that_is_not_accepted(broker, issuer, name):
    """RFC 8693 section 2.2.2: invalid_request, with or without an actor token"""
    [client] = line(broker, 1)
    token = ISSUERS_BAD[name](issuer, client)
    for kind in (JWT, ACCESS_TOKEN):
        exchange_refused(client, token, kind)
    own = client.client_credentials("acme:read")["access_token"]
    exchange_refused(client, token, JWT, actor_token=own, actor_token_type=ACCESS_TOKEN)


def test_garbage_is_no_subject_token(broker):
    [client] = line(broker, 1)
    for token in ("x", "x.y.z", "..", "a.b.c.d.e", client.agent.assertion(), "\u00e9", " ", "x" * 20000):
        exchange_refused(client, token, JWT)


def test_agent_that_may_act(broker, issuer, keys):
    [client] = line(broker, 1)
    name = client.agent.id
    for may_act in ({"sub": name}, {"client_id": name}, {"sub": name, "iss": broker.issuer}):
        for actor in ({}, {"actor_token": client.client_credentials("acme:read")["access_token"],
                           "actor_token_type": ACCESS_TOKEN}):  # fmt: skip
            grant = exchanged(client, issuer.token(claims={"may_act": may_act}), JWT, **actor)
            assert actors(claims_of(grant["access_token"], keys)) == [name]


def test_issuer_that_is_not_trusted_any_more(broker):
    a, b = line(broker, 2)
    with trusted_issuer(broker) as issuer:
        token = issuer.token()
        [first] = delegate([a], token)
        broker.admin("PATCH", f"/admin/v1/issuers/{issuer.id}", json={"active": False})
        exchange_refused(a, token, JWT)
        broker.admin("PATCH", f"/admin/v1/issuers/{issuer.id}", json={"active": True})
        exchanged(a, token, JWT)
    exchange_refused(a, token, JWT)
    # What it vouched for before goes on until it is revoked.
    is_in_force(exchanged(b, first["access_token"]), broker)


def test_back_end_is_never_asked(broker, broker_factory):
    """It vouches for user context tokens; an exchange is of tokens whose issuer is known."""
    with Backend() as backend:
        other = broker_factory({"BACKEND_AUTH_URL": backend.url, "NEXUS_INSECURE_LOOPBACK_FETCHES": "on"})
        backend.trust(other)
        [client] = line(broker, 1)
        for token in (backend.user(), backend.user(token="x.y.z"), client.agent.assertion()):
            for kind in (JWT, ACCESS_TOKEN, ID_TOKEN):
                reply = other.call("POST", TOKEN_PATH, data=[*exchange_form(token, kind), *client.authentication()])
                is_oauth_error(reply, 400, "invalid_request")
        assert backend.requests == []


# --- the same request again (X11)


def at_once(n, call):
    """call(0) to call(n - 1), side by side."""
    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(call, range(n)))


def test_one_request_many_times_at_once_is_one_token(broker, broker_factory, issuer):
    pair = [broker, broker_factory()]
    a, b = line(broker, 2)
    [first] = delegate([a], issuer.token())
    for token, kind in ((first["access_token"], ACCESS_TOKEN), (issuer.token(), JWT)):
        body = [*exchange_form(token, kind), *b.authentication()]
        replies = at_once(16, lambda n, body=body: pair[n % 2].call("POST", TOKEN_PATH, data=body))
        assert sorted(r.status_code for r in replies) == [200] + [401] * 15
        for reply in replies:
            if reply.status_code == 401:
                is_oauth_error(reply, 401, "invalid_client")
    [(sessions, _, intents)] = agents.grants(b.agent)
    assert (sessions, intents) == (2, 2)


def test_one_subject_token_many_times_is_never_more(broker, issuer, keys):
    a, b = line(broker, 2)
    [first] = delegate([a], issuer.token(), scope="acme:read")
    replies = at_once(8, lambda _: exchange(b, first["access_token"]))
    claims = [claims_of(r.json()["access_token"], keys) for r in replies]
    assert len({c["sid"] for c in claims}) == 8
    end = parts(first["access_token"])[1]["exp"]
    assert {(c["scope"], c["sub"], *actors(c)) for c in claims} == {("acme:read", "alice", b.agent.id, a.agent.id)}
    assert all(c["exp"] <= end for c in claims)


def test_token_that_its_issuer_lets_pass_once(broker, broker_factory):
    pair = [broker, broker_factory()]
    [client] = line(broker, 1)
    with trusted_issuer(broker, one_time_jti=True) as issuer:
        token = issuer.token()
        replies = at_once(8, lambda n: exchange(client, token, JWT, broker=pair[n % 2]))
        assert sorted(r.status_code for r in replies) == [200] + [400] * 7
        for reply in replies:
            if reply.status_code == 400:
                is_oauth_error(reply, 400, "invalid_request")
        exchange_refused(client, token, JWT)
        exchange_refused(client, issuer.token(claims={"jti": None}), JWT)
        exchanged(client, issuer.token(), JWT)
