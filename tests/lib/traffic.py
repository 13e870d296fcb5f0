# SPDX-License-Identifier: Apache-2.0
"""Requests that go on while something breaks, every answer kept; and what must hold of them afterwards."""

import hashlib
import threading
import time
from collections import Counter, namedtuple
from contextlib import contextmanager

import requests

from lib import agents, audit
from lib.keys import b64u, parts
from lib.verify import claims_of, jwks_of
from lib.wait import until

# status is None when the connection broke; at is when the answer came, seconds how long it took.
Answer = namedtuple("Answer", "status code at seconds body")

PAUSE_S = 0.02


class Traffic:
    def __init__(self, stack, agent):
        self.stack, self.agent = stack, agent
        self.answers = []

    def ask(self):
        """Asks for a session once."""
        began = time.monotonic()
        try:
            reply = self.agent.open(broker=self.stack)
            status, body = reply.status_code, reply.json()
        except requests.RequestException:
            status, body = None, {}
        now = time.monotonic()
        answer = Answer(status, body.get("error"), now, now - began, body)
        self.answers.append(answer)
        return answer

    def statuses(self):
        """How often each (status, error code) came."""
        return Counter((a.status, a.code) for a in list(self.answers))

    def since(self, at):
        return [a for a in list(self.answers) if a.at >= at]

    def granted(self):
        return [a.body for a in list(self.answers) if a.status == 201]

    def wait_for(self, status, count=1, seconds=30):
        """Until so many more answers of that status have come; returns when the waiting began."""
        at, begin = time.monotonic(), len(self.answers)
        enough = lambda: sum(a.status == status for a in self.answers[begin:]) >= count  # noqa: E731
        until(enough, seconds, f"{count} answers {status}; so far {self.statuses()}")
        return at


@contextmanager
def traffic(stack, threads=4, agent=None):
    """Traffic of so many callers at once, for the length of a block."""
    work = Traffic(stack, agent or agents.register(stack))
    stop = threading.Event()

    def run():
        while not stop.is_set():
            if work.ask().status != 201:
                stop.wait(PAUSE_S)

    callers = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for c in callers:
        c.start()
    try:
        yield work
    finally:
        stop.set()
        for c in callers:
            c.join(60)
    assert not any(c.is_alive() for c in callers), "a request is never answered"


def check_granted(stack, *works):
    """Every session that was granted is in the database, with an intent that holds the hash of its very token, and its
    signature is good; and there is no session without an intent."""
    leaves = stack.leaves()
    audit.check(leaves)
    keys = jwks_of(stack)
    intents = {leaf.jti: leaf for leaf in leaves if leaf.kind == "intent"}
    rows = dict(stack.sql("SELECT session_id, jti FROM nexus.agent_sessions"))
    for session in (s for work in works for s in work.granted()):
        token = session["session_token"]
        jti = parts(token)[1]["jti"]
        assert rows.get(session["session_id"]) == jti, "a granted session is not in the database"
        signed = token.rsplit(".", 1)[0].encode()
        assert intents[jti].body["in_sha256"] == b64u(hashlib.sha256(signed).digest())
        claims_of(token, keys)
    assert set(rows.values()) <= set(intents), "a session without its intent"


@contextmanager
def every_signature_recorded(stack):
    """Over the block, the outcomes that say ok are as many as the signatures that the token made and gave unspoilt."""

    def counts():
        stack.settle()
        return audit.outcomes_ok(stack.leaves()), stack.shim.count("C_Sign CKR_OK")

    def difference():
        recorded, signed = counts()
        return recorded - signed

    before = until(lambda: [d for d in [difference()] if d == difference()], 20, "the counts are at rest")
    yield
    until(lambda: [difference()] == before, 20, "an outcome ok for every signature, and no more")
