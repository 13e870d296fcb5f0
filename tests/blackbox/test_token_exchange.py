# SPDX-License-Identifier: Apache-2.0
"""Token exchange (RFC 8693, attacks X01, X02, X06, X07, X09, X10): who may go on with what was delegated, with what,
and for how long. Which tokens are taken is in test_subject_tokens.py, how chains end in test_delegation_ends.py."""

import pytest

from lib import audit
from lib.delegation import (
    actors,
    delegate,
    exchange,
    exchange_form,
    exchange_refused,
    exchanged,
    is_oauth_error,
    line,
    new_user,
    scope_rule,
    trusted_issuer,
)
from lib.keys import parts
from lib.oauth import ACCESS_TOKEN, JWT, TOKEN_PATH, OAuthClient
from lib.verify import by_authlib, claims_of, jwks_of

API = "https://api.example.org"
LEDGER = "https://ledger.example.org"


@pytest.fixture(scope="module")
def issuer(broker):
    with trusted_issuer(broker) as i:
        yield i


@pytest.fixture(scope="module")
def keys(broker):
    return jwks_of(broker)


# --- what is in the token


def test_chain_stands_in_the_token(broker, issuer, keys):
    """RFC 8693 section 4.1: the newest actor outermost; X03: it is the authenticated client, whatever else is sent"""
    user = new_user()
    clients = line(broker, 3)
    ids = [client.agent.id for client in clients]
    grants = delegate(clients, issuer.token(user))
    for n, grant in enumerate(grants):
        claims = claims_of(grant["access_token"], keys)
        scopes = ["acme:read", "acme:write"]
        assert claims == by_authlib(grant["access_token"], keys, broker.issuer, broker.issuer, scopes)
        assert claims["sub"] == user and claims["sub_profile"] == "user"
        assert claims["client_id"] == ids[n] and claims["sid"] == grant["session_id"]
        assert actors(claims) == ids[n::-1]
        assert (claims["tenant_id"], claims["clearance_level"]) == ("acme", 3)
        assert grant["session_id"].startswith("obo_")
    assert len({g["session_id"] for g in grants}) == 3


def test_answer_is_that_of_the_rfc(broker, issuer):
    """RFC 8693 section 2.2.1"""
    [client] = line(broker, 1)
    reply = exchange(client, issuer.token(), JWT)
    assert (reply.headers["Cache-Control"], reply.headers["Pragma"]) == ("no-store", "no-cache")
    answer = reply.json()
    assert set(answer) == {"access_token", "issued_token_type", "token_type", "expires_in", "scope", "session_id"}
    assert (answer["issued_token_type"], answer["token_type"]) == (ACCESS_TOKEN, "Bearer")


def test_agent_can_be_the_subject(broker, keys):
    """An agent that acts for itself, and others for it: it is no user, and is not among the actors."""
    a, b, c = line(broker, 3)
    own = a.client_credentials("acme:read")["access_token"]
    second, third = delegate([b, c], own, ACCESS_TOKEN)
    for grant, ids in ((second, [b.agent.id]), (third, [c.agent.id, b.agent.id])):
        claims = claims_of(grant["access_token"], keys)
        assert (claims["sub"], claims["sub_profile"]) == (a.agent.id, "ai_agent")
        assert claims["client_id"] == ids[0] and actors(claims) == ids
        assert not {"tenant_id", "clearance_level"} & set(claims)
        assert grant["session_id"].startswith("sess_")


def test_scopes_for_users_alone_stay_so_down_the_chain(broker, issuer, agent):
    with scope_rule(broker, requires_obo=True) as scope:
        a, b = line(broker, 2, scopes=[scope, "acme:read"])
        alice = issuer.token(claims={"permissions": [scope, "acme:read"]})
        assert delegate([a, b], alice)[1]["scope"].split() == [scope, "acme:read"]
        # Without a user there is no scope that needs one, however many agents stand between.
        own = a.client_credentials("acme:read")["access_token"]
        exchange_refused(b, own, code="invalid_scope", scope=scope)


@pytest.mark.parametrize("clearance,good", [(4, False), (5, True), (6, True), (None, False)])
def test_clearance_is_the_users_all_down_the_chain(broker, issuer, keys, clearance, good):
    with scope_rule(broker, min_clearance=5) as scope:
        a, b = line(broker, 2, scopes=[scope, "acme:read"])
        claims = {"permissions": [scope, "acme:read"], "clearance_level": clearance}
        if not good:
            exchange_refused(a, issuer.token(claims=claims), JWT, "invalid_scope", scope=scope)
            return
        grants = delegate([a, b], issuer.token(claims=claims))
        assert claims_of(grants[1]["access_token"], keys)["clearance_level"] == clearance
        assert scope in grants[1]["scope"].split()


# --- the sessions


def test_sessions_of_a_chain_are_listed_and_on_record(broker, issuer):
    user = new_user()
    clients = line(broker, 3)
    ids = [client.agent.id for client in clients]
    grants = delegate(clients, issuer.token(user))
    listed = broker.admin("GET", f"/admin/v1/sessions?acting_for={user}").json()["sessions"]
    shown = {s["session_id"]: s for s in listed}
    assert set(shown) == {g["session_id"] for g in grants}
    broker.settle()
    pseudonyms = set()
    for n, grant in enumerate(grants):
        parent = grants[n - 1]["session_id"] if n > 0 else None
        s = shown[grant["session_id"]]
        assert (s["agent_id"], s["obo"], s["grant_type"]) == (ids[n], True, "token-exchange")
        assert s.get("chain", [ids[0]]) == ids[n::-1] and s.get("parent_session_id") == parent
        jti = parts(grant["access_token"])[1]["jti"]
        intent = audit.check_token(broker.leaves("jti = %s", jti), grant["access_token"], jti)
        assert (intent.body["client"], intent.body.get("parent")) == (ids[n], parent)
        assert intent.body.get("act", [ids[0]]) == ids[n::-1]
        assert user.encode() not in intent.raw
        pseudonyms.add(intent.body["sub_p"])
    assert len(pseudonyms) == 1


def test_refusal_is_on_record_and_uses_the_assertion_up(broker, issuer):
    a, b = line(broker, 2)
    [grant] = delegate([a], issuer.token())
    auth = b.authentication()
    too_much = [*exchange_form(grant["access_token"], scope="acme:admin acme:read"), *auth]
    is_oauth_error(b.raw_token(too_much, authenticate=False), 400, "invalid_scope", "acme:admin")
    good = [*exchange_form(grant["access_token"]), *auth]
    is_oauth_error(b.raw_token(good, authenticate=False), 401, "invalid_client")
    [leaf] = [x for x in broker.leaves("kind = 'refusal'") if x.body.get("client") == b.agent.id]
    audit.check_bytes(leaf)
    assert (leaf.body["op"], leaf.body["policy"]) == ("token.exchange", "refused")
    assert (leaf.body["parent"], leaf.body["act"]) == (grant["session_id"], [a.agent.id])
    assert set(leaf.body["scope"]) == {"acme:admin", "acme:read"} and leaf.body["sub_p"]


# --- scopes (X01)


def test_scope_left_out_is_the_intersection(broker, issuer, keys):
    a, b = line(broker, 2)
    broker.admin("PATCH", f"/admin/v1/agents/{b.agent.id}", json={"allowed_scopes": ["acme:admin", "acme:write"]})
    alice = issuer.token(claims={"permissions": "acme:write acme:audit acme:read"})
    first, second = delegate([a, b], alice)
    assert first["scope"].split() == ["acme:read", "acme:write"]
    for grant in (second, exchanged(b, first["access_token"], scope="")):
        assert grant["scope"] == claims_of(grant["access_token"], keys)["scope"] == "acme:write"


@pytest.mark.parametrize(
    "asked,good",
    [("acme:write", True), ("acme:read", False), ("acme:admin", False), ("acme:none", False), ("acme:*", False),
     ("acme:write acme:read", False), ("acme:write acme:admin", False), ("acme:write acme:write", True),
     ("acme:writ", False), ("acme:write:all", False), ("ACME:WRITE", False), ("acme:write ", False)],
)  # fmt: skip
def test_scope_asked_for_is_all_or_nothing(broker, issuer, asked, good):
    """The subject token holds read and write, the agent's ceiling write and admin."""
    a, b = line(broker, 2)
    broker.admin("PATCH", f"/admin/v1/agents/{b.agent.id}", json={"allowed_scopes": ["acme:write", "acme:admin"]})
    [grant] = delegate([a], issuer.token())
    if good:
        assert exchanged(b, grant["access_token"], scope=asked)["scope"] == "acme:write"
    else:
        exchange_refused(b, grant["access_token"], code="invalid_scope", scope=asked)


def test_scope_never_widens_again(broker, issuer):
    a, b, c = line(broker, 3)
    [first] = delegate([a], issuer.token(), scope="acme:read")
    second = exchanged(b, first["access_token"])
    assert second["scope"] == "acme:read"
    for client, subject in ((b, first), (c, second)):
        exchange_refused(client, subject["access_token"], code="invalid_scope", scope="acme:write")


def test_nothing_in_common_is_nothing_granted(broker, issuer):
    [client] = line(broker, 1)
    for permissions in (["acme:audit"], [], None, ""):
        token = issuer.token(claims={"permissions": permissions})
        exchange_refused(client, token, JWT, "invalid_scope")
        exchange_refused(client, token, JWT, "invalid_scope", scope="acme:read")


def test_earlier_agents_must_still_have_the_scope(broker, issuer):
    """What an agent may have no more, it cannot have handed on either."""
    a, b, c = line(broker, 3)
    first, second = delegate([a, b], issuer.token())
    broker.admin("PATCH", f"/admin/v1/agents/{a.agent.id}", json={"allowed_scopes": ["acme:write"]})
    for client, subject in ((b, first), (c, second)):
        exchange_refused(client, subject["access_token"], scope="acme:read")
        exchange_refused(client, subject["access_token"], scope="acme:read acme:write")
        assert exchanged(client, subject["access_token"], scope="acme:write")["scope"] == "acme:write"


# --- audiences (X02, X09)


@pytest.mark.parametrize(
    "asked,aud",
    [({}, None), ({"audience": API}, API), ({"resource": [API, LEDGER]}, [API, LEDGER]),
     ({"audience": API, "resource": LEDGER}, [API, LEDGER]), ({"audience": [API, API]}, API)],
)  # fmt: skip
def test_audience_is_one_of_the_agents(broker, issuer, keys, asked, aud):
    a, b = line(broker, 2, allowed_audiences=[API, LEDGER])
    [first] = delegate([a], issuer.token())
    for client, token, kind in ((a, issuer.token(), JWT), (b, first["access_token"], ACCESS_TOKEN)):
        grant = exchanged(client, token, kind, **asked)
        assert claims_of(grant["access_token"], keys)["aud"] == (aud or broker.issuer)


@pytest.mark.parametrize(
    "asked",
    [{"audience": "https://other.example"}, {"audience": [API, "https://other.example"]}, {"resource": LEDGER},
     {"audience": API, "resource": LEDGER}, {"resource": API + "#x"}, {"resource": "api"}, {"audience": "*"}],
)  # fmt: skip
def test_audience_outside_the_agents(broker, issuer, asked):
    """That the agent before had it is of no use."""
    a, b = line(broker, 2, allowed_audiences=[API])
    broker.admin("PATCH", f"/admin/v1/agents/{a.agent.id}", json={"allowed_audiences": [API, LEDGER]})
    [first] = delegate([a], issuer.token())
    exchange_refused(b, first["access_token"], code="invalid_target", **asked)


def test_token_for_somebody_else_is_no_subject_token(broker, issuer, keys):
    """X09: only a token that is for the broker, or for what the agent stands for"""
    a, b = line(broker, 2, allowed_audiences=[API, LEDGER])
    grants = {
        aud: exchanged(a, issuer.token(), JWT, audience=list(aud))
        for aud in [(API,), (LEDGER,), (API, LEDGER), (broker.issuer, LEDGER)]
    }
    may = {
        (): [(broker.issuer, LEDGER)],
        (API,): [(API,), (API, LEDGER), (broker.issuer, LEDGER)],
        (LEDGER,): [(LEDGER,), (API, LEDGER), (broker.issuer, LEDGER)],
    }
    for own, good in may.items():
        broker.admin("PATCH", f"/admin/v1/agents/{b.agent.id}", json={"allowed_audiences": list(own)})
        for aud, grant in grants.items():
            if aud in good:
                # The new token is for whom the agent asks, not for whom the old one was.
                claims = claims_of(exchanged(b, grant["access_token"])["access_token"], keys)
                assert claims["aud"] == broker.issuer
            else:
                exchange_refused(b, grant["access_token"])


def test_change_of_audiences_holds_from_the_next_request_on(broker, broker_factory, issuer):
    """Whichever worker of whichever broker has seen the agent before"""
    pair = [broker, broker_factory()]
    a, b = line(broker, 2)
    broker.admin("PATCH", f"/admin/v1/agents/{a.agent.id}", json={"allowed_audiences": [API]})
    grant = exchanged(a, issuer.token(), JWT, audience=API)
    for audiences, status in ([([API], 200), ([], 400)] * 4):
        broker.admin("PATCH", f"/admin/v1/agents/{b.agent.id}", json={"allowed_audiences": audiences})
        replies = [exchange(b, grant["access_token"], broker=pair[n % 2]) for n in range(12)]
        assert [r.status_code for r in replies] == [status] * 12


# --- who may (X07, X10)


def test_agent_must_be_named_by_the_current_actor(broker, issuer, agent):
    a, b, c = line(broker, 3)
    stranger = OAuthClient(broker, agent(delegates_to=[a.agent.id]))
    first, second = delegate([a, b], issuer.token())
    exchange_refused(c, first["access_token"], words=["delegates_to"])
    exchange_refused(stranger, first["access_token"])
    exchange_refused(stranger, second["access_token"])
    # A names C now. B, the actor of the second token, still does; and then no more.
    broker.admin("PATCH", f"/admin/v1/agents/{a.agent.id}", json={"delegates_to": [b.agent.id, c.agent.id]})
    exchanged(c, first["access_token"])
    exchanged(c, second["access_token"])
    broker.admin("PATCH", f"/admin/v1/agents/{b.agent.id}", json={"delegates_to": []})
    exchange_refused(c, second["access_token"])
    exchanged(c, first["access_token"])


def test_names_in_delegates_to_are_exact(broker, agent):
    b = OAuthClient(broker, agent())
    name = b.agent.id
    a = OAuthClient(broker, agent(delegates_to=[name.upper(), name + "x", name[:-1]]))
    token = a.client_credentials("acme:read")["access_token"]
    exchange_refused(b, token, words=["delegates_to"])
    broker.admin("PATCH", f"/admin/v1/agents/{a.agent.id}", json={"delegates_to": [name]})
    exchanged(b, token)


def test_no_agent_acts_twice(broker, issuer):
    a, b, c = line(broker, 3)
    for client in (a, b, c):
        everyone = [x.agent.id for x in (a, b, c)]
        broker.admin("PATCH", f"/admin/v1/agents/{client.agent.id}", json={"delegates_to": everyone})
    first, second, third = delegate([a, b, c], issuer.token())
    for client, subject in ((a, first), (a, second), (b, second), (a, third), (b, third), (c, third)):
        exchange_refused(client, subject["access_token"], words=[client.agent.id, "already"])
    # Nor an agent for itself, or as the first of a chain that is about itself.
    own = a.client_credentials("acme:read")["access_token"]
    exchange_refused(a, own, words=["already"])
    exchange_refused(a, own, words=["already"], actor_token=own, actor_token_type=ACCESS_TOKEN)
    exchange_refused(a, exchanged(b, own)["access_token"], words=["already"])


def test_chain_has_a_greatest_length(broker, broker_factory, issuer, keys):
    """Four by default; one broker allows two."""
    clients = line(broker, 5)
    grants = delegate(clients[:4], issuer.token())
    assert len(actors(claims_of(grants[3]["access_token"], keys))) == 4
    exchange_refused(clients[4], grants[3]["access_token"], words=["4"])
    strict = broker_factory({"NEXUS_DELEGATION_DEPTH": 2})

    def ask(n):
        pairs = [*exchange_form(grants[n - 1]["access_token"]), *clients[n].authentication()]
        return strict.call("POST", TOKEN_PATH, data=pairs)

    assert ask(1).status_code == 200
    is_oauth_error(ask(2), 400, "invalid_request", "2")
    # A subject that is an agent counts.
    own = delegate(clients[1:3], clients[0].client_credentials("acme:read")["access_token"], ACCESS_TOKEN)
    exchanged(clients[3], own[1]["access_token"])
    exchange_refused(clients[4], exchanged(clients[3], own[1]["access_token"])["access_token"])


def test_who_may_what_is_default_deny(broker, agent):
    """X10: every combination of a trusted issuer or none, an agent that is named or not, an audience of its or not"""
    with trusted_issuer(broker) as known, trusted_issuer(broker, active=False) as inactive:
        a = agent(allowed_audiences=[API])
        named = OAuthClient(broker, agent(allowed_audiences=[API]))
        other = OAuthClient(broker, agent())
        broker.admin("PATCH", f"/admin/v1/agents/{a.id}", json={"delegates_to": [named.agent.id]})
        ours = OAuthClient(broker, a).token_exchange(known.token(), JWT)["access_token"]
        unknown = known.token(claims={"iss": "https://unknown.example"})
        for client in (named, other):
            for audience in (None, broker.issuer, API, "https://other.example"):
                mine = audience in (None, broker.issuer) or (audience == API and client is named)
                assert exchange(client, known.token(), JWT, audience=audience).status_code == (200 if mine else 400)
                delegated = mine and client is named
                assert exchange(client, ours, audience=audience).status_code == (200 if delegated else 400)
                exchange_refused(client, inactive.token(), JWT, audience=audience)
                exchange_refused(client, unknown, JWT, audience=audience)


# --- time (X06)


def test_nothing_outlives_the_subject_token(broker, issuer, keys):
    """Exchanging again renews nothing, however often, nor does exchanging what was exchanged."""
    clients = line(broker, 4)
    token = issuer.token(claims={"exp": issuer.claims()["iat"] + 40})
    end = parts(token)[1]["exp"]
    grants = delegate(clients, token)
    for _ in range(5):
        grants += [exchanged(client, grant["access_token"]) for client, grant in zip(clients[1:], grants)]
        grants.append(exchanged(clients[0], token, JWT))
    for grant in grants:
        claims = claims_of(grant["access_token"], keys)
        assert claims["exp"] <= end and grant["expires_in"] == claims["exp"] - claims["iat"] <= 40
    [(latest,)] = broker.sql(
        "SELECT max(extract(epoch FROM expires_at))::bigint FROM nexus.agent_sessions WHERE session_id = ANY(%s)",
        [g["session_id"] for g in grants],
    )
    assert latest <= end


def test_nothing_outlives_the_session_before(broker, agent, keys):
    b = OAuthClient(broker, agent())
    a = agent(delegates_to=[b.agent.id])
    session = a.session(ttl_seconds=30)
    grant = exchanged(b, session["access_token"])
    end = parts(session["access_token"])[1]["exp"]
    assert claims_of(grant["access_token"], keys)["exp"] <= end and grant["expires_in"] <= 30
    # A shorter time of the agent's own still counts.
    broker.admin("PATCH", f"/admin/v1/agents/{b.agent.id}", json={"max_ttl_seconds": 5})
    assert exchanged(b, session["access_token"])["expires_in"] <= 5
