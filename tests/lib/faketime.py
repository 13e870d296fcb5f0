# SPDX-License-Identifier: Apache-2.0
"""Clocks that a test sets while programs run, by libfaketime. Monotonic time goes on as it is."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from lib.shim import PRESET

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
# AddressSanitizer asks for the time before the library can answer, and hangs.
USABLE = PRESET not in ("asan", "tsan")


class FakeClock:
    """The wall clock of all programs that are started with env()."""

    def __init__(self, folder):
        self._file = Path(folder) / "clock"
        self.set(0)

    def set(self, seconds):
        """So many seconds before (negative) or after the machine's time, from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)

    def env(self):
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@contextmanager
def fake_clock():
    folder = Path(tempfile.mkdtemp(prefix="nexus-clock-"))
    # Also for PostgreSQL, which runs as a user of its own where the tests run as root.
    folder.chmod(0o755)
    try:
        yield FakeClock(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
