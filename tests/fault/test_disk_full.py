# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's disk full (attack T02): nothing is issued, /ready says so, and nothing of ours needs a restart."""

import errno
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from lib.stack import running_stack
from lib.traffic import check_granted, traffic
from lib.verify import jwks_of
from lib.wait import until

DISK_MB = 160
AWAY = {(201, None)} | {(503, c) for c in ("database_unavailable", "database_busy", "deadline_exceeded", "overloaded")}


def as_root(*command):
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return subprocess.run([*prefix, *command], capture_output=True, timeout=60, check=False).returncode == 0


class SmallDisk:
    """A filesystem of its own, for PostgreSQL's user."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._filler = self.folder / "filler"

    def fill(self):
        """Takes what is left of it."""
        with open(self._filler, "wb", buffering=0) as f:
            for size in (1 << 20, 1 << 12):
                try:
                    while f.write(bytes(size)):
                        pass
                except OSError as e:
                    assert e.errno == errno.ENOSPC

    def free(self):
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk():
    """Unmounted after whatever stands on it has ended."""
    folder = tempfile.mkdtemp(prefix="nexus-disk-", dir="/var/tmp")
    try:
        if not as_root("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0755,uid={os.geteuid()}", "none", folder):
            pytest.skip("no filesystem can be mounted here")
        try:
            data = Path(folder) / "data"
            data.mkdir(mode=0o700)
            if os.geteuid() == 0:
                # As whom scripts/stack runs PostgreSQL then.
                shutil.chown(data, "postgres")
            yield SmallDisk(folder), data
        finally:
            as_root("umount", "--lazy", folder)
    finally:
        os.rmdir(folder)


def superuser(stack):
    password = (stack.folder / "pg-superuser-password").read_text().strip()
    socket_dir = dict(psycopg.conninfo.conninfo_to_dict(stack.env["DATABASE_URL"]))["host"]
    return psycopg.connect(host=socket_dir, user="postgres", password=password, dbname="nexus", autocommit=True)


@pytest.fixture
def tables_away():
    """A stack whose tables lie on a small disk."""
    with small_disk() as (disk, data), running_stack() as stack:
        with superuser(stack) as db:
            db.execute(f"CREATE TABLESPACE small LOCATION '{data}'")
            db.execute("ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE small")
            db.execute("ALTER INDEX ALL IN TABLESPACE pg_default SET TABLESPACE small")
        try:
            yield stack, disk
        finally:
            disk.free()


@pytest.fixture
def wal_away():
    """A stack whose write-ahead log lies on a small disk."""
    with small_disk() as (disk, data), running_stack() as stack:
        stack.postgres.stop("fast")
        wal = stack.postgres.data / "pg_wal"
        as_root("cp", "--archive", f"{wal}/.", str(data))
        as_root("rm", "--recursive", str(wal))
        wal.symlink_to(data)
        stack.postgres.start()
        stack.wait_ready(20)
        try:
            yield stack, disk
        finally:
            disk.free()


def not_ready(stack):
    reply = stack.call("GET", "/ready")
    return reply.status_code == 503 and reply.json()["parts"]["database"] == "database_unavailable"


def check_lived_through(stack, pids, work):
    stack.wait_ready(15)
    assert set(work.statuses()) <= AWAY
    assert (stack.pid, stack.signer_pid) == pids
    check_granted(stack, work)


def test_full_disk_of_the_tables(tables_away):
    """PostgreSQL answers, and even writes where pages have room; what needs another page is refused."""
    stack, disk = tables_away
    pids, before = (stack.pid, stack.signer_pid), jwks_of(stack)
    with traffic(stack) as work:
        work.wait_for(201, 20)
        disk.fill()
        work.wait_for(503, 20)
        until(lambda: not_ready(stack), 15, "/ready names the database")
        assert stack.call("GET", "/health").status_code == 200
        assert jwks_of(stack) == before
        assert any("53100" in line.get("detail", "") for line in stack.log_lines())
        disk.free()
        work.wait_for(201, 50)
    check_lived_through(stack, pids, work)


def test_full_disk_of_the_write_ahead_log(wal_away):
    """PostgreSQL itself gives up, and an operator starts it again once there is room."""
    stack, disk = wal_away
    pids, before = (stack.pid, stack.signer_pid), jwks_of(stack)
    with traffic(stack) as work:
        work.wait_for(201, 20)
        disk.fill()

        def out_of_segments():
            try:
                with superuser(stack) as db:
                    db.execute("SELECT pg_switch_wal()")
            except psycopg.Error:
                return not_ready(stack)
            return False

        until(out_of_segments, 60, "the log needs another segment")
        work.wait_for(503, 8)
        assert stack.call("GET", "/health").status_code == 200
        assert jwks_of(stack) == before
        disk.free()

        def up_again():
            if not stack.postgres.is_running():
                stack.postgres.start()
            return stack.is_ready()

        until(up_again, 60, "all is well again")
        work.wait_for(201, 50)
    assert "No space left on device" in (stack.postgres.home / "postgres.log").read_text()
    check_lived_through(stack, pids, work)
