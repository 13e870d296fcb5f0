# SPDX-License-Identifier: Apache-2.0
"""Tokens of registered issuers as user context tokens: what they must say, and how long a registration holds.

Attacks J17, J21, J24, S01, S05 and S06. How issuers misbehave is in tests/fault/test_issuers.py."""

import hashlib
import hmac
import json
import secrets
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import agents, dpop, obo
from lib.issuer import Issuer
from lib.keys import KINDS, Key, b64u, signing_input
from lib.loopback import Hang
from lib.verify import claims_of, is_error, jwks_of

REFUSED = (401, "invalid_user_context_token")
PARALLEL = 32
# Long enough for whatever a test does while an issuer hangs.
PATIENT = {"NEXUS_FETCH_TIMEOUT_MS": 25000, "NEXUS_REQUEST_TIMEOUT_MS": 28000}


@pytest.fixture(scope="module")
def pair(broker, tmp_path_factory):
    env = {"NEXUS_INSECURE_LOOPBACK_FETCHES": "on", **PATIENT}
    with (
        obo.broker_beside(broker, tmp_path_factory.mktemp("first"), **env) as first,
        obo.broker_beside(broker, tmp_path_factory.mktemp("second"), **env) as second,
    ):
        yield first, second


@pytest.fixture(scope="module")
def first(pair):
    return pair[0]


@pytest.fixture(scope="module")
def issuer(first):
    with obo.trusted(first) as add:
        yield add(Issuer(first.issuer))


@pytest.fixture
def special(first):
    """special(kind="ES256", source="jwks", ...): an issuer with this registration."""
    with obo.trusted(first) as add:
        yield lambda kind="ES256", source="jwks", **changes: add(Issuer(first.issuer, kind), source, **changes)


@pytest.fixture(scope="module")
def jane(first):
    return agents.register(first)


@pytest.fixture
def change(first):
    def make(issuer, **changes):
        assert first.admin("PATCH", f"/admin/v1/issuers/{issuer.id}", json=changes).status_code == 200

    return make


def refused(agent, token, broker=None):
    is_error(obo.ask(agent, token, broker=broker), *REFUSED)


def at_once(count, work):
    """work(i) in that many threads, let go together."""
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait(20)
        return work(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def spelt(issuer, name, text):
    """A token with one claim as this JSON text, which a library might not write."""
    return issuer.token(claims=json.dumps(issuer.claims(**{name: None}))[:-1] + f', "{name}": {text}}}')


# --- claims

NO_DATES = ['"1795000000"', "true", "null", "-1", "1.5", "1e300", "1e400", "9007199254740992", "18446744073709551616",
            "NaN", "[1]", "{}", '""', "1e3"]  # fmt: skip
NO_NAMES = ['""', "1", "null", "true", "[]", "{}", '["x"]', '"a\\u0000"', '"\\u0001"', '"a\\nb"', '"\\u007f"', f'"{"x" * 257}"']
WRONG = {
    "iss": ['""', "1", "null", "[]", '"https://other.example"'],
    "sub": NO_NAMES,
    "aud": ['""', "1", "null", "{}", "[]", "[1]", '[["x"]]', '"https://other.example"', '["https://other.example"]'],
    "exp": [*NO_DATES, "0", "253402300800"],
    "nbf": NO_DATES,
    "iat": NO_DATES,
    "jti": ['""', "1", "null", "[]", '"\\u0001"', f'"{"x" * 257}"'],
    "tenant_id": NO_NAMES,
    "clearance_level": ["-1", "1.5", "3.0", '"3"', "true", "null", "[]", "1000001", "9007199254740992"],
    "permissions": ["1", "true", "null", "{}", "[1]", "[null]", '[["acme:read"]]', '"acme:read  acme:write"', '" acme:read"',
                    '"acme:read "'],
    # J21: a delegation that began elsewhere.
    "act": ["null", "{}", '{"sub": "agent"}', '{"sub": "agent", "act": {"sub": "other"}}', "[]", '""'],
    "may_act": ["null", "{}", "[]", '"agent"', '{"iss": "https://other.example"}', '{"sub": "other"}', '{"sub": 1}',
                '{"client_id": "other"}'],
    # X08: a binding that cannot be proved here.
    "cnf": ["null", "{}", "[]", '{"x5t#S256": "x"}', '{"jkt": "x"}', '{"jkt": 1}', f'{{"jkt": "{"x" * 43}", "kid": "x"}}'],
}  # fmt: skip


@pytest.mark.parametrize("name,text", [(name, text) for name, texts in WRONG.items() for text in texts])
def test_claim_that_is_wrong(issuer, jane, name, text):
    refused(jane, spelt(issuer, name, text))


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp"])
def test_claim_that_must_be_there(issuer, jane, name):
    refused(jane, issuer.token(claims={name: None}))


RIGHT = [
    ("aud", '["https://other.example", "{issuer}"]'),
    ("exp", "253402300799"),
    ("jti", f'"{"x" * 256}"'),
    ("sub", f'"{"x" * 256}"'),
    ("sub", '"älice \\u202e"'),
    ("tenant_id", f'"{"x" * 256}"'),
    ("clearance_level", "0"),
    ("clearance_level", "1000000"),
    ("permissions", '"acme:read"'),
    ("permissions", '"acme:write acme:read"'),
    ("permissions", '["acme:read", "anything else"]'),
    ("scope", '"acme:none"'),
]


@pytest.mark.parametrize("name,text", RIGHT)
def test_claim_at_the_edge_of_what_is_right(first, issuer, jane, name, text):
    obo.session(jane, spelt(issuer, name, text.replace("{issuer}", first.issuer)))


@pytest.mark.parametrize("name", ["iat", "nbf", "jti", "tenant_id", "clearance_level"])
def test_claim_that_may_be_missing(first, issuer, jane, name):
    session = obo.session(jane, issuer.token(claims={name: None}))
    claims = claims_of(session["session_token"], jwks_of(first))
    for shown in (session, claims):
        assert shown.get("tenant_id") == (None if name == "tenant_id" else "acme")
        assert shown["clearance_level"] == (0 if name == "clearance_level" else 3)


@pytest.mark.parametrize("permissions", [None, "", [], ["acme:write"], ["acme:read acme:write"], ["acme:*"], ["ACME:READ"]])
def test_user_without_the_permission(issuer, jane, permissions):
    token = issuer.token(claims={"permissions": permissions})
    is_error(obo.ask(jane, token, scopes=["acme:read"]), 403, "user_not_authorized_for_scope", "acme:read")


@pytest.mark.parametrize(
    "name,shift,good",
    [("exp", -60, False), ("exp", -1, False), ("exp", 20, True), ("iat", 60, False), ("iat", 15, True), ("nbf", 60, False),
     ("nbf", 15, True), ("iat", -100000, True)],
)  # fmt: skip
def test_skew(issuer, jane, name, shift, good):
    """A session cannot end before it begins, so an exp that has passed gets no allowance."""
    reply = obo.ask(jane, issuer.token(claims={name: int(time.time()) + shift}))
    assert reply.status_code == (201 if good else 401), reply.text


def test_token_that_ends_before_it_begins(issuer, jane):
    now = int(time.time())
    refused(jane, issuer.token(claims={"iat": now + 20, "exp": now + 10}))


def test_audience_is_compared_byte_by_byte(first, issuer, jane):
    for audience in (first.issuer + "/", first.issuer.upper(), first.issuer + "#", first.issuer[:-1]):
        refused(jane, issuer.token(claims={"aud": audience}))


def test_audience_is_that_of_the_registration(special, first, jane):
    other = special(audience="https://app.example")
    obo.session(jane, other.token(claims={"aud": "https://app.example"}))
    refused(jane, other.token(claims={"aud": first.issuer}))


def test_user_is_no_agent_of_that_name(issuer, jane, agent, first):
    """RFC 9068 section 5"""
    refused(jane, issuer.token(jane.id))
    obo.session(agent(broker=first), issuer.token(jane.id))


# --- where a registration says that claims stand

NESTED = {"user_id": "/ext/user/id", "tenant_id": "/ext/orgs/1", "clearance_level": "/a~1b/c~0d", "permissions": "/ext/scope"}


def nested(**changes):
    ext = {"user": {"id": "nested-user"}, "orgs": ["no", "acme-2"], "scope": "acme:read", **changes}
    return {"ext": ext, "a/b": {"c~d": 7}, "tenant_id": "no", "clearance_level": 1, "permissions": []}


def test_pointers_into_nested_claims(special, first, jane):
    it = special(claims=NESTED)
    session = obo.session(jane, it.token(claims=nested()))
    assert (session["acting_for"], session["tenant_id"], session["clearance_level"]) == ("nested-user", "acme-2", 7)
    assert claims_of(session["session_token"], jwks_of(first))["sub"] == "nested-user"
    is_error(obo.ask(jane, it.token(claims=nested()), scopes=["acme:write"]), 403, "user_not_authorized_for_scope")


@pytest.mark.parametrize("ext", [{"user": None}, {"user": "id"}, {"user": {}}, {"user": ["id"]}, {"user": {"id": 1}},
                                 {"user": {"ID": "x"}}, {"orgs": [1, 2]}, {"scope": 1}])  # fmt: skip
def test_pointer_that_leads_to_nothing_good(special, jane, ext):
    refused(jane, special(claims=NESTED).token(claims=nested(**ext)))


def test_pointer_that_leads_nowhere_leaves_optional_claims_out(special, jane):
    session = obo.session(jane, special(claims=NESTED).token(claims={**nested(orgs=["only one"]), "a/b": 1}))
    assert "tenant_id" not in session and session["clearance_level"] == 0


def test_a_registration_without_claims_takes_the_usual_ones(special, jane):
    session = obo.session(jane, special(claims=None).token("usual-user"))
    assert (session["acting_for"], session["tenant_id"], session["clearance_level"]) == ("usual-user", "acme", 3)


# --- age, and one-time tokens


def test_max_age(special, jane):
    it = special(max_age_seconds=100)
    now = int(time.time())
    obo.session(jane, it.token(claims={"iat": now - 50}))
    refused(jane, it.token(claims={"iat": now - 101}))
    refused(jane, it.token(claims={"iat": None}))


def test_token_may_be_used_again_unless_the_issuer_says_otherwise(pair, issuer, jane):
    token = issuer.token()
    for broker in (*pair, *pair):
        obo.session(jane, token, broker=broker)


def test_one_time_token_is_good_once_at_all_brokers(special, pair, jane, agent):
    """J19"""
    it = special(one_time_jti=True)
    token = it.token()
    obo.session(jane, token, broker=pair[0])
    for broker in (*pair, *pair):
        refused(jane, token, broker=broker)
    refused(agent(broker=pair[0]), token)
    refused(jane, it.token(claims={"jti": None}))


def test_one_time_token_used_32_times_at_once_opens_one_session(special, pair, jane):
    it = special(one_time_jti=True)
    for _ in range(2):
        user = obo.new_user()
        token = it.token(user)
        replies = at_once(PARALLEL, lambda i, t=token: obo.ask(jane, t, broker=pair[i % 2]))
        assert Counter(r.status_code for r in replies) == {201: 1, 401: PARALLEL - 1}
        assert {r.json()["error"] for r in replies if r.status_code == 401} == {REFUSED[1]}
        rows = pair[0].sql("SELECT count(*) FROM nexus.agent_sessions WHERE acting_for = %s", user)
        assert rows == [(1,)]


def test_one_time_token_stays_used_after_a_restart(special, first, jane, broker_factory):
    it = special(one_time_jti=True)
    token, unused = it.token(), it.token()
    before = broker_factory(share_with=first)
    obo.session(jane, token, broker=before)
    assert before.stop() == 0
    after = broker_factory(share_with=first)
    refused(jane, token, broker=after)
    obo.session(jane, unused, broker=after)


def test_one_time_token_that_was_refused_is_not_used_up(special, jane):
    it = special(one_time_jti=True)
    token = it.token()
    is_error(obo.ask(jane, token, scopes=["acme:none"]), 403, "scope_not_permitted_for_agent")
    is_error(obo.ask(jane, token, assertion=jane.assertion(key=Key("ES256"))), 401, "invalid_client")
    obo.session(jane, token)


def test_jti_is_one_time_by_issuer_and_by_its_bytes(special, jane):
    one, other = special(one_time_jti=True), special(one_time_jti=True)
    jti = "jti-" + secrets.token_hex(8)
    obo.session(jane, one.token(claims={"jti": jti}))
    obo.session(jane, other.token(claims={"jti": jti}))
    obo.session(jane, one.token(claims={"jti": jti.upper()}))
    refused(jane, one.token(user="bob", claims={"jti": jti, "exp": int(time.time()) + 1000}))


# --- who may act, and by which key


@pytest.mark.parametrize("who", [{"sub": "{agent}"}, {"client_id": "{agent}"}, {"sub": "{agent}", "client_id": "{agent}"},
                                 {"sub": "{agent}", "iss": "{issuer}"}])  # fmt: skip
def test_may_act_names_the_agent(first, issuer, jane, agent, who):
    who = {k: v.format(agent=jane.id, issuer=first.issuer) for k, v in who.items()}
    obo.session(jane, issuer.token(claims={"may_act": who}))
    refused(agent(broker=first), issuer.token(claims={"may_act": who}))


def test_may_act_names_the_agent_and_somebody_else(issuer, jane):
    for who in ({"sub": jane.id, "client_id": "other"}, {"sub": "other", "client_id": jane.id},
                {"sub": jane.id, "iss": issuer.issuer}, {"sub": jane.id.upper()}):  # fmt: skip
        refused(jane, issuer.token(claims={"may_act": who}))


def test_token_that_is_bound_to_a_key_wants_a_proof_by_it(first, issuer, jane):
    key = dpop.DPoPKey()
    token = issuer.token(claims={"cnf": {"jkt": key.jkt}})
    is_error(obo.ask(jane, token), 400, "invalid_dpop_proof")
    reply = dpop.call(first, dpop.DPoPKey(), "POST", obo.PATH, json=jane.body(user_context_token=token))
    is_error(reply, 400, "invalid_dpop_proof")
    reply = dpop.call(first, key, "POST", obo.PATH, json=jane.body(user_context_token=token))
    assert reply.status_code == 201, reply.text
    assert reply.json()["token_type"] == "DPoP"
    assert claims_of(reply.json()["session_token"], jwks_of(first))["cnf"] == {"jkt": key.jkt}


# --- header, algorithm, signature


@pytest.mark.parametrize("kind", KINDS)
def test_every_algorithm_by_its_registration(special, jane, kind):
    obo.session(jane, special(kind).token())
    others = [other for other in KINDS if other != kind]
    refused(jane, special(kind, algorithms=others).token())


def test_algorithm_of_another_key_type_or_of_none(special, issuer, jane):
    rsa = special("RS256", algorithms=["RS256", "PS256"])
    refused(jane, rsa.token(key=Key("PS256", rsa.key.private, rsa.key.kid)))
    for alg in ("none", "None", "", None, "HS256", "ES384", 1, ["ES256"]):
        refused(jane, issuer.token(header={"alg": alg}))
    unsigned = signing_input({"alg": "none", "typ": "JWT"}, issuer.claims())
    refused(jane, unsigned + ".")
    header = {"alg": "HS256", "typ": "JWT", "kid": issuer.key.kid}
    for secret in (issuer.key.public_pem(), b""):
        text = signing_input(header, issuer.claims())
        refused(jane, f"{text}.{b64u(hmac.new(secret, text.encode(), hashlib.sha256).digest())}")


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_typ_of_users_tokens(issuer, jane, typ):
    obo.session(jane, issuer.token(header={"typ": typ}))


@pytest.mark.parametrize("typ", ["client-authentication+jwt", "dpop+jwt", "oauth-id-jag+jwt", "token-introspection+jwt",
                                 "nexus-call+jwt", "nexus-selftest+jwt", "secevent+jwt", "logout+jwt", "JWS", "", 1])  # fmt: skip
def test_typ_of_another_kind(issuer, jane, typ):
    refused(jane, issuer.token(header={"typ": typ}))


def test_typ_of_the_registration_and_no_other(special, jane):
    it = special(typ="Acme-User+jwt")
    for typ in ("acme-user+jwt", "ACME-USER+JWT", "application/acme-user+jwt"):
        obo.session(jane, it.token(header={"typ": typ}))
    for typ in (None, "JWT", "at+jwt", "acme-user"):
        refused(jane, it.token(header={"typ": typ}))


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"jku": "https://x.example/jwks"},
                                    {"x5u": "https://x.example/c"}, {"jwk": {}}, {"kid": "../../dev/null"}, {"kid": ""},
                                    {"kid": 1}, {"kid": "nobody"}])  # fmt: skip
def test_header_that_leads_astray(issuer, jane, header):
    refused(jane, issuer.token(header=header))


def test_signature_by_whom(issuer, jane):
    refused(jane, issuer.token(key=Key("ES256", kid=issuer.key.kid)))
    refused(jane, issuer.token(signature=b""))
    good = issuer.token()
    refused(jane, good[:-6] + "AAAAAA")
    for text in (good + ".", good + " ", good + "=", good.replace(".", ".."), good.rpartition(".")[0], f"{good}.a.b", "{}"):
        refused(jane, text)
    obo.session(jane, good)


@pytest.mark.parametrize("name,values", [("sub", '"a", "sub": "b"'), ("aud", '"x", "aud": "y"'), ("sub", '"a", "\\u0073ub": "b"')])
def test_claim_that_stands_there_twice(issuer, jane, name, values):
    refused(jane, spelt(issuer, name, values))


def test_kid_may_be_missing_where_there_is_one_key(special, jane):
    obo.session(jane, special().token(header={"kid": None}))
    two = Issuer("https://unused.example")
    keys = [key.jwk() for key in two.keys] + [Key("ES256").jwk()]
    two.close()
    it = special(jwks={"keys": keys})
    refused(jane, it.token(key=two.key, header={"kid": None}))
    obo.session(jane, it.token(key=two.key))


def test_issuers_do_not_vouch_for_one_another(special, jane):
    """J17"""
    one, other = special(), special()
    same_kid = Key("ES256", kid=one.key.kid)
    third = special(jwks={"keys": [same_kid.jwk()]})
    refused(jane, one.token(claims={"iss": other.issuer}))
    refused(jane, one.token(claims={"iss": third.issuer}))
    refused(jane, one.token(key=same_kid))
    obo.session(jane, third.token(key=same_kid))
    for text in (one.issuer + "/", one.issuer.upper(), one.issuer + "?", one.issuer + "#x"):
        refused(jane, one.token(claims={"iss": text}))


def test_no_token_of_ours_vouches_for_a_user(first, issuer, jane, agent):
    other = agent(broker=first)
    for token in (jane.session()["session_token"], obo.session(jane, issuer.token())["session_token"],
                  obo.session(other, issuer.token())["session_token"], jane.assertion(), other.assertion()):  # fmt: skip
        refused(jane, token)
    # And no user's token is a client's.
    is_error(obo.ask(jane, issuer.token(), assertion=issuer.token(jane.id)), 401, "invalid_client")


def test_our_keys_in_an_issuers_hands_make_no_issuer(special, first, jane):
    """Somebody registers this broker's public keys as an issuer's: its tokens still say who made them."""
    special(jwks={"keys": jwks_of(first)["keys"][:1]})
    refused(jane, jane.session()["session_token"])
    mine = Issuer(first.issuer)
    reply = first.admin("POST", "/admin/v1/issuers", json=mine.registration(issuer=first.issuer))
    mine.close()
    is_error(reply, 400, "invalid_issuer")


# --- how long a registration holds


def warm(pair, agent, issuer):
    """All workers of both brokers have seen the issuer."""
    at_once(PARALLEL, lambda i: obo.session(agent, issuer.token(), broker=pair[i % 2]))


CHANGES = {
    "deactivated": {"active": False},
    "for others": {"audience": "https://app.example"},
    "of other algorithms": {"algorithms": ["ES384"]},
    "of another typ": {"typ": "acme+jwt"},
    "of another user": {"claims": {"user_id": "/nobody"}},
    "of other keys": {"jwks": {"keys": [Key("ES256").jwk()]}},
    "deleted": None,
}


@pytest.mark.parametrize("how", CHANGES)
def test_change_of_an_issuer_holds_at_once_at_every_broker(special, change, pair, jane, how):
    it = special()
    warm(pair, jane, it)
    if CHANGES[how] is None:
        assert pair[0].admin("DELETE", f"/admin/v1/issuers/{it.id}").status_code == 200
    else:
        change(it, **CHANGES[how])
    replies = at_once(PARALLEL, lambda i: obo.ask(jane, it.token(), broker=pair[(i + 1) % 2]))
    for reply in replies:
        is_error(reply, *REFUSED)


def test_issuer_is_trusted_at_once_and_again(special, change, pair, jane, issuer):
    warm(pair, jane, issuer)
    it = special(active=False)
    for broker in pair:
        refused(jane, it.token(), broker=broker)
    change(it, active=True)
    for reply in at_once(PARALLEL, lambda i: obo.ask(jane, it.token(), broker=pair[i % 2])):
        assert reply.status_code == 201, reply.text
    new = special()
    for reply in at_once(PARALLEL, lambda i: obo.ask(jane, new.token(), broker=pair[i % 2])):
        assert reply.status_code == 201, reply.text


def test_keys_are_exchanged_at_once(special, change, pair, jane):
    it = special()
    warm(pair, jane, it)
    old = it.key
    it.rotate()
    change(it, jwks=it.jwks())
    for broker in pair:
        obo.session(jane, it.token(), broker=broker)
        refused(jane, it.token(key=old), broker=broker)


def test_nothing_is_granted_after_an_issuers_end(special, change, pair, jane):
    """J24: agents on both brokers race with an administrator."""
    for turn in range(2):
        it = special()
        ended = threading.Event()
        granted = []

        def ask(broker, it=it, ended=ended, granted=granted):
            while not ended.is_set():
                reply = obo.ask(jane, it.token(), broker=broker)
                if reply.status_code == 201:
                    granted.append(reply.json())
                else:
                    is_error(reply, *REFUSED)

        with ThreadPoolExecutor(6) as pool:
            work = [pool.submit(ask, pair[i % 2]) for i in range(6)]
            try:
                while len(granted) < 10 and not any(w.done() for w in work):
                    ended.wait(0.01)
                if turn == 0:
                    change(it, active=False)
                else:
                    assert pair[1].admin("DELETE", f"/admin/v1/issuers/{it.id}").status_code == 200
                for broker in (*pair, *pair):
                    refused(jane, it.token(), broker=broker)
            finally:
                ended.set()
            for w in work:
                w.result()
        assert granted


# What happens between the look at a token and the statement that opens the session, and the refusal that follows.
BETWEEN = {
    "deactivated": (REFUSED, "PATCH", "/admin/v1/issuers/{issuer}", {"active": False}),
    "deleted": (REFUSED, "DELETE", "/admin/v1/issuers/{issuer}", None),
    "other keys": (REFUSED, "PATCH", "/admin/v1/issuers/{issuer}", {"jwks": {"keys": [Key("ES256").jwk()]}}),
    "for others": (REFUSED, "PATCH", "/admin/v1/issuers/{issuer}", {"audience": "https://app.example"}),
    "agent deactivated": ((403, "agent_inactive"), "PATCH", "/admin/v1/agents/{agent}", {"active": False}),
    "agent's ceiling": ((403, "scope_not_permitted_for_agent"), "PATCH", "/admin/v1/agents/{agent}", {"allowed_scopes": []}),
    "agent deleted": ((401, "invalid_client"), "DELETE", "/admin/v1/agents/{agent}", None),
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_changes_while_keys_are_fetched_counts(special, pair, agent, what):
    """J24. The other broker makes the change."""
    refusal, method, path, body = BETWEEN[what]
    a, it = agent(broker=pair[0]), special(source="jwks_uri")
    it.misbehave(it.jwks_path, hang := Hang())
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(obo.ask, a, it.token())
        try:
            assert hang.arrived.wait(20)
            reply = pair[1].admin(method, path.format(issuer=it.id, agent=a.id), json=body)
            assert reply.status_code == 200, reply.text
        finally:
            hang.release.set()
        is_error(asked.result(), *refusal)
    assert obo.count_sessions(a) == 0


# --- addresses that nobody is led to (attacks S01, S05, S06), on a broker without the switch for tests

ADDRESSES = ["127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "172.16.0.1",
             "172.31.255.255", "192.168.1.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "[::1]",
             "[::]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::127.0.0.1]", "[fd00:ec2::254]", "[fe80::1]", "[fe80::1%25eth0]",
             "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[ff02::1]", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1."]  # fmt: skip
OTHER_URLS = ["file:///etc/passwd", "gopher://idp.example/", "ftp://idp.example/jwks", "dict://idp.example/",
              "https://user:pw@idp.example/", "https:///jwks", "//idp.example/", "https://idp.example\\@127.0.0.1/"]  # fmt: skip
NO_URLS = [f"https://{host}/jwks" for host in ADDRESSES] + OTHER_URLS


def registration(**changes):
    body = {"issuer": f"https://idp-{secrets.token_hex(6)}.example", "algorithms": ["ES256"], "audience": "x"}
    return {**body, **changes}


@pytest.mark.parametrize("url", NO_URLS)
def test_url_that_leads_inside_is_not_registered(broker, url):
    is_error(broker.admin("POST", "/admin/v1/issuers", json=registration(jwks_uri=url)), 400, "invalid_request", "jwks_uri")
    for body in (registration(issuer=url, discovery=True), registration(issuer=url.removesuffix("/jwks"), discovery=True)):
        reply = broker.admin("POST", "/admin/v1/issuers", json=body)
        assert reply.status_code == 400 and reply.json()["error"] in ("invalid_issuer", "invalid_request"), reply.text


@pytest.mark.parametrize("host", [h for h in ADDRESSES if not h.startswith("127.") and h != "[::1]"])
def test_switch_for_loopback_opens_loopback_alone(first, host):
    is_error(first.admin("POST", "/admin/v1/issuers", json=registration(jwks_uri=f"https://{host}/jwks")), 400, "invalid_request")
    is_error(first.admin("POST", "/admin/v1/issuers", json=registration(jwks_uri=f"http://{host}/jwks")), 400, "invalid_request")


@pytest.mark.parametrize("source", ["jwks_uri", "discovery"])
def test_registration_from_elsewhere_does_not_lead_inside(special, broker, agent, source):
    """The switch is the fetching broker's own."""
    it = special(source=source)
    a = agent(broker=broker)
    is_error(obo.ask(a, it.token()), 503, "issuer_unavailable")
    assert it.requests == []


def test_name_of_this_machine_is_looked_at_when_it_is_fetched_from(broker, agent):
    it = Issuer(broker.issuer)
    it.issuer = f"https://idp-{secrets.token_hex(6)}.example"
    with socket.create_server(("127.0.0.1", 0)) as listener, obo.trusted(broker) as add:
        add(it, "jwks_uri", jwks_uri=f"https://localhost:{listener.getsockname()[1]}/jwks")
        is_error(obo.ask(agent(), it.token()), 503, "issuer_unavailable")
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
