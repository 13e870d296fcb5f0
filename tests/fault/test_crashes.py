# SPDX-License-Identifier: Apache-2.0
"""kill -9 under load: what was acknowledged is on record, and the service comes back."""

import time

import pytest

from lib.stack import running_stack
from lib.traffic import check_granted, traffic
from lib.wait import is_alive, kill, until


@pytest.fixture(scope="module")
def stack():
    with running_stack() as s:
        yield s


def test_killed_broker_loses_nothing_that_it_acknowledged(stack):
    signer = stack.signer_pid
    with traffic(stack, threads=8) as work:
        work.wait_for(201, 100)
        kill(stack.pid)
        work.wait_for(None)
        until(lambda: not is_alive(signer), 10, "the signer ends with its broker")
        stack.restart()
        work.wait_for(201, 50)
    assert {status for status, _ in work.statuses()} <= {201, 503, None}
    check_granted(stack, work)


def test_killed_signer_is_replaced(stack):
    broker, signer = stack.pid, stack.signer_pid
    with traffic(stack, threads=8) as work:
        work.wait_for(201, 50)
        killed = time.monotonic()
        kill(signer)
        until(lambda: stack.signer_pid not in (None, signer), 5, "another signer")
        work.wait_for(201, 50, seconds=10)
        healed = next(a.at for a in work.since(killed) if a.status == 201 and a.at > killed + 0.01)
    assert healed - killed < 5
    assert set(work.statuses()) <= {(201, None), (503, "hsm_unavailable"), (503, "deadline_exceeded")}
    assert stack.pid == broker
    check_granted(stack, work)


def test_signer_killed_again_and_again(stack):
    """Each time the broker waits longer before it starts the next one, but never so long that a user would call."""
    broker = stack.pid
    with traffic(stack) as work:
        for _ in range(4):
            work.wait_for(201, 10, seconds=15)
            kill(stack.signer_pid)
        work.wait_for(201, 10, seconds=15)
    assert set(work.statuses()) <= {(201, None), (503, "hsm_unavailable"), (503, "deadline_exceeded")}
    assert stack.pid == broker
    check_granted(stack, work)
