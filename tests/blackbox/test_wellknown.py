# SPDX-License-Identifier: Apache-2.0
"""What verifiers, clients and load balancers look up: keys, metadata, health."""

import hashlib
import json
import re
from urllib.parse import urlsplit

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url

from lib.keys import b64u
from lib.verify import ALGORITHMS, jwks_of

JWKS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"
RESOURCE = "/.well-known/oauth-protected-resource"
ENDPOINTS = ("token", "introspection", "revocation")


def test_jwks_holds_public_members_only(broker):
    """I07"""
    keys = jwks_of(broker)["keys"]
    assert keys
    for key in keys:
        assert key["use"] == "sig" and key["alg"] in ALGORITHMS
        assert set(key) <= {"kty", "kid", "alg", "use", "crv", "x", "y", "n", "e"}
        members = {name: key[name] for name in ("crv", "kty", "x", "y")}
        thumbprint = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
        assert key["kid"] == b64u(thumbprint)


def test_jwks_can_be_cached(broker):
    reply = broker.call("GET", JWKS)
    assert reply.headers["Content-Type"].startswith("application/")
    assert "max-age" in reply.headers["Cache-Control"] and "no-store" not in reply.headers["Cache-Control"]
    etag = reply.headers["ETag"]
    assert etag.startswith('"') and etag.endswith('"')
    again = broker.call("GET", JWKS, headers={"If-None-Match": etag})
    assert again.status_code == 304 and again.content == b"" and again.headers["ETag"] == etag
    other = broker.call("GET", JWKS, headers={"If-None-Match": '"other"'})
    assert other.status_code == 200 and other.json() == reply.json()


@pytest.mark.parametrize("form", ["{etag}, \"x\"", "\"x\", {etag}", "W/{etag}", "*"])
def test_jwks_understands_every_form_of_if_none_match(broker, form):
    """RFC 9110 section 13.1.2: a list, weak comparison, or any."""
    etag = broker.call("GET", JWKS).headers["ETag"]
    assert broker.call("GET", JWKS, headers={"If-None-Match": form.format(etag=etag)}).status_code == 304


@pytest.mark.parametrize("path", [JWKS, METADATA, RESOURCE, "/health", "/ready"])
def test_head_and_other_methods(broker, path):
    """I07"""
    get, head = broker.call("GET", path), broker.call("HEAD", path)
    assert head.status_code == get.status_code == 200 and head.content == b""
    for method in ("OPTIONS", "POST", "PUT", "DELETE", "PATCH"):
        reply = broker.call(method, path)
        assert reply.status_code == 405 and reply.json()["error"] == "method_not_allowed"
        assert "GET" in reply.headers["Allow"]


def test_metadata_is_truthful(broker):
    """RFC 8414: what it names is there."""
    reply = broker.call("GET", METADATA)
    metadata = reply.json()
    assert metadata["issuer"] == broker.issuer
    assert metadata["jwks_uri"] == f"{broker.issuer}{JWKS}"
    assert broker.call("GET", metadata["jwks_uri"].removeprefix(broker.issuer)).status_code == 200
    assert metadata["token_endpoint"] == f"{broker.issuer}/oauth/token"
    for endpoint in ENDPOINTS:
        assert metadata[f"{endpoint}_endpoint_auth_methods_supported"] == ["private_key_jwt"]
        assert metadata[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] == ALGORITHMS
    assert metadata["dpop_signing_alg_values_supported"] == ALGORITHMS
    assert "none" not in reply.text and "HS256" not in reply.text
    endpoints = {name: url for name, url in metadata.items() if name.endswith("_endpoint")}
    assert set(endpoints) == {f"{endpoint}_endpoint" for endpoint in (*ENDPOINTS, "agent_sessions")}
    for name, url in endpoints.items():
        path = url.removeprefix(broker.issuer)
        assert broker.call("POST", path).status_code not in (404, 405), name


def grant_error(broker, grant_type):
    return broker.call("POST", "/oauth/token", data={"grant_type": grant_type}).json()["error"]


def test_metadata_names_the_grants_that_are_served(broker):
    metadata = broker.call("GET", METADATA).json()
    assert set(metadata["grant_types_supported"]) == {
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    }
    for grant_type in metadata["grant_types_supported"]:
        assert grant_error(broker, grant_type) != "unsupported_grant_type", grant_type
    for grant_type in ("authorization_code", "refresh_token", "password", "urn:ietf:params:oauth:grant-type:device_code"):
        assert grant_error(broker, grant_type) == "unsupported_grant_type", grant_type
    assert metadata["authorization_grant_profiles_supported"] == ["urn:ietf:params:oauth:grant-profile:id-jag"]
    # RFC 8414 wants this one, and there is no authorization endpoint.
    assert metadata["response_types_supported"] == []


def test_metadata_stands_the_checks_of_a_client_library(broker):
    text = broker.call("GET", METADATA).text.replace(broker.issuer, "https://broker.example")
    metadata = AuthorizationServerMetadata(json.loads(text))
    # Authlib takes an empty list for a missing one.
    metadata["response_types_supported"] = ["code"]
    metadata["authorization_endpoint"] = "https://broker.example/not-there"
    metadata.validate()


def test_metadata_of_the_api_as_a_protected_resource(broker):
    """RFC 9728 section 2."""
    reply = broker.call("GET", RESOURCE)
    assert "max-age" in reply.headers["Cache-Control"] and reply.headers["Content-Type"] == "application/json"
    assert reply.json() == {
        "resource": broker.issuer,
        "authorization_servers": [broker.issuer],
        "jwks_uri": f"{broker.issuer}{JWKS}",
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ALGORITHMS,
        "resource_name": "Nexus Broker",
    }


@pytest.mark.parametrize("path", [METADATA, RESOURCE])
@pytest.mark.parametrize("tail", ["/x", "/", "/x/y", "//", "/%2e%2e", "/.."])
def test_metadata_of_other_paths_is_not_there(broker, path, tail):
    assert broker.call("GET", path).status_code == 200
    reply = broker.raw(f"GET {path}{tail} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n".encode())
    assert reply.startswith(b"HTTP/1.1 404") and b'"not_found"' in reply


def resource_metadata(reply):
    """RFC 9728 section 5.1."""
    assert reply.status_code == 401
    return re.search(r'resource_metadata="([^"]*)"', reply.headers["WWW-Authenticate"]).group(1)


def path_of(url, origin):
    """Where to ask this broker for a URL that it names, when no TLS front stands before it."""
    assert url.startswith(origin + "/")
    return url.removeprefix(origin)


def test_a_client_that_is_refused_finds_the_authorization_server(broker):
    """RFC 9728 section 5: from the 401 to the token endpoint."""
    for request in ({}, {"bearer": "x.y.z"}, {"headers": {"Authorization": "DPoP x.y.z"}}):
        refused = broker.call("GET", "/v1/agent-sessions/sess_x", **request)
        resource = broker.call("GET", path_of(resource_metadata(refused), broker.issuer)).json()
        assert resource["resource"] == broker.issuer
        [issuer] = resource["authorization_servers"]
        server = broker.call("GET", path_of(get_well_known_url(issuer, external=True), broker.issuer)).json()
        assert server["issuer"] == issuer and server["token_endpoint"].startswith(issuer)


def test_challenges_name_the_scheme_that_was_used(broker):
    """RFC 9449 section 7.1."""
    algs = 'algs="ES256 ES384 PS256 RS256 EdDSA"'

    def challenge(**request):
        return broker.call("GET", "/v1/agent-sessions/sess_x", **request).headers["WWW-Authenticate"]

    assert challenge().startswith('Bearer realm="nexus", resource_metadata=')
    assert challenge(bearer="x.y.z").startswith('Bearer realm="nexus", error="invalid_token", resource_metadata=')
    bound = challenge(headers={"Authorization": "DPoP x.y.z"})
    assert bound.startswith(f'DPoP realm="nexus", error="invalid_token", {algs}, resource_metadata=')


def test_metadata_of_an_issuer_with_a_path(broker_factory):
    """RFC 8414 section 3, RFC 9728 section 3: the well-known part comes before the path. A front that takes the path off
    finds them too."""
    origin, path = "https://broker.example:8443", "/a/b"
    other = broker_factory({"BASE_URL": origin + path})
    well_known = get_well_known_url(other.issuer, external=True)
    assert urlsplit(well_known).path == METADATA + path
    assert other.call("GET", METADATA + path).json() == other.call("GET", METADATA).json()
    assert other.call("GET", METADATA + path).json()["issuer"] == other.issuer
    found = resource_metadata(other.call("GET", "/v1/agent-sessions/sess_x"))
    assert found == f"{origin}{RESOURCE}{path}"
    assert other.call("GET", path_of(found, origin)).json() == other.call("GET", RESOURCE).json()
    assert other.call("GET", path_of(found, origin)).json()["resource"] == other.issuer
    for wrong in ("/a", "/a/", "/a/b/", "/a/b/c", "/A/b", "/a%2fb"):
        assert other.call("GET", METADATA + wrong).status_code == 404, wrong
        assert other.call("GET", RESOURCE + wrong).status_code == 404, wrong


def test_health_and_ready(broker):
    assert broker.call("GET", "/health").json() == {"status": "healthy"}
    ready = broker.call("GET", "/ready")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert set(ready.json()["parts"].values()) == {"ok"}
    assert {"database", "hsm", "signing_key"} <= set(ready.json()["parts"])


def test_answers_to_one_caller_are_not_stored_by_caches(broker, agent):
    """I05"""
    a = agent()
    session = a.session()
    replies = [
        a.open(),
        a.open(scopes=[]),
        broker.call("GET", f"/v1/agent-sessions/{session['session_id']}", bearer=session["session_token"]),
        broker.admin("GET", "/admin/v1/agents"),
        broker.admin("GET", f"/admin/v1/agents/{a.id}"),
        broker.admin("GET", "/admin/v1/sessions"),
        broker.call("GET", "/admin/v1/agents"),
        broker.call("GET", "/nowhere"),
    ]
    for reply in replies:
        assert "no-store" in reply.headers.get("Cache-Control", ""), (reply.request.url, reply.status_code)


def test_nothing_is_told_of_the_software_underneath(broker):
    for path in ("/health", "/nowhere", JWKS):
        headers = broker.call("GET", path).headers
        assert "microhttpd" not in str(headers).lower() and "openssl" not in str(headers).lower()
