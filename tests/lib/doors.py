# SPDX-License-Identifier: Apache-2.0
"""The doors of a broker that take a DPoP proof: where a token is issued, and where one is shown; and fixtures of them.
A test module imports the fixtures that it uses, and those that they use."""

import time

import pytest

from lib import agents, obo
from lib.delegation import is_oauth_error, session_path, trusted_issuer
from lib.dpop import DPoPKey, htu
from lib.oauth import JWT, JWT_BEARER, TOKEN_EXCHANGE, TOKEN_PATH
from lib.verify import claims_of, is_error, jwks_of

SESSIONS = "/v1/agent-sessions"
READ = {"scope": "acme:read"}

# Where a token is issued, and what is sent there beside the client's authentication.
ISSUING = {
    "session": (SESSIONS, lambda i: {}),
    "obo": (obo.PATH, lambda i: {"user_context_token": i.token()}),
    "client_credentials": (TOKEN_PATH, lambda i: {"grant_type": "client_credentials", **READ}),
    "token_exchange": (
        TOKEN_PATH,
        lambda i: {"grant_type": TOKEN_EXCHANGE, "subject_token": i.token(), "subject_token_type": JWT},
    ),
    "jwt_bearer": (TOKEN_PATH, lambda i: {"grant_type": JWT_BEARER, "assertion": i.token(), **READ}),
}
TAKING = ("GET", "DELETE")


class Door:
    """One endpoint, with a key for the proofs. A request to it is new but for what a test holds on to."""

    method = "POST"
    access_token = None

    def __init__(self, world, agent=None):
        self.world = world
        self.broker = world.broker
        self.agent = agent
        self.key = DPoPKey()

    @property
    def url(self):
        return htu(self.broker, self.path)

    def proof(self, key=None, url=None, method=None, nonce=None, **changes):
        nonce = self.world.nonce if nonce is None else nonce
        return (key or self.key).proof(method or self.method, url or self.url, self.access_token, nonce, **changes)

    def headers(self, proof, more=None):
        return {**(more or {}), **({} if proof is None else {"DPoP": proof})}


class IssuingDoor(Door):
    """Counts what it was granted, for the world to hold against the database."""

    def __init__(self, world, name, agent=None):
        super().__init__(world, agent or world.agents[name])
        self.path, self.fields = ISSUING[name]
        self.oauth = self.path == TOKEN_PATH

    def request(self, fields=None, assertion=None):
        """The body, as broker.call takes it."""
        fields = self.fields(self.world.issuer) if fields is None else fields
        body = self.agent.body(assertion)
        if not self.oauth:
            return {"json": {**body, **fields}}
        return {"data": {**fields, **{k: v for k, v in body.items() if k.startswith("client_")}}}

    def send(self, proof=None, broker=None, request=None, headers=None):
        request = request or self.request()
        reply = (broker or self.broker).call(self.method, self.path, headers=self.headers(proof, headers), **request)
        if reply.status_code in (200, 201):
            self.world.granted[self.agent.id] = self.world.granted.get(self.agent.id, 0) + 1
        return reply

    def is_good(self, reply):
        assert reply.status_code == (200 if self.oauth else 201), reply.text
        answer = reply.json()
        assert answer["token_type"] == "DPoP"
        assert claims_of(answer["access_token"], self.world.keys)["cnf"] == {"jkt": self.key.jkt}

    def refused(self, reply, code):
        """RFC 9449 section 5: 400"""
        (is_oauth_error if self.oauth else is_error)(reply, 400, code)
        assert "WWW-Authenticate" not in reply.headers


class TakingDoor(Door):
    """Of a session whose token is bound to the key."""

    def __init__(self, world, method):
        super().__init__(world, world.agents["session"])
        self.method = method
        opened = IssuingDoor(world, "session")
        opened.key = self.key
        session = opened.send(opened.proof()).json()
        self.session_id, self.access_token = session["session_id"], session["access_token"]
        self.path = session_path(self.session_id)

    def request(self):
        return {}

    def send(self, proof=None, broker=None, request=None, headers=None):
        headers = {"Authorization": f"DPoP {self.access_token}", **self.headers(proof, headers)}
        return (broker or self.broker).call(self.method, self.path, headers=headers)

    def is_good(self, reply):
        assert reply.status_code == 200, reply.text
        assert reply.json()["session_id"] == self.session_id

    def refused(self, reply, code):
        """RFC 9449 sections 7.1 and 9: 401, with a challenge that says why and what to sign with"""
        is_error(reply, 401, code)
        challenge = reply.headers["WWW-Authenticate"]
        assert challenge.startswith("DPoP ") and f'error="{code}"' in challenge and 'algs="ES256 ' in challenge
        assert self.broker.admin("GET", self.path).json()["active"] is True


class World:
    def __init__(self, broker, issuer):
        self.broker, self.issuer = broker, issuer
        self.agents = {name: agents.register(broker) for name in ISSUING}
        self.keys = jwks_of(broker)
        self.granted = {}
        self._nonce, self._asked = None, 0

    @property
    def nonce(self):
        """One that is in force, and for some minutes more."""
        if self._nonce is None or time.monotonic() - self._asked > 60:
            self._nonce, self._asked = nonce_of(self.broker), time.monotonic()
        return self._nonce

    def in_force(self):
        """All nonces that a broker may be found to give."""
        return {nonce for (nonce,) in self.broker.sql("SELECT nonce FROM nexus.dpop_nonces")}

    def door(self, name):
        return TakingDoor(self, name) if name in TAKING else IssuingDoor(self, name)


def nonce_of(broker):
    """Any request with something in its DPoP header is told the nonce in force."""
    return broker.call("GET", f"{SESSIONS}/x", headers={"DPoP": "x"}).headers["DPoP-Nonce"]


@pytest.fixture(scope="module")
def world(broker):
    with trusted_issuer(broker) as issuer:
        it = World(broker, issuer)
        yield it
        # No refusal of this module has opened anything.
        assert {a.id: obo.count_sessions(a) for a in it.agents.values()} == {
            a.id: it.granted.get(a.id, 0) for a in it.agents.values()
        }


@pytest.fixture(scope="module")
def second(broker, tmp_path_factory):
    with obo.broker_beside(broker, tmp_path_factory.mktemp("second")) as it:
        yield it


@pytest.fixture(params=[*ISSUING, *TAKING])
def door(world, request):
    return world.door(request.param)


@pytest.fixture(params=ISSUING)
def issuing(world, request):
    return world.door(request.param)


@pytest.fixture(params=TAKING)
def taking(world, request):
    return world.door(request.param)


def bad_proof(door, proof):
    reply = door.send(proof)
    door.refused(reply, "invalid_dpop_proof")
    return reply
