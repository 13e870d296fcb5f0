# SPDX-License-Identifier: Apache-2.0
"""The K-th Cryptoki call fails, for K = 1, 2, 3, ... until none fails: over an issuance, over the way back from a lost
token, and over a start."""

import pytest

from lib import agents
from lib.stack import running_stack
from lib.traffic import Traffic, check_granted, every_signature_recorded
from lib.wait import until

MOST = 400
AWAY = {(201, None), (503, "hsm_unavailable"), (503, "deadline_exceeded")}


@pytest.fixture(scope="module")
def stack():
    with running_stack(with_shim=True) as s:
        yield s


@pytest.fixture
def work(stack):
    work = Traffic(stack, agents.register(stack))
    broker = stack.pid
    yield work
    stack.shim.clear()
    stack.wait_ready(20)
    assert stack.pid == broker, "the broker did not live through this"
    assert set(work.statuses()) <= AWAY, work.statuses()
    check_granted(stack, work)


def each_call(stack, scenario, rule="* {} rv=CKR_FUNCTION_FAILED once", first=1, step=1):
    """Runs the scenario with the K-th call failing until it ends before that call; returns that K."""
    for k in range(first, MOST, step):
        seen = len(stack.shim.lines())
        stack.shim.script(rule.format(k))
        scenario()
        failed = any("CKR_FUNCTION_FAILED" in line for line in stack.shim.injected(seen))
        stack.shim.clear()
        if not failed:
            return k
        stack.wait_ready(20)
    raise AssertionError(f"{MOST} calls and no end")


def test_issuance(stack, work):
    with every_signature_recorded(stack):
        assert each_call(stack, work.ask) > 2


def test_issuance_on_a_fresh_session(stack, work):
    """The second failure costs the session, so the calls that open another one are failed too."""
    rule = "* {} rv=CKR_FUNCTION_FAILED once\nC_Sign 1 rv=CKR_SESSION_HANDLE_INVALID once"
    with every_signature_recorded(stack):
        assert each_call(stack, work.ask, rule) > 4


PARTS = 6


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_recovery_of_a_lost_token(stack, work, part):
    """In parts, since the signer waits longer before each next try."""
    rule = "* {} rv=CKR_FUNCTION_FAILED once\nC_Sign 1 rv=CKR_DEVICE_REMOVED once"

    def recover():
        until(lambda: work.ask().status == 201, 30, "a session is granted again")

    with every_signature_recorded(stack):
        assert each_call(stack, recover, rule, first=1 + part, step=PARTS) > 10


@pytest.mark.parametrize("part", range(2))
def test_start(stack, work, broker_factory, part):
    """A start serves, or ends and says why; it never hangs, and the next one is as good as new."""

    def start():
        process = broker_factory(share_with=stack, wait=False)
        until(lambda: process.pid is None or process.is_ready(), 40, "ready, or at an end")
        if process.pid is None:
            assert process.wait_exit() > 0
            assert "hsm_unavailable" in process.log() or "ERR_HSM" in process.log(), process.log()[-2000:]
        else:
            assert work.agent.open(broker=process).status_code == 201
        process.stop()

    assert each_call(stack, start, first=1 + part, step=2) > 10
