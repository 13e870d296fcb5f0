# SPDX-License-Identifier: Apache-2.0
"""The suites' own tools, held against libraries that are not ours: what they make is good where it says so, and wrong
in the one way that was asked for. No broker runs here."""

import json
import secrets
import socket
import threading
import time
from urllib.parse import parse_qsl

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc8414 import get_well_known_url as oauth_url
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url as openid_url
from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import KeySet, import_key
from joserfc.jws import JWSRegistry
from jwcrypto.jwk import JWK

from lib import dpop, loopback
from lib.agents import Agent
from lib.backend import PATH as BACKEND_PATH
from lib.backend import Backend
from lib.dpop import DPoPKey
from lib.issuer import Issuer
from lib.keys import ASSERTION_TYPE, Key, changed, compact, parts
from lib.loopback import Hang, Loopback, json_answer
from lib.oauth import JWT_BEARER, TOKEN_EXCHANGE, TOKEN_PATH, OAuthClient
from lib.oidc import CLIENT_ID, OidcProvider
from lib.verify import by_authlib

AUDIENCE = "https://broker.example"


@pytest.fixture
def issuer():
    with Issuer(AUDIENCE) as it:
        yield it


class FakeBroker(Loopback):
    """What the clients need of a broker: a key set, and endpoints that want a nonce in each proof and else agree."""

    issuer = AUDIENCE
    nonce = "nonce-of-now"

    def __init__(self):
        super().__init__()
        self.key = Key("ES256")

    def call(self, method, path, **more):
        return requests.request(method, self.url + path, timeout=10, **more)

    def answer(self, request):
        if request.path == "/.well-known/jwks.json":
            return json_answer({"keys": [self.key.jwk()]})
        proof = request.headers.get("DPoP")
        if proof is not None and parts(proof)[1].get("nonce") != self.nonce:
            wanted = json_answer({"error": "use_dpop_nonce"}, 400)
            return wanted._replace(headers={"DPoP-Nonce": self.nonce})
        return json_answer({"access_token": "the-token", "token_type": "DPoP" if proof else "Bearer"})

    def forms(self):
        return [parse_qsl(r.body.decode(), keep_blank_values=True) for r in self.requests if r.method == "POST"]


@pytest.fixture
def fake():
    with FakeBroker() as it:
        yield it


@pytest.fixture
def agent(fake):
    return Agent(fake, "agent-1", [Key("ES256")], {})


def fetched(url):
    reply = requests.get(url, timeout=10, allow_redirects=False)
    assert reply.status_code == 200
    return reply.json()


# --- issuer


@pytest.mark.parametrize("path", ["", "/tenant1"])
@pytest.mark.parametrize("well_known", [openid_url, oauth_url])
def test_the_issuers_token_verifies_by_discovery(well_known, path):
    with Issuer(AUDIENCE, path=path) as issuer:
        metadata = fetched(well_known(issuer.issuer, external=True))
        assert issuer.count(issuer.discovery_path) + issuer.count(issuer.metadata_path) == 1
        assert metadata["issuer"] == issuer.issuer == issuer.url + path
        token = issuer.token("bob", header={"typ": "at+jwt"}, claims={"client_id": "web", "scope": "a b"})
        claims = by_authlib(token, fetched(metadata["jwks_uri"]), issuer.issuer, AUDIENCE, ["a", "b"])
        assert claims["sub"] == "bob"
        assert (claims["tenant_id"], claims["clearance_level"]) == ("acme", 3)
        assert claims["permissions"] == ["acme:read", "acme:write"]


@pytest.mark.parametrize(
    "changes", [{"aud": "https://other.example"}, {"iss": "https://other.example"}, {"exp": 1}, {"client_id": None}]
)
def test_authlib_refuses_what_is_not_for_the_resource(issuer, changes):
    token = issuer.token(header={"typ": "at+jwt"}, claims={"client_id": "web", **changes})
    with pytest.raises(InvalidTokenError):
        by_authlib(token, issuer.jwks(), issuer.issuer, AUDIENCE)


def test_authlib_wants_every_scope(issuer):
    token = issuer.token(header={"typ": "at+jwt"}, claims={"client_id": "web", "scope": "a"})
    with pytest.raises(InsufficientScopeError):
        by_authlib(token, issuer.jwks(), issuer.issuer, AUDIENCE, ["a", "b"])


def test_rotation_takes_the_old_key_out_of_service(issuer):
    old = issuer.token()
    issuer.rotate(keep=True)
    for token in (old, issuer.token()):
        jwt.decode(token, KeySet.import_key_set(fetched(issuer.jwks_uri)))
    issuer.rotate()
    with pytest.raises(JoseError):
        jwt.decode(old, KeySet.import_key_set(fetched(issuer.jwks_uri)))
    assert issuer.count(issuer.jwks_path) == 3


def test_an_id_jag_names_its_agent_and_key(issuer, agent):
    key = DPoPKey()
    token = jwt.decode(issuer.id_jag(agent, "bob", dpop=key), KeySet.import_key_set(issuer.jwks()))
    assert token.header["typ"] == "oauth-id-jag+jwt"
    wanted = {"sub": "bob", "aud": agent.broker.issuer, "client_id": agent.id, "cnf": {"jkt": key.jkt}}
    assert wanted.items() <= token.claims.items()
    assert "cnf" not in parts(issuer.id_jag(agent))[1]
    assert "jti" not in parts(issuer.id_jag(agent, claims={"jti": None}))[1]


def test_a_registration_names_one_source_of_keys(issuer):
    sources = {"jwks", "jwks_uri", "discovery"}
    for source in sources:
        assert set(issuer.registration(source)) & sources == {source}
    body = issuer.registration(one_time_jti=True, audience=None)
    assert body["one_time_jti"] is True and "audience" not in body


def test_strange_key_sets(issuer):
    issuer.serve_oct_key()
    assert [key["kty"] for key in fetched(issuer.jwks_uri)["keys"]] == ["oct"]
    issuer.serve_duplicate_kids()
    kids = [key["kid"] for key in fetched(issuer.jwks_uri)["keys"]]
    assert kids == [issuer.key.kid] * 2
    issuer.serve_many_keys()
    kids = [key["kid"] for key in fetched(issuer.jwks_uri)["keys"]]
    assert len(set(kids)) == 101 and kids[-1] == issuer.key.kid
    issuer.serve_keys()
    assert fetched(issuer.jwks_uri) == {"keys": [issuer.key.jwk()]}


def test_wrong_metadata(issuer):
    issuer.change_metadata(issuer="https://other.example")
    assert fetched(issuer.url + issuer.discovery_path)["issuer"] == "https://other.example"
    issuer.change_metadata()
    assert fetched(issuer.url + issuer.discovery_path)["issuer"] == issuer.issuer


# --- misbehaviours


def raw_reply(server, path):
    """Header and body as they come."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        while chunk := s.recv(65536):
            received += chunk
    header, _, body = received.partition(b"\r\n\r\n")
    return header.decode(), body


def length_of(header):
    return int(next(line.split(":")[1] for line in header.splitlines() if line.startswith("Content-Length")))


@pytest.mark.parametrize(("how", "difference"), [(loopback.longer, 100), (loopback.shorter, -10)])
def test_content_length_lies(issuer, how, difference):
    issuer.misbehave(issuer.jwks_path, how)
    header, body = raw_reply(issuer, issuer.jwks_path)
    assert json.loads(body) == issuer.jwks()
    assert length_of(header) == len(body) + difference


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_answer_is_good_but_for_its_size(issuer, chunked):
    issuer.misbehave(issuer.jwks_path, loopback.huge(chunked=chunked))
    reply = requests.get(issuer.jwks_uri, timeout=30)
    assert len(reply.content) > 10_000_000
    assert reply.json() == issuer.jwks()
    assert ("Content-Length" in reply.headers) is not chunked


def test_a_client_may_leave_a_huge_answer(issuer):
    issuer.misbehave(issuer.jwks_path, loopback.huge())
    with requests.get(issuer.jwks_uri, timeout=10, stream=True) as reply:
        assert reply.raw.read(1000)
    issuer.behave()
    assert fetched(issuer.jwks_uri) == issuer.jwks()


def test_other_answers(issuer):
    def asked(how):
        issuer.misbehave(issuer.jwks_path, how)
        return requests.get(issuer.jwks_uri, timeout=10, allow_redirects=False)

    reply = asked(loopback.redirect("http://127.0.0.1:1/"))
    assert (reply.status_code, reply.headers["Location"]) == (302, "http://127.0.0.1:1/")
    reply = asked(loopback.status(500))
    assert reply.status_code == 500 and reply.json() == issuer.jwks()
    assert asked(loopback.status(503, {"error": "later"})).json() == {"error": "later"}
    assert asked(loopback.content_type("text/html")).headers["Content-Type"] == "text/html"
    with pytest.raises(requests.exceptions.JSONDecodeError):
        asked(loopback.garbage).json()
    with pytest.raises(requests.ConnectionError):
        asked(loopback.drop)
    issuer.behave()
    assert fetched(issuer.jwks_uri) == issuer.jwks()
    assert issuer.count(issuer.jwks_path) == 7


@pytest.mark.parametrize("after", [None, 10])
def test_a_hang_lasts_until_it_is_released(issuer, after):
    hang = Hang(after)
    issuer.misbehave(issuer.jwks_path, hang)
    got = []
    client = threading.Thread(target=lambda: got.append(fetched(issuer.jwks_uri)))
    client.start()
    assert hang.arrived.wait(10)
    # Others are served meanwhile.
    assert fetched(issuer.url + issuer.discovery_path)
    assert got == []
    hang.release.set()
    client.join(10)
    assert got == [issuer.jwks()]


def test_a_closed_port_opens_again(issuer):
    issuer.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(issuer.jwks_uri, timeout=10)
    issuer.open()
    assert fetched(issuer.jwks_uri) == issuer.jwks()


# --- DPoP


@pytest.mark.parametrize("kind", ["ES256", "ES384", "EdDSA", "RS256", "PS256"])
def test_a_proof_verifies_by_the_key_in_it(kind):
    key = DPoPKey(kind)
    text = key.proof("POST", "https://a/b", access_token="token", nonce="n")
    registry = JWSRegistry(algorithms=[kind])
    registry.max_header_length = 1024  # an RSA key stands in it
    proof = jwt.decode(text, import_key(key.jwk), registry=registry)
    assert proof.header == {"typ": "dpop+jwt", "alg": kind, "jwk": key.jwk}
    assert not {"d", "p", "q", "k"} & set(key.jwk)
    assert JWK(**parts(text)[0]["jwk"]).thumbprint() == key.jkt
    # RFC 9449 section 4.2: ath is the base64url of SHA-256 of the token.
    wanted = {"htm": "POST", "htu": "https://a/b", "nonce": "n", "ath": "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A"}
    assert wanted.items() <= proof.claims.items()
    assert abs(proof.claims["iat"] - time.time()) < 60
    assert proof.claims["jti"] != parts(key.proof("POST", "https://a/b"))[1]["jti"]


def test_a_changed_proof_differs_in_what_was_asked_for():
    key, other = DPoPKey(), DPoPKey()
    header, claims = parts(key.proof("GET", "https://a", header={"typ": None}, claims={"htm": "get", "iat": None}))
    assert "typ" not in header and claims["htm"] == "get" and "iat" not in claims
    assert not {"ath", "nonce"} & set(claims)
    with pytest.raises(BadSignatureError):
        jwt.decode(key.proof("GET", "https://a", header={"jwk": other.jwk}), import_key(other.jwk))
    unsigned = key.proof("GET", "https://a", header={"alg": "none"}, signature=b"")
    assert parts(unsigned)[0]["alg"] == "none" and unsigned.endswith(".")


def test_a_call_with_dpop_is_repeated_once_when_a_nonce_is_wanted(fake):
    key = DPoPKey()
    assert dpop.call(fake, key, "POST", "/v1/x?y=1", "token", data=b"").status_code == 200
    first, second = fake.requests
    assert first.headers["Authorization"] == second.headers["Authorization"] == "DPoP token"
    proofs = [jwt.decode(r.headers["DPoP"], import_key(key.jwk)).claims for r in (first, second)]
    assert [p.get("nonce") for p in proofs] == [None, fake.nonce]
    assert proofs[0]["jti"] != proofs[1]["jti"]
    assert {p["htu"] for p in proofs} == {f"{AUDIENCE}/v1/x"}
    fake.requests.clear()
    assert dpop.call(fake, key, "POST", "/v1/x", nonce=fake.nonce, data=b"").status_code == 200
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("status", "headers", "nonce"),
    [
        (400, {}, None),
        (400, {"DPoP-Nonce": "n"}, "n"),
        (401, {"DPoP-Nonce": "n"}, None),
        (401, {"DPoP-Nonce": "n", "WWW-Authenticate": 'DPoP error="use_dpop_nonce"'}, "n"),
        (200, {"DPoP-Nonce": "n"}, None),
    ],
)
def test_a_nonce_is_wanted_only_by_who_says_so(fake, status, headers, nonce):
    answer = json_answer({"error": "use_dpop_nonce"}, status)._replace(headers=headers)
    fake.misbehave("/x", lambda connection, _: connection.reply(answer))
    assert dpop.nonce_wanted(fake.call("GET", "/x")) == nonce


# --- the OAuth client


def check_assertion(agent, form):
    form = dict(form)
    assert form["client_assertion_type"] == ASSERTION_TYPE
    assertion = jwt.decode(form["client_assertion"], import_key(agent.key.jwk()))
    assert assertion.header == {"alg": "ES256", "typ": "client-authentication+jwt", "kid": agent.key.kid}
    claims = assertion.claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == (agent.id, agent.id, AUDIENCE)
    assert claims["exp"] - claims["iat"] == 60
    return claims["jti"]


def test_what_authlib_sends(fake, agent):
    client = OAuthClient(fake, agent)
    assert client.client_credentials("a b", audience="https://api")["access_token"] == "the-token"
    client.token_exchange("subject", resource="https://api")
    client.jwt_bearer("assertion", scope="a")
    assert client.introspect("token", "access_token").status_code == 200
    assert client.revoke("token").status_code == 200
    forms = fake.forms()
    assert len({check_assertion(agent, form) for form in forms}) == len(forms) == 5
    rest = [{k: v for k, v in form if not k.startswith("client_assertion")} for form in forms]
    access_token = "urn:ietf:params:oauth:token-type:access_token"
    assert rest == [
        {"grant_type": "client_credentials", "scope": "a b", "audience": "https://api"},
        {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": "subject",
            "subject_token_type": access_token,
            "resource": "https://api",
        },
        {"grant_type": JWT_BEARER, "assertion": "assertion", "scope": "a"},
        {"token": "token", "token_type_hint": "access_token"},
        {"token": "token"},
    ]
    assert [r.path for r in fake.requests] == ["/oauth/token"] * 3 + ["/oauth/introspect", "/oauth/revoke"]


def test_authlibs_errors_and_replies(fake, agent):
    client = OAuthClient(fake, agent)
    fake.misbehave(TOKEN_PATH, loopback.status(400, {"error": "invalid_scope", "error_description": "no"}))
    with pytest.raises(OAuthError) as caught:
        client.client_credentials("a")
    assert (caught.value.error, caught.value.description) == ("invalid_scope", "no")
    assert client.reply.status_code == 400


def test_authlib_with_dpop_sends_a_new_assertion_and_proof_for_the_nonce(fake, agent):
    key = DPoPKey()
    assert OAuthClient(fake, agent, key).client_credentials("a")["token_type"] == "DPoP"
    proofs = [jwt.decode(r.headers["DPoP"], import_key(key.jwk)).claims for r in fake.requests]
    assert [p.get("nonce") for p in proofs] == [None, fake.nonce]
    assert {(p["htm"], p["htu"]) for p in proofs} == {("POST", AUDIENCE + TOKEN_PATH)}
    assert len({check_assertion(agent, form) for form in fake.forms()}) == 2


def test_the_raw_form_is_sent_as_it_stands(fake, agent):
    pairs = [("grant_type", "client_credentials"), ("scope", "a"), ("scope", "b"), ("x", "")]
    assert OAuthClient(fake, agent).raw_token(pairs).status_code == 200
    sent = fake.forms()[0]
    assert sent[:4] == pairs
    check_assertion(agent, sent[4:])
    OAuthClient(fake, agent).raw_token(pairs, authenticate=False)
    assert fake.forms()[1] == pairs
    OAuthClient(fake, agent, DPoPKey()).raw_token(pairs)
    assert [r.headers.get("DPoP") is not None for r in fake.requests] == [False, False, True, True]
    # The same assertion again: a request that lacked the nonce must not have used it up.
    assert fake.forms()[2] == fake.forms()[3]


# --- the back end


@pytest.fixture
def backend(fake):
    with Backend() as it:
        it.trust(fake)
        yield it


def ask(backend, token, key=None, typ="nexus-call+jwt", body=None, **claims):
    now = int(time.time())
    good = {"iss": AUDIENCE, "aud": backend.url, "iat": now, "exp": now + 60, "jti": secrets.token_hex(8)}
    key = key or backend.broker.key
    caller = compact({"alg": "ES256", "typ": typ, "kid": key.kid}, changed(good, claims), key)
    headers = {"Authorization": f"Bearer {caller}"}
    return requests.post(backend.url + BACKEND_PATH, json=body or {"token": token}, headers=headers, timeout=10)


def test_the_back_end_tells_the_broker_about_users(backend):
    token = backend.user("bob", clearance_level=5, expires_at=1234)
    reply = ask(backend, token)
    assert reply.status_code == 200
    assert reply.json() == {
        "user_id": "bob",
        "tenant_id": "acme",
        "clearance_level": 5,
        "permissions": ["acme:read", "acme:write"],
        "expires_at": 1234,
    }
    assert ask(backend, "unknown").status_code == 401
    backend.forget(token)
    assert ask(backend, token).status_code == 401
    assert [call.token for call in backend.calls] == [token, "unknown", token]
    assert backend.refused() == []


WRONG_CALLS = {
    "typ": {"typ": "at+jwt"},
    "key": {"key": Key("ES256")},
    "iss": {"iss": "https://other.example"},
    "aud": {"aud": "http://127.0.0.1:1"},
    "expired": {"exp": 1},
    "long": {"exp": int(time.time()) + 3600},
    "no jti": {"jti": None},
    "token": {"body": {"token": 1}},
    "member": {"body": {"token": "x", "more": 1}},
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_the_back_end_refuses_who_is_not_the_broker(backend, name):
    assert ask(backend, backend.user(), **WRONG_CALLS[name]).status_code == 401
    assert len(backend.refused()) == 1


def test_the_back_end_refuses_a_call_twice(backend):
    token = backend.user()
    assert ask(backend, token, jti="once").status_code == 200
    assert ask(backend, token, jti="once").status_code == 401
    assert backend.refused() == ["ValueError: jti was used before"]


def test_the_back_end_misbehaves(backend):
    token = backend.user()
    backend.misbehave(BACKEND_PATH, loopback.status(500))
    assert ask(backend, token).status_code == 500
    backend.misbehave(BACKEND_PATH, loopback.says({"user_id": 1}))
    assert ask(backend, token).json() == {"user_id": 1}


# --- the OpenID provider


@pytest.fixture(scope="module")
def provider():
    with OidcProvider(AUDIENCE) as it:
        yield it


def test_the_providers_access_token_verifies_by_discovery(provider):
    token = provider.user_token("bob", permissions=["acme:read"], tenant="t1", clearance=4, ttl=60)
    metadata = provider.discovery()
    assert metadata["issuer"] == provider.issuer
    claims = by_authlib(token, fetched(metadata["jwks_uri"]), provider.issuer, AUDIENCE, ["acme:read"])
    assert claims["sub"] == "bob"
    assert (claims["tenant_id"], claims["clearance_level"], claims["permissions"]) == ("t1", 4, ["acme:read"])
    assert claims["exp"] - claims["iat"] == 60
    assert parts(token)[0]["typ"] == "at+jwt"


def test_the_providers_id_token_verifies_by_discovery(provider):
    tokens = provider.tokens("carol", clearance=2, nonce="n-1")
    signed = jwt.decode(tokens["id_token"], KeySet.import_key_set(fetched(provider.discovery()["jwks_uri"])))
    options = {"iss": {"essential": True, "value": provider.issuer}, "aud": {"essential": True, "value": CLIENT_ID}}
    known = {"nonce": "n-1", "client_id": CLIENT_ID, "access_token": tokens["access_token"]}
    CodeIDToken(signed.claims, signed.header, options, known).validate()
    assert (signed.claims["sub"], signed.claims["clearance_level"]) == ("carol", 2)
    assert signed.claims["permissions"] == ["acme:read", "acme:write"]


def test_two_users_at_the_provider(provider):
    tokens = {user: parts(provider.user_token(user, clearance=n))[1] for n, user in enumerate(("dan", "eve"))}
    assert {user: claims["sub"] for user, claims in tokens.items()} == {"dan": "dan", "eve": "eve"}
    assert [claims["clearance_level"] for claims in tokens.values()] == [0, 1]
    assert provider.registration(audience=CLIENT_ID)["audience"] == CLIENT_ID
