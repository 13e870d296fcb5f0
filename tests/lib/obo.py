# SPDX-License-Identifier: Apache-2.0
"""Sessions on behalf of users, as an agent asks for them; and what the audit log says about them."""

import secrets
from contextlib import contextmanager

from lib.broker import Process, environment_beside, program

PATH = "/v1/agent-sessions/obo"
OP = "session.obo"


def new_user():
    return f"user-{secrets.token_hex(8)}"


def ask(agent, token, broker=None, assertion=None, **fields):
    """Asks for a session with this user context token; fields are changes to a good request."""
    body = agent.body(assertion, user_context_token=token, **fields)
    return (broker or agent.broker).call("POST", PATH, json=body)


def session(agent, token, broker=None, **fields):
    reply = ask(agent, token, broker, **fields)
    assert reply.status_code == 201, reply.text
    return reply.json()


def leaves_of(broker, agent, kind):
    """The bodies of the agent's leaves of that kind, oldest first."""
    mine = "kind = %s AND convert_from(leaf, 'UTF8')::json->>'client' = %s"
    return [leaf.body for leaf in broker.leaves(mine, kind, agent.id)]


def count_sessions(agent):
    [(count,)] = agent.broker.sql("SELECT count(*) FROM nexus.agent_sessions WHERE agent_id = %s", agent.id)
    return count


def refusal_of(agent, code, scopes):
    """The one refusal that is on record for the agent, of that code and with these scopes; nothing was granted."""
    [leaf] = leaves_of(agent.broker, agent, "refusal")
    assert (leaf["op"], leaf["reason"], leaf["policy"], leaf.get("scope")) == (OP, code, "refused", scopes)
    assert leaves_of(agent.broker, agent, "intent") == [] and count_sessions(agent) == 0
    return leaf


@contextmanager
def trusted(broker):
    """add(issuer, source="jwks", ...): the broker trusts the issuer (lib.issuer) for the length of the block, and its
    server runs as long. Changes are to its registration."""
    issuers = []

    def add(issuer, source="jwks", **changes):
        issuer.id = issuer.register(broker, source, **changes)["id"]
        issuers.append(issuer)
        return issuer

    try:
        yield add
    finally:
        for issuer in issuers:
            issuer.close()
            assert broker.admin("DELETE", f"/admin/v1/issuers/{issuer.id}").status_code in (200, 404)


@contextmanager
def broker_beside(stack, folder, **env):
    """For fixtures of a module: a broker beside the stack's for the length of a block, as broker_factory makes them."""
    settings = environment_beside(stack, env)
    process = Process(program(settings), settings, folder / "broker.log")
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()
