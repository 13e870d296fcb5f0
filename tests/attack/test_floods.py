# SPDX-License-Identifier: Apache-2.0
"""Attack T05: each agent's rate is looked at before anything that costs."""

import secrets

import pytest

from lib import agents
from lib.agents import grants
from lib.keys import b64u
from lib.verify import is_error
from lib.wait import until

BURST = 4


@pytest.fixture
def slow_down(broker_factory):
    """A broker that lets each agent send a few assertions at once, and then one a second."""
    return broker_factory({"NEXUS_AGENT_RATE_PER_S": 1, "NEXUS_AGENT_BURST": BURST, "NEXUS_WORKERS": 2})


def lookups(broker):
    """How often an agent was looked up so far: the first statement of whatever passes for an assertion."""
    return broker.metric("nexus_db_statement_duration_seconds_count", statement="agent_get")


def exhaust(a, broker):
    """Sends forgeries until the agent's rate is used up; how many were looked at."""
    for n in range(1, 50):
        reply = a.open(broker=broker, assertion=a.assertion(signature=bytes(64)))
        if reply.status_code == 429:
            return n - 1
        is_error(reply, 401, "invalid_client")
    raise AssertionError("the rate is not limited")


def is_limited(reply):
    is_error(reply, 429, "rate_limited")
    assert int(reply.headers["Retry-After"]) >= 1


def test_T05_forgeries_are_limited_before_any_work(slow_down, agent):
    a = agent()
    start, granted = lookups(slow_down), grants(a)
    assert BURST <= exhaust(a, slow_down) <= BURST + 2
    for _ in range(10):
        is_limited(a.open(broker=slow_down, assertion="x.y.z"))
        exhaust(a, slow_down)
    outcomes = [x["outcome"] for x in slow_down.log_lines() if x["msg"] == "request"]
    assert outcomes.count("rate_limited") >= 20
    assert lookups(slow_down) - start == outcomes.count("invalid_client")
    assert grants(a) == granted


def test_T05_limited_assertion_is_not_used_up(slow_down, agent):
    """The signature of a limited request is not looked at, so its one-time id is as good as new."""
    a = agent()
    exhaust(a, slow_down)
    assertion = a.assertion()
    is_limited(a.open(broker=slow_down, assertion=assertion))
    for status in (201, 401):
        replies = []

        def answered():
            replies.append(a.open(broker=slow_down, assertion=assertion))
            return replies[-1].status_code != 429

        until(answered, 10, "the rate recovers by itself")
        assert replies[-1].status_code == status, replies[-1].text


def test_T05_one_agents_flood_is_not_anothers(slow_down, agent):
    a, b = agent(), agent()
    exhaust(a, slow_down)
    b.session(broker=slow_down)
    is_limited(a.open(broker=slow_down))


def test_T05_unknown_agents_are_limited_alike(slow_down, agent):
    """I06: the limit tells nobody which agents exist."""
    a = agent()
    unknown = agents.Agent(a.broker, f"agent-{secrets.token_hex(6)}", a.keys, a.registered)
    assert abs(exhaust(unknown, slow_down) - exhaust(a, slow_down)) <= 2
    replies = [x.open(broker=slow_down, assertion="x.y.z") for x in (unknown, a)]
    for reply in replies:
        is_limited(reply)
    assert replies[0].text.replace(unknown.id, "ID") == replies[1].text.replace(a.id, "ID")


def test_T05_bearer_assertions_count_too(slow_down, agent):
    a = agent()
    session = a.session()
    exhaust(a, slow_down)
    path = f"/v1/agent-sessions/{session['session_id']}"
    assertion = a.assertion()
    for method in ("GET", "DELETE"):
        is_limited(slow_down.call(method, path, bearer=assertion))
    # Tokens and API keys are no assertions.
    assert slow_down.call("GET", path, bearer=session["session_token"]).status_code == 200
    assert slow_down.admin("GET", path).json()["active"] is True


def test_T05_what_is_no_jwt_reaches_no_database(slow_down, agent):
    a = agent()
    before = lookups(slow_down)
    for text in ("", "x", "x.y.z", "a" * 16384, ".".join("a" * 100), "{}", b64u(b'{"alg":"none"}') + ".e30."):
        fresh = f"agent-{secrets.token_hex(6)}"
        is_error(a.open(broker=slow_down, agent_id=fresh, assertion=text), 401, "invalid_client")
    for text in ("x", "x.y.z", "a" * 8000, b64u(b'{"alg":"none"}') + ".e30."):
        is_error(slow_down.call("GET", "/v1/agent-sessions/sess_x", bearer=text), 401, "invalid_token")
    assert lookups(slow_down) == before
    is_error(a.open(broker=slow_down, assertion=a.assertion(signature=bytes(64))), 401, "invalid_client")
    assert lookups(slow_down) == before + 1
