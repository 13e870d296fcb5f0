# SPDX-License-Identifier: Apache-2.0
"""docs/verifying.md: its commands as they stand there, and its example, which lets good tokens pass and refuses, with its
reason, whatever breaks one of the rules."""

import hmac
import io
import json
import os
import re
import runpy
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest

from lib import obo
from lib.delegation import delegate, line, new_user, trusted_issuer
from lib.dpop import DPoPKey
from lib.issuer import Issuer
from lib.keys import Key, compact, parts
from lib.loopback import redirect, says, status
from lib.oauth import INTROSPECT_PATH, OAuthClient
from lib.shim import ROOT
from lib.verify import jwks_of

DOCUMENT = (ROOT / "docs" / "verifying.md").read_text()
PROGRAM = "docs/examples/verify_token.py"
LEDGER = "https://ledger.example"
URL = f"{LEDGER}/payments"
SCOPE = "ledger:read"


def verify(issuer, token, *more, audience=LEDGER, scopes=(SCOPE,)):
    """The program with these arguments: (its exit status, what it printed, why it refused)."""
    arguments = ["--issuer", issuer, "--audience", audience, *(x for s in scopes for x in ("--scope", s)), *more]
    out, err = io.StringIO(), io.StringIO()
    stdin, argv = sys.stdin, sys.argv
    sys.stdin, sys.argv = io.StringIO(f"{token}\n"), [PROGRAM, *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            runpy.run_path(str(ROOT / PROGRAM), run_name="__main__")
    except SystemExit as end:
        return 1 if isinstance(end.code, str) else end.code, out.getvalue(), str(end.code)
    finally:
        sys.stdin, sys.argv = stdin, argv
    return 0, out.getvalue(), err.getvalue()


def passes(issuer, token, *more, **how):
    code, out, why = verify(issuer, token, *more, **how)
    assert code == 0, why
    return json.loads(out)


def refused(issuer, token, word, *more, **how):
    code, out, why = verify(issuer, token, *more, **how)
    assert code == 1 and out == "" and why.startswith("refused: "), (code, out, why)
    assert word in why, why
    assert len(token) < 20 or token not in why


# --- the commands of the document


def command(name):
    """The one block of the document that holds this."""
    [block] = [b.strip() for b in re.findall(r"```\n(.*?)```", DOCUMENT, re.S) if name in b]
    return block


def run(text, folder, **env):
    """As in a reader's shell, in a folder that has the documents."""
    if not (folder / "docs").exists():
        (folder / "docs").symlink_to(ROOT / "docs")
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", text], cwd=folder, env={"PATH": path, **env}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def client(broker, agent):
    return OAuthClient(broker, agent(scopes=["ledger:read", "ledger:write"], allowed_audiences=[LEDGER]))


def good(client, scope=SCOPE, **more):
    return client.client_credentials(scope, audience=LEDGER, **more)["access_token"]


def test_program_as_the_document_runs_it(broker, client, tmp_path):
    token = good(client)
    (tmp_path / "token").write_text(token + "\n")
    done = run(command("verify_token.py"), tmp_path, ISSUER=broker.issuer)
    assert (done.returncode, done.stderr) == (0, "")
    claims = parts(token)[1]
    assert json.loads(done.stdout) == {
        "subject": client.agent.id,
        "subject_is": "ai_agent",
        "actors": [client.agent.id],
        "scope": SCOPE,
        "session": claims["sid"],
        "expires_at": claims["exp"],
    }
    (tmp_path / "token").write_text(token[:-8] + "AAAAAAAA")
    done = run(command("verify_token.py"), tmp_path, ISSUER=broker.issuer)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("refused: ")


def test_introspection_as_the_document_runs_it(broker, client, tmp_path):
    token = good(client)
    # Files as an editor leaves them.
    (tmp_path / "token").write_text(token + "\n")
    (tmp_path / "gateway.header").write_text(f"X-API-Key: {broker.gateway_key}\n")
    done = run(command("curl"), tmp_path, NEXUS_URL=broker.url)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer.pop("active") is True and answer.pop("token_type") == "Bearer"
    assert answer == parts(token)[1]
    client.revoke(token)
    assert json.loads(run(command("curl"), tmp_path, NEXUS_URL=broker.url).stdout) == {"active": False}


# --- tokens of a broker


def test_who_acts_for_whom(broker, client):
    user = new_user()
    scopes = ["ledger:read", "ledger:write"]
    clients = line(broker, 3, scopes=scopes, allowed_audiences=[LEDGER])
    ids = [c.agent.id for c in clients]
    with trusted_issuer(broker) as issuer:
        users = issuer.token(user, claims={"permissions": scopes})
        session = obo.session(client.agent, users, scopes=[SCOPE], audience=LEDGER)
        grants = delegate(clients, users, audience=LEDGER)
    told = passes(broker.issuer, session["session_token"])
    assert (told["subject"], told["subject_is"], told["actors"]) == (user, "user", [client.agent.id])
    for n, grant in enumerate(grants):
        told = passes(broker.issuer, grant["access_token"], scopes=scopes)
        assert (told["subject"], told["subject_is"], told["actors"]) == (user, "user", ids[n::-1])
    # An agent can be whom others act for.
    own = clients[0].client_credentials(SCOPE)["access_token"]
    then = clients[1].token_exchange(own, audience=LEDGER)
    told = passes(broker.issuer, then["access_token"])
    assert (told["subject"], told["subject_is"], told["actors"]) == (ids[0], "ai_agent", [ids[1]])


def test_token_that_is_not_for_this_request(broker, client):
    token = good(client)
    passes(broker.issuer, token)
    refused(broker.issuer, token, "insufficient_scope: ledger:write", scopes=["ledger:read", "ledger:write"])
    refused(broker.issuer, token, "aud", audience="https://other.example")
    refused(broker.issuer, token, "aud", audience=LEDGER + "/")
    refused(broker.issuer, client.client_credentials(SCOPE)["access_token"], "aud")
    form = [("grant_type", "client_credentials"), ("scope", SCOPE), ("audience", broker.issuer), ("audience", LEDGER)]
    for_two = client.raw_token(form).json()["access_token"]
    passes(broker.issuer, for_two)
    passes(broker.issuer, for_two, audience=broker.issuer)


def test_other_things_that_a_broker_takes_are_no_session_tokens(broker, client):
    with trusted_issuer(broker) as issuer:
        for token in (client.agent.assertion(), issuer.token(claims={"aud": LEDGER}), issuer.id_jag(client.agent),
                      DPoPKey().proof("GET", URL)):  # fmt: skip
            refused(broker.issuer, token, "typ is not at+jwt")
    for garbage in ("x.y.z", "x", ".."):
        refused(broker.issuer, garbage, "DecodeError")


def test_bound_token_with_its_proof(broker, client):
    client.dpop = key = DPoPKey()
    token = good(client)
    refused(broker.issuer, token, "ask for the DPoP proof")
    # Query and fragment are no part of htu.
    for said, url in ((URL, URL), (URL, URL + "?a=1#b"), (URL + "?a=1", URL)):
        proof = key.proof("POST", said, token)
        told = passes(broker.issuer, token, "--proof", proof, "--method", "POST", "--url", url)
        assert told["actors"] == [client.agent.id]
    assert verify(broker.issuer, token, "--proof", proof)[0] == 2


def test_bound_token_by_keys_of_each_kind(broker, client):
    for kind in ("ES384", "EdDSA", "RS256", "PS256"):
        client.dpop = DPoPKey(kind)
        token = good(client)
        passes(broker.issuer, token, "--proof", client.dpop.proof("GET", URL, token), "--method", "GET", "--url", URL)


def test_ended_session_is_not_seen_offline(broker, client):
    """As the document warns."""
    token = good(client)
    client.revoke(token)
    passes(broker.issuer, token)


# --- each rule in turn, with tokens of an issuer that the tests control


class Signer(Issuer):
    """Serves metadata and keys as a broker does, and signs whatever it is asked to."""

    def session_token(self, header=None, claims=None, **how):
        now = int(time.time())
        common = {"aud": LEDGER, "sub": "a", "client_id": "a", "scope": SCOPE, "sid": "sess_1", "nbf": now}
        about = {"tenant_id": None, "clearance_level": None, "permissions": None}
        return self.token("a", {"typ": "at+jwt", **(header or {})}, {**common, **about, **(claims or {})}, **how)


@pytest.fixture(scope="module")
def signer():
    with Signer(LEDGER) as it:
        yield it


@pytest.fixture
def well(signer):
    """The signer, which behaves when the test begins, and again when it has ended."""
    yield signer
    signer.behave()
    signer.change_metadata()
    signer.serve_keys()


def now(seconds):
    return int(time.time()) + seconds


class Hmac:
    def __init__(self, secret):
        self.secret = secret

    def sign(self, data):
        return hmac.digest(self.secret, data, "sha256")


GOOD = {
    "as it is": lambda s: s.session_token(),
    "typ in full": lambda s: s.session_token(header={"typ": "application/at+jwt"}),
    "typ in upper case": lambda s: s.session_token(header={"typ": "AT+JWT"}),
    "aud is a list": lambda s: s.session_token(claims={"aud": ["https://other.example", LEDGER]}),
    "exp passed just now": lambda s: s.session_token(claims={"exp": now(-10), "iat": now(-100)}),
    "nbf in a moment": lambda s: s.session_token(claims={"nbf": now(10)}),
    "no nbf": lambda s: s.session_token(claims={"nbf": None}),
}
BROKEN = {
    "typ JWT": ("typ", lambda s: s.session_token(header={"typ": "JWT"})),
    "typ of a self test": ("typ", lambda s: s.session_token(header={"typ": "nexus-selftest+jwt"})),
    "typ of a call": ("typ", lambda s: s.session_token(header={"typ": "nexus-call+jwt"})),
    "typ of a proof": ("typ", lambda s: s.session_token(header={"typ": "dpop+jwt"})),
    "no typ": ("typ", lambda s: s.session_token(header={"typ": None})),
    "no kid": ("kid", lambda s: s.session_token(header={"kid": None})),
    "unknown kid": ("kid", lambda s: s.session_token(header={"kid": "x"})),
    "another's signature": ("signature", lambda s: s.session_token(key=Key("ES256", kid=s.key.kid))),
    "no signature": ("signature", lambda s: s.session_token(signature=b"")),
    "zeros": ("signature", lambda s: s.session_token(signature=bytes(64))),
    "alg none": ("", lambda s: s.session_token(header={"alg": "none"}, signature=b"")),
    "HMAC by the public key": ("", lambda s: by_hmac(s)),
    "key in the header": ("signature", lambda s: with_own_key(s)),
    "iss another": ("iss", lambda s: s.session_token(claims={"iss": "https://other.example"})),
    "iss with a slash": ("iss", lambda s: s.session_token(claims={"iss": s.issuer + "/"})),
    "no iss": ("iss", lambda s: s.session_token(claims={"iss": None})),
    "aud another": ("aud", lambda s: s.session_token(claims={"aud": "https://other.example"})),
    "aud longer": ("aud", lambda s: s.session_token(claims={"aud": LEDGER + "/payments"})),
    "aud others": ("aud", lambda s: s.session_token(claims={"aud": ["https://other.example", LEDGER + "/"]})),
    "aud empty": ("aud", lambda s: s.session_token(claims={"aud": []})),
    "no aud": ("aud", lambda s: s.session_token(claims={"aud": None})),
    "exp passed": ("exp", lambda s: s.session_token(claims={"exp": now(-31), "iat": now(-100)})),
    "exp a text": ("exp", lambda s: s.session_token(claims={"exp": str(now(60))})),
    "no exp": ("exp", lambda s: s.session_token(claims={"exp": None})),
    "nbf ahead": ("nbf", lambda s: s.session_token(claims={"nbf": now(60)})),
    "no scope": ("insufficient_scope", lambda s: s.session_token(claims={"scope": None})),
    "scope that begins alike": ("insufficient_scope", lambda s: s.session_token(claims={"scope": "ledger:reader"})),
    "scope in upper case": ("insufficient_scope", lambda s: s.session_token(claims={"scope": "LEDGER:READ"})),
    "no subject": ("sub", lambda s: s.session_token(claims={"sub": None})),
    "bound in an unknown way": ("cnf", lambda s: s.session_token(claims={"cnf": {"x5t#S256": "x"}})),
}


def by_hmac(s):
    header, claims = parts(s.session_token())
    return compact({**header, "alg": "HS256"}, claims, Hmac(s.key.public_pem()))


def with_own_key(s):
    own = Key("ES256")
    return s.session_token(header={"jwk": own.jwk(), "kid": s.key.kid}, key=own)


@pytest.mark.parametrize("name", GOOD)
def test_rules_that_are_kept(well, name):
    """Or else the refusals below would say nothing."""
    assert passes(well.issuer, GOOD[name](well))["actors"] == ["a"]


@pytest.mark.parametrize("name", BROKEN)
def test_rule_that_is_broken(well, name):
    word, make = BROKEN[name]
    refused(well.issuer, make(well), word)


def test_keys_that_cannot_be_had(well):
    token = well.session_token()
    well.change_metadata(issuer="https://other.example")
    refused(well.issuer, token, "the metadata is another issuer's")
    well.change_metadata(jwks_uri=None)
    refused(well.issuer, token, "jwks_uri")
    well.change_metadata()
    for path in (well.metadata_path, well.jwks_path):
        for how, word in ((status(500), "answers 500"), (redirect(well.jwks_uri), "answers 302"), (says("x"), "")):
            well.misbehave(path, how)
            refused(well.issuer, token, word)
            well.behave()
    well.serve_keys(Key("ES256").jwk())
    refused(well.issuer, token, "kid")
    well.serve_keys()
    passes(well.issuer, token)
    # A symmetric key where public ones should be makes no signature good.
    secret = well.serve_oct_key()
    header, claims = parts(token)
    refused(well.issuer, compact({**header, "alg": "HS256"}, claims, Hmac(secret)), "")


PROOFS = {
    "another key": ("another key", lambda k, t: DPoPKey().proof("POST", URL, t)),
    "another key in the header": ("signature", lambda k, t: DPoPKey().proof("POST", URL, t, header={"jwk": k.jwk})),
    "private key in the header": ("another key", lambda k, t: k.proof("POST", URL, t, header={"jwk": k.key.private_jwk()})),
    "no key in the header": ("jwk", lambda k, t: k.proof("POST", URL, t, header={"jwk": None})),
    "another method": ("another request", lambda k, t: k.proof("GET", URL, t)),
    "method in lower case": ("another request", lambda k, t: k.proof("post", URL, t)),
    "another URL": ("another request", lambda k, t: k.proof("POST", URL + "/1", t)),
    "another host": ("another request", lambda k, t: k.proof("POST", "https://other.example/payments", t)),
    "another token": ("another request", lambda k, t: k.proof("POST", URL, t + "x")),
    "no ath": ("another request", lambda k, t: k.proof("POST", URL)),
    "two minutes old": ("not fresh", lambda k, t: k.proof("POST", URL, t, claims={"iat": now(-120)})),
    "a minute ahead": ("not fresh", lambda k, t: k.proof("POST", URL, t, claims={"iat": now(60)})),
    "no iat": ("iat", lambda k, t: k.proof("POST", URL, t, claims={"iat": None})),
    "no jti": ("not fresh", lambda k, t: k.proof("POST", URL, t, claims={"jti": None})),
    "typ JWT": ("not a DPoP proof", lambda k, t: k.proof("POST", URL, t, header={"typ": "JWT"})),
    "alg none": ("not a DPoP proof", lambda k, t: k.proof("POST", URL, t, header={"alg": "none"}, signature=b"")),
    "HMAC": ("not a DPoP proof", lambda k, t: k.proof("POST", URL, t, header={"alg": "HS256"})),
    "broken signature": ("signature", lambda k, t: k.proof("POST", URL, t, signature=bytes(64))),
    "two proofs": ("", lambda k, t: ", ".join([k.proof("POST", URL, t)] * 2)),
    "the token itself": ("not a DPoP proof", lambda k, t: t),
    "nothing": ("", lambda k, t: ""),
}


@pytest.mark.parametrize("name", PROOFS)
def test_bound_token_with_a_proof_that_is_not_good(well, name):
    key = DPoPKey()
    token = well.session_token(claims={"cnf": {"jkt": key.jkt}})
    how = ("--method", "POST", "--url", URL)
    passes(well.issuer, token, "--proof", key.proof("POST", URL, token), *how)
    word, make = PROOFS[name]
    refused(well.issuer, token, word, "--proof", make(key, token), *how)


def test_unbound_token_that_comes_as_a_bound_one(well):
    token = well.session_token()
    proof = DPoPKey().proof("POST", URL, token)
    refused(well.issuer, token, "not bound to a key", "--proof", proof, "--method", "POST", "--url", URL)


def test_issuer_with_a_path():
    """RFC 8414 section 3.1"""
    with Signer(LEDGER, path="/tenant1") as it:
        assert passes(it.issuer, it.session_token())["subject"] == "a"


# --- what the document says of brokers


def test_document_is_true_about_keys(broker):
    """Five minutes, and keys of more than one use, which typ tells apart."""
    reply = broker.call("GET", "/.well-known/jwks.json")
    assert "max-age=300" in reply.headers["Cache-Control"]
    rows = broker.sql("SELECT kid, purpose FROM nexus.signing_keys WHERE state = 'active'")
    published = {k["kid"] for k in jwks_of(broker)["keys"]}
    assert {purpose for kid, purpose in rows if kid in published} == {"session", "call"}
    assert "**`typ`** must be `at+jwt`" in DOCUMENT


def test_introspection_tells_nothing_of_proofs(broker, client):
    client.dpop = DPoPKey()
    token = good(client)
    for proof in ("x", client.dpop.proof("POST", URL, token)):
        headers = {"DPoP": proof}
        answer = broker.call("POST", INTROSPECT_PATH, key=broker.gateway_key, headers=headers, data={"token": token}).json()
        assert (answer["active"], answer["cnf"]) == (True, {"jkt": client.dpop.jkt})
