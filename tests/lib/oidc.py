# SPDX-License-Identifier: Apache-2.0
"""A real OpenID provider (tests/oidc/provider.mjs) that issues users' tokens by the authorization code flow with PKCE.
Authlib is its client, and the user's browser is requests."""

import subprocess
import tempfile
from urllib.parse import urljoin

from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session

from lib.issuer import CLAIMS, PERMISSIONS
from lib.keys import changed
from lib.shim import ROOT

PROGRAM = ROOT / "tests" / "oidc" / "provider.mjs"
CLIENT_ID = "tests"
CALLBACK = "https://client.example/callback"
LIFETIME = 600


class OidcProvider:
    """audience: what its access tokens are for, an absolute URI (RFC 8707), usually broker.issuer. The aud of its
    id_tokens is CLIENT_ID."""

    def __init__(self, audience):
        self.audience = audience
        self.issuer = None
        self._process = None
        self._log = None

    def __enter__(self):
        self._log = tempfile.TemporaryFile("w+")
        self._start("0")
        return self

    def _start(self, port):
        # It ends when its input does, so also when the tests are killed.
        self._process = subprocess.Popen(
            ["node", PROGRAM, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        port = self._process.stdout.readline().strip()
        if not port:
            self.__exit__()
            raise AssertionError(f"the OpenID provider did not start:\n{self.log()}")
        self.issuer = f"http://127.0.0.1:{port}"

    def rotate(self):
        """The same issuer with a new key, and without the old one."""
        self.__exit__()
        self._start(self.issuer.rpartition(":")[2])

    def __exit__(self, *_):
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def discovery(self):
        return self._get(f"{self.issuer}/.well-known/openid-configuration")

    def jwks(self):
        return self._get(self.discovery()["jwks_uri"])

    def _get(self, url):
        with self._client() as browser:
            reply = browser.get(url, withhold_token=True)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def _client(self):
        client = OAuth2Session(
            CLIENT_ID,
            token_endpoint_auth_method="none",
            redirect_uri=CALLBACK,
            code_challenge_method="S256",
            default_timeout=30,
        )
        client.trust_env = False
        return client

    def tokens(self, user="alice", permissions=PERMISSIONS, tenant="acme", clearance=3, ttl=LIFETIME, nonce=None):
        """The token endpoint's answer. The permissions are in the access token's `permissions`, an array, and asked for
        as its `scope`; ttl: seconds that both tokens are valid."""
        about = {"tenant_id": tenant, "clearance_level": clearance, "permissions": list(permissions)}
        with self._client() as client:
            verifier = generate_token(64)
            url, state = client.create_authorization_url(
                f"{self.issuer}/auth",
                scope=" ".join(["openid", *permissions]),
                resource=self.audience,
                nonce=nonce or generate_token(16),
                code_verifier=verifier,
            )
            interaction = self._redirected(client.get(url, withhold_token=True, allow_redirects=False))
            login = {"user": user, "ttl": ttl, "claims": about}
            reply = client.post(interaction, json=login, withhold_token=True, allow_redirects=False)
            reply = client.get(self._redirected(reply), withhold_token=True, allow_redirects=False)
            return client.fetch_token(
                f"{self.issuer}/token",
                authorization_response=self._redirected(reply),
                state=state,
                code_verifier=verifier,
                resource=self.audience,
            )

    def _redirected(self, reply):
        to = reply.headers.get("Location", "")
        assert reply.status_code in (302, 303) and "error=" not in to, f"{reply.status_code} {to} {self.log()}"
        return urljoin(self.issuer, to)

    def user_token(self, user="alice", **about):
        """An access token (a JWT, typ at+jwt) of that user; about as in tokens."""
        return self.tokens(user, **about)["access_token"]

    def id_token(self, user="alice", **about):
        return self.tokens(user, **about)["id_token"]

    def registration(self, **changes):
        """The body of POST /admin/v1/issuers."""
        body = {
            "issuer": self.issuer,
            "discovery": True,
            "algorithms": ["ES256"],
            "audience": self.audience,
            "claims": CLAIMS,
            "active": True,
        }
        return changed(body, changes)
