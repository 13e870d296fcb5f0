# SPDX-License-Identifier: Apache-2.0
"""Attack J19: everything that is good once, shown again: to the same broker, to another, to 32 at once, and after the
broker that took it was killed. Whatever else is in such a request is new each time."""

import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import agents, obo
from lib.delegation import is_oauth_error, session_path, trusted_issuer
from lib.dpop import DPoPKey, htu
from lib.oauth import INTROSPECT_PATH, JWT, JWT_BEARER, REVOKE_PATH, TOKEN_EXCHANGE, TOKEN_PATH, OAuthClient
from lib.verify import is_error

SESSIONS = "/v1/agent-sessions"
CREDENTIALS = [("grant_type", "client_credentials"), ("scope", "acme:read")]
AT_ONCE = 32


class Case:
    """One agent, and users of two issuers: the tokens of once are of one use wherever they are shown."""

    def __init__(self, broker, issuer, once, nonce):
        self.broker, self.issuer, self.once, self.nonce = broker, issuer, once, nonce
        self.agent = agents.register(broker)
        self.client = OAuthClient(broker, self.agent)
        self.key = DPoPKey()

    def post(self, broker, path, form, assertion=None, proof=None):
        headers = {} if proof is None else {"DPoP": proof}
        return broker.call("POST", path, data=[*form, *self.client.authentication(assertion)], headers=headers)

    def proof(self, method="POST", path=TOKEN_PATH, token=None, **claims):
        return self.key.proof(method, htu(self.broker, path), token, self.nonce, claims=claims)

    def bound(self):
        reply = self.post(self.broker, TOKEN_PATH, CREDENTIALS, proof=self.proof())
        return reply.json()["access_token"], session_path(reply.json()["session_id"])


def bearer(assertion):
    return [("grant_type", JWT_BEARER), ("assertion", assertion), ("scope", "acme:read")]


def exchange(token):
    return [("grant_type", TOKEN_EXCHANGE), ("subject_token", token), ("subject_token_type", JWT)]


# Each makes the one-time thing, and gives back a function that shows it to a broker.


def assertion_for_a_session(c):
    assertion = c.agent.assertion()
    return lambda b: c.agent.open(assertion=assertion, broker=b)


def assertion_for_a_users_session(c):
    assertion = c.agent.assertion()
    return lambda b: obo.ask(c.agent, c.issuer.token(), b, assertion)


def assertion_for_a_grant(c):
    assertion = c.agent.assertion()
    return lambda b: c.post(b, TOKEN_PATH, CREDENTIALS, assertion)


def assertion_for_introspection(c):
    assertion = c.agent.assertion()
    return lambda b: c.post(b, INTROSPECT_PATH, [("token", "x")], assertion)


def assertion_for_revocation(c):
    assertion = c.agent.assertion()
    return lambda b: c.post(b, REVOKE_PATH, [("token", "x")], assertion)


def assertion_for_reading(c):
    assertion, path = c.agent.assertion(), session_path(c.agent.session()["session_id"])
    return lambda b: b.call("GET", path, bearer=assertion)


def users_token_for_a_session(c):
    token = c.once.token()
    return lambda b: obo.ask(c.agent, token, b)


def users_token_for_an_exchange(c):
    token = c.once.token()
    return lambda b: c.post(b, TOKEN_PATH, exchange(token))


def users_token_as_a_grant(c):
    """RFC 7523 section 3 item 7: here a jti is good once, whatever the issuer's registration says."""
    token = c.issuer.token()
    return lambda b: c.post(b, TOKEN_PATH, bearer(token))


def id_jag(c):
    token = c.issuer.id_jag(c.agent)
    return lambda b: c.post(b, TOKEN_PATH, bearer(token))


def proof_for_a_session(c):
    proof = c.proof(path=SESSIONS)
    return lambda b: b.call("POST", SESSIONS, json=c.agent.body(), headers={"DPoP": proof})


def proof_for_a_users_session(c):
    proof = c.proof(path=obo.PATH)
    body = lambda: c.agent.body(user_context_token=c.issuer.token())  # noqa: E731
    return lambda b: b.call("POST", obo.PATH, json=body(), headers={"DPoP": proof})


def proof_for_a_grant(c):
    proof = c.proof()
    return lambda b: c.post(b, TOKEN_PATH, CREDENTIALS, proof=proof)


def proof_for_an_exchange(c):
    proof = c.proof()
    return lambda b: c.post(b, TOKEN_PATH, exchange(c.issuer.token()), proof=proof)


def proof_for_reading(c):
    token, path = c.bound()
    headers = {"Authorization": f"DPoP {token}", "DPoP": c.proof("GET", path, token)}
    return lambda b: b.call("GET", path, headers=headers)


# What shows it, and how the second time is answered.
ONCE = [
    (assertion_for_a_session, is_error, 401, "invalid_client"),
    (assertion_for_a_users_session, is_error, 401, "invalid_client"),
    (assertion_for_a_grant, is_oauth_error, 401, "invalid_client"),
    (assertion_for_introspection, is_oauth_error, 401, "invalid_client"),
    (assertion_for_revocation, is_oauth_error, 401, "invalid_client"),
    (assertion_for_reading, is_error, 401, "invalid_client"),
    (users_token_for_a_session, is_error, 401, "invalid_user_context_token"),
    (users_token_for_an_exchange, is_oauth_error, 400, "invalid_request"),
    (users_token_as_a_grant, is_oauth_error, 400, "invalid_grant"),
    (id_jag, is_oauth_error, 400, "invalid_grant"),
    (proof_for_a_session, is_error, 400, "invalid_dpop_proof"),
    (proof_for_a_users_session, is_error, 400, "invalid_dpop_proof"),
    (proof_for_a_grant, is_oauth_error, 400, "invalid_dpop_proof"),
    (proof_for_an_exchange, is_oauth_error, 400, "invalid_dpop_proof"),
    (proof_for_reading, is_error, 401, "invalid_dpop_proof"),
]
each = pytest.mark.parametrize("make,in_shape,status,code", ONCE, ids=[make.__name__ for make, *_ in ONCE])


@pytest.fixture(scope="module")
def second(broker, tmp_path_factory):
    with obo.broker_beside(broker, tmp_path_factory.mktemp("second")) as it:
        yield it


@pytest.fixture(scope="module")
def issuers(broker):
    with trusted_issuer(broker) as issuer, trusted_issuer(broker, one_time_jti=True) as once:
        yield issuer, once


@pytest.fixture
def case(broker, issuers):
    nonce = broker.call("GET", f"{SESSIONS}/x", headers={"DPoP": "x"}).headers["DPoP-Nonce"]
    return Case(broker, *issuers, nonce)


def is_taken(reply):
    assert reply.status_code in (200, 201), reply.text


@each
def test_J19_again_to_either_broker(case, second, make, in_shape, status, code):
    for first in (case.broker, second):
        show = make(case)
        is_taken(show(first))
        for broker in (case.broker, second, first):
            in_shape(show(broker), status, code)


@each
def test_J19_32_at_once(case, second, make, in_shape, status, code):
    show = make(case)
    opened = obo.count_sessions(case.agent)
    start = threading.Barrier(AT_ONCE)

    def run(n):
        start.wait()
        return show((case.broker, second)[n % 2])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(pool.map(run, range(AT_ONCE)))
    assert Counter(r.status_code in (200, 201) for r in replies) == {True: 1, False: AT_ONCE - 1}
    for reply in replies:
        if reply.status_code not in (200, 201):
            in_shape(reply, status, code)
    opens = any("session_id" in r.json() and "access_token" in r.json() for r in replies)
    assert obo.count_sessions(case.agent) - opened == opens


def test_J19_after_a_restart(case, broker_factory):
    """SIGKILL: what was taken is remembered by the database alone."""
    first = broker_factory()
    used = [(make(case), *how) for make, *how in ONCE]
    for show, *_ in used:
        is_taken(show(first))
    case.broker.settle()  # an outcome that dies with its broker would be settled minutes later only
    first.kill()
    after = broker_factory()
    for broker in (after, case.broker):
        for show, in_shape, status, code in used:
            in_shape(show(broker), status, code)


@each
def test_J19_replay_of_an_agent_that_proved_itself_is_on_record(case, second, make, in_shape, status, code):
    """It is a refusal like any other, unless it was the proof of who asks that was used before."""
    show = make(case)
    is_taken(show(case.broker))
    in_shape(show(second), status, code)
    leaves = obo.leaves_of(case.broker, case.agent, "refusal")
    assert [(leaf["policy"], leaf["reason"]) for leaf in leaves] == ([] if code == "invalid_client" else [("refused", code)])
    if code != "invalid_client" and make is not proof_for_reading:
        # The new assertion that came with it is used up, so that the refusal costs one.
        [(used,)] = case.broker.sql("SELECT count(*) FROM nexus.replay_guard WHERE issuer = %s", case.agent.id)
        assert used == 2


# --- what an id is worth


def ids_of(c):
    """Who can say a jti, and how: {name: a function of the jti that shows it}."""
    return {
        "assertion": lambda jti: c.agent.open(assertion=c.agent.assertion(claims={"jti": jti})),
        "ID-JAG": lambda jti: c.post(c.broker, TOKEN_PATH, bearer(c.issuer.id_jag(c.agent, claims={"jti": jti}))),
        "user's token": lambda jti: obo.ask(c.agent, c.once.token(claims={"jti": jti})),
        "proof": lambda jti: c.post(c.broker, TOKEN_PATH, CREDENTIALS, proof=c.proof(jti=jti)),
    }


def test_J19_same_id_of_different_parties(case, issuers):
    """An id is one within what its party says; each has its own."""
    other = Case(case.broker, *issuers, case.nonce)
    jti = secrets.token_hex(8)
    for c in (case, other):
        is_taken(ids_of(c)["assertion"](jti))
        is_taken(ids_of(c)["proof"](jti))
    for name in ("ID-JAG", "user's token"):
        is_taken(ids_of(case)[name](jti))
        assert ids_of(other)[name](jti).status_code in (400, 401)  # of the same issuer


@pytest.mark.parametrize("name", ["assertion", "ID-JAG", "user's token", "proof"])
def test_J19_ids_are_compared_byte_by_byte(case, name):
    show = ids_of(case)[name]
    jti = secrets.token_hex(8)
    for one in (jti + "a", jti + "A", jti, jti + "a ", jti + "\u00e9", jti + "e\u0301", "x" * 223 + jti + "aaa"):
        is_taken(show(one))
        assert show(one).status_code in (400, 401)


def test_J19_without_an_id_only_what_needs_none_is_taken(case):
    is_taken(case.post(case.broker, TOKEN_PATH, bearer(case.issuer.token(claims={"jti": None}))))
    refused = {
        "ID-JAG": case.post(case.broker, TOKEN_PATH, bearer(case.issuer.id_jag(case.agent, claims={"jti": None}))),
        "assertion": case.agent.open(assertion=case.agent.assertion(claims={"jti": None})),
        "user's token": obo.ask(case.agent, case.once.token(claims={"jti": None})),
        "proof": case.post(case.broker, TOKEN_PATH, CREDENTIALS, proof=case.proof(jti=None)),
    }
    assert {name: r.status_code for name, r in refused.items()} == {
        "ID-JAG": 400, "assertion": 401, "user's token": 401, "proof": 400,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["assertion", "ID-JAG", "user's token"])
def test_J19_id_is_kept_for_as_long_as_the_token_could_pass(case, name):
    jti, end = secrets.token_hex(8), int(time.time()) + 200
    claims = {"jti": jti, "exp": end}
    if name == "assertion":
        is_taken(case.agent.open(assertion=case.agent.assertion(claims=claims)))
    elif name == "ID-JAG":
        is_taken(case.post(case.broker, TOKEN_PATH, bearer(case.issuer.id_jag(case.agent, claims=claims))))
    else:
        is_taken(obo.ask(case.agent, case.once.token(claims=claims)))
    rows = case.broker.sql(
        "SELECT extract(epoch FROM expires_at)::bigint - %s FROM nexus.replay_guard"
        " WHERE jti_hash = sha256(convert_to(%s, 'UTF8'))", end, jti,
    )  # fmt: skip
    # 30 s of skew are allowed after exp, and clocks differ that much the other way too.
    assert len(rows) == 1 and 60 <= rows[0][0] <= 300
