# SPDX-License-Identifier: Apache-2.0
"""Wrong clocks (attacks T01, J20): nothing is issued while broker and database disagree about the time, and setting
clocks back makes nothing good once more."""

import signal

import pytest

from lib import agents, faketime
from lib.broker import Process, environment_beside, program, run_command
from lib.oauth import ASSERTION_TYPE, TOKEN_PATH
from lib.stack import running_stack
from lib.verify import is_error
from lib.wait import kill, until

pytestmark = pytest.mark.skipif(not faketime.USABLE, reason="libfaketime and sanitizers do not go together")

HOUR = 3600
TEN_YEARS = 10 * 365 * 24 * HOUR


@pytest.fixture
def clock():
    with faketime.fake_clock() as c:
        yield c


def issued(agent):
    """What the database holds of an agent: sessions, used ids, intents. None of it grows while clocks are wrong."""
    return agents.grants(agent)


def wait_for_clock(broker, state):
    until(lambda: broker.call("GET", "/ready").json()["parts"]["clock"] == state, 15, f"/ready: the clock is {state}")


def client_credentials(broker, agent):
    form = {"grant_type": "client_credentials", "scope": "acme:read",
            "client_assertion_type": ASSERTION_TYPE, "client_assertion": agent.assertion()}  # fmt: skip
    return broker.call("POST", TOKEN_PATH, data=form)


@pytest.mark.parametrize("seconds", [-HOUR, 45, TEN_YEARS])
def test_a_broker_whose_clock_is_set_issues_nothing(broker, broker_factory, clock, seconds):
    wrong = broker_factory(clock.env())
    agent = agents.register(wrong)
    session = agent.session(broker=wrong)
    before, unused = issued(agent), agent.assertion()
    clock.set(seconds)
    # At once: no request comes through between the change and the next comparison with the database.
    reply = agent.open(unused, broker=wrong)
    is_error(reply, 503, "clock_skew")
    assert "Retry-After" in reply.headers
    reply = client_credentials(wrong, agent)
    assert (reply.status_code, reply.json()["error"]) == (503, "temporarily_unavailable")
    wait_for_clock(wrong, "clock_skew")
    assert wrong.call("GET", "/ready").status_code == 503
    until(lambda: wrong.metric("nexus_ready", part="clock") == 0, 10, "the metric says so too")
    is_error(agent.open(unused, broker=wrong), 503, "clock_skew")
    # Nor does it say whether a token is in force; an operator can still end everything.
    introspected = wrong.call("POST", "/oauth/introspect", key=wrong.gateway_key, data={"token": session["session_token"]})
    assert introspected.status_code == 503, introspected.text
    assert issued(agent) == before
    revoked = wrong.admin("POST", "/admin/v1/sessions/revoke", json={"agent_id": agent.id})
    assert (revoked.status_code, revoked.json()["sessions_closed"]) == (200, 1)
    # Others on this database go on, and so does this one when its clock is right again; nothing was used up.
    assert agent.open(broker=broker).status_code == 201
    clock.set(0)
    wait_for_clock(wrong, "ok")
    assert agent.open(unused, broker=wrong).status_code == 201


@pytest.mark.parametrize("seconds", [20, -20])
def test_clocks_that_differ_a_little_do_no_harm(broker_factory, clock, seconds):
    clock.set(seconds)
    off = broker_factory(clock.env())
    agent = agents.register(off)
    used = agent.assertion()
    assert agent.open(used, broker=off).status_code == 201
    is_error(agent.open(used, broker=off), 401, "invalid_client")


def test_how_far_clocks_may_differ_is_configurable(broker_factory, clock):
    clock.set(20)
    strict = broker_factory({**clock.env(), "NEXUS_CLOCK_SKEW_MAX_S": "10"}, wait=False)
    assert strict.wait_exit(60) != 0
    assert "this machine's clock is" in strict.log() and "ahead of the database's" in strict.log()


def test_a_broker_whose_clock_is_wrong_does_not_start(broker, broker_factory, clock):
    clock.set(-HOUR)
    wrong = broker_factory(clock.env(), wait=False)
    assert wrong.wait_exit(60) != 0
    assert "behind the database's: set the wrong one right" in wrong.log()
    check = run_command(broker, "check", env=clock.env())
    assert check.returncode != 0
    assert "clock      FAILED" in check.stdout and "behind the database's" in check.stdout
    assert "clock      ok" in run_command(broker, "check").stdout


@pytest.fixture
def same_machine(clock, tmp_path):
    """A broker and its database with one clock, as on one machine."""
    with running_stack() as stack:
        stack.postgres.stop("fast")
        stack.postgres.start(clock.env())
        stack.wait_ready(30)
        env = environment_beside(stack, clock.env())
        process = Process(program(env), env, tmp_path / "broker.log")
        try:
            process.wait_ready()
            yield stack, process
        finally:
            process.stop()


def test_setting_both_clocks_back_makes_no_assertion_good_again(same_machine, clock):
    stack, process = same_machine
    agent = agents.register(process)
    used = agent.assertion()
    assert agent.open(used, broker=process).status_code == 201
    remembered = "SELECT count(*) FROM nexus.replay_guard WHERE issuer = %s"

    def forgotten():
        # SIGHUP wakes the background thread, which then does all that it has to do.
        kill(process.pid, signal.SIGHUP)
        return stack.sql(remembered, agent.id) == [(0,)]

    clock.set(HOUR)
    until(forgotten, 30, "the id of an assertion that has long expired is forgotten")
    wait_for_clock(process, "ok")
    is_error(agent.open(used, broker=process), 401, "invalid_client")
    clock.set(0)
    before = issued(agent)
    for broker in (process, stack):
        wait_for_clock(broker, "clock_skew")
        is_error(agent.open(used, broker=broker), 503, "clock_skew")
        is_error(agent.open(broker=broker), 503, "clock_skew")
    assert issued(agent) == before
    assert any("the clocks were set back by" in line.get("detail", "") for line in process.log_lines())
    # What the operator's page says for clocks that had been ahead by mistake.
    stack.sql("UPDATE nexus.clock SET latest = now()")
    wait_for_clock(process, "ok")
    assert agent.open(broker=process).status_code == 201
