# SPDX-License-Identifier: Apache-2.0
"""/providers, /v1/providers and `nexus providers`: third parties, with every rule and code."""

import base64
import hashlib
import json
import re
import secrets
import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from cliprogram import REFUSED, UNAVAILABLE, USAGE, fails, ok, private_file
from lib import audit
from lib.keys import b64u
from lib.stack import running_stack
from lib.verify import is_error

FAMILIES = ["/providers", "/v1/providers"]
PROVIDERS = "/providers"
STATIC_TYPES = ["api_key", "basic_auth", "header", "query_param", "hmac_payload", "aws_sigv4"]
RESERVED = [
    "client_id", "redirect_uri", "response_type", "state", "scope", "code_challenge", "code_challenge_method", "nonce",
    "resource", "request", "request_uri", "client_secret",
]  # fmt: skip
NOBODY = "12345678-1234-4123-8123-123456789abc"


def name():
    return f"p-{secrets.token_hex(8)}"


def profile(**changes):
    members = {
        "name": name(), "client_id": "the-client", "client_secret": "the-secret",
        "auth_url": "https://acme.example/authorize", "token_url": "https://acme.example/token", **changes,
    }  # fmt: skip
    return {k: v for k, v in members.items() if v is not None}


def keyed(**changes):
    """Of a type that needs nothing but a name."""
    return {"name": name(), "auth_type": "api_key", **changes}


def post(broker, members, base=PROVIDERS, **more):
    return broker.admin("POST", base, json={"profile": members}, **more)


def path_of(provider, base=PROVIDERS):
    return f"{base}/{provider if isinstance(provider, str) else provider['id']}"


def get(broker, provider, base=PROVIDERS):
    reply = broker.admin("GET", path_of(provider, base))
    assert reply.status_code == 200, reply.text
    return reply.json()


def made(broker, members, base=PROVIDERS):
    reply = post(broker, members, base)
    assert reply.status_code == 201, reply.text
    assert set(reply.json()) == {"id", "message"}
    return get(broker, reply.json()["id"], base)


def patch(broker, provider, /, **changes):
    return broker.admin("PATCH", path_of(provider), json=changes)


def put(broker, provider, members):
    return broker.admin("PUT", path_of(provider), json=members)


def stored(broker):
    """Everything of the register, and what a change of it must add to."""
    return broker.sql("SELECT * FROM nexus.providers ORDER BY id"), len(broker.leaves("kind = 'admin'"))


def is_refused(broker, reply, status, code, *words):
    """reply is a function, since nothing may have changed after it."""
    before = stored(broker)
    is_error(reply(), status, code, *words)
    assert stored(broker) == before


def row_of(broker, provider):
    columns = "dek_kek, dek_wrapped, client_secret_sealed, client_secret_version, client_secret_fingerprint"
    [row] = broker.sql(f"SELECT {columns} FROM nexus.providers WHERE id = %s", provider["id"])
    return dict(zip(columns.split(", "), row))


# --- registration


@pytest.mark.parametrize("base", FAMILIES)
def test_provider_is_shown_as_it_was_registered(broker, base):
    sent = {
        "name": name(),
        "description": "Mail of Acme \u00e4",
        "category": "mail",
        "auth_type": "oauth2",
        "auth_header": "client_secret_basic",
        "client_id": "the client",
        "client_secret": "the secret ~",
        "auth_url": "https://acme.example/authorize?prompt=consent",
        "token_url": "https://acme.example/token?v=2",
        "issuer": "https://acme.example/tenant",
        "enable_discovery": False,
        "scopes": ["mail.read", "https://acme.example/mail.send"],
        "api_base_url": "https://api.acme.example/v1",
        "user_info_endpoint": "https://acme.example/me?fields=id",
        "params": {
            "access_type": "offline", "skip_scope_on_auth": True, "skip_scope_on_exchange": False, "token_request_format": "json",
            "revocation_endpoint": "https://acme.example/revoke",
            "auth_strategy": {"type": "header", "config": {"header_name": "X-Token", "credential_field": "access_token"}},
            "credential_schema": {"type": "object", "properties": {"\u00fc": {"minLength": 1}}, "x": None},
            "validation": {"skip": False, "failure_status": [401, 403], "failure_body_contains": "no", "success_body_contains": "yes"},
        },
        "downscope": "refresh",
        "allow_full_token": True,
    }  # fmt: skip
    reply = post(broker, sent, base)
    assert reply.status_code == 201 and set(reply.json()) == {"id", "message"}, reply.text
    id = reply.json()["id"]
    assert str(uuid.UUID(id)) == id and uuid.UUID(id).version == 4 and uuid.UUID(id).variant == uuid.RFC_4122
    shown = get(broker, id, base)
    assert shown["created_at"] == shown["updated_at"] and shown["created_at"].endswith("Z")
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", shown["client_secret_fingerprint"])
    expected = {k: v for k, v in sent.items() if k != "client_secret"}
    extra = {"id", "created_at", "updated_at", "client_secret_fingerprint"}
    assert {k: v for k, v in shown.items() if k not in extra} == expected
    for other in FAMILIES:
        assert get(broker, id.upper(), other) == shown


def test_what_is_not_said_has_its_default(broker):
    shown = made(broker, keyed())
    texts = ["description", "category", "auth_header", "client_id", "auth_url", "token_url", "issuer", "api_base_url", "user_info_endpoint"]
    assert {k: shown[k] for k in texts} == dict.fromkeys(texts, "")
    assert (shown["scopes"], shown["params"], shown["downscope"]) == ([], {}, "none")
    assert shown["enable_discovery"] is False and shown["allow_full_token"] is False
    assert "client_secret_fingerprint" not in shown
    for auth_type in ({}, {"auth_type": ""}, {"auth_type": "oauth2"}):
        assert made(broker, profile(**auth_type))["auth_type"] == "oauth2"


@pytest.mark.parametrize("auth_type", STATIC_TYPES)
def test_other_types_need_a_name_alone(broker, auth_type):
    shown = made(broker, {"name": name(), "auth_type": auth_type})
    assert shown["auth_type"] == auth_type
    # What clients fill in with nothing counts as left out.
    blank = {"client_id": "", "client_secret": "", "auth_url": "", "token_url": "", "issuer": "", "auth_header": "", "scopes": []}
    assert "client_secret_fingerprint" not in made(broker, {"name": name(), "auth_type": auth_type, **blank})


def test_discovery_takes_the_place_of_the_endpoints(broker):
    found = {"enable_discovery": True, "issuer": "https://acme.example"}
    shown = made(broker, profile(**found))
    assert (shown["auth_url"], shown["token_url"], shown["issuer"]) == ("", "", found["issuer"])
    assert made(broker, profile(**found, auth_url=None, token_url=None))["enable_discovery"] is True


@pytest.mark.parametrize("base", FAMILIES)
def test_bodies_of_a_registration(broker, base):
    for body in ({}, {"other": {}}):
        reply = broker.admin("POST", base, json=body)
        code = "invalid_request" if body else "missing_profile"
        is_error(reply, 400, code, "other" if body else "profile")
    is_error(broker.admin("POST", base, json={"profile": keyed(), "id": "x"}), 400, "invalid_request", "id")
    is_error(broker.admin("POST", base, json={"profile": "x"}), 400, "invalid_request", "profile")
    is_error(broker.admin("POST", base, json=[]), 400, "invalid_json")
    # As a bare profile it is no registration.
    is_error(broker.admin("POST", base, json=keyed()), 400, "invalid_request", "name")
    headers = {"Content-Type": "application/json"}
    is_error(broker.admin("POST", base, data=b'{"profile": {', headers=headers), 400, "invalid_json")
    is_error(broker.admin("POST", base, data=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")


def test_name_belongs_to_one_provider(broker):
    first, second = made(broker, keyed()), made(broker, profile())
    is_refused(broker, lambda: post(broker, profile(name=first["name"])), 400, "provider_exists", first["name"])
    is_refused(broker, lambda: post(broker, keyed(name=first["name"]), "/v1/providers"), 400, "provider_exists")
    is_refused(broker, lambda: patch(broker, second, name=first["name"]), 400, "provider_exists", first["name"])
    is_refused(broker, lambda: put(broker, second, profile(name=first["name"])), 400, "provider_exists")
    assert patch(broker, first, name=first["name"]).status_code == 200


# Rules that POST, PUT and PATCH share: what is sent, the code, words of the message.
URLS = ["auth_url", "token_url", "issuer", "api_base_url", "user_info_endpoint"]
BAD_URLS = [
    "x", "ftp://a.example", "http://a.example/x", "https://a.example/#x", "https://u:p@a.example/", "https://a.example:x/",
    "file:///etc/passwd", "https://127.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/",
    "https://a.example/" + "x" * 1007, "https://a b.example/", "https://100.64.0.1/", "http://localhost/",
]  # fmt: skip


def strategy(type, **config):
    return {"params": {"auth_strategy": {"type": type, "config": config}}}


RULES = [
    *[({"name": bad}, "invalid_provider_name", ["name"]) for bad in ["Acme", "a b", "a_b", "a.b", "\u00e4", "x" * 64]],
    *[({field: bad}, "invalid_request", [field]) for field in URLS for bad in BAD_URLS],
    *[({"auth_url": f"https://a.example/x?{p}=1"}, "invalid_request", ["auth_url", p]) for p in RESERVED],
    ({"auth_url": "https://a.example/x?a&STATE"}, "invalid_request", ["auth_url", "state"]),
    ({"auth_url": "https://a.example/x?st%61te=1"}, "invalid_request", ["auth_url"]),
    ({"issuer": "https://a.example/?q"}, "invalid_request", ["issuer"]),
    ({"api_base_url": "https://a.example/?q"}, "invalid_request", ["api_base_url"]),
    ({"user_info_endpoint": "https://{sub}.example/"}, "invalid_request", ["user_info_endpoint"]),
    ({"user_info_endpoint": "/{a b}"}, "invalid_request", ["user_info_endpoint"]),
    ({"user_info_endpoint": "//a/}"}, "invalid_request", ["user_info_endpoint"]),
    ({"client_id": None}, "invalid_request", ["client_id"]),
    ({"client_id": "\u00e4"}, "invalid_request", ["client_id"]),
    ({"client_id": "x" * 513}, "invalid_request", ["client_id"]),
    ({"client_secret": "\u00e4"}, "invalid_request", ["client_secret"]),
    ({"client_secret": "a\nb"}, "invalid_request", ["client_secret"]),
    ({"client_secret": "x" * 4097}, "invalid_request", ["client_secret"]),
    ({"auth_url": None}, "invalid_request", ["auth_url"]),
    ({"token_url": None}, "invalid_request", ["token_url"]),
    ({"auth_url": None, "token_url": None, "issuer": "https://a.example"}, "invalid_request", ["auth_url", "enable_discovery"]),
    ({"enable_discovery": True}, "invalid_request", ["issuer"]),
    ({"auth_type": "saml"}, "invalid_request", ["auth_type", "saml is not served"]),
    ({"auth_type": "OAuth2"}, "invalid_request", ["auth_type"]),
    ({"auth_type": "mtls"}, "invalid_request", ["auth_type"]),
    ({"auth_header": "X-Api-Key"}, "invalid_request", ["auth_header"]),
    ({"auth_type": "api_key", "auth_header": "X Api"}, "invalid_request", ["auth_header"]),
    ({"auth_type": "api_key", "auth_header": "Host"}, "invalid_request", ["auth_header"]),
    ({"description": "x" * 1025}, "invalid_request", ["description"]),
    ({"category": "x" * 101}, "invalid_request", ["category"]),
    ({"downscope": "both"}, "invalid_request", ["downscope"]),
    ({"scopes": ["a b"]}, "invalid_scope", ["scopes"]),
    ({"scopes": [""]}, "invalid_scope", ["scopes"]),
    ({"scopes": [f"s{i}" for i in range(65)]}, "invalid_scope", ["scopes"]),
    *[({"params": {p: "x"}}, "invalid_request", ["params", p]) for p in RESERVED],
    ({"params": {"Redirect_URI": "https://evil.example"}}, "invalid_request", ["params", "Redirect_URI"]),
    ({"params": {"access_type": 1}}, "invalid_request", ["params", "access_type"]),
    ({"params": {"prompt": True}}, "invalid_request", ["params", "prompt"]),
    ({"params": {"a&b": "x"}}, "invalid_request", ["params", "a&b"]),
    ({"params": {"p": "x" * 1025}}, "invalid_request", ["params", "1024"]),
    ({"params": {f"p{i}": "x" for i in range(33)}}, "invalid_request", ["params", "32"]),
    ({"params": {"credential_schema": {"x": "y" * 16384}}}, "invalid_request", ["params", "16384"]),
    ({"params": {"skip_scope_on_auth": "yes"}}, "invalid_request", ["params", "skip_scope_on_auth"]),
    ({"params": {"token_request_format": "xml"}}, "invalid_request", ["params", "token_request_format"]),
    ({"params": {"revocation_endpoint": "https://127.0.0.1/r"}}, "invalid_request", ["params", "revocation_endpoint"]),
    ({"params": {"revocation_endpoint": "http://a.example/r"}}, "invalid_request", ["params", "revocation_endpoint"]),
    ({"params": {"revocation_endpoint": ["https://a.example"]}}, "invalid_request", ["params", "revocation_endpoint"]),
    ({"params": {"credential_schema": []}}, "invalid_request", ["params", "credential_schema"]),
    ({"params": {"validation": {"skip": 1}}}, "invalid_request", ["params", "skip"]),
    ({"params": {"validation": {"failure_status": [99]}}}, "invalid_request", ["params", "failure_status"]),
    ({"params": {"validation": {"timeout": 3}}}, "invalid_request", ["params", "timeout"]),
    ({"params": {"auth_strategy": {"type": "saml"}}}, "invalid_request", ["params", "auth_strategy"]),
    ({"params": {"auth_strategy": {"config": {}}}}, "invalid_request", ["params", "type"]),
    ({"params": {"auth_strategy": {"type": "header", "name": "x"}}}, "invalid_request", ["params", "name"]),
    (strategy("oauth2", header_name="x"), "invalid_request", ["params", "header_name"]),
    (strategy("header", header_name="a b"), "invalid_request", ["params", "header_name"]),
    (strategy("header", header_name="Transfer-Encoding"), "invalid_request", ["params", "header_name"]),
    (strategy("header", value_prefix="a\r\nb"), "invalid_request", ["params", "value_prefix"]),
    (strategy("query_param"), "invalid_request", ["params", "param_name is missing"]),
    (strategy("basic_auth", username_field="a b"), "invalid_request", ["params", "username_field"]),
    (strategy("hmac_payload"), "invalid_request", ["params", "header_name is missing"]),
    (strategy("hmac_payload", header_name="X", algo="md5"), "invalid_request", ["params", "algo"]),
    (strategy("hmac_payload", header_name="X", encoding="raw"), "invalid_request", ["params", "encoding"]),
    (strategy("aws_sigv4", region="eu"), "invalid_request", ["params", "service is missing"]),
    (strategy("path", a="b"), "invalid_request", ["params"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def target(broker):
    """A provider that every refused change leaves as it is."""
    return made(broker, profile())


def test_what_registration_refuses(broker):
    before = stored(broker)
    for members, code, words in RULES:
        for base in FAMILIES:
            is_error(post(broker, profile(**members), base), 400, code, *words)
    assert stored(broker) == before


def test_replacing_obeys_the_rules_of_registration(broker, target):
    before = stored(broker)
    for members, code, words in RULES:
        for base in FAMILIES:
            is_error(broker.admin("PUT", path_of(target, base), json=profile(**members)), 400, code, *words)
    assert stored(broker) == before


def test_changing_obeys_the_rules_of_registration(broker, target):
    before = stored(broker)
    for members, code, words in RULES:
        change = {k: "" if v is None else v for k, v in members.items()}
        for base in FAMILIES:
            is_error(broker.admin("PATCH", path_of(target, base), json=change), 400, code, *words)
    # There is one already, which an empty one would take away.
    is_error(patch(broker, target, client_secret=""), 400, "invalid_request", "client_secret")
    is_error(patch(broker, target, name=""), 400, "invalid_provider_name", "name")
    assert stored(broker) == before


@pytest.mark.parametrize("secret", [None, ""])
def test_oauth2_is_not_registered_without_a_secret(broker, secret):
    is_refused(broker, lambda: post(broker, profile(client_secret=secret)), 400, "invalid_request", "client_secret")


def test_name_is_needed(broker):
    for members in (profile(name=None), keyed(name="")):
        is_refused(broker, lambda m=members: post(broker, m), 400, "invalid_provider_name", "name")


LONGEST = {
    "name": "x" * 63, "description": "x" * 1024, "category": "x" * 100, "client_id": "x" * 512, "client_secret": "x" * 4096,
    **{field: "https://a.example/" + "x" * 1006 for field in URLS}, "scopes": [f"{i}".zfill(128) for i in range(64)],
    "params": {f"p{i}": "x" * 64 for i in range(32)},
}  # fmt: skip


def test_longest_texts_are_accepted(broker):
    shown = made(broker, profile(**LONGEST))
    assert {k: shown[k] for k in LONGEST if k != "client_secret"} == {k: v for k, v in LONGEST.items() if k != "client_secret"}
    assert broker.admin("DELETE", path_of(shown)).status_code == 200


STRATEGIES = [
    ("oauth2", {}), ("path", {}), ("header", {}), ("header", {"header_name": "X-Key", "value_prefix": "Token ", "credential_field": "k"}),
    ("query_param", {"param_name": "key", "credential_field": "k"}), ("basic_auth", {"username_field": "u", "password_field": "p"}),
    ("hmac_payload", {"header_name": "X-Sig", "secret_field": "s", "algo": "sha1", "encoding": "base64"}),
    ("aws_sigv4", {"service": "s3", "region": "eu-central-1"}),
]  # fmt: skip


@pytest.mark.parametrize("type,config", STRATEGIES)
def test_each_strategy_is_accepted(broker, type, config):
    params = strategy(type, **config)["params"]
    assert made(broker, keyed(params=params))["params"] == params


def test_path_of_the_api_may_hold_fields(broker):
    assert made(broker, keyed(user_info_endpoint="/users/{account_id}?full=1"))["user_info_endpoint"] == "/users/{account_id}?full=1"


def test_loopback_is_accepted_by_the_switch_alone(broker, broker_factory):
    lenient = broker_factory({"NEXUS_INSECURE_LOOPBACK_FETCHES": "on"})
    urls = {field: "http://127.0.0.1:9/x" for field in URLS}
    shown = made(lenient, profile(**urls))
    # A broker that would refuse them now can still change the rest.
    assert patch(broker, shown, category="tests").json()["category"] == "tests"
    is_error(patch(broker, shown, token_url="http://127.0.0.1:9/y"), 400, "invalid_request", "token_url")


WRONG_TYPES = {
    **{field: [7, None, {}, []] for field in ["name", "description", "category", "auth_type", "auth_header", "client_id", "client_secret"]},
    **{field: [7, None] for field in [*URLS, "downscope"]},
    "scopes": ["a", None, [7], {"a": True}],
    "params": ["a", None, []],
    "enable_discovery": ["true", 1, None],
    "allow_full_token": ["true", 0, None],
}  # fmt: skip


def test_wrong_types_are_refused_by_the_fields_name(broker, target):
    before = stored(broker)
    for field, values in WRONG_TYPES.items():
        for value in values:
            is_error(post(broker, {**profile(), field: value}), 400, "invalid_request", field)
            is_error(put(broker, target, {**profile(), field: value}), 400, "invalid_request", field)
            is_error(patch(broker, target, **{field: value}), 400, "invalid_request", field)
    assert stored(broker) == before


@pytest.mark.parametrize("field", ["version", "Name", "clientSecret", "deleted_at", "saml_idp_entity_id", "dek_wrapped", "client_secret_sealed"])
def test_unknown_fields_are_refused_by_their_name(broker, target, field):
    is_refused(broker, lambda: post(broker, {**profile(), field: "x"}), 400, "invalid_request", field)
    is_refused(broker, lambda: put(broker, target, {**profile(), field: "x"}), 400, "invalid_request", field)
    is_refused(broker, lambda: patch(broker, target, **{field: "x"}), 400, "invalid_request", field)


def test_saml_with_its_fields_is_told_that_it_is_not_served(broker):
    saml = {"name": name(), "auth_type": "saml", "saml_idp_entity_id": "x", "saml_idp_sso_url": "https://a.example"}
    is_refused(broker, lambda: post(broker, saml), 400, "invalid_request", "saml is not served")


@pytest.mark.parametrize("field", ["id", "created_at", "client_secret_fingerprint"])
def test_what_is_shown_is_not_registered(broker, field):
    is_refused(broker, lambda: post(broker, {**profile(), field: "x"}), 400, "invalid_request", field)


# --- reading


@pytest.mark.parametrize("base", FAMILIES)
def test_unknown_providers_are_not_found_by_any_method(broker, base):
    before = stored(broker)
    path = f"{base}/{NOBODY}"
    is_error(broker.admin("GET", path), 404, "provider_not_found")
    is_error(broker.admin("PUT", path, json=profile()), 404, "provider_not_found")
    is_error(broker.admin("PATCH", path, json={"category": "x"}), 404, "provider_not_found")
    is_error(broker.admin("DELETE", path), 404, "provider_not_found")
    is_error(broker.admin("GET", f"{base}/by-name/{name()}"), 404, "provider_not_found")
    is_error(broker.admin("DELETE", f"{base}/by-name/{name()}"), 404, "provider_not_found")
    for id in ("x", NOBODY[:-1], NOBODY + "0", NOBODY.replace("-", "x"), "{" + NOBODY[1:], "health"):
        is_error(broker.admin("GET", f"{base}/{id}"), 400, "invalid_provider_id")
        is_error(broker.admin("PUT", f"{base}/{id}", json=profile()), 400, "invalid_provider_id")
        is_error(broker.admin("PATCH", f"{base}/{id}", json={"category": "x"}), 400, "invalid_provider_id")
        is_error(broker.admin("DELETE", f"{base}/{id}"), 400, "invalid_provider_id")
    assert stored(broker) == before


def test_lists(broker):
    oauth = made(broker, profile(scopes=["a", "b"], description="d", category="c", api_base_url="https://a.example", user_info_endpoint="/me"))
    key = made(broker, keyed())
    gone = made(broker, keyed())
    assert broker.admin("DELETE", path_of(gone)).status_code == 200
    reply = broker.admin("GET", "/providers")
    assert reply.status_code == 200
    listed = reply.json()
    assert {"id": oauth["id"], "name": oauth["name"]} in listed and {"id": key["id"], "name": key["name"]} in listed
    assert gone["name"] not in [p["name"] for p in listed]
    assert [p["name"] for p in listed] == sorted(p["name"] for p in listed)
    grouped = broker.admin("GET", "/providers/metadata").json()
    assert grouped["oauth2"][oauth["name"]] == {
        "id": oauth["id"], "api_base_url": "https://a.example", "user_info_endpoint": "/me", "scopes": ["a", "b"],
        "description": "d", "category": "c",
    }  # fmt: skip
    assert grouped["api_key"][key["name"]] == {
        "id": key["id"], "api_base_url": "", "user_info_endpoint": "", "scopes": [], "description": "", "category": "",
    }  # fmt: skip
    assert gone["name"] not in grouped["api_key"]
    assert sum(len(group) for group in grouped.values()) == len(listed)
    for path in ("/v1/providers", "/v1/providers/metadata"):
        assert broker.admin("GET", path).json() == grouped
    for path in ("/providers", "/providers/metadata", "/v1/providers"):
        is_error(broker.admin("GET", f"{path}?limit=1"), 400, "invalid_request", "limit")


@pytest.mark.parametrize("base", FAMILIES)
def test_by_name(broker, base):
    shown = made(broker, keyed())
    reply = broker.admin("GET", f"{base}/by-name/{shown['name'].upper()}")
    assert (reply.status_code, reply.json()) == (200, {"id": shown["id"]})
    assert broker.admin("GET", f"{base}/by-name/{shown['name']}").json() == {"id": shown["id"]}
    is_error(broker.admin("GET", f"{base}/by-name/%25"), 404, "provider_not_found")
    reply = broker.admin("DELETE", f"{base}/by-name/{shown['name'].upper()}")
    assert (reply.status_code, reply.json()) == (200, {"message": "Deleted 1 provider(s)"})
    is_error(broker.admin("GET", f"{base}/by-name/{shown['name']}"), 404, "provider_not_found")
    is_error(broker.admin("DELETE", f"{base}/by-name/{shown['name']}"), 404, "provider_not_found")


def test_other_methods(broker):
    reply = broker.admin("PUT", "/providers", json={})
    is_error(reply, 405, "method_not_allowed")
    assert reply.headers["Allow"] == "GET, HEAD, POST"
    assert broker.admin("HEAD", "/providers").status_code == 200


# --- changing


CHANGES = [
    {"description": "other"},
    {"category": "other"},
    {"auth_header": "Basic"},
    {"client_id": "other"},
    {"auth_url": "https://b.example/a"},
    {"token_url": "https://b.example/t"},
    {"issuer": "https://b.example"},
    {"scopes": ["x"]},
    {"api_base_url": "https://b.example/api"},
    {"user_info_endpoint": "/you"},
    {"params": {"prompt": "none"}},
    {"downscope": "exchange"},
    {"allow_full_token": True},
    {"description": "", "category": "", "auth_header": "", "issuer": "", "scopes": [], "params": {}, "downscope": "none",
     "allow_full_token": False, "api_base_url": "", "user_info_endpoint": ""},
]  # fmt: skip


def test_patch_changes_what_it_names_and_nothing_else(broker):
    state = made(broker, profile(description="d", params={"a": "b"}))
    kept = row_of(broker, state)
    for k, change in enumerate(CHANGES):
        reply = broker.admin("PATCH", path_of(state, FAMILIES[k % 2]), json=change)
        assert reply.status_code == 200, reply.text
        assert reply.json() == {**state, **change, "updated_at": reply.json()["updated_at"]}
        assert reply.json()["updated_at"] >= state["updated_at"]
        state = reply.json()
    new_name = name()
    assert patch(broker, state, name=new_name).json()["name"] == new_name
    assert get(broker, state) == {**state, "name": new_name, "updated_at": get(broker, state)["updated_at"]}
    assert row_of(broker, state) == kept
    is_refused(broker, lambda: patch(broker, state), 400, "invalid_request", "nothing to change")
    is_refused(broker, lambda: patch(broker, state, id=state["id"]), 400, "invalid_request", "nothing to change")


def test_patch_to_discovery_and_to_another_type(broker):
    shown = made(broker, profile())
    found = patch(broker, shown, enable_discovery=True, issuer="https://acme.example").json()
    assert (found["enable_discovery"], found["auth_url"], found["token_url"]) == (True, "", "")
    is_refused(broker, lambda: patch(broker, shown, enable_discovery=False), 400, "invalid_request", "auth_url")
    is_refused(broker, lambda: patch(broker, shown, issuer=""), 400, "invalid_request", "issuer")
    static = patch(broker, shown, auth_type="api_key", auth_header="X-Api-Key").json()
    assert (static["auth_type"], static["client_secret_fingerprint"]) == ("api_key", found["client_secret_fingerprint"])
    assert "client_secret_fingerprint" not in patch(broker, shown, client_secret="").json()
    is_refused(broker, lambda: patch(broker, shown, auth_type="oauth2", auth_header=""), 400, "invalid_request", "client_secret")
    assert patch(broker, shown, auth_type="oauth2", auth_header="", client_secret="x").status_code == 200


@pytest.mark.parametrize("base", FAMILIES)
def test_put_replaces_the_whole_but_the_secret(broker, base):
    shown = made(broker, profile(**{k: v for k, v in LONGEST.items() if k != "name"}, allow_full_token=True, downscope="refresh"))
    kept = row_of(broker, shown)
    members = profile(client_secret=None)
    reply = broker.admin("PUT", path_of(shown, base), json=members)
    assert reply.status_code == 200, reply.text
    replaced = reply.json()
    defaults = {
        "description": "", "category": "", "auth_type": "oauth2", "auth_header": "", "issuer": "", "enable_discovery": False, "scopes": [],
        "api_base_url": "", "user_info_endpoint": "", "params": {}, "downscope": "none", "allow_full_token": False,
    }  # fmt: skip
    fixed = {k: shown[k] for k in ("id", "created_at", "client_secret_fingerprint")}
    assert replaced == {**defaults, **members, **fixed, "updated_at": replaced["updated_at"]}
    assert get(broker, shown) == replaced and row_of(broker, shown) == kept
    # An empty secret is what a copy without one has; a new one takes the old one's place.
    assert put(broker, shown, {**members, "client_secret": ""}).json()["client_secret_fingerprint"] == fixed["client_secret_fingerprint"]
    assert put(broker, shown, {**members, "client_secret": "n"}).json()["client_secret_fingerprint"] != fixed["client_secret_fingerprint"]
    is_refused(broker, lambda: put(broker, shown, {}), 400, "invalid_provider_name", "name")
    is_refused(broker, lambda: put(broker, shown, {"profile": members}), 400, "invalid_request", "profile")


def test_what_is_read_can_be_written_back(broker):
    shown = made(broker, profile(params={"prompt": "consent", "credential_schema": {"z": 1, "a": [True, None]}}, scopes=["b", "a"]))
    for method in ("PUT", "PATCH"):
        reply = broker.admin(method, path_of(shown), json=shown)
        assert reply.status_code == 200, reply.text
        assert reply.json() == {**shown, "updated_at": reply.json()["updated_at"]}
    keyless = made(broker, keyed())
    assert put(broker, keyless, keyless).json() == {**keyless, "updated_at": get(broker, keyless)["updated_at"]}


@pytest.mark.parametrize("base", FAMILIES)
def test_deleted_provider_is_gone_and_its_name_free(broker, base):
    first = made(broker, profile())
    reply = broker.admin("DELETE", path_of(first, base))
    assert reply.status_code == 200 and reply.json()["id"] == first["id"]
    for check in (
        broker.admin("GET", path_of(first, base)), broker.admin("DELETE", path_of(first, base)), put(broker, first, profile()),
        patch(broker, first, category="x"), broker.admin("GET", f"{base}/by-name/{first['name']}"),
    ):  # fmt: skip
        is_error(check, 404, "provider_not_found")
    second = made(broker, keyed(name=first["name"]), base)
    assert second["id"] != first["id"]
    # The row stays for its connections, and what is sealed in it stays sealed.
    rows = broker.sql("SELECT id, deleted_at IS NULL FROM nexus.providers WHERE name = %s", first["name"])
    assert sorted(rows) == sorted([(first["id"], False), (second["id"], True)])


def test_changes_at_once_are_all_in_or_refused(broker, broker_factory):
    """Each names another field: with a version of their own none undoes another."""
    other = broker_factory()
    shown = made(broker, profile())
    changes = [{"category": "new"}, {"allow_full_token": True}, {"client_secret": "one"}, {"client_secret": "two"}]
    before = len(broker.leaves("kind = 'admin'"))
    barrier = threading.Barrier(len(changes))

    def work(k):
        barrier.wait()
        return patch((broker, other)[k % 2], shown, **changes[k])

    with ThreadPoolExecutor(len(changes)) as pool:
        replies = list(pool.map(work, range(len(changes))))
    done = [c for c, r in zip(changes, replies) if r.status_code == 200]
    assert done and all(r.status_code in (200, 409) for r in replies), [r.text for r in replies]
    now = get(broker, shown)
    for change in done:
        assert now.items() >= {k: v for k, v in change.items() if k != "client_secret"}.items()
    assert row_of(broker, shown)["client_secret_version"] == 1 + sum("client_secret" in c for c in done)
    assert len(broker.leaves("kind = 'admin'")) == before + len(done)


# --- who may


def test_roles(broker):
    shown = made(broker, profile())
    reads = [f"{base}{rest}" for base in FAMILIES for rest in ("", "/metadata", f"/{shown['id']}", f"/by-name/{shown['name']}")]
    for path in reads:
        for key in (broker.admin_key, broker.auditor_key, broker.gateway_key):
            assert broker.call("GET", path, key=key).status_code == 200
        is_error(broker.call("GET", path), 401, "missing_api_key")
        is_error(broker.call("GET", path, key="nxk_" + "x" * 43), 403, "invalid_api_key")
    before = stored(broker)
    for base in FAMILIES:
        writes = [
            ("POST", base, {"profile": profile()}), ("PUT", f"{base}/{shown['id']}", profile()),
            ("PATCH", f"{base}/{shown['id']}", {"category": "x"}), ("DELETE", f"{base}/{shown['id']}", None),
            ("DELETE", f"{base}/by-name/{shown['name']}", None),
        ]  # fmt: skip
        for method, path, body in writes:
            for key in (broker.auditor_key, broker.gateway_key):
                is_error(broker.call(method, path, key=key, json=body), 403, "access_denied")
            is_error(broker.call(method, path, json=body), 401, "missing_api_key")
    assert stored(broker) == before


# --- the record


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def hashes(shown):
    named = ["auth_header", "category", "client_id", "description", "scopes"]
    settings = json.dumps({k: shown[k] for k in named}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    params = json.dumps(shown["params"], separators=(",", ":"), ensure_ascii=False)
    return f"params_sha256={sha256(params)} settings_sha256={sha256(settings)}"


def test_every_change_is_on_record(broker):
    revocation = {"revocation_endpoint": "https://acme.example/revoke"}
    members = profile(
        issuer="https://acme.example", description="planted-description \u00e4\n", params={"b": "planted-param", "a": "\u00fc", **revocation},
        scopes=["s"], api_base_url="https://api.acme.example", user_info_endpoint="/{me}",
    )  # fmt: skip
    first = made(broker, members)
    second = patch(broker, first, auth_type="api_key", downscope="exchange", allow_full_token=True, client_secret="planted-secret").json()
    third = put(broker, first, keyed(name=first["name"])).json()
    assert broker.admin("DELETE", f"/v1/providers/by-name/{first['name']}").status_code == 200
    leaves = broker.leaves("convert_from(leaf, 'UTF8')::json ->> 'target' = %s", first["id"])
    assert [leaf.body["op"] for leaf in leaves] == ["provider.register", "provider.update", "provider.update", "provider.delete"]
    for leaf in leaves:
        assert leaf.kind == "admin" and leaf.body["actor"].startswith("admin"), leaf.body
        assert "planted" not in leaf.raw.decode()
    urls = (
        f"issuer={members['issuer']} auth_url={members['auth_url']} token_url={members['token_url']}"
        " revocation_endpoint=https://acme.example/revoke api_base_url=https://api.acme.example user_info_endpoint=/{me}"
    )
    assert leaves[0].body["detail"] == (
        f"name={first['name']} auth_type=oauth2 enable_discovery=false {urls} downscope=none allow_full_token=false"
        f" client_secret_version=1 client_secret_fingerprint={first['client_secret_fingerprint']} {hashes(first)}"
    )
    assert leaves[1].body["detail"] == (
        f"name={first['name']} auth_type=api_key enable_discovery=false {urls} downscope=exchange allow_full_token=true"
        f" client_secret_version=2 client_secret_fingerprint={second['client_secret_fingerprint']} {hashes(second)}"
    )
    assert leaves[2].body["detail"] == (
        f"name={first['name']} auth_type=api_key enable_discovery=false downscope=none allow_full_token=false"
        f" client_secret_version=2 client_secret_fingerprint={third['client_secret_fingerprint']} {hashes(third)}"
    )
    assert "detail" not in leaves[3].body
    broker.settle()
    audit.check(broker.leaves())


# --- the secret


def test_every_new_secret_is_a_new_version(broker):
    shown = made(broker, profile(client_secret="one"))
    first = row_of(broker, shown)
    assert first["client_secret_version"] == 1 and first["client_secret_fingerprint"] == shown["client_secret_fingerprint"]
    assert len(first["dek_kek"]) == 16 and b"one" not in first["client_secret_sealed"]
    patch(broker, shown, client_secret="two")
    second = row_of(broker, shown)
    patch(broker, shown, client_secret="one")
    third = row_of(broker, shown)
    assert [second["client_secret_version"], third["client_secret_version"]] == [2, 3]
    # The same secret has the same fingerprint, but is sealed anew; the data key stays.
    assert third["client_secret_fingerprint"] == first["client_secret_fingerprint"] != second["client_secret_fingerprint"]
    assert len({row["client_secret_sealed"] for row in (first, second, third)}) == 3
    assert first["dek_wrapped"] == second["dek_wrapped"] == third["dek_wrapped"]
    # Another provider's fingerprint of the same secret is another.
    twin = made(broker, profile(client_secret="one"))
    assert twin["client_secret_fingerprint"] != shown["client_secret_fingerprint"]
    assert row_of(broker, twin)["dek_wrapped"] != first["dek_wrapped"]


@pytest.fixture(scope="module")
def own():
    """A stack that tells all it can, and keeps no data key: each use of a secret asks the HSM."""
    with running_stack(NEXUS_LOG_LEVEL="debug", NEXUS_DEK_CACHE_S="0") as stack:
        yield stack


def told(stack):
    """Everything that it has told: logs, metrics, the whole database with byte strings in hexadecimal."""
    command = ["/usr/lib/postgresql/15/bin/pg_dump", "--inserts", stack.env["NEXUS_MIGRATE_DATABASE_URL"]]
    dump = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()
    logs = stack.log() + (stack.postgres.home / "postgres.log").read_text(errors="replace")
    return logs + requests.get(stack.metrics_url, timeout=10).text + dump


def test_client_secrets_are_nowhere(own):
    planted = [f"CANARY{secrets.token_hex(12)}" for _ in range(8)]
    replies = [post(own, profile(client_secret=planted[0]))]
    id = replies[0].json()["id"]
    bad = [
        {"client_secret": planted[2], "token_url": "http://a.example"}, {"client_secret": planted[3] + "\u00e4"},
        {"client_secret": planted[4] * 200}, {"client_secret": [planted[5]]}, {"client_secret": planted[6], "x": 1},
    ]  # fmt: skip
    replies.append(patch(own, id, client_secret=planted[1]))
    for change in bad:
        replies += [post(own, profile(**change)), patch(own, id, **change), put(own, id, profile(**change))]
    headers = {"Content-Type": "application/json"}
    replies.append(own.admin("PATCH", path_of(id), data=b'{"client_secret":"%b"' % planted[7].encode(), headers=headers))
    replies += [own.admin("GET", path_of(id, base)) for base in FAMILIES]
    replies += [own.admin("GET", path) for path in ("/providers", "/providers/metadata", "/v1/providers")]
    replies += [put(own, id, profile(name="canary-provider", client_secret=None)), own.admin("DELETE", path_of(id))]
    assert sorted({r.status_code for r in replies}) == [200, 201, 400]
    own.restart()
    haystack = told(own) + "".join(r.text + str(r.headers) for r in replies)
    for value in planted:
        raw = value.encode()
        for text in (value, raw.hex(), b64u(raw), base64.b64encode(raw).decode()):
            assert text not in haystack
    # What may be told is found, also inside the leaves: the search itself works.
    assert "canary-provider" in haystack and "name=canary-provider".encode().hex() in haystack


def test_without_the_hsm_nothing_new_is_sealed_and_the_rest_goes_on(own):
    shown, keyless = made(own, profile()), made(own, keyed())
    aside = own.token_dir.with_name("tokens-aside")
    own.token_dir.rename(aside)
    try:
        before = stored(own)
        fresh = profile()
        writes = [
            lambda: post(own, fresh), lambda: patch(own, shown, client_secret="x", category="no"),
            lambda: put(own, shown, profile()), lambda: patch(own, keyless, client_secret="x"),
        ]  # fmt: skip
        for write in writes:
            is_error(write(), 503, "hsm_unavailable")
        assert stored(own) == before
        # What is refused is refused as ever, without asking the HSM.
        is_error(post(own, profile(token_url="http://a.example")), 400, "invalid_request", "token_url")
        assert get(own, shown) == shown
        assert {"id": shown["id"], "name": shown["name"]} in own.admin("GET", "/providers").json()
        assert shown["name"] in own.admin("GET", "/v1/providers").json()["oauth2"]
        # Writes that seal nothing go on.
        assert patch(own, shown, category="changed").json()["category"] == "changed"
        assert put(own, shown, profile(client_secret=None)).status_code == 200
        assert post(own, keyed()).status_code == 201
        assert own.admin("DELETE", path_of(keyless)).status_code == 200
    finally:
        aside.rename(own.token_dir)
    own.wait_ready(30)
    assert post(own, fresh).status_code == 201
    assert row_of(own, shown)["client_secret_version"] == 1
    own.settle()
    audit.check(own.leaves())


# --- the command line


@pytest.fixture
def env(broker):
    return {k: v for k, v in broker.env.items() if k.startswith("NEXUS_")}


def test_life_of_a_provider_on_the_command_line(broker, env, tmp_path):
    mine, secret, params = name(), private_file(tmp_path / "secret", "cli-secret\n"), tmp_path / "params.json"
    revocation = {"revocation_endpoint": "https://a.example/r"}
    params.write_text(json.dumps({"access_type": "offline", "auth_strategy": {"type": "oauth2"}, **revocation}))
    words = ["--name", mine, "--description", "Mail", "--category", "mail", "--client-id", "the-client", "--client-secret-file", secret]
    urls = ["--auth-url", "https://a.example/a", "--token-url", "https://a.example/t"]
    about = ["--issuer", "https://a.example", "--api-base-url", "https://a.example/api", "--user-info-endpoint", "/me"]
    more = ["--auth-header", "client_secret_basic", "--scope", "b", "--scope", "a", "--downscope", "refresh", "--allow-full-token"]
    added = ok("providers", "add", *words, *urls, *about, *more, "--params-file", params, "--json", env=env).json()
    shown = ok("providers", "get", mine, "--json", env=env).json()
    assert shown == get(broker, added["id"]) == ok("providers", "get", added["id"].upper(), "--json", env=env).json()
    assert (shown["name"], shown["description"], shown["category"], shown["client_id"]) == (mine, "Mail", "mail", "the-client")
    assert [shown[f] for f in URLS] == ["https://a.example/a", "https://a.example/t", "https://a.example", "https://a.example/api", "/me"]
    assert (shown["auth_header"], shown["scopes"], shown["downscope"]) == ("client_secret_basic", ["b", "a"], "refresh")
    assert shown["allow_full_token"] is True and shown["params"] == json.loads(params.read_text())
    text = ok("providers", "get", mine, env=env).stdout.decode()
    for word in (added["id"], "b a", "https://a.example/r", shown["client_secret_fingerprint"]):
        assert word in text
    [row] = [r for r in ok("providers", "list", env=env).stdout.decode().splitlines() if mine in r]
    assert added["id"] in row and "oauth2" in row and "mail" in row
    assert ok("providers", "list", "--json", env=env).json()["oauth2"][mine]["id"] == added["id"]

    away = ["--description", "", "--no-scope", "--no-allow-full-token", "--downscope", "none", "--discovery"]
    changed = ok("providers", "update", mine, *away, "--json", env=env).json()
    assert (changed["description"], changed["scopes"], changed["allow_full_token"]) == ("", [], False)
    assert changed["enable_discovery"] is True and changed["auth_url"] == ""
    assert changed["client_secret_fingerprint"] == shown["client_secret_fingerprint"]
    back_again = ["--no-discovery", *urls, "--client-secret-file", private_file(tmp_path / "another", "2")]
    back = ok("providers", "update", added["id"], *back_again, "--json", env=env).json()
    assert back["enable_discovery"] is False and back["client_secret_fingerprint"] != shown["client_secret_fingerprint"]
    assert b"deleted" in ok("providers", "remove", mine, env=env).stdout
    fails(REFUSED, "providers", "get", mine, env=env, says=["provider_not_found", "nexus providers list", "request id"])
    fails(REFUSED, "providers", "remove", added["id"], env=env, says="provider_not_found")


def test_command_lines_that_are_refused(broker, env, tmp_path):
    before = stored(broker)
    add = ["providers", "add", "--name", name()]
    fails(USAGE, "providers", "add", env=env, says="--name")
    fails(USAGE, *add, "--client-secret", "x", env=env, says="--client-secret")
    fails(REFUSED, *add, env=env, says="client_id")
    fails(UNAVAILABLE, *add, "--client-secret-file", tmp_path / "none", env=env, says="none")
    open_to_all = tmp_path / "open"
    open_to_all.write_text("planted-secret")
    open_to_all.chmod(0o644)
    assert "planted" not in fails(UNAVAILABLE, *add, "--client-secret-file", open_to_all, env=env, says="client secret file").stderr
    fails(UNAVAILABLE, *add, "--client-secret-file", private_file(tmp_path / "empty", ""), env=env, says="empty")
    (tmp_path / "list.json").write_text("[]")
    fails(UNAVAILABLE, *add, "--params-file", tmp_path / "list.json", env=env, says="JSON object")
    fails(USAGE, "providers", "update", NOBODY, env=env, says="nothing to change")
    fails(USAGE, "providers", "update", NOBODY, "--discovery", "--no-discovery", env=env, says="not both")
    fails(USAGE, "providers", "update", NOBODY, "--scope", "a", "--no-scope", env=env, says="not both")
    fails(REFUSED, "providers", "update", NOBODY, "--category", "x", env=env, says="provider_not_found")
    auditor = private_file(tmp_path / "auditor", broker.auditor_key)
    ok("providers", "list", "--api-key-file", auditor, env=env)
    fails(REFUSED, *add, "--auth-type", "api_key", "--api-key-file", auditor, env=env, says="access_denied")
    assert stored(broker) == before
