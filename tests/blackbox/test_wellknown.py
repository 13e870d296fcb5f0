# SPDX-License-Identifier: Apache-2.0
"""What verifiers, clients and load balancers look up: keys, metadata, health."""

import hashlib
import json

import pytest

from lib.keys import b64u
from lib.verify import ALGORITHMS, jwks_of

JWKS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"


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


@pytest.mark.parametrize("path", [JWKS, METADATA, "/health", "/ready"])
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
    assert metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert set(metadata["token_endpoint_auth_signing_alg_values_supported"]) <= set(ALGORITHMS) | {"Ed25519"}
    assert "none" not in reply.text and "HS256" not in reply.text
    for name in metadata:
        if name.endswith("_endpoint"):
            path = metadata[name].removeprefix(broker.issuer)
            assert broker.call("POST", path).status_code != 404, name


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
