# SPDX-License-Identifier: Apache-2.0
"""An agent as its developer holds it: an id, a private key, and assertions."""

import secrets
import time

from lib.keys import ASSERTION_TYPE, Key, changed, compact


class Agent:
    def __init__(self, broker, agent_id, keys, registered):
        self.broker = broker
        self.id = agent_id
        self.keys = keys
        self.registered = registered

    @property
    def key(self):
        return self.keys[0]

    def header(self, **changes):
        return changed({"alg": self.key.kind, "typ": "client-authentication+jwt", "kid": self.key.kid}, changes)

    def claims(self, **changes):
        now = int(time.time())
        claims = {
            "iss": self.id,
            "sub": self.id,
            "aud": self.broker.issuer,
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + 60,
        }
        return changed(claims, changes)

    def assertion(self, header=None, claims=None, key=None, signature=None):
        """A client assertion. header and claims are changes to good ones (None as a value takes the member away), or
        bytes or text that stand as they are."""
        header = header if isinstance(header, (bytes, str)) else self.header(**(header or {}))
        claims = claims if isinstance(claims, (bytes, str)) else self.claims(**(claims or {}))
        return compact(header, claims, key or self.key, signature)

    def body(self, assertion=None, **fields):
        body = {
            "agent_id": self.id,
            "scopes": self.registered["allowed_scopes"][:1],
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion() if assertion is None else assertion,
        }
        return changed(body, fields)

    def open(self, assertion=None, broker=None, **fields):
        """Asks for a session; fields are changes to a good request."""
        return (broker or self.broker).call("POST", "/v1/agent-sessions", json=self.body(assertion, **fields))

    def session(self, broker=None, **fields):
        reply = self.open(broker=broker, **fields)
        assert reply.status_code == 201, reply.text
        return reply.json()


def register(broker, kind="ES256", scopes=("acme:read", "acme:write"), agent_id=None, keys=None, **fields):
    """Registers an agent of that kind of key with the broker."""
    keys = keys or [Key(kind)]
    agent_id = agent_id or f"agent-{secrets.token_hex(6)}"
    body = {"agent_id": agent_id, "allowed_scopes": list(scopes), "jwks": {"keys": [k.jwk() for k in keys]}, **fields}
    reply = broker.admin("POST", "/admin/v1/agents", json=body)
    assert reply.status_code == 201, reply.text
    return Agent(broker, agent_id, keys, reply.json())


def grants(agent):
    """Sessions, used one-time ids and signatures' intents of an agent: what a refusal must not add to."""
    return agent.broker.sql(
        "SELECT (SELECT count(*) FROM nexus.agent_sessions WHERE agent_id = %(id)s),"
        " (SELECT count(*) FROM nexus.replay_guard WHERE issuer = %(id)s),"
        " (SELECT count(*) FROM nexus.audit_leaves WHERE kind = 'intent'"
        " AND convert_from(leaf, 'UTF8')::json->>'client' = %(id)s)".replace("%(id)s", "%s"),
        agent.id, agent.id, agent.id,
    )  # fmt: skip
