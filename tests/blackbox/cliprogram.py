# SPDX-License-Identifier: Apache-2.0
"""Running `nexus` as a user does: words, stdin, environment; status, stdout, stderr."""

import json
import os
import subprocess
from pathlib import Path

from lib import sanitizer
from lib.shim import PRESET, ROOT
from lib.stack import clean_environment

REFUSED, USAGE, UNAVAILABLE = 1, 2, 3


def program():
    return Path(os.environ.get("NEXUS_TEST_BIN") or ROOT / "build" / PRESET / "bin") / "nexus"


class Done:
    def __init__(self, completed):
        self.status = completed.returncode
        self.stdout = completed.stdout
        self.stderr = completed.stderr.decode(errors="replace")

    def json(self):
        """The one line of stdout, as JSON."""
        text = self.stdout.decode()
        assert text.endswith("\n") and text.count("\n") == 1, text
        return json.loads(text)


def nexus(*words, stdin=b"", env=None):
    completed = subprocess.run(
        [program(), *map(str, words)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        env={**clean_environment(), **(env or {})},
        capture_output=True,
        timeout=60,
        check=False,
    )
    done = Done(completed)
    sanitizer.check(done.stderr, f"nexus {' '.join(map(str, words))}")
    return done


def ok(*words, **more):
    done = nexus(*words, **more)
    assert done.status == 0, f"nexus {words}: {done.status}: {done.stderr}"
    return done


def fails(status, *words, says=(), **more):
    """It ends with this status, prints nothing on stdout, and its message holds these words."""
    done = nexus(*words, **more)
    assert done.status == status, f"nexus {words}: {done.status}: {done.stdout!r} {done.stderr}"
    assert done.stdout == b""
    for word in [says] if isinstance(says, str) else says:
        assert word in done.stderr, done.stderr
    return done


def private_file(path, content):
    """A file for secrets: mode 0600."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as f:
        f.write(content.encode() if isinstance(content, str) else content)
    return path
