# SPDX-License-Identifier: Apache-2.0
"""The kill switch under load, for scripts/bench: brokers on one database, sessions that are opened and read all the
while, and again and again somebody who deactivates an agent, revokes a user's sessions, or revokes one session. A token
of what is killed is asked after at every broker, from before the call until after its answer."""

import base64
import http.client
import json
import multiprocessing
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

BROKERS = 3
# Sessions that each kill ends, one opened at each broker; and how many in the large ones.
SESSIONS, LARGE, LARGE_KILLS = BROKERS, 10000, 5
# How often each broker is asked after the call has answered.
CHECKS_AFTER = 5
READY_SECONDS = 30
# Of each kind, to each broker.
LOAD_CONNECTIONS = 2
# Assertions that are made for each broker and second of load; more than this machine can use up.
ASSERTIONS_PER_S = 800


class Client:
    """One connection to one broker, kept open."""

    def __init__(self, url, key):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
        self.key = key

    def call(self, method, path, body=None, bearer=None, form=False):
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {"X-API-Key": self.key}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/json"
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        self.connection.request(method, path, body=data, headers=headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def done(self, method, path, body=None, status=200):
        got, text = self.call(method, path, body)
        if got != status:
            raise SystemExit(f"scripts/bench: {method} {path}: {got} {text.decode()}")
        return json.loads(text)


def is_accepted(client, session):
    """Whether the broker stands by a token. The one place that knows how that is asked."""
    body = urllib.parse.urlencode({"token": session["session_token"]})
    status, text = client.call("POST", "/oauth/introspect", body, form=True)
    if status != 200:
        raise SystemExit(f"scripts/bench: a token was asked after, and the answer is {status} {text.decode()}")
    return json.loads(text)["active"]


def watch(pipe, url, key):
    """A process that asks one broker after one session at a time."""
    client = Client(url, key)
    while True:
        session = pipe.recv()
        answered, after, seen = None, 0, []
        while after < CHECKS_AFTER:
            if len(seen) == 1:
                pipe.send(seen[0][2])
            if answered is None and pipe.poll():
                answered = pipe.recv()
            sent = time.monotonic_ns()
            accepted = is_accepted(client, session)
            seen.append((sent, time.monotonic_ns(), accepted))
            after += answered is not None and sent > answered
        pipe.send(seen)


class Watcher:
    def __init__(self, url, key):
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=watch, args=(other, url, key), daemon=True)
        self.process.start()
        other.close()

    def begin(self, session):
        self.pipe.send(session)

    def first(self):
        return self.pipe.recv()

    def answered(self, at):
        self.pipe.send(at)

    def seen(self):
        return self.pipe.recv()

    def end(self):
        self.process.terminate()
        self.process.join(10)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_broker(program, env, log):
    """Another broker on the stack's database and token, and its URL."""
    port = free_port()
    own = {**os.environ, **env, "PORT": str(port), "NEXUS_METRICS_LISTEN": f"127.0.0.1:{free_port()}"}
    with open(log, "ab") as out:
        process = subprocess.Popen([program, "serve"], env=own, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    return process, f"http://127.0.0.1:{port}"


def wait_ready(process, url, log):
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if Client(url, "").call("GET", "/ready")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"scripts/bench: a broker does not start:\n{pathlib.Path(log).read_text()[-2000:]}")


def sql(env, text):
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", env["NEXUS_MIGRATE_DATABASE_URL"], "-c", text],
                   check=True, stdout=subprocess.DEVNULL)


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Vouches for users. Signs by OpenSSL alone."""

    def __init__(self, state, env, tools, admin):
        self.key, self.audience, self.scope = state / "issuer.pem", env["BASE_URL"], tools.scope
        self.name = "https://idp.bench.example"
        body = {"issuer": self.name, "jwks": {"keys": [tools.new_key(self.key)]}, "algorithms": ["ES256"],
                "audience": self.audience}  # fmt: skip
        admin.done("POST", "/admin/v1/issuers", body, status=201)

    def sign(self, text):
        der = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text.encode(), check=True,
                             stdout=subprocess.PIPE).stdout  # fmt: skip
        # SEQUENCE of two INTEGERs: JWS wants both as 32 bytes (RFC 7518 section 3.4).
        r = der[4 : 4 + der[3]]
        s = der[6 + der[3] :]
        return b"".join(int.from_bytes(n, "big").to_bytes(32, "big") for n in (r, s))

    def token(self, user):
        now = int(time.time())
        header = {"alg": "ES256", "typ": "JWT", "kid": "bench"}
        claims = {"iss": self.name, "sub": user, "aud": self.audience, "iat": now, "exp": now + 300,
                  "jti": os.urandom(8).hex(), "tenant_id": "bench", "clearance_level": 1, "permissions": [self.scope]}  # fmt: skip
        text = ".".join(b64u(json.dumps(part).encode()) for part in (header, claims))
        return f"{text}.{b64u(self.sign(text))}"


class Victims:
    """An agent whose sessions are killed: it opens new ones each time."""

    def __init__(self, env, clients, issuer, tools):
        self.env, self.clients, self.issuer = env, clients, issuer
        self.agent, key = tools.new_agent()
        self.assertions = lambda count: tools.assertions(self.agent, key, count)
        self.bodies = []

    def open(self, count=SESSIONS, **more):
        """One at each broker, at once."""
        if len(self.bodies) < count:
            self.bodies = self.assertions(100 * count).splitlines()
        path = "/v1/agent-sessions/obo" if more else "/v1/agent-sessions"

        def one(client):
            return client.done("POST", path, {**json.loads(self.bodies.pop()), **more}, status=201)

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, self.clients[:count]))

    def open_for(self, user):
        return self.open(user_context_token=self.issuer.token(user))

    def fill(self, user):
        """A large number of open sessions whose tokens nobody has."""
        mark = os.urandom(8).hex()
        sql(self.env, "INSERT INTO nexus.agent_sessions (session_id, agent_id, scopes, jti, kid, audiences, created_at, "
                      "expires_at, obo, acting_for, clearance_level, chain) "
                      f"SELECT 'sess_{mark}' || i, '{self.agent}', '{{bench:run}}', '{mark}' || i, '', '{{}}', now(), "
                      f"now() + interval '1 hour', true, '{user}', 0, ARRAY['{self.agent}'] "
                      f"FROM generate_series(1, {LARGE}) i")


REVOKE = "/admin/v1/sessions/revoke"


def agent_call(victims):
    return "PATCH", f"/admin/v1/agents/{victims.agent}", {"active": False}


def prepare(kind, victims, number):
    """The sessions of one kill, and the call that ends them."""
    if kind == "agent":
        return victims.open(), agent_call(victims)
    if kind == "user":
        user = f"user-{number}"
        return victims.open_for(user), ("POST", REVOKE, {"user_id": user})
    sessions = victims.open(1)
    return sessions, ("POST", REVOKE, {"session_id": sessions[0]["session_id"]})


def revive(admin, victims):
    admin.done("PATCH", f"/admin/v1/agents/{victims.agent}", {"active": True})


def kill(admin, watchers, sessions, call):
    """One kill. Returns how long the call took, and what each watcher saw, by when the answer was there."""
    for w in watchers:
        w.begin(sessions[0])
    if not all([w.first() for w in watchers]):
        raise SystemExit("scripts/bench: a token is not accepted before its session is killed")
    began = time.monotonic_ns()
    result = admin.done(*call)
    answered = time.monotonic_ns()
    if result["sessions_closed"] != len(sessions):
        raise SystemExit(f"scripts/bench: {result['sessions_closed']} sessions closed, not {len(sessions)}")
    for w in watchers:
        w.answered(answered)
    return (answered - began) / 1e6, answered, [c for w in watchers for c in w.seen()]


def large_kill(admin, victims, kind):
    user = f"crowd-{os.urandom(4).hex()}"
    victims.fill(user)
    call = agent_call(victims) if kind == "agent" else ("POST", REVOKE, {"user_id": user})
    began = time.monotonic_ns()
    result = admin.done(*call)
    took = (time.monotonic_ns() - began) / 1e6
    if result["sessions_closed"] != LARGE:
        raise SystemExit(f"scripts/bench: {result['sessions_closed']} sessions closed, not {LARGE}")
    if kind == "agent":
        revive(admin, victims)
    return round(took, 1)


def large_kills(admin, victims):
    return {kind: [large_kill(admin, victims, kind) for _ in range(LARGE_KILLS)] for kind in ("agent", "user")}


def start_load(urls, bodies, reader, post_lua):
    """wrk against each broker: sessions are opened, and one is read."""
    seconds = "600s"  # ended before that, by its SIGINT
    common = ["wrk", "-t", "1", "-c", str(LOAD_CONNECTIONS), "-d", seconds]
    path = f"/v1/agent-sessions/{reader['session_id']}"
    commands = []
    for url, file in zip(urls, bodies, strict=True):
        commands.append([*common, "--latency", "-s", str(post_lua), url, "--", file])
        commands.append([*common, "-H", f"Authorization: Bearer {reader['session_token']}", url + path])
    return [subprocess.Popen(c, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) for c in commands]


def end_load(load):
    """How much was done in each second, of each kind."""
    for p in load:
        p.send_signal(signal.SIGINT)
    out = [p.communicate(timeout=30)[0] for p in load]
    opened = [json.loads(m.group(1)) for m in (re.search(r"^RESULT (.*)$", t, re.M) for t in out) if m]
    reads = [float(m.group(1)) for m in (re.search(r"^Requests/sec: +([0-9.]+)$", t, re.M) for t in out[1::2]) if m]
    return {
        "opened_per_s": round(sum(o["created"] / (o["duration_us"] / 1e6) for o in opened), 1),
        "read_per_s": round(sum(reads), 1),
        "opening_failed": sum(o["other"] for o in opened),
        "assertions_exhausted": any(o["exhausted"] for o in opened),
    }


def percentile(values, part):
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 2) if ordered else None


def run_kills(seconds, admin, watchers, victims):
    """Kills of each kind in turn until the time is over."""
    took = {"agent": [], "user": [], "session": []}
    accepted_after, asked_after, last = 0, 0, None
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end or number < len(took):
        kind = list(took)[number % len(took)]
        sessions, call = prepare(kind, victims, number)
        ms, answered, seen = kill(admin, watchers, sessions, call)
        took[kind].append(ms)
        late = [accepted for sent, _, accepted in seen if sent > answered]
        accepted_after += sum(late)
        asked_after += len(late)
        ends = [(arrived - answered) / 1e6 for _, arrived, accepted in seen if accepted]
        last = max(ends if last is None else [last, *ends])
        if kind == "agent":
            revive(admin, victims)
        number += 1
    return took, {"accepted_after_answer": accepted_after, "asked_after_answer": asked_after,
                  "last_acceptance_ms": round(last, 2)}  # fmt: skip


def measure(seconds, state, env, tools):
    """tools: new_agent() registers one and returns (its id, its key's file); assertions(agent, key, count) makes bodies;
    new_key(file) makes a key and returns its JWK; the scope that agents have; the broker's program."""
    started, watchers, load = [], [], []
    keys = {k: pathlib.Path(env[k]).read_text().strip() for k in ("NEXUS_ADMIN_KEY_FILE", "NEXUS_API_KEY_FILE")}
    urls = [env["NEXUS_URL"]]
    try:
        for i in range(1, BROKERS):
            process, url = start_broker(tools.broker, env, state / f"broker-{i}.log")
            started.append(process)
            urls.append(url)
        for i, process in enumerate(started, 1):
            wait_ready(process, urls[i], state / f"broker-{i}.log")
        clients = [Client(url, keys["NEXUS_ADMIN_KEY_FILE"]) for url in urls]
        admin = clients[0]
        issuer = Issuer(state, env, tools, admin)
        victims = Victims(env, clients, issuer, tools)
        crowd = Victims(env, clients, issuer, tools)
        watchers = [Watcher(url, keys["NEXUS_API_KEY_FILE"]) for url in urls]
        for i in range(BROKERS):
            # The name that post.lua makes of a prefix and its thread.
            (state / f"load-{i}.0").write_text(crowd.assertions(ASSERTIONS_PER_S * seconds + 2000))
        bodies = [str(state / f"load-{i}") for i in range(BROKERS)]
        load = start_load(urls, bodies, crowd.open(1)[0], pathlib.Path(__file__).parent / "post.lua")
        took, acceptance = run_kills(seconds, admin, watchers, victims)
        large = {"under_load": large_kills(admin, victims)}
        rates, load = end_load(load), []
        large["alone"] = large_kills(admin, victims)
    finally:
        for p in load:
            p.kill()
        for w in watchers:
            w.end()
        for p in started:
            p.terminate()
        for p in started:
            p.wait(40)
    calls = [ms for of_kind in took.values() for ms in of_kind]
    return {
        "bench": "killswitch",
        "brokers": BROKERS,
        "acceptance_read_by": "POST /oauth/introspect",
        "kills": {k: len(v) for k, v in took.items()},
        **acceptance,
        "p50_ms": percentile(calls, 0.5),
        "p99_ms": percentile(calls, 0.99),
        "max_ms": round(max(calls), 2),
        "p99_ms_by_kind": {k: percentile(v, 0.99) for k, v in took.items()},
        "sessions_per_kill": SESSIONS,
        f"ms_with_{LARGE}_sessions": large,
        "load": rates,
        "cores": os.cpu_count(),
        "synchronous_commit": "on",
    }
