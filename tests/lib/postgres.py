# SPDX-License-Identifier: Apache-2.0
"""The PostgreSQL cluster of a stack, and what can befall it."""

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

from lib.wait import descendants, is_alive, kill

BIN = "/usr/lib/postgresql/15/bin"


class Postgres:
    def __init__(self, state_dir):
        lines = dict(line.split("=", 1) for line in (Path(state_dir) / "postgres").read_text().splitlines())
        self.home = Path(lines["HOME"])
        self.data = self.home / "data"

    def _ctl(self, *arguments, env=None):
        command = [f"{BIN}/pg_ctl", "--pgdata", str(self.data), "--wait", "--silent", *arguments]
        if env:
            command = ["env", *(f"{k}={v}" for k, v in env.items()), *command]
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root; the stack made the cluster as the user postgres.
            command = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", *command]
        subprocess.run(command, cwd="/", check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120)

    def start(self, env=None):
        """env: what its environment holds besides ours."""
        self._ctl("--log", str(self.home / "postgres.log"), "start", env=env)

    def stop(self, mode):
        self._ctl("--mode", mode, "stop")

    def is_running(self):
        try:
            return is_alive(self.pid)
        except (OSError, ValueError):
            return False

    @property
    def pid(self):
        return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])

    @contextmanager
    def paused(self):
        """SIGSTOP for the postmaster and all that it started."""
        pids = [self.pid, *descendants(self.pid)]
        for pid in pids:
            kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                kill(pid, signal.SIGCONT)
