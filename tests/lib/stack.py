# SPDX-License-Identifier: Apache-2.0
"""A stack of one's own: scripts/stack on free ports and in a temporary folder."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from lib.broker import Broker
from lib.postgres import Postgres
from lib.shim import MODULE, PRESET, ROOT, Shim
from lib.wait import is_alive

# Settings of a stack that the developer's shell may hold must not reach the stacks of tests.
_FOREIGN = ("DATABASE_URL", "SOFTHSM2_CONF", "PORT", "BASE_URL", "STACK_EXPORTS")


def clean_environment():
    return {
        k: v
        for k, v in os.environ.items()
        if k not in _FOREIGN and not (k.startswith("NEXUS_") and not k.startswith("NEXUS_TEST_"))
    }


class Stack(Broker):
    """The broker of scripts/stack, with its token and database."""

    def __init__(self, folder, wishes):
        self.folder = Path(folder)
        self.wishes = {k: str(v) for k, v in wishes.items()}
        self._stack("up", "--port", "0", "--quiet")
        super().__init__(self._environment(), self.folder / "broker.log")
        self.postgres = Postgres(self.folder)

    def _stack(self, *arguments):
        command = [ROOT / "scripts" / "stack", *arguments, "--state-dir", self.folder, "--preset", PRESET]
        done = subprocess.run(
            command, env={**clean_environment(), **self.wishes}, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"scripts/stack {arguments[0]}: {done.stderr}"
        return done.stdout

    def _environment(self):
        """What the stack's broker and its users see."""
        script = f"{self._stack('env')}\nenv -0"
        env = {**clean_environment(), **self.wishes}
        out = subprocess.run(["bash", "-c", script], env=env, capture_output=True, check=True).stdout.decode()
        pairs = dict(item.split("=", 1) for item in out.split("\0") if item)
        # With it in place another stack would take these values for remembered ones.
        pairs.pop("STACK_EXPORTS", None)
        return pairs

    @property
    def pid(self):
        try:
            pid = int((self.folder / "broker.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if is_alive(pid) else None

    @property
    def token_dir(self):
        return self.folder / "tokens"

    def restart(self):
        """A new broker process with the same settings, however the last one ended."""
        self._stack("restart-broker", "--quiet")

    def down(self):
        """Stops everything, and looks what the broker left in its log."""
        pid = self.pid
        self._stack("down", "--quiet")
        assert pid is None or not is_alive(pid), "the broker outlived scripts/stack down"
        self.check_logs()


def _destroy(folder):
    command = [ROOT / "scripts" / "stack", "down", "--destroy", "--quiet", "--state-dir", folder]
    subprocess.run(command, env=clean_environment(), capture_output=True, timeout=120, check=False)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_stack(with_shim=False, **wishes):
    """A stack for the length of a block. with_shim: the signer loads tests/shim, which .shim commands."""
    folder = Path(tempfile.mkdtemp(prefix="nexus-test-"))
    shim_folder = Path(tempfile.mkdtemp(prefix="nexus-shim-"))
    shim = None
    if with_shim:
        assert MODULE.exists(), f"{MODULE} is not built"
        shim = Shim(shim_folder)
        wishes = {**wishes, **shim.env()}
    try:
        stack = Stack(folder, wishes)
        stack.shim = shim
        yield stack
        if shim is not None:
            shim.clear()
        stack.down()
    finally:
        if not os.environ.get("NEXUS_TEST_KEEP"):
            _destroy(folder)
            shutil.rmtree(shim_folder, ignore_errors=True)
