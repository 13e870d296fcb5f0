# SPDX-License-Identifier: Apache-2.0
"""The database stays up and refuses, or keeps requests waiting (P02, P04): 503s meanwhile, then health."""

import psycopg
import pytest

from lib.stack import running_stack
from lib.traffic import check_granted, traffic
from lib.wait import until

AWAY = {(201, None)} | {(503, c) for c in ("database_unavailable", "database_busy", "deadline_exceeded", "overloaded")}


@pytest.fixture(scope="module")
def stack():
    with running_stack(NEXUS_REQUEST_TIMEOUT_MS=2000, NEXUS_WORKERS=6) as s:
        yield s


@pytest.fixture
def superuser(stack):
    password = (stack.state_dir / "pg-superuser-password").read_text().strip()
    with psycopg.connect(stack.env["NEXUS_MIGRATE_DATABASE_URL"], user="postgres", password=password, autocommit=True) as db:
        yield db


@pytest.fixture
def work(stack):
    broker = stack.pid
    # Each worker learns by a request of its own that its connection was cut.
    def answers():
        return {stack.admin("GET", "/admin/v1/agents").status_code for _ in range(24)}

    until(lambda: answers() == {200}, 20, "every worker has a connection")
    with traffic(stack, threads=6) as work:
        work.wait_for(201, 20)
        yield work
        work.wait_for(201, 20)
    assert set(work.statuses()) <= AWAY, work.statuses()
    stack.wait_ready(20)
    assert stack.pid == broker
    check_granted(stack, work)


def cut_connections(db):
    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'nexus_broker'")


def test_connections_are_cut_again_and_again(work, superuser):
    for _ in range(5):
        work.wait_for(201, 20)
        cut_connections(superuser)


def test_administrator_holds_a_lock(stack, work):
    """P04"""
    with stack.connect() as db, db.transaction():
        db.execute("LOCK TABLE nexus.agent_sessions IN ACCESS EXCLUSIVE MODE")
        work.wait_for(503, 3)
        assert stack.call("GET", "/health", timeout=5).status_code == 200


def test_server_turns_read_only(work, superuser):
    """What a standby answers after a failover (25006)."""
    superuser.execute("ALTER ROLE nexus_broker SET default_transaction_read_only = on")
    cut_connections(superuser)
    try:
        work.wait_for(503, 5)
    finally:
        superuser.execute("ALTER ROLE nexus_broker RESET default_transaction_read_only")
        cut_connections(superuser)


def test_server_that_can_only_be_read_is_not_ready(stack, superuser):
    """Also while nobody asks for anything: the broker itself tries to write, and tries again."""

    def database():
        return stack.call("GET", "/ready").json()["parts"]["database"]

    def failed():
        return stack.metric("nexus_db_statement_duration_seconds_count", outcome="failed")

    superuser.execute("ALTER ROLE nexus_broker SET default_transaction_read_only = on")
    cut_connections(superuser)
    try:
        until(lambda: database() == "database_unavailable", 15, "/ready names the database")
        begin = failed()
        until(lambda: failed() >= begin + 3, 20, "the broker tries again")
        assert database() == "database_unavailable"
    finally:
        superuser.execute("ALTER ROLE nexus_broker RESET default_transaction_read_only")
        cut_connections(superuser)
    stack.wait_ready(15)


def test_no_connection_is_left(work, superuser):
    """53300"""
    superuser.execute("ALTER ROLE nexus_broker CONNECTION LIMIT 0")
    cut_connections(superuser)
    try:
        work.wait_for(503, 5)
    finally:
        superuser.execute("ALTER ROLE nexus_broker CONNECTION LIMIT -1")


def test_start_without_a_database_fails_with_a_reason(stack, broker_factory):
    nowhere = {"DATABASE_URL": "postgresql://x@/nexus?host=/nowhere", "NEXUS_MIGRATE": "off"}
    gone = broker_factory(nowhere, share_with=stack, wait=False)
    assert gone.wait_exit() != 0
    assert "database" in gone.log().lower()
