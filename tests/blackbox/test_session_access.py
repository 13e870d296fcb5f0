# SPDX-License-Identifier: Apache-2.0
"""GET and DELETE /v1/agent-sessions/{id}: who may, and that others learn nothing. GET /admin/v1/sessions: the list."""

import secrets
from datetime import datetime, timedelta, timezone

import pytest

from lib.verify import is_error
from lib.wait import until


def path(session):
    return f"/v1/agent-sessions/{session['session_id']}"


def unknown():
    return f"/v1/agent-sessions/sess_{secrets.token_hex(16)}"


# --- who may


@pytest.mark.parametrize("role", ["admin", "gateway", "auditor"])
def test_api_key_reads(broker, agent, role):
    a = agent()
    session = a.session()
    key = getattr(broker, f"{role}_key")
    for how in ({"key": key}, {"bearer": key}):
        shown = broker.call("GET", path(session), **how)
        assert shown.status_code == 200
        for name in ("session_id", "agent_id", "scopes_granted", "expires_at", "active", "obo", "clearance_level"):
            assert shown.json()[name] == session[name]
        assert session["session_token"] not in shown.text


@pytest.mark.parametrize("role", ["admin", "gateway"])
def test_api_key_closes(broker, agent, role):
    session = agent().session()
    assert broker.call("DELETE", path(session), key=getattr(broker, f"{role}_key")).status_code == 200
    assert broker.admin("GET", path(session)).json()["active"] is False
    is_error(broker.call("GET", path(session), bearer=session["session_token"]), 401, "invalid_token")


def test_auditor_reads_but_does_not_close(broker, agent):
    session = agent().session()
    refused = broker.call("DELETE", path(session), key=broker.auditor_key)
    assert refused.status_code in (401, 403, 404)
    assert broker.call("DELETE", unknown(), key=broker.auditor_key).content == refused.content
    assert broker.admin("GET", path(session)).json()["active"] is True


def test_assertion_reads_and_closes_once_each(broker, agent):
    a = agent()
    session = a.session()
    assertion = a.assertion()
    assert broker.call("GET", path(session), bearer=assertion).json()["active"] is True
    is_error(broker.call("GET", path(session), bearer=assertion), 401, "invalid_client")
    is_error(a.open(assertion=assertion), 401, "invalid_client")
    assert broker.call("DELETE", path(session), bearer=a.assertion()).status_code == 200
    assert broker.call("GET", path(session), bearer=a.assertion()).json()["active"] is False


def test_token_speaks_for_its_own_session_alone(broker, agent):
    a = agent()
    first, second = a.session(), a.session()
    is_error(broker.call("GET", path(first), bearer=second["session_token"]), 404, "session_not_found")
    is_error(broker.call("DELETE", path(first), bearer=second["session_token"]), 404, "session_not_found")
    assert broker.call("GET", path(first), bearer=first["session_token"]).json()["active"] is True


def test_closing_twice_keeps_the_first_time(broker, agent):
    session = agent().session()
    assert broker.admin("DELETE", path(session)).status_code == 200
    first = broker.admin("GET", path(session)).json()
    assert broker.admin("DELETE", path(session)).status_code == 200
    assert broker.admin("GET", path(session)).json() == first
    assert first["active"] is False and first["closed_at"].endswith("Z")


def test_session_ends_by_itself(broker, agent):
    session = agent().session(ttl_seconds=1)
    until(lambda: broker.admin("GET", path(session)).json()["active"] is False, 5, "the session is over")
    is_error(broker.call("GET", path(session), bearer=session["session_token"]), 401, "invalid_token")
    is_error(broker.call("DELETE", path(session), bearer=session["session_token"]), 401, "invalid_token")


# --- others learn nothing


def strangers(broker, agent):
    a = agent()
    other = a.session()
    closed = a.session()
    broker.admin("DELETE", path(closed))
    return {
        "nobody": lambda: {},
        "another agent's assertion": lambda: {"bearer": a.assertion()},
        "another session's token": lambda: {"bearer": other["session_token"]},
        "a closed session's token": lambda: {"bearer": closed["session_token"]},
        "a token with a broken signature": lambda: {"bearer": other["session_token"][:-8] + "AAAAAAAA"},
        "garbage": lambda: {"bearer": "garbage"},
        "an unknown API key": lambda: {"key": "nxk_" + "B" * 43},
        "an empty API key": lambda: {"key": ""},
        "Basic": lambda: {"headers": {"Authorization": "Basic YTpi"}},
    }


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_known_and_unknown_sessions_look_the_same_to_strangers(broker, agent, method):
    mine = agent().session()
    for name, credential in strangers(broker, agent).items():
        for_known = broker.call(method, path(mine), **credential())
        for_unknown = broker.call(method, unknown(), **credential())
        # A credential of the wrong form is a malformed request; any other is not enough, or for something else.
        assert for_known.status_code in (400, 401, 404) if name == "Basic" else for_known.status_code in (401, 404), (
            name, for_known.status_code, for_known.text,
        )  # fmt: skip
        assert for_known.content == for_unknown.content, name
        assert for_known.status_code == for_unknown.status_code
        assert sorted(for_known.headers) == sorted(for_unknown.headers)
    assert broker.admin("GET", path(mine)).json()["active"] is True


def test_two_credentials_at_once_are_refused(broker, agent):
    session = agent().session()
    reply = broker.call("GET", path(session), key=broker.admin_key, bearer=session["session_token"])
    is_error(reply, 400, "invalid_request")


@pytest.mark.parametrize("bad", ["x", "sess_", "sess_" + "g" * 32, "a" * 1000, "%2e%2e%2f", "%27%20OR%201=1--", "sess_%00"])
def test_ids_of_another_form(broker, bad):
    reply = broker.call("GET", f"/v1/agent-sessions/{bad}", key=broker.admin_key)
    assert reply.status_code in (400, 404), reply.text
    assert reply.json()["error"] in ("session_not_found", "invalid_request", "not_found")


# --- the list


def listed(broker, **query):
    items, cursor = [], None
    while True:
        reply = broker.admin("GET", "/admin/v1/sessions", params={**query, "limit": 3, **({"cursor": cursor} if cursor else {})})
        assert reply.status_code == 200, reply.text
        page = reply.json()
        assert len(page["sessions"]) <= 3
        items += page["sessions"]
        cursor = page.get("next_cursor")
        if not cursor:
            ids = [s["session_id"] for s in items]
            assert len(ids) == len(set(ids))
            return items


def test_list_filters(broker, agent):
    a, b = agent(), agent()
    mine = [a.session() for _ in range(5)]
    b.session()
    broker.admin("DELETE", path(mine[0]))
    ids = {s["session_id"] for s in mine}
    assert {s["session_id"] for s in listed(broker, agent=a.id)} == ids
    assert {s["session_id"] for s in listed(broker, agent=a.id, active="true")} == ids - {mine[0]["session_id"]}
    assert {s["session_id"] for s in listed(broker, agent=a.id, active="false")} == {mine[0]["session_id"]}
    assert listed(broker, agent=a.id, acting_for="someone") == []
    assert listed(broker, agent="nobody") == []
    text = str(listed(broker, agent=a.id))
    assert all(s["session_token"] not in text for s in mine)


def test_list_filters_by_time(broker, agent):
    a = agent()
    a.session()
    now = datetime.now(timezone.utc)
    stamp = lambda minutes: (now + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: E731
    assert len(listed(broker, agent=a.id, since=stamp(-5))) == 1
    assert len(listed(broker, agent=a.id, since=stamp(-5), until=stamp(5))) == 1
    assert listed(broker, agent=a.id, since=stamp(5)) == []
    assert listed(broker, agent=a.id, until=stamp(-5)) == []


@pytest.mark.parametrize(
    "query",
    ["since=yesterday", "since=2026-13-01T00:00:00Z", "since=2026-01-01", "until=2026-01-01T00:00:00", "until=1e9",
     "active=1", "limit=0", "limit=501", "cursor=x", "agent=a&agent=b", "who=x", "since=2026-02-31T00:00:00Z",
     "since=2026-01-01T00:00:00Z%00", "since=2026-01-01T00:00:00+02:00"],
)  # fmt: skip
def test_list_refuses_bad_parameters(broker, query):
    reply = broker.admin("GET", f"/admin/v1/sessions?{query}")
    assert reply.status_code == 400 and reply.json()["error"] == "invalid_request", reply.text
