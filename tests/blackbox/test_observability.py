# SPDX-License-Identifier: Apache-2.0
"""Request ids, trace context, logs and metrics."""

import json
import re
import secrets

import pytest
import requests

from lib.wait import until

METRICS = {
    "nexus_http_requests_total", "nexus_http_request_duration_seconds", "nexus_hsm_operations_total",
    "nexus_hsm_operation_duration_seconds", "nexus_hsm_key_uses_total", "nexus_queue_depth",
    "nexus_db_statement_duration_seconds", "nexus_sessions_issued_total", "nexus_sessions_refused_total", "nexus_ready",
}  # fmt: skip


# --- request id and trace context


def test_well_formed_request_id_is_kept(broker):
    for sent in ("abcdefgh", "A.b_c-1.2", secrets.token_hex(16), "x" * 64):
        assert broker.call("GET", "/health", headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["a b", "x" * 2000, "ä".encode(), 'a"b', "a,b\\", "short", "<script>"])
def test_ill_formed_request_id_is_replaced(broker, sent):
    reply = broker.call("GET", "/health", headers={"X-Request-Id": sent})
    assert reply.status_code in (200, 400, 431)
    mine = reply.headers["X-Request-Id"]
    assert mine != sent and re.fullmatch(r"[A-Za-z0-9._-]{8,128}", mine)


def test_every_answer_has_a_request_id(broker, agent):
    a = agent()
    replies = [broker.call("GET", p) for p in ("/health", "/ready", "/nowhere", "/admin/v1/agents", "/.well-known/jwks.json")]
    replies += [a.open(), a.open(scopes=[]), broker.call("POST", "/v1/agent-sessions", data=b"{")]
    ids = [r.headers["X-Request-Id"] for r in replies]
    assert len(set(ids)) == len(ids)


def test_request_id_ties_answer_log_and_audit_together(broker, agent):
    a = agent()
    request_id = f"tie-{secrets.token_hex(8)}"
    reply = broker.call("POST", "/v1/agent-sessions", json=a.body(), headers={"X-Request-Id": request_id})
    assert reply.status_code == 201 and reply.headers["X-Request-Id"] == request_id
    intents = [leaf for leaf in broker.leaves("kind = 'intent'") if leaf.body.get("req_id") == request_id]
    assert len(intents) == 1
    lines = until(lambda: [x for x in broker.log_lines() if x.get("request_id") == request_id], 5, "a line with the request id")
    assert any(x.get("status") == 201 for x in lines), lines


def test_trace_context_is_logged(broker):
    trace = secrets.token_hex(16)
    broker.call("GET", "/nowhere", headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"})
    until(lambda: trace in broker.log(), 5, "the trace id is in the log")


@pytest.mark.parametrize("bad", ["x", "00-zz-yy-01", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "ff-" + "1" * 32 + "-" + "1" * 16 + "-01"])
def test_ill_formed_trace_context_is_ignored(broker, bad):
    """W3C Trace Context section 3.2.2"""
    assert broker.call("GET", "/health", headers={"traceparent": bad}).status_code == 200


# --- logs


def test_log_lines_are_json_with_the_common_members(broker, agent):
    agent().session()
    lines = broker.log().splitlines()
    assert lines
    for line in lines:
        event = json.loads(line)
        assert {"time", "level", "component", "msg"} <= set(event)
        assert event["component"] in ("broker", "signer") and event["time"].endswith("Z")
        assert line.isascii() and not re.search(r"[\x00-\x1f\x7f]", line)


# --- metrics


def test_metrics_are_prometheus_text(broker, agent):
    a = agent()
    a.session()
    a.open(scopes=["acme:none"])
    reply = requests.get(broker.metrics_url, timeout=10)
    assert reply.status_code == 200 and reply.headers["Content-Type"].startswith("text/plain")
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", reply.text, re.M))
    assert set(kinds) >= METRICS
    for line in reply.text.splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r'[a-z_]+(\{([a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})? [0-9.e+-]+(\+Inf)?', line), line
    for name, kind in kinds.items():
        assert f"# HELP {name} " in reply.text
        if kind == "histogram":
            check_histogram(broker, name)


def check_histogram(broker, name):
    series = {}
    for sample, value in broker.metrics().items():
        base, _, rest = sample.partition("{")
        if base != f"{name}_bucket":
            continue
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest))
        le = labels.pop("le")
        series.setdefault(tuple(sorted(labels.items())), []).append((float("inf") if le == "+Inf" else float(le), value))
    for buckets in series.values():
        counts = [count for _, count in sorted(buckets)]
        assert counts == sorted(counts) and max(b for b, _ in buckets) == float("inf")


def test_counters_move(broker, agent):
    a = agent()
    a.session()

    def numbers():
        return {
            "issued": broker.metric("nexus_sessions_issued_total"),
            "scope": broker.metric("nexus_sessions_refused_total", reason="scope_not_allowed"),
            "client": broker.metric("nexus_sessions_refused_total", reason="invalid_client"),
            "signed": broker.metric("nexus_hsm_operations_total", operation="sign", mechanism="ES256", outcome="ok"),
            "uses": broker.metric("nexus_hsm_key_uses_total"),
            "requests": broker.metric("nexus_http_requests_total", outcome="ok"),
            "time": broker.metric("nexus_http_request_duration_seconds_count"),
            "hsm": broker.metric("nexus_hsm_operation_duration_seconds_count"),
            "db": broker.metric("nexus_db_statement_duration_seconds_count"),
        }

    before = numbers()
    for _ in range(3):
        a.session()
    a.open(scopes=["acme:none"])
    a.open(assertion="x")
    after = numbers()
    moved = {k: after[k] - before[k] for k in before}
    assert moved["issued"] == 3 and moved["scope"] == 1 and moved["client"] == 1, moved
    # A trial signature of the health check may come between.
    assert 3 <= moved["signed"] <= 4 and 3 <= moved["uses"] <= 4, moved
    assert moved["requests"] >= 3 and moved["time"] >= 5 and moved["hsm"] >= 3 and moved["db"] >= 4, moved


def test_labels_come_from_tables_never_from_callers(broker):
    word = f"canary{secrets.token_hex(6)}"
    broker.call("GET", f"/{word}")
    broker.call("GET", f"/v1/agent-sessions/{word}", key=broker.admin_key)
    broker.call("BREW", "/health")
    broker.admin("GET", f"/admin/v1/agents?{word}={word}")
    text = requests.get(broker.metrics_url, timeout=10).text
    assert word not in text and "BREW" not in text
    assert '/v1/agent-sessions/{id}"' in text


def test_readiness_is_a_metric(broker):
    parts = broker.call("GET", "/ready").json()["parts"]
    until(lambda: all(broker.metric("nexus_ready", part=p) == 1 for p in parts), 5, "each part is ready")
    assert broker.metric("nexus_ready") == len(parts)


def test_metrics_listener_serves_nothing_else(broker):
    base = broker.metrics_url.removesuffix("/metrics")
    for path in ("/", "/admin/v1/agents", "/health/../metrics2"):
        assert requests.get(base + path, timeout=10).status_code == 404
    assert requests.post(broker.metrics_url, timeout=10).status_code == 405
    assert broker.call("GET", "/metrics").status_code == 404
