# SPDX-License-Identifier: Apache-2.0
"""HTTP that a token service must not forgive (attacks H01, H06, H07, H08, H10, H14, H15), on raw sockets.

A refused message is answered 4xx or cut, and the connection always ends: whatever follows on it may be an
attacker's second reading of the same bytes.
"""

import pytest

from rawhttp import Raw, alive, exchange, get, post

AGENTS = "/admin/v1/agents"  # answers 401 to a well-formed POST without an API key

HEAD = b"GET /health HTTP/1.1\r\nHost: broker\r\n"
POST = b"POST /admin/v1/agents HTTP/1.1\r\nHost: broker\r\nContent-Type: application/json\r\n"

# Each is refused in the first handler call with our own error body.
BAD_HEAD = {
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "empty host": b"GET /health HTTP/1.1\r\nHost:\r\n\r\n",
    "two hosts": HEAD + b"Host: broker\r\n\r\n",
    "two different hosts": HEAD + b"Host: other\r\n\r\n",
    "host with user": b"GET /health HTTP/1.1\r\nHost: u@broker\r\n\r\n",
    "host with path": b"GET /health HTTP/1.1\r\nHost: broker/x\r\n\r\n",
    "host list": b"GET /health HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host with bad port": b"GET /health HTTP/1.1\r\nHost: broker:80x\r\n\r\n",
    "space before colon": HEAD + b"X-A : 1\r\n\r\n",
    "tab before colon": HEAD + b"X-A\t: 1\r\n\r\n",
    "space in a name": HEAD + b"X A: 1\r\n\r\n",
    "brackets in a name": HEAD + b"X[A]: 1\r\n\r\n",
    "high byte in a name": HEAD + b"X-\xc3\xa4: 1\r\n\r\n",
    "nameless field": HEAD + b": 1\r\n\r\n",
    "bell in a value": HEAD + b"X-A: a\x07b\r\n\r\n",
    "delete in a value": HEAD + b"X-A: a\x7fb\r\n\r\n",
    "bare CR in a value": HEAD + b"X-A: a\rb\r\n\r\n",
    "bare CR smuggles a field": HEAD + b"X-A: a\rContent-Length: 5\r\n\r\n",
    "NUL in a value": HEAD + b"X-A: a\x00b\r\n\r\n",
    "NUL at the end of a value": HEAD + b"X-A: a\x00\r\n\r\n",
    "NUL in the target": b"GET /health\x00x HTTP/1.1\r\nHost: broker\r\n\r\n",
    "bare LF line ends": b"GET /health HTTP/1.1\nHost: broker\n\n",
    "bare LF after the request line": b"GET /health HTTP/1.1\nHost: broker\r\n\r\n",
    "bare LF after a field": b"GET /health HTTP/1.1\r\nHost: broker\nX-A: 1\r\n\r\n",
    "bare LF at the end": b"GET /health HTTP/1.1\r\nHost: broker\r\n\n",
    "folded value": HEAD + b"X-A: 1\r\n 2\r\n\r\n",
    "folded with a tab": HEAD + b"X-A: 1\r\n\t2\r\n\r\n",
    "folded empty line": HEAD + b"X-A: 1\r\n \r\n\r\n",
    "folded length": POST + b"Content-Length:\r\n 2\r\n\r\n{}",
    "two spaces before the target": b"GET  /health HTTP/1.1\r\nHost: broker\r\n\r\n",
    "two spaces before the version": b"GET /health  HTTP/1.1\r\nHost: broker\r\n\r\n",
    "space in the target": b"GET /hea lth HTTP/1.1\r\nHost: broker\r\n\r\n",
    "absolute form": b"GET http://broker/health HTTP/1.1\r\nHost: broker\r\n\r\n",
    "authority form": b"CONNECT broker:80 HTTP/1.1\r\nHost: broker\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: broker\r\n\r\n",
    "no leading slash": b"GET health HTTP/1.1\r\nHost: broker\r\n\r\n",
    "fragment": b"GET /health#x HTTP/1.1\r\nHost: broker\r\n\r\n",
    "backslash": b"GET /a\\health HTTP/1.1\r\nHost: broker\r\n\r\n",
    "high byte in the target": b"GET /h\xe4 HTTP/1.1\r\nHost: broker\r\n\r\n",
    "method is no token": b"G@T /health HTTP/1.1\r\nHost: broker\r\n\r\n",
    "two authorizations": HEAD + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "two api keys": HEAD + b"X-API-Key: a\r\nX-API-Key: b\r\n\r\n",
    "two content types": POST + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    "two request ids": HEAD + b"X-Request-Id: aaaaaaaa\r\nX-Request-Id: bbbbbbbb\r\n\r\n",
    # Framing (RFC 9112 section 6; the fourteen variants of H06 and some more).
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "two equal lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length and coding": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "unknown coding on a GET": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity coding": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "quoted coding": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "two equal codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "coding with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "space before the coding's colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "coding behind a bare LF": POST + b"X-A: 1\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "empty coding": POST + b"Transfer-Encoding:\r\n\r\n",
}

# The library answers these by itself, or cuts the connection.
BAD_ELSE = {
    "no version": b"GET /health\r\nHost: broker\r\n\r\n",
    "unknown version": b"GET /health HTTP/9.9\r\nHost: broker\r\n\r\n",
    "lower-case version": b"GET /health http/1.1\r\nHost: broker\r\n\r\n",
    "no target": b"GET\r\nHost: broker\r\n\r\n",
    "line without a colon": HEAD + b"nonsense\r\n\r\n",
    "NUL in a name": HEAD + b"X\x00A: 1\r\n\r\n",
    "NUL in the version": b"GET /health HTTP/1.1\x00\r\nHost: broker\r\n\r\n",
    "space after the version": b"GET /health HTTP/1.1 \r\nHost: broker\r\n\r\n",
    "length list": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "empty length": POST + b"Content-Length:\r\n\r\n{}",
    "overflowing length": POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 64 + b"\r\n\r\n",
}

CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "not hexadecimal": CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "empty size": CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
    "negative size": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "0x size": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "overflowing size": CHUNKED + b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "huge size": CHUNKED + b"ffffffffffffffff\r\n" + b"x" * 200000,
    "missing CRLF after the data": CHUNKED + b"2\r\n{}0\r\n\r\n",
    "space before the size": CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n",
    "trailer field": CHUNKED + b"2\r\n{}\r\n0\r\nX-A: 1\r\n\r\n",
    "trailer that frames": CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n",
}


@pytest.mark.parametrize("case", BAD_HEAD)
def test_bad_header_is_refused_and_the_connection_ends(broker, case):
    reply, closed = exchange(broker, BAD_HEAD[case])
    assert reply is not None, "cut without an answer"
    assert (reply.status, reply.error) == (400, "bad_request")
    assert closed and reply.header("connection") == "close"


@pytest.mark.parametrize("case", BAD_ELSE)
def test_unreadable_header_is_refused_and_the_connection_ends(broker, case):
    with Raw(broker) as c:
        c.send(BAD_ELSE[case] + get("/health", "X-Request-Id: smuggled-0001"))
        reply = c.reply()
        assert reply is None or reply.status in (400, 413, 505)
        # To a malformed Content-Length, 0.9.75 sends its reply's header twice; the end of the stream is what counts.
        assert b"smuggled-0001" not in c.rest()


@pytest.mark.parametrize("case", BAD_CHUNKS)
def test_bad_chunk_is_refused_and_never_reaches_an_endpoint(broker, case):
    with Raw(broker) as c:
        c.send(BAD_CHUNKS[case])
        reply = c.reply()
    assert reply is None or reply.status in (400, 413)


@pytest.mark.parametrize("case", ["two lengths", "length and coding", "unknown coding", "bare LF line ends", "folded coding"])
def test_nothing_behind_a_bad_header_is_read_as_a_request(broker, case):
    with Raw(broker) as c:
        c.send(BAD_HEAD[case] + get("/health", "X-Request-Id: smuggled-0001"))
        assert b"smuggled-0001" not in c.rest()


def test_good_requests_of_unusual_form_are_served(broker):
    for good in (
        get("/health", "X-A:no-space", "X-B:   spaces", "X-C: trailing  ", "X-D:"),
        get("/health", "X-A: \xe4\xf6\xfc", "X-B: tab\tinside"),
        get("/health", host="[::1]:8080"),
        get("/health", host="broker.example:65535"),
        get("/health?a=b&c=%20"),
        get("/health", version="HTTP/1.0"),
        b"GET /health HTTP/1.0\r\n\r\n",
        b"\r\n" + get(),
        get("/health", "X-Long: " + "a" * 8000),
        get("/health", *[f"X-{i}: {i}" for i in range(60)]),
    ):
        with Raw(broker) as c:
            c.send(good)
            assert c.reply().status == 200, good


def test_a_header_may_arrive_in_any_pieces(broker):
    """The strict check must see the same bytes however they were cut into packets."""
    request = get("/health", "X-A: " + "a" * 3000, "X-B: " + "b" * 5000, "X-C:", "X-D: d")
    for size in (1, 7, 512, 1023, 1024, 1025, 4096):
        with Raw(broker) as c:
            for _ in range(2):
                for i in range(0, len(request), size):
                    c.send(request[i : i + size])
                assert c.reply().status == 200, size


def test_chunked_body_is_read_like_any_other(broker):
    with Raw(broker) as c:
        c.send(CHUNKED + b"1\r\n{\r\n1;ext=1\r\n}\r\n0\r\n\r\n" + get())
        assert c.reply().status == 401
        assert c.reply().status == 200


def test_method_override_has_no_effect(broker):
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        with Raw(broker) as c:
            c.send(get("/health", f"{name}: DELETE"))
            assert c.reply().status == 200
            c.send(post("/health?_method=GET", b"{}", f"{name}: GET"))
            assert c.reply().status == 405


def test_host_and_forwarded_fields_do_not_shape_replies(broker):
    path = "/.well-known/oauth-authorization-server"
    with Raw(broker) as c:
        c.send(get(path))
        plain = c.reply()
        c.send(get(path, "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: gopher", "Forwarded: host=evil.example",
                   host="evil.example"))
        forged = c.reply()
    assert plain.status == forged.status == 200
    assert b"evil.example" not in forged.body and b"gopher" not in forged.body


@pytest.mark.parametrize("value", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16",
                                   "application/json; charset=utf-8; x=y", "multipart/json", "application/json,text/html",
                                   "application/jsonx", "application/json; charset=utf-7", ""])
def test_other_content_types_are_refused(broker, value):
    body = b'{"agent_id":"a","scopes":["a:b"]}'
    lines = ["POST /v1/agent-sessions HTTP/1.1", "Host: broker", f"Content-Type: {value}", f"Content-Length: {len(body)}"]
    with Raw(broker) as c:
        c.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        reply = c.reply()
    assert (reply.status, reply.error) == (415, "unsupported_media_type")


def test_expect_continue(broker):
    with Raw(broker) as c:
        c.send(post(AGENTS, b"", "Expect: 100-continue", "Content-Length: 2"))
        assert c.reply().status == 100
        c.send(b"{}")
        assert c.reply().status == 401


@pytest.mark.parametrize("line", ["Content-Length: 10000000", "Content-Length: 2\r\nContent-Length: 2"])
def test_no_continue_for_what_is_refused(broker, line):
    with Raw(broker) as c:
        c.send(post(AGENTS, b"", "Expect: 100-continue", line))
        assert c.reply().status in (400, 413)
        assert c.closed()


def test_request_id_is_echoed_when_well_formed(broker):
    with Raw(broker) as c:
        for good in ("abcdefgh", "A.b_c-9" * 9 + "1"):
            c.send(get("/health", f"X-Request-Id: {good}"))
            assert c.reply().header("x-request-id") == good
        seen = set()
        for bad in ("short", "a" * 65, "with space", "semi;colon", "slash/slash", ""):
            c.send(get("/health", f"X-Request-Id: {bad}"))
            mine = c.reply().header("x-request-id")
            assert mine != bad and len(mine) >= 16
            seen.add(mine)
        assert len(seen) == 6


def test_default_headers(broker):
    with Raw(broker) as c:
        for request in (post("/v1/agent-sessions"), get("/nowhere"), get(AGENTS)):
            c.send(request)
            reply = c.reply()
            assert reply.header("cache-control") == "no-store"
            assert reply.header("x-content-type-options") == "nosniff"
            assert reply.header("content-type") == "application/json"
            assert reply.header("x-request-id")
            assert reply.error


def test_unauthenticated_names_the_scheme(broker):
    with Raw(broker) as c:
        c.send(get(AGENTS))
        metadata = f"{broker.issuer}/.well-known/oauth-protected-resource"
        assert c.reply().header("www-authenticate") == f'Bearer realm="nexus", resource_metadata="{metadata}"'


def test_unknown_paths(broker):
    with Raw(broker) as c:
        for path in ("/", "/nowhere", "/admin/v1/agents/", "/admin/v1/agents/a/b", "//health", "/health/", "/%68ealth",
                     "/admin/v1/../v1/agents", "/HEALTH", "/.well-known/"):
            c.send(get(path))
            reply = c.reply()
            assert (reply.status, reply.error) == (404, "not_found"), path


@pytest.mark.parametrize("arg", ["a%2fb", "a%2Fb", "a%00b", "a%0ab", "a%7f", "%ff", "%c0%af", "%ed%a0%80", "a%2", "a%zz", "a" * 257])
def test_bad_path_arguments(broker, arg):
    with Raw(broker) as c:
        c.send(get(f"{AGENTS}/{arg}", "X-API-Key: nothing"))
        reply = c.reply()
        assert (reply.status, reply.error) == (400, "invalid_request")


@pytest.mark.parametrize("method,path,allow", [
    ("PUT", AGENTS, "GET, HEAD, POST"),
    ("OPTIONS", AGENTS, "GET, HEAD, POST"),
    ("TRACE", "/health", "GET, HEAD"),
    ("get", "/health", "GET, HEAD"),
    ("POST", AGENTS + "/a", "GET, HEAD, PATCH, DELETE"),
    ("GET", "/v1/agent-sessions", "POST"),
    ("BREW", "/v1/agent-sessions/a", "GET, HEAD, DELETE"),
])
def test_other_methods_get_405_with_allow(broker, method, path, allow):
    with Raw(broker) as c:
        c.send(get(path, method=method))
        reply = c.reply()
        assert (reply.status, reply.error, reply.header("allow")) == (405, "method_not_allowed", allow)
        c.send(get())
        assert c.reply().status == 200


def test_head_has_the_fields_of_get_and_no_body(broker):
    with Raw(broker) as c:
        c.send(get("/.well-known/oauth-authorization-server"))
        full = c.reply()
        c.send(get("/.well-known/oauth-authorization-server", method="HEAD") + get())
        head = c.reply(head_only=True)
        assert head.status == 200 and head.header("content-type") == full.header("content-type")
        assert c.reply().status == 200, "the body of a HEAD reply was sent"


def test_the_broker_is_well_after_all_that(broker):
    alive(broker)
