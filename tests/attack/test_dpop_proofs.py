# SPDX-License-Identifier: Apache-2.0
"""Attacks D02, D03, D05 to D08, D11 and D12 on DPoP proofs (RFC 9449 section 4.3), at every door that takes one. Each proof
is perfect but for what its name says."""

import hmac
import http.client
import json
import time
from urllib.parse import urlencode

import pytest
import requests

from lib.doors import ISSUING, IssuingDoor, bad_proof, door, issuing, second, taking, world  # noqa: F401: fixtures
from lib.dpop import DPoPKey
from lib.keys import Key, changed, compact, rsa_key, unb64u
from lib.oauth import TOKEN_PATH

FOREIGN = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}


def test_perfect_one_is_accepted(door):
    """Or else the refusals below would say nothing."""
    door.is_good(door.send(door.proof()))


@pytest.mark.parametrize("kind", ["ES384", "EdDSA", "RS256", "PS256"])
def test_perfect_one_of_every_algorithm(world, kind):
    for name in ("obo", "client_credentials"):
        door = world.door(name)
        door.key = DPoPKey(kind)
        door.is_good(door.send(door.proof()))


# --- D02: another URL


def origin_of(url):
    return "/".join(url.split("/", 3)[:3])


HTU_GOOD = {
    "query": lambda u: u + "?x=1",
    "empty query": lambda u: u + "?",
    "fragment": lambda u: u + "#x",
    "scheme in upper case": lambda u: u.replace("http", "HTTP", 1),
    "percent-encoded letter": lambda u: f"{u[:-1]}%{ord(u[-1]):02X}",
    "percent-encoded in lower case": lambda u: f"{u[:-1]}%{ord(u[-1]):02x}",
}
HTU_BAD = {
    "another endpoint": lambda u: u.rpartition("/")[0] + "/introspect",
    "trailing slash": lambda u: u + "/",
    "less at the end": lambda u: u[:-1],
    "path in upper case": lambda u: origin_of(u) + u[len(origin_of(u)) :].upper(),
    "double slash": lambda u: "//".join(u.rsplit("/", 1)),
    "percent-encoded slash": lambda u: "%2F".join(u.rsplit("/", 1)),
    "dot segment": lambda u: "/./".join(u.rsplit("/", 1)),
    "two dots": lambda u: "/x/../".join(u.rsplit("/", 1)),
    "percent-encoded dots": lambda u: "/x/%2e%2E/".join(u.rsplit("/", 1)),
    "percent-encoded twice": lambda u: f"{u[:-1]}%25{ord(u[-1]):02X}",
    "percent sign alone": lambda u: u + "%",
    "userinfo": lambda u: u.replace("://", "://x@"),
    "host behind userinfo": lambda u: u.replace("://", "://evil.example@"),
    "https": lambda u: u.replace("http", "https", 1),
    "other scheme": lambda u: u.replace("http", "ws", 1),
    "other port": lambda u: u.replace("://127.0.0.1:", "://127.0.0.1:1"),
    "no port": lambda u: "http://127.0.0.1" + u[len(origin_of(u)) :],
    "other name of the host": lambda u: u.replace("127.0.0.1", "localhost"),
    "longer host": lambda u: u.replace("127.0.0.1", "127.0.0.1.evil.example"),
    "host with a dot": lambda u: u.replace("127.0.0.1", "127.0.0.1."),
    "fullwidth digits": lambda u: u.replace("127", "\uff11\uff12\uff17"),
    "IDN": lambda u: u.replace("127.0.0.1", "ex\u00e4mple"),
    "path alone": lambda u: u[len(origin_of(u)) :],
    "origin alone": lambda u: origin_of(u),
    "blank behind": lambda u: u + " ",
    "line feed behind": lambda u: u + "\n",
    "NUL behind": lambda u: u + "\0",
    "backslash": lambda u: u.replace("/", "\\"),
    "empty": lambda u: "",
    "missing": lambda u: None,
    "number": lambda u: 7,
    "list": lambda u: [u],
}


@pytest.mark.parametrize("name", HTU_GOOD)
def test_D02_other_spellings_of_the_url(door, name):
    """RFC 9449 section 4.3, check 9, and RFC 3986 section 6.2"""
    door.is_good(door.send(door.proof(url=HTU_GOOD[name](door.url))))


@pytest.mark.parametrize("name", HTU_BAD)
def test_D02_other_url(door, name):
    bad_proof(door, door.proof(claims={"htu": HTU_BAD[name](door.url)}))


def test_D02_the_caller_cannot_choose_the_url(door, second):
    """htu is compared with the configured origin: neither Host nor what a proxy adds nor the listener counts."""
    elsewhere = door.proof(url=f"http://evil.example{door.path}")
    door.refused(door.send(elsewhere, headers=FOREIGN), "invalid_dpop_proof")
    door.refused(door.send(door.proof(url=second.url + door.path), second), "invalid_dpop_proof")
    door.is_good(door.send(door.proof(), second, headers=FOREIGN))


# --- D03: another method


@pytest.mark.parametrize("htm", ["PUT", "lower", "title", "blank", "comma", "*", "", None, 1, ["POST"]], ids=repr)
def test_D03_other_method(door, htm):
    """RFC 9110 section 9.1: methods are case-sensitive."""
    own = {"lower": door.method.lower(), "title": door.method.title(), "blank": door.method + " ", "comma": "GET,POST,DELETE"}
    bad_proof(door, door.proof(claims={"htm": own.get(htm, htm) if isinstance(htm, str) else htm}))


def test_D03_proof_of_reading_closes_nothing(world):
    door = world.door("DELETE")
    bad_proof(door, door.proof(method="GET"))


# --- D05: not one proof


def send_with_fields(door, *proofs):
    """Each proof in a header field of its own: (status, code)."""
    request = door.request()
    if "data" in request:
        body, content = urlencode(request["data"]), "application/x-www-form-urlencoded"
    else:
        body, content = json.dumps(request.get("json", {})), "application/json"
    connection = http.client.HTTPConnection(door.broker.host, door.broker.port, timeout=30)
    try:
        connection.putrequest(door.method, door.path)
        if door.access_token is not None:
            connection.putheader("Authorization", f"DPoP {door.access_token}")
            body = ""
        else:
            connection.putheader("Content-Type", content)
        connection.putheader("Content-Length", str(len(body)))
        for proof in proofs:
            connection.putheader("DPoP", proof)
        connection.endheaders(body.encode())
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def test_D05_two_headers(door):
    """RFC 9449 section 4.3, check 1: whichever is first, and equal ones too"""
    good, bad = door.proof(), "x"
    for proofs in ((good, good), (good, bad), (bad, good), (good, door.proof()), (good, ""), ("", good)):
        status, body = send_with_fields(door, *proofs)
        assert (status, body["error"]) == (400, "invalid_request" if door.path == TOKEN_PATH else "bad_request")
    # The proof itself was good, and is still.
    status, body = send_with_fields(door, good)
    assert status in (200, 201), body
    if door.method == "POST":
        door.world.granted[door.agent.id] = door.world.granted.get(door.agent.id, 0) + 1


def test_D05_two_proofs_in_one_header(door):
    for between in (",", ", ", " ", ";"):
        bad_proof(door, door.proof() + between + door.proof())


def test_D05_empty_header(door):
    """It is a proof that is not good, and no leave to do without."""
    status, body = send_with_fields(door, "")
    assert (status, body["error"]) == (400 if door.method == "POST" else 401, "invalid_dpop_proof")


# --- D06: keys


def jwk_and(**members):
    return lambda d: {"jwk": changed(d.key.jwk, members)}


JWK_BAD = {
    "missing": lambda d: {"jwk": None},
    "text": lambda d: {"jwk": json.dumps(d.key.jwk)},
    "list": lambda d: {"jwk": [d.key.jwk]},
    "empty": lambda d: {"jwk": {}},
    "key set": lambda d: {"jwk": {"keys": [d.key.jwk]}},
    "kid instead": lambda d: {"jwk": None, "kid": d.key.key.kid},
    "kid of the agent": lambda d: {"jwk": None, "kid": d.agent.key.kid},
    "private key": lambda d: {"jwk": {**d.key.jwk, "d": d.key.key.private_jwk()["d"]}},
    "private member of another kind": jwk_and(k="AAAA"),
    "private RSA members": jwk_and(p="AQAB", q="AQAB"),
    "symmetric": lambda d: {"jwk": {"kty": "oct", "k": "A" * 43}},
    "other kty": jwk_and(kty="RSA"),
    "OKP with members of EC": jwk_and(kty="OKP"),
    "no kty": jwk_and(kty=None),
    "other curve": jwk_and(crv="P-384"),
    "unknown curve": jwk_and(crv="secp256k1"),
    "not on the curve": jwk_and(x="A" * 43),
    "no y": jwk_and(y=None),
    "short x": lambda d: {"jwk": {**d.key.jwk, "x": d.key.jwk["x"][:-2]}},
    "other alg": jwk_and(alg="ES384"),
    "for encryption": jwk_and(use="enc"),
    "another's": lambda d: {"jwk": DPoPKey().jwk},
    "jku beside": lambda d: {"jku": "https://evil.example/jwks"},
    "x5u beside": lambda d: {"x5u": "https://evil.example/cert"},
    "x5c beside": lambda d: {"x5c": ["AAAA"]},
    "crit": lambda d: {"crit": ["exp"]},
    "b64": lambda d: {"b64": False},
}


@pytest.mark.parametrize("name", JWK_BAD)
def test_D06_key(door, name):
    bad_proof(door, door.proof(header=JWK_BAD[name](door)))


@pytest.mark.parametrize("bits,exponent", [(1024, 65537), (2048, 3)])
def test_D06_weak_RSA(world, bits, exponent):
    for name in ISSUING:
        door = world.door(name)
        bad_proof(door, door.proof(DPoPKey(key=Key("RS256", rsa_key(bits, exponent)))))


def test_D06_key_twice(door):
    header = json.dumps({"typ": "dpop+jwt", "alg": "ES256", "jwk": door.key.jwk})
    for more in (f', "jwk": {json.dumps(DPoPKey().jwk)}}}', f', "\\u006awk": {json.dumps(door.key.jwk)}}}'):
        bad_proof(door, door.proof(header=header[:-1] + more))


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "dpop", "dpop+jwt;x", "client-authentication+jwt", "", None, 1], ids=repr)
def test_D06_typ(door, typ):
    bad_proof(door, door.proof(header={"typ": typ}))


# --- D07: the hash of the token

ATH = {
    "missing": lambda good: None,
    "empty": lambda good: "",
    "of another token": lambda good: DPoPKey().jkt,
    "with padding": lambda good: good + "=",
    "hexadecimal": lambda good: unb64u(good).hex(),
    "shorter": lambda good: good[:-1],
    "in another case": lambda good: good.swapcase(),
    "number": lambda good: 7,
    "list": lambda good: [good],
}


@pytest.mark.parametrize("name", ATH)
def test_D07_hash_of_the_token(taking, name):
    good = json.loads(unb64u(taking.proof().split(".")[1]))["ath"]
    bad_proof(taking, taking.proof(claims={"ath": ATH[name](good)}))


def test_D07_hash_of_another_token_of_the_same_key(world, taking):
    other = IssuingDoor(world, "session")
    other.key = taking.key
    token = other.send(other.proof()).json()["access_token"]
    bad_proof(taking, taking.key.proof(taking.method, taking.url, token, world.nonce))


def test_D07_hash_without_a_token_says_nothing(issuing):
    issuing.is_good(issuing.send(issuing.proof(claims={"ath": "A" * 43})))


# --- D08: times


def now(seconds):
    return int(time.time()) + seconds


TIMES_BAD = {
    "an hour ago": lambda: {"iat": now(-3600)},
    "61 s ago": lambda: {"iat": now(-61)},
    "a minute ahead": lambda: {"iat": now(60)},
    "an hour ahead": lambda: {"iat": now(3600)},
    "in milliseconds": lambda: {"iat": now(0) * 1000},
    "missing": lambda: {"iat": None},
    "text": lambda: {"iat": str(now(0))},
    "float": lambda: {"iat": float(now(0))},
    "true": lambda: {"iat": True},
    "list": lambda: {"iat": [now(0)]},
    "negative": lambda: {"iat": -1},
    "2^53": lambda: {"iat": 2**53},
    "2^64 and now": lambda: {"iat": 2**64 + now(0)},
    "exp passed": lambda: {"exp": now(-1)},
    "exp no number": lambda: {"exp": "x"},
    "nbf ahead": lambda: {"nbf": now(60)},
}


@pytest.mark.parametrize("name", TIMES_BAD)
def test_D08_times(door, name):
    bad_proof(door, door.proof(claims=TIMES_BAD[name]()))


@pytest.mark.parametrize("seconds", [-50, 8])
def test_D08_clock_that_differs_a_little(door, seconds):
    """FAPI 2.0 section 5.3.2.1"""
    door.is_good(door.send(door.proof(claims={"iat": now(seconds), "exp": now(60), "nbf": now(seconds)})))


@pytest.mark.parametrize(
    "jti", [None, "", 7, ["x"], "x" * 257, "x" * 5000], ids=["missing", "empty", "number", "list", "257", "5000"]
)
def test_D08_id(door, jti):
    bad_proof(door, door.proof(claims={"jti": jti}))


# --- D11: algorithms

ALGORITHMS = {
    "none": lambda d: d.proof(header={"alg": "none"}),
    "none without a signature": lambda d: d.proof(header={"alg": "none"}, signature=b""),
    "None": lambda d: d.proof(header={"alg": "None"}, signature=b"x"),
    "missing": lambda d: d.proof(header={"alg": None}),
    "empty": lambda d: d.proof(header={"alg": ""}),
    "list": lambda d: d.proof(header={"alg": ["ES256"]}),
    "in lower case": lambda d: d.proof(header={"alg": "es256"}),
    "of another key": lambda d: d.proof(header={"alg": "ES384"}),
    "of another kind of key": lambda d: d.proof(header={"alg": "RS256"}),
    "not served": lambda d: d.proof(header={"alg": "ES512"}),
    "HMAC": lambda d: d.proof(header={"alg": "HS256"}),
    "HMAC by the PEM": lambda d: by_hmac(d, d.key.key.public_pem()),
    "HMAC by the JWK": lambda d: by_hmac(d, json.dumps(d.key.jwk).encode()),
    "HMAC by a key in the header": lambda d: by_hmac(d, bytes(32), {"jwk": {"kty": "oct", "k": "A" * 43}}),
    "HMAC by nothing": lambda d: by_hmac(d, b""),
    "another's signature": lambda d: ".".join([*d.proof().split(".")[:2], d.proof().split(".")[2]]),
    "signature of zeros": lambda d: d.proof(signature=bytes(64)),
    "DER": lambda d: d.proof(signature=bytes.fromhex("3006020101020101")),
    "no signature": lambda d: d.proof().rpartition(".")[0],
    "five parts": lambda d: d.proof() + ".x.x",
    "padding": lambda d: d.proof() + "=",
}


def by_hmac(door, secret, header=None):
    """As if the broker took a public key for a shared secret (CVE-2015-9235)."""
    header = {"typ": "dpop+jwt", "alg": "HS256", "jwk": door.key.jwk, **(header or {})}
    return compact(header, json.loads(unb64u(door.proof().split(".")[1])), HmacKey(secret))


class HmacKey:
    def __init__(self, secret):
        self.secret = secret

    def sign(self, data):
        return hmac.digest(self.secret, data, "sha256")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_D11_algorithm(door, name):
    bad_proof(door, ALGORITHMS[name](door))


# --- D12: sizes


def padded(door, size):
    """A good proof of about that many bytes."""
    return door.proof(claims={"pad": "x" * (size * 3 // 4 - 450)})


def test_D12_long_proofs(door):
    assert len(padded(door, 8000)) > 7900
    bad_proof(door, padded(door, 8400))
    for size in (20_000, 100_000, 1_000_000):
        try:
            reply = door.send(padded(door, size))
        except requests.ConnectionError:
            assert size > 50_000  # the broker has had enough before it was all sent
            continue
        assert reply.status_code in (413, 431), reply.text
    door.is_good(door.send(padded(door, 8000)))


def test_D12_deep_and_broken_json(door):
    good = json.dumps(json.loads(unb64u(door.proof().split(".")[1])))
    twice = good[:-1] + f', "htm": "{door.method}"}}'
    for claims in ("[" * 1000 + "]" * 1000, good[:-1], twice, good + "x", "[]", "null", "", b"\xff"):
        bad_proof(door, door.proof(claims=claims))
