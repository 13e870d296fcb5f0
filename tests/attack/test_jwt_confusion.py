# SPDX-License-Identifier: Apache-2.0
"""Attacks J03, J06, J17 and J18: every kind of JWT that the broker makes or takes, in every place where it takes one. Each
is good at its own place, and at no other; nor is the form of one kind any good with the key or the issuer of another.

What the broker signs without showing it to anyone is signed here by keys that the tests put into its rings."""

import hmac
import json
import os
import secrets
import signal
import time

import pytest
from cryptography.hazmat.primitives import serialization

from lib import agents, obo
from lib.backend import Backend
from lib.delegation import INACTIVE, is_oauth_error, session_path, trusted_issuer
from lib.dpop import DPoPKey, htu
from lib.keys import ASSERTION_TYPE, Key, changed, compact, parts
from lib.oauth import ACCESS_TOKEN, ID_TOKEN, INTROSPECT_PATH, JWT, JWT_BEARER, REVOKE_PATH, TOKEN_EXCHANGE, TOKEN_PATH
from lib.stack import running_stack
from lib.verify import is_error, jwks_of
from lib.wait import until

SESSIONS = "/v1/agent-sessions"
APPLICATION = "application-of-the-user"


class World:
    """One of each party. Every key is one for ES256, so that algorithms tell none of them apart."""

    def __init__(self, stack, backend, issuer, sign_in):
        self.stack, self.backend, self.issuer, self.sign_in = stack, backend, issuer, sign_in
        self.db = stack.connect()
        self.ring = {purpose: self.add_to_ring(purpose) for purpose in ("session", "call")}
        os.kill(stack.pid, signal.SIGHUP)
        mine = {key.kid for key in self.ring.values()}
        until(lambda: mine <= {k["kid"] for k in jwks_of(stack)["keys"]}, 20, "both rings hold a key of the tests")
        self.actor = agents.register(stack)
        self.agent = agents.register(stack, delegates_to=[self.actor.id])
        self.proof_key = DPoPKey()
        self.nonce = stack.call("GET", f"{SESSIONS}/x", headers={"DPoP": "x"}).headers["DPoP-Nonce"]
        self.keys = {
            "agent": self.agent.key,
            "actor": self.actor.key,
            "issuer": issuer.key,
            "sign-in": sign_in.key,
            "proofs": self.proof_key.key,
            "session ring": self.ring["session"],
            "call ring": self.ring["call"],
            "nobody": Key("ES256"),
        }
        self.issuers = {
            "broker": stack.issuer,
            "issuer": issuer.issuer,
            "sign-in": sign_in.issuer,
            "agent": self.agent.id,
            "actor": self.actor.id,
            "nobody": "https://nobody.example",
        }

    def add_to_ring(self, purpose):
        key = Key("ES256")
        self.stack.sql(
            "INSERT INTO nexus.signing_keys (cka_id, purpose, type, state, kid, alg, jwk, evidence, activated_at)"
            " SELECT %s, purpose, type, 'retiring', %s, alg, %s, '{}', now() FROM nexus.signing_keys"
            " WHERE purpose = %s AND state = 'active'",
            secrets.token_bytes(16), key.kid, json.dumps(key.jwk()), purpose,
        )  # fmt: skip
        return key

    # --- tokens

    def proof(self, method, path, token=None, key=None, **changes):
        return (key or self.proof_key).proof(method, htu(self.stack, path), token, self.nonce, **changes)

    def bound(self):
        """A session token of the agent that is bound to the key of the proofs."""
        headers = {"DPoP": self.proof("POST", SESSIONS)}
        reply = self.stack.call("POST", SESSIONS, json=self.agent.body(), headers=headers)
        assert reply.status_code == 201, reply.text
        return reply.json()["access_token"]

    def call_jwt(self):
        """What the broker has just shown to the back end."""
        obo.session(self.agent, self.backend.user())
        request = self.backend.requests[-1]
        assert self.backend.calls[-1].wrong is None
        return request.headers["Authorization"].removeprefix("Bearer ")

    def by_ring(self, typ, **claims):
        now = int(time.time())
        key = self.ring["session"]
        good = {"iss": self.stack.issuer, "iat": now, "exp": now + 60, "jti": secrets.token_hex(16)}
        return compact({"alg": "ES256", "kid": key.kid, "typ": typ}, {**good, **claims}, key)

    def count(self):
        """Sessions that are open."""
        [(n,)] = self.db.execute("SELECT count(*) FROM nexus.agent_sessions WHERE closed_at IS NULL").fetchall()
        return n


@pytest.fixture(scope="module")
def world():
    with (
        Backend() as backend,
        running_stack(BACKEND_AUTH_URL=backend.url, NEXUS_INSECURE_LOOPBACK_FETCHES="on") as stack,
        trusted_issuer(stack) as issuer,
        trusted_issuer(stack, audience=APPLICATION) as sign_in,
    ):
        backend.trust(stack)
        it = World(stack, backend, issuer, sign_in)
        with it.db:
            yield it
        assert backend.refused() == []


# Each makes a new one, good in every respect. slot: where it goes, which only proofs depend on.
KINDS = {
    "client assertion": lambda w, slot: w.agent.assertion(),
    "client assertion, JWT": lambda w, slot: w.agent.assertion(header={"typ": "JWT"}),
    "client assertion, untyped": lambda w, slot: w.agent.assertion(header={"typ": None}),
    "session token": lambda w, slot: w.agent.session()["access_token"],
    "session token for a user": lambda w, slot: obo.session(w.agent, w.issuer.token())["access_token"],
    "bound session token": lambda w, slot: w.bound(),
    "user token": lambda w, slot: w.issuer.token(),
    "user token, untyped": lambda w, slot: w.issuer.token(header={"typ": None}),
    "user's access token": lambda w, slot: w.issuer.token(
        header={"typ": "at+jwt"}, claims={"client_id": "app", "scope": "acme:read"}
    ),
    "id_token": lambda w, slot: w.sign_in.token(claims={"aud": APPLICATION, "nonce": "n", "auth_time": 1}),
    "ID-JAG": lambda w, slot: w.issuer.id_jag(w.agent),
    "proof": lambda w, slot: w.proof(*slot.proven(w)),
    "call": lambda w, slot: w.call_jwt(),
    "self test": lambda w, slot: w.by_ring("nexus-selftest+jwt"),
    "answer of an introspection": lambda w, slot: w.by_ring(
        "token-introspection+jwt", aud=w.agent.id, token_introspection={"active": True, "sub": "alice"}
    ),
    "logout token": lambda w, slot: w.issuer.token(
        header={"typ": "logout+jwt"}, claims={"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}
    ),
}
ASSERTIONS = {"client assertion", "client assertion, JWT", "client assertion, untyped"}
OURS = {"session token", "session token for a user"}
USERS = {"user token", "user token, untyped", "user's access token", "id_token"}


# --- the places


class Slot:
    """send gives the reply to a request that is good but for the token, and fresh. good: the kinds that belong there;
    all others are answered status and code, in the OAuth endpoints' form if oauth is true."""

    def __init__(self, send, good, status, code, oauth=False, proven=None):
        self.send, self.good, self.status, self.code, self.oauth = send, good, status, code, oauth
        self.proven = proven or (lambda w: ("POST", TOKEN_PATH))

    def refused(self, reply, token):
        code = self.code(token) if callable(self.code) else self.code
        (is_oauth_error if self.oauth else is_error)(reply, self.status, code)


def form(w, path, agent, more, **headers):
    auth = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": agent.assertion()}
    return w.stack.call("POST", path, data={**auth, **more}, headers=headers)


def as_assertion(path, more):
    return lambda w, token: w.stack.call(
        "POST", path, data={"client_assertion_type": ASSERTION_TYPE, "client_assertion": token, **more}
    )


def as_subject(kind):
    params = {"grant_type": TOKEN_EXCHANGE, "subject_token_type": kind}
    return lambda w, token: form(w, TOKEN_PATH, w.actor, {**params, "subject_token": token})


def as_actor(w, token):
    params = {"grant_type": TOKEN_EXCHANGE, "subject_token": w.issuer.token(), "subject_token_type": JWT}
    return form(w, TOKEN_PATH, w.agent, {**params, "actor_token": token, "actor_token_type": ACCESS_TOKEN})


def own_path(w, token):
    """Of the session that the token says it is of; of one that exists, if it says nothing."""
    _, claims = parts(token)
    return session_path(claims.get("sid") or w.standing["session_id"])


def by_scheme(scheme):
    def send(w, token):
        path = own_path(w, token)
        proof = {"DPoP": w.proof("GET", path, token)} if scheme == "DPoP" else {}
        return w.stack.call("GET", path, headers={"Authorization": f"{scheme} {token}", **proof})

    return send


def bearer_code(token):
    """The typ tells what the token claims to be, and so what it is refused as. With a key in its header it is nothing."""
    header, _ = parts(token)
    return "invalid_token" if header.get("typ") == "at+jwt" or "jwk" in header else "invalid_client"


def as_proof_of_a_token(w, token):
    path = session_path(w.standing_bound["sid"])
    headers = {"Authorization": f"DPoP {w.standing_bound['token']}", "DPoP": token}
    return w.stack.call("GET", path, headers=headers)


CREDENTIALS = {"grant_type": "client_credentials", "scope": "acme:read"}
BEARER_GRANT = {"grant_type": JWT_BEARER, "scope": "acme:read"}
SLOTS = {
    "client_assertion of a session": Slot(
        lambda w, t: w.stack.call("POST", SESSIONS, json=w.agent.body(t)), ASSERTIONS, 401, "invalid_client"
    ),
    "client_assertion of a session for a user": Slot(
        lambda w, t: obo.ask(w.agent, w.issuer.token(), assertion=t), ASSERTIONS, 401, "invalid_client"
    ),
    "client_assertion of a grant": Slot(as_assertion(TOKEN_PATH, CREDENTIALS), ASSERTIONS, 401, "invalid_client", True),
    "client_assertion of introspection": Slot(
        as_assertion(INTROSPECT_PATH, {"token": "x"}), ASSERTIONS, 401, "invalid_client", True
    ),
    "client_assertion of revocation": Slot(
        as_assertion(REVOKE_PATH, {"token": "x"}), ASSERTIONS, 401, "invalid_client", True
    ),
    "Authorization: Bearer": Slot(by_scheme("Bearer"), OURS | ASSERTIONS, 401, bearer_code),
    "Authorization: DPoP": Slot(by_scheme("DPoP"), {"bound session token"}, 401, "invalid_token"),
    "API key": Slot(lambda w, t: w.stack.call("GET", "/admin/v1/agents", key=t), set(), 403, "invalid_api_key"),
    "API key as Bearer": Slot(
        lambda w, t: w.stack.call("GET", "/admin/v1/agents", bearer=t), set(), 403, "invalid_api_key"
    ),
    "user_context_token": Slot(lambda w, t: obo.ask(w.agent, t), USERS, 401, "invalid_user_context_token"),
    "subject_token, access_token": Slot(as_subject(ACCESS_TOKEN), OURS | USERS, 400, "invalid_request", True),
    "subject_token, jwt": Slot(as_subject(JWT), OURS | USERS, 400, "invalid_request", True),
    "subject_token, id_token": Slot(
        as_subject(ID_TOKEN), USERS - {"user's access token"}, 400, "invalid_request", True
    ),
    "actor_token": Slot(as_actor, {"session token"}, 400, "invalid_request", True),
    "assertion": Slot(
        lambda w, t: form(w, TOKEN_PATH, w.agent, {**BEARER_GRANT, "assertion": t}),
        USERS | {"ID-JAG"}, 400, "invalid_grant", True,
    ),
    "DPoP of a grant": Slot(
        lambda w, t: form(w, TOKEN_PATH, w.agent, CREDENTIALS, DPoP=t), {"proof"}, 400, "invalid_dpop_proof", True
    ),
    "DPoP of a session": Slot(
        lambda w, t: w.stack.call("POST", SESSIONS, json=w.agent.body(), headers={"DPoP": t}),
        {"proof"}, 400, "invalid_dpop_proof", proven=lambda w: ("POST", SESSIONS),
    ),
    "DPoP of a token": Slot(
        as_proof_of_a_token, {"proof"}, 401, "invalid_dpop_proof",
        proven=lambda w: ("GET", session_path(w.standing_bound["sid"]), w.standing_bound["token"]),
    ),
}  # fmt: skip

# A bound token where it may stand, but without the proof that it takes.
UNPROVEN = {(slot, "bound session token") for slot in ("subject_token, access_token", "subject_token, jwt", "actor_token")}


@pytest.fixture(scope="module")
def standing(world):
    """Sessions that nothing here may end."""
    world.standing = world.agent.session(ttl_seconds=3600)
    token = world.bound()
    world.standing_bound = {"token": token, "sid": parts(token)[1]["sid"]}
    yield world
    for session_id in (world.standing["session_id"], world.standing_bound["sid"]):
        assert world.stack.admin("GET", session_path(session_id)).json()["active"] is True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SLOTS)
def test_J18_kind_at_place(standing, name, kind):
    w, slot = standing, SLOTS[name]
    token = KINDS[kind](w, slot)
    before = w.count()
    reply = slot.send(w, token)
    if kind in slot.good:
        assert reply.status_code in (200, 201), reply.text
    elif (name, kind) in UNPROVEN:
        is_oauth_error(reply, 400, "invalid_dpop_proof")
    else:
        slot.refused(reply, token)
        assert w.count() == before


@pytest.mark.parametrize("kind", KINDS)
def test_J18_kind_at_introspection(standing, kind):
    """RFC 7662 section 2.2: what is no session token of this broker is not active, and nothing more is said of it."""
    w = standing
    token = KINDS[kind](w, SLOTS["DPoP of a grant"])
    reply = w.stack.call("POST", INTROSPECT_PATH, key=w.stack.gateway_key, data={"token": token})
    assert reply.status_code == 200
    if kind in OURS | {"bound session token"}:
        assert reply.json()["active"] is True
    else:
        assert reply.content == INACTIVE


@pytest.mark.parametrize("kind", KINDS)
def test_J18_kind_at_revocation(standing, kind):
    """RFC 7009 section 2.2: 200 for whatever is no token of the client's, and nothing ends."""
    w = standing
    token = KINDS[kind](w, SLOTS["DPoP of a grant"])
    before = w.count()
    assert form(w, REVOKE_PATH, w.agent, {"token": token}).status_code == 200
    assert before - w.count() == (1 if kind in OURS | {"bound session token"} else 0)


def test_J18_session_token_of_ours_vouches_for_no_user(standing):
    """A delegation goes on by token exchange, where its chain is looked at; a back end cannot make a user of it."""
    w = standing
    for token in (w.agent.session()["access_token"], obo.session(w.agent, w.issuer.token())["access_token"], w.bound()):
        w.backend.user(token=token)
        asked = len(w.backend.requests)
        is_error(obo.ask(w.actor, token), 401, "invalid_user_context_token")
        assert len(w.backend.requests) == asked


# --- the form of one kind, by the key of another, in the name of another


class Form:
    """A kind of JWT taken apart. key, iss: whose belong to it (names of World.keys and World.issuers)."""

    def __init__(self, slots, key, iss, header, claims):
        self.slots, self.key, self.iss, self.header, self.claims = slots, key, iss, header, claims

    def make(self, w, key=None, kid=None, iss=None, header=None, sign_with=None):
        """kid: of that key, if it is not that of the one which signs."""
        signer = w.keys[key or self.key]
        head = {"alg": "ES256", "kid": w.keys[kid].kid if kid else signer.kid, **self.header}
        body = changed(self.claims(w), {"iss": w.issuers[iss or self.iss]})
        if self.iss == "agent":
            body["sub"] = body["iss"]
        return compact(changed(head, header or {}), body, sign_with or signer)


def session_claims(w):
    """Those of a session that is open; the HSM's token itself is not at hand in any other form."""
    now = int(time.time())
    [(jti,)] = w.stack.sql("SELECT jti FROM nexus.agent_sessions WHERE session_id = %s", w.standing["session_id"])
    common = {"sub": w.agent.id, "client_id": w.agent.id, "aud": w.stack.issuer, "scope": "acme:read"}
    return {**common, "iat": now, "nbf": now, "exp": now + 300, "jti": jti, "sid": w.standing["session_id"]}


FORMS = {
    "client assertion": Form(
        ["client_assertion of a session", "client_assertion of a grant"], "agent", "agent",
        {"typ": "client-authentication+jwt"}, lambda w: w.agent.claims(),
    ),
    "session token": Form(
        ["Authorization: Bearer", "introspection"], "session ring", "broker", {"typ": "at+jwt"}, session_claims
    ),
    "user token": Form(
        ["user_context_token", "subject_token, jwt", "assertion"], "issuer", "issuer",
        {"typ": "JWT"}, lambda w: w.issuer.claims(),
    ),
    "id_token": Form(
        ["user_context_token", "subject_token, id_token"], "sign-in", "sign-in",
        {"typ": "JWT"}, lambda w: w.sign_in.claims(aud=APPLICATION, nonce="n"),
    ),
    "ID-JAG": Form(
        ["assertion"], "issuer", "issuer", {"typ": "oauth-id-jag+jwt"},
        lambda w: w.issuer.claims(aud=w.stack.issuer, client_id=w.agent.id, scope="acme:read"),
    ),
}  # fmt: skip
PLACES = [(name, slot) for name, it in FORMS.items() for slot in it.slots]


def sent(w, slot, token):
    """(accepted, reply)"""
    if slot == "introspection":
        reply = w.stack.call("POST", INTROSPECT_PATH, key=w.stack.gateway_key, data={"token": token})
        assert reply.status_code == 200
        return reply.json()["active"], reply
    reply = SLOTS[slot].send(w, token)
    return reply.status_code in (200, 201), reply


def is_refused(w, slot, token):
    before = w.count()
    accepted, reply = sent(w, slot, token)
    assert not accepted
    if slot == "introspection":
        assert reply.content == INACTIVE
    else:
        SLOTS[slot].refused(reply, token)
    assert w.count() == before


@pytest.mark.parametrize("name,slot", PLACES)
def test_form_is_accepted_with_its_own_key_and_issuer(standing, name, slot):
    """Or else the refusals below would say nothing."""
    accepted, reply = sent(standing, slot, FORMS[name].make(standing))
    assert accepted, reply.text


@pytest.mark.parametrize("name,slot", PLACES)
def test_J17_form_with_the_key_of_another_kind(standing, name, slot):
    """Under its own kid, under the right one (J05: kid of another ring too), and under none"""
    w, it = standing, FORMS[name]
    for key in w.keys.keys() - {it.key}:
        is_refused(w, slot, it.make(w, key))
        is_refused(w, slot, it.make(w, key, kid=it.key))
        is_refused(w, slot, it.make(w, key, header={"kid": None}))
        is_refused(w, slot, it.make(w, it.key, kid=key))


@pytest.mark.parametrize("name,slot", PLACES)
def test_J17_form_in_the_name_of_another(standing, name, slot):
    """Signed by the right key, and by that of whoever is named"""
    w, it = standing, FORMS[name]
    # Who may say the same for itself: the other agent, and the other issuer, whose ID-JAGs are for the same audience.
    speak_for_themselves = {"client_assertion of a grant": {"actor"}, "assertion": {"sign-in"} if name == "ID-JAG" else set()}
    for iss in w.issuers.keys() - {it.iss}:
        is_refused(w, slot, it.make(w, iss=iss))
        if iss in speak_for_themselves.get(slot, ()):
            continue
        for key in {"broker": ["session ring", "call ring"]}.get(iss, [iss]):
            is_refused(w, slot, it.make(w, key, iss=iss))


@pytest.mark.parametrize("name,slot", PLACES)
def test_J18_form_with_the_typ_of_another(standing, name, slot):
    w, it = standing, FORMS[name]
    typs = {"client-authentication+jwt", "at+jwt", "JWT", "dpop+jwt", "oauth-id-jag+jwt", "nexus-call+jwt",
            "nexus-selftest+jwt", "token-introspection+jwt", "logout+jwt", "secevent+jwt", "at", "application/x/at+jwt",
            "", None}  # fmt: skip
    also_good = {
        "client assertion": {"client-authentication+jwt", "JWT", None},
        "session token": {"at+jwt"},
        "user token": {"JWT", "at+jwt", None},
        "id_token": {"JWT", "at+jwt", None} if slot == "user_context_token" else {"JWT", None},
        # With another typ it is a user's token, for the right audience.
        "ID-JAG": {"oauth-id-jag+jwt", "JWT", "at+jwt", None},
    }[name]
    for typ in typs - also_good:
        is_refused(w, slot, it.make(w, header={"typ": typ}))


class Hmac:
    def __init__(self, secret):
        self.secret = secret

    def sign(self, data):
        return hmac.digest(self.secret, data, "sha256")


def spellings(key):
    """The public key in all forms in which a verifier may hold it."""
    public = key.private.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    jwk = key.jwk()
    return [key.public_pem(), key.public_pem().rstrip(), der, point, json.dumps(jwk).encode(),
            json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode(), jwk["x"].encode(), key.kid.encode(), b""]  # fmt: skip


@pytest.mark.parametrize("name,slot", PLACES)
def test_J03_public_key_as_a_shared_secret(standing, name, slot):
    w, it = standing, FORMS[name]
    for secret in spellings(w.keys[it.key]):
        is_refused(w, slot, it.make(w, header={"alg": "HS256"}, sign_with=Hmac(secret)))


class Unsigned:
    def __init__(self, signature):
        self.signature = signature

    def sign(self, data):
        return self.signature


@pytest.mark.parametrize("name,slot", PLACES)
def test_J01_no_algorithm(standing, name, slot):
    w, it = standing, FORMS[name]
    for alg in ("none", "None", "NONE", "", None):
        for signature in (b"", b"x", bytes(64)):
            is_refused(w, slot, it.make(w, header={"alg": alg}, sign_with=Unsigned(signature)))
        is_refused(w, slot, it.make(w, header={"alg": alg}))
    is_refused(w, slot, it.make(w, sign_with=Unsigned(b"")))


@pytest.mark.parametrize("name,slot", PLACES)
def test_J06_key_in_the_header(standing, name, slot):
    """Only a proof brings its key along."""
    w, it = standing, FORMS[name]
    own = Key("ES256")
    for kid in (it.key, None):
        for more in ({"jwk": own.jwk()}, {"x5c": ["AAAA"]}, {"jku": w.backend.url + "/jwks"}, {"x5u": w.backend.url + "/x5u"}):
            head = {**more, **({} if kid else {"kid": own.kid})}
            asked = len(w.backend.requests)
            is_refused(w, slot, it.make(w, kid=kid, header=head, sign_with=own))
            assert not [r for r in w.backend.requests[asked:] if r.method == "GET"]
    # Nor is the right key of any use to a token that names keys, or asks for what is not understood.
    for more in ({"jwk": w.keys[it.key].jwk()}, {"jku": w.backend.url}, {"x5u": w.backend.url}, {"x5c": []}, {"x5t": "x"},
                 {"x5t#S256": "x"}, {"crit": []}, {"crit": ["exp"]}, {"b64": True}, {"zip": "DEF"}):  # fmt: skip
        is_refused(w, slot, it.make(w, header=more))


@pytest.mark.parametrize("slot", ["DPoP of a grant", "DPoP of a session", "DPoP of a token"])
def test_J18_proof_with_what_belongs_to_others(standing, slot):
    """By every key of the world a proof is good but where it is bound to one; with another's form it never is."""
    w, place = standing, SLOTS[slot]
    for name, key in w.keys.items():
        proof = w.proof(*place.proven(w), key=DPoPKey(key=key))
        if slot == "DPoP of a token" and name != "proofs":
            is_refused(w, slot, proof)
        else:
            assert sent(w, slot, proof)[0], name
    for typ in ("JWT", "at+jwt", "client-authentication+jwt", "oauth-id-jag+jwt", "nexus-call+jwt", "dpop"):
        is_refused(w, slot, w.proof(*place.proven(w), header={"typ": typ}))
    for name, it in FORMS.items():
        # Its claims and those of a proof, in one token that is signed by the right key for both.
        both = {**it.claims(w), "iss": w.issuers[it.iss]}
        key = DPoPKey(key=w.keys[it.key])
        is_refused(w, slot, w.proof(*place.proven(w), key=key, header={**it.header, "jwk": None}, claims=both))
        is_refused(w, slot, w.proof(*place.proven(w), key=key, header={**it.header, "kid": key.key.kid}, claims=both))


@pytest.mark.parametrize("name,slot", PLACES)
def test_J18_proof_that_is_another_kind_as_well(standing, name, slot):
    """A proof by the right key of another kind, with the claims of that kind too, is still a proof."""
    w, it = standing, FORMS[name]
    key = DPoPKey(key=w.keys[it.key])
    claims = {**it.claims(w), "iss": w.issuers[it.iss]}
    for header in ({}, {"kid": key.key.kid}, {"kid": key.key.kid, "jwk": None}):
        is_refused(w, slot, w.proof("POST", TOKEN_PATH, key=key, header=header, claims=claims))
