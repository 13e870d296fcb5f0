# SPDX-License-Identifier: Apache-2.0
"""Authlib as an agent's OAuth client and as a resource server, both as its documentation has them. What it does not know
(DPoP proofs) is added by lib.dpop, whose proofs joserfc makes."""

import secrets
from collections import namedtuple

import pytest
import requests
from authlib.integrations.base_client import OAuthError, UnsupportedTokenTypeError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2 import OAuth2Error, ResourceProtector
from authlib.oauth2.drafts.id_jag import IDJAGGrant
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc7523 import JWTBearerGrant, PrivateKeyJWT
from authlib.oauth2.rfc7662 import IntrospectTokenValidator
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import KeySet

from lib import agents, dpop
from lib.delegation import actors, delegate, is_in_force, line, new_user, session_path, trusted_issuer
from lib.dpop import DPoPKey
from lib.keys import Key, compact, parts
from lib.oauth import ACCESS_TOKEN, INTROSPECT_PATH, JWT, OAuthClient
from lib.shim import ROOT
from lib.verify import by_authlib, jwks_of

API = "https://api.example.org"
LEDGER = "https://ledger.example.org"


@pytest.fixture(scope="module")
def issuer(broker):
    with trusted_issuer(broker) as it:
        yield it


@pytest.fixture
def client(broker, agent):
    return OAuthClient(broker, agent(allowed_audiences=[API, LEDGER]))


@pytest.fixture(params=["bearer", "DPoP"])
def each_client(client, request):
    """The client twice: with bearer tokens, and with tokens that are bound to its key."""
    client.dpop = DPoPKey() if request.param == "DPoP" else None
    return client


# --- as resource servers


class Offline(JWTBearerTokenValidator):
    """Finds the keys as its documentation says: by the metadata of the issuer."""

    def get_jwks(self):
        url = get_well_known_url(self.issuer, external=True)
        metadata = AuthorizationServerMetadata(requests.get(url, timeout=10).json())
        return KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=10).json())


class Asking(IntrospectTokenValidator):
    """Asks the broker, with a gateway's API key."""

    def __init__(self, broker):
        super().__init__()
        self.broker = broker

    def introspect_token(self, token_string):
        reply = self.broker.call("POST", INTROSPECT_PATH, key=self.broker.gateway_key, data={"token": token_string})
        reply.raise_for_status()
        return reply.json()


Request = namedtuple("Request", "method uri headers")


def protected(validator, token, scopes=("acme:read",)):
    """The claims, if a resource that is protected by this validator lets the request in."""
    protector = ResourceProtector()
    protector.register_token_validator(validator)
    request = Request("GET", f"{API}/things", {"Authorization": f"Bearer {token}"})
    return protector.validate_request([" ".join(scopes)], request)


@pytest.fixture(params=["offline", "asking"])
def resource(broker, request):
    """resource(token, scopes): a resource server for API that verifies by itself, and one that asks."""
    validator = Offline(broker.issuer, API) if request.param == "offline" else Asking(broker)
    return lambda token, scopes=("acme:read",): protected(validator, token, scopes)


# --- as a client


def test_client_credentials(broker, each_client):
    token = each_client.client_credentials("acme:read acme:write", audience=API)
    claims = by_authlib(token["access_token"], jwks_of(broker), broker.issuer, API, ["acme:read", "acme:write"])
    assert claims["sub"] == claims["client_id"] == each_client.agent.id
    assert token["expires_in"] == claims["exp"] - claims["iat"] and token["scope"] == "acme:read acme:write"
    bound = {"jkt": each_client.dpop.jkt} if each_client.dpop else None
    assert (token["token_type"], claims.get("cnf")) == ("DPoP" if bound else "Bearer", bound)
    assert not token.is_expired()


@pytest.mark.parametrize("bound", [False, True], ids=["bearer", "DPoP"])
def test_token_exchange_down_a_chain(broker, issuer, bound):
    user = new_user()
    clients = line(broker, 3, dpop=[DPoPKey(kind) for kind in ("ES256", "EdDSA", "PS256")] if bound else ())
    ids = [client.agent.id for client in clients]
    for n, token in enumerate(delegate(clients, issuer.token(user), scope="acme:read")):
        claims = by_authlib(token["access_token"], jwks_of(broker), broker.issuer, broker.issuer, ["acme:read"])
        assert (claims["sub"], actors(claims)) == (user, ids[n::-1])
        assert token["issued_token_type"] == ACCESS_TOKEN
        assert claims.get("cnf") == ({"jkt": clients[n].dpop.jkt} if bound else None)


def test_token_exchange_with_an_actor_token(broker, issuer, each_client):
    own = each_client.client_credentials("acme:read")["access_token"]
    token = each_client.token_exchange(issuer.token(), JWT, actor_token=own, actor_token_type=ACCESS_TOKEN, resource=API)
    claims = by_authlib(token["access_token"], jwks_of(broker), broker.issuer, API)
    assert actors(claims) == [each_client.agent.id]


def test_jwt_bearer_with_an_assertion_that_authlib_made(broker, issuer, each_client):
    """It has a jti, so it is good once."""
    user = new_user()
    assertion = JWTBearerGrant.sign(
        issuer.key.jose, issuer.issuer, broker.issuer, user, header={"kid": issuer.key.kid}, alg="ES256",
        claims={"permissions": ["acme:read"], "clearance_level": 2},
    )  # fmt: skip
    token = each_client.jwt_bearer(assertion, scope="acme:read")
    claims = by_authlib(token["access_token"], jwks_of(broker), broker.issuer, broker.issuer, ["acme:read"])
    assert (claims["sub"], claims["clearance_level"], actors(claims)) == (user, 2, [each_client.agent.id])
    with pytest.raises(OAuthError) as refused:
        each_client.jwt_bearer(assertion, scope="acme:read")
    assert refused.value.error == "invalid_grant"


def test_identity_assertion_that_authlib_made(broker, issuer, each_client):
    """draft-ietf-oauth-identity-assertion-authz-grant, which Authlib has too"""
    user = new_user()
    cnf = {"cnf": {"jkt": each_client.dpop.jkt}} if each_client.dpop else {}
    assertion = IDJAGGrant.sign(
        issuer.key.jose, issuer.issuer, broker.issuer, user, each_client.agent.id, alg="ES256",
        header={"kid": issuer.key.kid}, claims={"scope": "acme:read", "resource": API, **cnf},
    )  # fmt: skip
    token = each_client.jwt_bearer(assertion)
    claims = by_authlib(token["access_token"], jwks_of(broker), broker.issuer, API, ["acme:read"])
    assert (claims["sub"], claims["scope"], claims["client_id"]) == (user, "acme:read", each_client.agent.id)


def test_introspection(broker, agent, each_client):
    """Authlib asks as an agent that stands for the API; of a token for another audience it hears nothing."""
    api = OAuthClient(broker, agent(allowed_audiences=[API]))
    ours, other = (each_client.client_credentials("acme:read", audience=aud)["access_token"] for aud in (API, LEDGER))
    answer = api.introspect(ours, hint="access_token").json()
    claims = by_authlib(ours, jwks_of(broker), broker.issuer, API)
    assert answer.pop("active") is True and answer.pop("token_type") == ("DPoP" if each_client.dpop else "Bearer")
    assert answer == claims
    assert api.introspect(other).json() == api.introspect("x.y.z").json() == {"active": False}


def test_revocation(broker, issuer, agent, each_client):
    """RFC 7009, and what was exchanged from it ends with it"""
    follower = OAuthClient(broker, agent(), dpop=each_client.dpop and DPoPKey())
    broker.admin("PATCH", f"/admin/v1/agents/{each_client.agent.id}", json={"delegates_to": [follower.agent.id]})
    first, second = delegate([each_client, follower], issuer.token())
    is_in_force(second, broker)
    assert follower.revoke(first["access_token"]).status_code == 200  # somebody else's: nothing happens
    is_in_force(first, broker)
    assert each_client.revoke(first["access_token"], hint="access_token").status_code == 200
    for token in (first, second):
        assert Asking(broker).introspect_token(token["access_token"]) == {"active": False}


def test_authlib_presents_its_bearer_token(broker, client):
    token = client.client_credentials("acme:read")
    own = f"{broker.url}{session_path(token['session_id'])}"
    assert client.session.get(own).json()["active"] is True
    assert client.session.delete(own).json()["status"] == "closed"
    assert client.session.get(own).status_code == 401


def test_bound_token_that_authlib_fetched(broker, client):
    """It cannot present one itself."""
    client.dpop = DPoPKey()
    token = client.client_credentials("acme:read")
    path = session_path(token["session_id"])
    with pytest.raises(UnsupportedTokenTypeError):
        client.session.get(broker.url + path)
    assert dpop.call(broker, client.dpop, "GET", path, token["access_token"]).json()["active"] is True


def test_errors_are_authlibs(client):
    for scope, code in (("acme:none", "invalid_scope"), (None, "invalid_scope")):
        with pytest.raises(OAuthError) as refused:
            client.client_credentials(scope)
        assert refused.value.error == code and refused.value.description
    with pytest.raises(OAuthError) as refused:
        client.grant("password", username="a", password="b")
    assert refused.value.error == "unsupported_grant_type"


# --- its assertions

# The example of docs/api.md, which must stay true.
DOCUMENT = (ROOT / "docs" / "api.md").read_text()


def session_with(broker, agent, method):
    session = OAuth2Session(agent.id, agent.key.jose, token_endpoint_auth_method="private_key_jwt", default_timeout=30)
    session.trust_env = False
    session.register_client_auth_method(method)
    return lambda: session.fetch_token(f"{broker.url}/oauth/token", grant_type="client_credentials", scope="acme:read")


def test_authlibs_own_assertion_lives_too_long(broker, agent):
    a = agent()
    fetch = session_with(broker, a, PrivateKeyJWT(broker.issuer, headers={"kid": a.key.kid}, alg="ES256"))
    with pytest.raises(OAuthError) as refused:
        fetch()
    assert refused.value.error == "invalid_client"


def test_assertion_of_the_document(broker, agent):
    """As it stands there; twice, since each needs a jti of its own."""
    [code] = [block.split("```")[0] for block in DOCUMENT.split("```python\n")[1:] if "PrivateKeyJWT" in block]
    names = {}
    exec(code, names)  # noqa: S102
    a = agent()
    fetch = session_with(broker, a, names["ShortAssertion"](broker.issuer, headers={"kid": a.key.kid}, alg="ES256"))
    assert {fetch()["token_type"] for _ in range(2)} == {"Bearer"}
    # Without an audience Authlib takes the endpoint's URL, which the issuer identifier is not.
    with pytest.raises(OAuthError) as refused:
        session_with(broker, a, names["ShortAssertion"](headers={"kid": a.key.kid}, alg="ES256"))()
    assert refused.value.error == "invalid_client"


# --- as a verifier


def test_good_token_is_let_in(broker, issuer, client, resource):
    user = new_user()
    for token in (client.client_credentials("acme:read acme:write", audience=API),
                  client.token_exchange(issuer.token(user), JWT, audience=API)):  # fmt: skip
        claims = resource(token["access_token"], ["acme:read", "acme:write"])
        assert claims["client_id"] == client.agent.id and claims["aud"] == API
    assert (claims["sub"], claims["act"]) == (user, {"sub": client.agent.id})


def test_token_without_the_scope_is_not_let_in(client, resource):
    token = client.client_credentials("acme:read", audience=API)["access_token"]
    resource(token, ["acme:read"])
    with pytest.raises(InsufficientScopeError):
        resource(token, ["acme:read", "acme:write"])


# What Authlib must refuse, so that no service which uses it takes it for a session token. Not all of it is active.
NOT_LET_IN = {
    "garbage": lambda c, i: "x.y.z",
    "a client assertion": lambda c, i: c.agent.assertion(),
    "a user's token": lambda c, i: i.token(claims={"aud": API, "client_id": "x", "scope": "acme:read"}),
    "a user's token like ours": lambda c, i: i.token(
        header={"typ": "at+jwt"}, claims={"aud": API, "client_id": "x", "scope": "acme:read", "iss": c.broker.issuer}
    ),
    "a proof": lambda c, i: DPoPKey().proof("GET", f"{API}/things"),
    "another's signature": lambda c, i: forged(c, Key("ES256")),
    "the agent's signature": lambda c, i: forged(c, c.agent.key),
    "other claims": lambda c, i: altered(c),
    "no signature": lambda c, i: forged(c, None),
}


def good(client):
    return client.client_credentials("acme:read", audience=API)["access_token"]


def forged(client, key):
    header, claims = parts(good(client))
    if key is None:
        return compact({**header, "alg": "none"}, claims, signature=b"")
    return compact(header, claims, key)


def altered(client):
    header, claims = parts(good(client))
    text = compact(header, {**claims, "scope": "acme:read acme:admin"}, signature=b"")
    return text + good(client).rpartition(".")[2]


@pytest.mark.parametrize("name", NOT_LET_IN)
def test_what_is_not_let_in(client, issuer, resource, name):
    with pytest.raises(OAuth2Error) as refused:
        resource(NOT_LET_IN[name](client, issuer))
    assert isinstance(refused.value, InvalidTokenError)


@pytest.mark.parametrize("expected", [(LEDGER, None), (API + "/", None), (API, "https://other.example"), (API, "slash")])
def test_token_for_another_service_or_by_another_issuer(broker, client, expected):
    audience, iss = expected
    iss = {None: broker.issuer, "slash": broker.issuer + "/"}.get(iss, iss)
    token = good(client)
    by_authlib(token, jwks_of(broker), broker.issuer, API)
    with pytest.raises(InvalidTokenError):
        by_authlib(token, jwks_of(broker), iss, audience)


def test_ended_token_is_seen_by_who_asks(broker, client):
    """docs/verifying.md: offline it is good until exp."""
    token = good(client)
    client.revoke(token)
    assert protected(Offline(broker.issuer, API), token)["aud"] == API
    with pytest.raises(InvalidTokenError):
        protected(Asking(broker), token)


def test_token_of_an_agent_by_each_kind_of_key(broker, resource):
    for kind in ("ES384", "EdDSA", "RS256", "PS256"):
        other = OAuthClient(broker, agents.register(broker, kind, allowed_audiences=[API]))
        assert resource(good(other))["sub"] == other.agent.id


def test_client_that_reads_the_metadata(broker, client):
    """Every address from RFC 8414's document, none from ours"""
    metadata = requests.get(get_well_known_url(broker.issuer, external=True), timeout=10).json()
    s = client.session
    token = s.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope="acme:read", resource=API)
    asks = OAuthClient(broker, agents.register(broker, allowed_audiences=[API], agent_id=f"api-{secrets.token_hex(4)}"))
    shown = asks.session.introspect_token(metadata["introspection_endpoint"], token["access_token"])
    assert shown.json()["active"] is True
    assert s.revoke_token(metadata["revocation_endpoint"], token["access_token"]).status_code == 200
    assert asks.session.introspect_token(metadata["introspection_endpoint"], token["access_token"]).json() == {"active": False}
