# SPDX-License-Identifier: Apache-2.0
"""What the sanitizers of the presets asan and tsan print when they find something."""

import re

_FOUND = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error:|WARNING: ThreadSanitizer|Sanitizer CHECK failed")
# The shim's "crash" is a SIGSEGV on purpose, which AddressSanitizer reports before it lets the process die.
_PLANNED = re.compile(r"ERROR: AddressSanitizer: SEGV on unknown address")


def check(log, name, crash_planned=False):
    """Fails when a log holds a sanitizer's report."""
    lines = log.splitlines()
    for i, line in enumerate(lines):
        if _FOUND.search(line) and not (crash_planned and _PLANNED.search(line)):
            raise AssertionError(f"{name}: a sanitizer reports:\n" + "\n".join(lines[i : i + 60]))
