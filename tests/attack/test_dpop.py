# SPDX-License-Identifier: Apache-2.0
"""Attacks D01, D04, D09, D10, D13 and X08 on DPoP (RFC 9449), at every door that takes a proof: replay, nonces, and what is
bound to a key. What a single proof must look like is in test_dpop_proofs.py."""

import hashlib
import secrets
import time
from contextlib import contextmanager

import pytest

from lib import audit, obo
from lib.delegation import delegate, introspect, is_oauth_error, line, session_path, trusted_issuer
from lib.doors import (  # noqa: F401: fixtures
    ISSUING,
    TAKING,
    IssuingDoor,
    bad_proof,
    door,
    issuing,
    nonce_of,
    second,
    taking,
    world,
)
from lib.dpop import DPoPKey, htu, nonce_wanted
from lib.oauth import ACCESS_TOKEN, JWT, TOKEN_EXCHANGE, OAuthClient
from lib.verify import claims_of, is_error

# --- D01: the same proof again


def test_D01_replay(door, second):
    proof = door.proof()
    door.is_good(door.send(proof))
    for broker in (door.broker, second, door.broker):
        reply = door.send(proof, broker)
        if door.method == "DELETE":
            is_error(reply, 401, "invalid_token")  # of which there is no more
        else:
            door.refused(reply, "invalid_dpop_proof")
            assert "used before" in reply.text


def test_D01_replay_at_the_other_broker_first(door, second):
    proof = door.proof()
    door.is_good(door.send(proof, second))
    reply = door.send(proof)
    assert reply.json()["error"] == ("invalid_token" if door.method == "DELETE" else "invalid_dpop_proof")


def test_D01_proof_that_closed_nothing_is_used_up_too(world):
    """Sent with the token of another session, which is told that there is none."""
    door, other = world.door("DELETE"), world.door("GET")
    door.path = other.path
    proof = door.proof()
    is_error(door.send(proof), 404, "session_not_found")
    door.refused(door.send(proof), "invalid_dpop_proof")


def test_D01_replay_after_a_restart(world, broker_factory):
    """The broker that took them is killed."""
    first = broker_factory()
    used = [(door, door.proof()) for door in map(world.door, [*ISSUING, "GET"])]
    for door, proof in used:
        door.is_good(door.send(proof, first))
    world.broker.settle()  # an outcome that dies with its broker would be settled minutes later only
    first.kill()
    after = broker_factory()
    for door, proof in used:
        door.refused(door.send(proof, after), "invalid_dpop_proof")


def test_D01_replay_by_another_grant(world):
    """They have one URL, so one proof would fit them all."""
    names = ("client_credentials", "token_exchange", "jwt_bearer")
    for first in names:
        doors = [world.door(first), *map(world.door, names)]
        proof = doors[0].proof()
        doors[0].is_good(doors[0].send(proof))
        for door in doors:
            bad_proof(door, proof)


def test_D01_same_jti_in_another_proof(door):
    jti = {"jti": secrets.token_hex(8)}
    door.is_good(door.send(door.proof(claims=jti)))
    if door.method != "DELETE":
        bad_proof(door, door.proof(claims={**jti, "iat": int(time.time()) - 1}))
        # An id says nothing beyond its own key, and it is compared byte by byte.
        if door.method == "POST":
            door.key = DPoPKey()
            door.is_good(door.send(door.proof(claims=jti)))
        door.is_good(door.send(door.proof(claims={"jti": jti["jti"].upper() + "X"})))


@pytest.mark.parametrize("ahead", [-50, 0, 8])
def test_D01_proof_is_remembered_for_as_long_as_it_could_pass(door, ahead):
    jti, iat = secrets.token_hex(8), int(time.time()) + ahead
    door.is_good(door.send(door.proof(claims={"jti": jti, "iat": iat})))
    # Accepted until 60 s after its iat, by a broker whose clock may be 10 s behind.
    [(seconds,)] = door.broker.sql(
        "SELECT extract(epoch FROM expires_at)::bigint - %s FROM nexus.replay_guard WHERE issuer = %s AND jti_hash = %s",
        iat, f"@dpop/{door.key.jkt}", hashlib.sha256(jti.encode()).digest(),
    )  # fmt: skip
    assert 70 <= seconds <= 300


# --- D04: nonces


def is_challenge(door, reply):
    """RFC 9449 sections 8 and 9. The nonce that it asks for."""
    door.refused(reply, "use_dpop_nonce")
    assert nonce_wanted(reply)
    return nonce_wanted(reply)


STRANGE = {
    "no nonce": None,
    "nonce of nobody": "x",
    "nonce like ours": secrets.token_hex(16),
    "empty nonce": "",
    "nonce in upper case": lambda n: n.upper() + "X",
    "nonce and more": lambda n: n + "0",
    "part of the nonce": lambda n: n[:-1],
}


@pytest.mark.parametrize("name", STRANGE)
def test_D04_nonce_is_not_ours(door, name):
    nonce = STRANGE[name](door.world.nonce) if callable(STRANGE[name]) else STRANGE[name]
    wanted = is_challenge(door, door.send(door.proof(claims={"nonce": nonce})))
    door.is_good(door.send(door.proof(nonce=wanted)))


@pytest.mark.parametrize("nonce", [7, ["x"], {"x": 1}, "x" * 129, "x" * 4000], ids=["number", "list", "object", "129", "4000"])
def test_D04_what_is_no_nonce(door, nonce):
    bad_proof(door, door.proof(claims={"nonce": nonce}))


def test_D04_nonce_of_another_broker(door, second):
    for giver, taker in ((door.broker, second), (second, door.broker)):
        nonce = is_challenge(door, door.send(door.proof(claims={"nonce": None}), giver))
        if door.method != "DELETE" or taker is not second:
            door.is_good(door.send(door.proof(nonce=nonce), taker))


@contextmanager
def slots_later(broker, n):
    """The nonces as they are that many slots of time from now. Only for brokers that have not read them yet."""
    kept = broker.sql("SELECT slot, nonce FROM nexus.dpop_nonces")
    put = "INSERT INTO nexus.dpop_nonces SELECT * FROM unnest(%s::bigint[], %s::text[])"
    broker.sql("DELETE FROM nexus.dpop_nonces")
    broker.sql(put, [slot - n for slot, _ in kept], [nonce for _, nonce in kept])
    try:
        yield
    finally:
        broker.sql("DELETE FROM nexus.dpop_nonces")
        broker.sql(put, *map(list, zip(*kept)))


def test_D04_nonce_of_the_last_slot_is_good_and_one_before_is_stale(world, broker_factory):
    nonce = nonce_of(world.broker)
    first, then = ([world.door(name) for name in [*ISSUING, *TAKING]] for _ in range(2))
    with slots_later(world.broker, 1):
        later = broker_factory()
        for door in first:
            reply = door.send(door.proof(nonce=nonce), later)
            door.is_good(reply)
            # RFC 9449 section 8.2: whoever used an old one is told the new one.
            assert reply.headers["DPoP-Nonce"] not in ("", nonce)
    with slots_later(world.broker, 2):
        much_later = broker_factory()
        for door in then:
            wanted = is_challenge(door, door.send(door.proof(nonce=nonce), much_later))
            assert wanted != nonce
            door.is_good(door.send(door.proof(nonce=wanted), much_later))


def test_D04_brokers_agree_on_the_nonce(world, second):
    """The first that asks in a slot of time decides for all."""
    assert {nonce_of(world.broker), nonce_of(second)} <= world.in_force()
    assert len(world.in_force()) <= 3


def test_D04_every_reply_to_a_proof_tells_the_nonce(door):
    for proof in (door.proof(), "x", door.proof(claims={"nonce": None})):
        reply = door.send(proof)
        assert reply.headers["DPoP-Nonce"] in door.world.in_force()
        assert reply.headers["Cache-Control"] == "no-store"
    assert "DPoP-Nonce" not in door.broker.call("GET", "/health").headers


def test_D04_who_sends_no_proof_hears_of_no_nonce(issuing):
    reply = issuing.send()
    assert reply.json()["token_type"] in ("session", "Bearer") and "DPoP-Nonce" not in reply.headers


def test_D04_challenge_uses_nothing_up(world, agent, second, issuing):
    """Neither the assertion nor the user's token nor the jti, and it is no refusal."""
    issuing.agent = agent()
    request, jti = issuing.request(), {"jti": secrets.token_hex(8)}
    for nonce in (None, "x"):
        for broker in (issuing.broker, second):
            reply = issuing.send(issuing.proof(claims={**jti, "nonce": nonce}), broker, request)
            wanted = is_challenge(issuing, reply)
    assert obo.leaves_of(issuing.broker, issuing.agent, "refusal") == []
    issuing.is_good(issuing.send(issuing.proof(nonce=wanted, claims=jti), second, request))
    bad_proof(issuing, issuing.proof(claims=jti))


def test_D04_challenge_uses_the_proof_not_up(taking):
    jti = {"jti": secrets.token_hex(8)}
    wanted = is_challenge(taking, taking.send(taking.proof(claims={**jti, "nonce": None})))
    taking.is_good(taking.send(taking.proof(nonce=wanted, claims=jti)))


def test_D04_challenge_uses_no_token_of_one_use_up(world, agent):
    a = agent()
    client = OAuthClient(world.broker, a, dpop=DPoPKey())
    with trusted_issuer(world.broker, one_time_jti=True) as issuer:
        client.token_exchange(issuer.token(), JWT)  # each of these is challenged first
        client.jwt_bearer(issuer.token())
        client.jwt_bearer(issuer.id_jag(a, dpop=client.dpop))
    assert obo.leaves_of(world.broker, a, "refusal") == []


def test_D04_refused_proof_uses_the_assertion_up_and_is_on_record(world, agent):
    """Unlike a challenge: this client has done something wrong."""
    for name in ISSUING:
        door = IssuingDoor(world, name, agent())
        request = door.request()
        door.refused(door.send(door.proof(claims={"htu": "https://other.example"}), request=request), "invalid_dpop_proof")
        [leaf] = obo.leaves_of(world.broker, door.agent, "refusal")
        assert (leaf["policy"], leaf["reason"]) == ("refused", "invalid_dpop_proof")
        reply = door.send(door.proof(), request=request)
        (is_oauth_error if door.oauth else is_error)(reply, 401, "invalid_client")


def test_D04_broker_that_wants_no_nonces(world, broker_factory):
    """NEXUS_INSECURE_NO_DPOP_NONCES: all else about proofs stays as it is."""
    lax = broker_factory({"NEXUS_INSECURE_NO_DPOP_NONCES": "on"})
    for name in [*ISSUING, *TAKING]:
        door = world.door(name)
        for claims in ({"htm": "PUT"}, {"htu": door.url + "/"}, {"iat": 1}, {"nonce": 7}):
            door.refused(door.send(door.proof(claims=claims), lax), "invalid_dpop_proof")
        proof = door.proof(claims={"nonce": None})
        is_challenge(door, door.send(proof))
        reply = door.send(proof, lax)
        door.is_good(reply)
        assert "DPoP-Nonce" not in reply.headers
        if door.method != "DELETE":
            door.refused(door.send(proof, lax), "invalid_dpop_proof")
            door.is_good(door.send(door.proof(nonce="whatever"), lax))
            # What it took is used up everywhere.
            again = door.proof()
            door.is_good(door.send(again, lax))
            bad_proof(door, again)


# --- D09 and D10: other keys


def test_D09_proof_by_another_key_than_the_tokens(taking):
    for key in (DPoPKey(), DPoPKey("EdDSA"), DPoPKey(key=taking.agent.key)):
        bad_proof(taking, taking.proof(key))


def test_D09_bound_token_by_an_assertion_or_a_key_of_the_api(world, taking):
    """The agent itself and the operators need no proof: they do not use the token."""
    assert world.broker.call("GET", taking.path, bearer=taking.agent.assertion()).status_code == 200
    assert world.broker.call(taking.method, taking.path, key=world.broker.gateway_key).status_code == 200


def exchange_of(grant):
    token = grant["access_token"]
    return [("grant_type", TOKEN_EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)]


def test_D10_actor_token_takes_its_own_key(world):
    key = DPoPKey()
    a, b = line(world.broker, 2)
    [first] = delegate([a], world.issuer.token())
    bound = OAuthClient(world.broker, b.agent, dpop=key)
    actor = {"actor_token": bound.client_credentials("acme:read")["access_token"], "actor_token_type": ACCESS_TOKEN}
    for client in (b, OAuthClient(world.broker, b.agent, dpop=DPoPKey())):
        is_oauth_error(client.raw_token([*exchange_of(first), *actor.items()]), 400, "invalid_dpop_proof")
    assert bound.token_exchange(first["access_token"], **actor)["token_type"] == "DPoP"


@pytest.mark.parametrize("name", ["obo", "token_exchange", "jwt_bearer", "ID-JAG"])
def test_D10_users_token_that_is_bound_takes_its_own_key(world, agent, name):
    """RFC 9449 section 6.1: also where it is handed in as a user context, a subject token or an assertion"""
    door = IssuingDoor(world, "jwt_bearer" if name == "ID-JAG" else name, agent())
    cnf = {"cnf": {"jkt": door.key.jkt}}

    def request():
        fields = door.fields(world.issuer)
        token = world.issuer.id_jag(door.agent, dpop=door.key) if name == "ID-JAG" else world.issuer.token(claims=cnf)
        [where] = fields.keys() & {"user_context_token", "subject_token", "assertion"}
        return door.request({**fields, where: token})

    door.refused(door.send(request=request()), "invalid_dpop_proof")
    door.refused(door.send(door.proof(DPoPKey()), request=request()), "invalid_dpop_proof")
    assert obo.count_sessions(door.agent) == 0
    door.is_good(door.send(door.proof(), request=request()))


# --- D13: the wrong scheme


def test_D13_bound_token_as_bearer(taking):
    """RFC 9449 section 7.1; also with a good proof beside"""
    for headers in ({}, {"DPoP": taking.proof()}):
        reply = taking.broker.call(taking.method, taking.path, bearer=taking.access_token, headers=headers)
        is_error(reply, 401, "invalid_token")
        assert reply.headers["WWW-Authenticate"].startswith("Bearer ")
    assert taking.broker.admin("GET", taking.path).json()["active"] is True


@pytest.mark.parametrize("method", TAKING)
def test_D13_bearer_token_as_bound_one(world, agent, method):
    session = agent().session()
    path, key = session_path(session["session_id"]), DPoPKey()
    proof = key.proof(method, htu(world.broker, path), session["access_token"], world.nonce)
    for headers in ({}, {"DPoP": proof}, {"DPoP": "x"}):
        headers = {"Authorization": f"DPoP {session['access_token']}", **headers}
        reply = world.broker.call(method, path, headers=headers)
        is_error(reply, 401, "invalid_token")
        assert reply.headers["WWW-Authenticate"].startswith("DPoP ")
    assert world.broker.call(method, path, bearer=session["access_token"]).status_code == 200


def test_D13_bound_token_without_a_proof(taking):
    reply = taking.send()
    taking.refused(reply, "invalid_dpop_proof")
    assert reply.headers["DPoP-Nonce"] in taking.world.in_force()


def test_D13_what_is_no_token_of_ours_as_bound_one(taking):
    for token in (taking.agent.assertion(), taking.broker.admin_key, taking.broker.gateway_key, "x.y.z", "x", taking.proof()):
        headers = {"Authorization": f"DPoP {token}", "DPoP": taking.proof()}
        is_error(taking.broker.call(taking.method, taking.path, headers=headers), 401, "invalid_token")
    for role in ("admin_key", "gateway_key"):
        headers = {"Authorization": f"DPoP {getattr(taking.broker, role)}"}
        is_error(taking.broker.call("GET", "/admin/v1/agents", headers=headers), 403, "invalid_api_key")


def test_D13_scheme_in_any_case(taking):
    """RFC 9110 section 11.1"""
    headers = {"Authorization": f"dPOP {taking.access_token}", "DPoP": taking.proof()}
    taking.is_good(taking.broker.call(taking.method, taking.path, headers=headers))


# --- agents that must bind


def test_agent_that_must_bind(world, agent):
    for name in ISSUING:
        door = IssuingDoor(world, name, agent(require_dpop=True))
        assert door.agent.registered["require_dpop"] is True
        reply = door.send()
        door.refused(reply, "invalid_dpop_proof")
        # So that the next try needs no challenge.
        door.is_good(door.send(door.proof(nonce=reply.headers["DPoP-Nonce"])))
        [leaf] = obo.leaves_of(world.broker, door.agent, "refusal")
        assert leaf["reason"] == "invalid_dpop_proof" and obo.count_sessions(door.agent) == 1


def test_agent_must_bind_from_the_next_request_on(world, second, agent):
    a = agent()
    for broker in (world.broker, second):
        a.session(broker=broker)
    world.broker.admin("PATCH", f"/admin/v1/agents/{a.id}", json={"require_dpop": True})
    for broker in (second, world.broker):
        is_error(a.open(broker=broker), 400, "invalid_dpop_proof")
    world.broker.admin("PATCH", f"/admin/v1/agents/{a.id}", json={"require_dpop": False})
    for broker in (second, world.broker):
        a.session(broker=broker)


# --- X08: a binding is never dropped


def test_X08_bound_subject_token(world):
    """Without a proof it is refused; with the actor's, the new token is bound to that key, and the record holds both."""
    subjects_key, actors_key = DPoPKey(), DPoPKey("EdDSA")
    a, b, c = line(world.broker, 3, dpop=[subjects_key, actors_key])
    [first] = delegate([a], world.issuer.token())
    unbound = OAuthClient(world.broker, b.agent)
    is_oauth_error(unbound.raw_token(exchange_of(first)), 400, "invalid_dpop_proof")
    assert obo.count_sessions(b.agent) == 0
    [second] = delegate([b], first["access_token"], ACCESS_TOKEN)
    claims = claims_of(second["access_token"], world.keys)
    assert (second["token_type"], claims["cnf"]) == ("DPoP", {"jkt": actors_key.jkt})
    world.broker.settle()
    intent = audit.check_token(world.broker.leaves("jti = %s", claims["jti"]), second["access_token"], claims["jti"])
    assert (intent.body["jkt"], intent.body["sub_jkt"]) == (actors_key.jkt, subjects_key.jkt)
    # What is bound stays bound, link after link.
    is_oauth_error(c.raw_token(exchange_of(second)), 400, "invalid_dpop_proof")
    assert obo.count_sessions(c.agent) == 0


def test_X08_key_of_the_subject_is_the_actors_to_use_too(world):
    """One process may hold both agents' keys; it says nothing against the binding."""
    key = DPoPKey()
    grants = delegate(line(world.broker, 2, dpop=[key, key]), world.issuer.token())
    assert [claims_of(g["access_token"], world.keys)["cnf"]["jkt"] for g in grants] == [key.jkt] * 2


def test_X08_unbound_subject_token_can_become_bound(world):
    a, b = line(world.broker, 2)
    b.dpop = DPoPKey()
    _, second = delegate([a, b], world.issuer.token())
    claims = claims_of(second["access_token"], world.keys)
    [intent] = world.broker.leaves("kind = 'intent' AND jti = %s", claims["jti"])
    assert intent.body["jkt"] == claims["cnf"]["jkt"] == b.dpop.jkt and "sub_jkt" not in intent.body


# --- what is told of the binding


def test_binding_stands_in_token_introspection_and_session(issuing, agent):
    issuing.agent = agent()
    answer = issuing.send(issuing.proof()).json()
    broker, cnf = issuing.broker, {"jkt": issuing.key.jkt}
    assert claims_of(answer["access_token"], issuing.world.keys)["cnf"] == cnf
    shown = introspect(broker, answer["access_token"]).json()
    assert (shown["active"], shown["token_type"], shown["cnf"]) == (True, "DPoP", cnf)
    assert broker.admin("GET", session_path(answer["session_id"])).json()["cnf"] == cnf
    listed = broker.admin("GET", f"/admin/v1/sessions?agent={issuing.agent.id}").json()["sessions"]
    assert [(s["session_id"], s["cnf"]) for s in listed] == [(answer["session_id"], cnf)]
    jti = claims_of(answer["access_token"], issuing.world.keys)["jti"]
    [intent] = broker.leaves("kind = 'intent' AND jti = %s", jti)
    assert intent.body["jkt"] == issuing.key.jkt


def test_unbound_session_has_no_binding_anywhere(issuing):
    answer = issuing.send().json()
    assert answer["token_type"] in ("session", "Bearer")
    for where in (
        claims_of(answer["access_token"], issuing.world.keys),
        introspect(issuing.broker, answer["access_token"]).json(),
        issuing.broker.admin("GET", session_path(answer["session_id"])).json(),
    ):
        assert "cnf" not in where


def test_holder_may_end_its_bound_token_without_a_proof(world, agent):
    """RFC 7009: the agent that it belongs to has proved itself; a stolen token ends the sooner for it."""
    client = OAuthClient(world.broker, agent(), dpop=DPoPKey())
    token = client.client_credentials("acme:read")["access_token"]
    assert OAuthClient(world.broker, client.agent).revoke(token).status_code == 200
    assert introspect(world.broker, token).json() == {"active": False}
