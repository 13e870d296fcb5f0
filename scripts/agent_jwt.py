"""The work of scripts/agent-jwt; see its --help."""

import json
import secrets
import sys
import time

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def jwks(public_pem):
    key = ECKey.import_key(read(public_pem))
    if key.is_private:
        sys.exit("that is a private key: give its public part")
    members = {**key.as_dict(private=False), "kid": key.thumbprint(), "alg": "ES256", "use": "sig"}
    print(json.dumps({"keys": [members]}))


def assertion(private_pem, agent_id, audience):
    key = ECKey.import_key(read(private_pem))
    now = int(time.time())
    header = {"alg": "ES256", "typ": "client-authentication+jwt", "kid": key.thumbprint()}
    claims = {
        "iss": agent_id,
        "sub": agent_id,
        "aud": audience,
        "jti": secrets.token_urlsafe(16),
        "iat": now,
        "exp": now + 60,
    }
    print(jwt.encode(header, claims, key, algorithms=["ES256"]))


def verify(jwks_file, issuer):
    keys = KeySet.import_key_set(json.loads(read(jwks_file)))
    algorithms = ["ES256", "ES384", "PS256", "RS256", "Ed25519", "EdDSA"]
    try:
        token = jwt.decode(sys.stdin.read().strip(), keys, algorithms=algorithms)
        if token.header.get("typ") != "at+jwt":
            raise ValueError("typ is not at+jwt")
        rules = jwt.JWTClaimsRegistry(iss={"essential": True, "value": issuer}, exp={"essential": True}, sub={"essential": True})
        rules.validate(token.claims)
    except (JoseError, ValueError) as e:
        sys.exit(f"not valid: {e}")
    print(json.dumps(token.claims))


if __name__ == "__main__":
    {"jwks": jwks, "assertion": assertion, "verify": verify}[sys.argv[1]](*sys.argv[2:])
