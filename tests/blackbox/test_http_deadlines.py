# SPDX-License-Identifier: Apache-2.0
"""Total deadlines (attacks H02, H13): a client that drips bytes is cut, however steadily it drips.

Each drip is shorter than any time-out of silence, so only a total deadline can end these connections.
"""

import select
import socket
import struct

import pytest

from rawhttp import Clock, Raw, alive, get, post

FAST = {"NEXUS_HEADER_TIMEOUT_MS": "500", "NEXUS_BODY_TIMEOUT_MS": "500", "NEXUS_WRITE_TIMEOUT_MS": "700",
        "NEXUS_IDLE_TIMEOUT_MS": "900"}
SLOW = dict.fromkeys(FAST, "60000")
LATEST = 10  # seconds: far above the deadlines, far below "for ever"


@pytest.fixture
def quick(broker_factory):
    """A broker with short deadlines."""
    return broker_factory(env=FAST)


def drip(conn, data, every=0.02):
    """Sends one byte at a time until the peer says or closes something; True when it did."""
    for i in range(len(data)):
        readable, _, _ = select.select([conn.s], [], [], every)
        if readable:
            return True
        try:
            conn.send(data[i : i + 1])
        except OSError:
            return True
    return False


def assert_told_or_cut(conn, clock, least):
    reply = conn.reply()
    assert reply is None or (reply.status, reply.error) == (408, "request_timeout")
    conn.rest()
    assert least <= clock.seconds() < LATEST


def test_silence_before_the_first_request_is_cut(quick):
    clock = Clock()
    with Raw(quick) as c:
        assert_told_or_cut(c, clock, 0.4)


def test_dripped_header_is_cut(quick):
    clock = Clock()
    with Raw(quick) as c:
        assert drip(c, get("/health", "X-A: " + "a" * 5000))
        assert_told_or_cut(c, clock, 0.4)


def test_dripped_request_line_is_cut(quick):
    clock = Clock()
    with Raw(quick) as c:
        assert drip(c, b"GET /" + b"a" * 5000)
        assert_told_or_cut(c, clock, 0.4)


def test_dripped_second_header_is_cut(quick):
    with Raw(quick) as c:
        c.send(get())
        assert c.reply().status == 200
        clock = Clock()
        c.send(b"GET /health HTTP/1.1\r\n")
        assert drip(c, b"X-A: " + b"a" * 5000)
        assert_told_or_cut(c, clock, 0.4)


@pytest.mark.parametrize("framing", ["Content-Length: 5000", "Transfer-Encoding: chunked"])
def test_dripped_body_is_cut(broker_factory, framing):
    only_body = broker_factory(env={**SLOW, "NEXUS_BODY_TIMEOUT_MS": "500"})
    clock = Clock()
    with Raw(only_body) as c:
        c.send(post("/v1/agent-sessions", b"", framing))
        assert drip(c, b"1000\r\n" + b" " * 4000)
        assert_told_or_cut(c, clock, 0.4)


def test_withheld_body_is_cut_and_told_why(quick):
    with Raw(quick) as c:
        c.send(post("/v1/agent-sessions", b"{", "Content-Length: 2"))
        reply = c.reply()
        assert (reply.status, reply.error) == (408, "request_timeout")
        assert c.closed()


def test_idle_connection_is_closed_without_a_word(quick):
    clock = Clock()
    with Raw(quick) as c:
        c.send(get())
        assert c.reply().status == 200
        assert c.closed()
        assert 0.8 <= clock.seconds() < LATEST


def test_reply_that_is_not_taken_is_cut(broker_factory):
    """A client that reads nothing (a zero window) must not hold a connection and its memory."""
    only_write = broker_factory(env={**SLOW, "NEXUS_WRITE_TIMEOUT_MS": "700"})
    clock = Clock()
    with Raw(only_write, rcvbuf=2048) as c:
        request = get("/.well-known/oauth-authorization-server")
        c.s.setblocking(False)
        while clock.seconds() < LATEST:
            _, writable, _ = select.select([], [c.s], [], LATEST)
            if not writable:
                break
            try:
                c.s.send(request * 50)
            except BlockingIOError:
                continue
            except OSError:
                break
        assert clock.seconds() < LATEST, "the broker took requests for ever and was never cut"


def test_many_slow_clients_do_not_hinder_the_others(quick):
    """Slow clients up to the cap per address; a well-behaved one is served meanwhile."""
    slow = [Raw(quick) for _ in range(200)]
    try:
        for c in slow:
            c.send(b"GET /health HTTP/1.1\r\nHost: br")
        alive(quick)
        for c in slow:
            reply = c.reply()
            assert reply is None or reply.status == 408
    finally:
        for c in slow:
            c.s.close()
    alive(quick)


def test_reset_in_the_middle_of_a_request_or_reply(broker):
    for data in (b"GET /hea", post("/v1/agent-sessions", b"{", "Content-Length: 100"), get() * 50, post("/v1/agent-sessions") * 50):
        for _ in range(20):
            with Raw(broker) as c:
                c.send(data)
                c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    alive(broker)


def test_half_closed_client_still_gets_its_reply(broker):
    with Raw(broker) as c:
        c.send(post("/admin/v1/agents"))
        c.s.shutdown(socket.SHUT_WR)
        reply = c.reply()
        assert reply is None or reply.status == 401
        c.rest()
    alive(broker)
