#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks a session token as a service that is called by agents must, and prints who acts for whom.

    verify_token.py --issuer https://broker.example --audience https://ledger.example --scope ledger:read < token

A token that is bound to a key (a cnf claim) comes as Authorization: DPoP, and the proof in the DPoP header is needed too:

    ... --proof PROOF --method POST --url https://ledger.example/payments

Needs Python 3.9, joserfc and requests. Exit status: 0 when the token may be used, 1 when not (the reason is on stderr).
A service keeps the keys for as long as Cache-Control says, and fetches them again at most once a minute for an unknown
kid; it also remembers the jti of each proof for two minutes and refuses it the second time. This program forgets.
"""

import argparse
import base64
import hashlib
import json
import sys
import time
from urllib.parse import urldefrag, urlsplit

import requests
from joserfc import jws, jwt
from joserfc.jwk import JWKRegistry, KeySet

ALGORITHMS = ["ES256", "ES384", "PS256", "RS256", "EdDSA"]
SKEW = 30  # seconds
PROOF_AGE, PROOF_AHEAD = 60, 10  # seconds


class Refused(Exception):
    """The token is not good here."""


class ProofRegistry(jws.JWSRegistry):
    max_header_length = 2048  # a proof brings its key along, and an RSA key is longer than joserfc's 512 bytes


def get_json(url):
    reply = requests.get(url, timeout=5, allow_redirects=False)
    if reply.status_code != 200:
        raise Refused(f"{url} answers {reply.status_code}")
    return reply.json()


def fetch_keys(issuer):
    parts = urlsplit(issuer)
    # RFC 8414 section 3: the well-known part stands before the issuer's path.
    metadata = get_json(f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path}")
    if metadata["issuer"] != issuer:
        raise Refused("the metadata is another issuer's")
    return KeySet.import_key_set(get_json(metadata["jwks_uri"]))


def check_token(token, issuer, audience, keys, now):
    """The claims of a session token: RFC 9068 section 4."""
    header = jws.extract_compact(token.encode()).headers()
    if header.get("typ", "").lower().removeprefix("application/") != "at+jwt":
        raise Refused("typ is not at+jwt: this is another kind of token")
    if "kid" not in header:
        raise Refused("kid is missing")
    claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
    if claims.get("iss") != issuer:
        raise Refused("iss is another issuer")
    audiences = claims.get("aud")
    if audience not in ([audiences] if isinstance(audiences, str) else audiences or []):
        raise Refused("aud does not name this service")
    if not isinstance(claims.get("exp"), int) or now >= claims["exp"] + SKEW:
        raise Refused("exp has passed, or is missing")
    if claims.get("nbf", now) > now + SKEW:
        raise Refused("nbf is not reached")
    return claims


def without_query(url):
    return urldefrag(url)[0].split("?")[0]


def check_proof(claims, token, proof, method, url, now):
    """RFC 9449 section 7: a token with cnf.jkt is good only together with a proof by that key."""
    cnf = claims.get("cnf")
    if cnf is None and proof is None:
        return
    if cnf is None:
        raise Refused("the token came as DPoP, but is not bound to a key (cnf)")
    if proof is None:
        raise Refused("the token is bound to a key (cnf): ask for the DPoP proof")
    header = jws.extract_compact(proof.encode(), registry=ProofRegistry()).headers()
    if header.get("typ") != "dpop+jwt" or header.get("alg") not in ALGORITHMS:
        raise Refused("the proof is not a DPoP proof")
    key = JWKRegistry.import_key(header["jwk"])
    if key.is_private or key.thumbprint() != cnf["jkt"]:
        raise Refused("the proof is by another key than the token's")
    said = jwt.decode(proof, key, registry=ProofRegistry(algorithms=[header["alg"]])).claims
    ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
    if said.get("htm") != method or without_query(said["htu"]) != without_query(url) or said.get("ath") != ath:
        raise Refused("the proof is for another request")
    if not isinstance(said.get("jti"), str) or not now - PROOF_AGE <= said["iat"] <= now + PROOF_AHEAD:
        raise Refused("the proof is not fresh, or has no jti")


def actors(claims):
    """Who acts, the current agent first. Only that one counts for access decisions (RFC 8693 section 4.1)."""
    chain, act = [], claims.get("act")
    while act:
        chain.append(act["sub"])
        act = act.get("act")
    return chain or [claims["client_id"]]


def check(o, token, now):
    """What there is to tell about a token that may be used."""
    claims = check_token(token, o.issuer, o.audience, fetch_keys(o.issuer), now)
    check_proof(claims, token, o.proof, o.method, o.url, now)
    missing = set(o.scope) - set(claims.get("scope", "").split())
    if missing:
        raise Refused(f"insufficient_scope: {' '.join(sorted(missing))}")
    about = {"subject": claims["sub"], "subject_is": claims.get("sub_profile", "ai_agent"), "actors": actors(claims)}
    return {**about, "scope": claims["scope"], "session": claims["sid"], "expires_at": claims["exp"]}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("issuer", "audience"):
        options.add_argument(f"--{name}", required=True)
    options.add_argument("--scope", action="append", default=[], help="must be granted; repeat for more")
    for name in ("proof", "method", "url"):
        options.add_argument(f"--{name}")
    o = options.parse_args()
    if o.proof is not None and None in (o.method, o.url):
        options.error("--proof needs --method and --url, which it is checked against")
    try:
        print(json.dumps(check(o, sys.stdin.read().strip(), int(time.time()))))
    except Refused as e:
        sys.exit(f"refused: {e}")
    except Exception as e:  # whatever else is wrong with it: no reason to let it in
        sys.exit(f"refused: {type(e).__name__}: {e}")


if __name__ == "__main__":
    main()
