# SPDX-License-Identifier: Apache-2.0
"""Caps on sizes, counts and rates (attacks H02, H03, H04, H05, H09, H12)."""

import os
import re
import resource
import select
import threading
import types
import urllib.parse

import pytest

from rawhttp import Clock, Raw, alive, get, post

SESSIONS = "/v1/agent-sessions"
AGENTS = "/admin/v1/agents"
BODY_MAX = 65536
HEADER_MAX = 16384


def test_header_over_the_cap(broker):
    with Raw(broker) as c:
        c.send(get("/health", "X-A: " + "a" * (HEADER_MAX - 200)))
        assert c.reply().status == 200
    for size in (HEADER_MAX, 20 * 1024, 30 * 1024, 200 * 1024):
        with Raw(broker) as c:
            try:
                c.send(get("/health", "X-A: " + "a" * size))
            except OSError:
                pass
            reply = c.reply()
            assert reply.status == 431, size
            c.rest()


def test_many_header_fields(broker):
    with Raw(broker) as c:
        c.send(get("/health", *[f"X-{i}: 1" for i in range(63)]))
        assert c.reply().status == 200
    for n in (64, 500):
        with Raw(broker) as c:
            c.send(get("/health", *[f"X-{i}: 1" for i in range(n)]))
            assert c.reply().status == 431, n
            c.rest()


def test_target_over_the_cap(broker):
    for size in (9000, 100 * 1024):
        with Raw(broker) as c:
            try:
                c.send(get("/health?" + "a" * size))
            except OSError:
                pass
            assert c.reply().status == 414, size
            c.rest()


def test_body_over_the_cap_is_refused_before_it_is_read(broker):
    for size in (BODY_MAX + 1, 10**9, 10**17):
        with Raw(broker) as c:
            c.send(post(SESSIONS, b"", f"Content-Length: {size}"))
            reply = c.reply()
            assert (reply.status, reply.error) == (413, "request_too_large")
            assert reply.header("connection") == "close" and c.closed()


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE", "GET"])
def test_body_over_the_cap_by_any_method(broker, method):
    with Raw(broker) as c:
        c.send(f"{method} {AGENTS}/a HTTP/1.1\r\nHost: broker\r\nContent-Length: 1000000\r\n\r\n".encode())
        assert c.reply().status == 413
        assert c.closed()


def test_body_at_the_cap_is_read(broker):
    body = b'{"x":"' + b"a" * (BODY_MAX - 8) + b'"}'
    assert len(body) == BODY_MAX
    with Raw(broker) as c:
        c.send(post(AGENTS, body) + get())
        assert c.reply().status == 401
        assert c.reply().status == 200


def chunks(total, size=1000):
    out = b""
    while total > 0:
        n = min(size, total)
        out += b"%x\r\n" % n + b" " * n + b"\r\n"
        total -= n
    return out + b"0\r\n\r\n"


def test_chunked_body_at_and_over_the_cap(broker):
    head = post(SESSIONS, b"", "Transfer-Encoding: chunked")
    with Raw(broker) as c:
        c.send(head + chunks(BODY_MAX))
        assert c.reply().error != "request_too_large"
        c.send(head + chunks(BODY_MAX + 1))
        reply = c.reply()
        assert (reply.status, reply.error) == (413, "request_too_large")


def test_endless_chunked_body_is_cut(broker):
    with Raw(broker) as c:
        c.send(post(SESSIONS, b"", "Transfer-Encoding: chunked"))
        sent = 0
        with pytest.raises(OSError):
            while sent < 100 * BODY_MAX:
                c.send(b"1000\r\n" + b" " * 4096 + b"\r\n")
                sent += 4096
    alive(broker)


def test_pipeline_of_a_thousand_is_answered_in_order(broker):
    n = 1000
    requests = b"".join(
        (get if i % 3 else post)("/health" if i % 3 else SESSIONS, *([b"{}"] if i % 3 == 0 else []), f"X-Request-Id: pipe-{i:08d}")
        for i in range(n))
    with Raw(broker) as c:
        sender = threading.Thread(target=c.send, args=(requests,))
        sender.start()
        for i in range(n):
            assert c.reply().header("x-request-id") == f"pipe-{i:08d}"
        sender.join()


def test_many_query_parameters(broker_factory):
    """With more parameters than its memory holds, 0.9.75 waits in silence: then the header's deadline answers."""
    b = broker_factory(env={"NEXUS_HEADER_TIMEOUT_MS": "500"})
    for n in (100, 1000, 1500, 10000):
        with Raw(b) as c:
            c.send(get(AGENTS + "?" + "&".join(f"a{i}" for i in range(n)), "X-API-Key: nothing"))
            assert c.reply().status < 500, n
    alive(b)


def test_no_memory_is_lost_where_the_library_forgets_a_request(broker_factory):
    """Too many parameters, then more bytes: 0.9.75 closes such a connection without saying that the request is over."""
    b = broker_factory(env={"NEXUS_MAX_CONNECTIONS": "4", "NEXUS_WORKERS": "1", "NEXUS_QUEUE_DEPTH": "1"})
    line = get("/health?" + "&".join(f"a{i}" for i in range(1500))).split(b"\r\n")[0] + b"\r\n"
    for _ in range(12):
        with Raw(b) as c:
            c.send(line)
            for _ in range(1000):
                readable, _, _ = select.select([c.s], [], [], 0.01)
                if readable:
                    break
                try:
                    c.send(b"X")
                except OSError:
                    break
    wait_until_served(b)


def test_connections_of_one_address_are_capped(broker_factory):
    cap = 20
    b = broker_factory(env={"NEXUS_MAX_CONNECTIONS_PER_ADDRESS": str(cap)})
    b.wait_unconnected()
    held = []
    try:
        served = 0
        for _ in range(2 * cap):
            c = Raw(b)
            held.append(c)
            try:
                c.send(get())
                served += c.reply() is not None
            except OSError:
                pass
        assert served == cap
    finally:
        for c in held:
            c.s.close()
    wait_until_served(b)


def wait_until_served(b):
    """The broker learns of closed connections a moment later than we close them."""
    clock = Clock()
    while clock.seconds() < 10:
        with Raw(b) as c:
            try:
                c.send(get())
                if c.reply() is not None:
                    return
            except OSError:
                pass
    raise AssertionError("never served again")


def test_connections_in_all_are_capped_and_the_next_one_waits(broker_factory):
    cap = 10
    b = broker_factory(env={"NEXUS_MAX_CONNECTIONS": str(cap)})
    b.wait_unconnected()
    held = [Raw(b) for _ in range(cap)]
    for c in held:
        c.send(get())
        assert c.reply().status == 200
    with Raw(b) as late:
        late.send(get())
        for c in held:
            c.s.close()
        assert late.reply().status == 200


def test_address_rate_is_limited_before_any_work(broker_factory):
    b = broker_factory(env={"NEXUS_ADDRESS_RATE_PER_S": "1", "NEXUS_ADDRESS_BURST": "5"})
    with Raw(b) as c:
        statuses = []
        for _ in range(12):
            c.send(post(SESSIONS))
            reply = c.reply()
            statuses.append(reply.status)
            if reply.status == 429:
                assert reply.error == "rate_limited" and int(reply.header("retry-after")) >= 1
        assert 429 not in statuses[:5] and statuses[-1] == 429
        c.send(get())
        assert c.reply().status == 200, "probes are not limited"


def test_full_queue_is_answered_at_once(broker_factory):
    """One worker, one place in the queue, a hundred requests at the same moment."""
    b = broker_factory(env={"NEXUS_WORKERS": "1", "NEXUS_QUEUE_DEPTH": "1"})
    conns = [Raw(b) for _ in range(100)]
    try:
        for c in conns:
            c.send(get(AGENTS, "X-API-Key: nothing"))
        shed = 0
        for c in conns:
            reply = c.reply()
            assert reply.status < 500 or reply.status == 503, reply
            if reply.status == 503:
                assert reply.error == "overloaded" and reply.header("retry-after") == "1"
                shed += 1
        assert 0 < shed < 100
        conns[0].send(get(AGENTS, "X-API-Key: nothing"))
        assert conns[0].reply().status < 500, "served again when the load is gone"
    finally:
        for c in conns:
            c.s.close()


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_without_descriptors_nothing_spins_and_it_recovers(broker_factory):
    b = broker_factory(env={})
    if not getattr(b, "pid", None):
        pytest.skip("the fixture does not tell the broker's process")
    alive(b)
    used = len(os.listdir(f"/proc/{b.pid}/fd"))
    soft, hard = resource.prlimit(b.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(b.pid, resource.RLIMIT_NOFILE, (used + 5, hard))
    conns = [Raw(b) for _ in range(40)]
    try:
        first = conns[0]
        before, clock = cpu_ticks(b.pid), Clock()
        while clock.seconds() < 1:
            first.send(get())
            assert first.reply().status == 200
            threading.Event().wait(0.05)
        spent = (cpu_ticks(b.pid) - before) / os.sysconf("SC_CLK_TCK")
        assert spent < 0.5, f"{spent} s of CPU in one second"
    finally:
        for c in conns:
            c.s.close()
        resource.prlimit(b.pid, resource.RLIMIT_NOFILE, (soft, hard))
    wait_until_served(b)


def test_plain_http_on_the_network_is_refused_unless_said_so(broker_factory):
    refused = broker_factory(env={"NEXUS_LISTEN": "0.0.0.0"}, wait=False)
    assert refused.wait_exit() != 0
    assert "NEXUS_LISTEN is not a loopback address" in refused.log()
    said_so = broker_factory(env={"NEXUS_LISTEN": "0.0.0.0", "NEXUS_INSECURE_PLAIN_HTTP": "on"})
    assert "cross the network in the clear" in said_so.log()


def test_metrics_show_requests_by_route_and_outcome(broker):
    alive(broker)
    with Raw(broker) as c:
        c.send(get("/no/such/path"))
        assert c.reply().status == 404

    where = urllib.parse.urlsplit(broker.metrics_url)
    with Raw(types.SimpleNamespace(host=where.hostname, port=where.port)) as c:
        c.send(get("/metrics"))
        reply = c.reply()
        assert reply.status == 200 and reply.header("content-type").startswith("text/plain; version=0.0.4")
        text = reply.body.decode()
        assert re.search(r'^nexus_http_requests_total\{route="/health",outcome="ok"\} [1-9]', text, re.M)
        assert re.search(r'^nexus_http_requests_total\{route="other",outcome="not_found"\} [1-9]', text, re.M)
        assert re.search(r'^nexus_http_request_duration_seconds_bucket\{route="/health",outcome="ok",le="\+Inf"\} [1-9]', text, re.M)
        assert "/no/such/path" not in text
        c.send(get("/"))
        assert c.reply().status == 404
        c.send(get("/metrics", method="POST"))
        assert c.reply().status == 405
