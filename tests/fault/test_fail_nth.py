# SPDX-License-Identifier: Apache-2.0
"""The K-th Cryptoki call fails, for K = 1, 2, 3, ... until none fails: over an issuance, over one on behalf of a user,
over the way back from a lost token, and over a start."""

import pytest

from lib import agents, obo
from lib.backend import Backend
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


def each_call(stack, scenario, rule="* {} rv=CKR_FUNCTION_FAILED once", first=1, step=1, prepare=lambda: None):
    """Runs the scenario with the K-th call failing until it ends before that call; returns that K. Nothing fails while
    it is prepared."""
    for k in range(first, MOST, step):
        prepare()
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


class Deputy:
    """Asks for sessions as an agent does (lib.agents), each on behalf of a new user."""

    def __init__(self, agent, backend):
        self.agent, self.backend = agent, backend

    def open(self, broker):
        return obo.ask(self.agent, self.backend.user(obo.new_user()), broker)


def wrapped(stack):
    """How often the log says that a key was wrapped."""
    made = [leaf for leaf in stack.leaves("kind = 'outcome'") if leaf.body["op"] == "wrap"]
    return sum(leaf.body["reason"] == "ok" for leaf in made)


def test_on_behalf_of_a_user(stack, work, broker_factory):
    """The first such session of a month: the call key signs for the back end, the key of the month's pseudonyms is made
    at random, wrapped and unwrapped, and the session key signs. A broker keeps that key, so each failure meets a new
    one."""
    works, made = [], []

    def begin():
        if works:
            works[-1].stack.stop()
        stack.sql("DELETE FROM nexus.pseudonym_keys")
        front = broker_factory({"BACKEND_AUTH_URL": backend.url}, share_with=stack)
        works.append(Traffic(front, Deputy(work.agent, backend)))

    def ask():
        before = stack.shim.count("C_WrapKey CKR_OK")
        works[-1].ask()
        made.append(stack.shim.count("C_WrapKey CKR_OK") - before)

    with Backend() as backend, every_signature_recorded(stack):
        backend.trust(stack)
        logged = wrapped(stack)
        assert each_call(stack, ask, prepare=begin) > 10
        assert backend.refused() == []
    # An unwrapping is not tried again: tokens answer so to a blob that is not good, too.
    assert {status for w in works for status in w.statuses()} <= AWAY | {(500, "hsm_refused")}
    assert works[-1].statuses() == {(201, None): 1}
    check_granted(stack, *works)
    assert wrapped(stack) - logged == sum(made) > 0, "a key was wrapped off the record"


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
