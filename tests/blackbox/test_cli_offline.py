# SPDX-License-Identifier: Apache-2.0
"""`nexus jws verify` and `nexus token verify` against tokens of independent libraries and against forgeries, and the
command line itself. None of this needs a broker."""

import hashlib
import hmac
import json
import os
import secrets
import socket
import subprocess
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import utils
from joserfc import jws as joserfc_jws
from joserfc import jwt as joserfc_jwt
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jws as jwcrypto_jws

from cliprogram import REFUSED, UNAVAILABLE, USAGE, fails, nexus, ok, private_file, program
from lib.keys import KINDS, Key, as_bytes, b64u, compact, rsa_key, sign_as, signing_input, unb64u

ISSUER = "https://broker.example"
AUDIENCE = "https://api.example"


@pytest.fixture(scope="module")
def keys():
    return {kind: Key(kind) for kind in KINDS}


@pytest.fixture
def write(tmp_path):
    def make(name, content):
        path = tmp_path / name
        path.write_bytes(as_bytes(content))
        return path

    return make


def header(key, **changes):
    return {k: v for k, v in {"alg": key.kind, "kid": key.kid, "typ": "at+jwt", **changes}.items() if v is not None}


def claims(**changes):
    now = int(time.time())
    good = {
        "iss": ISSUER, "sub": "glider", "aud": AUDIENCE, "client_id": "glider", "scope": "acme:read acme:gliding",
        "iat": now, "nbf": now, "exp": now + 300, "jti": secrets.token_hex(8), "sid": "sess_1",
    }  # fmt: skip
    return {k: v for k, v in {**good, **changes}.items() if v is not None}


# --- jws verify


@pytest.mark.parametrize("kind", KINDS)
def test_payload_of_a_valid_jws_is_printed_byte_for_byte(keys, write, kind):
    payload = b'{ "any":\t"spacing", "n": 1 }'
    token = joserfc_jws.serialize_compact({"alg": kind}, payload, keys[kind].jose, algorithms=[kind])
    assert ok("jws", "verify", "--jwk", write("k.jwk", keys[kind].jwk()), stdin=f"\n {token}\n").stdout == payload


def test_jws_of_a_second_library_and_a_payload_that_is_no_json(write):
    key = jwcrypto_jwk.JWK.generate(kty="EC", crv="P-256")
    jws = jwcrypto_jws.JWS(b"\x00\xff no text")
    jws.add_signature(key, alg="ES256", protected=json.dumps({"alg": "ES256", "kid": "of-no-matter"}))
    file = write("k.jwk", key.export_public())
    assert ok("jws", "verify", "--jwk", file, stdin=jws.serialize(compact=True)).stdout == b"\x00\xff no text"
    shown = ok("jws", "verify", "--jwk", file, "--json", stdin=jws.serialize(compact=True)).json()
    assert unb64u(shown.pop("payload_base64url")) == b"\x00\xff no text"
    assert shown == {"alg": "ES256", "kid": "of-no-matter"}


def test_jws_as_json(keys, write):
    key = keys["EdDSA"]
    token = compact(header(key, typ="JOSE"), {"b": [1, None], "a": "ä"}, key)
    shown = ok("jws", "verify", "--json", "--jwk", write("k.jwk", key.jwk()), stdin=token).json()
    assert shown == {"alg": "EdDSA", "kid": key.kid, "typ": "jose", "payload": {"b": [1, None], "a": "ä"}}


def forgeries(keys):
    """Name, verifying key, token: each must be refused."""
    ec, rsa, pss, ed = keys["ES256"], keys["RS256"], keys["PS256"], keys["EdDSA"]
    payload = {"sub": "glider"}
    good = compact(header(ec), payload, ec)
    head, body, sig = good.split(".")
    raw = unb64u(sig)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

    def hs256(secret):
        text = signing_input({"alg": "HS256"}, payload)
        return f"{text}.{b64u(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"

    yield "another key of the kind", Key("ES256"), good
    yield "a key of another kind", ed, good
    yield "an RSA key", rsa, good
    yield "alg none", ec, compact({"alg": "none"}, payload, signature=b"x")
    yield "alg none without a signature", ec, signing_input({"alg": "none"}, payload) + "."
    yield "alg None", ec, compact({"alg": "None"}, payload, signature=b"x")
    yield "no alg", ec, compact({}, payload, ec)
    yield "HS256 with the PEM as secret", rsa, hs256(rsa.public_pem())
    yield "HS256 with the JWK as secret", rsa, hs256(as_bytes(rsa.jwk()))
    yield "HS256 with the point as secret", ec, hs256(unb64u(ec.jwk()["x"]) + unb64u(ec.jwk()["y"]))
    yield "PS256 by a key for RS256", rsa, compact({"alg": "PS256"}, payload, signature=None, key=Key("PS256", rsa.private))
    yield "RS256 by a key for PS256", pss, compact({"alg": "RS256"}, payload, key=Key("RS256", pss.private))
    yield "RS256 padding under PS256", pss, compact(
        {"alg": "PS256"}, payload, signature=sign_as("RS256", pss.private, signing_input({"alg": "PS256"}, payload).encode())
    )
    yield "changed payload", ec, f"{head}.{b64u(as_bytes({'sub': 'other'}))}.{sig}"
    yield "changed header", ec, f"{b64u(as_bytes(header(ec, typ='other')))}.{body}.{sig}"
    yield "changed signature", ec, f"{head}.{body}.{b64u(raw[:-1] + bytes([raw[-1] ^ 1]))}"
    yield "r of zero", ec, f"{head}.{body}.{b64u(bytes(32) + raw[32:])}"
    yield "r and s of zero", ec, f"{head}.{body}.{b64u(bytes(64))}"
    yield "s plus the order", ec, f"{head}.{body}.{b64u(raw[:32] + ((s + order) % 2**256).to_bytes(32, 'big'))}"
    yield "DER", ec, f"{head}.{body}.{b64u(utils.encode_dss_signature(r, s))}"
    yield "short signature", ec, f"{head}.{body}.{b64u(raw[:-1])}"
    yield "long signature", ec, f"{head}.{body}.{b64u(raw + bytes(1))}"
    yield "no signature", ec, f"{head}.{body}."
    yield "two segments", ec, f"{head}.{body}"
    yield "four segments", ec, f"{good}.{sig}"
    yield "padding", ec, f"{good}=="
    yield "text behind it", ec, f"{good} and more"
    yield "a second token", ec, f"{good}\n{good}"
    yield "a space within", ec, f"{head} .{body}.{sig}"
    yield "plain base64", rsa, compact({"alg": "RS256"}, payload, rsa).replace("-", "+").replace("_", "/") + "+"
    for member, value in {
        "jwk": Key("ES256").jwk(), "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x", "x5c": ["AA=="],
        "crit": ["exp"], "b64": False, "zip": "DEF",
    }.items():  # fmt: skip
        yield f"header {member}", ec, compact(header(ec, **{member: value}), payload, ec)
    yield "two algs", ec, compact('{"alg":"none","alg":"ES256"}', payload, ec)
    yield "header that is no JSON", ec, compact("{alg:ES256}", payload, ec)
    yield "header that is an array", ec, compact(["ES256"], payload, ec)
    yield "nothing", ec, ""
    yield "too long", ec, compact(header(ec), "x" * 20000, ec)
    yield "binary", ec, b"\x00\xff\xfe"


def test_every_forged_jws_is_refused(keys, write):
    seen = 0
    for i, (name, key, token) in enumerate(forgeries(keys)):
        file = write(f"{i}.jwk", key.jwk())
        done = nexus("jws", "verify", "--jwk", file, stdin=token)
        assert (done.status, done.stdout) == (REFUSED, b""), f"{name}: {done.status} {done.stderr}"
        assert done.stderr.startswith("nexus: ") and done.stderr.count("\n") == 1, f"{name}: {done.stderr}"
        seen += 1
    assert seen > 40


@pytest.mark.parametrize(
    ("name", "says"),
    [("private", "private"), ("symmetric", "symmetric"), ("set", "set of keys"), ("short rsa", "bits"), ("no json", "JSON"), ("gone", "No such file")],
)  # fmt: skip
def test_keys_that_are_none(keys, write, tmp_path, name, says):
    files = {
        "private": keys["ES256"].private_jwk(),
        "symmetric": {"kty": "oct", "k": "AAAA"},
        "set": {"keys": [keys["ES256"].jwk()]},
        "short rsa": Key("RS256", rsa_key(1024)).jwk(),
        "no json": "-----BEGIN PUBLIC KEY-----",
    }
    file = write("k.jwk", files[name]) if name in files else tmp_path / "gone"
    token = compact(header(keys["ES256"]), {}, keys["ES256"])
    done = fails(UNAVAILABLE, "jws", "verify", "--jwk", file, stdin=token, says=says)
    assert keys["ES256"].private_jwk()["d"] not in done.stderr


# --- token verify


@pytest.fixture
def jwks(keys, write):
    return write("jwks.json", {"keys": [k.jwk(kid=k.kind) for k in keys.values()]})


def token_of(key, **changes):
    return joserfc_jwt.encode(header(key, kid=key.kind), claims(**changes), key.jose, algorithms=[key.kind])


def verify(jwks, token, *words, status=0, says=()):
    words = ("token", "verify", "--jwks", jwks, "--issuer", ISSUER, "--audience", AUDIENCE, *words)
    return fails(status, *words, stdin=token, says=says) if status else ok(*words, stdin=token)


@pytest.mark.parametrize("kind", KINDS)
def test_valid_token_is_shown(keys, jwks, kind):
    done = verify(jwks, token_of(keys[kind], act={"sub": "glider"}, exp=4102444800), "--scope", "acme:read")
    lines = dict(line.split(None, 1) for line in done.stdout.decode().splitlines() if not line.startswith("acting"))
    assert lines["issuer"] == ISSUER
    assert lines["scopes"] == "acme:read acme:gliding"
    assert lines["expires"] == "2100-01-01T00:00:00Z"
    assert done.stderr == ""


def test_claims_as_json(keys, jwks):
    sent = claims()
    token = joserfc_jwt.encode(header(keys["ES256"], kid="ES256"), sent, keys["ES256"].jose, algorithms=["ES256"])
    assert verify(jwks, token, "--json").json() == sent


def test_what_was_not_checked_is_said(keys, jwks):
    done = ok("token", "verify", "--jwks", jwks, stdin=token_of(keys["ES256"]))
    assert "issuer was not checked" in done.stderr and "audience was not checked" in done.stderr


NOW = int(time.time())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exp": NOW - 31}, "exp"), ({"exp": None}, "exp"), ({"exp": str(NOW + 300)}, "exp"),
        ({"nbf": NOW + 3600}, "nbf"), ({"iat": NOW + 3600, "exp": NOW + 7200}, "iat"), ({"iat": None}, "iat"),
        ({"iss": "https://other.example"}, "iss"), ({"iss": ISSUER + "/"}, "iss"), ({"iss": None}, "iss"),
        ({"aud": "https://other.example"}, "aud"), ({"aud": ["https://other.example"]}, "aud"), ({"aud": None}, "aud"),
        ({"sub": None}, "sub"), ({"jti": None}, "jti"), ({"scope": "acme:reading acme"}, "scope"), ({"scope": None}, "scope"),
        ({"scope": ["acme:read"]}, "scope"),
    ],
)  # fmt: skip
def test_claims_that_are_refused(keys, jwks, changes, says):
    token = compact(header(keys["ES256"], kid="ES256"), claims(**changes), keys["ES256"])
    verify(jwks, token, "--scope", "acme:read", status=REFUSED, says=["not valid", says])


def test_audience_may_be_one_of_several(keys, jwks):
    verify(jwks, token_of(keys["ES256"], aud=["https://other.example", AUDIENCE]))


@pytest.mark.parametrize(
    "payload", ['{"exp":1.5}', '{"exp":99999999999999999999}', '{"sub":"a","sub":"b"}', "[]", '"text"', "no json", '{"exp":-1}']
)
def test_payloads_that_are_refused(keys, jwks, payload):
    verify(jwks, compact(header(keys["ES256"], kid="ES256"), payload, keys["ES256"]), status=REFUSED, says="not valid")


@pytest.mark.parametrize("typ", [None, "JWT", "client-authentication+jwt", "jwt+at"])
def test_other_kinds_of_jwt_are_refused(keys, jwks, typ):
    token = compact(header(keys["ES256"], kid="ES256", typ=typ), claims(), keys["ES256"])
    verify(jwks, token, status=REFUSED, says="typ")


@pytest.mark.parametrize("kid", ["unknown", None, "../ES256", "ES384"])
def test_the_kid_decides_the_key(keys, jwks, kid):
    token = compact(header(keys["ES256"], kid=kid), claims(), keys["ES256"])
    verify(jwks, token, status=REFUSED, says="not valid")


def test_confusion_of_keys_and_algorithms_is_refused(keys, jwks):
    rsa = keys["RS256"]
    text = signing_input({"alg": "HS256", "typ": "at+jwt", "kid": "RS256"}, claims())
    mac = hmac.new(rsa.public_pem(), text.encode(), hashlib.sha256).digest()
    verify(jwks, f"{text}.{b64u(mac)}", status=REFUSED, says="alg")
    verify(jwks, compact({"alg": "none", "typ": "at+jwt", "kid": "RS256"}, claims(), signature=b"x"), status=REFUSED, says="alg")
    verify(jwks, compact(header(rsa, kid="PS256"), claims(), rsa), status=REFUSED)
    head, body, sig = token_of(rsa).split(".")
    verify(jwks, f"{head}.{b64u(as_bytes(claims(sub='root')))}.{sig}", status=REFUSED, says="signature")


def test_keys_that_are_not_understood_are_left_out(keys, write):
    file = write("jwks.json", {"keys": [{"kty": "new", "kid": "n"}, keys["ES256"].jwk(kid="ES256")]})
    verify(file, token_of(keys["ES256"]))


@pytest.mark.parametrize("content", ["{}", '{"keys":[]}', "[]", "x", '{"keys":[{"kty":"oct","k":"AA"}]}'])
def test_key_sets_without_a_key(keys, write, content):
    verify(write("jwks.json", content), token_of(keys["ES256"]), status=UNAVAILABLE)


def test_key_set_that_cannot_be_fetched(keys):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}/jwks.json"
        verify(url, token_of(keys["ES256"]), status=UNAVAILABLE, says="NEXUS_URL")
    verify("http://broker.example/jwks.json", token_of(keys["ES256"]), status=USAGE, says="https")


# --- the command line

COMMANDS = [
    "agents register", "agents list", "agents get", "agents update", "agents activate", "agents deactivate", "agents delete",
    "sessions open", "sessions list", "sessions get", "sessions close",
    "issuers add", "issuers list", "issuers get", "issuers update", "issuers remove",
    "scopes define", "scopes list", "scopes get", "scopes update", "scopes remove",
    "token verify", "jws verify", "completion bash", "version",
]  # fmt: skip


def test_help_names_every_command_and_the_exit_status():
    text = ok("--help").stdout.decode()
    for command in COMMANDS:
        assert f"  {command} " in text
    assert "Exit status:" in text and "NEXUS_API_KEY_FILE" in text
    assert ok("help").stdout == text.encode()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    words = command.split()
    text = ok(*words, "--help").stdout.decode()
    assert text.startswith(f"usage: nexus {command} ") and "--json" in text
    fails(USAGE, *words, "--no-such-option", says=[f"usage: nexus {command} ", "--no-such-option"])


def test_help_of_a_group():
    assert "sessions close ID" in ok("sessions", "--help").stdout.decode()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "a command is needed"), (["nope"], "no such command: nope"), (["agents", "nope"], "agents nope"), (["agents"], "a command is needed"),
        (["agents", "get"], "ID is needed"), (["agents", "get", "a", "b"], "one word too many: b"), (["agents", "get", ""], "ID is empty"),
        (["agents", "register"], "--id"), (["agents", "register", "--id"], "needs a value"), (["agents", "register", "--id="], "empty"),
        (["agents", "register", "--id", "a", "--id", "b"], "twice"), (["agents", "register", "--id", "a"], "--public-key"),
        (["agents", "list", "--limit", "0"], "--limit"), (["agents", "list", "--limit", "1e2"], "--limit"), (["agents", "list", "--limit", "-5"], "--limit"),
        (["agents", "list", "--all=yes"], "no value"), (["agents", "list", "--active", "--inactive"], "exclude"), (["agents", "list", "--act"], "--act"),
        (["agents", "list", "-x"], "-x"), (["agents", "update", "a"], "nothing to change"), (["sessions", "open"], "--agent"),
        (["sessions", "open", "--agent", "a", "--key-file", "k", "--scope", "s"], "--token-file"), (["jws", "verify"], "--jwk"),
        (["version", "x"], "too many"), (["agents", "list"], "needs an API key"),
    ],
)  # fmt: skip
def test_wrong_command_lines(words, says):
    fails(USAGE, *words, says=says)


def test_errors_as_json():
    done = fails(USAGE, "--json", "agents", "get", "--", "-a", "-b")
    assert json.loads(done.stderr) == {"error": "usage", "message": "one word too many: -b"}


@pytest.mark.parametrize("words", [["nope"], ["agents", "nope"], ["agents", "get", "a", "--nope"]])
def test_errors_as_json_when_the_wish_stands_last(words):
    done = fails(USAGE, *words, "--json")
    assert json.loads(done.stderr)["error"] == "usage"
    assert "nope" in json.loads(done.stderr)["message"]


def test_version(keys):
    version = ok("version", "--json").json()["version"]
    assert ok("version").stdout.decode() == f"nexus {version}\n"


def test_completion_is_a_script_that_knows_the_tables(tmp_path):
    script = tmp_path / "completion"
    script.write_bytes(ok("completion", "bash").stdout)
    probe = f'. {script}; COMP_WORDS=(nexus agents register --pu); COMP_CWORD=3; _nexus; echo "${{COMPREPLY[*]}}"'
    assert subprocess.run(["bash", "-c", probe], capture_output=True, check=True).stdout == b"--public-key\n"


def test_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "wb") as full:
        assert subprocess.run([program(), "--help"], stdout=full, stderr=subprocess.PIPE, check=False).returncode == UNAVAILABLE


def test_secrets_that_others_can_read_are_not_used(write, tmp_path):
    file = write("key", "nxk_secret")
    os.chmod(file, 0o644)
    done = fails(UNAVAILABLE, "agents", "list", "--api-key-file", file, says="chmod 0600")
    assert "nxk_secret" not in done.stderr
    fails(UNAVAILABLE, "agents", "list", "--api-key-file", tmp_path / "gone", says="No such file")
    done = fails(UNAVAILABLE, "agents", "list", "--api-key-file", private_file(tmp_path / "two", "nxk_a\nX-Evil: 1"), says="one line")
    assert "nxk_a" not in done.stderr


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://user:pw@127.0.0.1", "http://broker.example", "not a url"])
def test_urls_that_are_refused(tmp_path, url):
    key = private_file(tmp_path / "key", "nxk_x")
    done = fails(USAGE, "agents", "list", "--api-key-file", key, env={"NEXUS_URL": url})
    assert "pw" not in done.stderr
