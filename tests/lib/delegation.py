# SPDX-License-Identifier: Apache-2.0
"""Users' tokens, agents that act one after the other for a user, whether a token is in force, and what the token
endpoint must answer."""

import secrets
from contextlib import contextmanager

from lib import agents
from lib.issuer import Issuer
from lib.oauth import ACCESS_TOKEN, INTROSPECT_PATH, JWT, TOKEN_EXCHANGE, TOKEN_PATH, OAuthClient
from lib.verify import is_error

INACTIVE = b'{"active":false}'
# RFC 6749 section 5.2
_DESCRIPTION = set(map(chr, range(0x20, 0x7F))) - set('"\\')


def is_oauth_error(reply, status, code, *words):
    """The reply is an error of an OAuth endpoint, of that status and code, in the one shape, that no cache keeps; its
    description holds these words."""
    assert reply.status_code == status, f"{reply.status_code} {reply.text}"
    assert reply.headers["Content-Type"].startswith("application/json")
    is_not_stored(reply)
    body = reply.json()
    assert set(body) == {"error", "error_description"}, body
    assert body["error"] == code, body
    assert body["error_description"] and set(body["error_description"]) <= _DESCRIPTION, body
    for word in words:
        assert word in body["error_description"], body
    return body


def is_not_stored(reply):
    """RFC 6749 section 5.1"""
    assert (reply.headers.get("Cache-Control"), reply.headers.get("Pragma")) == ("no-store", "no-cache")


def granted(reply):
    assert reply.status_code == 200, f"{reply.status_code} {reply.text}"
    return reply.json()


def form(grant_type, **params):
    """The parameters of a request: a list as a value repeats a parameter, None leaves it out."""
    named = {"grant_type": grant_type, **params}
    lists = {name: value if isinstance(value, list) else [value] for name, value in named.items() if value is not None}
    return [(name, value) for name, values in lists.items() for value in values]


def opens_nothing(client, params, status, code, *words):
    """The token endpoint refuses these parameters with that error, and no session and no signature has come of them."""
    [(sessions, _, intents)] = agents.grants(client.agent)
    is_oauth_error(client.raw_token(params), status, code, *words)
    [(sessions_after, _, intents_after)] = agents.grants(client.agent)
    assert (sessions_after, intents_after) == (sessions, intents)


# --- users


@contextmanager
def trusted_issuer(broker, source="jwks", **changes):
    """An issuer (lib.issuer) that the broker trusts for the length of a block; changes are to its registration. Its
    keys lie in the registration, so nothing is fetched."""
    with Issuer(broker.issuer) as issuer:
        issuer.issuer = f"https://{secrets.token_hex(6)}.example"
        issuer.id = issuer.register(broker, source, **changes)["id"]
        try:
            yield issuer
        finally:
            assert broker.admin("DELETE", f"/admin/v1/issuers/{issuer.id}").status_code == 200


@contextmanager
def scope_rule(broker, **conditions):
    """The name of a new scope with these conditions, for the length of a block."""
    name = f"acme:{secrets.token_hex(6)}"
    reply = broker.admin("POST", "/admin/v1/scopes", json={"name": name, **conditions})
    assert reply.status_code == 201, reply.text
    try:
        yield name
    finally:
        assert broker.admin("DELETE", f"/admin/v1/scopes/{name}").status_code == 200


def new_user():
    return f"user-{secrets.token_hex(6)}"


# --- chains


def line(broker, n, dpop=(), **fields):
    """Clients (lib.oauth) of n agents, each of which the next may follow; fields are of their registrations. dpop: the
    DPoP keys of the first of them."""
    names = [f"agent-{secrets.token_hex(6)}" for _ in range(n)]
    followers = [[name] for name in names[1:]] + [[]]
    registered = [
        agents.register(broker, agent_id=name, **{"delegates_to": to, **fields}) for name, to in zip(names, followers)
    ]
    keys = [*dpop, *[None] * (n - len(dpop))]
    return [OAuthClient(broker, agent, key) for agent, key in zip(registered, keys)]


def delegate(clients, subject_token, subject_token_type=JWT, **params):
    """Each client exchanges the token of the one before, the first one subject_token. What the token endpoint answered
    each of them."""
    grants = []
    for client in clients:
        grants.append(client.token_exchange(subject_token, subject_token_type, **params))
        subject_token, subject_token_type = grants[-1]["access_token"], ACCESS_TOKEN
    return grants


def exchange_form(token, kind=ACCESS_TOKEN, **params):
    return form(TOKEN_EXCHANGE, subject_token=token, subject_token_type=kind, **params)


def exchange(client, token, kind=ACCESS_TOKEN, broker=None, **params):
    """The reply to an exchange; parameters as for form()."""
    pairs = exchange_form(token, kind, **params)
    if broker is None:
        return client.raw_token(pairs)
    return broker.call("POST", TOKEN_PATH, data=[*pairs, *client.authentication()])


def exchanged(client, token, kind=ACCESS_TOKEN, **params):
    return granted(exchange(client, token, kind, **params))


def exchange_refused(client, token, kind=ACCESS_TOKEN, code="invalid_request", words=(), **params):
    opens_nothing(client, exchange_form(token, kind, **params), 400, code, *words)


def actors(claims):
    """The agents of a token's act, the outermost first."""
    found = []
    act = claims.get("act")
    while act is not None:
        assert set(act) <= {"sub", "act"}, act
        found.append(act["sub"])
        act = act.get("act")
    return found


# --- sessions


def session_path(session_id):
    return f"/v1/agent-sessions/{session_id}"


def introspect(broker, token, key=None, **more):
    """What a gateway is answered."""
    return broker.call("POST", INTROSPECT_PATH, key=key or broker.gateway_key, data={"token": token, **more})


def is_in_force(grant, *brokers):
    """The token of what a token endpoint answered is accepted by every way there is to ask."""
    for broker in brokers:
        assert introspect(broker, grant["access_token"]).json()["active"] is True
        if grant["token_type"] != "DPoP":
            shown = broker.call("GET", session_path(grant["session_id"]), bearer=grant["access_token"])
            assert shown.status_code == 200 and shown.json()["active"] is True


def has_ended(grant, *brokers):
    """It is accepted by none."""
    for broker in brokers:
        reply = introspect(broker, grant["access_token"])
        assert (reply.status_code, reply.content) == (200, INACTIVE)
        if grant["token_type"] != "DPoP":
            shown = broker.call("GET", session_path(grant["session_id"]), bearer=grant["access_token"])
            is_error(shown, 401, "invalid_token")
        assert broker.admin("GET", session_path(grant["session_id"])).json()["active"] is False


def ways_to_end(client, grant):
    """How a session of that client's agent can end: {name: a call of nothing}."""
    broker, agent_id = client.broker, client.agent.id

    def ok(reply):
        assert reply.status_code == 200, reply.text

    return {
        "closed": lambda: ok(broker.admin("DELETE", session_path(grant["session_id"]))),
        "token revoked": lambda: ok(client.revoke(grant["access_token"])),
        "session killed": lambda: ok(
            broker.admin("POST", "/admin/v1/sessions/revoke", json={"session_id": grant["session_id"]})
        ),
        "agent killed": lambda: ok(broker.admin("POST", "/admin/v1/sessions/revoke", json={"agent_id": agent_id})),
        "agent deactivated": lambda: ok(
            broker.admin("PATCH", f"/admin/v1/agents/{agent_id}", json={"active": False})
        ),
        "agent deleted": lambda: ok(broker.admin("DELETE", f"/admin/v1/agents/{agent_id}")),
    }
