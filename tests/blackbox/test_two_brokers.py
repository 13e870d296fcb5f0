# SPDX-License-Identifier: Apache-2.0
"""Any number of brokers on one database: the database decides races."""

import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from lib import audit
from lib.keys import Key
from lib.verify import claims_of, is_error, jwks_of

PARALLEL = 64


@pytest.fixture
def pair(broker, broker_factory):
    return broker, broker_factory()


def at_once(count, work):
    """work(i) in that many threads, let go together."""
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait()
        return work(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_one_assertion_used_64_times_at_once_opens_one_session(pair, agent):
    """J19"""
    for _ in range(3):
        a = agent()
        assertion = a.assertion()
        replies = at_once(PARALLEL, lambda i, a=a, t=assertion: a.open(assertion=t, broker=pair[i % 2]))
        assert Counter(r.status_code for r in replies) == {201: 1, 401: PARALLEL - 1}
        assert {r.json()["error"] for r in replies if r.status_code == 401} == {"invalid_client"}
        assert pair[0].sql("SELECT count(*) FROM nexus.agent_sessions WHERE agent_id = %s", a.id) == [(1,)]
        assert len([x for x in pair[0].leaves("kind = 'intent'") if x.body.get("client") == a.id]) == 1


def test_one_assertion_opens_reads_or_closes_once(pair, agent):
    a = agent()
    session = a.session()
    path = f"/v1/agent-sessions/{session['session_id']}"
    assertion = a.assertion()

    def use(i):
        if i % 3 == 0:
            return a.open(assertion=assertion, broker=pair[i % 2])
        return pair[i % 2].call("GET" if i % 3 == 1 else "DELETE", path, bearer=assertion)

    replies = at_once(24, use)
    assert sum(r.status_code in (200, 201) for r in replies) == 1
    assert all(r.status_code == 401 for r in replies if r.status_code not in (200, 201))


def test_token_of_one_broker_is_good_at_the_other(pair, agent):
    first, second = pair
    a = agent()
    session = a.session(broker=first)
    assert jwks_of(first) == jwks_of(second)
    claims_of(session["session_token"], jwks_of(second))
    path = f"/v1/agent-sessions/{session['session_id']}"
    assert second.call("GET", path, bearer=session["session_token"]).json()["active"] is True
    assert second.call("DELETE", path, bearer=session["session_token"]).status_code == 200
    is_error(first.call("GET", path, bearer=session["session_token"]), 401, "invalid_token")


def test_registration_of_one_id_at_once_succeeds_once(pair, agent):
    key = Key("ES256").jwk()
    body = {"agent_id": f"race-{key['kid'][:12].replace('-', '_')}", "allowed_scopes": ["acme:read"], "jwks": {"keys": [key]}}
    replies = at_once(16, lambda i: pair[i % 2].admin("POST", "/admin/v1/agents", json=body))
    assert Counter(r.status_code for r in replies) == {201: 1, 409: 15}


def test_parallel_changes_are_all_made_or_refused_whole(pair, agent):
    a = agent()
    path = f"/admin/v1/agents/{a.id}"
    replies = at_once(16, lambda i: pair[i % 2].admin("PATCH", path, json={"description": f"change {i}"}))
    assert {r.status_code for r in replies} <= {200, 409}
    done = [r.json()["description"] for r in replies if r.status_code == 200]
    assert done and pair[0].admin("GET", path).json()["description"] in done
    recorded = [x for x in pair[0].leaves("kind = 'admin'") if x.body.get("target") == a.id and x.body["op"] == "agent.update"]
    assert len(recorded) == len(done)


@pytest.mark.parametrize("how", ["deactivate", "delete"])
def test_no_session_is_active_after_the_agents_end(pair, agent, how):
    """J24: issuers on both brokers race with an administrator; what they won before is closed with it."""
    for turn in range(4):
        a = agent()
        ended = threading.Event()
        granted = []

        def issue(broker, a=a, ended=ended, granted=granted):
            while not ended.is_set():
                reply = a.open(broker=broker)
                if reply.status_code == 201:
                    granted.append(reply.json())
                else:
                    assert reply.status_code in (401, 403, 503), reply.text

        with ThreadPoolExecutor(6) as pool:
            work = [pool.submit(issue, pair[i % 2]) for i in range(6)]
            while len(granted) < 5 and not any(w.done() for w in work):
                pass
            admin = pair[turn % 2]
            if how == "delete":
                reply = admin.admin("DELETE", f"/admin/v1/agents/{a.id}")
            else:
                reply = admin.admin("PATCH", f"/admin/v1/agents/{a.id}", json={"active": False})
            assert reply.status_code == 200
            # From the answer on nothing is granted, and nothing that was granted is still open.
            code = (401, "invalid_client") if how == "delete" else (403, "agent_inactive")
            for broker in pair:
                is_error(a.open(broker=broker), *code)
            ended.set()
            for w in work:
                w.result()
        rows = admin.sql("SELECT count(*) FROM nexus.agent_sessions WHERE agent_id = %s AND closed_at IS NULL", a.id)
        assert rows == [(0,)]
        for broker in pair:
            for s in granted[-10:]:
                reply = broker.call("GET", f"/v1/agent-sessions/{s['session_id']}", bearer=s["session_token"])
                is_error(reply, 401, "invalid_token")


def test_replay_is_refused_after_a_restart(broker, broker_factory, agent):
    """J19"""
    a = agent()
    assertion = a.assertion(claims={"exp": a.claims()["iat"] + 250})
    first = broker_factory()
    assert a.open(assertion=assertion, broker=first).status_code == 201
    broker.settle()  # an outcome that dies with its broker would be settled minutes later only
    first.kill()
    is_error(a.open(assertion=assertion), 401, "invalid_client")
    is_error(a.open(assertion=assertion, broker=broker_factory()), 401, "invalid_client")


def test_log_of_both_brokers_holds_together(pair, agent):
    a = agent()
    at_once(32, lambda i: a.session(broker=pair[i % 2]))
    pair[0].settle()
    leaves = pair[0].leaves()
    audit.check(leaves)


def test_graceful_end_finishes_what_it_began(broker, broker_factory, agent):
    """SIGTERM: drain, then exit 0; every answer that was begun arrives, every intent has its outcome."""
    other = broker_factory()
    a = agent()
    stopped = threading.Event()
    results = []

    def issue():
        while not stopped.is_set():
            try:
                results.append(a.open(broker=other).status_code)
            except requests.ConnectionError:
                results.append("refused")
                stopped.wait(0.05)

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(issue) for _ in range(8)]
        while results.count(201) < 50:
            assert not any(w.done() for w in work)
        other.process.send_signal(signal.SIGTERM)
        code = other.wait_exit(40)
        stopped.set()
        for w in work:
            w.result()
    assert code == 0, other.log()[-2000:]
    assert set(results) <= {201, 503, "refused"}
    broker.settle()
    [(count,)] = broker.sql("SELECT count(*) FROM nexus.agent_sessions WHERE agent_id = %s", a.id)
    # Keep-alive connections may break between request and reply only if the request was not taken.
    assert count == results.count(201)
