# SPDX-License-Identifier: Apache-2.0
"""The token goes away, comes back, or another one comes in its place."""

import pytest

from lib import agents
from lib.stack import running_stack
from lib.traffic import Traffic, check_granted, traffic
from lib.verify import jwks_of
from lib.wait import until

AWAY = {(201, None), (503, "hsm_unavailable"), (503, "deadline_exceeded"), (503, "overloaded")}


@pytest.fixture(scope="module")
def stack():
    with running_stack(with_shim=True) as s:
        yield s


def wait_not_ready(stack):
    def look():
        reply = stack.call("GET", "/ready")
        return reply.status_code == 503 and reply.json()["parts"]["hsm"] != "ok"

    until(look, 20, "/ready names the HSM")


def test_token_folder_moved_away_and_back_under_load(stack):
    broker = stack.pid
    before = jwks_of(stack)
    aside = stack.token_dir.with_name("tokens-aside")
    with traffic(stack) as work:
        work.wait_for(201, 50)
        stack.token_dir.rename(aside)
        try:
            work.wait_for(503, 20)
            wait_not_ready(stack)
            assert stack.call("GET", "/health").status_code == 200
            assert jwks_of(stack) == before
        finally:
            aside.rename(stack.token_dir)
        work.wait_for(201, 50, seconds=30)
    assert set(work.statuses()) <= AWAY
    stack.wait_ready(10)
    assert stack.pid == broker
    check_granted(stack, work)


def test_other_token_in_the_slot_signs_nothing(stack):
    """K05. Nor does it see the PIN."""
    agent = agents.register(stack)
    with traffic(stack, agent=agent) as before:
        before.wait_for(201, 20)
    seen = len(stack.shim.lines())
    stack.shim.script("token-swap")
    try:
        with traffic(stack, agent=agent) as during:
            during.wait_for(503, 40)
            wait_not_ready(stack)
            during.wait_for(503, 40)
        calls = [line.split()[0] for line in stack.shim.lines()[seen:]]
    finally:
        stack.shim.clear()
    assert not during.granted(), "a session was granted while another token was in the slot"
    assert {status for status, _ in during.statuses()} == {503}, during.statuses()
    assert "C_Login" not in calls, "the PIN was shown to another token"
    stack.wait_ready(20)
    after = Traffic(stack, agent)
    assert after.ask().status == 201
    check_granted(stack, before, during, after)


def test_lost_login_heals_unseen(stack):
    with traffic(stack) as work:
        work.wait_for(201, 20)
        logins = stack.shim.count("C_Login CKR_OK")
        stack.shim.script("C_Sign 3 lost-login once")
        until(lambda: stack.shim.count("C_Login CKR_OK") > logins, 10, "another login")
        work.wait_for(201, 50, seconds=20)
        stack.shim.clear()
    assert set(work.statuses()) <= AWAY
    check_granted(stack, work)
