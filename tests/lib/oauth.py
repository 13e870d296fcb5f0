# SPDX-License-Identifier: Apache-2.0
"""An agent at the OAuth endpoints: by Authlib, and byte by byte where a good library would not do what a test wants."""

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.client import DEFAULT_HEADERS
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign

from lib import dpop as dpop_tools
from lib.keys import ASSERTION_TYPE

TOKEN_PATH = "/oauth/token"
INTROSPECT_PATH = "/oauth/introspect"
REVOKE_PATH = "/oauth/revoke"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# RFC 8693 section 3
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"


class _Assertion(PrivateKeyJWT):
    """Authlib's, but for its lifetime: an hour is longer than brokers accept."""

    def sign(self, auth, token_endpoint):
        return private_key_jwt_sign(
            auth.client_secret, auth.client_id, token_endpoint, self.alg, header=dict(self.headers), expires_in=60
        )


class OAuthClient:
    """agent: of lib.agents. dpop: a key of lib.dpop; what is issued is then bound to it.

    The grants return Authlib's token, a dict, or raise its OAuthError (.error, .description); .reply is the last reply
    of the token endpoint. Authlib sends a parameter once; repeated ones take raw_token."""

    def __init__(self, broker, agent, dpop=None):
        self.broker = broker
        self.agent = agent
        self.dpop = dpop
        self.reply = None
        self.session = OAuth2Session(
            agent.id,
            agent.key.jose,
            token_endpoint_auth_method="private_key_jwt",
            revocation_endpoint_auth_method="private_key_jwt",
            default_timeout=30,
        )
        self.session.trust_env = False
        headers = {"typ": "client-authentication+jwt", "kid": agent.key.kid}
        # rfc7523bis: the sole audience is the issuer identifier, not the endpoint's URL.
        self.session.register_client_auth_method(_Assertion(broker.issuer, headers=headers, alg=agent.key.kind))
        self.session.register_compliance_hook("access_token_response", self._keep)

    def _keep(self, reply):
        self.reply = reply
        return reply

    def _fetch(self, grant_type, nonce=None, **params):
        headers = dict(DEFAULT_HEADERS)
        if self.dpop is not None:
            headers["DPoP"] = self.dpop.proof("POST", dpop_tools.htu(self.broker, TOKEN_PATH), nonce=nonce)
        return self.session.fetch_token(self.broker.url + TOKEN_PATH, grant_type=grant_type, headers=headers, **params)

    def grant(self, grant_type, **params):
        try:
            return self._fetch(grant_type, **params)
        except OAuthError as error:
            if self.dpop is None or error.error != "use_dpop_nonce":
                raise
        return self._fetch(grant_type, nonce=self.reply.headers["DPoP-Nonce"], **params)

    def client_credentials(self, scope=None, **params):
        return self.grant("client_credentials", scope=scope, **params)

    def token_exchange(self, subject_token, subject_token_type=ACCESS_TOKEN, **params):
        return self.grant(
            TOKEN_EXCHANGE, subject_token=subject_token, subject_token_type=subject_token_type, **params
        )

    def jwt_bearer(self, assertion, **params):
        return self.grant(JWT_BEARER, assertion=assertion, **params)

    def introspect(self, token, hint=None, accept="application/json"):
        """The reply, whose .json() is RFC 7662's answer; accept "application/token-introspection+jwt": RFC 9701's."""
        url = self.broker.url + INTROSPECT_PATH
        return self.session.introspect_token(url, token, hint, headers={"Accept": accept})

    def revoke(self, token, hint=None):
        return self.session.revoke_token(self.broker.url + REVOKE_PATH, token, hint)

    # --- byte by byte

    def authentication(self, assertion=None):
        """The parameters that authenticate the agent."""
        assertion = self.agent.assertion() if assertion is None else assertion
        return [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]

    def raw(self, path, params, authenticate=True, **more):
        """The reply to a form of these pairs, and of those that authenticate the agent, after them, if authenticate is
        true. The rest is for broker.call, or for lib.dpop.call when there is a DPoP key."""
        form = [*params, *(self.authentication() if authenticate else [])]
        if self.dpop is None:
            return self.broker.call("POST", path, data=form, **more)
        return dpop_tools.call(self.broker, self.dpop, "POST", path, data=form, **more)

    def raw_token(self, params, **more):
        return self.raw(TOKEN_PATH, params, **more)

    def raw_introspect(self, params, **more):
        return self.raw(INTROSPECT_PATH, params, **more)

    def raw_revoke(self, params, **more):
        return self.raw(REVOKE_PATH, params, **more)
