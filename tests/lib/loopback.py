# SPDX-License-Identifier: Apache-2.0
"""HTTP servers on loopback that tests control: they record what they are asked, answer as a subclass says, and
misbehave on request.

A misbehaviour is called with the open connection and the answer that a good server gives:

    server.misbehave("/jwks", status(500))
    server.misbehave("/jwks", hang := Hang())
    server.behave()
"""

import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lib.keys import as_bytes

JSON = "application/json"

Request = namedtuple("Request", "method path headers body")
Answer = namedtuple("Answer", "status body content_type headers", defaults=(JSON, {}))


def json_answer(value, status=200):
    return Answer(status, as_bytes(value))


class Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # What a client does with a kept connection is not what these servers are for.
        self.close_connection = True
        try:
            self.server.owner.serve(self, Request(self.command, self.path, self.headers, body))
        except ConnectionError:
            pass  # the client has had enough, as it should of some answers

    do_GET = do_POST = handle_request

    def log_message(self, *_):
        pass

    def begin(self, answer, length=None):
        """Everything up to the body; length: what Content-Length says, or "chunked"."""
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if length == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(answer.body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()

    def reply(self, answer, length=None):
        self.begin(answer, length)
        self.wfile.write(answer.body)


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    # A connection that hangs does not keep a test from ending.
    daemon_threads = True
    block_on_close = False


class Loopback:
    def __init__(self):
        self.requests = []
        self._misbehaviours = {}
        self._server = None
        self.port = 0
        self.open()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def open(self):
        """Listens; again on the same port after a close."""
        self._server = _Server(("127.0.0.1", self.port), Connection)
        self._server.owner = self
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self):
        """The port refuses connections from here on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def misbehave(self, path, how):
        self._misbehaviours[path] = how

    def behave(self):
        self._misbehaviours.clear()

    def count(self, path):
        """Requests of that path so far."""
        return sum(1 for request in list(self.requests) if request.path == path)

    def answer(self, request):
        """What a good server answers; for subclasses."""
        return json_answer({"error": "not_found"}, 404)

    def serve(self, connection, request):
        self.requests.append(request)
        answer = self.answer(request)
        how = self._misbehaviours.get(request.path, Connection.reply)
        how(connection, answer)


# --- misbehaviours


class Hang:
    """Holds the connection until release is set, and then answers. after: bytes of the body that come before, or None
    for not even a header. arrived tells that a client waits."""

    def __init__(self, after=None):
        self.after = after
        self.arrived = threading.Event()
        self.release = threading.Event()

    def __call__(self, connection, answer):
        if self.after is not None:
            connection.begin(answer)
            connection.wfile.write(answer.body[: self.after])
        self.arrived.set()
        self.release.wait()
        if self.after is None:
            connection.reply(answer)
        else:
            connection.wfile.write(answer.body[self.after :])


def longer(connection, answer):
    """Says more bytes than it sends."""
    connection.reply(answer, len(answer.body) + 100)


def shorter(connection, answer):
    """Says fewer bytes than it sends."""
    connection.reply(answer, len(answer.body) - 10)


def drop(connection, answer):
    """Closes without an answer."""


def huge(size=10 * 1024 * 1024, chunked=False):
    """The good answer with so many blanks after it: still valid JSON, so only its size can be wrong with it."""

    def how(connection, answer):
        if not chunked:
            connection.reply(answer._replace(body=answer.body + b" " * size))
            return
        connection.begin(answer, "chunked")
        for piece in (answer.body, *[b" " * 65536] * (size // 65536)):
            connection.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.wfile.write(b"0\r\n\r\n")

    return how


def redirect(to, status_code=302):
    return lambda connection, answer: connection.reply(Answer(status_code, b"", JSON, {"Location": to}))


def status(code, value=None):
    """Another status; with the good body, or this value as JSON."""
    return lambda connection, answer: connection.reply(
        answer._replace(status=code, body=answer.body if value is None else as_bytes(value))
    )


def content_type(name):
    return lambda connection, answer: connection.reply(answer._replace(content_type=name))


def says(value):
    """Another body: bytes or text as they stand, anything else as JSON."""
    return lambda connection, answer: connection.reply(answer._replace(body=as_bytes(value)))


garbage = says(b"\x00\xff\xfe{{{<html>]\r\n\x80")
