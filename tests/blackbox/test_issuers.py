# SPDX-License-Identifier: Apache-2.0
"""/admin/v1/issuers and `nexus issuers`: who may vouch for users, with every rule and code."""

import hashlib
import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cliprogram import REFUSED, UNAVAILABLE, USAGE, fails, ok, private_file
from lib import audit
from lib.keys import KINDS, Key, b64u
from lib.verify import is_error

ISSUERS = "/admin/v1/issuers"
ALL_DEFAULTS = {
    "user_id": "/sub", "tenant_id": "/tenant_id", "clearance_level": "/clearance_level", "permissions": "/permissions",
}  # fmt: skip
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
KEY = Key("ES256")


def url():
    return f"https://{secrets.token_hex(8)}.example"


def body(**changes):
    members = {
        "issuer": url(), "jwks": {"keys": [KEY.jwk()]}, "algorithms": ["ES256"], "audience": "https://broker.example", **changes,
    }  # fmt: skip
    return {k: v for k, v in members.items() if v is not None}


def from_uri(**changes):
    return body(**{"jwks": None, "jwks_uri": "https://keys.example/jwks", **changes})


def post(broker, members):
    return broker.admin("POST", ISSUERS, json=members)


def made(broker, **changes):
    reply = post(broker, body(**changes))
    assert reply.status_code == 201, reply.text
    return reply.json()


def path_of(issuer):
    return f"{ISSUERS}/{issuer['id']}"


def patch(broker, issuer, /, **changes):
    return broker.admin("PATCH", path_of(issuer), json=changes)


def stored(broker):
    """Everything of the register, and what a change of it must add to."""
    rows = broker.sql("SELECT * FROM nexus.issuers ORDER BY id")
    [(revision,)] = broker.sql("SELECT revision FROM nexus.policy_revision")
    return rows, revision, len(broker.leaves("kind = 'admin'"))


def is_refused(broker, reply, status, code, *words):
    """reply is a function, since nothing may have changed after it."""
    before = stored(broker)
    is_error(reply(), status, code, *words)
    assert stored(broker) == before


@pytest.fixture(autouse=True)
def tidy(broker):
    """There is room for 100 issuers, for all tests together."""
    yield
    for issuer in broker.admin("GET", ISSUERS).json()["issuers"]:
        assert broker.admin("DELETE", path_of(issuer)).status_code == 200


# --- registration


def test_issuer_is_shown_as_it_was_registered(broker):
    sent = {
        "issuer": f"{url()}:8443/realms/a%20b/",
        "jwks_uri": "https://keys.example/jwks?v=1&x",
        "algorithms": ["RS256", "EdDSA"],
        "audience": "api://broker",
        "typ": "At+JWT",
        "claims": {"user_id": "/oid", "permissions": "/https:~1~1a.example~1roles"},
        "max_age_seconds": 600,
        "one_time_jti": True,
        "active": False,
    }
    reply = post(broker, sent)
    assert reply.status_code == 201, reply.text
    shown = reply.json()
    assert shown["id"].startswith("iss_") and len(shown["id"]) == 36 and int(shown["id"][4:], 16) >= 0
    assert shown["created_at"] == shown["updated_at"] and shown["created_at"].endswith("Z")
    expected = {**sent, "typ": "at+jwt", "claims": {**ALL_DEFAULTS, **sent["claims"]}, "key_source": "jwks_uri"}
    assert {k: v for k, v in shown.items() if k not in ("id", "created_at", "updated_at")} == expected
    assert broker.admin("GET", path_of(shown)).json() == shown


def test_what_is_not_said_has_its_default(broker):
    shown = made(broker)
    assert shown["claims"] == ALL_DEFAULTS
    assert shown["one_time_jti"] is False and shown["active"] is True and shown["key_source"] == "jwks"
    assert {"typ", "max_age_seconds", "jwks_uri", "discovery"} & set(shown) == set()


@pytest.mark.parametrize("missing", ["issuer", "algorithms", "audience"])
def test_required_fields(broker, missing):
    is_refused(broker, lambda: post(broker, body(**{missing: None})), 400, "invalid_request", missing)


def test_second_registration_is_refused(broker):
    first = body()
    assert post(broker, first).status_code == 201
    is_refused(broker, lambda: post(broker, body(issuer=first["issuer"])), 409, "issuer_exists", first["issuer"])
    # Another spelling is another issuer: iss is compared byte for byte.
    assert post(broker, body(issuer=first["issuer"] + "/")).status_code == 201


@pytest.mark.parametrize("issuer", [
    "", "x", "ftp://a.example", "http://a.example", "HTTPS://a.example", "https://", "https:///x", "https://a.example?q",
    "https://a.example/#", "https://u:p@a.example", "https://a.example:0", "https://a.example:99999", "https://a..example",
    "https://127.1", "https://[::1", "https://a.example/a b", "https://\u00e4.example", "http://localhost", "http://127.0.0.1",
    "http://[::1]", " https://a.example", "https://a.example/" + "x" * 495,
])  # fmt: skip
def test_issuer_refused(broker, issuer):
    is_refused(broker, lambda: post(broker, body(issuer=issuer)), 400, "invalid_issuer", "issuer")


def test_longest_issuer_is_accepted(broker):
    issuer = "https://a.example/" + "x" * 494
    assert len(issuer) == 512 and made(broker, issuer=issuer)["issuer"] == issuer


def test_own_base_url_is_refused(broker):
    is_refused(broker, lambda: post(broker, body(issuer=broker.issuer)), 400, "invalid_issuer", "itself")


def test_this_machine_may_vouch_only_where_the_operator_says_so(broker, broker_factory):
    lenient = broker_factory({"NEXUS_INSECURE_LOOPBACK_FETCHES": "on"})
    for issuer in ("http://localhost:9/a", "http://127.0.0.2", "http://[::1]:9"):
        is_refused(broker, lambda i=issuer: post(broker, body(issuer=i)), 400, "invalid_issuer", "https://")
        shown = post(lenient, body(jwks=None, discovery=True, issuer=issuer)).json()
        assert shown["key_source"] == "discovery" and shown["discovery"] is True
        # A broker that would refuse it now can still deactivate it.
        assert patch(broker, shown, active=False).json()["active"] is False
    for issuer in ("http://a.example", "http://128.0.0.1", "http://localhost.example", "http://0.0.0.0"):
        is_refused(broker, lambda i=issuer: post(lenient, body(issuer=i)), 400, "invalid_issuer", "https://")
    assert post(lenient, from_uri(jwks_uri="http://127.0.0.1:9/jwks")).status_code == 201
    is_refused(broker, lambda: post(lenient, body(issuer=lenient.issuer)), 400, "invalid_issuer", "itself")


@pytest.mark.parametrize("changes", [
    {"jwks": None}, {"jwks_uri": "https://a.example/k"}, {"discovery": True}, {"jwks": None, "discovery": False},
    {"jwks": None, "discovery": True, "jwks_uri": "https://a.example/k"},
])  # fmt: skip
def test_keys_come_from_exactly_one_source(broker, changes):
    is_refused(broker, lambda: post(broker, body(**changes)), 400, "invalid_request", "jwks", "jwks_uri", "discovery")


def test_each_source_alone_is_accepted(broker):
    assert made(broker, discovery=False)["key_source"] == "jwks"
    assert post(broker, from_uri()).json()["key_source"] == "jwks_uri"
    assert post(broker, from_uri(jwks_uri=None, discovery=True)).json()["key_source"] == "discovery"


@pytest.mark.parametrize("uri", [
    "", "x", "http://a.example/k", "https://a.example/#k", "https://u@a.example/k", "https://a.example:x/", "file:///etc/passwd",
    "http://127.0.0.1/k", "https://127.0.0.1/k", "https://10.0.0.1/k", "https://169.254.169.254/latest", "https://[::1]/k",
    "https://a.example/" + "x" * 1007,
])  # fmt: skip
def test_jwks_uri_refused(broker, uri):
    is_refused(broker, lambda: post(broker, from_uri(jwks_uri=uri)), 400, "invalid_request", "jwks_uri")


def test_longest_jwks_uri_is_accepted(broker):
    uri = "https://a.example/?" + "x" * 1005
    assert len(uri) == 1024 and post(broker, from_uri(jwks_uri=uri)).json()["jwks_uri"] == uri


def test_discovery_where_no_fetch_may_lead_is_refused(broker):
    private = body(jwks=None, discovery=True, issuer="https://10.1.2.3")
    is_refused(broker, lambda: post(broker, private), 400, "invalid_request", "discovery")
    # With keys that stand in the registration nothing is fetched.
    assert post(broker, body(issuer="https://10.1.2.3")).status_code == 201


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_key_and_algorithm_is_accepted(broker, kind):
    key = Key(kind)
    shown = made(broker, jwks={"keys": [key.jwk()]}, algorithms=[kind])
    [kept] = shown["jwks"]["keys"]
    assert (kept["kid"], kept["alg"]) == (key.kid, kind) and shown["algorithms"] == [kind]


@pytest.mark.parametrize("count", [1, 100])
def test_as_many_keys_are_accepted(broker, count):
    shown = made(broker, jwks={"keys": [Key("EdDSA").jwk() for _ in range(count)]})
    assert len(shown["jwks"]["keys"]) == count
    assert broker.admin("GET", path_of(shown)).json() == shown


REFUSED_KEYS = {
    "none": lambda: [],
    "101": lambda: [KEY.jwk(kid=f"k{i}") for i in range(101)],
    "private EC": lambda: [KEY.private_jwk()],
    "private RSA": lambda: [Key("RS256").private_jwk()],
    "private Ed25519": lambda: [KEY.jwk(), Key("EdDSA").private_jwk()],
    "symmetric": lambda: [{"kty": "oct", "k": b64u(bytes(32)), "alg": "HS256", "kid": "k"}],
    "two of one kid": lambda: [KEY.jwk(kid="k"), Key("ES256").jwk(kid="k")],
    "off the curve": lambda: [{**KEY.jwk(), "x": b64u(b"\1" * 32)}],
    "for encryption": lambda: [KEY.jwk(use="enc")],
    "a string": lambda: ["key"],
}


@pytest.mark.parametrize("name", REFUSED_KEYS)
def test_keys_refused(broker, name):
    is_refused(broker, lambda: post(broker, body(jwks={"keys": REFUSED_KEYS[name]()})), 400, "invalid_jwks")


def test_only_public_members_are_kept(broker):
    surplus = {"x5c": ["MIIB"], "note": "planted-surplus", "x5u": "https://a.example"}
    shown = made(broker, jwks={"keys": [{**KEY.jwk(), **surplus}], "comment": "planted-surplus"})
    [(text,)] = broker.sql("SELECT jwks FROM nexus.issuers WHERE id = %s", shown["id"])
    [kept] = json.loads(text)["keys"]
    assert set(kept) == {"kty", "crv", "x", "y", "kid", "alg", "use"} and not set(kept) & PRIVATE_MEMBERS
    assert shown["jwks"] == json.loads(text)
    private = Key("ES256").private_jwk()
    is_error(patch(broker, shown, jwks={"keys": [private]}), 400, "invalid_jwks")
    everything = str(broker.sql("SELECT * FROM nexus.issuers")) + "".join(x.raw.decode() for x in broker.leaves()) + broker.log()
    assert "planted-surplus" not in everything and private["d"] not in everything


@pytest.mark.parametrize("algorithms", [
    [], ["none"], ["HS256"], ["es256"], ["ES256", "ES512"], ["ES256", "ES256"], [""], [7], [None], "ES256", {"ES256": True},
    ["ES256", "ES384", "PS256", "RS256", "EdDSA", "ES256"],
])  # fmt: skip
def test_algorithms_refused(broker, algorithms):
    is_refused(broker, lambda: post(broker, body(algorithms=algorithms)), 400, "invalid_request", "algorithms")


def test_all_algorithms_are_accepted(broker):
    assert made(broker, algorithms=list(KINDS))["algorithms"] == list(KINDS)


@pytest.mark.parametrize("audience", ["", "a b", "a\n", "\u00e4", "x" * 513, 7, ["a"]])
def test_audience_refused(broker, audience):
    is_refused(broker, lambda: post(broker, body(audience=audience)), 400, "invalid_request", "audience")


@pytest.mark.parametrize("typ", [
    "", "x" * 65, "a/b", "a b", "a_b", "\u00e4", 7, "client-authentication+jwt", "DPoP+JWT", "nexus-call+jwt",
    "nexus-selftest+jwt", "Token-Introspection+jwt", "oauth-id-jag+jwt",
])  # fmt: skip
def test_typ_refused(broker, typ):
    is_refused(broker, lambda: post(broker, body(typ=typ)), 400, "invalid_request", "typ")


@pytest.mark.parametrize("claim", ALL_DEFAULTS)
@pytest.mark.parametrize("pointer", ["", "sub", "/a~", "/a~2", "/" + "x" * 256, 7, ["/sub"]])
def test_pointer_refused(broker, claim, pointer):
    is_refused(broker, lambda: post(broker, body(claims={claim: pointer})), 400, "invalid_request", "claims", claim)


@pytest.mark.parametrize("pointer", ["/", "/a/0/b", "/~0~1", "/\u00e4 b", "/" + "x" * 255])
def test_pointer_accepted(broker, pointer):
    assert made(broker, claims={"user_id": pointer})["claims"] == {**ALL_DEFAULTS, "user_id": pointer}


@pytest.mark.parametrize("age", [0, -1, 31536001, 2**53 - 1])
def test_max_age_seconds_refused(broker, age):
    is_refused(broker, lambda: post(broker, body(max_age_seconds=age)), 400, "invalid_request", "max_age_seconds")


def test_longest_max_age_is_accepted(broker):
    assert made(broker, max_age_seconds=31536000)["max_age_seconds"] == 31536000


WRONG_TYPES = {
    "issuer": [7, None, ["x"]],
    "jwks": [7, None, [], "x"],
    "jwks_uri": [7, None, {}],
    "discovery": ["true", 1, None],
    "claims": [7, None, [], "/sub"],
    "typ": [None, []],
    "max_age_seconds": ["600", None, True],
    "one_time_jti": ["true", 1, None],
    "active": ["true", 1, None],
    "algorithms": [None],
    "audience": [None],
}


@pytest.mark.parametrize("field,value", [(f, v) for f, values in WRONG_TYPES.items() for v in values])
def test_wrong_type_is_refused_by_the_fields_name(broker, field, value):
    is_refused(broker, lambda: post(broker, {**body(), field: value}), 400, "invalid_request", field)
    if field != "issuer":
        shown = made(broker)
        is_refused(broker, lambda: patch(broker, shown, **{field: value}), 400, "invalid_request", field)


@pytest.mark.parametrize("field", ["id", "version", "created_at", "key_source", "Issuer", "jwksUri"])
def test_unknown_fields_are_refused_by_their_name(broker, field):
    is_refused(broker, lambda: post(broker, {**body(), field: "x"}), 400, "invalid_request", field)
    shown = made(broker)
    is_refused(broker, lambda: patch(broker, shown, **{field: "x"}), 400, "invalid_request", field)
    is_refused(broker, lambda: post(broker, body(claims={field: "/x"})), 400, "invalid_request", "claims", field)


# --- reading, changing, deleting


def test_unknown_issuer_is_not_found(broker):
    path = f"{ISSUERS}/iss_{'0' * 32}"
    is_error(broker.admin("GET", path), 404, "issuer_not_found")
    is_error(broker.admin("PATCH", path, json={"active": False}), 404, "issuer_not_found")
    is_error(broker.admin("DELETE", path), 404, "issuer_not_found")
    # What is wrong by itself is told first.
    is_error(broker.admin("PATCH", path, json={"typ": "a b"}), 400, "invalid_request", "typ")


def test_patch_changes_what_it_names_and_nothing_else(broker):
    state = made(broker, typ="jwt", max_age_seconds=60, claims={"user_id": "/uid", "tenant_id": "/tid"})
    changes = [
        {"algorithms": ["PS256", "ES256"]},
        {"audience": "other"},
        {"typ": "at+jwt"},
        {"max_age_seconds": 61},
        {"one_time_jti": True},
        {"active": False},
        {"active": True, "audience": "third"},
    ]
    for change in changes:
        reply = patch(broker, state, **change)
        assert reply.status_code == 200, reply.text
        shown = reply.json()
        assert shown == {**state, **change, "updated_at": shown["updated_at"]}
        assert shown["updated_at"] >= state["updated_at"]
        state = shown
    claims = patch(broker, state, claims={"user_id": "/oid"}).json()["claims"]
    assert claims == {**state["claims"], "user_id": "/oid"}
    taken_away = patch(broker, state, typ="", max_age_seconds=0).json()
    assert "typ" not in taken_away and "max_age_seconds" not in taken_away
    assert broker.admin("GET", path_of(state)).json() == taken_away


def test_new_source_of_keys_replaces_the_old_one(broker):
    shown = made(broker)
    for change, source in (
        ({"jwks_uri": "https://a.example/k"}, "jwks_uri"), ({"discovery": True}, "discovery"),
        ({"jwks": {"keys": [Key("EdDSA").jwk()]}, "discovery": False}, "jwks"), ({"jwks_uri": "https://b.example/k"}, "jwks_uri"),
    ):  # fmt: skip
        shown = patch(broker, shown, **change).json()
        assert shown["key_source"] == source
        assert {"jwks", "jwks_uri", "discovery"} & set(shown) == {source}
    for change in ({"discovery": False}, {"jwks_uri": "https://a.example/k", "discovery": True}):
        is_refused(broker, lambda c=change: patch(broker, shown, **c), 400, "invalid_request", "one source")


PATCH_REFUSED = [
    ({}, "invalid_request", "nothing to change"),
    ({"issuer": "https://other.example"}, "invalid_request", "issuer"),
    ({"jwks": {"keys": []}}, "invalid_jwks", "jwks"),
    ({"jwks": {"keys": [KEY.private_jwk()]}}, "invalid_jwks", "jwks"),
    ({"jwks_uri": "http://a.example"}, "invalid_request", "jwks_uri"),
    ({"jwks_uri": "https://192.168.0.1/k"}, "invalid_request", "jwks_uri"),
    ({"algorithms": []}, "invalid_request", "algorithms"),
    ({"algorithms": ["none"]}, "invalid_request", "algorithms"),
    ({"audience": ""}, "invalid_request", "audience"),
    ({"typ": "dpop+jwt"}, "invalid_request", "typ"),
    ({"claims": {"user_id": "sub"}}, "invalid_request", "claims"),
    ({"max_age_seconds": -1}, "invalid_request", "max_age_seconds"),
    ({"active": False, "max_age_seconds": 31536001}, "invalid_request", "max_age_seconds"),
]


@pytest.mark.parametrize("change,code,word", PATCH_REFUSED)
def test_patch_obeys_the_rules_of_registration(broker, change, code, word):
    shown = made(broker)
    is_refused(broker, lambda: patch(broker, shown, **change), 400, code, word)


def test_deleted_issuer_is_gone_and_may_be_registered_anew(broker):
    first = made(broker)
    reply = broker.admin("DELETE", path_of(first))
    assert (reply.status_code, reply.json()) == (200, {"id": first["id"], "status": "deleted"})
    is_error(broker.admin("GET", path_of(first)), 404, "issuer_not_found")
    is_error(broker.admin("DELETE", path_of(first)), 404, "issuer_not_found")
    second = made(broker, issuer=first["issuer"])
    assert second["id"] != first["id"]


def test_list_holds_all_in_order_without_their_key_sets(broker):
    shown = [made(broker), made(broker, active=False), post(broker, from_uri()).json()]
    reply = broker.admin("GET", ISSUERS)
    assert reply.status_code == 200 and set(reply.json()) == {"issuers"}
    listed = reply.json()["issuers"]
    expected = [{k: v for k, v in i.items() if k != "jwks"} for i in sorted(shown, key=lambda i: i["issuer"])]
    assert listed == expected
    is_error(broker.admin("GET", f"{ISSUERS}?limit=1"), 400, "invalid_request", "limit")


def test_there_is_room_for_100(broker):
    bodies = [from_uri() for _ in range(103)]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda b: post(broker, b), bodies))
    assert sorted(r.status_code for r in replies) == [201] * 100 + [400] * 3
    for reply in (r for r in replies if r.status_code == 400):
        is_error(reply, 400, "invalid_request", "100 issuers")
    listed = broker.admin("GET", ISSUERS).json()["issuers"]
    assert len(listed) == 100
    # What is there can be changed, and makes room when it goes.
    assert patch(broker, listed[0], active=False).status_code == 200
    assert broker.admin("DELETE", path_of(listed[0])).status_code == 200
    assert post(broker, from_uri()).status_code == 201


def test_largest_registers_can_be_read_and_decided_on(broker, agent):
    """100 issuers and 1000 scopes, all as long as they may be: every worker reads them to issue a session."""
    kept = "discovery, algorithms, audience, claim_user_id, claim_tenant_id, claim_clearance, claim_permissions"
    try:
        made(broker, claims=dict.fromkeys(ALL_DEFAULTS, "/" + "x" * 255), audience="x" * 512, typ="x" * 64)
        broker.sql(
            f"INSERT INTO nexus.issuers (id, issuer, jwks, typ, {kept}, one_time_jti, active) SELECT 'iss_' || md5(g::text),"
            f" rpad('https://' || g || '.example/', 512, 'x'), rpad(jwks, 65536), typ, {kept},"
            " false, true FROM nexus.issuers, generate_series(1, 99) g"
        )
        broker.sql("UPDATE nexus.issuers SET jwks = rpad(jwks, 65536)")
        broker.sql(
            "INSERT INTO nexus.scopes (name, description)"
            " SELECT rpad('fill:' || g, 128, 'x'), repeat('x', 1024) FROM generate_series(1, 1000) g"
        )
        broker.sql("UPDATE nexus.policy_revision SET revision = revision + 1")
        assert len(broker.admin("GET", ISSUERS).json()["issuers"]) == 100
        a = agent()
        for _ in range(40):
            a.session()
    finally:
        broker.sql("DELETE FROM nexus.scopes WHERE name LIKE 'fill:%'")
        broker.sql("UPDATE nexus.policy_revision SET revision = revision + 1")


# --- who, and what is recorded


@pytest.mark.parametrize("method,one", [("POST", False), ("GET", False), ("GET", True), ("PATCH", True), ("DELETE", True)])
def test_roles(broker, method, one):
    shown = made(broker)
    path = path_of(shown) if one else ISSUERS
    payload = {"json": {"active": False} if one else body()} if method in ("POST", "PATCH") else {}
    allowed = {"admin", "auditor"} if method == "GET" else {"admin"}
    is_refused(broker, lambda: broker.call(method, path, **payload), 401, "missing_api_key")
    is_refused(broker, lambda: broker.call(method, path, key="nxk_" + "A" * 43, **payload), 403, "invalid_api_key")
    for role in ("gateway", "auditor", "admin"):
        key = getattr(broker, f"{role}_key")
        if role in allowed:
            assert broker.call(method, path, key=key, **payload).status_code in (200, 201)
        else:
            is_refused(broker, lambda k=key: broker.call(method, path, key=k, **payload), 403, "access_denied")


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_each_change_has_its_leaf_and_raises_the_revision_by_one(broker):
    def of(issuer_id):
        return [x.body for x in broker.leaves("kind = 'admin'") if x.body.get("target") == issuer_id]

    _, revision, _ = stored(broker)
    sent = body(typ="jwt", algorithms=["ES256", "PS256"], max_age_seconds=5)
    shown = post(broker, sent).json()
    patch(broker, shown, jwks_uri="https://keys.example/k?v=2", active=False, typ="", claims={"user_id": "/\u00e4 b"})
    broker.admin("DELETE", path_of(shown))
    assert stored(broker)[1] == revision + 3
    first, second, third = sorted(of(shown["id"]), key=lambda b: b["t"])
    assert [x["op"] for x in (first, second, third)] == ["issuer.register", "issuer.update", "issuer.delete"]
    assert {x["actor"] for x in (first, second, third)} == {"admin"} and all(x["req_id"] for x in (first, second, third))
    text = json.dumps(shown["jwks"], separators=(",", ":"))
    claims = "user_id {}\ntenant_id /tenant_id\nclearance_level /clearance_level\npermissions /permissions\n"
    before, after = sha256(claims.format("/sub")), sha256(claims.format("/\u00e4 b"))
    assert first["detail"] == (
        f"issuer={sent['issuer']} active=true keys=jwks jwks_sha256={sha256(text)} algorithms=ES256,PS256"
        f" audience={sent['audience']} max_age_seconds=5 one_time_jti=false typ=jwt claims_sha256={before}"
    )
    assert second["detail"] == (
        f"issuer={sent['issuer']} active=false keys=jwks_uri jwks_uri=https://keys.example/k?v=2 algorithms=ES256,PS256"
        f" audience={sent['audience']} max_age_seconds=5 one_time_jti=false claims_sha256={after}"
    )
    assert "detail" not in third
    assert KEY.jwk()["x"] not in first["detail"]
    audit.check(broker.leaves())


def test_changes_at_once_are_all_in_or_refused(broker, broker_factory):
    """Each names another field: with a version of their own none undoes another."""
    other = broker_factory()
    shown = made(broker)
    changes = [{"audience": "new"}, {"max_age_seconds": 77}, {"one_time_jti": True}, {"algorithms": ["EdDSA"]}]
    _, revision, leaves = stored(broker)
    barrier = threading.Barrier(len(changes))

    def work(k):
        barrier.wait()
        return patch((broker, other)[k % 2], shown, **changes[k])

    with ThreadPoolExecutor(len(changes)) as pool:
        replies = list(pool.map(work, range(len(changes))))
    done = [c for c, r in zip(changes, replies) if r.status_code == 200]
    assert done and all(r.status_code in (200, 409) for r in replies)
    now = broker.admin("GET", path_of(shown)).json()
    for change in done:
        assert now.items() >= change.items()
    assert stored(broker)[1:] == (revision + len(done), leaves + len(done))


# --- the command line


@pytest.fixture
def env(broker):
    return {k: v for k, v in broker.env.items() if k.startswith("NEXUS_")}


def test_life_of_an_issuer_on_the_command_line(broker, env, tmp_path):
    issuer, file = url(), tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [Key("EdDSA", kid="2026").jwk(), KEY.jwk()]}))
    words = ["--issuer", issuer, "--audience", "aud", "--algorithm", "EdDSA", "--algorithm", "ES256"]
    claims = ["--claim-user-id", "/oid", "--claim-tenant-id", "/tid", "--claim-clearance-level", "/lvl", "--claim-permissions", "/scp"]
    more = ["--typ", "JWT", "--max-age", "60", "--one-time-jti", "--inactive"]
    shown = ok("issuers", "add", *words, "--jwks-file", file, *claims, *more, "--json", env=env).json()
    assert shown == broker.admin("GET", path_of(shown)).json()
    assert (shown["issuer"], shown["audience"], shown["algorithms"], shown["typ"]) == (issuer, "aud", ["EdDSA", "ES256"], "jwt")
    assert shown["claims"] == {"user_id": "/oid", "tenant_id": "/tid", "clearance_level": "/lvl", "permissions": "/scp"}
    assert (shown["max_age_seconds"], shown["one_time_jti"], shown["active"]) == (60, True, False)
    assert [k["kid"] for k in shown["jwks"]["keys"]] == ["2026", KEY.kid]

    text = ok("issuers", "get", shown["id"], env=env).stdout.decode()
    for word in (shown["id"], issuer, "2026", "/oid", "EdDSA ES256"):
        assert word in text
    [row] = [r for r in ok("issuers", "list", env=env).stdout.decode().splitlines() if issuer in r]
    assert shown["id"] in row and "jwks" in row and " no " in row
    assert issuer in [i["issuer"] for i in ok("issuers", "list", "--json", env=env).json()["issuers"]]

    away = ["--no-typ", "--no-max-age", "--no-one-time-jti", "--active", "--jwks-uri", "https://keys.example/k"]
    changed = ok("issuers", "update", shown["id"], *away, "--json", env=env).json()
    assert "typ" not in changed and "max_age_seconds" not in changed and changed["one_time_jti"] is False
    assert changed["active"] is True and changed["key_source"] == "jwks_uri" and changed["claims"] == shown["claims"]
    again = ok("issuers", "update", shown["id"], "--discovery", "--claim-user-id", "/sub", "--json", env=env).json()
    assert again["key_source"] == "discovery" and again["claims"] == {**shown["claims"], "user_id": "/sub"}
    assert b"deleted" in ok("issuers", "remove", shown["id"], env=env).stdout
    fails(REFUSED, "issuers", "get", shown["id"], env=env, says=["issuer_not_found", "request id"])


def test_private_members_stay_in_their_file(broker, env, tmp_path):
    file = tmp_path / "keys.json"
    before = stored(broker)
    words = ["issuers", "add", "--issuer", url(), "--audience", "a", "--algorithm", "ES256", "--jwks-file", file]
    file.write_text(json.dumps(KEY.private_jwk()))
    fails(UNAVAILABLE, *words, env=env, says=["cannot use the keys of", "private"])
    assert stored(broker) == before
    file.write_text(json.dumps({**KEY.jwk(), "note": "planted-surplus"}))
    assert "note" not in ok(*words, "--json", env=env).json()["jwks"]["keys"][0]


def test_command_lines_that_are_refused(broker, env, tmp_path):
    add = ["issuers", "add", "--issuer", url(), "--audience", "a", "--algorithm", "ES256"]
    fails(USAGE, *add, env=env, says=["--jwks-file", "--jwks-uri", "--discovery"])
    fails(USAGE, *add, "--discovery", "--jwks-uri", "https://a.example", env=env, says="one of")
    fails(USAGE, "issuers", "add", "--discovery", "--audience", "a", "--algorithm", "ES256", env=env, says="--issuer")
    fails(UNAVAILABLE, *add, "--jwks-file", tmp_path / "none", env=env, says="none")
    fails(REFUSED, *add, "--discovery", "--typ", "dpop+jwt", env=env, says="typ")
    fails(USAGE, "issuers", "update", "iss_x", env=env, says="nothing to change")
    fails(USAGE, "issuers", "update", "iss_x", "--active", "--inactive", env=env, says="not both")
    fails(USAGE, "issuers", "update", "iss_x", "--discovery", "--jwks-uri", "https://a.example", env=env, says="one place")
    auditor = private_file(tmp_path / "auditor", broker.auditor_key)
    ok("issuers", "list", "--api-key-file", auditor, env=env)
    fails(REFUSED, *add, "--discovery", "--api-key-file", auditor, env=env, says="access_denied")
