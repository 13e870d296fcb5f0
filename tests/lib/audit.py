# SPDX-License-Identifier: Apache-2.0
"""The rules of the audit log, checked by a second implementation: canonical bytes, hashes, chains, pairs."""

import hashlib
import json
from collections import Counter, namedtuple

from lib.keys import b64u

KINDS = {"intent", "outcome", "refusal", "admin", "close", "boot", "heartbeat"}
LEAF_MAX = 16384

Leaf = namedtuple("Leaf", "writer seq kind jti corr_writer corr_seq raw hash body")


def _members(pairs):
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a member twice: {names}"
    return dict(pairs)


def _refuse(text):
    raise AssertionError(f"a number that is not an integer: {text}")


def decode(raw):
    return json.loads(raw.decode("utf-8"), object_pairs_hook=_members, parse_float=_refuse, parse_constant=_refuse)


def read(broker, where="true", *values):
    rows = broker.sql(
        "SELECT writer, seq, kind, jti, corr_writer, corr_seq, leaf, leaf_hash FROM nexus.audit_leaves"
        f" WHERE {where} ORDER BY t, writer, seq",
        *values,
    )
    return [Leaf(*row[:6], bytes(row[6]), bytes(row[7]), decode(bytes(row[6]))) for row in rows]


def open_intents(broker):
    return broker.sql(
        "SELECT i.writer, i.seq FROM nexus.audit_leaves i WHERE i.kind = 'intent' AND NOT EXISTS (SELECT FROM"
        " nexus.audit_leaves o WHERE o.kind = 'outcome' AND o.corr_writer = i.writer AND o.corr_seq = i.seq)"
    )


def _check_values(value, where):
    """RFC 8785, restricted: strings, integers below 2^53, lists of them. No null, no floats."""
    if isinstance(value, list):
        for item in value:
            _check_values(item, where)
    elif isinstance(value, bool) or not isinstance(value, (str, int)):
        raise AssertionError(f"{where}: {value!r} has no place in a leaf")
    elif isinstance(value, int):
        assert abs(value) < 2**53, where


def check_bytes(leaf):
    where = f"leaf {leaf.writer}:{leaf.seq}"
    assert len(leaf.raw) <= LEAF_MAX
    canonical = json.dumps(leaf.body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert leaf.raw == canonical, f"{where} is not canonical JSON: {leaf.raw!r}"
    for name, value in leaf.body.items():
        _check_values(value, f"{where} {name}")
    assert leaf.hash == hashlib.sha256(b"\x00" + leaf.raw).digest(), f"{where}: the hash is another's"
    assert leaf.body["v"] == 1
    assert leaf.body["kind"] == leaf.kind and leaf.kind in KINDS
    assert (leaf.body["inst"], leaf.body["iseq"]) == (leaf.writer, leaf.seq)
    assert leaf.body.get("jti") == leaf.jti
    assert leaf.body["t"].endswith("Z")


def _check_chain(leaves):
    before = bytes(32)
    for expected, leaf in enumerate(sorted(leaves, key=lambda item: item.seq)):
        assert leaf.seq == expected, f"writer {leaf.writer}: {expected} is missing"
        assert leaf.body["prev"] == b64u(before), f"leaf {leaf.writer}:{leaf.seq} does not follow the one before"
        before = leaf.hash


def check(leaves):
    """All rules that hold at any time for the whole table."""
    by_writer = {}
    for leaf in leaves:
        check_bytes(leaf)
        by_writer.setdefault(leaf.writer, []).append(leaf)
    for chain in by_writer.values():
        _check_chain(chain)
    places = {(leaf.writer, leaf.seq): leaf for leaf in leaves}
    outcomes = Counter()
    for outcome in (leaf for leaf in leaves if leaf.kind == "outcome"):
        assert outcome.corr_writer is not None, f"outcome {outcome.writer}:{outcome.seq} names no intent"
        assert outcome.body["corr"] == f"{outcome.corr_writer}:{outcome.corr_seq}"
        intent = places.get((outcome.corr_writer, outcome.corr_seq))
        assert intent is not None and intent.kind == "intent", f"{outcome.body['corr']} is no intent"
        assert outcome.jti == intent.jti
        assert intent.body["t"] <= outcome.body["t"], "an outcome before its intent"
        outcomes[outcome.body["corr"]] += 1
    assert all(n == 1 for n in outcomes.values()), "an intent with two outcomes"


def outcomes_ok(leaves):
    """Outcomes of signatures that were made."""
    made = ("outcome", "sign", "ok")
    return sum(1 for leaf in leaves if (leaf.kind, leaf.body["op"], leaf.body.get("reason")) == made)


def intent_of(leaves, jti):
    """The intent of a token; exactly one."""
    found = [leaf for leaf in leaves if leaf.kind == "intent" and leaf.jti == jti]
    assert len(found) == 1, f"{len(found)} intents for jti {jti}"
    return found[0]


def check_token(leaves, token, jti):
    """The intent of an issued token holds the hash of exactly what was signed."""
    intent = intent_of(leaves, jti)
    signed = token.rsplit(".", 1)[0].encode()
    assert intent.body["in_sha256"] == b64u(hashlib.sha256(signed).digest())
    return intent
