# SPDX-License-Identifier: Apache-2.0
"""Session tokens as a resource server checks them, by two JOSE libraries that share no code with the broker."""

import json

from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jwt as jwcrypto_jwt

from lib.keys import parts

ALGORITHMS = ["ES256", "ES384", "PS256", "RS256", "EdDSA"]


def jwks_of(broker):
    reply = broker.call("GET", "/.well-known/jwks.json")
    assert reply.status_code == 200
    return reply.json()


def by_joserfc(token, jwks):
    return joserfc_jwt.decode(token, KeySet.import_key_set(jwks), algorithms=ALGORITHMS).claims


def by_jwcrypto(token, jwks):
    keys = jwcrypto_jwk.JWKSet.from_json(json.dumps(jwks))
    return json.loads(jwcrypto_jwt.JWT(jwt=token, key=keys, algs=ALGORITHMS).claims)


class _Validator(JWTBearerTokenValidator):
    def __init__(self, jwks, issuer, audience):
        super().__init__(issuer, audience)
        self.jwks = KeySet.import_key_set(jwks)

    def get_jwks(self):
        return self.jwks


def by_authlib(token, jwks, issuer, audience, scopes=()):
    """The claims, when Authlib's rules for a resource server (RFC 9068 section 4) accept the token: signature, typ,
    iss, aud, exp, what must be there, and that it holds these scopes. Raises what Authlib raises."""
    validator = _Validator(jwks, issuer, audience)
    claims = validator.authenticate_token(token)
    # More than one element would mean any of them.
    validator.validate_token(claims, [" ".join(scopes)] if scopes else [], request=None)
    return dict(claims)


def claims_of(token, jwks):
    """The claims, when both libraries accept the token and agree."""
    claims = by_joserfc(token, jwks)
    assert claims == by_jwcrypto(token, jwks)
    assert parts(token)[0]["typ"] == "at+jwt"
    return claims


def is_error(reply, status, code, *words):
    """The reply is an error of that status and code, in the one shape, and its message holds these words."""
    assert reply.status_code == status, f"{reply.status_code} {reply.text}"
    assert reply.headers["Content-Type"].startswith("application/json")
    body = reply.json()
    assert set(body) == {"error", "message"}, body
    assert body["error"] == code, body
    for word in words:
        assert word in body["message"], body
    return body
