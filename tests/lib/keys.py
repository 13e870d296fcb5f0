# SPDX-License-Identifier: Apache-2.0
"""Keys of agents, and JWTs well and ill formed.

Well-formed keys and their thumbprints come from joserfc. The compact form is put together here byte by byte, since most
tests want one that no library would make."""

import base64
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from joserfc.jwk import ECKey, OKPKey, RSAKey

KINDS = ("ES256", "ES384", "EdDSA", "RS256", "PS256")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# Making one takes a tenth of a second, and a test that needs a key of its own has other kinds.
_rsa = {}


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def as_bytes(value):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, separators=(",", ":")).encode()


def changed(members, changes):
    """None takes a member away."""
    return {k: v for k, v in {**members, **changes}.items() if v is not None}


def signing_input(header, payload):
    """header and payload are dicts, or text or bytes that stand as they are."""
    return f"{b64u(as_bytes(header))}.{b64u(as_bytes(payload))}"


def rsa_key(bits=2048, exponent=65537):
    if (bits, exponent) not in _rsa:
        _rsa[bits, exponent] = rsa.generate_private_key(public_exponent=exponent, key_size=bits)
    return _rsa[bits, exponent]


def _private(kind):
    if kind == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ES384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa_key()


def ecdsa_raw(private, data, digest):
    """(r, s) of an ECDSA signature."""
    return utils.decode_dss_signature(private.sign(data, ec.ECDSA(digest)))


class Key:
    """A private key of one kind, with the public JWK that is registered for it."""

    def __init__(self, kind, private=None, kid=None):
        self.kind = kind
        self.private = private or _private(kind)
        pem = self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        importer = OKPKey if kind == "EdDSA" else ECKey if kind.startswith("ES") else RSAKey
        self.jose = importer.import_key(pem)
        self.kid = kid or self.jose.thumbprint()

    def jwk(self, **members):
        return {**self.jose.as_dict(private=False), "kid": self.kid, "alg": self.kind, "use": "sig", **members}

    def private_jwk(self):
        return {**self.jose.as_dict(private=True), "kid": self.kid, "alg": self.kind}

    def sign(self, data):
        return sign_as(self.kind, self.private, data)

    def public_pem(self):
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def sign_as(alg, private, data):
    """A JWS signature of that algorithm by that key, whatever the key was registered for."""
    if alg in ("ES256", "ES384"):
        digest, size = (hashes.SHA256(), 32) if alg == "ES256" else (hashes.SHA384(), 48)
        r, s = ecdsa_raw(private, data, digest)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if alg == "EdDSA":
        return private.sign(data)
    if alg == "RS256":
        return private.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return private.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


def compact(header, payload, key=None, signature=None):
    """A compact JWS: signed by key (a Key), or with these signature bytes."""
    text = signing_input(header, payload)
    if signature is None:
        signature = key.sign(text.encode())
    return f"{text}.{b64u(signature)}"


def parts(token):
    """Header and payload of a token, not verified."""
    header, payload, _ = token.split(".")
    return json.loads(unb64u(header)), json.loads(unb64u(payload))
