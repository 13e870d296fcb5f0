# SPDX-License-Identifier: Apache-2.0
"""An issuer of user tokens that tests control: its keys, its metadata, its tokens, and how it misbehaves (see
lib.loopback)."""

import secrets
import time

from lib.keys import Key, b64u, changed, compact
from lib.loopback import Loopback, json_answer

CLAIMS = {
    "user_id": "/sub",
    "tenant_id": "/tenant_id",
    "clearance_level": "/clearance_level",
    "permissions": "/permissions",
}
PERMISSIONS = ["acme:read", "acme:write"]
LIFETIME = 300


def oct_jwk(kid, secret=None):
    """A symmetric key where public ones should be."""
    return {"kty": "oct", "k": b64u(secret or secrets.token_bytes(32)), "kid": kid, "alg": "HS256", "use": "sig"}


class Issuer(Loopback):
    """audience: what its tokens are for, usually broker.issuer. path: of its identifier, such as "/tenant1"."""

    def __init__(self, audience, kind="ES256", path=""):
        super().__init__()
        self.audience = audience
        self.kind = kind
        self.issuer = self.url + path
        self.keys = [Key(kind)]
        self.jwks_path = f"{path}/jwks"
        self.discovery_path = f"{path}/.well-known/openid-configuration"
        # RFC 8414 section 3 puts the well-known part before the issuer's path.
        self.metadata_path = f"/.well-known/oauth-authorization-server{path}"
        self._jwks = None
        self._metadata = {}

    # --- keys and metadata

    @property
    def key(self):
        """The key that it signs with."""
        return self.keys[0]

    @property
    def jwks_uri(self):
        return self.url + self.jwks_path

    def jwks(self):
        """What it serves as its keys."""
        return {"keys": [key.jwk() for key in self.keys]} if self._jwks is None else self._jwks

    def rotate(self, keep=False):
        """Signs with a new key from here on; serves the old ones beside it with keep."""
        self.keys = [Key(self.kind), *(self.keys if keep else [])]
        return self.key

    def serve_keys(self, *jwks):
        """Serves these JWKs instead of its own; none: its own again."""
        self._jwks = {"keys": list(jwks)} if jwks else None

    def serve_oct_key(self):
        """A symmetric key under the kid of its tokens. Returns the secret."""
        secret = secrets.token_bytes(32)
        self.serve_keys(oct_jwk(self.key.kid, secret))
        return secret

    def serve_duplicate_kids(self):
        """Its key, and a foreign one of the same kid before it. Returns the foreign key."""
        other = Key(self.kind, kid=self.key.kid)
        self.serve_keys(other.jwk(), self.key.jwk())
        return other

    def serve_many_keys(self, n=101):
        """n keys; its own is the last."""
        foreign = Key(self.kind).jwk()
        self.serve_keys(*[{**foreign, "kid": f"foreign-{i}"} for i in range(n - 1)], self.key.jwk())

    def change_metadata(self, **changes):
        """Serves metadata with these changes, such as issuer="https://other.example"; none: good metadata again."""
        self._metadata = changes

    def metadata(self):
        good = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": self.jwks_uri,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.kind],
        }
        return changed(good, self._metadata)

    def answer(self, request):
        if request.path == self.jwks_path:
            return json_answer(self.jwks())
        if request.path in (self.discovery_path, self.metadata_path):
            return json_answer(self.metadata())
        return super().answer(request)

    # --- tokens

    def claims(self, user="alice", **changes):
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": user,
            "aud": self.audience,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": secrets.token_urlsafe(16),
            "tenant_id": "acme",
            "clearance_level": 3,
            "permissions": PERMISSIONS,
        }
        return changed(claims, changes)

    def token(self, user="alice", header=None, claims=None, key=None, signature=None):
        """A user token. header and claims are changes to good ones (None as a value takes the member away), or bytes or
        text that stand as they are."""
        key = key or self.key
        good = {"alg": key.kind, "typ": "JWT", "kid": key.kid}
        header = header if isinstance(header, (bytes, str)) else changed(good, header or {})
        claims = claims if isinstance(claims, (bytes, str)) else self.claims(user, **(claims or {}))
        return compact(header, claims, key, signature)

    def id_jag(self, agent, user="alice", scope="acme:read", dpop=None, header=None, claims=None, **more):
        """An identity assertion for that agent at its broker; dpop: the key (lib.dpop) that it is bound to."""
        # Its scope is the most that it allows; a permissions claim beside it would bound it further.
        good = {"aud": agent.broker.issuer, "client_id": agent.id, "scope": scope, "permissions": None}
        if dpop is not None:
            good["cnf"] = {"jkt": dpop.jkt}
        if not isinstance(header, (bytes, str)):
            header = {"typ": "oauth-id-jag+jwt", **(header or {})}
        if not isinstance(claims, (bytes, str)):
            claims = {**good, **(claims or {})}
        return self.token(user, header, claims, **more)

    # --- at the broker

    def registration(self, source="jwks", **changes):
        """The body of POST /admin/v1/issuers. source: jwks, jwks_uri or discovery."""
        sources = {"jwks": {"keys": [key.jwk() for key in self.keys]}, "jwks_uri": self.jwks_uri, "discovery": True}
        body = {
            "issuer": self.issuer,
            source: sources[source],
            "algorithms": [self.kind],
            "audience": self.audience,
            "claims": CLAIMS,
            "active": True,
        }
        return changed(body, changes)

    def register(self, broker, source="jwks", **changes):
        """Makes it a trusted issuer of the broker."""
        reply = broker.admin("POST", "/admin/v1/issuers", json=self.registration(source, **changes))
        assert reply.status_code == 201, reply.text
        return reply.json()
