# SPDX-License-Identifier: Apache-2.0
"""Attacks P01, T03, H15 and B01: text that means something to SQL, logs, URLs or PKCS#11 is text."""

import json
import re
import secrets
import socket
from urllib.parse import quote

import pytest

from lib import agents, audit
from lib.keys import Key, parts
from lib.verify import is_error
from lib.wait import until

AGENTS = "/admin/v1/agents"


def path_of(text):
    return quote(text, safe="") or "x"


# --- P01: strings that mean something to SQL

SQLISH = [
    "'", "''", "';--", "' OR '1'='1", "'; DROP TABLE nexus.agents; --", "\\'; SELECT pg_sleep(9); --", '"', "$$x$$", "$1", "%s", "{}",
    "{a,b}", '{"a",NULL}', "NULL", "null", "\\", "\\x41", "E'\\\\x41'", "/*", "*/", "--", "a\\nb", "1;2", "(SELECT 1)", "pg_sleep(5)",
    "${jndi:ldap://127.0.0.1/x}", "{{7*7}}", "`id`", "$(id)", "| cat /etc/passwd", "<script>alert(1)</script>", "=1+1", "\u2019 OR 1=1",
    "ſ", "Ω≈ç√∫", "😀", "\u202etxt", "\ufeff", "\u00a0", "田中さん", "%n%n%n%s", "../../etc/passwd", "file:///etc/passwd", "0x41", "1e309",
]  # fmt: skip



KEPT = ("agents", "agent_sessions", "api_keys", "signing_keys")


def kept(broker):
    counts = broker.row_counts()
    return {table: counts[table] for table in KEPT}, set(counts)


@pytest.mark.parametrize("text", SQLISH)
def test_P01_description_is_kept_as_it_came(broker, text):
    a = agents.register(broker, description=f"x{text}x")
    assert broker.admin("GET", f"{AGENTS}/{a.id}").json()["description"] == f"x{text}x"
    assert broker.sql("SELECT description FROM nexus.agents WHERE id = %s", a.id) == [(f"x{text}x",)]


@pytest.mark.parametrize("text", [text for text in SQLISH if re.fullmatch(r"[\x21-\x7e]+", text)])
def test_P01_names_are_kept_as_they_came(broker, text):
    """Lists travel to the database as arrays, whose text form has quotes, commas and braces of its own."""
    scopes = [text] if not re.search(r'["\\]', text) else []
    names = [text, f"{text},x", "NULL"]
    a = agents.register(broker, scopes=["acme:read", *scopes], workspaces=names, allowed_audiences=names)
    shown = broker.admin("GET", f"{AGENTS}/{a.id}").json()
    assert shown["workspaces"] == shown["allowed_audiences"] == names
    assert shown["allowed_scopes"] == ["acme:read", *scopes]
    session = a.session(scopes=["acme:read", *scopes], audience=text)
    claims = parts(session["session_token"])[1]
    assert claims["aud"] == text and claims["scope"] == " ".join(["acme:read", *scopes])
    assert broker.admin("GET", f"/v1/agent-sessions/{session['session_id']}").json()["scopes_granted"] == ["acme:read", *scopes]


def is_id(text):
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", text.strip()) is not None


@pytest.mark.parametrize("text", SQLISH)
def test_P01_every_other_field(broker, victim, text):
    session = victim.session()
    before = kept(broker)
    unknown_session = f"/v1/agent-sessions/{path_of(text)}"
    no_session = (400, "invalid_request") if "/" in text else (404, "session_not_found")
    no_agent = (400, "invalid_request") if "/" in text else (404, "agent_not_found")
    jwks = {"keys": [victim.key.jwk()]}
    scope_code = (400, "invalid_scope") if re.search(r'[^\x21\x23-\x5b\x5d-\x7e]', text) else (403, "scope_not_allowed")
    cases = [
        (broker.admin("POST", AGENTS, json={"agent_id": f"{text}'", "allowed_scopes": [], "jwks": jwks}), 400, "invalid_agent_id"),
        (broker.admin("PATCH", f"{AGENTS}/{victim.id}", json={"workspaces": [f"{text}\x01"]}), 400, "invalid_request"),
        (broker.admin("POST", AGENTS, json={"agent_id": "x", "allowed_scopes": [], "jwks": {**jwks, "x": text}, text: 1}), 400, "invalid_request"),
        (broker.admin("GET", f"{AGENTS}/{path_of(text)}"), *no_agent),
        (broker.admin("GET", AGENTS, params={"cursor": text}), 400, "invalid_request"),
        (broker.admin("GET", AGENTS, params={"active": text}), 400, "invalid_request"),
        (broker.admin("GET", AGENTS, params={"limit": text}), 400, "invalid_request"),
        (broker.admin("GET", AGENTS, params={f"active{text}": "true"}), 400, "invalid_request"),
        (broker.admin("GET", "/admin/v1/sessions", params={"cursor": text}), 400, "invalid_request"),
        (broker.admin("GET", "/admin/v1/sessions", params={"limit": text}), 400, "invalid_request"),
        (broker.admin("GET", "/admin/v1/sessions", params={"since": text}), 400, "invalid_request"),
        (broker.admin("GET", "/admin/v1/sessions", params={"until": text}), 400, "invalid_request"),
        (broker.admin("GET", unknown_session), *no_session),
        (broker.admin("DELETE", unknown_session), *no_session),
        (victim.open(agent_id=text), *((401, "invalid_client") if is_id(text) else (400, "invalid_agent_id"))),
        (victim.open(audience=text), 400, "invalid_target"),
        (victim.open(scopes=[text]), *scope_code),
        (victim.open(client_assertion_type=text), 401, "invalid_client"),
        (victim.open(assertion=text), 401, "invalid_client"),
        (victim.open(assertion=victim.assertion(header={"kid": text})), 401, "invalid_client"),
        (victim.open(assertion=victim.assertion(claims={"iss": text, "sub": text})), 401, "invalid_client"),
        (broker.call("GET", AGENTS, key=text.encode()), 403, "invalid_api_key"),
    ]  # fmt: skip
    for reply, status, code in cases:
        where = (reply.request.method, reply.request.url, reply.request.body)
        assert reply.status_code == status, (where, reply.text)
        assert reply.json()["error"] == code, (where, reply.text)
        for word in ("SQL", "syntax error", "postgres", "pg_catalog"):
            assert word not in reply.text or word in text
    for name in ("agent", "acting_for"):
        reply = broker.admin("GET", "/admin/v1/sessions", params={name: text})
        assert reply.status_code == 200 and reply.json()["sessions"] == [], (name, reply.text)
    assert kept(broker) == before
    assert broker.admin("GET", f"/v1/agent-sessions/{session['session_id']}").json()["active"] is True


@pytest.mark.parametrize("text", SQLISH)
def test_P01_one_time_id(victim, text):
    """Hashed before it goes anywhere; any text without control bytes will do."""
    assertion = victim.assertion(claims={"jti": f"{text}{secrets.token_hex(8)}"})
    assert victim.open(assertion=assertion).status_code == 201
    is_error(victim.open(assertion=assertion), 401, "invalid_client")


# --- T03: log injection

INJECTIONS = [
    "a\r\nb", "a\nlevel=error", '","level":"error","x":"', "a\x1b[31mred", "a\x00b", "a\u2028b", "a\u2029b", "a\x9b31m", "%n%s%x", "a\x7fb",
    "\u202egnp", "x" * 4096, "\\u000a", "a\tb", "{}[]", "\ud83d\ude00",
]  # fmt: skip



HEADERS = ["User-Agent", "X-Request-Id", "traceparent", "tracestate", "X-API-Key", "Authorization", "X-Forwarded-For", "Referer"]


def events_after(broker, offset, wanted):
    """All of the log from there on, once so many requests are in it; each line must be an event of its own."""

    def lines():
        return broker.log_file.read_bytes()[offset:].decode("ascii").split("\n")

    until(lambda: sum('"msg":"request"' in x for x in lines()) >= wanted, 10, f"{wanted} requests in the log")
    *whole, rest = lines()
    assert rest == "", "a line without its end"
    return [json.loads(line) for line in whole]


@pytest.mark.parametrize("text", INJECTIONS)
def test_T03_one_request_is_one_line(broker, victim, text):
    offset = broker.log_file.stat().st_size
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    replies = [
        victim.open(agent_id=text),
        victim.open(assertion=text),
        victim.open(client_assertion_type=text),
        victim.open(assertion=victim.assertion(header={"kid": text})),
        victim.open(assertion=victim.assertion(header={"alg": text})),
        victim.open(assertion=victim.assertion(header={"typ": text})),
        victim.open(assertion=victim.assertion(claims={"aud": text})),
        victim.open(assertion=victim.assertion(claims={"iss": text, "sub": text, "jti": text})),
        victim.open(scopes=[text]),
        victim.open(audience=text),
        broker.admin("POST", AGENTS, json={"agent_id": text, text: 1}),
        broker.admin("PATCH", f"{AGENTS}/{victim.id}", json={"description": f"a{text}", "workspaces": [text, ""]}),
        broker.admin("GET", AGENTS, params={text: text}),
        broker.call("GET", "/" + path_of(text)),
        broker.call("GET", f"/v1/agent-sessions/{path_of(text)}", key=broker.admin_key),
    ]
    for reply in replies:
        assert 400 <= reply.status_code < 500, reply.text
    events = events_after(broker, offset, len(replies))
    ids = [e["request_id"] for e in events if e["msg"] == "request"]
    assert sorted(ids) == sorted(r.headers["X-Request-Id"] for r in replies)
    for event in events:
        assert event["component"] == "broker" and event["level"] in ("info", "warn"), event
        assert event.get("status") in (None, *(r.status_code for r in replies))


def answer(broker, request):
    """All that comes until the broker closes. Our side stays open: a half-closed connection is a client gone."""
    with socket.create_connection((broker.host, broker.port), timeout=15) as s:
        s.sendall(request)
        return b"".join(iter(lambda: s.recv(65536), b""))


@pytest.mark.parametrize("text", INJECTIONS)
def test_T03_header_fields(broker, text):
    """As bytes on the wire, since no HTTP library would send them. A line end makes two fields of one, or a request that
    is refused; it never makes another event."""
    value = text.encode("utf-8", "surrogatepass")
    offset = broker.log_file.stat().st_size
    replies = []
    for name in HEADERS:
        head = b"GET /admin/v1/agents HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + name.encode() + b": " + value + b"\r\n\r\n"
        reply = answer(broker, head)
        assert reply[9:12] in (b"400", b"401", b"403"), reply
        assert reply.count(b"HTTP/1.1") == 1
        replies.append(int(reply[9:12]))
    # Not all that cannot be read as HTTP is logged; what reached an endpoint is.
    events = events_after(broker, offset, sum(status != 400 for status in replies))
    assert len(events) <= len(replies), events
    for event in events:
        assert event["component"] == "broker" and event["level"] == "info" and event["status"] in replies


@pytest.mark.parametrize("text", INJECTIONS)
def test_T03_description_stays_in_the_database(broker, text):
    offset = broker.log_file.stat().st_size
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")[:1000]
    body = {"agent_id": f"agent-{secrets.token_hex(6)}", "allowed_scopes": [], "jwks": {"keys": [Key("ES256").jwk()]}}
    reply = broker.admin("POST", AGENTS, json={**body, "description": f"a{text}z"})
    # JSON has no NUL here; all else is a description.
    assert reply.status_code == (400 if "\0" in text else 201), reply.text
    assert len(events_after(broker, offset, 1)) == 1
    if reply.status_code == 201:
        assert broker.admin("GET", f"{AGENTS}/{body['agent_id']}").json()["description"] == f"a{text}z"


def test_T03_error_messages_are_json_text(broker):
    for text in INJECTIONS[:12]:
        reply = broker.admin("POST", AGENTS, json={text: 1})
        assert reply.status_code == 400 and set(reply.json()) == {"error", "message"}
        assert "\x1b" not in reply.text and "\x00" not in reply.text


def test_T03_audit_leaves_are_canonical_after_all_that(broker):
    audit.check(broker.leaves())


# --- H15: the issuer is configured, never taken from a request

SPOOFS = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "host=evil.example;proto=https",
    "X-Original-URL": "/evil",
    "X-Rewrite-URL": "/evil",
}


def test_H15_nothing_of_the_request_is_in_a_token(broker, victim):
    reply = broker.call("POST", "/v1/agent-sessions", json=victim.body(), headers=SPOOFS)
    assert reply.status_code == 201
    claims = parts(reply.json()["session_token"])[1]
    assert claims["iss"] == claims["aud"] == broker.issuer
    assert "evil" not in reply.text + str(reply.headers)


@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/.well-known/jwks.json", "/nowhere", "/admin/v1/agents"])
def test_H15_nothing_of_the_request_is_in_an_answer(broker, path):
    plain, spoofed = broker.call("GET", path), broker.call("GET", path, headers=SPOOFS)
    own = {"Date", "X-Request-Id"}
    assert (plain.status_code, plain.content) == (spoofed.status_code, spoofed.content)
    assert {k: v for k, v in plain.headers.items() if k not in own} == {k: v for k, v in spoofed.headers.items() if k not in own}


# --- B01: PKCS#11


def test_B01_labels_and_uris_never_come_from_requests(broker, victim):
    """Strings that would mean something in a PKCS#11 URI change nothing."""
    for text in ("pkcs11:token=x;pin-source=file:/etc/passwd", "pkcs11:?module-path=/tmp/x.so", "%00", "..;/"):
        assert victim.open(audience=text).status_code == 400
        assert victim.open(scopes=[text]).status_code in (400, 403)
    victim.session()
