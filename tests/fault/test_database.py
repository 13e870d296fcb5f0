# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL stopped, restarted and frozen under load: 503 meanwhile, and nothing to be restarted afterwards."""

import pytest

from lib.stack import running_stack
from lib.traffic import check_granted, traffic
from lib.verify import is_error, jwks_of
from lib.wait import until

DEADLINE_S = 2
AWAY = {(201, None)} | {(503, c) for c in ("database_unavailable", "database_busy", "deadline_exceeded", "overloaded")}


@pytest.fixture(scope="module")
def stack():
    with running_stack(NEXUS_REQUEST_TIMEOUT_MS=DEADLINE_S * 1000) as s:
        yield s


@pytest.fixture(autouse=True)
def healthy_before(stack):
    """Each worker makes its connection anew with a backoff of its own, so one look at /ready says nothing of the others."""
    stack.wait_ready(20)

    def all_workers():
        return all(stack.admin("GET", "/admin/v1/agents?limit=1").status_code == 200 for _ in range(64))

    until(all_workers, 20, "every worker has its connection")


def wait_not_ready(stack):
    def look():
        reply = stack.call("GET", "/ready")
        return reply.status_code == 503 and reply.json()["parts"]["database"] != "ok"

    until(look, 15, "/ready names the database")


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_stopped_and_started_under_load(stack, mode):
    broker, signer = stack.pid, stack.signer_pid
    before = jwks_of(stack)
    with traffic(stack, threads=8) as work:
        work.wait_for(201, 50)
        stack.postgres.stop(mode)
        try:
            work.wait_for(503, 8)
            wait_not_ready(stack)
            assert stack.call("GET", "/health").status_code == 200
            assert jwks_of(stack) == before
            down = work.wait_for(503, 8)
            assert all(a.status == 503 for a in work.since(down))
            is_error(stack.admin("GET", "/admin/v1/agents"), 503, "database_unavailable")
        finally:
            stack.postgres.start()
        work.wait_for(201, 50)
    assert set(work.statuses()) <= AWAY
    stack.wait_ready(10)
    assert (stack.pid, stack.signer_pid) == (broker, signer)
    check_granted(stack, work)


def test_frozen_database_costs_no_more_than_the_deadline(stack):
    """No connection breaks: only our own deadline ends such a request."""
    broker = stack.pid
    before = jwks_of(stack)
    with traffic(stack) as work:
        work.wait_for(201, 20)
        with stack.postgres.paused():
            work.wait_for(503, 8)
            wait_not_ready(stack)
            assert stack.call("GET", "/health", timeout=1).status_code == 200
            assert jwks_of(stack) == before
        work.wait_for(201, 20)
    assert set(work.statuses()) <= AWAY
    assert max(a.seconds for a in work.answers) < DEADLINE_S + 1
    stack.wait_ready(10)
    assert stack.pid == broker
    check_granted(stack, work)
