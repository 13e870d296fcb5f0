# SPDX-License-Identifier: Apache-2.0
"""DPoP (RFC 9449) as a client does it, with proofs that joserfc makes."""

import hashlib
import secrets
import time

from joserfc import jwt

from lib.keys import Key, b64u, changed, compact

# RFC 7638 section 3.2 and RFC 8037 section 2: what makes the key, and nothing of what describes it.
_PUBLIC = ("kty", "crv", "x", "y", "n", "e")


class DPoPKey:
    def __init__(self, kind="ES256", key=None):
        self.key = key or Key(kind)

    @property
    def jkt(self):
        return self.key.jose.thumbprint()

    @property
    def jwk(self):
        return {k: v for k, v in self.key.jose.as_dict(private=False).items() if k in _PUBLIC}

    def proof(self, method, url, access_token=None, nonce=None, header=None, claims=None, signature=None):
        """header and claims are changes to good ones (None as a value takes the member away), or bytes or text that
        stand as they are."""
        good_header = {"typ": "dpop+jwt", "alg": self.key.kind, "jwk": self.jwk}
        good_claims = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
            "ath": access_token and b64u(hashlib.sha256(access_token.encode()).digest()),
            "nonce": nonce,
        }
        if not isinstance(claims, (bytes, str)):
            claims = changed(good_claims, claims or {})
            if header is None and signature is None:
                return jwt.encode(good_header, claims, self.key.jose, algorithms=[self.key.kind])
        # joserfc would not make some of these.
        if not isinstance(header, (bytes, str)):
            header = changed(good_header, header or {})
        return compact(header, claims, self.key, signature)


def htu(broker, path):
    """The URL that a proof for that request names: the issuer's, whichever broker it is sent to."""
    return broker.issuer + path.partition("?")[0]


def nonce_wanted(reply):
    """The nonce of a reply that asks for one (RFC 9449 sections 8 and 9), or None."""
    nonce = reply.headers.get("DPoP-Nonce")
    if nonce is None:
        return None
    if reply.status_code == 400:
        return nonce if reply.json().get("error") == "use_dpop_nonce" else None
    challenge = reply.headers.get("WWW-Authenticate", "")
    return nonce if reply.status_code == 401 and 'error="use_dpop_nonce"' in challenge else None


def call(broker, key, method, path, access_token=None, nonce=None, headers=None, **more):
    """broker.call with a proof by key (a DPoPKey), and the access token as one that is bound to it; once more, with a
    new proof, when the reply asks for a nonce. header, claims: changes to the proof; the rest is for broker.call."""
    changes = {name: more.pop(name) for name in ("header", "claims") if name in more}
    headers = dict(headers or {})
    if access_token is not None:
        headers["Authorization"] = f"DPoP {access_token}"

    def send(with_nonce):
        headers["DPoP"] = key.proof(method, htu(broker, path), access_token, with_nonce, **changes)
        return broker.call(method, path, headers=headers, **more)

    reply = send(nonce)
    wanted = nonce_wanted(reply)
    return reply if wanted is None else send(wanted)
