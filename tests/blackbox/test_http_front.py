# SPDX-License-Identifier: Apache-2.0
"""deploy/haproxy.cfg in front of a broker: what is not refused reaches the broker in one canonical form."""

import pathlib
import shutil
import socket
import subprocess

import pytest

from rawhttp import Clock, Raw, get, post
from test_http_strictness import BAD_CHUNKS, BAD_ELSE, BAD_HEAD, CHUNKED

CONFIG = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

# HAProxy mends these itself before any rule sees them (each has one reading under RFC 9112 sections 2.2, 3, 5.2 and
# 6.3), and writes them anew: the broker, which would have refused them, gets a well-formed message.
MENDED = {
    "two hosts", "bare LF line ends", "bare LF after the request line", "bare LF after a field", "bare LF at the end",
    "folded value", "folded with a tab", "folded empty line", "folded length", "two spaces before the target",
    "two spaces before the version", "two equal lengths", "length and coding", "coding and length", "folded coding",
    "coding behind a bare LF", "unknown version", "length list",
}
REFUSED = {**BAD_HEAD, **BAD_ELSE, **BAD_CHUNKS}


class Front:
    host = "127.0.0.1"

    def __init__(self, broker, folder):
        with socket.socket() as s:
            s.bind((self.host, 0))
            self.port = s.getsockname()[1]
        text = CONFIG.read_text()
        for old, new in (("127.0.0.1:8088", f"127.0.0.1:{self.port}"), ("127.0.0.1:8080", f"127.0.0.1:{broker.port}")):
            assert old in text
            text = text.replace(old, new)
        config = folder / "haproxy.cfg"
        config.write_text(text)
        self.log = open(folder / "haproxy.log", "wb")
        self.process = subprocess.Popen([HAPROXY, "-db", "-f", str(config)], stdout=self.log, stderr=self.log)

    def wait(self):
        clock = Clock()
        while clock.seconds() < 15:
            try:
                with Raw(self) as c:
                    c.send(get())
                    if c.reply().status == 200:
                        return
            except (OSError, AttributeError):
                pass
        raise AssertionError("the front does not come up")

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def front(broker, tmp_path_factory):
    f = Front(broker, tmp_path_factory.mktemp("front"))
    try:
        f.wait()
        yield f
    finally:
        f.stop()


def test_configuration_is_valid():
    done = subprocess.run([HAPROXY, "-c", "-f", str(CONFIG)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", [c for c in REFUSED if c not in MENDED])
def test_front_refuses(front, case):
    with Raw(front) as c:
        c.send(REFUSED[case])
        reply = c.reply()
    assert reply is None or reply.status in (400, 405, 413, 422)


@pytest.mark.parametrize("case", sorted(MENDED))
def test_front_mends(front, case):
    with Raw(front) as c:
        c.send(REFUSED[case])
        assert c.reply().status in (200, 401)


def test_bare_lf_after_a_chunk_size_does_not_reach_the_broker(front):
    """The broker's library takes a bare LF there; the front writes the chunks anew, or refuses."""
    with Raw(front) as c:
        c.send(CHUNKED + b"2\n{}\r\n0\r\n\r\n")
        assert c.reply().status in (400, 401)


def test_limits_and_request_ids_pass_through(front):
    with Raw(front) as c:
        c.send(get("/health", "X-Request-Id: through-the-front"))
        assert c.reply().header("x-request-id") == "through-the-front"
        c.send(get("/health", "X-Request-Id: not;good"))
        assert len(c.reply().header("x-request-id")) >= 16
        c.send(get("/no/such/path"))
        assert c.reply().error == "not_found"
        c.send(post("/v1/agent-sessions", b"", "Content-Length: 70000"))
        assert c.reply().status == 413


def test_dripped_header_is_cut_in_total_time(front):
    clock = Clock()
    with Raw(front) as c:
        c.send(b"GET /health HTTP/1.1\r\nHost: broker\r\n")
        c.s.settimeout(0.2)
        reply = b""
        while clock.seconds() < 15:
            try:
                c.send(b"X")
                reply = c.s.recv(4096)
                break
            except socket.timeout:
                continue
            except OSError:
                break
    assert 4 < clock.seconds() < 12
    assert reply == b"" or reply.startswith(b"HTTP/1.1 408")
