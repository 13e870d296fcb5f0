# SPDX-License-Identifier: Apache-2.0
"""`nexus` and a real broker: the main job by command line alone."""

import json
import secrets
import subprocess

import pytest

from cliprogram import REFUSED, fails, ok, private_file
from lib.keys import Key, parts
from lib.verify import claims_of, jwks_of

# What `openssl genpkey` is told for each kind of key, and what `nexus` must be told of it.
KEYS = {
    "ES256": (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], []),
    "ES384": (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], []),
    "EdDSA": (["-algorithm", "ED25519"], []),
    "RS256": (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], []),
    "PS256": (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], ["--alg", "PS256"]),
}


@pytest.fixture
def env(broker):
    """As scripts/stack env sets it, programs found elsewhere than through PATH."""
    return {k: v for k, v in broker.env.items() if k.startswith("NEXUS_")}


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture
def registered(env, tmp_path):
    """registered(kind): an agent's id and key file, all of it made on the command line."""

    def make(kind="ES256", *words):
        agent_id = f"cli-{secrets.token_hex(6)}"
        pem, public = tmp_path / f"{agent_id}.pem", tmp_path / f"{agent_id}.pub"
        generate, alg = KEYS[kind]
        openssl("genpkey", *generate, "-out", pem)
        pem.chmod(0o600)
        openssl("pkey", "-in", pem, "-pubout", "-out", public)
        scopes = ["--scope", "acme:read", "--scope", "acme:gliding"]
        ok("agents", "register", "--id", agent_id, "--public-key", public, *scopes, *alg, *words, env=env)
        return agent_id, ["--agent", agent_id, "--key-file", pem, *alg]

    return make


@pytest.mark.parametrize("kind", KEYS)
def test_main_job_on_the_command_line(broker, env, registered, tmp_path, kind):
    agent_id, words = registered(kind)
    token_file = tmp_path / "token"
    opened = ok("sessions", "open", *words, "--scope", "acme:read", "--ttl", "300", "--token-file", token_file, "--json", env=env).json()
    token = token_file.read_text()
    assert token == opened["session_token"] and opened["scopes_granted"] == ["acme:read"]
    assert claims_of(token, jwks_of(broker))["client_id"] == agent_id

    verify = ["token", "verify", "--issuer", broker.issuer, "--scope", "acme:read", "--json"]
    shown = ok(*verify, stdin=token, env=env).json()
    assert shown == claims_of(token, jwks_of(broker))
    fails(REFUSED, *verify, "--scope", "acme:gliding", stdin=token, env=env, says="acme:gliding")

    session = opened["session_id"]
    assert ok("sessions", "get", session, "--token-file", token_file, "--json", env=env).json()["active"] is True
    assert b"closed" in ok("sessions", "close", session, "--token-file", token_file, env=env).stdout
    fails(REFUSED, "sessions", "get", session, "--token-file", token_file, env=env, says="invalid_token")
    assert ok("sessions", "get", session, "--json", env=env).json()["active"] is False


def test_offline_by_a_file_and_by_one_key(broker, env, registered, tmp_path):
    _, words = registered()
    token = ok("sessions", "open", *words, "--scope", "acme:read", "--print-token", env=env).stdout.decode()
    keys = jwks_of(broker)
    (tmp_path / "jwks.json").write_text(json.dumps(keys))
    ok("token", "verify", "--jwks", tmp_path / "jwks.json", "--issuer", broker.issuer, stdin=token)
    kid = parts(token)[0]["kid"]
    (tmp_path / "key.jwk").write_text(json.dumps(next(k for k in keys["keys"] if k["kid"] == kid)))
    assert json.loads(ok("jws", "verify", "--jwk", tmp_path / "key.jwk", stdin=token).stdout) == claims_of(token.strip(), keys)


def test_key_with_a_kid_of_its_own(env, registered, tmp_path):
    key = Key("EdDSA", kid="2026-key")
    agent_id = f"cli-{secrets.token_hex(6)}"
    (tmp_path / "own.jwk").write_text(json.dumps(key.jwk()))
    pem = private_file(tmp_path / "own.pem", key.jose.as_pem(private=True))
    ok("agents", "register", "--id", agent_id, "--jwks", tmp_path / "own.jwk", "--scope", "acme:read", env=env)
    words = ["sessions", "open", "--agent", agent_id, "--key-file", pem, "--scope", "acme:read", "--print-token"]
    fails(REFUSED, *words, env=env, says="invalid_client")
    ok(*words, "--kid", "2026-key", env=env)


def test_life_of_an_agent(env, registered):
    agent_id, words = registered("ES256", "--description", "books gliders")
    agent = ok("agents", "get", agent_id, "--json", env=env).json()
    assert agent["description"] == "books gliders" and agent["active"] is True
    changed = ok("agents", "update", agent_id, "--scope", "acme:fly", "--max-ttl", "60", "--json", env=env).json()
    assert changed["allowed_scopes"] == ["acme:fly"] and changed["max_ttl_seconds"] == 60
    assert changed["description"] == "books gliders"
    open_words = ["sessions", "open", *words, "--print-token", "--scope"]
    fails(REFUSED, *open_words, "acme:read", env=env, says="scope_not_allowed")
    ok("agents", "deactivate", agent_id, env=env)
    fails(REFUSED, *open_words, "acme:fly", env=env, says="agent_inactive")
    ok("agents", "activate", agent_id, env=env)
    ok(*open_words, "acme:fly", env=env)
    ok("agents", "delete", agent_id, env=env)
    fails(REFUSED, "agents", "get", agent_id, env=env, says=["agent_not_found", "request id"])


def test_lists_in_one_page_and_in_many(env, registered):
    agent_id, words = registered()
    mine = [registered()[0], agent_id, registered()[0]]
    ok("agents", "deactivate", mine[0], env=env)
    listed = ok("agents", "list", "--all", "--limit", "2", "--json", env=env).json()["agents"]
    names = [a["agent_id"] for a in listed]
    assert len(names) == len(set(names)) and set(mine) <= set(names)
    assert mine[0] not in ok("agents", "list", "--active", "--all", env=env).stdout.decode()
    assert mine[0] in ok("agents", "list", "--inactive", "--all", env=env).stdout.decode()
    for _ in range(2):
        ok("sessions", "open", *words, "--scope", "acme:read", "--print-token", env=env)
    sessions = ok("sessions", "list", "--agent", agent_id, "--limit", "1", "--all", "--json", env=env).json()["sessions"]
    assert len(sessions) == 2
    assert len(ok("sessions", "list", "--agent", agent_id, env=env).stdout.splitlines()) == 3


def test_another_agents_key_and_another_role_are_refused(broker, env, registered, tmp_path):
    one, _ = registered()
    _, other_words = registered()
    other_words[1] = one
    fails(REFUSED, "sessions", "open", *other_words, "--scope", "acme:read", "--print-token", env=env, says=["invalid_client", "--key-file"])
    gateway = private_file(tmp_path / "gateway", broker.gateway_key)
    fails(REFUSED, "agents", "list", "--api-key-file", gateway, env=env, says="access_denied")
    unknown = private_file(tmp_path / "unknown", "nxk_" + "A" * 43)
    fails(REFUSED, "agents", "list", "--api-key-file", unknown, env=env, says="invalid_api_key")
