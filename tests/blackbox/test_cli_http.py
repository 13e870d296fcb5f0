# SPDX-License-Identifier: Apache-2.0
"""What `nexus` sends to a broker, and what it makes of answers that a good broker never gives. The broker here is a
few lines of Python, so every byte of both directions is the test's."""

import datetime
import ipaddress
import json
import os
import ssl
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from joserfc import jwt as joserfc_jwt

from cliprogram import REFUSED, UNAVAILABLE, USAGE, fails, nexus, ok, private_file
from lib.keys import ASSERTION_TYPE, KINDS, Key

AGENT = {
    "active": True, "agent_id": "glider", "allowed_audiences": [], "allowed_scopes": ["acme:read", "acme:gliding"],
    "created_at": "2026-01-02T03:04:05Z", "description": "books gliders", "jwks": {"keys": [{"kid": "k1"}, {"kid": "k2"}]},
    "max_ttl_seconds": 900, "updated_at": "2026-01-02T03:04:05Z", "workspaces": ["w"],
}  # fmt: skip
SESSION = {
    "access_token": "tok.en.sig", "active": True, "agent_id": "glider", "audience": "x", "clearance_level": 1,
    "created_at": "2026-01-02T03:04:05Z", "expires_at": "2026-01-02T03:19:05Z", "obo": False, "scopes_granted": ["acme:read"],
    "session_id": "sess_1", "session_token": "tok.en.sig", "token_type": "session",
}  # fmt: skip


class FakeBroker:
    """answers: (status, body, headers) by "METHOD path"; the rest is 404. requests: what came."""

    def __init__(self):
        self.answers, self.requests = {}, []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fake.requests.append((self.command, self.path, self.headers, body))
                status, text, headers = fake.answers.get(f"{self.command} {self.path}", (404, "gone", {}))
                text = text if isinstance(text, bytes) else text.encode() if isinstance(text, str) else json.dumps(text).encode()
                self.send_response(status)
                for name, value in {"Content-Length": len(text), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def says(self, line, body, status=200, **headers):
        self.answers[line] = (status, body, {k.replace("_", "-"): v for k, v in headers.items()})

    def last(self):
        return self.requests[-1]


@pytest.fixture
def fake():
    broker = FakeBroker()
    yield broker
    broker.server.shutdown()
    broker.server.server_close()


@pytest.fixture
def env(fake, tmp_path):
    return {"NEXUS_URL": fake.url, "NEXUS_API_KEY_FILE": str(private_file(tmp_path / "api.key", "nxk_api\n"))}


def pem_of(key, path):
    text = key.private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private_file(path, text)


# --- agents


@pytest.mark.parametrize("kind", KINDS)
def test_register_sends_the_public_key_of_a_pem(fake, env, tmp_path, kind):
    fake.says("POST /admin/v1/agents", AGENT, 201)
    key = Key(kind)
    (tmp_path / "pub.pem").write_bytes(key.public_pem())
    words = ["--alg", kind] if kind in ("RS256", "PS256") else []
    done = ok("agents", "register", "--id", "glider", "--scope", "acme:read", "--scope=acme:gliding", "--public-key", tmp_path / "pub.pem", *words, env=env)
    _, _, headers, body = fake.last()
    assert json.loads(body) == {"agent_id": "glider", "allowed_scopes": ["acme:read", "acme:gliding"], "jwks": {"keys": [key.jwk()]}}
    assert headers["Content-Type"] == "application/json" and headers["X-API-Key"] == "nxk_api"
    lines = dict(line.split(None, 1) for line in done.stdout.decode().splitlines())
    assert lines["agent"] == "glider" and lines["active"] == "yes" and lines["keys"] == "k1 k2"


def test_register_sends_all_it_is_told(fake, env, tmp_path):
    fake.says("POST /admin/v1/agents", AGENT, 201)
    one, two = Key("EdDSA"), Key("ES384")
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [{**one.jwk(), "note": "stays here"}]}))
    (tmp_path / "pub.pem").write_bytes(two.public_pem())
    done = ok(
        "agents", "register", "--id", "glider", "--jwks", tmp_path / "jwks.json", "--public-key", tmp_path / "pub.pem", "--scope", "a",
        "--description", "für Segler", "--audience", "https://a", "--audience", "https://b", "--workspace", "w", "--max-ttl", "60", "--json", env=env,
    )  # fmt: skip
    assert json.loads(fake.last()[3]) == {
        "agent_id": "glider", "allowed_scopes": ["a"], "description": "für Segler", "allowed_audiences": ["https://a", "https://b"],
        "workspaces": ["w"], "max_ttl_seconds": 60, "jwks": {"keys": [one.jwk(), two.jwk()]},
    }  # fmt: skip
    assert done.stdout.decode() == json.dumps(AGENT) + "\n"


@pytest.mark.parametrize("form", ["pem", "jwk", "jwks"])
def test_a_private_key_never_leaves(fake, env, tmp_path, form):
    key = Key("ES256")
    file = pem_of(key, tmp_path / "k.pem")
    if form != "pem":
        file = tmp_path / "k.json"
        file.write_text(json.dumps(key.private_jwk() if form == "jwk" else {"keys": [key.private_jwk()]}))
    option = "--public-key" if form == "pem" else "--jwks"
    says = "that is a private key" if form == "pem" else "private or symmetric key"
    done = fails(UNAVAILABLE, "agents", "register", "--id", "a", option, file, env=env, says=says)
    assert fake.requests == [] and key.private_jwk()["d"] not in done.stderr


def test_update_sends_only_what_is_given(fake, env):
    fake.says("PATCH /admin/v1/agents/glider", AGENT)
    ok("agents", "update", "glider", "--description", "", "--no-workspaces", env=env)
    assert json.loads(fake.last()[3]) == {"description": "", "workspaces": []}
    ok("agents", "deactivate", "glider", env=env)
    assert json.loads(fake.last()[3]) == {"active": False}
    ok("agents", "activate", "glider", env=env)
    assert json.loads(fake.last()[3]) == {"active": True}


@pytest.mark.parametrize(("name", "path"), [("a/b", "a%2Fb"), ("..", ".."), ("a b?x=1#y", "a%20b%3Fx%3D1%23y"), ("ä", "%C3%A4")])
def test_ids_stay_within_their_segment(fake, env, name, path):
    fake.says(f"GET /admin/v1/agents/{path}", AGENT)
    ok("agents", "get", name, env=env)


def test_list_shows_a_table_and_says_that_there_is_more(fake, env):
    other = {**AGENT, "agent_id": "a-much-longer-name", "description": "x\x1b[31m\x9b\x7fy"}
    fake.says("GET /admin/v1/agents?active=true&limit=2", {"agents": [AGENT, other], "next_cursor": "c+1"})
    done = ok("agents", "list", "--active", "--limit", "2", env=env)
    lines = done.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["AGENT", "glider", "a-much-longer-name"]
    assert len({line.index("ACTIVE" if i == 0 else "yes") for i, line in enumerate(lines)}) == 1
    assert lines[2].endswith("x?[31m???y")
    assert "--cursor c+1" in done.stderr


def test_list_as_json_is_what_the_broker_said(fake, env):
    page = {"agents": [AGENT], "next_cursor": "c"}
    fake.says("GET /admin/v1/agents", page)
    done = ok("agents", "list", "--json", env=env)
    assert done.stdout.decode() == json.dumps(page) + "\n" and done.stderr == ""


def test_list_of_all_pages(fake, env):
    second, third = {**AGENT, "agent_id": "second"}, {**AGENT, "agent_id": "third"}
    fake.says("GET /admin/v1/agents", {"agents": [AGENT, second], "next_cursor": "a b"})
    fake.says("GET /admin/v1/agents?cursor=a%20b", {"agents": [], "next_cursor": "c"})
    fake.says("GET /admin/v1/agents?cursor=c", {"agents": [third]})
    assert ok("agents", "list", "--all", "--json", env=env).json() == {"agents": [AGENT, second, third]}
    assert len(ok("agents", "list", "--all", env=env).stdout.splitlines()) == 4


# --- sessions


def issuer(fake, name=None):
    fake.says("GET /.well-known/oauth-authorization-server", {"issuer": name or fake.url})


def open_words(tmp_path, key):
    return ["sessions", "open", "--agent", "glider", "--key-file", pem_of(key, tmp_path / "agent.pem"), "--scope", "acme:read"]


@pytest.mark.parametrize("kind", KINDS)
def test_open_proves_the_agent_by_a_good_assertion(fake, env, tmp_path, kind):
    issuer(fake)
    fake.says("POST /v1/agent-sessions", SESSION, 201)
    key = Key(kind)
    words = [*open_words(tmp_path, key), "--ttl", "60", "--audience", "https://a", "--json"]
    if kind == "PS256":
        words += ["--alg", "PS256"]
    done = ok(*words, env=env)
    assert done.stdout.decode() == json.dumps(SESSION) + "\n"
    _, _, headers, sent = fake.last()
    body = json.loads(sent)
    token = joserfc_jwt.decode(body.pop("client_assertion"), key.jose, algorithms=[kind])
    assert body == {
        "agent_id": "glider", "scopes": ["acme:read"], "ttl_seconds": 60, "audience": "https://a", "client_assertion_type": ASSERTION_TYPE,
    }  # fmt: skip
    assert token.header == {"alg": kind, "kid": key.kid, "typ": "client-authentication+jwt"}
    assert (token.claims["iss"], token.claims["sub"], token.claims["aud"]) == ("glider", "glider", fake.url)
    assert 0 < token.claims["exp"] - token.claims["iat"] <= 300 and len(token.claims["jti"]) >= 16
    # The agent's key is all that it takes.
    assert headers["X-API-Key"] is None and headers["Authorization"] is None


def test_every_assertion_is_another(fake, env, tmp_path):
    issuer(fake)
    fake.says("POST /v1/agent-sessions", SESSION, 201)
    key = Key("ES256")
    for _ in range(2):
        ok(*open_words(tmp_path, key), "--print-token", env=env)
    sent = [json.loads(r[3])["client_assertion"] for r in fake.requests if r[0] == "POST"]
    assert len({joserfc_jwt.decode(t, key.jose, algorithms=["ES256"]).claims["jti"] for t in sent}) == 2


def test_the_token_goes_where_it_was_asked_to(fake, env, tmp_path):
    issuer(fake)
    fake.says("POST /v1/agent-sessions", SESSION, 201)
    words = open_words(tmp_path, Key("ES256"))
    done = ok(*words, "--print-token", env=env)
    assert done.stdout == b"tok.en.sig\n" and "sess_1" in done.stderr
    done = ok(*words, "--token-file", tmp_path / "token", env=env)
    assert (tmp_path / "token").read_text() == "tok.en.sig"
    assert stat.S_IMODE(os.stat(tmp_path / "token").st_mode) == 0o600
    assert b"sess_1" in done.stdout and b"tok.en.sig" not in done.stdout and "tok.en.sig" not in done.stderr
    fails(UNAVAILABLE, *words, "--token-file", tmp_path / "no" / "token", env=env, says=["sess_1 is open", "sessions close"])


def test_another_issuer_gets_an_assertion_only_on_request(fake, env, tmp_path):
    issuer(fake, "https://other.example")
    words = [*open_words(tmp_path, Key("ES256")), "--print-token"]
    fails(USAGE, *words, env=env, says="--issuer https://other.example")
    assert [r[0] for r in fake.requests] == ["GET"]
    fake.says("POST /v1/agent-sessions", SESSION, 201)
    ok(*words, "--issuer", "https://other.example", env=env)


def test_private_keys_that_cannot_be_used(fake, env, tmp_path):
    issuer(fake)
    words = ["sessions", "open", "--agent", "a", "--scope", "s", "--print-token", "--issuer", "x", "--key-file"]
    key = Key("ES256")
    locked = key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw")
    )
    fails(UNAVAILABLE, *words, private_file(tmp_path / "locked", locked), env=env, says="unencrypted")
    fails(UNAVAILABLE, *words, private_file(tmp_path / "public", key.public_pem()), env=env, says="no unencrypted private key")
    shown = pem_of(key, tmp_path / "shown")
    os.chmod(shown, 0o644)
    fails(UNAVAILABLE, *words, shown, env=env, says="chmod 0600")
    assert fake.requests == []


def test_a_session_is_read_and_closed_by_its_token_or_a_key(fake, env, tmp_path):
    fake.says("GET /v1/agent-sessions/sess_1", SESSION)
    fake.says("DELETE /v1/agent-sessions/sess_1", {"active": False, "session_id": "sess_1", "status": "closed"})
    token = private_file(tmp_path / "token", "tok.en.sig\n")
    ok("sessions", "get", "sess_1", "--token-file", token, env=env)
    assert fake.last()[2]["Authorization"] == "Bearer tok.en.sig" and fake.last()[2]["X-API-Key"] is None
    done = ok("sessions", "close", "sess_1", env=env)
    assert fake.last()[2]["X-API-Key"] == "nxk_api" and fake.last()[2]["Authorization"] is None
    assert b"closed" in done.stdout


def test_filters_of_the_list_of_sessions(fake, env):
    fake.says(
        "GET /admin/v1/sessions?agent=glider&acting_for=u%26v&since=2026-01-02T03%3A04%3A05Z&active=false&limit=5&cursor=c",
        {"sessions": [SESSION]},
    )
    words = ["--agent", "glider", "--acting-for", "u&v", "--since", "2026-01-02T03:04:05Z", "--inactive", "--limit", "5", "--cursor", "c"]
    done = ok("sessions", "list", *words, env=env)
    assert b"sess_1" in done.stdout and b"tok.en.sig" not in done.stdout


def test_which_key_is_used(fake, env, tmp_path):
    fake.says("GET /admin/v1/agents", {"agents": []})
    fake.says("GET /v1/agent-sessions/s", SESSION)
    both = {**env, "NEXUS_ADMIN_KEY_FILE": str(private_file(tmp_path / "admin.key", "nxk_admin"))}
    given = private_file(tmp_path / "given.key", "nxk_given")
    for words, expected in [
        (["agents", "list"], "nxk_admin"),
        (["sessions", "get", "s"], "nxk_api"),
        (["agents", "list", "--api-key-file", given], "nxk_given"),
        (["--api-key-file", given, "agents", "--json", "list"], "nxk_given"),
    ]:
        ok(*words, env=both)
        assert fake.last()[2]["X-API-Key"] == expected


# --- token verify over HTTP


def test_key_set_of_the_broker_or_of_a_url(fake, env):
    key = Key("ES256")
    fake.says("GET /.well-known/jwks.json", {"keys": [key.jwk()]})
    fake.says("GET /elsewhere", {"keys": [key.jwk()]})
    claims = {"iss": "i", "sub": "s", "aud": "a", "iat": 1, "exp": 4102444800, "jti": "j"}
    token = joserfc_jwt.encode({"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}, claims, key.jose)
    ok("token", "verify", "--issuer", "i", stdin=token, env=env)
    assert fake.last()[2]["X-API-Key"] is None
    ok("token", "verify", "--jwks", f"{fake.url}/elsewhere", stdin=token)
    fails(UNAVAILABLE, "token", "verify", "--jwks", f"{fake.url}/nothing", stdin=token)


# --- answers


def test_errors_of_the_broker_are_shown_with_advice(fake, env):
    error = {"error": "agent_not_found", "message": "No agent of that id is registered"}
    fake.says("GET /admin/v1/agents/x", error, 404, X_Request_Id="req-7")
    done = fails(REFUSED, "agents", "get", "x", env=env)
    for word in ["No agent of that id", "agent_not_found", "404", "req-7", "nexus agents list"]:
        assert word in done.stderr
    shown = json.loads(fails(REFUSED, "agents", "get", "x", "--json", env=env).stderr)
    assert shown["error"] == "agent_not_found" and shown["request_id"] == "req-7"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_trouble_has_its_own_exit_status(fake, env, status):
    fake.says("GET /admin/v1/agents/x", {"error": "overloaded", "message": "wait"}, status)
    fails(UNAVAILABLE, "agents", "get", "x", env=env, says="wait")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>"), (200, "[]"), (200, '{"a":1,"a":2}'), (200, ""), (200, "x" * (2 << 20)), (404, "<html>"),
        (502, '{"error":5}'), (204, ""),
    ],
)  # fmt: skip
def test_answers_of_something_else(fake, env, status, body):
    fake.says("GET /admin/v1/agents/x", body, status)
    fails(UNAVAILABLE, "agents", "get", "x", env=env)


def test_list_without_its_array(fake, env):
    fake.says("GET /admin/v1/agents", {"agent": []})
    fails(UNAVAILABLE, "agents", "list", env=env, says="agents")


def test_redirects_are_not_followed(fake, env):
    fake.says("GET /admin/v1/agents/x", "", 302, Location=f"{fake.url}/admin/v1/agents/y")
    fake.says("GET /admin/v1/agents/y", AGENT)
    fails(UNAVAILABLE, "agents", "get", "x", env=env, says="redirect")
    assert len(fake.requests) == 1


def test_control_characters_of_an_answer_do_not_reach_the_terminal(fake, env):
    fake.says("GET /admin/v1/agents/x", {"error": "e\x1b[2J", "message": "m\r\n\x07\u009b1m"}, 400)
    done = nexus("agents", "get", "x", env=env)
    assert done.status == REFUSED
    assert not [c for c in done.stderr.rstrip("\n") if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0]


def test_a_broker_that_is_not_there(env):
    done = fails(UNAVAILABLE, "agents", "list", env={**env, "NEXUS_URL": "http://127.0.0.1:1"})
    assert "NEXUS_URL" in done.stderr and "scripts/stack status" in done.stderr


def test_proxies_do_not_see_what_stays_on_this_machine(fake, env):
    fake.says("GET /admin/v1/agents", {"agents": []})
    ok("agents", "list", env={**env, "http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"})


@pytest.fixture
def tls(fake, tmp_path):
    """Puts TLS in front of the fake broker; returns the certificate's file."""
    key = Key("ES256").private
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a CA of one's own")])
    begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=1))
        .add_extension(address, critical=False).add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path / "ca.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, private_file(tmp_path / "tls.key", plain))
    fake.server.socket = context.wrap_socket(fake.server.socket, server_side=True)
    fake.server.handle_error = lambda *_: None
    return file


def test_tls_is_verified(fake, env, tls):
    fake.says("GET /admin/v1/agents", {"agents": []})
    port = fake.server.server_port
    words = ["agents", "list", "--url", f"https://127.0.0.1:{port}"]
    fails(UNAVAILABLE, *words, env=env, says="--ca-file")
    assert fake.requests == []
    ok(*words, "--ca-file", tls, env=env)
    ok(*words, env={**env, "NEXUS_CA_FILE": str(tls)})
    # The certificate is for another name.
    fails(UNAVAILABLE, "agents", "list", "--url", f"https://localhost:{port}", "--ca-file", tls, env=env)
    assert len(fake.requests) == 2
