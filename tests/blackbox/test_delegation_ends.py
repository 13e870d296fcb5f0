# SPDX-License-Identifier: Apache-2.0
"""A delegation lives only while every link of its chain does (attacks X05 and X12): each link dead in turn, at rest and
while others exchange its token."""

import itertools
import threading
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.delegation import (
    delegate,
    exchange,
    has_ended,
    introspect,
    is_in_force,
    is_oauth_error,
    line,
    new_user,
    trusted_issuer,
    ways_to_end,
)
from lib.oauth import ACCESS_TOKEN
from lib.wait import until

LINKS = ["A", "B", "C"]
WAYS = ["closed", "token revoked", "session killed", "agent killed", "agent deactivated", "agent deleted"]
ROUNDS = 20
EXCHANGERS = 3

Try = namedtuple("Try", "began reply")


@pytest.fixture(scope="module")
def issuer(broker):
    with trusted_issuer(broker) as i:
        yield i


def refuses(client, grant, *brokers):
    for broker in brokers:
        is_oauth_error(exchange(client, grant["access_token"], broker=broker), 400, "invalid_request")


# --- at rest


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dead", range(3), ids=LINKS)
def test_chain_ends_from_the_dead_link_on(broker, issuer, way, dead):
    clients = line(broker, 4)
    grants = delegate(clients[:3], issuer.token())
    following = exchange(clients[3], grants[2]["access_token"]).json()
    ways_to_end(clients[dead], grants[dead])[way]()
    for n, grant in enumerate(grants):
        if n < dead:
            is_in_force(grant, broker)
        else:
            has_ended(grant, broker)
            refuses(clients[n + 1], grant, broker)
    has_ended(following, broker)
    if 0 < dead and "agent" not in way:
        # What stands before it can be handed on again.
        is_in_force(delegate([clients[dead]], grants[dead - 1]["access_token"], ACCESS_TOKEN)[0], broker)


def test_agent_that_comes_back_does_not_bring_its_sessions_back(broker, issuer):
    a, b, c = line(broker, 3)
    first, second = delegate([a, b], issuer.token())
    for active in (False, True):
        broker.admin("PATCH", f"/admin/v1/agents/{a.agent.id}", json={"active": active})
    for client, grant in ((b, first), (c, second)):
        has_ended(grant, broker)
        refuses(client, grant, broker)
    is_in_force(delegate([a, b, c], issuer.token())[2], broker)


@pytest.mark.parametrize("column", ["active = false", "active = false, deleted_at = now()"])
@pytest.mark.parametrize("dead", range(2), ids=LINKS[:2])
def test_every_agent_of_the_chain_is_looked_at(broker, issuer, column, dead):
    """Not its sessions alone: a row that says that an agent is out counts, whatever became of what it had open."""
    clients = line(broker, 3)
    grants = delegate(clients[:2], issuer.token())
    broker.sql(f"UPDATE nexus.agents SET {column} WHERE id = %s", clients[dead].agent.id)
    refuses(clients[2], grants[1], broker)


def test_chain_ends_by_itself(broker, issuer):
    a, b, c = line(broker, 3, max_ttl_seconds=2)
    first, second = delegate([a, b], issuer.token())
    until(lambda: introspect(broker, first["access_token"]).json() == {"active": False}, 10, "the first is over")
    until(lambda: introspect(broker, second["access_token"]).json() == {"active": False}, 10, "the second is over")
    for client, grant in ((b, first), (c, second)):
        has_ended(grant, broker)
        refuses(client, grant, broker)


def test_users_chains_end_whoever_acts(broker, broker_factory, issuer):
    second = broker_factory()
    user, other = new_user(), new_user()
    clients = line(broker, 3)
    mine, others = delegate(clients, issuer.token(user)), delegate(clients, issuer.token(other))
    reply = broker.admin("POST", "/admin/v1/sessions/revoke", json={"user_id": user})
    assert sum(reply.json().values()) == 3
    for grant in mine:
        has_ended(grant, broker, second)
    for grant in others:
        is_in_force(grant, broker, second)


@pytest.mark.parametrize("way", WAYS)
def test_end_of_the_first_is_the_end_at_every_broker(broker, broker_factory, issuer, way):
    """X12: from the next request on, with nothing asked before"""
    second = broker_factory()
    clients = line(broker, 4)
    trees = [delegate(clients[:3], issuer.token()) for _ in range(2)]
    siblings = [exchange(clients[1], trees[0][0]["access_token"], broker=second).json() for _ in range(3)]
    ways_to_end(clients[0], trees[0][0])[way]()
    refuses(clients[3], trees[0][2], second, broker)
    for grant in [*trees[0], *siblings]:
        has_ended(grant, second, broker)
    if "agent" in way:
        has_ended(trees[1][2], second, broker)
    else:
        is_in_force(trees[1][2], second, broker)


# --- at once (X05)


def exchange_until_refused(client, token, brokers):
    """All tries, the last of which is the one that was refused."""
    tries = []
    for broker in itertools.islice(itertools.cycle(brokers), 500):
        began = time.monotonic()
        tries.append(Try(began, exchange(client, token, broker=broker)))
        if tries[-1].reply.status_code != 200:
            return tries
    raise AssertionError("a token of a session that has ended is exchanged again and again")


@pytest.mark.parametrize("way", [*WAYS, "user killed"])
def test_no_token_after_the_end_was_acknowledged(broker, broker_factory, issuer, way):
    """Others exchange A's token without a pause, at two brokers, while A ends. Whatever began after the answer was
    refused; and of all that was granted before, nothing is in force."""
    pair = [broker, broker_factory()]
    with ThreadPoolExecutor(EXCHANGERS) as pool:
        for _ in range(ROUNDS):
            user = new_user()
            a, b = line(broker, 2)
            [first] = delegate([a], issuer.token(user))
            end = ways_to_end(a, first).get(way)
            begun = threading.Barrier(EXCHANGERS + 1)

            def run(n, b=b, token=first["access_token"], begun=begun):
                early = exchange(b, token, broker=pair[n % 2])
                begun.wait(30)
                return early, exchange_until_refused(b, token, [pair[n % 2], pair[1 - n % 2]])

            running = [pool.submit(run, n) for n in range(EXCHANGERS)]
            begun.wait(30)
            if way == "user killed":
                assert broker.admin("POST", "/admin/v1/sessions/revoke", json={"user_id": user}).status_code == 200
            else:
                end()
            acknowledged = time.monotonic()
            results = [r.result() for r in running]
            for early, tries in results:
                for t in [*tries[:-1], Try(0, early)]:
                    assert t.reply.status_code == 200
                    assert t.began < acknowledged, "a token was granted after its ancestor had ended"
                    for one in pair:
                        assert introspect(one, t.reply.json()["access_token"]).json() == {"active": False}
                is_oauth_error(tries[-1].reply, 400, "invalid_request")
            refuses(b, first, *pair)


@pytest.mark.parametrize("way", WAYS)
def test_exchange_that_was_under_way_is_of_no_use(broker, issuer, way):
    """The statement that opens the session has begun, and waits for another one; A ends; then it goes on."""
    a, b = line(broker, 2)
    [first] = delegate([a], issuer.token())
    end = ways_to_end(a, first)[way]
    waiting = (
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = 1"
        " AND objid = (hashtext(%s)::bigint & 4294967295)::oid"
    )
    with broker.connect() as db, ThreadPoolExecutor(1) as pool:
        with db.transaction():
            # What a change of B holds.
            db.execute("SELECT pg_advisory_xact_lock(1, hashtext(%s))", [b.agent.id])
            running = pool.submit(exchange, b, first["access_token"])
            until(lambda: broker.sql(waiting, b.agent.id), 10, "the exchange waits")
            end()
        reply = running.result()
    if reply.status_code == 200:
        has_ended(reply.json(), broker)
    else:
        is_oauth_error(reply, 400, "invalid_request")
    refuses(b, first, broker)


def test_chain_that_grows_while_it_is_cut(broker, broker_factory, issuer):
    """A ends while B's token is exchanged by C and C's by D: no grandchild survives."""
    pair = [broker, broker_factory()]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            a, b, c, d = line(broker, 4)
            first, second = delegate([a, b], issuer.token())
            begun = threading.Barrier(3)

            def grow(n, c=c, d=d, token=second["access_token"], begun=begun):
                granted = []
                begun.wait(30)
                for _ in range(200):
                    reply = exchange(c, token, broker=pair[n])
                    if reply.status_code != 200:
                        return granted
                    granted.append(reply.json())
                    reply = exchange(d, granted[-1]["access_token"], broker=pair[1 - n])
                    granted += [reply.json()] if reply.status_code == 200 else []
                raise AssertionError("a chain without its first session goes on and on")

            growing = [pool.submit(grow, n) for n in range(2)]
            begun.wait(30)
            assert a.revoke(first["access_token"]).status_code == 200
            for grant in [g for r in growing for g in r.result()]:
                for one in pair:
                    assert introspect(one, grant["access_token"]).json() == {"active": False}
            assert introspect(broker, second["access_token"]).json() == {"active": False}
