# SPDX-License-Identifier: Apache-2.0
"""The application's back end, which tells the broker whose a user context token is."""

import json
import secrets
import time
from collections import namedtuple

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from lib.keys import changed
from lib.loopback import Loopback, json_answer
from lib.verify import ALGORITHMS, jwks_of

PATH = "/auth/verify-agent-token"
CALL_TYP = "nexus-call+jwt"
CALL_LIFETIME = 300

# wrong: what is not as it must be with the caller or its request, or None.
Call = namedtuple("Call", "token header claims wrong")


class Backend(Loopback):
    """Start it first, since a broker is started with BACKEND_AUTH_URL = backend.url; then trust(broker).

    calls: what came, one Call each. Whoever does not prove to be the broker is answered 401, and refused() tells. It
    misbehaves as any server of lib.loopback."""

    def __init__(self):
        super().__init__()
        self.broker = None
        self.calls = []
        self._users = {}
        self._jtis = set()

    def trust(self, broker):
        self.broker = broker

    def user(self, user_id="alice", token=None, **changes):
        """A user context token of that user; changes are to what the back end says about it (None takes a member
        away, expires_at adds it)."""
        token = token or secrets.token_urlsafe(24)
        about = {
            "user_id": user_id,
            "tenant_id": "acme",
            "clearance_level": 3,
            "permissions": ["acme:read", "acme:write"],
        }
        self._users[token] = changed(about, changes)
        return token

    def forget(self, token):
        del self._users[token]

    def refused(self):
        """What was wrong with callers, so far."""
        return [call.wrong for call in self.calls if call.wrong is not None]

    def answer(self, request):
        if request.path != PATH:
            return super().answer(request)
        assert self.broker is not None, "trust(broker) comes before the first call"
        if request.method != "POST":
            return json_answer({"error": "method_not_allowed"}, 405)
        call = self._look(request)
        self.calls.append(call)
        if call.wrong is not None or call.token not in self._users:
            return json_answer({"error": "invalid_token"}, 401)
        return json_answer(self._users[call.token])

    def _look(self, request):
        header = claims = token = None
        try:
            header, claims = self._caller(request.headers)
            token = _token_of(request)
        except (JoseError, ValueError) as error:
            return Call(token, header, claims, f"{type(error).__name__}: {error}")
        return Call(token, header, claims, None)

    def _caller(self, headers):
        values = headers.get_all("Authorization") or []
        if len(values) != 1 or not values[0].startswith("Bearer "):
            raise ValueError(f"{len(values)} Authorization headers, or not a bearer token")
        signed = jwt.decode(values[0].removeprefix("Bearer "), KeySet.import_key_set(jwks_of(self.broker)), ALGORITHMS)
        if signed.header.get("typ") != CALL_TYP:
            raise ValueError(f"typ is {signed.header.get('typ')}")
        rules = jwt.JWTClaimsRegistry(
            leeway=0,
            iss={"essential": True, "value": self.broker.issuer},
            aud={"essential": True, "value": self.url},
            exp={"essential": True},
            iat={"essential": True},
            jti={"essential": True},
        )
        rules.validate(signed.claims)
        if signed.claims["exp"] - time.time() > CALL_LIFETIME:
            raise ValueError("valid for too long")
        if signed.claims["jti"] in self._jtis:
            raise ValueError("jti was used before")
        self._jtis.add(signed.claims["jti"])
        return signed.header, signed.claims


def _token_of(request):
    if request.headers.get_content_type() != "application/json":
        raise ValueError(f"the body is {request.headers.get_content_type()}")
    body = json.loads(request.body)
    if not isinstance(body, dict) or set(body) != {"token"} or not isinstance(body["token"], str):
        raise ValueError("the body is not {token}")
    return body["token"]
