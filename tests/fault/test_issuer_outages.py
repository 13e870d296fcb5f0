# SPDX-License-Identifier: Apache-2.0
"""Issuers that hang, lie, redirect, rotate or are away, as the broker fetches their keys (attacks J23, T06, S03, S07 to
S10)."""

import gzip
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import agents, loopback, obo
from lib.issuer import Issuer, oct_jwk
from lib.keys import Key, as_bytes
from lib.loopback import Hang, Loopback
from lib.verify import is_error
from lib.wait import until

AWAY = (503, "issuer_unavailable")
REFUSED = (401, "invalid_user_context_token")
SOURCES = ["jwks_uri", "discovery"]
PARALLEL = 32
# How long a failed fetch stands for the next one.
RETRY_S = 5


@pytest.fixture(scope="module")
def proxy():
    """Attack S07: it is named in the brokers' environment, and nobody may come."""
    with Loopback() as it:
        yield it
        assert it.requests == []


@pytest.fixture(scope="module")
def common(proxy):
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")
    return {"NEXUS_INSECURE_LOOPBACK_FETCHES": "on", **dict.fromkeys(names, proxy.url)}


@pytest.fixture(scope="module")
def patient(broker, common, tmp_path_factory):
    """Waits for issuers longer than a test lasts, PARALLEL times at once, and keeps their keys."""
    env = {
        **common,
        "NEXUS_FETCH_TIMEOUT_MS": 25000,
        "NEXUS_REQUEST_TIMEOUT_MS": 28000,
        "NEXUS_WORKERS": 2 * PARALLEL,
    }
    with obo.broker_beside(broker, tmp_path_factory.mktemp("patient"), **env) as it:
        yield it
        assert it.is_ready()


@pytest.fixture(scope="module")
def quick(broker, common, tmp_path_factory):
    """Gives issuers up soon, and keys too."""
    times = {"NEXUS_JWKS_CACHE_S": 1, "NEXUS_JWKS_STALE_S": 4, "NEXUS_REQUEST_TIMEOUT_MS": 20000}
    env = {**common, "NEXUS_FETCH_TIMEOUT_MS": 2500, "NEXUS_WORKERS": 4 * len(HANGS), **times}
    with obo.broker_beside(broker, tmp_path_factory.mktemp("quick"), **env) as it:
        yield it
        assert it.is_ready()


@pytest.fixture
def trust(patient):
    """trust(source, path="", ...): an issuer that both brokers trust for the length of the test."""
    with obo.trusted(patient) as add:
        yield lambda source, path="", **changes: add(Issuer(patient.issuer, path=path), source, **changes)


@pytest.fixture(scope="module")
def jane(patient):
    return agents.register(patient)


@pytest.fixture(scope="module")
def settled(patient):
    """An issuer whose keys need no fetch."""
    with obo.trusted(patient) as add:
        yield add(Issuer(patient.issuer))


def path_of(issuer, source):
    """What the broker asks for first."""
    return issuer.jwks_path if source == "jwks_uri" else issuer.discovery_path


def at_once(work, count=PARALLEL):
    """work() in that many threads, let go together."""
    barrier = threading.Barrier(count)

    def run(_):
        barrier.wait(20)
        return work()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# --- fetched once


@pytest.mark.parametrize("path", ["", "/tenant1"])
@pytest.mark.parametrize("source", SOURCES)
def test_keys_are_fetched_once(jane, trust, source, path):
    it = trust(source, path)
    for _ in range(3):
        obo.session(jane, it.token())
    assert it.count(it.jwks_path) == 1 and len(it.requests) == (1 if source == "jwks_uri" else 2)
    assert {request.method for request in it.requests} == {"GET"}
    assert not {"Authorization", "Cookie"} & set(it.requests[0].headers)


def test_metadata_where_rfc_8414_puts_it(jane, trust):
    it = trust("discovery", "/tenant1")
    it.misbehave(it.discovery_path, loopback.status(404))
    obo.session(jane, it.token())
    assert [request.path for request in it.requests] == [it.discovery_path, it.metadata_path, it.jwks_path]


@pytest.mark.parametrize("source", SOURCES)
def test_32_requests_at_once_make_one_fetch(jane, trust, source):
    """T06"""
    it = trust(source)
    assert Counter(r.status_code for r in at_once(lambda: obo.ask(jane, it.token()))) == {201: PARALLEL}
    assert it.count(it.jwks_path) == it.count(path_of(it, source)) == 1


def test_whoever_comes_during_a_fetch_waits_for_it(patient, jane, trust, settled):
    """And all others go on."""
    it = trust("jwks_uri")
    it.misbehave(it.jwks_path, hang := Hang())
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(obo.ask, jane, it.token()) for _ in range(8)]
        try:
            assert hang.arrived.wait(20)
            for _ in range(3):
                obo.session(jane, settled.token())
                jane.session()
            assert patient.is_ready()
            obo.session(jane, trust("jwks_uri").token())
        finally:
            hang.release.set()
        assert [w.result().status_code for w in waiting] == [201] * 8
    assert it.count(it.jwks_path) == 1


def test_unknown_kids_make_no_fetches(jane, trust):
    """T06. The keys were fetched less than a minute ago."""
    it = trust("jwks_uri")
    obo.session(jane, it.token())
    strangers = [Key("ES256") for _ in range(4)]
    began = time.monotonic()
    for stranger in strangers:
        for reply in at_once(lambda key=stranger: obo.ask(jane, it.token(key=key)), 8):
            is_error(reply, *REFUSED)
    assert it.count(it.jwks_path) == 1 + int((time.monotonic() - began) // 60)


@pytest.mark.parametrize("what", [{"exp": 1}, {"aud": "https://other.example"}, {"sub": None}])
def test_token_that_would_be_refused_anyway_makes_no_fetch(jane, trust, what):
    it = trust("jwks_uri")
    is_error(obo.ask(jane, it.token(claims=what)), *REFUSED)
    assert it.requests == []


@pytest.mark.slow
def test_unknown_kid_makes_one_fetch_a_minute(jane, trust):
    it = trust("jwks_uri")
    obo.session(jane, it.token())
    old = it.key
    it.rotate()
    until(lambda: obo.ask(jane, it.token()).status_code == 201, 90, "the new key is known")
    assert it.count(it.jwks_path) == 2
    is_error(obo.ask(jane, it.token(key=old)), *REFUSED)
    it.rotate()
    for _ in range(20):
        is_error(obo.ask(jane, it.token()), *REFUSED)
    assert it.count(it.jwks_path) == 2


# --- rotation and outage


@pytest.mark.parametrize("source", SOURCES)
def test_rotated_keys_are_found_and_the_old_ones_given_up(quick, jane, trust, source):
    it = trust(source)
    old = it.key
    obo.session(jane, it.token(), broker=quick)
    it.rotate(keep=True)
    until(lambda: obo.ask(jane, it.token(), broker=quick).status_code == 201, 20, "the new key is known")
    obo.session(jane, it.token(key=old), broker=quick)
    it.rotate()
    until(lambda: obo.ask(jane, it.token(), broker=quick).status_code == 201, 20, "the newest key is known")
    is_error(obo.ask(jane, it.token(key=old), broker=quick), *REFUSED)


def check_outage(quick, jane, it, path):
    obo.session(jane, it.token(), broker=quick)
    it.misbehave(path, loopback.status(500))
    stranger = Key("ES256")
    bridged = []

    def is_given_up():
        has_failed = it.count(path) > 1
        reply = obo.ask(jane, it.token(), broker=quick)
        if reply.status_code != 201:
            is_error(reply, *AWAY)
            return True
        if has_failed:
            bridged.append(reply)
            # Nobody can tell now whether the issuer has such a key.
            is_error(obo.ask(jane, it.token(key=stranger), broker=quick), *AWAY)
        return False

    until(is_given_up, 30, "the last good keys are too old")
    assert bridged
    it.behave()
    until(lambda: obo.ask(jane, it.token(), broker=quick).status_code == 201, RETRY_S + 15, "the issuer is back")


def test_outage_is_bridged_for_the_configured_time(quick, jane, trust):
    issuers = [(it, path_of(it, source)) for source in SOURCES for it in [trust(source)]]
    with ThreadPoolExecutor(len(issuers)) as pool:
        for done in [pool.submit(check_outage, quick, jane, *which) for which in issuers]:
            done.result()


REFETCHED = {
    "closes": loopback.drop,
    "garbage": loopback.garbage,
    "no keys": loopback.says({"keys": []}),
    "only a symmetric key": loopback.says({"keys": [oct_jwk("k")]}),
    "redirect": loopback.redirect("https://other.example/jwks"),
    "10 MB": loopback.huge(),
    "not modified": loopback.status(304, b""),
}


def test_bad_answer_does_not_take_the_place_of_good_keys(patient, jane, trust, broker_factory):
    """J23"""
    curious = broker_factory({"NEXUS_JWKS_CACHE_S": 1}, share_with=patient)
    issuers = {name: trust("jwks_uri") for name in REFETCHED}
    for name, it in issuers.items():
        obo.session(jane, it.token(), broker=curious)
        it.misbehave(it.jwks_path, REFETCHED[name])

    def is_served_after_it(it):
        fetched = it.count(it.jwks_path)
        obo.session(jane, it.token(), broker=curious)
        return fetched > 1

    for it in issuers.values():
        until(lambda it=it: is_served_after_it(it), 20, "the bad answer has come")


# --- hangs


def drip(connection, answer):
    """A byte at a time, more slowly than anybody waits."""
    connection.begin(answer)
    for byte in answer.body:
        connection.wfile.write(bytes([byte]))
        PACE.wait(0.1)


PACE = threading.Event()
HANGS = [
    ("jwks_uri", "jwks_path", Hang()),
    ("jwks_uri", "jwks_path", Hang(after=10)),
    ("discovery", "discovery_path", Hang()),
    ("discovery", "jwks_path", Hang(after=0)),
    ("jwks_uri", "jwks_path", drip),
]


def test_issuer_that_hangs_is_given_up(quick, jane, trust):
    """All at once, each asked by two agents. They are answered while the issuer still hangs."""
    issuers = []
    for source, path, how in HANGS:
        it = trust(source)
        it.misbehave(getattr(it, path), how)
        issuers.append(it)
    with ThreadPoolExecutor(2 * len(issuers)) as pool:
        try:
            waiting = [pool.submit(obo.ask, jane, it.token(), quick) for it in issuers for _ in range(2)]
            replies = [w.result() for w in waiting]
        finally:
            PACE.set()
            for _, _, how in HANGS[:-1]:
                how.release.set()
    for reply in replies:
        is_error(reply, *AWAY)
    for it, (_, path, _) in zip(issuers, HANGS, strict=True):
        assert it.count(getattr(it, path)) == 1


def test_failed_fetch_stands_for_the_next_requests(jane, trust):
    it = trust("jwks_uri")
    it.misbehave(it.jwks_path, loopback.status(503))
    began = time.monotonic()
    for _ in range(3):
        for reply in at_once(lambda: obo.ask(jane, it.token()), 8):
            is_error(reply, *AWAY)
    assert 1 <= it.count(it.jwks_path) <= 1 + (time.monotonic() - began) / RETRY_S


def test_fetches_are_counted_and_failures_logged(patient, jane, trust):
    def counts():
        return [patient.metric("nexus_issuer_key_fetches_total", outcome=o) for o in ("ok", "failed")]

    before = counts()
    good, bad = trust("jwks_uri"), trust("discovery")
    bad.misbehave(bad.discovery_path, loopback.status(500))
    obo.session(jane, good.token())
    is_error(obo.ask(jane, bad.token()), *AWAY)
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 1]
    told = [line for line in patient.log_lines() if line.get("issuer") == bad.issuer]
    assert [line["level"] for line in told] == ["warn"] and "500" in told[0]["detail"]


# --- answers that are not believed


def squeezed(connection, answer):
    """Compressed, which nobody asked for."""
    connection.reply(answer._replace(body=gzip.compress(answer.body), headers={"Content-Encoding": "gzip"}))


ANSWERS = {
    "closes": loopback.drop,
    "says more than it sends": loopback.longer,
    "says less than it sends": loopback.shorter,
    "10 MB": loopback.huge(),
    "10 MB in chunks": loopback.huge(chunked=True),
    "compressed": squeezed,
    "garbage": loopback.garbage,
    "empty": loopback.says(b""),
    "array": loopback.says([]),
    "empty object": loopback.says({}),
    "twice": lambda connection, answer: connection.reply(answer._replace(body=answer.body * 2)),
    "html": loopback.content_type("text/html"),
    "text": loopback.content_type("text/plain; charset=utf-8"),
    "json by suffix": loopback.content_type("application/geo+json"),
    "no type": loopback.content_type(""),
    **{str(code): loopback.status(code) for code in (201, 206, 400, 401, 403, 410, 418, 429, 500, 503)},
    "204": loopback.status(204, b""),
    "304": loopback.status(304, b""),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ANSWERS)
def test_answer_that_is_not_believed(jane, trust, name, source):
    it = trust(source)
    it.misbehave(path_of(it, source), ANSWERS[name])
    is_error(obo.ask(jane, it.token()), *AWAY)
    assert len(it.requests) == 1


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(jane, trust, source, code):
    it = trust(source)
    target = Loopback()
    target.answer = lambda _: loopback.json_answer(it.jwks() if source == "jwks_uri" else it.metadata())
    it.misbehave(path_of(it, source), loopback.redirect(f"{target.url}/there", code))
    is_error(obo.ask(jane, it.token()), *AWAY)
    assert target.requests == [] and len(it.requests) == 1
    target.close()


@pytest.mark.parametrize("source", SOURCES)
def test_closed_port(jane, trust, source):
    it = trust(source)
    it.close()
    is_error(obo.ask(jane, it.token()), *AWAY)


@pytest.mark.parametrize("name", ["application/json; charset=utf-8", "application/jwk-set+json", "Application/JSON"])
def test_media_types_of_key_sets(jane, trust, name):
    it = trust("jwks_uri")
    it.misbehave(it.jwks_path, loopback.content_type(name))
    obo.session(jane, it.token())


METADATA = [
    {"issuer": "https://other.example"},
    {"issuer": None},
    {"issuer": 1},
    {"issuer": ""},
    {"jwks_uri": None},
    {"jwks_uri": 1},
    {"jwks_uri": ""},
    {"jwks_uri": "/jwks"},
    {"jwks_uri": "file:///etc/passwd"},
    {"jwks_uri": "http://idp.example/jwks"},
    {"jwks_uri": "https://10.0.0.1/jwks"},
    {"jwks_uri": "https://169.254.169.254/latest/meta-data"},
    {"jwks_uri": "https://[fe80::1]/jwks"},
    {"jwks_uri": "https://[::ffff:127.0.0.1]/jwks"},
    {"jwks_uri": "http://0.0.0.0/jwks"},
    {"jwks_uri": "https://2130706433/jwks"},
]


@pytest.mark.parametrize("changes", METADATA)
def test_metadata_that_is_not_believed(jane, trust, changes):
    """S01, S09"""
    it = trust("discovery")
    it.misbehave(it.discovery_path, loopback.says({k: v for k, v in {**it.metadata(), **changes}.items() if v is not None}))
    is_error(obo.ask(jane, it.token()), *AWAY)
    assert [request.path for request in it.requests] == [it.discovery_path]


def test_issuer_of_metadata_is_compared_byte_by_byte(jane, trust):
    for suffix in ("/", "?", "x"):
        it = trust("discovery")
        it.change_metadata(issuer=it.issuer + suffix)
        is_error(obo.ask(jane, it.token()), *AWAY)
        assert it.count(it.jwks_path) == 0


def test_keys_at_another_origin_are_used_and_that_is_told(patient, jane, trust):
    """S10"""
    it, elsewhere = trust("discovery"), trust("jwks_uri")
    elsewhere.keys = it.keys
    it.change_metadata(jwks_uri=elsewhere.jwks_uri)
    obo.session(jane, it.token())
    assert elsewhere.count(elsewhere.jwks_path) == 1 and it.count(it.jwks_path) == 0
    [told] = [line for line in patient.log_lines() if line.get("issuer") == it.issuer]
    assert told["origin"] == elsewhere.url


# --- key sets


def test_symmetric_key_is_none(jane, trust):
    it = trust("jwks_uri")
    secret = it.serve_oct_key()
    is_error(obo.ask(jane, it.token()), *AWAY)
    signed_with_it = it.token(header={"alg": "HS256"}, signature=secret)
    is_error(obo.ask(jane, signed_with_it), *REFUSED)


@pytest.mark.parametrize("beside", [oct_jwk("o"), {"kty": "future", "kid": "f"}, {"kid": "x"}, {}, 1, "x"])
def test_other_entries_of_a_set_are_left_out(jane, trust, beside):
    it = trust("jwks_uri")
    it.misbehave(it.jwks_path, loopback.says({"keys": [beside, it.key.jwk()]}))
    obo.session(jane, it.token())


def test_key_of_another_use_is_none(jane, trust):
    it = trust("jwks_uri")
    it.serve_keys(it.key.jwk(use="enc"), Key("ES256").jwk())
    is_error(obo.ask(jane, it.token()), *REFUSED)


def test_key_whose_algorithm_has_changed_is_none(jane, trust):
    it = trust("jwks_uri", algorithms=["ES256", "ES384"])
    it.serve_keys(it.key.jwk(alg="ES384"), Key("ES256").jwk())
    is_error(obo.ask(jane, it.token()), *REFUSED)


def test_two_keys_of_one_kid_are_no_key_set(jane, trust):
    it = trust("jwks_uri")
    other = it.serve_duplicate_kids()
    for key in (other, it.key):
        is_error(obo.ask(jane, it.token(key=key)), *AWAY)


@pytest.mark.parametrize("count,good", [(100, True), (101, False)])
def test_100_keys_at_most(jane, trust, count, good):
    it = trust("jwks_uri")
    it.serve_many_keys(count)
    reply = obo.ask(jane, it.token())
    if good:
        assert reply.status_code == 201, reply.text
    else:
        is_error(reply, *AWAY)


@pytest.mark.parametrize("size,good", [(0, True), (1, False)])
def test_64_kib_at_most(jane, trust, size, good):
    it = trust("jwks_uri")
    room = 65536 - len(as_bytes(it.jwks()))
    it.misbehave(it.jwks_path, loopback.says(as_bytes(it.jwks()) + b" " * (room + size)))
    reply = obo.ask(jane, it.token())
    if good:
        assert reply.status_code == 201, reply.text
    else:
        is_error(reply, *AWAY)


def test_issuers_share_no_keys(jane, trust):
    """J17: fetched, the same kid, and each with its own key."""
    one, other = trust("jwks_uri"), trust("jwks_uri")
    other.keys = [Key("ES256", kid=one.key.kid)]
    obo.session(jane, one.token())
    obo.session(jane, other.token())
    is_error(obo.ask(jane, one.token(key=other.key)), *REFUSED)
    is_error(obo.ask(jane, other.token(key=one.key)), *REFUSED)
