"""What the checks of our C source share: which files there are, and the code without its comments and strings."""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SKIP = {"build", "var", ".deps", ".git", "node_modules", "__pycache__", "test-results"}

# Comments, strings and character constants, in the order in which C's scanner would meet them.
_TOKEN = re.compile(r'//(?:\\\n|[^\n])*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def files(*suffixes):
    """Paths below the root, relative to it, sorted; all files when no suffix is given."""
    found = []
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [s for s in subfolders if s not in SKIP]
        for name in names:
            if not suffixes or name.endswith(suffixes):
                found.append(os.path.relpath(os.path.join(folder, name), ROOT))
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def _blank(match):
    text = match.group(0)
    if text[0] in "\"'":
        return text[0] + re.sub(r"[^\n]", " ", text[1:-1]) + text[0]
    return re.sub(r"[^\n]", " ", text)


def strip(text, keep_strings=False):
    """The text with comments (and what stands in strings) blanked; lines and columns stay."""
    if keep_strings:
        return _TOKEN.sub(lambda m: m.group(0) if m.group(0)[0] in "\"'" else _blank(m), text)
    return _TOKEN.sub(_blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def finish(problems, checked):
    """Prints the problems, each a "path:line: text", and exits as a check does."""
    for problem in problems:
        print(problem)
    print(f"{checked} checked, {len(problems)} problems", file=sys.stderr)
    sys.exit(1 if problems else 0)


def help_only(doc):
    """A check takes no argument but --help."""
    if len(sys.argv) > 1:
        print(doc.strip())
        sys.exit(0 if sys.argv[1] in ("-h", "--help") else 2)
