# SPDX-License-Identifier: Apache-2.0
"""POST /oauth/token: the form it takes (RFC 6749 sections 3.2 and 5, attacks H09 and H10), and client_credentials."""

from urllib.parse import urlencode

import pytest

from lib import audit
from lib.delegation import (
    granted,
    has_ended,
    is_in_force,
    is_not_stored,
    is_oauth_error,
    opens_nothing,
    scope_rule,
    session_path,
    trusted_issuer,
    ways_to_end,
)
from lib.dpop import DPoPKey
from lib.keys import ASSERTION_TYPE, Key
from lib.oauth import (
    INTROSPECT_PATH,
    JWT,
    JWT_BEARER,
    REVOKE_PATH,
    TOKEN_EXCHANGE,
    TOKEN_PATH,
    OAuthClient,
)
from lib.verify import by_authlib, claims_of, jwks_of

CREDENTIALS = ("grant_type", "client_credentials")
READ = ("scope", "acme:read")
GOOD = [CREDENTIALS, READ]
FORM = "application/x-www-form-urlencoded"
PATHS = [TOKEN_PATH, INTROSPECT_PATH, REVOKE_PATH]
API = "https://api.example.org"
LEDGER = "https://ledger.example.org/v2"


@pytest.fixture
def client(broker, agent):
    return OAuthClient(broker, agent(allowed_audiences=[API, LEDGER, "urn:acme:x"]))


# --- what is granted


def test_answer_is_that_of_the_rfc(broker, client):
    """RFC 6749 section 5.1"""
    reply = client.raw_token(GOOD)
    is_not_stored(reply)
    assert reply.headers["Content-Type"].startswith("application/json")
    answer = granted(reply)
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope", "session_id"}
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 900, "acme:read")
    claims = claims_of(answer["access_token"], jwks_of(broker))
    assert claims == by_authlib(answer["access_token"], jwks_of(broker), broker.issuer, broker.issuer, ["acme:read"])
    assert claims["sub"] == claims["client_id"] == client.agent.id and claims["aud"] == broker.issuer
    assert claims["sid"] == answer["session_id"] and claims["exp"] - claims["iat"] == answer["expires_in"]
    assert not {"act", "cnf", "sub_profile", "tenant_id", "clearance_level"} & set(claims)


@pytest.mark.parametrize("kind", ["ES384", "EdDSA", "RS256", "PS256"])
def test_agent_of_each_kind_of_key(broker, agent, kind):
    token = OAuthClient(broker, agent(kind)).client_credentials("acme:write")
    assert claims_of(token["access_token"], jwks_of(broker))["scope"] == "acme:write"


def test_scope_is_granted_in_the_order_it_was_asked_for(client):
    assert client.client_credentials("acme:write acme:read")["scope"] == "acme:write acme:read"
    assert client.client_credentials("acme:read acme:read")["scope"] == "acme:read"


def test_lifetime_is_the_agents_and_the_scopes(broker, agent):
    assert OAuthClient(broker, agent(max_ttl_seconds=60)).client_credentials("acme:read")["expires_in"] == 60
    with scope_rule(broker, max_ttl_seconds=30) as scope:
        client = OAuthClient(broker, agent(scopes=[scope, "acme:read"]))
        assert client.client_credentials("acme:read")["expires_in"] == 900
        assert client.client_credentials(f"acme:read {scope}")["expires_in"] == 30


@pytest.mark.parametrize(
    "asked,aud",
    [
        ([], None),
        ([("audience", API)], API),
        ([("resource", API)], API),
        ([("resource", "urn:acme:x")], "urn:acme:x"),
        ([("resource", API), ("resource", LEDGER)], [API, LEDGER]),
        ([("audience", API), ("audience", LEDGER)], [API, LEDGER]),
        ([("audience", API), ("resource", LEDGER)], [API, LEDGER]),
        ([("audience", API), ("resource", API), ("audience", API)], API),
        ([("audience", ""), ("resource", "")], None),
        ([("audience", ""), ("audience", API)], API),
    ],
)
def test_audience_and_resource_name_what_the_token_is_for(broker, client, asked, aud):
    """RFC 8707 section 2, which lets a client repeat them"""
    answer = granted(client.raw_token([*GOOD, *asked]))
    assert claims_of(answer["access_token"], jwks_of(broker))["aud"] == (aud or broker.issuer)


def test_issuer_can_be_among_the_audiences(broker, client):
    answer = granted(client.raw_token([*GOOD, ("resource", broker.issuer), ("resource", API)]))
    assert claims_of(answer["access_token"], jwks_of(broker))["aud"] == [broker.issuer, API]


# --- what is refused

REFUSED = {
    "no scope": ([CREDENTIALS], "invalid_scope"),
    "empty scope": ([CREDENTIALS, ("scope", "")], "invalid_scope"),
    "scope outside the ceiling": ([CREDENTIALS, ("scope", "acme:admin")], "invalid_scope"),
    "one scope of two outside": ([CREDENTIALS, ("scope", "acme:read acme:admin")], "invalid_scope"),
    "wildcard scope": ([CREDENTIALS, ("scope", "acme:*")], "invalid_scope"),
    "scope in upper case": ([CREDENTIALS, ("scope", "ACME:READ")], "invalid_scope"),
    "ill-formed scope": ([CREDENTIALS, ("scope", 'acme:"read"')], "invalid_scope"),
    "scope that is not ASCII": ([CREDENTIALS, ("scope", "acme:re\u0430d")], "invalid_scope"),
    "two spaces": ([CREDENTIALS, ("scope", "acme:read  acme:write")], "invalid_scope"),
    "leading space": ([CREDENTIALS, ("scope", " acme:read")], "invalid_scope"),
    "trailing space": ([CREDENTIALS, ("scope", "acme:read ")], "invalid_scope"),
    "tab between scopes": ([CREDENTIALS, ("scope", "acme:read\tacme:write")], "invalid_scope"),
    "audience of nobody": ([*GOOD, ("audience", "https://other.example")], "invalid_target"),
    "one audience of two": ([*GOOD, ("audience", API), ("audience", "https://other.example")], "invalid_target"),
    "resource of nobody": ([*GOOD, ("resource", "https://other.example")], "invalid_target"),
    "one resource of two": ([*GOOD, ("resource", API), ("resource", "https://other.example")], "invalid_target"),
    "good audience, bad resource": ([*GOOD, ("audience", API), ("resource", API + "/")], "invalid_target"),
    "wildcard audience": ([*GOOD, ("audience", "*")], "invalid_target"),
    "audience with a slash": ([*GOOD, ("audience", API + "/")], "invalid_target"),
    "audience in upper case": ([*GOOD, ("audience", API.upper())], "invalid_target"),
    "plain http": ([*GOOD, ("resource", API.replace("https", "http"))], "invalid_target"),
    "resource with a fragment": ([*GOOD, ("resource", API + "#x")], "invalid_target"),
    "resource with an empty fragment": ([*GOOD, ("resource", API + "#")], "invalid_target"),
    "relative resource": ([*GOOD, ("resource", "api")], "invalid_target"),
    "resource without a scheme": ([*GOOD, ("resource", "//api.example.org")], "invalid_target"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_grant_is_whole_or_none(client, name):
    """RFC 6749 section 5.2, RFC 8707 section 2"""
    params, code = REFUSED[name]
    opens_nothing(client, params, 400, code)


def test_resource_with_a_fragment_is_refused_even_if_registered(broker, agent):
    """RFC 8707 section 2; as an audience, which may be any name, it is fine."""
    client = OAuthClient(broker, agent(allowed_audiences=[API + "#x", "api"]))
    for resource in (API + "#x", "api"):
        opens_nothing(client, [*GOOD, ("resource", resource)], 400, "invalid_target")
        granted(client.raw_token([*GOOD, ("audience", resource)]))


def test_scopes_for_users_alone_are_not_for_agents(broker, agent):
    with scope_rule(broker, requires_obo=True) as for_users, scope_rule(broker, min_clearance=2) as cleared:
        client = OAuthClient(broker, agent(scopes=["acme:read", for_users, cleared]))
        opens_nothing(client, [CREDENTIALS, ("scope", for_users)], 400, "invalid_scope", for_users)
        opens_nothing(client, [CREDENTIALS, ("scope", f"acme:read {for_users}")], 400, "invalid_scope", for_users)
        opens_nothing(client, [CREDENTIALS, ("scope", cleared)], 400, "invalid_scope", cleared)
        granted(client.raw_token(GOOD))


def test_deactivated_and_deleted_agents_are_no_clients(broker, client):
    broker.admin("PATCH", f"/admin/v1/agents/{client.agent.id}", json={"active": False})
    opens_nothing(client, GOOD, 401, "invalid_client")
    broker.admin("PATCH", f"/admin/v1/agents/{client.agent.id}", json={"active": True})
    granted(client.raw_token(GOOD))
    broker.admin("DELETE", f"/admin/v1/agents/{client.agent.id}")
    is_oauth_error(client.raw_token(GOOD), 401, "invalid_client")


def test_assertion_is_accepted_once_by_whatever_endpoint(broker, client):
    assertion = client.agent.assertion()
    form = [*GOOD, *client.authentication(assertion)]
    granted(client.raw_token(form, authenticate=False))
    for path, params in ((TOKEN_PATH, GOOD), (INTROSPECT_PATH, [("token", "x")]), (REVOKE_PATH, [("token", "x")])):
        reply = client.raw(path, [*params, *client.authentication(assertion)], authenticate=False)
        is_oauth_error(reply, 401, "invalid_client")
    assert client.agent.open(assertion=assertion).status_code == 401
    for path in (INTROSPECT_PATH, REVOKE_PATH):
        assertion = client.agent.assertion()
        used = [("token", "x"), *client.authentication(assertion)]
        assert client.raw(path, used, authenticate=False).status_code == 200
        reply = client.raw_token([*GOOD, *client.authentication(assertion)], authenticate=False)
        is_oauth_error(reply, 401, "invalid_client")


def test_refused_request_uses_its_assertion_up_and_is_on_record(broker, client):
    auth = client.authentication()
    form = [CREDENTIALS, ("scope", "acme:admin acme:read"), *auth]
    is_oauth_error(client.raw_token(form, authenticate=False), 400, "invalid_scope", "acme:admin")
    is_oauth_error(client.raw_token([*GOOD, *auth], authenticate=False), 401, "invalid_client")
    [leaf] = [x for x in broker.leaves("kind = 'refusal'") if x.body.get("client") == client.agent.id]
    audit.check_bytes(leaf)
    assert (leaf.body["op"], leaf.body["policy"]) == ("token.client_credentials", "refused")
    assert leaf.body["reason"] == "scope_not_allowed" and set(leaf.body["scope"]) == {"acme:admin", "acme:read"}


# --- who asks


AUTHENTICATION = {
    "nothing": lambda c: [],
    "no assertion": lambda c: [("client_assertion_type", ASSERTION_TYPE)],
    "empty assertion": lambda c: c.authentication(""),
    "no assertion type": lambda c: c.authentication()[1:],
    "empty assertion type": lambda c: [("client_assertion_type", ""), *c.authentication()[1:]],
    "saml assertion type": lambda c: [
        ("client_assertion_type", ASSERTION_TYPE.replace("jwt", "saml2")), *c.authentication()[1:]
    ],
    "client_id alone": lambda c: [("client_id", c.agent.id)],
    "client_secret": lambda c: [("client_id", c.agent.id), ("client_secret", "x")],
    "client_id of another": lambda c: [("client_id", c.agent.id + "x"), *c.authentication()],
    "client_id in upper case": lambda c: [("client_id", c.agent.id.upper()), *c.authentication()],
    "another's key": lambda c: c.authentication(c.agent.assertion(key=Key("ES256"))),
    "unknown agent": lambda c: c.authentication(c.agent.assertion(claims={"iss": "nobody", "sub": "nobody"})),
    "sub of another": lambda c: c.authentication(c.agent.assertion(claims={"sub": "nobody"})),
    "expired": lambda c: c.authentication(c.agent.assertion(claims={"iat": 1, "exp": 2})),
    "no jti": lambda c: c.authentication(c.agent.assertion(claims={"jti": None})),
    "aud is the endpoint": lambda c: c.authentication(c.agent.assertion(claims={"aud": c.broker.issuer + TOKEN_PATH})),
    "aud is an array": lambda c: c.authentication(c.agent.assertion(claims={"aud": [c.broker.issuer]})),
    "garbage": lambda c: c.authentication("x.y.z"),
    "an access token": lambda c: c.authentication(c.client_credentials("acme:read")["access_token"]),
}


@pytest.mark.parametrize("path", PATHS)
def test_every_failure_of_authentication_looks_the_same(client, path):
    """RFC 6749 section 5.2, attack I02"""
    params = GOOD if path == TOKEN_PATH else [("token", "x")]
    bodies = {}
    for name, how in AUTHENTICATION.items():
        reply = client.raw(path, [*params, *how(client)], authenticate=False)
        is_oauth_error(reply, 401, "invalid_client")
        bodies[name] = reply.content
    assert len(set(bodies.values())) == 1, bodies


def test_client_id_of_the_assertion_is_welcome(client):
    """RFC 7521 section 4.2"""
    granted(client.raw_token([*GOOD, ("client_id", client.agent.id)]))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scheme", ["Basic YTpi", "Bearer x", "DPoP x"])
def test_authorization_header_is_no_way_for_agents(broker, client, path, scheme):
    """RFC 6749 sections 2.3 and 5.2, attack H10"""
    params = GOOD if path == TOKEN_PATH else [("token", "x")]
    header = {"Authorization": scheme}
    if path != INTROSPECT_PATH:
        reply = broker.call("POST", path, data=params, headers=header)
        is_oauth_error(reply, 401, "invalid_client")
        assert reply.headers["WWW-Authenticate"]
    auth = client.authentication()
    reply = broker.call("POST", path, data=[*params, *auth], headers=header)
    is_oauth_error(reply, 400, "invalid_request", "both")
    # It was not looked at, so it is still good.
    assert broker.call("POST", path, data=[*params, *auth]).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_api_key_and_assertion_are_two_ways(broker, client, path):
    params = GOOD if path == TOKEN_PATH else [("token", "x")]
    reply = client.raw(path, params, key=broker.gateway_key)
    is_oauth_error(reply, 400, "invalid_request", "both")


def test_api_keys_are_no_clients(broker):
    for key in (broker.gateway_key, broker.admin_key):
        is_oauth_error(broker.call("POST", TOKEN_PATH, key=key, data=GOOD), 401, "invalid_client")
        is_oauth_error(broker.call("POST", REVOKE_PATH, key=key, data={"token": "x"}), 401, "invalid_client")


# --- the form


@pytest.mark.parametrize(
    "name",
    ["grant_type", "scope", "client_id", "client_assertion_type", "client_assertion", "assertion", "subject_token",
     "subject_token_type", "actor_token", "actor_token_type", "requested_token_type", "nobody-knows-this"],
)  # fmt: skip
def test_parameter_stands_once(client, name):
    """RFC 6749 section 3.2, attack H09; also with one value twice, and when one of them is empty"""
    form = dict([*GOOD, ("client_id", client.agent.id), *client.authentication()])
    value = form.pop(name, "x")
    for values in ((value, value), (value, ""), ("", value)):
        repeated = [*form.items(), *[(name, v) for v in values]]
        is_oauth_error(client.raw_token(repeated, authenticate=False), 400, "invalid_request", name)
    # The assertion is as good as new.
    granted(client.raw_token(GOOD + client.authentication(form.get("client_assertion", value)), authenticate=False))


@pytest.mark.parametrize("path", [INTROSPECT_PATH, REVOKE_PATH])
@pytest.mark.parametrize("name", ["token", "token_type_hint", "resource"])
def test_parameter_stands_once_elsewhere_too(client, path, name):
    reply = client.raw(path, [("token", "x"), (name, "x"), (name, "x")])
    is_oauth_error(reply, 400, "invalid_request", name)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", ["grant_type=client_credentials", "scope=acme%3Aread", "token=x", "x", "="])
def test_parameters_stand_in_the_body_alone(client, path, query):
    params = GOOD if path == TOKEN_PATH else [("token", "x")]
    is_oauth_error(client.raw(f"{path}?{query}", params), 400, "invalid_request", "query")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", FORM + "x", f"{FORM}, {FORM}", ""]
)
def test_body_is_a_form_and_nothing_else(broker, client, path, kind):
    params = GOOD if path == TOKEN_PATH else [("token", "x")]
    body = urlencode([*params, *client.authentication()])
    reply = broker.call("POST", path, data=body, headers={"Content-Type": kind})
    is_oauth_error(reply, 415, "invalid_request", FORM)


@pytest.mark.parametrize("kind", [FORM, FORM.upper(), f"{FORM}; charset=utf-8", f"{FORM};charset=UTF-8"])
def test_form_by_any_of_its_names(broker, client, kind):
    body = urlencode([*GOOD, *client.authentication()])
    granted(broker.call("POST", TOKEN_PATH, data=body, headers={"Content-Type": kind}))


def test_json_body_is_not_read(broker, client):
    reply = broker.call("POST", TOKEN_PATH, json=dict([*GOOD, *client.authentication()]))
    is_oauth_error(reply, 415, "invalid_request")


@pytest.mark.parametrize(
    "bad",
    ["scope=%", "scope=%4", "scope=%zz", "scope=a%00b", "%00=x", "=x", "", "&x=y", "scope=%ff", "scope=%c0%af",
     "scope=%ed%a0%80", "&".join(f"p{i}=x" for i in range(65))],
)  # fmt: skip
def test_ill_formed_bodies(broker, client, bad):
    auth = client.authentication()
    body = f"grant_type=client_credentials&{bad}&{urlencode(auth)}"
    reply = broker.call("POST", TOKEN_PATH, data=body, headers={"Content-Type": FORM})
    is_oauth_error(reply, 400, "invalid_request")


def test_spelling_of_a_form_does_not_matter(broker, client):
    spelt = {
        "plus": "grant_type=client_credentials&scope=acme:read+acme:write",
        "percent": "grant%5Ftype=client%5fcredentials&scope=acme%3aread%20acme%3Awrite",
        "unknown parameters": "x=y&grant_type=client_credentials&scope=acme:read+acme:write&client_secret&z",
        "empty parameters": "grant_type=client_credentials&scope=acme:read+acme:write&resource=&assertion&client_id=",
    }
    for name, text in spelt.items():
        body = f"{text}&{urlencode(client.authentication())}"
        reply = broker.call("POST", TOKEN_PATH, data=body, headers={"Content-Type": FORM})
        assert granted(reply)["scope"] == "acme:read acme:write", name


@pytest.mark.parametrize("params", [[], [("grant_type", "")], [READ]])
def test_grant_type_is_needed(client, params):
    is_oauth_error(client.raw_token(params), 400, "invalid_request", "grant_type")


@pytest.mark.parametrize(
    "grant",
    ["password", "authorization_code", "refresh_token", "implicit", "urn:ietf:params:oauth:grant-type:device_code",
     "urn:ietf:params:oauth:grant-type:saml2-bearer", "CLIENT_CREDENTIALS", "client_credentials ", "token-exchange",
     TOKEN_EXCHANGE + "/", "\u0441lient_credentials"],
)  # fmt: skip
def test_grants_that_are_not_served(client, grant):
    is_oauth_error(client.raw_token([("grant_type", grant), READ]), 400, "unsupported_grant_type")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_post(client, path, method):
    params = [*GOOD, ("token", "x"), *client.authentication()]
    reply = client.broker.call(method, path, data=params)
    is_oauth_error(reply, 405, "invalid_request")
    assert reply.headers["Allow"] == "POST"


def test_method_override_is_not_heard(client):
    """H08"""
    headers = {"X-HTTP-Method-Override": "POST", "Content-Type": FORM}
    reply = client.broker.call("GET", TOKEN_PATH, data=urlencode([*GOOD, *client.authentication()]), headers=headers)
    assert reply.status_code == 405


def test_two_authorization_headers(broker, client):
    """H10"""
    body = urlencode([*GOOD, *client.authentication()]).encode()
    head = f"POST {TOKEN_PATH} HTTP/1.1\r\nHost: broker\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n"
    answer = broker.raw(head.encode() + b"Authorization: Bearer x\r\nAuthorization: Basic YTpi\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 400 ")


# --- the sessions are those of /v1/agent-sessions


def test_session_is_like_one_that_was_opened_there(broker, agent):
    a = agent(allowed_audiences=[API])
    answer = granted(OAuthClient(broker, a).raw_token([*GOOD, ("audience", API)]))
    other = a.session(scopes=["acme:read"], audience=API)
    mine, theirs = (
        broker.call("GET", session_path(x["session_id"]), bearer=x["access_token"]).json() for x in (answer, other)
    )
    assert mine["grant_type"] == "client_credentials"
    own = {"session_id", "grant_type", "created_at", "expires_at"}
    assert {k: v for k, v in mine.items() if k not in own} == {k: v for k, v in theirs.items() if k not in own}
    assert set(mine) == set(theirs)
    listed = broker.admin("GET", f"/admin/v1/sessions?agent={a.id}").json()["sessions"]
    assert sorted([mine, theirs], key=lambda s: s["session_id"]) == sorted(listed, key=lambda s: s["session_id"])
    assert broker.call("GET", session_path(answer["session_id"]), bearer=a.assertion()).json() == mine


def test_session_is_on_record_before_it_is_signed(broker, client):
    answer = granted(client.raw_token([*GOOD, ("resource", API), ("resource", LEDGER)]))
    broker.settle()
    claims = claims_of(answer["access_token"], jwks_of(broker))
    leaves = broker.leaves("jti = %s", claims["jti"])
    body = audit.check_token(leaves, answer["access_token"], claims["jti"]).body
    assert (body["op"], body["policy"], body["client"]) == ("sign", "granted", client.agent.id)
    assert body["session"] == answer["session_id"] and body["aud"] == [API, LEDGER] and body["exp"] == claims["exp"]
    assert [x.body["reason"] for x in leaves if x.kind == "outcome"] == ["ok"]


@pytest.mark.parametrize("how", ["closed", "token revoked", "session killed", "agent killed", "agent deactivated"])
def test_session_ends_like_any_other(broker, client, how):
    ended, other = client.client_credentials("acme:read"), client.client_credentials("acme:read")
    is_in_force(ended, broker)
    ways_to_end(client, ended)[how]()
    has_ended(ended, broker)
    (has_ended if "agent" in how else is_in_force)(other, broker)


# --- metadata


def test_metadata_names_what_is_served(broker, client, agent):
    """RFC 8414 section 2: one request that works for every endpoint and grant of it"""
    metadata = broker.call("GET", "/.well-known/oauth-authorization-server").json()
    assert set(metadata) == {
        "issuer", "jwks_uri", "token_endpoint", "introspection_endpoint", "revocation_endpoint",
        "agent_sessions_endpoint", "response_types_supported", "grant_types_supported",
        "authorization_grant_profiles_supported", "dpop_signing_alg_values_supported",
        "introspection_signing_alg_values_supported",
        *[f"{e}_endpoint_auth_{m}" for e in ("token", "introspection", "revocation")
          for m in ("methods_supported", "signing_alg_values_supported")],
    }  # fmt: skip
    assert metadata["response_types_supported"] == []
    path = {
        name: url.removeprefix(broker.issuer) for name, url in metadata.items() if name.endswith(("_endpoint", "_uri"))
    }
    with trusted_issuer(broker) as issuer:
        requests = {
            "client_credentials": lambda: GOOD,
            TOKEN_EXCHANGE: lambda: [("subject_token", issuer.token()), ("subject_token_type", JWT)],
            JWT_BEARER: lambda: [("assertion", issuer.token())],
        }
        assert set(metadata["grant_types_supported"]) == set(requests)
        for grant, params in requests.items():
            form = [*params(), *([] if grant == "client_credentials" else [("grant_type", grant)])]
            token = granted(client.raw(path["token_endpoint"], form))["access_token"]
        assert metadata["authorization_grant_profiles_supported"] == ["urn:ietf:params:oauth:grant-profile:id-jag"]
        granted(client.raw_token([("grant_type", JWT_BEARER), ("assertion", issuer.id_jag(client.agent))]))
    algorithms = metadata["token_endpoint_auth_signing_alg_values_supported"]
    for endpoint in ("introspection", "revocation"):
        assert metadata[f"{endpoint}_endpoint_auth_methods_supported"] == ["private_key_jwt"]
        assert metadata[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] == algorithms
    for alg in algorithms:
        other = OAuthClient(broker, agent(alg))
        granted(other.raw(path["token_endpoint"], GOOD))
        assert other.raw(path["introspection_endpoint"], [("token", token)]).status_code == 200
        assert other.raw(path["revocation_endpoint"], [("token", token)]).status_code == 200
    assert broker.call("GET", path["jwks_uri"]).json()["keys"]
    assert broker.call("POST", path["agent_sessions_endpoint"], json=client.agent.body()).status_code == 201


def test_algorithms_of_proofs_are_those_that_are_named(broker, agent):
    metadata = broker.call("GET", "/.well-known/oauth-authorization-server").json()
    for alg in metadata["dpop_signing_alg_values_supported"]:
        key = DPoPKey(alg)
        token = OAuthClient(broker, agent(), dpop=key).client_credentials("acme:read")
        assert token["token_type"] == "DPoP"
        assert claims_of(token["access_token"], jwks_of(broker))["cnf"] == {"jkt": key.jkt}
