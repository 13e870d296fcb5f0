# SPDX-License-Identifier: Apache-2.0
"""A signer that hangs whole, and what a dead broker leaves open."""

import signal

import pytest

from lib import audit
from lib.stack import running_stack
from lib.traffic import check_granted, traffic
from lib.verify import jwks_of
from lib.wait import kill, until


@pytest.fixture(scope="module")
def stack():
    with running_stack(NEXUS_REQUEST_TIMEOUT_MS=2000) as s:
        yield s


def test_frozen_signer_costs_requests_not_the_service(stack):
    keys = jwks_of(stack)
    broker, signer = stack.pid, stack.signer_pid

    def is_told():
        reply = stack.call("GET", "/ready", timeout=5)
        return reply.status_code == 503 and reply.json()["parts"]["hsm"] != "ok"

    with traffic(stack) as work:
        work.wait_for(201, 20)
        kill(signer, signal.SIGSTOP)
        try:
            work.wait_for(503, 4)
            until(is_told, 20, "/ready names the HSM")
            assert stack.call("GET", "/health", timeout=5).status_code == 200
            assert jwks_of(stack) == keys
        finally:
            kill(signer, signal.SIGCONT)
        work.wait_for(201, 20)
    assert set(work.statuses()) <= {(201, None), (503, "hsm_unavailable"), (503, "deadline_exceeded"), (503, "overloaded")}
    stack.wait_ready(20)
    assert stack.pid == broker
    check_granted(stack, work)


@pytest.mark.slow
def test_open_intents_of_a_dead_broker_get_an_outcome(stack):
    """Minutes later, by the sweep of whichever broker runs then."""
    with traffic(stack, threads=8) as work:
        work.wait_for(201, 50)
        kill(stack.pid)
        work.wait_for(None)
    assert audit.open_intents(stack)
    stack.restart()
    stack.settle(240)
    leaves = stack.leaves()
    audit.check(leaves)
    assert [leaf for leaf in leaves if leaf.kind == "outcome" and leaf.body["reason"] == "unknown"]
