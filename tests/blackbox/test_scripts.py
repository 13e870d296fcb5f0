# SPDX-License-Identifier: Apache-2.0
"""scripts/quickstart and scripts/stack, as a newcomer runs them."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import requests

from lib.shim import PRESET, ROOT
from lib.stack import clean_environment
from lib.verify import claims_of
from lib.wait import free_port, is_alive

UP, DOWN = 0, 3


class Newcomer:
    """A state directory, and whoever runs the scripts on it."""

    def __init__(self, folder, as_user=()):
        self.state = Path(folder) / "state"
        self.as_user = as_user

    def run(self, script, *arguments):
        # --state-dir stands first: what stands last may be wrong on purpose.
        command = [*self.as_user, ROOT / "scripts" / script, "--state-dir", self.state, *arguments]
        environment = {**clean_environment(), "NEXUS_TEST_PRESET": PRESET}
        return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=240, check=False)

    def good(self, script, *arguments):
        done = self.run(script, *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def status(self):
        return self.run("stack", "status").returncode

    @property
    def pid(self):
        return int((self.state / "broker.pid").read_text())


@pytest.fixture
def newcomer(request):
    folder = Path(tempfile.mkdtemp(prefix="nexus-scripts-"))
    it = Newcomer(folder, *getattr(request, "param", ()))
    if it.as_user:
        shutil.chown(folder, "nobody")
    try:
        yield it
    finally:
        it.run("stack", "down", "--destroy", "--quiet")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(PRESET != "release", reason="quickstart builds and runs the release")
def test_quickstart_does_the_job_and_a_second_run_loses_nothing(newcomer):
    first = json.loads(newcomer.good("quickstart", "--json", "--port", str(free_port())).splitlines()[-1])
    assert set(first) == {"base_url", "admin_key_file", "agent_id", "session_id", "session_token", "verified", "seconds"}
    assert first["verified"] is True
    jwks = requests.get(f"{first['base_url']}/.well-known/jwks.json", timeout=10).json()
    claims = claims_of(first["session_token"], jwks)
    assert (claims["sub"], claims["sid"]) == (first["agent_id"], first["session_id"])

    pid = newcomer.pid
    text = newcomer.good("quickstart")
    assert newcomer.pid == pid
    # The commands that it prints do what they say, from anywhere.
    tried = "\n".join(line.strip() for line in text.split("Try next:")[1].split("Stop it")[0].splitlines())
    shown = subprocess.run(["bash", "-ec", tried], env=clean_environment(), cwd=ROOT, capture_output=True, text=True,
                           timeout=60, check=False)  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert len(re.findall(r"^demo-agent-[0-9a-f]{8} ", shown.stdout, re.M)) == 2
    assert first["agent_id"] in shown.stdout and jwks["keys"][0]["kid"] in shown.stdout

    last = newcomer.run("quickstart", "--exit", "--json")
    assert json.loads(last.stdout.splitlines()[-1])["verified"] is True
    assert not is_alive(pid) and newcomer.status() == DOWN


# Of a broker, which cannot be traced, /proc tells other users than root little.
USERS = [()]
if os.geteuid() == 0:
    USERS.append((("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"),))


@pytest.mark.parametrize("newcomer", USERS, ids=["me", "nobody"][: len(USERS)], indirect=True)
def test_a_stack_goes_up_and_down(newcomer):
    assert newcomer.status() == DOWN
    newcomer.good("stack", "up", "--port", "0")
    first = newcomer.pid
    assert newcomer.status() == UP
    assert "already up" in newcomer.run("stack", "up").stderr
    names = set(re.findall(r"^export (\w+)=", newcomer.good("stack", "env"), re.M))
    assert {"NEXUS_URL", "NEXUS_ADMIN_KEY_FILE", "NEXUS_API_KEY_FILE", "DATABASE_URL", "SOFTHSM2_CONF",
            "NEXUS_PKCS11_MODULE", "PATH"} <= names  # fmt: skip
    newcomer.good("stack", "restart-broker")
    second = newcomer.pid
    assert not is_alive(first) and is_alive(second)
    newcomer.good("stack", "down")
    assert not is_alive(second) and newcomer.status() == DOWN
    newcomer.good("stack", "up")
    assert newcomer.status() == UP
    newcomer.good("stack", "down", "--destroy")
    assert not newcomer.state.exists()


def test_a_recycled_process_id_is_not_taken_for_the_broker(newcomer, broker):
    newcomer.state.mkdir()
    (newcomer.state / "broker.pid").write_text(f"{broker.pid}\n")
    (newcomer.state / "broker.started").write_text("1\n")
    assert newcomer.status() == DOWN
    newcomer.good("stack", "down")
    assert is_alive(broker.pid)


@pytest.mark.parametrize(
    "script,arguments,words",
    [
        ("stack", [], "no command"),
        ("stack", ["env"], "scripts/stack up"),
        ("stack", ["up", "--port", "x"], "not a port: x"),
        ("stack", ["up", "down"], "two commands"),
        ("quickstart", ["--port"], "needs a value"),
        ("quickstart", ["--jsn"], "unknown argument: --jsn"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(newcomer, script, arguments, words):
    done = newcomer.run(script, *arguments)
    assert done.returncode in (1, 2)
    assert words in done.stderr, done.stderr
    assert not newcomer.state.exists()
