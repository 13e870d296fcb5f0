# SPDX-License-Identifier: Apache-2.0
"""POST /v1/agent-sessions/obo: what is granted, every refusal, the order of the gates, and what is put on record.

The stack of this module runs with the PKCS#11 shim, whose log counts the signatures that the token really made, and
knows no issuer but those of a test."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest

from lib import audit, obo
from lib.backend import Backend
from lib.issuer import Issuer
from lib.keys import Key, parts
from lib.loopback import status
from lib.stack import running_stack
from lib.traffic import every_signature_recorded
from lib.verify import claims_of, is_error, jwks_of

CONDITIONS = {
    "acme:secret": {"min_clearance": 5},
    "acme:own": {"min_clearance": 1},
    "acme:short": {"max_ttl_seconds": 60},
    "acme:users": {"requires_obo": True},
}
CEILING = ["acme:read", "acme:write", "acme:forbidden", *CONDITIONS]
PERMISSIONS = ["acme:read", "acme:write", "acme:beyond", *CONDITIONS]


@pytest.fixture(scope="module")
def stack():
    with running_stack(with_shim=True, NEXUS_INSECURE_LOOPBACK_FETCHES="on") as s:
        for name, conditions in CONDITIONS.items():
            assert s.admin("POST", "/admin/v1/scopes", json={"name": name, **conditions}).status_code == 201
        yield s


@pytest.fixture(scope="module")
def backend():
    with Backend() as it:
        yield it
        assert it.refused() == []


@pytest.fixture(scope="module")
def beside(stack, backend, tmp_path_factory):
    """A second broker, which has a back end to ask."""
    with obo.broker_beside(stack, tmp_path_factory.mktemp("beside"), BACKEND_AUTH_URL=backend.url) as it:
        backend.trust(it)
        yield it


@pytest.fixture
def trust(stack):
    """trust(source="jwks", ...): an issuer that is trusted for the length of the test."""
    with obo.trusted(stack) as add:
        yield lambda *how, **changes: add(Issuer(stack.issuer), *how, **changes)


@pytest.fixture
def issuer(trust):
    return trust()


@pytest.fixture
def jane(stack, agent):
    return agent(broker=stack, scopes=CEILING)


def token_of(issuer, user="alice", **claims):
    return issuer.token(user, claims={"permissions": PERMISSIONS, **claims})


def seconds_of(text):
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp())


# --- what is granted


def test_answer_has_these_members_and_no_others(stack, issuer, jane):
    user = obo.new_user()
    session = obo.session(jane, token_of(issuer, user), scopes=["acme:write", "acme:read"], ttl_seconds=120)
    token = session.pop("session_token")
    assert session.pop("access_token") == token
    assert re.fullmatch("obo_[0-9a-f]{32}", session.pop("session_id"))
    created, expires = (seconds_of(session.pop(name)) for name in ("created_at", "expires_at"))
    assert expires - created == 120
    assert session == {
        "scopes_granted": ["acme:write", "acme:read"],
        "obo": True,
        "acting_for": user,
        "tenant_id": "acme",
        "clearance_level": 3,
        "active": True,
        "agent_id": jane.id,
        "audience": stack.issuer,
        "grant_type": "session",
        "token_type": "session",
    }


def test_token_says_who_acts_for_whom(stack, issuer, jane):
    user = obo.new_user()
    session = obo.session(jane, token_of(issuer, user), scopes=["acme:read", "acme:write"])
    claims = claims_of(session["session_token"], jwks_of(stack))
    created = seconds_of(session["created_at"])
    assert re.fullmatch("[0-9a-f]{32}", claims.pop("jti"))
    assert claims == {
        "iss": stack.issuer,
        "sub": user,
        "sub_profile": "user",
        "sub_id": {"format": "iss_sub", "iss": issuer.issuer, "sub": user},
        "act": {"sub": jane.id},
        "client_id": jane.id,
        "aud": stack.issuer,
        "scope": "acme:read acme:write",
        "sid": session["session_id"],
        "tenant_id": "acme",
        "clearance_level": 3,
        "iat": created,
        "nbf": created,
        "exp": seconds_of(session["expires_at"]),
    }


def test_agents_own_session_names_no_user(stack, jane):
    session = jane.session()
    claims = claims_of(session["session_token"], jwks_of(stack))
    assert session["obo"] is False and session["session_id"].startswith("sess_")
    assert claims["sub"] == jane.id
    for name in ("act", "acting_for", "tenant_id", "sub_profile"):
        assert name not in claims and name not in session


@pytest.mark.parametrize("ttl,left", [(None, 60), (900, 61), (3600, 1000), (60, 61)])
def test_session_ends_with_the_users_token_at_the_latest(stack, issuer, jane, ttl, left):
    users_end = int(time.time()) + left
    session = obo.session(jane, token_of(issuer, exp=users_end), ttl_seconds=ttl)
    claims = claims_of(session["session_token"], jwks_of(stack))
    assert claims["exp"] == seconds_of(session["expires_at"]) == min(users_end, claims["iat"] + (ttl or 900))


def test_a_scopes_own_maximum_is_kept(issuer, jane):
    session = obo.session(jane, token_of(issuer), scopes=["acme:read", "acme:short"])
    assert seconds_of(session["expires_at"]) - seconds_of(session["created_at"]) == 60


def test_audience_is_one_of_the_agents(stack, issuer, agent):
    a = agent(broker=stack, allowed_audiences=["https://api.example"])
    session = obo.session(a, token_of(issuer), audience="https://api.example")
    assert claims_of(session["session_token"], jwks_of(stack))["aud"] == session["audience"] == "https://api.example"


def test_a_scope_for_users_alone_and_one_that_wants_clearance_are_granted(issuer, jane):
    scopes = ["acme:users", "acme:secret"]
    assert obo.session(jane, token_of(issuer, clearance_level=5), scopes=scopes)["scopes_granted"] == scopes


def test_session_is_listed_with_its_user_and_closed(stack, beside, issuer, jane):
    user = obo.new_user()
    session = obo.session(jane, token_of(issuer, user))
    obo.session(jane, token_of(issuer, user + "-2"))
    path = f"/v1/agent-sessions/{session['session_id']}"

    def listed(active):
        reply = beside.admin("GET", f"/admin/v1/sessions?acting_for={user}&active={active}")
        assert reply.status_code == 200
        return reply.json()["sessions"]

    shown = {k: v for k, v in session.items() if k not in ("session_token", "access_token", "token_type")}
    assert listed("true") == [shown] and listed("false") == []
    assert beside.call("GET", path, bearer=session["session_token"]).json() == shown
    reply = beside.call("DELETE", path, bearer=session["session_token"])
    assert (reply.status_code, reply.json()["status"]) == (200, "closed")
    for broker in (stack, beside):
        is_error(broker.call("GET", path, bearer=session["session_token"]), 401, "invalid_token")
    [closed] = listed("false")
    assert closed["active"] is False and closed["closed_at"] >= closed["created_at"] and listed("true") == []


# --- the gates, in their order


class Request:
    """What one asks for, good until faults change it."""

    def __init__(self):
        self.scopes = ["acme:read"]
        self.fields = {}
        self.claims = {}
        self.agent = {}
        self.has_token = self.is_active = True
        self.is_forged = False

    def send(self, stack, issuer, agent):
        """The agent and the reply."""
        a = agent(broker=stack, scopes=CEILING, **self.agent)
        if not self.is_active:
            assert a.broker.admin("PATCH", f"/admin/v1/agents/{a.id}", json={"active": False}).status_code == 200
        token = token_of(issuer, **self.claims) if self.has_token else None
        assertion = a.assertion(key=Key("ES256")) if self.is_forged else None
        return a, obo.ask(a, token, assertion=assertion, scopes=self.scopes, **self.fields)


GATES = [
    (400, "invalid_request", lambda r: r.fields.update(user_token="x")),
    (400, "missing_agent_id", lambda r: r.fields.update(agent_id=None)),
    (400, "unsupported_agent_session_provider", lambda r: r.fields.update(provider_name="github")),
    (401, "invalid_client", lambda r: setattr(r, "is_forged", True)),
    (403, "agent_inactive", lambda r: setattr(r, "is_active", False)),
    (400, "missing_user_context_token", lambda r: setattr(r, "has_token", False)),
    (401, "invalid_user_context_token", lambda r: r.claims.update(aud="https://other.example")),
    (400, "invalid_scope", lambda r: r.scopes.append("a b")),
    (400, "invalid_ttl", lambda r: r.fields.update(ttl_seconds=3601)),
    (403, "scope_not_permitted_for_agent", lambda r: r.scopes.append("acme:beyond")),
    (403, "user_not_authorized_for_scope", lambda r: r.scopes.append("acme:forbidden")),
    (400, "invalid_target", lambda r: r.fields.update(audience="https://other.example")),
    (403, "clearance_too_low", lambda r: r.scopes.append("acme:secret")),
    (400, "invalid_ttl", lambda r: (r.scopes.append("acme:short"), r.fields.setdefault("ttl_seconds", 61))),
    (400, "invalid_dpop_proof", lambda r: r.agent.update(require_dpop=True)),
]
CODES = [code for _, code, _ in GATES]
GATE_NAMES = [f"{i:02}-{code}" for i, code in enumerate(CODES)]
# The first gates behind which the agent has proved itself, and the user is known.
AUTHENTICATED, USER_KNOWN = CODES.index("agent_inactive"), CODES.index("invalid_scope")


@pytest.mark.parametrize("number", range(len(GATES)), ids=GATE_NAMES)
def test_each_gate_refuses_by_itself_and_is_on_record(stack, issuer, agent, number):
    code_status, code, fault = GATES[number]
    request = Request()
    fault(request)
    a, reply = request.send(stack, issuer, agent)
    is_error(reply, code_status, code)
    if number < AUTHENTICATED:
        assert obo.leaves_of(stack, a, "refusal") == [] and obo.count_sessions(a) == 0
        return
    leaf = obo.refusal_of(a, code, None if code == "invalid_scope" else request.scopes)
    assert ("sub_p" in leaf) == (number >= USER_KNOWN)


@pytest.mark.parametrize("number", range(len(GATES) - 1), ids=GATE_NAMES[:-1])
def test_of_two_faults_the_earlier_gate_answers(stack, issuer, agent, number):
    code_status, code, fault = GATES[number]
    for later in range(number + 1, len(GATES)):
        request = Request()
        # Where both change one member, the earlier has the last word.
        GATES[later][2](request)
        fault(request)
        _, reply = request.send(stack, issuer, agent)
        assert (reply.status_code, reply.json()["error"]) == (code_status, code), f"with {GATE_NAMES[later]}: {reply.text}"


def test_the_request_that_the_gates_judge_is_good_but_for_their_faults(stack, issuer, agent):
    _, reply = Request().send(stack, issuer, agent)
    assert reply.status_code == 201, reply.text


# --- further refusals


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"agent_id":"a","agent_id":"a"}', b"\xff"])
def test_no_json_object(stack, body):
    reply = stack.call("POST", obo.PATH, data=body, headers={"Content-Type": "application/json"})
    is_error(reply, 400, "invalid_json")


@pytest.mark.parametrize(
    "fields,code_status,code",
    [
        ({"scopes": "acme:read"}, 400, "invalid_request"),
        ({"ttl_seconds": "60"}, 400, "invalid_request"),
        ({"user_context_token": 1}, 400, "invalid_request"),
        ({"user_context_token": {"token": "x"}}, 400, "invalid_request"),
        ({"user_context_token": "x" * 16385}, 400, "invalid_request"),
        ({"agent_id": ""}, 400, "missing_agent_id"),
        ({"agent_id": "a b"}, 400, "invalid_agent_id"),
        ({"connection_id": "c"}, 400, "unsupported_agent_session_provider"),
        ({"workspace_id": "w"}, 400, "unsupported_agent_session_provider"),
        ({"client_assertion": None}, 401, "invalid_client"),
        ({"client_assertion": ""}, 401, "invalid_client"),
        ({"client_assertion_type": None}, 401, "invalid_client"),
        ({"client_assertion_type": "jwt-bearer"}, 401, "invalid_client"),
    ],
)
def test_body_that_is_not_as_described(stack, issuer, jane, fields, code_status, code):
    body = {**jane.body(user_context_token=token_of(issuer)), **fields}
    reply = stack.call("POST", obo.PATH, json={k: v for k, v in body.items() if v is not None})
    is_error(reply, code_status, code)
    assert obo.count_sessions(jane) == 0


@pytest.mark.parametrize(
    "fields,code_status,code,scopes",
    [
        ({"user_context_token": ""}, 400, "missing_user_context_token", ["acme:read"]),
        ({"user_context_token": "x"}, 401, "invalid_user_context_token", ["acme:read"]),
        ({"user_context_token": "a.b.c"}, 401, "invalid_user_context_token", ["acme:read"]),
        ({"scopes": []}, 400, "missing_scopes", []),
        ({"scopes": None}, 400, "missing_scopes", []),
        ({"scopes": ["acme:read", ""]}, 400, "invalid_scope", None),
        ({"ttl_seconds": -1}, 400, "invalid_ttl", ["acme:read"]),
        ({"scopes": [" acme:write", "acme:none", "acme:write"]}, 403, "scope_not_permitted_for_agent", ["acme:write", "acme:none"]),
        ({"scopes": ["acme:*"]}, 403, "scope_not_permitted_for_agent", ["acme:*"]),
        ({"audience": "https://other.example"}, 400, "invalid_target", ["acme:read"]),
    ],
)  # fmt: skip
def test_request_of_an_agent_that_has_proved_itself(issuer, jane, fields, code_status, code, scopes):
    assertion = jane.assertion()
    fields = {"user_context_token": token_of(issuer), **fields}
    is_error(obo.ask(jane, assertion=assertion, token=fields.pop("user_context_token"), **fields), code_status, code)
    obo.refusal_of(jane, code, scopes)
    is_error(obo.ask(jane, token_of(issuer), assertion=assertion), 401, "invalid_client")


def test_message_names_the_scope_that_is_refused(issuer, jane):
    for scope in ("acme:beyond", "acme:forbidden", "acme:secret"):
        assert scope in obo.ask(jane, token_of(issuer), scopes=["acme:read", scope]).json()["message"]


def test_every_token_that_is_refused_is_refused_alike(stack, issuer, jane):
    """What was wrong with it is for the log."""
    now = int(time.time())
    tokens = [
        "x",
        token_of(issuer, exp=now - 100),
        token_of(issuer, iss="https://other.example"),
        issuer.token(key=Key("ES256")),
        issuer.token(signature=b"x" * 64),
        jane.session()["session_token"],
    ]
    replies = [obo.ask(jane, token) for token in tokens]
    for reply in replies:
        is_error(reply, 401, "invalid_user_context_token")
    assert len({reply.content for reply in replies}) == 1
    details = [
        line["detail"]
        for reply in replies
        for line in stack.log_lines()
        if line.get("request_id") == reply.headers["X-Request-Id"] and "detail" in line
    ]
    assert len(details) == len(tokens) and len(set(details)) >= 4, details


def test_assertion_of_a_grant_is_used_up_at_both_endpoints(issuer, jane):
    assertion = jane.assertion()
    assert obo.ask(jane, token_of(issuer), assertion=assertion).status_code == 201
    is_error(obo.ask(jane, token_of(issuer), assertion=assertion), 401, "invalid_client")
    is_error(jane.open(assertion=assertion), 401, "invalid_client")


def test_scopes_of_users_and_of_clearance_do_not_go_to_an_agent_by_itself(stack, agent):
    a = agent(broker=stack, scopes=CEILING)
    is_error(a.open(scopes=["acme:read", "acme:users"]), 403, "obo_required", "acme:users")
    is_error(a.open(scopes=["acme:secret"]), 403, "clearance_too_low", "acme:secret")
    is_error(a.open(scopes=["acme:short"], ttl_seconds=61), 400, "invalid_ttl")
    reasons = [leaf["reason"] for leaf in obo.leaves_of(stack, a, "refusal")]
    assert reasons == ["obo_required", "clearance_too_low", "invalid_ttl"]
    # An agent that acts for itself has clearance 1.
    assert a.session(scopes=["acme:own"])["clearance_level"] == 1


@pytest.mark.parametrize("clearance,granted", [(4, False), (5, True), (6, True), (0, False)])
def test_clearance_is_at_least_what_the_scope_asks_for(issuer, jane, clearance, granted):
    reply = obo.ask(jane, token_of(issuer, clearance_level=clearance), scopes=["acme:secret"])
    if granted:
        assert reply.status_code == 201
    else:
        is_error(reply, 403, "clearance_too_low", "acme:secret")


def test_changed_condition_of_a_scope_holds_at_once(stack, beside, issuer, agent):
    a = agent(broker=stack)
    for broker in (stack, beside) * 8:
        obo.session(a, token_of(issuer), broker=broker)
    assert stack.admin("POST", "/admin/v1/scopes", json={"name": "acme:read", "min_clearance": 4}).status_code == 201
    try:
        for broker in (beside, stack) * 8:
            is_error(obo.ask(a, token_of(issuer), broker=broker), 403, "clearance_too_low")
    finally:
        assert stack.admin("DELETE", "/admin/v1/scopes/acme:read").status_code == 200
    for broker in (beside, stack):
        obo.session(a, token_of(issuer), broker=broker)


# --- who vouches for users cannot be asked


def test_without_issuer_and_back_end_nobody_vouches_for_users(stack, jane, trust):
    """It uses nothing up: the same request is good once an operator has seen to it."""
    assertion = jane.assertion()
    is_error(obo.ask(jane, "x", assertion=assertion), 503, "obo_not_configured", "BACKEND_AUTH_URL")
    with Issuer(stack.issuer) as stranger:
        is_error(obo.ask(jane, token_of(stranger), assertion=assertion), 503, "obo_not_configured")
    assert obo.ask(jane, token_of(trust()), assertion=assertion).status_code == 201


def test_issuer_that_is_not_active_makes_no_configuration(stack, jane, trust):
    is_error(obo.ask(jane, token_of(trust(active=False))), 401, "invalid_user_context_token")
    with Issuer(stack.issuer) as stranger:
        is_error(obo.ask(jane, token_of(stranger)), 503, "obo_not_configured")


def test_issuer_that_cannot_be_reached(jane, trust):
    """Before any gate that looks at scopes; and the assertion stays good."""
    assertion, away, other = jane.assertion(), trust("jwks_uri"), trust()
    away.misbehave(away.jwks_path, status(500))
    reply = obo.ask(jane, token_of(away), assertion=assertion, scopes=["acme:beyond"])
    is_error(reply, 503, "issuer_unavailable")
    assert obo.ask(jane, token_of(other), assertion=assertion).status_code == 201


def test_rate_of_an_agent(stack, issuer, agent, broker_factory):
    a, count = agent(broker=stack), 8
    slow = broker_factory({"NEXUS_AGENT_RATE_PER_S": 1, "NEXUS_AGENT_BURST": 1}, share_with=stack)
    with ThreadPoolExecutor(count) as pool:
        replies = list(pool.map(lambda _: obo.ask(a, token_of(issuer), broker=slow), range(count)))
    refused = [reply for reply in replies if reply.status_code != 201]
    assert 0 < len(refused) < count
    for reply in refused:
        is_error(reply, 429, "rate_limited")
        assert int(reply.headers["Retry-After"]) >= 1
    assert obo.leaves_of(stack, a, "refusal") == [] and obo.count_sessions(a) == count - len(refused)


# --- what is put on record


def test_grant_is_an_intent_with_its_outcome(stack, issuer, jane):
    session = obo.session(jane, token_of(issuer), scopes=["acme:write", "acme:read"])
    stack.settle()
    leaves = stack.leaves()
    audit.check(leaves)
    claims = parts(session["session_token"])[1]
    intent = audit.check_token(leaves, session["session_token"], claims["jti"])
    assert [leaf["jti"] for leaf in obo.leaves_of(stack, jane, "intent")] == [claims["jti"]]
    body = intent.body
    assert (body["op"], body["policy"], body["client"], body["session"]) == ("sign", "granted", jane.id, session["session_id"])
    assert (body["scope"], body["exp"], body["aud"]) == (["acme:write", "acme:read"], claims["exp"], stack.issuer)
    assert body["sub_p"]
    outcomes = [leaf for leaf in leaves if leaf.kind == "outcome" and leaf.jti == claims["jti"]]
    assert [leaf.body["reason"] for leaf in outcomes] == ["ok"]


def pseudonyms(stack, agent):
    """[(month, pseudonym)] of the agent's grants."""
    return [(leaf["t"][:7], leaf["sub_p"]) for leaf in obo.leaves_of(stack, agent, "intent")]


def test_a_user_has_one_pseudonym_a_month_at_every_broker(stack, beside, backend, issuer, agent, trust):
    a, b, other, elsewhere, by_back_end = (agent(broker=stack) for _ in range(5))
    user = obo.new_user()
    for broker in (stack, beside, stack):
        obo.session(a, token_of(issuer, user), broker=broker)
    obo.session(b, token_of(issuer, user), broker=beside)
    obo.session(other, token_of(issuer, user + "x"))
    obo.session(by_back_end, backend.user(user), broker=beside)
    obo.session(elsewhere, token_of(trust(), user))
    mine = set(pseudonyms(stack, a) + pseudonyms(stack, b))
    assert len(mine) == len({month for month, _ in mine})
    # A refusal after the user is known names it likewise.
    obo.ask(a, token_of(issuer, user), scopes=["acme:write"], audience="https://other.example")
    [refusal] = obo.leaves_of(stack, a, "refusal")
    mine.add((refusal["t"][:7], refusal["sub_p"]))
    assert len(mine) == len({month for month, _ in mine})
    for stranger in (other, elsewhere, by_back_end):
        assert not {p for _, p in pseudonyms(stack, stranger)} & {p for _, p in mine}


def places_of(stack, needles):
    """Where in the database one of these texts stands, in clear or inside bytes."""
    needles = [*needles, *(n.encode().hex() for n in needles)]
    found = set()
    for (table,) in stack.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'nexus'"):
        for (row,) in stack.sql(f'SELECT to_jsonb(whole) FROM nexus."{table}" whole'):
            found |= {f"{table}.{column}" for column, value in row.items() if any(n in json.dumps(value) for n in needles)}
    return found


def test_user_stands_in_clear_where_the_session_is_kept_and_nowhere_else(stack, beside, backend, issuer, jane):
    """Neither in the audit log, nor in any other table, nor in a log or metric; tokens stand nowhere at all."""
    user = obo.new_user()
    tokens = [token_of(issuer, user), token_of(issuer, user, clearance_level=0), token_of(issuer, user, aud="x")]
    tokens.append(backend.user(user))
    sessions = [obo.session(jane, tokens[0]), obo.session(jane, tokens[3], broker=beside)]
    is_error(obo.ask(jane, tokens[0], scopes=["acme:forbidden"]), 403, "user_not_authorized_for_scope")
    is_error(obo.ask(jane, tokens[1], scopes=["acme:secret"]), 403, "clearance_too_low")
    is_error(obo.ask(jane, tokens[2]), 401, "invalid_user_context_token")
    is_error(obo.ask(jane, token_of(issuer, jane.id)), 401, "invalid_user_context_token")
    assert len(stack.admin("GET", f"/admin/v1/sessions?acting_for={user}").json()["sessions"]) == 2
    assert stack.admin("POST", "/admin/v1/sessions/revoke", json={"user_id": user}).status_code == 200
    stack.settle()
    assert places_of(stack, [user]) == {"agent_sessions.acting_for"}
    secret = [part for t in tokens + [s["session_token"] for s in sessions] for part in t.split(".")[1:] or [t]]
    assert places_of(stack, secret) == set()
    logs = [file.read_text(errors="replace") for file in [beside.log_file, *stack.folder.rglob("*.log")]]
    for text in [*logs, json.dumps(stack.metrics()), json.dumps(beside.metrics())]:
        assert not [needle for needle in [user, *secret] if needle in text]


def test_one_signature_for_a_session_and_one_for_the_back_ends_call(stack, beside, backend, issuer, agent):
    by_issuer, by_back_end = agent(broker=stack), agent(broker=stack)
    with every_signature_recorded(stack):
        began = {(leaf.writer, leaf.seq) for leaf in stack.leaves("kind = 'intent'")}
        for _ in range(5):
            obo.session(by_issuer, token_of(issuer))
            obo.session(by_back_end, backend.user(), broker=beside)
        is_error(obo.ask(by_issuer, token_of(issuer), scopes=["acme:none"]), 403, "scope_not_permitted_for_agent")
        is_error(obo.ask(by_back_end, "unknown", broker=beside), 401, "invalid_user_context_token")
    made = [x.body for x in stack.leaves("kind = 'intent'") if (x.writer, x.seq) not in began and x.body["op"] == "sign"]
    clients = [leaf.get("client") for leaf in made]
    assert clients.count(by_issuer.id) == clients.count(by_back_end.id) == 5
    # What no session is, is a call: one for each time that the back end was asked.
    calls = [leaf for leaf in made if "session" not in leaf]
    assert len(calls) == 6 and len(made) == 16
    assert {leaf["aud"] for leaf in calls} == {backend.url}
