# SPDX-License-Identifier: Apache-2.0
"""The script and the log of tests/shim, the PKCS#11 module that misbehaves on request."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRESET = os.environ.get("NEXUS_TEST_PRESET", "release")
MODULE = ROOT / "build" / PRESET / "lib" / "nexus-shim.so"


class Shim:
    def __init__(self, folder):
        self.script_file = Path(folder) / "shim.script"
        self.log_file = Path(folder) / "shim.log"
        self.log_file.touch()

    def env(self):
        return {
            "NEXUS_PKCS11_MODULE": str(MODULE),
            "NEXUS_SHIM_SCRIPT": str(self.script_file),
            "NEXUS_SHIM_LOG": str(self.log_file),
        }

    def script(self, text):
        """Puts a script in place whole; it holds for every call that begins from now on."""
        new = self.script_file.with_suffix(".new")
        new.write_text(text + "\n")
        new.rename(self.script_file)

    def clear(self):
        self.script("# all is well")

    def lines(self):
        return self.log_file.read_text().splitlines()

    def count(self, line):
        """How often the log holds exactly this line, such as "C_Sign CKR_OK"."""
        return self.lines().count(line)

    def injected(self, since=0):
        """Calls from that line of the log on whose answer the shim made up."""
        return [line for line in self.lines()[since:] if line.endswith(" shim")]
