# SPDX-License-Identifier: Apache-2.0
"""Users who signed in at a real OpenID provider (the npm package oidc-provider), by authorization code with PKCE: their
access tokens (JWT, typ at+jwt) and id_tokens at every place where a broker takes a user's token."""

import secrets
from contextlib import contextmanager

import pytest
from authlib.integrations.base_client import OAuthError

from lib import agents, obo
from lib.delegation import actors, new_user, scope_rule
from lib.keys import parts
from lib.oauth import ACCESS_TOKEN, ID_TOKEN, JWT, OAuthClient
from lib.oidc import CLIENT_ID, OidcProvider
from lib.verify import by_authlib, is_error, jwks_of
from lib.wait import until

SCOPES = ["acme:read", "acme:write"]


@pytest.fixture(scope="module")
def beside(broker, tmp_path_factory):
    """A broker that may fetch from loopback, and asks for keys again as soon as it can."""
    settings = {"NEXUS_INSECURE_LOOPBACK_FETCHES": "on", "NEXUS_JWKS_CACHE_S": 1}
    with obo.broker_beside(broker, tmp_path_factory.mktemp("beside"), **settings) as it:
        yield it


@pytest.fixture(scope="module")
def provider(beside):
    with OidcProvider(beside.issuer) as it:
        yield it


@pytest.fixture
def client(beside, agent):
    return OAuthClient(beside, agent(broker=beside))


@contextmanager
def registered(broker, provider, **changes):
    """The provider is a trusted issuer for the length of a block."""
    reply = broker.admin("POST", "/admin/v1/issuers", json=provider.registration(**changes))
    assert reply.status_code == 201, reply.text
    try:
        yield reply.json()
    finally:
        assert broker.admin("DELETE", f"/admin/v1/issuers/{reply.json()['id']}").status_code == 200


def by_discovery(provider):
    return {}


def by_jwks_uri(provider):
    return {"discovery": None, "jwks_uri": provider.discovery()["jwks_uri"]}


# What a sign-in gives, the audience that it has, and its type at an exchange.
ACCESS = ("access_token", None, ACCESS_TOKEN)
ID = ("id_token", CLIENT_ID, ID_TOKEN)
kinds = pytest.mark.parametrize("kind", [ACCESS, ID], ids=["access_token", "id_token"])
sources = pytest.mark.parametrize("source", [by_discovery, by_jwks_uri])


def changes_for(provider, kind, source=by_discovery):
    return {**source(provider), "audience": kind[1] or provider.audience}


def checked(broker, grant, user, scopes=SCOPES):
    """The claims of what was granted, as Authlib's resource server reads them."""
    claims = by_authlib(grant["access_token"], jwks_of(broker), broker.issuer, broker.issuer, scopes)
    assert (claims["sub"], claims["sub_profile"], claims["scope"].split()) == (user, "user", scopes)
    return claims


@kinds
@sources
def test_user_through_every_door(beside, provider, client, kind, source):
    user = new_user()
    with registered(beside, provider, **changes_for(provider, kind, source)) as issuer:
        assert issuer["key_source"] == {by_discovery: "discovery", by_jwks_uri: "jwks_uri"}[source]
        token = provider.tokens(user, tenant="t-7", clearance=4)[kind[0]]
        session = obo.session(client.agent, token, scopes=SCOPES)
        assert (session["acting_for"], session["tenant_id"], session["clearance_level"]) == (user, "t-7", 4)
        grants = [session, client.token_exchange(token, kind[2]), client.token_exchange(token, JWT), client.jwt_bearer(token)]
        for grant in grants:
            claims = checked(beside, grant, user)
            assert actors(claims) == [client.agent.id]
            assert (claims["tenant_id"], claims["clearance_level"]) == ("t-7", 4)
            assert claims["exp"] <= parts(token)[1]["exp"]
        listed = beside.admin("GET", f"/admin/v1/sessions?acting_for={user}").json()["sessions"]
        assert {s["session_id"] for s in listed} == {parts(g["access_token"])[1]["sid"] for g in grants}


@kinds
def test_user_is_never_given_more_than_the_permissions(beside, provider, client, kind):
    with registered(beside, provider, **changes_for(provider, kind)):
        token = provider.tokens(new_user(), permissions=["acme:read"])[kind[0]]
        is_error(obo.ask(client.agent, token, scopes=SCOPES), 403, "user_not_authorized_for_scope", "acme:write")
        for grant in (client.token_exchange(token, kind[2]), client.jwt_bearer(token)):
            assert grant["scope"] == "acme:read"
        for ask in (lambda: client.token_exchange(token, kind[2], scope="acme:write"),
                    lambda: client.jwt_bearer(provider.tokens(permissions=[])[kind[0]], scope="acme:read")):  # fmt: skip
            with pytest.raises(OAuthError) as refused:
                ask()
            assert refused.value.error == "invalid_scope"


def test_permissions_can_be_the_scope_of_the_access_token(beside, provider, client):
    """A string, where `permissions` is an array."""
    with registered(beside, provider, claims={"permissions": "/scope"}):
        token = provider.user_token(permissions=["acme:write"])
        assert isinstance(parts(token)[1]["scope"], str)
        assert client.token_exchange(token)["scope"] == "acme:write"
        is_error(obo.ask(client.agent, token, scopes=["acme:read"]), 403, "user_not_authorized_for_scope")


@kinds
def test_clearance_and_lifetime_are_the_users(beside, provider, kind):
    with scope_rule(beside, min_clearance=5) as scope, registered(beside, provider, **changes_for(provider, kind)):
        a = agents.register(beside, scopes=[scope])
        low, high = (provider.tokens(permissions=[scope], clearance=n, ttl=60)[kind[0]] for n in (4, 5))
        is_error(obo.ask(a, low, scopes=[scope]), 403, "clearance_too_low")
        session = obo.session(a, high, scopes=[scope], ttl_seconds=600)
        assert parts(session["access_token"])[1]["exp"] == parts(high)[1]["exp"]


def refused(client, token, kind):
    """By every door, and nothing comes of it."""
    is_error(obo.ask(client.agent, token), 401, "invalid_user_context_token")
    doors = {
        "invalid_request": lambda: client.token_exchange(token, kind[2]),
        "invalid_grant": lambda: client.jwt_bearer(token),
    }
    for code, ask in doors.items():
        with pytest.raises(OAuthError) as caught:
            ask()
        assert caught.value.error == code
    assert obo.count_sessions(client.agent) == 0


@pytest.mark.parametrize(
    "changes,kind",
    [
        ({"audience": CLIENT_ID}, ACCESS),
        ({}, ID),
        ({"typ": "JWT"}, ACCESS),
        ({"typ": "at+jwt", "audience": CLIENT_ID}, ID),
        ({"algorithms": ["RS256", "PS256", "ES384", "EdDSA"]}, ACCESS),
        ({"claims": {"user_id": "/nobody"}}, ACCESS),
        ({"active": False}, ACCESS),
    ],
    ids=["access token for another", "id_token for another", "wrong typ", "id_token where typ is wanted", "algorithm",
         "no user", "not active"],
)  # fmt: skip
def test_tokens_that_the_registration_does_not_fit(beside, provider, client, changes, kind):
    with registered(beside, provider, **changes):
        refused(client, provider.tokens()[kind[0]], kind)


def test_access_token_is_no_id_token(beside, provider, client):
    """RFC 9068 section 2.1 types it; what says id_token must not be one."""
    with registered(beside, provider):
        with pytest.raises(OAuthError) as caught:
            client.token_exchange(provider.user_token(), ID_TOKEN)
        assert caught.value.error == "invalid_request"


def test_provider_that_is_not_registered(beside, provider, client):
    token = provider.user_token()
    with registered(beside, provider):
        client.token_exchange(token)
    assert obo.ask(client.agent, token).status_code in (401, 503)  # whether another issuer is registered or none
    for ask in (client.token_exchange, client.jwt_bearer):
        with pytest.raises(OAuthError):
            ask(token)


def test_altered_tokens(beside, provider, client):
    """Of two users, each by a signature of the provider, no third can be made."""
    with registered(beside, provider):
        first, second = provider.user_token("dan"), provider.user_token("eve", clearance=9)
        heads, bodies, signatures = zip(first.split("."), second.split("."))
        refused(client, ".".join([heads[0], bodies[1], signatures[0]]), ACCESS)
        refused(client, ".".join([heads[0], bodies[0], signatures[1]]), ACCESS)


def test_one_time_tokens_of_the_provider(beside, provider, client):
    """Its access tokens have a jti; its id_tokens have none, so they cannot be of one use."""
    with registered(beside, provider, one_time_jti=True):
        token = provider.user_token()
        obo.session(client.agent, token)
        is_error(obo.ask(client.agent, token), 401, "invalid_user_context_token")
    with registered(beside, provider, one_time_jti=True, audience=CLIENT_ID):
        assert "jti" not in parts(provider.id_token())[1]
        is_error(obo.ask(client.agent, provider.id_token()), 401, "invalid_user_context_token")


def test_chain_of_agents_for_a_user_of_the_provider(beside, provider):
    user, last = new_user(), f"agent-{secrets.token_hex(6)}"
    first = OAuthClient(beside, agents.register(beside, delegates_to=[last]))
    then = OAuthClient(beside, agents.register(beside, agent_id=last))
    with registered(beside, provider):
        grant = first.token_exchange(provider.user_token(user))
    # What it vouched for stands on its own from here on.
    claims = checked(beside, then.token_exchange(grant["access_token"]), user)
    assert actors(claims) == [last, first.agent.id]


@sources
def test_key_rotation(beside, client, source):
    """The provider comes back with a new key, and without the old one."""
    with OidcProvider(beside.issuer) as provider, registered(beside, provider, **source(provider)):
        old = provider.user_token()
        obo.session(client.agent, old)
        provider.rotate()
        new = provider.user_token()
        assert parts(new)[0]["kid"] != parts(old)[0]["kid"]
        until(lambda: obo.ask(client.agent, new).status_code == 201, 15, "a token by the new key is accepted")
        is_error(obo.ask(client.agent, old), 401, "invalid_user_context_token")
