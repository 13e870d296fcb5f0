# SPDX-License-Identifier: Apache-2.0
"""The JWT bearer grant of POST /oauth/token: users' assertions (RFC 7523 sections 2.1 and 3), and identity assertion
authorization grants (ID-JAG)."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import audit
from lib.delegation import (
    actors,
    exchange_form,
    form,
    has_ended,
    is_in_force,
    is_not_stored,
    is_oauth_error,
    line,
    new_user,
    opens_nothing,
    scope_rule,
    trusted_issuer,
)
from lib.delegation import granted as answer_of
from lib.dpop import DPoPKey
from lib.keys import Key, compact, parts
from lib.oauth import ACCESS_TOKEN, JWT, JWT_BEARER, TOKEN_PATH, OAuthClient
from lib.verify import by_authlib, claims_of, is_error, jwks_of

API = "https://api.example.org"
LEDGER = "https://ledger.example.org"
OTHER = "https://other.example"


@pytest.fixture(scope="module")
def issuer(broker):
    with trusted_issuer(broker) as i:
        yield i


@pytest.fixture(scope="module")
def keys(broker):
    return jwks_of(broker)


@pytest.fixture
def client(broker, agent):
    return OAuthClient(broker, agent(allowed_audiences=[API, LEDGER]))


def ask(client, assertion, **params):
    return client.raw_token(form(JWT_BEARER, assertion=assertion, **params))


def granted(client, assertion, **params):
    return answer_of(ask(client, assertion, **params))


def refused(client, assertion, code="invalid_grant", **params):
    opens_nothing(client, form(JWT_BEARER, assertion=assertion, **params), 400, code)


def seconds(n):
    return int(time.time()) + n


# --- both kinds


@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_agent_acts_for_the_user(broker, issuer, client, keys, kind):
    user = new_user()
    reply = ask(client, issuer.token(user) if kind == "user" else issuer.id_jag(client.agent, user))
    is_not_stored(reply)
    answer = reply.json()
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope", "session_id"}
    assert answer["token_type"] == "Bearer" and answer["session_id"].startswith("obo_")
    claims = claims_of(answer["access_token"], keys)
    assert claims == by_authlib(answer["access_token"], keys, broker.issuer, broker.issuer, ["acme:read"])
    assert claims["sub"] == user and claims["client_id"] == client.agent.id and actors(claims) == [client.agent.id]
    assert (claims["sub_profile"], claims["tenant_id"], claims["clearance_level"]) == ("user", "acme", 3)
    assert claims["scope"] == answer["scope"] == ("acme:read acme:write" if kind == "user" else "acme:read")
    [shown] = broker.admin("GET", f"/admin/v1/sessions?acting_for={user}").json()["sessions"]
    assert (shown["session_id"], shown["grant_type"], shown["obo"]) == (answer["session_id"], "jwt-bearer", True)
    broker.settle()
    intent = audit.check_token(broker.leaves("jti = %s", claims["jti"]), answer["access_token"], claims["jti"])
    assert intent.body["client"] == client.agent.id and intent.body["sub_p"] and user.encode() not in intent.raw


@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_session_goes_the_way_of_all_sessions(broker, issuer, kind):
    """It can be delegated, and ends with all that came of it."""
    a, b = line(broker, 2)
    first = granted(a, issuer.token() if kind == "user" else issuer.id_jag(a.agent))
    second = b.token_exchange(first["access_token"], ACCESS_TOKEN)
    is_in_force(first, broker)
    is_in_force(second, broker)
    assert a.revoke(first["access_token"]).status_code == 200
    has_ended(first, broker)
    has_ended(second, broker)


@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_nothing_outlives_the_assertion(issuer, client, keys, kind):
    soon = {"exp": seconds(20)}
    assertion = issuer.token(claims=soon) if kind == "user" else issuer.id_jag(client.agent, claims=soon)
    answer = granted(client, assertion)
    claims = claims_of(answer["access_token"], keys)
    assert claims["exp"] <= soon["exp"] and answer["expires_in"] == claims["exp"] - claims["iat"] <= 20


def good(issuer, client, kind, **claims):
    return issuer.token(claims=claims) if kind == "user" else issuer.id_jag(client.agent, claims=claims)


@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_assertion_is_accepted_once(broker, broker_factory, issuer, client, kind):
    """RFC 7523 section 3 item 7: wherever and however often it comes, and by whatever is different beside its jti"""
    pair = [broker, broker_factory()]
    claims = {"jti": new_user()}
    assertion = good(issuer, client, kind, **claims)

    def send(n):
        pairs = [*form(JWT_BEARER, assertion=assertion), *client.authentication()]
        return pair[n % 2].call("POST", TOKEN_PATH, data=pairs)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(send, range(8)))
    assert sorted(r.status_code for r in replies) == [200] + [400] * 7
    for reply in replies:
        if reply.status_code == 400:
            is_oauth_error(reply, 400, "invalid_grant")
    refused(client, assertion)
    refused(client, good(issuer, client, kind, **claims, exp=seconds(250)))
    granted(client, good(issuer, client, kind, jti=claims["jti"] + "x"))


def test_one_jti_of_two_issuers_is_no_replay(broker, issuer, client):
    jti = new_user()
    with trusted_issuer(broker) as other:
        for i in (issuer, other):
            granted(client, i.id_jag(client.agent, claims={"jti": jti}))


@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_refused_request_leaves_the_assertion_unused(issuer, client, kind):
    assertion = good(issuer, client, kind)
    refused(client, assertion, "invalid_scope", scope="acme:admin")
    refused(client, assertion, "invalid_target", audience=OTHER)
    granted(client, assertion)


def test_users_assertion_without_a_jti_can_come_again(issuer, client):
    """It is optional there (RFC 7523 section 3), and then nothing tells one use from the next."""
    assertion = issuer.token(claims={"jti": None})
    granted(client, assertion)
    granted(client, assertion)


@pytest.mark.parametrize("value", [None, ""])
def test_assertion_is_needed(client, value):
    is_oauth_error(client.raw_token(form(JWT_BEARER, assertion=value)), 400, "invalid_request", "assertion")


# What is wrong with an assertion of either kind: changes to header and claims.
BAD = {
    "expired": ({}, {"iat": 1000, "exp": 2000}),
    "expired a minute ago": ({}, {"iat": seconds(-400), "exp": seconds(-61)}),
    "not yet": ({}, {"nbf": seconds(600)}),
    "from the future": ({}, {"iat": seconds(600), "exp": seconds(700)}),
    "no exp": ({}, {"exp": None}),
    "exp is text": ({}, {"exp": str(seconds(60))}),
    "no sub": ({}, {"sub": None}),
    "empty sub": ({}, {"sub": ""}),
    "no aud": ({}, {"aud": None}),
    "aud of another": ({}, {"aud": OTHER}),
    "no iss": ({}, {"iss": None}),
    "unknown iss": ({}, {"iss": OTHER}),
    "alg none": ({"alg": "none"}, {}),
    "alg HS256": ({"alg": "HS256"}, {}),
    "kid of nobody": ({"kid": "nobody"}, {}),
    "typ of a client assertion": ({"typ": "client-authentication+jwt"}, {}),
    "typ of a proof": ({"typ": "dpop+jwt"}, {}),
    "typ unknown": ({"typ": "x+jwt"}, {}),
    "crit": ({"crit": ["exp"]}, {}),
    "acted on elsewhere": ({}, {"act": {"sub": "someone"}}),
    "another may act": ({}, {"may_act": {"sub": "agent-other"}}),
    "bound by what cannot be proved": ({}, {"cnf": {"x5t#S256": "A" * 43}}),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_assertion_that_is_not_accepted(issuer, client, kind, name):
    """RFC 7523 section 3.1: invalid_grant"""
    header, claims = BAD[name]
    if kind == "user":
        refused(client, issuer.token(header=header, claims=claims))
    else:
        refused(client, issuer.id_jag(client.agent, header=header, claims=claims))


@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_assertion_that_its_issuer_has_not_signed(issuer, client, kind):
    def made(**how):
        return issuer.token(**how) if kind == "user" else issuer.id_jag(client.agent, **how)

    for assertion in (made(key=Key("ES256", kid=issuer.key.kid)), made(signature=bytes(64)), made(signature=b""),
                      made()[:-8] + "AAAAAAAA", made() + ".x", made()[:-86]):  # fmt: skip
        refused(client, assertion)


def test_what_is_no_assertion(broker, issuer, client):
    token = client.client_credentials("acme:read")["access_token"]
    own = client.agent.assertion()
    name, key = client.agent.id, client.agent.key
    header = {"alg": "ES256", "typ": "oauth-id-jag+jwt", "kid": key.kid}
    self_made = compact(header, {**issuer.claims(), "iss": name, "client_id": name}, key)
    for assertion in ("x", "x.y.z", "..", token, own, self_made, "\u00e9", "x" * 16384):
        refused(client, assertion)
    refused(client, "x" * 16385, "invalid_request")


def test_issuer_must_be_trusted_now(broker, client):
    with trusted_issuer(broker, active=False) as issuer:
        for assertion in (issuer.token(), issuer.id_jag(client.agent)):
            refused(client, assertion)
        broker.admin("PATCH", f"/admin/v1/issuers/{issuer.id}", json={"active": True})
        granted(client, issuer.token())
        last = issuer.id_jag(client.agent)
    refused(client, last)


@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_agent_proves_itself_first(broker, issuer, client, kind):
    pairs = form(JWT_BEARER, assertion=good(issuer, client, kind))
    is_oauth_error(client.raw_token(pairs, authenticate=False), 401, "invalid_client")
    # An assertion authenticates nobody, even in place of one that does.
    auth = client.authentication(good(issuer, client, kind))
    is_oauth_error(client.raw_token([*pairs, *auth], authenticate=False), 401, "invalid_client")


def test_refusal_is_on_record(broker, issuer, client):
    refused(client, issuer.token(claims={"aud": OTHER}))
    refused(client, issuer.token(), "invalid_scope", scope="acme:admin")
    leaves = [x for x in broker.leaves("kind = 'refusal'") if x.body.get("client") == client.agent.id]
    assert [(x.body["op"], x.body["reason"]) for x in leaves] == [
        ("token.jwt_bearer", "invalid_grant"), ("token.jwt_bearer", "scope_not_permitted_for_agent")
    ]  # fmt: skip
    assert leaves[1].body["scope"] == ["acme:admin"]


@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_assertion_must_end_within_a_day(broker, issuer, client, kind):
    """RFC 7523 section 3 item 4: as long as it lives, its id is remembered."""
    for ahead in (86400 + 60, 30 * 86400, 253402300799 - seconds(0)):
        refused(client, good(issuer, client, kind, exp=seconds(ahead)))
    jti = new_user()
    granted(client, good(issuer, client, kind, jti=jti, exp=seconds(86400 - 60)))
    digest = hashlib.sha256(jti.encode()).digest()
    [(days,)] = broker.sql(
        "SELECT extract(epoch FROM expires_at - now()) / 86400 FROM nexus.replay_guard WHERE jti_hash = %s", digest
    )
    assert 0.9 < days < 1.1


# --- users' assertions


@pytest.mark.parametrize("aud", [[OTHER, "US"], ["US", OTHER], ["US"]])
def test_users_assertion_may_be_for_others_too(broker, issuer, client, aud):
    granted(client, issuer.token(claims={"aud": [broker.issuer if a == "US" else a for a in aud]}))


@pytest.mark.parametrize("aud", [[], [OTHER], ["US/"], [["US"]], [1], 1, {}])
def test_users_assertion_must_be_for_us(broker, issuer, client, aud):
    named = [a.replace("US", broker.issuer) if isinstance(a, str) else a for a in aud] if isinstance(aud, list) else aud
    refused(client, issuer.token(claims={"aud": named}))


@pytest.mark.parametrize("typ,good", [("JWT", True), ("at+jwt", True), (None, True), ("jwt", True),
                                      ("logout+jwt", False), ("", False)])  # fmt: skip
def test_users_assertion_by_its_typ(issuer, client, typ, good):
    (granted if good else refused)(client, issuer.token(header={"typ": typ}))


def test_typ_that_is_registered_is_the_only_one_for_users(broker, client):
    """An ID-JAG has a typ of its own, whatever the users' tokens of its issuer have."""
    with trusted_issuer(broker, typ="acme-user+jwt", audience=API) as issuer:
        mine = {"aud": API}
        granted(client, issuer.token(header={"typ": "acme-user+jwt"}, claims=mine))
        granted(client, issuer.token(header={"typ": "application/acme-user+jwt"}, claims=mine))
        for typ in ("JWT", "at+jwt", None, "oauth-id-jag+jwt"):
            refused(client, issuer.token(header={"typ": typ}, claims=mine))
        refused(client, issuer.token(header={"typ": "acme-user+jwt"}, claims={"aud": broker.issuer}))
        granted(client, issuer.id_jag(client.agent))
        refused(client, issuer.id_jag(client.agent, claims=mine))


@pytest.mark.parametrize(
    "scope,good",
    [(None, "acme:read acme:write"), ("acme:write", "acme:write"), ("acme:admin", None),
     ("acme:read acme:admin", None)],
)  # fmt: skip
def test_scope_of_a_users_assertion(issuer, client, scope, good):
    more = {} if scope is None else {"scope": scope}
    assertion = issuer.token(claims={"permissions": ["acme:write", "acme:read", "acme:audit"]})
    if good is None:
        refused(client, assertion, "invalid_scope", **more)
    else:
        assert granted(client, assertion, **more)["scope"] == good


def test_scope_beyond_the_user(issuer, client):
    refused(client, issuer.token(claims={"permissions": ["acme:read"]}), "invalid_scope", scope="acme:write")
    refused(client, issuer.token(claims={"permissions": []}), "invalid_scope")


def test_conditions_of_scopes_hold(broker, issuer, agent):
    with scope_rule(broker, requires_obo=True, min_clearance=5, max_ttl_seconds=30) as scope:
        client = OAuthClient(broker, agent(scopes=[scope]))
        about = {"permissions": [scope], "clearance_level": 4}
        refused(client, issuer.token(claims=about), "invalid_scope")
        refused(client, issuer.id_jag(client.agent, scope=scope, claims={"clearance_level": 4}), "invalid_scope")
        for assertion in (issuer.token(claims={**about, "clearance_level": 5}),
                          issuer.id_jag(client.agent, scope=scope, claims={"clearance_level": 5})):  # fmt: skip
            assert granted(client, assertion)["expires_in"] == 30


# --- ID-JAG


@pytest.mark.parametrize("aud", [["US"], ["US", OTHER], [OTHER, "US"], [], OTHER, "US/", "US/oauth/token"])
def test_id_jag_is_for_us_alone(broker, issuer, client, aud):
    """A single string; one that is for two servers can be carried from one to the other."""
    named = [a.replace("US", broker.issuer) for a in aud] if isinstance(aud, list) else aud.replace("US", broker.issuer)
    refused(client, issuer.id_jag(client.agent, claims={"aud": named}))


@pytest.mark.parametrize(
    "scope,permissions,both",
    [
        ("acme:read acme:write", ["acme:write", "acme:audit"], "acme:write"),
        ("acme:read acme:write", "acme:read", "acme:read"),
        ("acme:read", None, "acme:read"),
        (None, ["acme:write"], "acme:write"),
        ("acme:read", ["acme:write"], None),
        ("acme:read", [], None),
        ("", ["acme:read"], None),
    ],
)
def test_id_jag_grants_what_both_scope_and_permissions_hold(issuer, client, scope, permissions, both):
    def made():
        return issuer.id_jag(client.agent, claims={"scope": scope, "permissions": permissions})

    refused(client, made(), "invalid_scope", scope="acme:read acme:write acme:audit")
    if both is None:
        refused(client, made(), "invalid_scope")
        refused(client, made(), "invalid_scope", scope="acme:read")
    else:
        assert granted(client, made())["scope"] == both
        assert granted(client, made(), scope=both)["scope"] == both


def test_id_jag_is_for_the_agent_that_shows_it(broker, issuer, client, agent):
    other = OAuthClient(broker, agent())
    refused(other, issuer.id_jag(client.agent))
    for name in (None, "", client.agent.id.upper(), client.agent.id + "x", [client.agent.id], 7):
        refused(client, issuer.id_jag(client.agent, claims={"client_id": name}))
    granted(client, issuer.id_jag(client.agent))


@pytest.mark.parametrize("claim", ["jti", "iat", "exp", "aud", "client_id", "sub", "iss"])
def test_claims_that_an_id_jag_needs(issuer, client, claim):
    refused(client, issuer.id_jag(client.agent, claims={claim: None}))


def test_typ_makes_the_id_jag(issuer, client):
    """Without it, it is a user's assertion, and goes by the rules and the scopes of those."""
    both = {"permissions": ["acme:read", "acme:write"]}
    jag = issuer.id_jag(client.agent, header={"typ": "OAuth-ID-JAG+jwt"}, claims=both)
    assert granted(client, jag)["scope"] == "acme:read"
    plain = issuer.id_jag(client.agent, header={"typ": "JWT"}, claims=both)
    assert granted(client, plain)["scope"] == "acme:read acme:write"


@pytest.mark.parametrize(
    "scope,asked,good",
    [("acme:read", None, "acme:read"), ("acme:read acme:write", "acme:write", "acme:write"),
     ("acme:write acme:admin", None, "acme:write"), ("acme:read", "acme:write", None), ("acme:admin", None, None),
     ("acme:admin", "acme:admin", None), ("", None, None), ("acme:read", "acme:read acme:write", None)],
)  # fmt: skip
def test_scope_of_an_id_jag_is_the_most(issuer, client, scope, asked, good):
    more = {} if asked is None else {"scope": asked}
    assertion = issuer.id_jag(client.agent, scope=scope)
    if good is None:
        refused(client, assertion, "invalid_scope", **more)
    else:
        assert granted(client, assertion, **more)["scope"] == good


@pytest.mark.parametrize("scope", [["acme:read"], 7, True, {}])
def test_scope_of_an_id_jag_is_text(issuer, client, scope):
    refused(client, issuer.id_jag(client.agent, claims={"scope": scope}))


def test_id_jag_without_a_scope_goes_by_the_permissions(issuer, client):
    assertion = issuer.id_jag(client.agent, claims={"scope": None, "permissions": ["acme:write"]})
    assert granted(client, assertion)["scope"] == "acme:write"


def test_resource_of_an_id_jag_is_what_its_token_is_for(broker, issuer, client, keys):
    """RFC 8707 section 2"""
    cases = [(API, None, API), ([API, LEDGER], None, [API, LEDGER]), ([API, LEDGER], LEDGER, LEDGER),
             (None, LEDGER, LEDGER), (None, None, broker.issuer)]  # fmt: skip
    for resource, asked, aud in cases:
        answer = granted(client, issuer.id_jag(client.agent, claims={"resource": resource}), resource=asked)
        assert claims_of(answer["access_token"], keys)["aud"] == aud
    for resource, asked in ((API, LEDGER), ([API], LEDGER), (API, [API, LEDGER])):
        refused(client, issuer.id_jag(client.agent, claims={"resource": resource}), "invalid_target", resource=asked)
    refused(client, issuer.id_jag(client.agent, claims={"resource": OTHER}), "invalid_target")
    for resource in ([], 7, {}):
        refused(client, issuer.id_jag(client.agent, claims={"resource": resource}))


def test_details_that_are_not_understood_are_not_ignored(issuer, client):
    refused(client, issuer.id_jag(client.agent, claims={"authorization_details": [{"type": "payment"}]}))


@pytest.mark.parametrize("kind", ["user", "ID-JAG"])
def test_cnf_forces_a_proof_by_its_key(broker, issuer, client, keys, kind):
    key = DPoPKey()

    def bound():
        return good(issuer, client, kind, cnf={"jkt": key.jkt})

    assertion = bound()
    refused(client, assertion, "invalid_dpop_proof")
    refused(OAuthClient(broker, client.agent, dpop=DPoPKey()), assertion, "invalid_dpop_proof")
    # Whoever could not prove it has not used it up.
    answer = granted(OAuthClient(broker, client.agent, dpop=key), assertion)
    assert answer["token_type"] == "DPoP"
    assert claims_of(answer["access_token"], keys)["cnf"] == {"jkt": key.jkt}
    for cnf in ({}, {"jkt": ""}, {"jkt": key.jkt[:-1]}, {"jkt": [key.jkt]}, {"kid": "x"}, key.jkt,
                {"jkt": key.jkt, "x5t#S256": "A" * 43}):  # fmt: skip
        refused(OAuthClient(broker, client.agent, dpop=key), good(issuer, client, kind, cnf=cnf))


def test_id_jag_is_for_this_grant_alone(broker, issuer, client):
    jag = issuer.id_jag(client.agent)
    for kind in (JWT, ACCESS_TOKEN):
        opens_nothing(client, exchange_form(jag, kind), 400, "invalid_request")
    body = client.agent.body(user_context_token=jag)
    is_error(broker.call("POST", "/v1/agent-sessions/obo", json=body), 401, "invalid_user_context_token")
    assert parts(jag)[0]["typ"] == "oauth-id-jag+jwt"
    granted(client, jag)
