# SPDX-License-Identifier: Apache-2.0
"""Workers that wait for somebody outside who hangs: some of them may, and the others go on."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

import pytest

from lib import agents, obo
from lib.backend import PATH, Backend
from lib.issuer import Issuer
from lib.loopback import Hang
from lib.oauth import INTROSPECT_PATH
from lib.verify import is_error

WORKERS = 4
# Half of them.
PLACES = 2
CALLERS = 12
REVOKE = "/admin/v1/sessions/revoke"


@pytest.fixture(scope="module")
def backend():
    with Backend() as it:
        yield it


@pytest.fixture(scope="module")
def front(broker, backend, tmp_path_factory):
    """A broker of few workers, which waits for others longer than a test lasts."""
    env = {
        "BACKEND_AUTH_URL": backend.url,
        "NEXUS_WORKERS": WORKERS,
        "NEXUS_BACKEND_TIMEOUT_MS": 40000,
        "NEXUS_FETCH_TIMEOUT_MS": 40000,
        "NEXUS_REQUEST_TIMEOUT_MS": 45000,
        "NEXUS_INSECURE_LOOPBACK_FETCHES": "on",
    }
    with obo.broker_beside(broker, tmp_path_factory.mktemp("front"), **env) as it:
        backend.trust(it)
        yield it


@pytest.fixture
def jane(front):
    return agents.register(front)


@pytest.fixture
def trust(front):
    with obo.trusted(front) as add:
        yield lambda source: add(Issuer(front.issuer), source)


def places(front):
    return front.metric("nexus_outbound_calls")


def calls_signed(front):
    return sum(1 for leaf in front.leaves("kind = 'intent'") if leaf.body.get("detail") == "call")


@contextmanager
def crowd(hang, ask, refusal):
    """CALLERS ask at once, of whom as many as there are places hang until the end of the block; the others have been
    refused with that when it begins. Who hung is answered well then."""
    with ThreadPoolExecutor(CALLERS) as pool:
        work = [pool.submit(ask) for _ in range(CALLERS)]
        try:
            answered = as_completed(work, 20)
            for _ in range(CALLERS - PLACES):
                is_error(next(answered).result(), *refusal)
            assert hang.arrived.is_set()
            yield
            assert not hang.release.is_set()
        finally:
            hang.release.set()
        assert [w.result().status_code for w in answered] == [201] * PLACES


def check_the_rest_goes_on(front, jane, settled):
    """Everything that needs nobody outside, and the kill switch above all."""
    for _ in range(2 * WORKERS):
        session = jane.session()
        granted = obo.session(jane, settled.token())
        for token, status in ((session["session_token"], True), (granted["session_token"], True), ("x.y.z", False)):
            reply = front.call("POST", INTROSPECT_PATH, key=front.gateway_key, data={"token": token})
            assert (reply.status_code, reply.json()["active"]) == (200, status)
        reply = front.admin("POST", REVOKE, json={"session_id": granted["session_id"]})
        assert reply.status_code == 200, reply.text
        reply = front.call("POST", INTROSPECT_PATH, key=front.gateway_key, data={"token": granted["session_token"]})
        assert reply.json() == {"active": False}
    assert front.is_ready()


def test_hanging_back_end_leaves_workers_for_the_rest(front, backend, jane, trust):
    settled, token, asked = trust("jwks"), backend.user(), backend.count(PATH)
    backend.misbehave(PATH, hang := Hang())
    try:
        with crowd(hang, lambda: obo.ask(jane, token), (503, "backend_auth_unavailable")):
            assert places(front) == PLACES and backend.count(PATH) == asked + PLACES
            check_the_rest_goes_on(front, jane, settled)
            # Nor can an issuer's keys be fetched now.
            is_error(obo.ask(jane, trust("jwks_uri").token()), 503, "issuer_unavailable")
    finally:
        backend.behave()
    assert places(front) == 0
    obo.session(jane, backend.user())


def test_hanging_issuer_leaves_workers_for_the_rest(front, backend, jane, trust):
    """One worker fetches; those who wait for it count as well."""
    settled, it = trust("jwks"), trust("jwks_uri")
    it.misbehave(it.jwks_path, hang := Hang())
    with crowd(hang, lambda: obo.ask(jane, it.token()), (503, "issuer_unavailable")):
        assert places(front) == PLACES and it.count(it.jwks_path) == 1
        check_the_rest_goes_on(front, jane, settled)
        is_error(obo.ask(jane, backend.user()), 503, "backend_auth_unavailable")
    assert places(front) == 0
    obo.session(jane, backend.user())


def test_refusal_for_want_of_a_place_costs_nothing(front, backend, jane):
    """It says nothing of the agent, its assertion stays good, and nothing was signed for it."""
    token, assertion = backend.user(), jane.assertion()
    backend.misbehave(PATH, hang := Hang())
    try:
        with crowd(hang, lambda: obo.ask(jane, token), (503, "backend_auth_unavailable")):
            signed = calls_signed(front)
            reply = obo.ask(jane, token, assertion=assertion)
            is_error(reply, 503, "backend_auth_unavailable")
            assert int(reply.headers["Retry-After"]) >= 1
            assert calls_signed(front) == signed
    finally:
        backend.behave()
    assert obo.leaves_of(front, jane, "refusal") == []
    assert obo.ask(jane, token, assertion=assertion).status_code == 201


def test_single_worker_may_ask_too(backend, front, jane, trust, broker_factory):
    alone = broker_factory({"NEXUS_WORKERS": 1}, share_with=front)
    obo.session(jane, backend.user(), broker=alone)
    obo.session(jane, trust("jwks_uri").token(), broker=alone)
    assert places(alone) == 0
