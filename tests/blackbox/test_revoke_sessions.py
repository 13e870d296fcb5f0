# SPDX-License-Identifier: Apache-2.0
"""The kill switch: POST /admin/v1/sessions/revoke, deactivation, and what ends with a session."""

import os
import secrets
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cliprogram import REFUSED, USAGE, fails, ok
from lib import audit, obo
from lib.issuer import Issuer
from lib.oauth import OAuthClient
from lib.verify import is_error

REVOKE = "/admin/v1/sessions/revoke"
THREADS = 32


@pytest.fixture
def pair(broker, broker_factory):
    return broker, broker_factory()


@pytest.fixture
def env(broker):
    return {k: v for k, v in broker.env.items() if k.startswith("NEXUS_")}


@pytest.fixture(scope="module")
def issuer(broker):
    """Vouches for users. Its keys are registered: nobody asks it for anything."""
    with Issuer(broker.issuer) as issuer:
        issuer.issuer = f"https://idp-{secrets.token_hex(4)}.example"
        issuer.register(broker)
        yield issuer


def revoke(broker, **whose):
    reply = broker.admin("POST", REVOKE, json=whose)
    assert reply.status_code == 200, reply.text
    return reply.json()


def counts(sessions, descendants=0):
    return {"sessions_closed": sessions, "descendants_closed": descendants}


def ask(broker, session):
    return broker.call("GET", f"/v1/agent-sessions/{session['session_id']}", bearer=session["session_token"])


def introspect(broker, session):
    reply = broker.call("POST", "/oauth/introspect", key=broker.gateway_key, data={"token": session["session_token"]})
    assert reply.status_code == 200, reply.text
    return reply.json()


def assert_alive(session, *brokers):
    for broker in brokers:
        assert ask(broker, session).json()["active"] is True
        assert introspect(broker, session)["active"] is True


def assert_ended(session, *brokers):
    """Its token is refused, readers are told, and the row says it."""
    for broker in brokers:
        is_error(ask(broker, session), 401, "invalid_token")
        assert introspect(broker, session) == {"active": False}
        shown = broker.admin("GET", f"/v1/agent-sessions/{session['session_id']}").json()
        assert shown["active"] is False and shown["closed_at"] >= shown["created_at"]
    [(is_closed,)] = brokers[0].sql(
        "SELECT closed_at IS NOT NULL FROM nexus.agent_sessions WHERE session_id = %s", session["session_id"]
    )
    assert is_closed


def exchange(agent, session, broker=None):
    """What the agent gets for another's token."""
    got = OAuthClient(broker or agent.broker, agent).token_exchange(session["session_token"])
    return {"session_id": got["session_id"], "session_token": got["access_token"]}


def family(agent, issuer=None, broker=None):
    """A, B that was exchanged from A, C from B; and one that has nothing to do with them. A is an agent's own session,
    or a user's with an issuer."""
    third = agent()
    second = agent(delegates_to=[third.id])
    first = agent(delegates_to=[second.id])
    a = first.session() if issuer is None else obo.session(first, issuer.token(obo.new_user()))
    b = exchange(second, a, broker)
    return [first, second, third], a, b, exchange(third, b), second.session()


# --- what is killed


def test_agents_sessions_end_at_every_broker(pair, agent):
    first, second = pair
    a, other = agent(), agent()
    sessions = [a.session(broker=pair[i % 2]) for i in range(4)]
    closed_before = a.session()
    assert second.admin("DELETE", f"/v1/agent-sessions/{closed_before['session_id']}").status_code == 200
    others = other.session()
    assert revoke(first, agent_id=a.id) == counts(4)
    for s in sessions:
        assert_ended(s, second, first)
    assert_alive(others, *pair)
    assert second.admin("GET", f"/admin/v1/sessions?agent={a.id}&active=true").json()["sessions"] == []
    assert revoke(second, agent_id=a.id) == counts(0)
    # The agent is still admitted.
    assert_alive(a.session(broker=second), *pair)


def test_users_sessions_end_whoever_acts(pair, agent, issuer):
    first, second = pair
    user = obo.new_user()
    a, b = agent(), agent()
    mine = [obo.session(x, issuer.token(user), broker) for x, broker in ((a, first), (b, second), (a, second))]
    others = [a.session(), obo.session(b, issuer.token(obo.new_user()))]
    assert revoke(first, user_id=user) == counts(3)
    for s in mine:
        assert_ended(s, second, first)
    for s in others:
        assert_alive(s, *pair)
    assert second.admin("GET", f"/admin/v1/sessions?acting_for={user}&active=true").json()["sessions"] == []


def test_users_sessions_end_however_deep(pair, agent, issuer):
    first, second = pair
    _, a, b, c, stranger = family(agent, issuer, second)
    [user] = first.sql("SELECT acting_for FROM nexus.agent_sessions WHERE session_id = %s", a["session_id"])[0]
    assert revoke(first, user_id=user) == counts(3)
    for s in (c, b, a):
        assert_ended(s, second, first)
    assert_alive(stranger, *pair)


@pytest.mark.parametrize("how", ["revoke", "close", "close with its own token", "RFC 7009"])
@pytest.mark.parametrize("whose", ["an agent's own", "a user's"])
def test_chain_ends_with_its_first_session(pair, agent, issuer, how, whose):
    first, second = pair
    agents, a, b, c, stranger = family(agent, issuer if whose == "a user's" else None, second)
    for s in (a, b, c):
        assert_alive(s, *pair)
    path = f"/v1/agent-sessions/{a['session_id']}"
    if how == "revoke":
        assert revoke(first, session_id=a["session_id"]) == counts(1, 2)
    elif how == "close":
        assert first.call("DELETE", path, key=first.gateway_key).status_code == 200
    elif how == "RFC 7009":
        assert OAuthClient(first, agents[0]).revoke(a["session_token"]).status_code == 200
    else:
        assert first.call("DELETE", path, bearer=a["session_token"]).status_code == 200
    for s in (c, b, a):
        assert_ended(s, second, first)
    assert_alive(stranger, *pair)


@pytest.mark.parametrize("how", ["revoke", "deactivate", "delete"])
def test_chain_ends_from_the_agent_in_its_middle_on(pair, agent, how):
    first, second = pair
    agents, a, b, c, stranger = family(agent)
    path = f"/admin/v1/agents/{agents[1].id}"
    if how == "revoke":
        assert revoke(first, agent_id=agents[1].id) == counts(2, 1)
    elif how == "deactivate":
        assert first.admin("PATCH", path, json={"active": False}).json()["sessions_closed"] == 2
    else:
        assert first.admin("DELETE", path).json()["sessions_closed"] == 2
    for s in (c, b, stranger):
        assert_ended(s, second, first)
    assert_alive(a, *pair)


def test_child_that_comes_after_its_parents_end_is_dead(pair, agent):
    """Another broker may have been inserting it while the parent was closed: its row is open, it is not."""
    first, second = pair
    a = agent()
    parent, late = a.session(), a.session()
    assert revoke(first, session_id=parent["session_id"]) == counts(1)
    first.sql("UPDATE nexus.agent_sessions SET ancestors = %s WHERE session_id = %s", [parent["session_id"]], late["session_id"])
    for broker in pair:
        is_error(ask(broker, late), 401, "invalid_token")
        assert introspect(broker, late) == {"active": False}
        listed = broker.admin("GET", f"/admin/v1/sessions?agent={a.id}&active=true").json()["sessions"]
        assert late["session_id"] not in [s["session_id"] for s in listed]


def test_deactivation_tells_how_many_sessions_it_closed(broker, agent):
    a = agent()
    for _ in range(3):
        a.session()
    path = f"/admin/v1/agents/{a.id}"
    assert "sessions_closed" not in broker.admin("PATCH", path, json={"description": "x"}).json()
    reply = broker.admin("PATCH", path, json={"active": False}).json()
    assert reply["sessions_closed"] == 3 and reply["active"] is False and reply["agent_id"] == a.id
    assert broker.admin("PATCH", path, json={"active": False}).json()["sessions_closed"] == 0
    assert "sessions_closed" not in broker.admin("PATCH", path, json={"active": True}).json()
    assert "sessions_closed" not in broker.admin("GET", path).json()


# --- what is refused


@pytest.mark.parametrize(
    "body",
    [{}, {"agent_id": "a", "user_id": "u"}, {"agent_id": "a", "session_id": "s"}, {"user_id": "u", "session_id": "s"},
     {"agent_id": "a", "user_id": "u", "session_id": "s"}],
)  # fmt: skip
def test_exactly_one_is_named(broker, body):
    is_error(broker.admin("POST", REVOKE, json=body), 400, "invalid_request", "agent_id", "user_id", "session_id")


@pytest.mark.parametrize(
    "body,word",
    [({"user_id": ""}, "user_id"), ({"session_id": ""}, "session_id"), ({"agent_id": ""}, "agent_id"),
     ({"user_id": "u" * 257}, "user_id"), ({"session_id": "s" * 65}, "session_id"), ({"user_id": 7}, "user_id"),
     ({"user_id": None}, "user_id"), ({"agent_id": ["a"]}, "agent_id"), ({"user_id": "u", "cascade": True}, "cascade")],
)  # fmt: skip
def test_ill_formed_request(broker, body, word):
    is_error(broker.admin("POST", REVOKE, json=body), 400, "invalid_request", word)


@pytest.mark.parametrize("agent_id", [" ", "-x", "a b", "a/b", "ä", "x" * 129])
def test_ill_formed_agent_id(broker, agent_id):
    is_error(broker.admin("POST", REVOKE, json={"agent_id": agent_id}), 400, "invalid_agent_id")


def test_body_that_is_no_json_object(broker):
    json = {"Content-Type": "application/json"}
    for body in ("", "[]", '{"user_id":"u","user_id":"v"}', '"u"'):
        is_error(broker.admin("POST", REVOKE, data=body, headers=json), 400, "invalid_json")
    is_error(broker.admin("POST", REVOKE, data="user_id=u"), 415, "unsupported_media_type")


def test_unknown_ones(broker):
    assert revoke(broker, agent_id="nobody") == counts(0)
    assert revoke(broker, user_id=obo.new_user()) == counts(0)
    before = len(broker.leaves("kind = 'admin'"))
    is_error(broker.admin("POST", REVOKE, json={"session_id": "sess_none"}), 404, "session_not_found")
    assert len(broker.leaves("kind = 'admin'")) == before


def test_only_an_admin_may(broker, agent):
    session = agent().session()
    body = {"json": {"session_id": session["session_id"]}}
    is_error(broker.call("POST", REVOKE, **body), 401, "missing_api_key")
    is_error(broker.call("POST", REVOKE, key="nxk_" + "x" * 43, **body), 403, "invalid_api_key")
    for key in (broker.auditor_key, broker.gateway_key):
        is_error(broker.call("POST", REVOKE, key=key, **body), 403, "access_denied")
    is_error(broker.call("POST", REVOKE, bearer=session["session_token"], **body), 403, "invalid_api_key")
    assert_alive(session, broker)
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        reply = broker.admin(method, REVOKE)
        is_error(reply, 405, "method_not_allowed")
        assert reply.headers["Allow"] == "POST"


# --- the record


def revocations(broker):
    """The leaf of each request."""
    return {leaf.body.get("req_id"): leaf for leaf in broker.leaves("kind = 'admin'") if leaf.body["op"] == "sessions.revoke"}


def test_each_kill_is_on_record_and_names_no_user(broker, agent, issuer):
    user, a = obo.new_user(), agent()
    obo.session(a, issuer.token(user))
    session = a.session()
    request_ids = [f"revoke-{secrets.token_hex(8)}" for _ in range(3)]
    asked = [{"user_id": user}, {"session_id": session["session_id"]}, {"agent_id": a.id}]
    for request_id, body in zip(request_ids, asked, strict=True):
        assert broker.admin("POST", REVOKE, json=body, headers={"X-Request-Id": request_id}).status_code == 200
    broker.settle()
    leaves = broker.leaves()
    audit.check(leaves)
    by_request = revocations(broker)
    targets = [by_request[r].body["target"] for r in request_ids]
    assert targets == ["user", f"session:{session['session_id']}", f"agent:{a.id}"]
    assert all(by_request[r].body["actor"] == "admin" for r in request_ids)
    # The pseudonym under which the session was granted.
    [granted] = [x for x in obo.leaves_of(broker, a, "intent") if "sub_p" in x]
    assert by_request[request_ids[0]].body["detail"] == f"sub_p={granted['sub_p']}"
    assert not any(user.encode() in leaf.raw for leaf in leaves)


def test_users_sessions_end_while_the_hsm_is_frozen(broker, broker_factory, agent, issuer):
    """The kill switch needs no HSM; the pseudonym does, where this broker has not made one yet."""
    user, request_id = obo.new_user(), f"revoke-{secrets.token_hex(8)}"
    session = obo.session(agent(), issuer.token(user))
    other = broker_factory()
    signer = other.signer_pid
    os.kill(signer, signal.SIGSTOP)
    try:
        reply = other.admin("POST", REVOKE, json={"user_id": user}, headers={"X-Request-Id": request_id})
        assert (reply.status_code, reply.json()) == (200, counts(1))
    finally:
        os.kill(signer, signal.SIGCONT)
    assert_ended(session, broker, other)
    leaf = revocations(broker)[request_id]
    assert leaf.body["target"] == "user" and "detail" not in leaf.body


# --- races


@pytest.mark.parametrize("whose", ["agent", "user"])
def test_nothing_that_was_open_outlives_a_revocation(pair, agent, issuer, whose):
    """32 threads open sessions at both brokers while they are revoked again and again: a session whose opening was
    answered before the revocation was sent is dead when that is answered."""
    agents = [agent() for _ in range(4)]
    user = obo.new_user()
    stop = threading.Event()
    opened = []

    def open_sessions(i):
        while not stop.is_set():
            if whose == "agent":
                opened.append(agents[0].session(broker=pair[i % 2]))
            else:
                opened.append(obo.session(agents[i % 4], issuer.token(user), pair[i % 2]))

    closed, seen = 0, 0
    name = {"agent_id": agents[0].id} if whose == "agent" else {"user_id": user}
    with ThreadPoolExecutor(THREADS) as pool:
        work = [pool.submit(open_sessions, i) for i in range(THREADS)]
        try:
            for turn in range(8):
                while len(opened) < seen + THREADS and not any(w.done() for w in work):
                    pass
                sent = list(opened)
                closed += revoke(pair[turn % 2], **name)["sessions_closed"]
                ids = [s["session_id"] for s in sent]
                assert pair[0].sql("SELECT count(*) FROM nexus.agent_sessions WHERE session_id = ANY(%s) AND closed_at IS NULL", ids) == [(0,)]
                for broker in pair:
                    for s in sent[-4:]:
                        is_error(ask(broker, s), 401, "invalid_token")
                seen = len(sent)
        finally:
            stop.set()
        for w in work:
            w.result()
    # Each was closed once, and is counted once.
    assert closed + revoke(pair[0], **name)["sessions_closed"] == len(opened)
    pair[0].settle()
    audit.check(pair[0].leaves())


# --- by command line


def test_revoking_by_command_line(broker, env, agent, issuer):
    user, a = obo.new_user(), agent()
    _, first, second, third, _ = family(agent)
    obo.session(a, issuer.token(user))
    a.session()
    done = ok("sessions", "revoke", "--session", first["session_id"], "--cascade", env=env)
    assert [line.split() for line in done.stdout.decode().splitlines()] == [["sessions", "closed", "1"], ["descendants", "closed", "2"]]
    for s in (first, second, third):
        assert_ended(s, broker)
    assert ok("sessions", "revoke", "--user", user, "--json", env=env).json() == counts(1)
    assert ok("sessions", "revoke", "--agent", a.id, "--json", env=env).json() == counts(1)
    a.session()
    deactivated = ok("agents", "deactivate", a.id, env=env).stdout.decode()
    assert [line.split() for line in deactivated.splitlines() if "closed" in line] == [["sessions", "closed", "1"]]
    assert ok("agents", "deactivate", a.id, "--json", env=env).json()["sessions_closed"] == 0
    assert "closed" not in ok("agents", "activate", a.id, env=env).stdout.decode()


@pytest.mark.parametrize("words", [[], ["--cascade"], ["--agent", "a", "--user", "u"], ["--user", "u", "--session", "s"]])
def test_command_line_names_exactly_one(env, words):
    fails(USAGE, "sessions", "revoke", *words, says=["--agent", "--user", "--session"], env=env)


def test_command_line_tells_what_is_refused(broker, env):
    fails(REFUSED, "sessions", "revoke", "--session", "sess_none", says="No session", env=env)
    fails(REFUSED, "sessions", "revoke", "--agent", "a b", says="agent_id", env=env)
    auditor = {**env, "NEXUS_ADMIN_KEY_FILE": env["NEXUS_AUDITOR_KEY_FILE"]}
    fails(REFUSED, "sessions", "revoke", "--agent", "nobody", says="role", env=auditor)
