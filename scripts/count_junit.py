"""Usage: count_junit.py FILE: prints how many tests of a JUnit file passed, failed and were skipped."""

import sys
import xml.etree.ElementTree


def outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    skipped = case.find("skipped")
    if case.get("status") == "notrun":
        # ctest's word both for a test that skipped itself and for one whose program is missing.
        message = skipped.get("message", "") if skipped is not None else ""
        return "skipped" if message.startswith(("SKIP_", "Disabled")) else "failed"
    return "skipped" if skipped is not None or case.get("status") == "disabled" else "passed"


outcomes = [outcome(case) for case in xml.etree.ElementTree.parse(sys.argv[1]).iter("testcase")]
print(*(outcomes.count(word) for word in ("passed", "failed", "skipped")))
