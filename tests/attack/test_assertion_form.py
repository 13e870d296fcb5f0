# SPDX-License-Identifier: Apache-2.0
"""Attacks J01 to J13, J22 and J25 on the form, the header and the signature of a client assertion."""

import hashlib
import hmac
import json
import socket
import threading

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lib import agents
from lib.keys import Key, b64u, compact, ecdsa_raw, rsa_key, sign_as, signing_input

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def header_json(victim, **changes):
    return {**victim.header(), **changes}


# --- J01: no signature at all


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", "none ", " none", None, 0, True, [], ["ES256"], {}, "ES256\u0000", "es256"],
)  # fmt: skip
@pytest.mark.parametrize("signed", [True, False])
def test_J01_alg_is_none_or_nothing(victim, refused, alg, signed):
    header = json.dumps(header_json(victim, alg=alg))
    refused(victim, victim.assertion(header=header, signature=None if signed else b""))


def test_J01_alg_is_absent(victim, refused):
    refused(victim, victim.assertion(header={"alg": None}))
    refused(victim, victim.assertion(header={"alg": None}, signature=b""))


# --- J02: the compact form


def spoilt_forms(token):
    header, payload, signature = token.split(".")
    last = ALPHABET.index(signature[-1])
    return {
        "empty signature": f"{header}.{payload}.",
        "no signature": f"{header}.{payload}",
        "one segment": header,
        "no dots": header + payload + signature,
        "four segments": f"{token}.x",
        "five segments": f"{token}.x.y",
        "six segments": f"{token}.x.y.z",
        "trailing dot": f"{token}.",
        "leading dot": f".{token}",
        "empty header": f".{payload}.{signature}",
        "empty payload": f"{header}..{signature}",
        "leading blank": f" {token}",
        "trailing blank": f"{token} ",
        "trailing newline": f"{token}\n",
        "newline inside": f"{header}.{payload[:9]}\n{payload[9:]}.{signature}",
        "blank inside": f"{header}.{payload[:9]} {payload[9:]}.{signature}",
        "padding": f"{header}.{payload}.{signature}==",
        "padding of the header": f"{header}={'='}.{payload}.{signature}",
        "trailing garbage in the signature": f"{token}AAAA",
        "a character short": token[:-1],
        "the alphabet of base64": f"{header}.{payload}.{signature[:-4]}+/+/",
        # The last character of 64 bytes holds four bits that must be zero.
        "non-canonical last character": token[:-1] + ALPHABET[last ^ 1],
        "percent escape": token.replace(".", "%2e", 1),
        "full-width dot": token.replace(".", "\uff0e", 1),
        "Bearer before it": f"Bearer {token}",
    }


@pytest.mark.parametrize("name", spoilt_forms("a.b.cA"))
def test_J02_form(victim, refused, name):
    token = victim.assertion()
    refused(victim, spoilt_forms(token)[name])


def test_J02_nul_inside_is_refused(victim):
    token = victim.assertion()
    reply = victim.open(assertion=token[:-1] + "\x00" + token[-1:])
    assert reply.status_code in (400, 401)


# --- J03, J04: the algorithm is the key's, never the header's


def hmac_secrets(kind, key):
    public = key.private.public_key()
    secrets = {
        "PEM": key.public_pem(),
        "PEM without newline": key.public_pem().strip(),
        "DER": public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(key.jwk()).encode(),
        "empty": b"",
    }
    if kind in ("RS256", "PS256"):
        secrets["n"] = public.public_numbers().n.to_bytes(256, "big")
    return secrets


@pytest.mark.parametrize("alg,digest", [("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)])
@pytest.mark.parametrize("kind", ["ES256", "RS256", "EdDSA"])
def test_J03_hmac_with_the_public_key(victims, refused, kind, alg, digest):
    victim = victims[kind]
    for secret in hmac_secrets(kind, victim.key).values():
        text = signing_input(victim.header(alg=alg), victim.claims())
        refused(victim, f"{text}.{b64u(hmac.new(secret, text.encode(), digest).digest())}")


@pytest.mark.parametrize(
    "kind,alg",
    [("ES256", "ES384"), ("ES256", "ES256K"), ("ES256", "ES512"), ("ES256", "EdDSA"), ("ES256", "RS256"), ("ES384", "ES256"),
     ("EdDSA", "ES256"), ("EdDSA", "Ed448"), ("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS384"), ("PS256", "PS512"),
     ("RS256", "ES256"), ("RS256", "RSA1_5")],
)  # fmt: skip
def test_J04_alg_of_another_key(victims, refused, kind, alg):
    victim = victims[kind]
    refused(victim, victim.assertion(header={"alg": alg}))
    if {kind, alg} == {"RS256", "PS256"}:
        # The signature is right for the header's algorithm, by the right key: still it is not the key's algorithm.
        text = signing_input(victim.header(alg=alg), victim.claims())
        refused(victim, f"{text}.{b64u(sign_as(alg, victim.key.private, text.encode()))}")


def test_J04_es256_by_a_p384_key(victims, refused):
    victim = victims["ES384"]
    text = signing_input(victim.header(alg="ES256"), victim.claims())
    r, s = ecdsa_raw(victim.key.private, text.encode(), hashes.SHA256())
    for size in (32, 48):
        raw = (r % 2 ** (8 * size)).to_bytes(size, "big") + (s % 2 ** (8 * size)).to_bytes(size, "big")
        refused(victim, f"{text}.{b64u(raw)}")


# --- J05: kid


@pytest.mark.parametrize(
    "kid",
    ["../../dev/null", "/dev/null", "' OR 1=1--", "x;y", "k" * 129, "k" * 2000, "\u0000", "a\u0000b", "kıd", "", " ", "a b", 7, None,
     ["k"], {"k": 1}, True, "%s%s%n", "https://x.example/k"],
)  # fmt: skip
def test_J05_kid(victim, refused, kid):
    refused(victim, victim.assertion(header=json.dumps(header_json(victim, kid=kid))))


def test_J05_kid_of_64_KiB(victim):
    assert victim.open(assertion=victim.assertion(header={"kid": "k" * 65536})).status_code in (400, 401, 413)


def test_J05_kid_of_another_agent(victim, victims, refused):
    other = victims["EdDSA"]
    refused(victim, victim.assertion(header={"kid": other.key.kid, "alg": "EdDSA"}, key=other.key))
    refused(victim, victim.assertion(header={"kid": other.key.kid}))


def test_J05_kid_of_the_brokers_own_key(victim, refused):
    kid = victim.broker.call("GET", "/.well-known/jwks.json").json()["keys"][0]["kid"]
    refused(victim, victim.assertion(header={"kid": kid}))


def test_J05_kid_may_be_left_out_only_with_a_single_key(victim, broker):
    assert victim.open(assertion=victim.assertion(header={"kid": None})).status_code == 201
    keys = [Key("ES256"), Key("ES256")]
    two = agents.register(broker, keys=keys)
    assert two.open(assertion=two.assertion(header={"kid": None})).status_code == 401
    for key in keys:
        assert two.open(assertion=two.assertion(header={"kid": key.kid}, key=key)).status_code == 201


def test_J05_kid_of_a_key_that_was_taken_away(broker, refused):
    keys = [Key("ES256"), Key("ES256")]
    a = agents.register(broker, keys=keys)
    a.session(client_assertion=a.assertion(header={"kid": keys[1].kid}, key=keys[1]))
    broker.admin("PATCH", f"/admin/v1/agents/{a.id}", json={"jwks": {"keys": [keys[0].jwk()]}})
    for _ in range(20):
        refused(a, a.assertion(header={"kid": keys[1].kid}, key=keys[1]))


# --- J06: keys that the token brings along


def test_J06_key_in_the_header(victim, refused):
    stranger = Key("ES256")
    for members in (
        {"jwk": stranger.jwk()},
        {"jwk": victim.key.jwk()},
        {"x5c": ["MIIB"]},
        {"x5t": "AAAA"},
        {"x5t#S256": "AAAA"},
        {"jwk": None},
        {"x5u": ""},
    ):
        header = json.dumps(header_json(victim, **members))
        refused(victim, victim.assertion(header=header, key=stranger))
        refused(victim, victim.assertion(header=header))


@pytest.mark.parametrize("member", ["jku", "x5u"])
def test_J06_no_key_is_fetched(victim, refused, member):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        visits = []

        def listen():
            try:
                visits.append(listener.accept())
            except TimeoutError:
                pass

        thread = threading.Thread(target=listen)
        thread.start()
        refused(victim, victim.assertion(header={member: url}))
        refused(victim, victim.assertion(header={member: url, "kid": "unknown"}))
        thread.join()
        assert not visits


# --- J07: crit


@pytest.mark.parametrize(
    "members",
    [{"crit": ["exp"]}, {"crit": []}, {"crit": "b64"}, {"crit": ["alg"]}, {"crit": ["x", "x"], "x": 1}, {"crit": ["absent"]},
     {"crit": ["b64"], "b64": False}, {"crit": ["b64"], "b64": True}, {"b64": False}, {"b64": True}, {"crit": None},
     {"crit": {}}, {"crit": [1]}, {"zip": "DEF"}],
)  # fmt: skip
def test_J07_extensions_that_nobody_understands(victim, refused, members):
    refused(victim, victim.assertion(header=json.dumps(header_json(victim, **members))))


# --- J08: members twice


def with_twice(members, name, second):
    text = json.dumps(members)
    return text[:-1] + f', "{name}": {json.dumps(second)}}}'


@pytest.mark.parametrize("name,second", [("alg", "none"), ("alg", "ES256"), ("\\u0061lg", "ES256"), ("kid", "x"), ("typ", "JWT")])
def test_J08_header_member_twice(victim, refused, name, second):
    refused(victim, victim.assertion(header=with_twice(victim.header(), name, second)))


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "jti", "\\u0073ub", "\\u0061\\u0075\\u0064"])
def test_J08_claim_twice(victim, refused, name):
    claims = victim.claims()
    plain = json.loads(f'"{name}"')
    refused(victim, victim.assertion(claims=with_twice(claims, name, claims[plain])))


def test_J08_names_differ_by_their_case(victim, refused):
    refused(victim, victim.assertion(header={"alg": None, "Alg": "ES256"}))
    refused(victim, victim.assertion(claims={"sub": None, "Sub": victim.id}))
    assert victim.open(assertion=victim.assertion(header={"Alg": "none"}, claims={"Sub": "x"})).status_code == 201


# --- J09: ECDSA


def ecdsa_forgeries(victim, text):
    r, s = ecdsa_raw(victim.key.private, text.encode(), hashes.SHA256())
    n = P256_ORDER
    b = lambda value, size=32: value.to_bytes(size, "big")  # noqa: E731
    der = victim.key.private.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        "r and s of zero": bytes(64),
        "r of zero": b(0) + b(s),
        "s of zero": b(r) + b(0),
        "r of n": b(n) + b(s),
        "s of n": b(r) + b(n),
        "s beyond n": b(r) + b(s + n) if s + n < 2**256 else b(r) + b(2**256 - 1),
        "r beyond n": b(2**256 - 1) + b(s),
        "r of one, s of one": b(1) + b(1),
        "63 bytes": b(r) + b(s)[:-1],
        "65 bytes": b(r) + b(s) + b"\0",
        "65 bytes, a zero before": b"\0" + b(r) + b(s),
        "66 bytes, zeros before each": b(r, 33) + b(s, 33),
        "96 bytes": b(r, 48) + b(s, 48),
        "DER": der,
        "s and r": b(s) + b(r),
        "twice": (b(r) + b(s)) * 2,
        "another message's": victim.key.sign(b"x" + text.encode()),
        "one bit": bytes([b(r)[0] ^ 1]) + (b(r) + b(s))[1:],
    }


ECDSA_NAMES = [
    "r and s of zero", "r of zero", "s of zero", "r of n", "s of n", "s beyond n", "r beyond n", "r of one, s of one", "63 bytes",
    "65 bytes", "65 bytes, a zero before", "66 bytes, zeros before each", "96 bytes", "DER", "s and r", "twice",
    "another message's", "one bit",
]  # fmt: skip


@pytest.mark.parametrize("name", ECDSA_NAMES)
def test_J09_ecdsa_signature(victim, refused, name):
    header, claims = victim.header(), victim.claims()
    forged = ecdsa_forgeries(victim, signing_input(header, claims))[name]
    refused(victim, compact(header, claims, signature=forged))


def test_J09_other_half_of_s_is_no_second_use(victim):
    header, claims = victim.header(), victim.claims()
    text = signing_input(header, claims)
    r, s = ecdsa_raw(victim.key.private, text.encode(), hashes.SHA256())
    tokens = [f"{text}.{b64u(r.to_bytes(32, 'big') + v.to_bytes(32, 'big'))}" for v in (s, P256_ORDER - s)]
    codes = [victim.open(assertion=t).status_code for t in tokens]
    assert codes.count(201) == 1, codes


# --- J10: Ed25519


def test_J10_s_beyond_the_order(victims, refused):
    victim = victims["EdDSA"]
    header, claims = victim.header(), victim.claims()
    text = signing_input(header, claims)
    good = victim.key.sign(text.encode())
    s = int.from_bytes(good[32:], "little")
    refused(victim, f"{text}.{b64u(good[:32] + (s + ED25519_ORDER).to_bytes(32, 'little'))}")
    refused(victim, f"{text}.{b64u(bytes(64))}")
    assert victim.open(assertion=f"{text}.{b64u(good)}").status_code == 201


# Points of small order, whose signatures anybody can make (RFC 8032 section 5.1.7; Cremers and Jackson 2019).
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_J10_key_of_small_order_is_no_key(broker, point):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64u(bytes.fromhex(point)), "kid": "k", "alg": "EdDSA"}
    body = {"agent_id": f"weak-{point[:8]}", "allowed_scopes": ["acme:read"], "jwks": {"keys": [jwk]}}
    reply = broker.admin("POST", "/admin/v1/agents", json=body)
    assert reply.status_code == 400 and reply.json()["error"] == "invalid_jwks", reply.text


# --- J12, J13: size and depth


@pytest.mark.parametrize("size", [16385, 60000])
def test_J12_long_assertion(victim, size):
    token = victim.assertion(claims={"x": "a" * size})
    assert victim.open(assertion=token).status_code in (400, 401, 413)


def test_J12_long_header(victim, refused):
    refused(victim, victim.assertion(header={"x": "a" * 2100}))


@pytest.mark.parametrize("depth", [17, 500, 5000])
def test_J13_nested_claims(victim, refused, depth):
    claims = json.dumps(victim.claims())[:-1]
    refused(victim, victim.assertion(claims=f'{claims}, "x": {"[" * depth}{"]" * depth}}}'))
    refused(victim, victim.assertion(header=f'{json.dumps(victim.header())[:-1]}, "x": {"[" * min(depth, 900)}{"]" * min(depth, 900)}}}'))


def test_J13_many_members_and_long_numbers(victim, refused):
    claims = json.dumps(victim.claims())[:-1]
    many = ", ".join(f'"{i}":1' for i in range(900))
    assert victim.open(assertion=victim.assertion(claims=f"{claims}, {many}}}")).status_code in (201, 401)
    refused(victim, victim.assertion(claims=f'{claims}, "x": {"9" * 5000}}}'))


# --- J22: other serialisations


def test_J22_other_serialisations(victim, refused):
    header, payload, signature = victim.assertion().split(".")
    flattened = {"protected": header, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": header, "signature": signature}]}
    for form in (flattened, general):
        refused(victim, json.dumps(form))
        assert victim.broker.call("POST", "/v1/agent-sessions", json={**victim.body(), "client_assertion": form}).status_code == 400
    refused(victim, f"{header}..{signature}")
    nested = victim.assertion(header={"cty": "JWT"}, claims=victim.assertion())
    refused(victim, nested)


@pytest.mark.parametrize(
    "header",
    [{"alg": "dir", "enc": "A256GCM"}, {"alg": "RSA-OAEP", "enc": "A256GCM"},
     {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2**31 - 1, "p2s": "AAAA"}],
)  # fmt: skip
def test_J22_encrypted_where_signed_is_expected(victim, refused, header):
    encoded = b64u(json.dumps(header).encode())
    refused(victim, f"{encoded}.AAAA.AAAA.AAAA.AAAA")
    refused(victim, f"{encoded}.{b64u(json.dumps(victim.claims()).encode())}.AAAA")


# --- J25: text that is not UTF-8


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3", b"\xe0\x80\x80"])
def test_J25_not_utf8(victim, refused, bad):
    claims = json.dumps(victim.claims()).encode()
    refused(victim, victim.assertion(claims=claims[:-1] + b', "x": "' + bad + b'"}'))
    header = json.dumps(victim.header()).encode()
    refused(victim, victim.assertion(header=header[:-1] + b', "x": "' + bad + b'"}'))


def test_J25_marks_and_surrogates(victim, refused):
    claims = json.dumps(victim.claims()).encode()
    refused(victim, victim.assertion(claims=b"\xef\xbb\xbf" + claims))
    refused(victim, victim.assertion(claims=claims[:-1] + b', "x": "\\ud800"}'))
    refused(victim, victim.assertion(claims=claims[:-1] + b', "x": "\\u0000"}'))
    refused(victim, victim.assertion(claims=claims.decode().encode("utf-16")))
    refused(victim, victim.assertion(claims=claims + b" x"))
    refused(victim, victim.assertion(claims=b"[" + claims + b"]"))
    refused(victim, victim.assertion(claims=b'"text"'))
    refused(victim, victim.assertion(claims=b""))


def test_rsa_signature_of_another_length(victims, refused):
    victim = victims["PS256"]
    text = signing_input(victim.header(), victim.claims())
    good = victim.key.sign(text.encode())
    for bad in (b"\0" + good, good + b"\0", good[:-1], bytes(256), (victim_modulus() - 1).to_bytes(256, "big"), b"\xff" * 256):
        refused(victim, f"{text}.{b64u(bad)}")


def victim_modulus():
    return rsa_key().public_key().public_numbers().n
