# SPDX-License-Identifier: Apache-2.0
"""A running broker as its users and operators meet it: HTTP, logs, metrics, signals, its database."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import psycopg
import requests

from lib import audit, sanitizer
from lib.wait import children, command, free_port, is_alive, kill, until

STOP_SECONDS = 40


class Broker:
    """env is the whole environment of the process; a subclass says which process it is."""

    def __init__(self, env, log_file):
        self.env = env
        self.log_file = Path(log_file)
        self.host, self.port = "127.0.0.1", int(env["PORT"])
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = env["BASE_URL"]
        self.metrics_url = f"http://{env['NEXUS_METRICS_LISTEN']}/metrics"
        self.admin_key_file = Path(env["NEXUS_ADMIN_KEY_FILE"])
        self.state_dir = self.admin_key_file.parent
        self.admin_key = self.admin_key_file.read_text().strip()
        self.gateway_key = Path(env["NEXUS_API_KEY_FILE"]).read_text().strip()
        self.auditor_key = Path(env["NEXUS_AUDITOR_KEY_FILE"]).read_text().strip()
        self.crash_planned = False
        self._local = threading.local()

    # --- HTTP

    def _session(self):
        """One per thread: requests' sessions are not made for sharing."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        return self._local.session

    def wait_unconnected(self):
        """Until the broker counts no open connection."""
        until(lambda: self.metric("nexus_http_connections") == 0, 10, "the broker has no open connection")

    def call(self, method, path, key=None, bearer=None, headers=None, timeout=30, **more):
        """key goes into X-API-Key, bearer into Authorization; the rest is for requests."""
        headers = dict(headers or {})
        if key is not None:
            headers["X-API-Key"] = key
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        return self._session().request(method, self.url + path, headers=headers, timeout=timeout, **more)

    def admin(self, method, path, **more):
        return self.call(method, path, key=self.admin_key, **more)

    def raw(self, request, timeout=15):
        """Sends bytes as they are and returns all that comes until the broker closes."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as s:
            s.sendall(request)
            s.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := s.recv(65536):
                received += chunk
            return received

    def is_ready(self):
        try:
            # Not kept alive: tests of connection caps start from none.
            return self.call("GET", "/ready", timeout=5, headers={"Connection": "close"}).status_code == 200
        except requests.RequestException:
            return False

    def wait_ready(self, seconds=60):
        until(lambda: self.is_ready() or self._must_live(), seconds, f"{self.url}/ready is 200\n{self.log()[-3000:]}")

    def _must_live(self):
        assert self.pid is not None and is_alive(self.pid), f"the broker has exited:\n{self.log()[-3000:]}"

    def metrics(self):
        """{'name{label="value"}': number} of the metrics listener."""
        reply = requests.get(self.metrics_url, timeout=10)
        assert reply.status_code == 200
        lines = [line for line in reply.text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def metric(self, name, **labels):
        """The sum of all samples of that name whose labels hold these values."""
        total = 0.0
        for sample, value in self.metrics().items():
            base, _, rest = sample.partition("{")
            has = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest))
            if base == name and all(has.get(k) == v for k, v in labels.items()):
                total += value
        return total

    # --- the process

    @property
    def signer_pid(self):
        """The signer that this broker has started, or None."""
        return next((p for p in children(self.pid) if command(p) == "nexus-signer"), None)

    def log(self):
        return self.log_file.read_text(errors="replace")

    def log_lines(self):
        """The log's events; what is not JSON (a sanitizer's report) is for check_logs to find."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def check_logs(self):
        sanitizer.check(self.log(), str(self.log_file), self.crash_planned)

    # --- the database

    def connect(self, as_owner=True):
        return psycopg.connect(self.env["NEXUS_MIGRATE_DATABASE_URL" if as_owner else "DATABASE_URL"], autocommit=True)

    def sql(self, query, *values):
        """Rows of a query by the schema's owner."""
        with self.connect() as db:
            cursor = db.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def row_counts(self):
        tables = [t for (t,) in self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'nexus'")]
        return {t: self.sql(f'SELECT count(*) FROM nexus."{t}"')[0][0] for t in tables}

    def leaves(self, where="true", *values):
        return audit.read(self, where, *values)

    def settle(self, seconds=20):
        """Waits until every intent has its outcome."""
        until(lambda: not audit.open_intents(self), seconds, "every intent has its outcome")


class Process(Broker):
    """A broker that this test process has started itself, beside that of a stack."""

    def __init__(self, program, env, log_file):
        self.process = None
        super().__init__(env, log_file)
        with open(log_file, "ab") as log:
            self.process = subprocess.Popen(
                [program, "serve"], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self):
        return self.process.pid if self.process.poll() is None else None

    def wait_exit(self, seconds=60):
        return self.process.wait(seconds)

    def stop(self):
        """Asks it to end, and looks what it left in its log."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"no exit within {STOP_SECONDS} s of SIGTERM:\n{self.log()[-3000:]}") from None
        self.check_logs()
        return code

    def kill(self):
        kill(self.process.pid)
        self.process.wait(10)


def environment_beside(broker, changes):
    """The environment of another broker on the same database, token and issuer, with ports of its own."""
    env = {**broker.env, "PORT": str(free_port()), "NEXUS_METRICS_LISTEN": f"127.0.0.1:{free_port()}"}
    env.update({k: str(v) for k, v in (changes or {}).items()})
    return {k: v for k, v in env.items() if v != ""}


def run_command(broker, *arguments, env=None, seconds=60):
    """One of the broker's short commands, such as api-key, in the environment of a broker."""
    return subprocess.run(
        [program(broker.env), *arguments],
        env={**broker.env, **(env or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def program(env):
    folder = next(d for d in env["PATH"].split(":") if os.access(f"{d}/nexus-broker", os.X_OK))
    return f"{folder}/nexus-broker"
