# SPDX-License-Identifier: Apache-2.0
"""User context tokens that the back end vouches for: which tokens it is asked about, and what each answer grants.

How the broker proves to it who asks is in test_backend_call.py; here every call must have been proved, too."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from lib import agents, loopback, obo
from lib.backend import PATH, Backend
from lib.issuer import Issuer
from lib.keys import Key
from lib.loopback import Hang
from lib.verify import claims_of, is_error, jwks_of

USER = {"user_id": "alice", "tenant_id": "acme", "clearance_level": 3, "permissions": ["acme:read", "acme:write"]}
AWAY = (503, "backend_auth_unavailable")
REFUSED = (401, "invalid_user_context_token")
PARALLEL = 32


@pytest.fixture(scope="module")
def backend():
    with Backend() as it:
        yield it


@pytest.fixture(scope="module")
def front(broker, backend, tmp_path_factory):
    """A broker that asks the back end, PARALLEL times at once, and waits for it longer than a test lasts."""
    env = {
        "NEXUS_BACKEND_TIMEOUT_MS": 25000,
        "NEXUS_REQUEST_TIMEOUT_MS": 28000,
        "NEXUS_INSECURE_LOOPBACK_FETCHES": "on",
        "NEXUS_WORKERS": 2 * PARALLEL,
    }
    with obo.broker_beside(broker, tmp_path_factory.mktemp("front"), BACKEND_AUTH_URL=backend.url, **env) as it:
        backend.trust(it)
        yield it


@pytest.fixture(autouse=True)
def callers_are_proved(backend):
    yield
    backend.behave()
    assert backend.refused() == []


@pytest.fixture
def jane(front):
    return agents.register(front)


@pytest.fixture
def asked(backend):
    """asked(): how often the back end was called since the test began."""
    before = len(backend.calls)
    return lambda: len(backend.calls) - before


@pytest.fixture
def trust(front):
    with obo.trusted(front) as add:
        yield lambda **changes: add(Issuer(front.issuer), **changes)


# --- what is granted


def test_session_is_the_users_that_the_back_end_names(front, backend, jane, asked):
    user = obo.new_user()
    token = backend.user(user, tenant_id="acme-2", clearance_level=7, permissions=["acme:write"])
    session = obo.session(jane, token, scopes=["acme:write"])
    assert (session["obo"], session["acting_for"], session["tenant_id"], session["clearance_level"]) == (True, user, "acme-2", 7)
    claims = claims_of(session["session_token"], jwks_of(front))
    assert (claims["sub"], claims["sub_profile"], claims["act"]) == (user, "user", {"sub": jane.id})
    assert (claims["tenant_id"], claims["clearance_level"], claims["client_id"]) == ("acme-2", 7, jane.id)
    assert asked() == 1
    is_error(obo.ask(jane, token, scopes=["acme:read"]), 403, "user_not_authorized_for_scope")
    leaf = obo.leaves_of(front, jane, "refusal")[0]
    assert (leaf["reason"], leaf["scope"]) == ("user_not_authorized_for_scope", ["acme:read"]) and leaf["sub_p"]


@pytest.mark.parametrize("token", ['with "quotes" and \\', "ünïcode \u2028 \U0001f512", "a\tb\nc", "{}", "x" * 16384, "é" * 8192])
def test_back_end_is_asked_about_the_very_token(backend, jane, token):
    obo.session(jane, backend.user(token=token))
    assert backend.calls[-1].token == token


def test_32_at_once_are_32_calls(backend, front, asked):
    users = [agents.register(front) for _ in range(4)]
    tokens = [backend.user(f"user-{i}") for i in range(PARALLEL)]
    barrier = threading.Barrier(PARALLEL)

    def run(i):
        barrier.wait(20)
        return obo.ask(users[i % 4], tokens[i])

    with ThreadPoolExecutor(PARALLEL) as pool:
        replies = list(pool.map(run, range(PARALLEL)))
    assert Counter(r.status_code for r in replies) == {201: PARALLEL}
    assert [r.json()["acting_for"] for r in replies] == [f"user-{i}" for i in range(PARALLEL)]
    assert asked() == PARALLEL and len({call.claims["jti"] for call in backend.calls}) == len(backend.calls)


def moment(seconds, shape="%Y-%m-%dT%H:%M:%SZ", zone=timezone.utc):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).astimezone(zone).strftime(shape)


EAST = timezone(timedelta(hours=5, minutes=30))
TIMES = {
    "text": moment,
    "text with a fraction": lambda s: moment(s, "%Y-%m-%dT%H:%M:%S.123456789Z"),
    "text with an offset": lambda s: moment(s, "%Y-%m-%dT%H:%M:%S+05:30", EAST),
    "number": lambda s: int(time.time()) + s,
}


@pytest.mark.parametrize("how", TIMES)
def test_expires_at_caps_the_session(front, backend, jane, how):
    latest = int(time.time()) + 100
    session = obo.session(jane, backend.user(expires_at=TIMES[how](90)), ttl_seconds=900)
    claims = claims_of(session["session_token"], jwks_of(front))
    assert claims["iat"] < claims["exp"] <= latest
    session = obo.session(jane, backend.user(expires_at=TIMES[how](2000)), ttl_seconds=900)
    claims = claims_of(session["session_token"], jwks_of(front))
    assert claims["exp"] - claims["iat"] == 900


@pytest.mark.parametrize("how", TIMES)
def test_expires_at_that_has_passed(backend, jane, how):
    is_error(obo.ask(jane, backend.user(expires_at=TIMES[how](-1))), *REFUSED)


# --- what it is asked about


def test_it_is_not_asked_before_the_agent_has_proved_itself(front, backend, jane, asked):
    token = backend.user()
    is_error(obo.ask(jane, token, assertion=jane.assertion(key=Key("ES256"))), 401, "invalid_client")
    is_error(obo.ask(jane, token, provider_name="github"), 400, "unsupported_agent_session_provider")
    is_error(obo.ask(jane, ""), 400, "missing_user_context_token")
    assert front.admin("PATCH", f"/admin/v1/agents/{jane.id}", json={"active": False}).status_code == 200
    is_error(obo.ask(jane, token), 403, "agent_inactive")
    assert front.admin("DELETE", f"/admin/v1/agents/{jane.id}").status_code == 200
    is_error(obo.ask(jane, token), 401, "invalid_client")
    assert asked() == 0


def test_tokens_of_ours_and_of_registered_issuers_are_not_its_business(backend, jane, trust, asked):
    issuer, inactive = trust(), trust(active=False)
    granted = obo.session(jane, issuer.token())
    refused = [
        inactive.token(),
        inactive.token(claims={"exp": 1}),
        issuer.token(key=Key("ES256")),
        issuer.token(claims={"aud": "https://other.example"}),
        issuer.token(header={"alg": "none"}, signature=b""),
        jane.session()["session_token"],
        granted["session_token"],
    ]
    for token in refused:
        # It would vouch for them.
        backend.user(token=token)
        is_error(obo.ask(jane, token), *REFUSED)
    assert asked() == 0


def test_issuer_is_taken_from_it_and_given_back_at_once(front, backend, jane, asked):
    with Issuer(front.issuer) as issuer:
        token = backend.user("by-back-end", token=issuer.token("by-issuer"))
        for _ in range(20):
            assert obo.session(jane, token)["acting_for"] == "by-back-end"
        registered = issuer.register(front)
        for _ in range(20):
            assert obo.session(jane, token)["acting_for"] == "by-issuer"
        path = f"/admin/v1/issuers/{registered['id']}"
        assert front.admin("PATCH", path, json={"active": False}).status_code == 200
        for _ in range(20):
            is_error(obo.ask(jane, token), *REFUSED)
        assert asked() == 20
        assert front.admin("DELETE", path).status_code == 200
        for _ in range(20):
            assert obo.session(jane, token)["acting_for"] == "by-back-end"
        assert asked() == 40


@pytest.mark.parametrize("token", ["x", "a.b.c", "..", ".", "eyJpc3MiOjF9.eyJpc3MiOjF9.x", "e30.W10.", "e30.bnVsbA.x"])
def test_whatever_names_no_issuer_is_its_business(jane, asked, token):
    is_error(obo.ask(jane, token), *REFUSED)
    assert asked() == 1
    obo.refusal_of(jane, REFUSED[1], ["acme:read"])


# --- what an answer means

TEXTS = [None, "", 1, True, [], {}, ["alice"], "x" * 257, "a\nb", "\u007f", "\u0001"]
MALFORMED = {
    "user_id": TEXTS,
    "tenant_id": TEXTS,
    "clearance_level": [None, "3", True, [], {}, -1, 1.5, 3.0, 1000001, 2**53, 2**64],
    "permissions": [None, "acme:read", "", 1, True, {}, [1], [None], [["acme:read"]], [""], ["a b"], ["a\nb"], ['a"'], ["\u00e4"],
                    ["x" * 129]],
    "expires_at": [None, "", "tomorrow", "2999-01-01", "2999-01-01T00:00:00", "2999-02-30T00:00:00Z", "2999-01-01 00:00:00Z",
                   "2999-01-01T00:00:00Z ", True, [], {}, -1, 1.5, 4102444800000, 2**53],
}  # fmt: skip
CASES = [(name, value) for name, values in MALFORMED.items() for value in values]


@pytest.mark.parametrize("name,value", CASES)
def test_malformed_member_of_an_answer(backend, jane, asked, name, value):
    token = backend.user()
    backend.misbehave(PATH, loopback.says({**USER, name: value}))
    is_error(obo.ask(jane, token), *AWAY)
    assert asked() == 1 and obo.count_sessions(jane) == 0


@pytest.mark.parametrize("name", USER)
def test_missing_member_of_an_answer(backend, jane, name):
    is_error(obo.ask(jane, backend.user(**{name: None})), *AWAY)


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "x" * 256, "tenant_id": "x" * 256},
        {"user_id": "\u00e4lice", "tenant_id": "\u00dc"},
        {"clearance_level": 0},
        {"clearance_level": 1000000},
        {"permissions": ["acme:read", "acme:read"]},
        {"permissions": ["acme:read", "x" * 128, *(f"other:{i}" for i in range(500))]},
        {"roles": ["admin"], "scope": "acme:admin", "expires": "never"},
    ],
)
def test_answer_at_the_edge_of_what_is_right(backend, jane, changes):
    session = obo.session(jane, backend.user(**{**USER, **changes}))
    about = {**USER, **changes}
    assert (session["acting_for"], session["tenant_id"]) == (about["user_id"], about["tenant_id"])
    assert session["clearance_level"] == about["clearance_level"]


@pytest.mark.parametrize("permissions", [[], ["acme:write"], ["acme:*"], ["ACME:READ"]])
def test_user_without_the_permission(backend, jane, permissions):
    token = backend.user(permissions=permissions)
    is_error(obo.ask(jane, token, scopes=["acme:read"]), 403, "user_not_authorized_for_scope", "acme:read")


ANSWERS = {
    **{str(code): (loopback.status(code), REFUSED) for code in (400, 401, 403)},
    **{
        str(code): (loopback.status(code), AWAY)
        for code in (201, 202, 206, 300, 402, 404, 405, 408, 409, 410, 418, 422, 429, 500, 501, 502, 503, 504)
    },
    **{f"redirect {code}": (loopback.redirect("/elsewhere", code), AWAY) for code in (301, 302, 303, 307, 308)},
    "204": (loopback.status(204, b""), AWAY),
    "304": (loopback.status(304, b""), AWAY),
    "401 and 10 MB": (lambda connection, answer: loopback.huge()(connection, answer._replace(status=401)), AWAY),
    "10 MB": (loopback.huge(), AWAY),
    "10 MB in chunks": (loopback.huge(chunked=True), AWAY),
    "closes": (loopback.drop, AWAY),
    "says more than it sends": (loopback.longer, AWAY),
    "says less than it sends": (loopback.shorter, AWAY),
    "garbage": (loopback.garbage, AWAY),
    "empty": (loopback.says(b""), AWAY),
    "text": (loopback.says("alice"), AWAY),
    "null": (loopback.says(b"null"), AWAY),
    "array": (loopback.says([USER]), AWAY),
    "nested": (loopback.says({"user": USER}), AWAY),
    "a member twice": (loopback.says(b'{"user_id":"a","user_id":"alice","tenant_id":"t","clearance_level":1,"permissions":["acme:read"]}'), AWAY),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_that_grants_nothing(backend, jane, asked, name):
    """It is asked once, and no redirect is followed."""
    how, refusal = ANSWERS[name]
    token = backend.user()
    before = len(backend.requests)
    backend.misbehave(PATH, how)
    is_error(obo.ask(jane, token), *refusal)
    assert asked() == 1 and len(backend.requests) == before + 1
    if refusal == REFUSED:
        obo.refusal_of(jane, REFUSED[1], ["acme:read"])
    else:
        # Trouble of the service is no refusal.
        assert obo.leaves_of(jane.broker, jane, "refusal") == [] and obo.count_sessions(jane) == 0


# --- a back end that hangs or is gone


def test_hanging_back_end_is_given_up(front, backend, jane, broker_factory):
    """It is answered while the back end still hangs, and the assertion stays good."""
    hasty = broker_factory({"NEXUS_BACKEND_TIMEOUT_MS": 500}, share_with=front)
    token = backend.user()
    for hang in (Hang(), Hang(after=0), Hang(after=10)):
        assertion = jane.assertion()
        backend.misbehave(PATH, hang)
        try:
            is_error(obo.ask(jane, token, broker=hasty, assertion=assertion), *AWAY)
            assert hang.arrived.is_set()
        finally:
            hang.release.set()
        backend.behave()
        assert obo.ask(jane, token, assertion=assertion).status_code == 201


def test_others_go_on_while_it_hangs(front, backend, jane, trust):
    issuer = trust()
    hang = Hang()
    backend.misbehave(PATH, hang)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(obo.ask, jane, backend.user()) for _ in range(8)]
        try:
            assert hang.arrived.wait(20)
            for _ in range(3):
                jane.session()
                obo.session(jane, issuer.token())
            assert front.is_ready()
        finally:
            hang.release.set()
        assert [w.result().status_code for w in waiting] == [201] * 8


@pytest.mark.parametrize(
    "body,refusal",
    [({"active": False}, (403, "agent_inactive")), ({"allowed_scopes": []}, (403, "scope_not_permitted_for_agent"))],
)
def test_what_changes_while_it_is_asked_counts(front, backend, jane, body, refusal):
    """J24"""
    backend.misbehave(PATH, hang := Hang())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(obo.ask, jane, backend.user())
        try:
            assert hang.arrived.wait(20)
            assert front.admin("PATCH", f"/admin/v1/agents/{jane.id}", json=body).status_code == 200
        finally:
            hang.release.set()
        is_error(waiting.result(), *refusal)
    obo.refusal_of(jane, refusal[1], ["acme:read"])


def test_closed_port(front, backend, jane, trust):
    token = backend.user()
    backend.close()
    try:
        is_error(obo.ask(jane, token), *AWAY)
        obo.session(jane, trust().token())
        jane.session()
        assert front.is_ready()
    finally:
        backend.open()
    obo.session(jane, token)
