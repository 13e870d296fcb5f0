# SPDX-License-Identifier: Apache-2.0
"""API keys: made, listed and revoked by nexus-broker api-key; hashes only in the database."""

import hashlib
import secrets

import pytest

from lib.broker import run_command
from lib.verify import is_error

AGENTS = "/admin/v1/agents"


def create(broker, role="admin", *more, name=None):
    name = name or f"key-{secrets.token_hex(4)}"
    done = run_command(broker, "api-key", "create", "--name", name, "--role", role, *more)
    assert done.returncode == 0, done.stderr
    [key] = done.stdout.split()
    assert key not in done.stderr
    return name, key


def listed(broker, name):
    done = run_command(broker, "api-key", "list")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.split()[0] == name]
    assert len(rows) == 1, done.stdout
    return rows[0]


def test_only_the_hash_is_stored(broker):
    name, key = create(broker)
    [(stored, role)] = broker.sql("SELECT hash, role FROM nexus.api_keys WHERE name = %s", name)
    assert bytes(stored) == hashlib.sha256(key.encode()).digest() and role == "admin"
    row = broker.sql("SELECT k::text FROM nexus.api_keys k WHERE name = %s", name)[0][0]
    assert key not in row and key[8:] not in row
    assert key not in listed(broker, name)


def test_keys_are_long_and_different(broker):
    keys = {create(broker)[1] for _ in range(4)}
    assert len(keys) == 4 and all(len(k) >= 43 for k in keys)


@pytest.mark.parametrize("role", ["admin", "auditor", "gateway"])
def test_role(broker, role):
    name, key = create(broker, role)
    assert role in listed(broker, name)
    reply = broker.call("GET", AGENTS, key=key)
    if role == "gateway":
        is_error(reply, 403, "access_denied")
    else:
        assert reply.status_code == 200


def test_revocation_takes_effect_at_once(broker, broker_factory):
    other = broker_factory()
    name, key = create(broker)
    for b in (broker, other):
        assert b.call("GET", AGENTS, key=key).status_code == 200
    done = run_command(broker, "api-key", "revoke", "--name", name)
    assert done.returncode == 0, done.stderr
    for b in (broker, other):
        for _ in range(20):
            is_error(b.call("GET", AGENTS, key=key), 403, "invalid_api_key")
    assert run_command(broker, "api-key", "revoke", "--name", name).returncode != 0


def test_key_expires(broker):
    name, key = create(broker, "admin", "--days", "1")
    assert broker.call("GET", AGENTS, key=key).status_code == 200
    broker.sql("UPDATE nexus.api_keys SET expires_at = now() - interval '1 second' WHERE name = %s", name)
    is_error(broker.call("GET", AGENTS, key=key), 403, "invalid_api_key")


def test_last_use_is_shown(broker):
    name, key = create(broker)
    assert broker.sql("SELECT last_used_at FROM nexus.api_keys WHERE name = %s", name) == [(None,)]
    assert "never" in listed(broker, name)
    broker.call("GET", AGENTS, key=key)
    assert broker.sql("SELECT last_used_at > now() - interval '1 minute' FROM nexus.api_keys WHERE name = %s", name) == [(True,)]


@pytest.mark.parametrize(
    "arguments",
    [[], ["create"], ["create", "--name", "x"], ["create", "--name", "x", "--role", "root"], ["create", "--role", "admin"],
     ["create", "--name", "a b", "--role", "admin"], ["create", "--name", "x'--", "--role", "admin"],
     ["create", "--name", "x", "--role", "admin", "--days", "0"], ["create", "--name", "x", "--role", "admin", "--days", "-5"],
     ["create", "--name", "x", "--role", "admin", "--days", "1x"], ["revoke"], ["revoke", "--name", "nobody"], ["drop"],
     ["list", "more"], ["create", "--name", "n" * 65, "--role", "admin"]],
)  # fmt: skip
def test_wrong_calls_make_no_key(broker, arguments):
    before = broker.row_counts()["api_keys"]
    done = run_command(broker, "api-key", *arguments)
    assert done.returncode != 0 and done.stderr
    assert broker.row_counts()["api_keys"] == before


def test_name_is_taken_once(broker):
    name, _ = create(broker)
    done = run_command(broker, "api-key", "create", "--name", name, "--role", "admin")
    assert done.returncode != 0 and name in done.stderr and "nxk_" not in done.stdout


def test_making_and_revoking_is_on_record(broker):
    name, key = create(broker)
    run_command(broker, "api-key", "revoke", "--name", name)
    leaves = [leaf for leaf in broker.leaves("kind = 'admin'") if leaf.body.get("target") == name]
    assert [leaf.body["op"] for leaf in leaves] == ["api_key.create", "api_key.revoke"]
    assert all(key not in leaf.raw.decode() for leaf in leaves)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["api-key"], "create, list or revoke is needed"),
        (["api-key", "create", "--role", "admin"], "--name is needed"),
        (["api-key", "create", "--name", "x"], "--role is needed: admin, auditor or gateway"),
        (["api-key", "create", "--name", "x", "--role", "boss"], "--role is needed: admin, auditor or gateway"),
        (["api-key", "create", "--name", "x", "--role", "admin", "--until", "2030"], "--name, --role and --days"),
        (["api-key", "revoke", "x"], "a word too many"),
        (["api-key", "list", "x"], "nothing stands behind list"),
        (["version", "x"], "nothing stands behind this command"),
        (["frobnicate"], "no such command: frobnicate"),
    ],
)
def test_wrong_words_are_explained(broker, words, says):
    keys = broker.sql("SELECT count(*) FROM nexus.api_keys")
    done = run_command(broker, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: nexus-broker" in done.stderr and says in done.stderr.splitlines()[-1]
    assert broker.sql("SELECT count(*) FROM nexus.api_keys") == keys
