# SPDX-License-Identifier: Apache-2.0
"""/admin/v1/scopes and `nexus scopes`: the conditions of scopes, with every rule and code."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from cliprogram import REFUSED, USAGE, fails, ok, private_file
from lib import audit
from lib.verify import is_error

SCOPES = "/admin/v1/scopes"


def new_name():
    return f"acme:{secrets.token_hex(6)}"


def path_of(name):
    return f"{SCOPES}/{quote(name, safe='')}"


def define(broker, name=None, **conditions):
    return broker.admin("POST", SCOPES, json={"name": name or new_name(), **conditions})


def defined(broker, name=None, **conditions):
    reply = define(broker, name, **conditions)
    assert reply.status_code == 201, reply.text
    return reply.json()


def patch(broker, name, /, **changes):
    return broker.admin("PATCH", path_of(name), json=changes)


def stored(broker):
    """Everything of the register, and what a change of it must add to."""
    rows = broker.sql("SELECT * FROM nexus.scopes ORDER BY name")
    [(revision,)] = broker.sql("SELECT revision FROM nexus.policy_revision")
    return rows, revision, len(broker.leaves("kind = 'admin'"))


def is_refused(broker, reply, status, code, *words):
    """reply is a function, since nothing may have changed after it."""
    before = stored(broker)
    is_error(reply(), status, code, *words)
    assert stored(broker) == before


@pytest.fixture(autouse=True)
def tidy(broker):
    yield
    for scope in broker.admin("GET", SCOPES).json()["scopes"]:
        if not scope["name"].startswith("fill:"):
            assert broker.admin("DELETE", path_of(scope["name"])).status_code == 200


# --- definition


def test_scope_is_shown_as_it_was_defined(broker):
    name = new_name()
    sent = {"name": name, "description": "  flies a glider  ", "min_clearance": 1000000, "max_ttl_seconds": 3600, "requires_obo": True}
    reply = broker.admin("POST", SCOPES, json=sent)
    assert reply.status_code == 201, reply.text
    shown = reply.json()
    assert shown["created_at"] == shown["updated_at"] and shown["created_at"].endswith("Z")
    expected = {**sent, "description": "flies a glider", "created_at": shown["created_at"], "updated_at": shown["updated_at"]}
    assert shown == expected
    assert broker.admin("GET", path_of(name)).json() == shown


def test_scope_needs_no_conditions(broker):
    for zero in ({}, {"min_clearance": 0, "max_ttl_seconds": 0, "requires_obo": False, "description": ""}):
        shown = defined(broker, **zero)
        assert (shown["description"], shown["min_clearance"], shown["requires_obo"]) == ("", 0, False)
        assert "max_ttl_seconds" not in shown


def test_second_definition_is_refused(broker):
    name = defined(broker)["name"]
    is_refused(broker, lambda: define(broker, name), 409, "scope_exists", name)
    is_refused(broker, lambda: define(broker, f" {name} "), 409, "scope_exists", name)


@pytest.mark.parametrize("name", ["", " ", "a b", 'a"b', "a\\b", "a/b", "/", ".", "..", "\u00e4", "a\x7f", "a\tb", "x" * 129])
def test_name_refused(broker, name):
    is_refused(broker, lambda: broker.admin("POST", SCOPES, json={"name": name}), 400, "invalid_scope", "name")


# RFC 6749 section 3.3: %x21 / %x23-5B / %x5D-7E, and no slash since it stands in a path.
EVERY = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"\\/')


@pytest.mark.parametrize("name", ["x", "x" * 128, EVERY, "...", "a%2Fb", "a?b#c", "%"])
def test_name_accepted_and_found_by_its_path(broker, name):
    assert defined(broker, name)["name"] == name
    assert broker.admin("GET", path_of(name)).json()["name"] == name
    assert patch(broker, name, min_clearance=1).json()["min_clearance"] == 1
    assert broker.admin("DELETE", path_of(name)).json() == {"name": name, "status": "deleted"}


REFUSED_VALUES = {
    "name": [None, 7, ["a"]],
    "description": [None, 7, "x" * 1025],
    "min_clearance": [None, "1", True, -1, 1000001, 2**53 - 1],
    "max_ttl_seconds": [None, "1", True, -1, 3601, 2**53 - 1],
    "requires_obo": [None, "true", 1],
    "max_ttl": [60],
    "Name": ["x"],
    "created_at": ["2026-01-01T00:00:00Z"],
}


@pytest.mark.parametrize("field,value", [(f, v) for f, values in REFUSED_VALUES.items() for v in values])
def test_value_refused_by_the_fields_name(broker, field, value):
    is_refused(broker, lambda: broker.admin("POST", SCOPES, json={"name": new_name(), field: value}), 400, "invalid_request", field)
    name = defined(broker)["name"]
    is_refused(broker, lambda: patch(broker, name, **{field: value}), 400, "invalid_request", field)


def test_name_is_required_and_cannot_change(broker):
    is_refused(broker, lambda: broker.admin("POST", SCOPES, json={"requires_obo": True}), 400, "invalid_request", "name")
    name = defined(broker)["name"]
    is_refused(broker, lambda: patch(broker, name, name="other"), 400, "invalid_request", "name")
    is_refused(broker, lambda: patch(broker, name), 400, "invalid_request", "nothing to change")


# --- reading, changing, deleting


def test_unknown_scope_is_not_found(broker):
    path = path_of(new_name())
    is_error(broker.admin("GET", path), 404, "scope_not_found")
    is_error(broker.admin("PATCH", path, json={"requires_obo": True}), 404, "scope_not_found")
    is_error(broker.admin("DELETE", path), 404, "scope_not_found")
    is_error(broker.admin("PATCH", path, json={"requires_obo": 1}), 400, "invalid_request", "requires_obo")


def test_patch_changes_what_it_names_and_nothing_else(broker):
    state = defined(broker, description="before", min_clearance=1, max_ttl_seconds=60)
    for change in ({"description": "after"}, {"min_clearance": 0}, {"max_ttl_seconds": 1}, {"requires_obo": True}):
        reply = patch(broker, state["name"], **change)
        assert reply.status_code == 200, reply.text
        shown = reply.json()
        assert shown == {**state, **change, "updated_at": shown["updated_at"]}
        assert shown["updated_at"] >= state["updated_at"]
        state = shown
    shown = patch(broker, state["name"], max_ttl_seconds=0).json()
    assert "max_ttl_seconds" not in shown and shown["requires_obo"] is True
    assert broker.admin("GET", path_of(state["name"])).json() == shown


def test_list_holds_all_in_order(broker):
    shown = [defined(broker), defined(broker, "A:first"), defined(broker, "~last")]
    reply = broker.admin("GET", SCOPES)
    assert reply.status_code == 200 and set(reply.json()) == {"scopes"}
    assert reply.json()["scopes"] == sorted(shown, key=lambda s: s["name"])
    is_error(broker.admin("GET", f"{SCOPES}?cursor=x"), 400, "invalid_request", "cursor")


def test_there_is_room_for_1000(broker):
    broker.sql("INSERT INTO nexus.scopes (name, description) SELECT 'fill:' || g, repeat('d', 1024) FROM generate_series(1, 998) g")
    try:
        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(lambda _: define(broker), range(4)))
        assert sorted(r.status_code for r in replies) == [201, 201, 400, 400]
        for reply in (r for r in replies if r.status_code == 400):
            is_error(reply, 400, "invalid_request", "1000 scopes")
        listed = broker.admin("GET", SCOPES).json()["scopes"]
        assert len(listed) == 1000
        assert patch(broker, "fill:1", min_clearance=1).status_code == 200
        assert broker.admin("DELETE", path_of("fill:1")).status_code == 200
        assert define(broker).status_code == 201
    finally:
        broker.sql("DELETE FROM nexus.scopes WHERE name LIKE 'fill:%'")
        broker.sql("UPDATE nexus.policy_revision SET revision = revision + 1")


# --- what it is for: the next request of any broker goes by it


def test_change_takes_effect_on_the_next_request_of_every_worker(broker, broker_factory, agent):
    other = broker_factory()
    name = new_name()
    a = agent(scopes=[name])
    for b in (broker, other) * 20:
        a.session(b)
    defined(broker, name, requires_obo=True)
    for b in (broker, other) * 20:
        is_error(a.open(broker=b), 403, "obo_required", name)
    patch(other, name, requires_obo=False, max_ttl_seconds=60)
    for b in (broker, other) * 20:
        assert a.open(broker=b, ttl_seconds=60).status_code == 201
        is_error(a.open(broker=b, ttl_seconds=61), 400, "invalid_ttl")
    broker.admin("DELETE", path_of(name))
    for b in (broker, other) * 20:
        assert a.open(broker=b, ttl_seconds=61).status_code == 201


# --- who, and what is recorded


@pytest.mark.parametrize("method,one", [("POST", False), ("GET", False), ("GET", True), ("PATCH", True), ("DELETE", True)])
def test_roles(broker, method, one):
    name = defined(broker)["name"]
    path = path_of(name) if one else SCOPES
    payload = {"json": {"requires_obo": True} if one else {"name": new_name()}} if method in ("POST", "PATCH") else {}
    allowed = {"admin", "auditor"} if method == "GET" else {"admin"}
    is_refused(broker, lambda: broker.call(method, path, **payload), 401, "missing_api_key")
    is_refused(broker, lambda: broker.call(method, path, key="nxk_" + "A" * 43, **payload), 403, "invalid_api_key")
    for role in ("gateway", "auditor", "admin"):
        key = getattr(broker, f"{role}_key")
        if role in allowed:
            assert broker.call(method, path, key=key, **payload).status_code in (200, 201)
        else:
            is_refused(broker, lambda k=key: broker.call(method, path, key=k, **payload), 403, "access_denied")


def test_each_change_has_its_leaf_and_raises_the_revision_by_one(broker):
    _, revision, _ = stored(broker)
    name = defined(broker, min_clearance=7, description="planted-text")["name"]
    patch(broker, name, requires_obo=True, max_ttl_seconds=60)
    broker.admin("DELETE", path_of(name))
    assert stored(broker)[1] == revision + 3
    leaves = sorted((x.body for x in broker.leaves("kind = 'admin'") if x.body.get("target") == name), key=lambda b: b["t"])
    assert [(x["op"], x.get("detail")) for x in leaves] == [
        ("scope.define", "min_clearance=7 max_ttl_seconds=0 requires_obo=false"),
        ("scope.update", "min_clearance=7 max_ttl_seconds=60 requires_obo=true"),
        ("scope.delete", None),
    ]
    assert {x["actor"] for x in leaves} == {"admin"} and all(x["req_id"] for x in leaves)
    audit.check(broker.leaves())


def test_description_alone_leaves_the_revision(broker):
    """Every worker of every broker reads the register again when it grows, and what was being decided is decided anew."""
    name = defined(broker, min_clearance=7, max_ttl_seconds=60, description="before")["name"]
    _, revision, leaves = stored(broker)
    changes = [{"description": "after"}, {"min_clearance": 7}, {"max_ttl_seconds": 60}, {"requires_obo": False},
               {"description": "", "min_clearance": 7, "max_ttl_seconds": 60, "requires_obo": False}]  # fmt: skip
    for change in changes:
        assert patch(broker, name, **change).status_code == 200
    assert stored(broker)[1:] == (revision, leaves + len(changes))
    assert broker.admin("GET", path_of(name)).json()["description"] == ""
    patch(broker, name, max_ttl_seconds=0, description="last")
    assert stored(broker)[1] == revision + 1


def test_changes_at_once_each_count(broker, broker_factory):
    other = broker_factory()
    name = defined(broker)["name"]
    _, revision, leaves = stored(broker)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda i: patch((broker, other)[i % 2], name, min_clearance=i), range(1, 25)))
    assert {r.status_code for r in replies} == {200}
    assert stored(broker)[1:] == (revision + 24, leaves + 24)
    assert broker.admin("GET", path_of(name)).json()["min_clearance"] in range(1, 25)


# --- the command line


@pytest.fixture
def env(broker):
    return {k: v for k, v in broker.env.items() if k.startswith("NEXUS_")}


def test_life_of_a_scope_on_the_command_line(broker, env):
    name = f"acme?{secrets.token_hex(4)}%#"
    conditions = ["--description", "flies", "--min-clearance", "3", "--max-ttl", "60", "--requires-obo"]
    shown = ok("scopes", "define", name, *conditions, "--json", env=env).json()
    assert shown == broker.admin("GET", path_of(name)).json()
    assert (shown["description"], shown["min_clearance"], shown["max_ttl_seconds"], shown["requires_obo"]) == ("flies", 3, 60, True)
    text = ok("scopes", "get", name, env=env).stdout.decode()
    assert name in text and "flies" in text and "yes" in text
    [row] = [r for r in ok("scopes", "list", env=env).stdout.decode().splitlines() if r.startswith(name)]
    assert row.split()[1:] == ["3", "60", "yes", "flies"]
    changed = ok("scopes", "update", name, "--max-ttl", "0", "--no-requires-obo", "--min-clearance", "0", "--json", env=env).json()
    assert "max_ttl_seconds" not in changed and changed["requires_obo"] is False and changed["min_clearance"] == 0
    assert changed["description"] == "flies"
    assert b"deleted" in ok("scopes", "remove", name, env=env).stdout
    fails(REFUSED, "scopes", "remove", name, env=env, says=["scope_not_found", "request id"])


def test_command_lines_that_are_refused(broker, env, tmp_path):
    fails(USAGE, "scopes", "define", env=env, says="NAME")
    fails(USAGE, "scopes", "define", "x", "--max-ttl", "3601", env=env, says="--max-ttl")
    fails(USAGE, "scopes", "update", "x", env=env, says="nothing to change")
    fails(USAGE, "scopes", "update", "x", "--requires-obo", "--no-requires-obo", env=env, says="not both")
    fails(REFUSED, "scopes", "define", "a/b", env=env, says="invalid_scope")
    auditor = private_file(tmp_path / "auditor", broker.auditor_key)
    ok("scopes", "list", "--api-key-file", auditor, env=env)
    fails(REFUSED, "scopes", "define", new_name(), "--api-key-file", auditor, env=env, says="access_denied")
