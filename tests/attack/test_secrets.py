# SPDX-License-Identifier: Apache-2.0
"""Attack T04: secrets are planted everywhere, and then looked for in the logs, the metrics and the whole database."""

import base64
import json
import secrets
import subprocess
from contextlib import contextmanager

import requests

from lib import agents
from lib.keys import KINDS, Key, b64u
from lib.stack import running_stack
from lib.verify import is_error

AGENTS = "/admin/v1/agents"


def dump(stack):
    """The whole database as text; byte strings in hexadecimal."""
    command = ["/usr/lib/postgresql/15/bin/pg_dump", "--inserts", stack.env["NEXUS_MIGRATE_DATABASE_URL"]]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()


@contextmanager
def watched():
    """A stack that tells all it can; yields it and a function that returns everything that it has told."""
    with running_stack(NEXUS_LOG_LEVEL="debug") as stack:

        def told():
            logs = stack.log() + (stack.postgres.home / "postgres.log").read_text(errors="replace")
            return logs + requests.get(stack.metrics_url, timeout=10).text + dump(stack)

        yield stack, told


def spellings(value):
    """How a text would look in a log, in JSON, in the hexadecimal of a bytea, or base64 of it alone."""
    raw = value.encode()
    return {value, raw.hex(), b64u(raw), base64.b64encode(raw).decode()}


def is_nowhere(planted, haystack):
    for name, value in planted.items():
        for text in spellings(value):
            assert text not in haystack, f"{name} has leaked"


def canary():
    return f"CANARY{secrets.token_hex(12)}"


def send_json(stack, method, path, body, cut=0):
    """The body as JSON, or without its last bytes."""
    data = json.dumps(body).encode()
    return stack.admin(method, path, data=data[: len(data) - cut], headers={"Content-Type": "application/json"})


def test_T04_private_members_of_keys():
    with watched() as (stack, told):
        a = agents.register(stack)
        planted = {}
        for kind in KINDS:
            private = Key(kind).private_jwk()
            planted |= {f"{name} of {kind}": private[name] for name in ("d", "p", "q", "dp", "dq", "qi") if name in private}
            body = {"agent_id": f"c-{secrets.token_hex(4)}", "allowed_scopes": [], "jwks": {"keys": [private]}}
            for cut in (0, 1):
                assert send_json(stack, "POST", AGENTS, body, cut).status_code == 400
                assert send_json(stack, "PATCH", f"{AGENTS}/{a.id}", {"jwks": body["jwks"]}, cut).status_code == 400
        planted["k"] = canary()
        oct_key = {"kty": "oct", "k": b64u(planted["k"].encode()), "kid": "k", "alg": "HS256"}
        body = {"agent_id": "oct", "allowed_scopes": [], "jwks": {"keys": [oct_key]}}
        is_error(send_json(stack, "POST", AGENTS, body), 400, "invalid_jwks")
        # A member that is not of a key is taken off, not kept.
        planted["x-note"] = canary()
        noted = {"jwks": {"keys": [{**a.key.jwk(), "x-note": planted["x-note"]}]}}
        assert send_json(stack, "PATCH", f"{AGENTS}/{a.id}", noted).status_code == 200
        assert planted["x-note"] not in stack.admin("GET", f"{AGENTS}/{a.id}").text
        is_nowhere(planted, told())


def test_T04_credentials_of_every_kind():
    with watched() as (stack, told):
        a = agents.register(stack)
        note, wrong_key = canary(), f"nxk_{secrets.token_urlsafe(32)}"
        session = a.session()
        path = f"/v1/agent-sessions/{session['session_id']}"
        forged = a.assertion(claims={"note": note}, key=Key("ES256"))
        expired = a.assertion(claims={"note": note, "iat": 1000, "exp": 1060})
        good = a.assertion(claims={"note": note})
        over_bearer = a.assertion(claims={"note": note})
        assert [a.open(assertion=x).status_code for x in (forged, expired, good, good)] == [401, 401, 201, 401]
        assert [stack.call("GET", path, bearer=over_bearer).status_code for _ in range(2)] == [200, 401]
        planted = {"API key": canary(), "bearer": canary(), "Basic": canary(), "cookie": canary(), "query": canary(), "body": canary()}
        calls = [
            stack.call("GET", AGENTS, key=planted["API key"]),
            stack.call("GET", AGENTS, bearer=planted["bearer"]),
            stack.call("GET", path, bearer=planted["bearer"]),
            stack.call("GET", path, bearer=f"a.{planted['bearer']}.b"),
            stack.call("GET", AGENTS, headers={"Authorization": f"Basic {planted['Basic']}"}),
            stack.call("GET", AGENTS, headers={"Cookie": f"session={planted['cookie']}"}),
            stack.call("GET", AGENTS, key=wrong_key),
            stack.call("GET", AGENTS, bearer=wrong_key),
            stack.call("GET", path, key=wrong_key),
            stack.call("GET", path, params={"access_token": planted["query"]}),
            stack.admin("GET", AGENTS, params={"access_token": planted["query"]}),
            stack.admin("GET", AGENTS, params={"cursor": planted["query"]}),
            send_json(stack, "POST", AGENTS, {"agent_id": "x", "description": planted["body"]}, cut=1),
            send_json(stack, "POST", AGENTS, {"agent_id": "x", "description": planted["body"] * 50}),
            send_json(stack, "POST", AGENTS, {"agent_id": "x", "max_ttl_seconds": planted["body"]}),
            send_json(stack, "POST", AGENTS, {"agent_id": "x", "password": planted["body"]}),
            send_json(stack, "PATCH", f"{AGENTS}/{a.id}", {"active": planted["body"]}),
            a.open(client_secret=planted["body"]),
            a.open(assertion=planted["body"]),
            a.open(ttl_seconds=planted["body"]),
        ]
        for reply in calls:
            assert 400 <= reply.status_code < 500, (reply.request.url, reply.text)
            for value in planted.values():
                assert value not in reply.text
        assert stack.call("DELETE", path, bearer=session["session_token"]).status_code == 200
        stack.restart()
        pieces = {f"{part} of {name}": token.split(".")[i]
                  for name, token in {"forged": forged, "expired": expired, "good": good, "over bearer": over_bearer,
                                      "session token": session["session_token"]}.items()
                  for i, part in ((1, "payload"), (2, "signature"))}  # fmt: skip
        own = {
            "admin key": stack.admin_key,
            "gateway key": stack.gateway_key,
            "auditor key": stack.auditor_key,
            "wrong key": wrong_key,
            "note": note,
            "database password": (stack.state_dir / "pg-broker-password").read_text().strip(),
        }
        haystack = told()
        is_nowhere({**planted, **pieces, **own}, haystack)
        # A PIN is short; it would stand in quotes, or after an equals sign.
        pin = (stack.state_dir / "user-pin").read_text().strip()
        assert f'"{pin}"' not in haystack and f"={pin}" not in haystack
        # What may be told is found, also inside the leaves: the search itself works.
        assert a.id in haystack and f'"client":"{a.id}"'.encode().hex() in haystack and "invalid_client" in haystack


def test_T04_process_memory_is_closed(broker):
    """No core dumps, and not readable by others of the same user."""
    for pid in (broker.pid, broker.signer_pid):
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            [line] = [x for x in f if x.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"], line
