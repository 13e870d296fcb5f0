# SPDX-License-Identifier: Apache-2.0
"""Attacks K01 to K04, K07 and K08 through the whole broker: the signer's module is tests/shim in front of SoftHSM.

Whatever the module does, a request is granted with a good signature or refused with 503 in its time, the record holds,
and the service comes back by itself."""

import pytest

from lib import agents
from lib.stack import running_stack
from lib.traffic import Traffic, check_granted, every_signature_recorded, traffic
from lib.wait import until

DEADLINE_S = 3
AWAY = {(201, None), (503, "hsm_unavailable"), (503, "deadline_exceeded"), (503, "overloaded")}
CODES = (
    "DEVICE_REMOVED DEVICE_ERROR SESSION_HANDLE_INVALID USER_NOT_LOGGED_IN GENERAL_ERROR HOST_MEMORY FUNCTION_FAILED"
    " OPERATION_ACTIVE BUFFER_TOO_SMALL"
).split()


@pytest.fixture(scope="module")
def stack():
    with running_stack(with_shim=True, NEXUS_REQUEST_TIMEOUT_MS=DEADLINE_S * 1000, NEXUS_HSM_TIMEOUT_MS=1000) as s:
        s.agent = agents.register(s)
        yield s


@pytest.fixture(autouse=True)
def healthy_before_and_after(stack):
    stack.wait_ready(20)
    broker = stack.pid
    yield
    stack.shim.clear()
    stack.wait_ready(20)
    assert stack.pid == broker, "the broker did not live through this"
    assert Traffic(stack, stack.agent).ask().status == 201


@pytest.mark.parametrize("code", CODES)
def test_failure_of_one_signature(stack, code):
    """K01"""
    work = Traffic(stack, stack.agent)
    with every_signature_recorded(stack):
        seen = len(stack.shim.lines())
        stack.shim.script(f"C_Sign 1 rv=CKR_{code} once")
        first = work.ask()
        assert f"C_Sign CKR_{code} shim" in stack.shim.injected(seen)
        assert (first.status, first.code) in AWAY
        until(lambda: work.ask().status == 201, 15, "a session is granted again")
    assert set(work.statuses()) <= AWAY
    check_granted(stack, work)


@pytest.mark.parametrize("code", ["CKR_DEVICE_REMOVED", "CKR_GENERAL_ERROR", "CKR_SESSION_HANDLE_INVALID"])
def test_every_signature_fails_for_a_while(stack, code):
    """K01, the whole token: nothing but 503 until it is well again."""
    with every_signature_recorded(stack):
        with traffic(stack, agent=stack.agent) as work:
            work.wait_for(201, 10)
            stack.shim.script(f"C_Sign every rv={code}")
            work.wait_for(503, 20)
            stack.shim.clear()
            work.wait_for(201, 20)
    assert set(work.statuses()) <= AWAY
    check_granted(stack, work)


def test_one_hanging_signature_holds_up_no_one_else(stack):
    """K02"""
    hangs = stack.shim.count("C_Sign hang")
    with traffic(stack, agent=stack.agent) as work:
        work.wait_for(201, 10)
        stack.shim.script("C_Sign 1 hang once")
        until(lambda: stack.shim.count("C_Sign hang") > hangs, 5, "a signature that hangs")
        work.wait_for(201, 50, seconds=2)
        until(lambda: any(a.status == 503 for a in work.answers), DEADLINE_S + 2, "its own request is refused")
        stack.shim.clear()
        work.wait_for(201, 10)
    assert set(work.statuses()) <= AWAY
    assert max(a.seconds for a in work.answers) < DEADLINE_S + 1
    check_granted(stack, work)


def test_signer_whose_calls_all_hang_is_replaced(stack):
    """K02: a call cannot be ended, but the process can."""
    signer = stack.signer_pid
    with traffic(stack, agent=stack.agent) as work:
        work.wait_for(201, 10)
        stack.shim.script("C_Sign every hang")
        work.wait_for(503)
        until(lambda: stack.signer_pid not in (None, signer), 15, "another signer")
        stack.shim.clear()
        work.wait_for(201, 20, seconds=20)
    assert set(work.statuses()) <= AWAY
    assert max(a.seconds for a in work.answers) < DEADLINE_S + 1
    check_granted(stack, work)


def test_crash_inside_the_module_costs_requests_not_the_service(stack):
    """K09"""
    stack.crash_planned = True
    signer = stack.signer_pid
    with traffic(stack, agent=stack.agent) as work:
        work.wait_for(201, 10)
        stack.shim.script("C_Sign 1 crash once")
        until(lambda: stack.signer_pid not in (None, signer), 15, "another signer")
        work.wait_for(201, 20, seconds=20)
    assert set(work.statuses()) <= AWAY
    check_granted(stack, work)


def test_slow_module_fills_no_more_than_the_queue(stack, broker_factory):
    """K03: what cannot be served in its time is turned away at once."""
    small = broker_factory({"NEXUS_WORKERS": 2, "NEXUS_QUEUE_DEPTH": 2}, share_with=stack)
    with every_signature_recorded(stack):
        stack.shim.script("C_Sign every delay=500")
        with traffic(small, threads=12, agent=stack.agent) as work:
            work.wait_for(503, 10)
            work.wait_for(201, 8)
    assert set(work.statuses()) <= {(201, None), (503, "overloaded")}
    assert max(a.seconds for a in work.answers) < DEADLINE_S
    assert max(a.seconds for a in work.answers if a.status == 503) < 1
    check_granted(stack, work)


def test_token_with_few_sessions(stack, broker_factory):
    """K04: the signer makes do with the sessions that it gets."""
    stack.shim.script("C_OpenSession every limit=3")
    few = broker_factory(share_with=stack)
    with every_signature_recorded(stack):
        seen = len(stack.shim.lines())
        with traffic(few, threads=12, agent=stack.agent) as work:
            work.wait_for(201, 300)
    assert "C_OpenSession CKR_SESSION_COUNT shim" in stack.shim.lines()[seen:]
    assert set(work.statuses()) <= AWAY
    assert work.statuses()[201, None] > 10 * (len(work.answers) - work.statuses()[201, None])
    check_granted(stack, work)


@pytest.mark.parametrize("action", ["corrupt", "samer"])
def test_bad_signature_never_leaves(stack, action):
    """K07; samer is the case of K08 in which the signature is that of another digest."""
    work = Traffic(stack, stack.agent)
    assert work.ask().status == 201
    with every_signature_recorded(stack):
        stack.shim.script(f"C_Sign every {action}")
        for _ in range(5):
            answer = work.ask()
            assert answer.status in (500, 503), answer
            assert "session_token" not in answer.body
        stack.shim.clear()
        until(lambda: work.ask().status == 201, 15, "a session is granted again")
    check_granted(stack, work)


def test_module_that_claims_too_much(stack):
    """K10: a module that says it wrote more than its buffer holds is not trusted any further."""
    signer = stack.signer_pid
    with traffic(stack, agent=stack.agent) as work:
        work.wait_for(201, 10)
        stack.shim.script("C_Sign 1 overlong once")
        until(lambda: stack.signer_pid not in (None, signer), 15, "another signer")
        work.wait_for(201, 20, seconds=20)
    assert set(work.statuses()) <= AWAY
    check_granted(stack, work)
