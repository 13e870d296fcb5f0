# SPDX-License-Identifier: Apache-2.0
"""Raw HTTP over a socket: what goes out is exactly the bytes given, what comes back is taken apart strictly."""

import json
import socket
import time

PATIENCE = 20  # seconds until a test gives up waiting for the peer


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def values(self, name):
        return [v for k, v in self.headers if k == name.lower()]

    def header(self, name):
        found = self.values(name)
        assert len(found) <= 1, f"{name} stands {len(found)} times"
        return found[0] if found else None

    @property
    def error(self):
        """The wire code of a refusal in our form, else None."""
        try:
            return json.loads(self.body)["error"]
        except (ValueError, KeyError, TypeError):
            return None

    def __repr__(self):
        return f"<{self.status} {self.body[:120]!r}>"


class Raw:
    """One connection."""

    def __init__(self, broker, timeout=PATIENCE, rcvbuf=None):
        self.s = socket.socket()
        if rcvbuf is not None:
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.s.settimeout(timeout)
        self.s.connect((broker.host, broker.port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, data):
        self.s.sendall(data)

    def _more(self):
        """False at the end of the stream, also when the peer reset it."""
        try:
            data = self.s.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return data != b""

    def reply(self, head_only=False):
        """The next final reply, or None when the connection ended before one began."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                assert self.buffer == b"", f"the reply was cut: {self.buffer!r}"
                return None
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("ascii").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = [(k.lower(), v.strip()) for k, v in (line.split(":", 1) for line in lines[1:])]
        if status == 100:
            return Reply(100, headers, b"")
        length = next((int(v) for k, v in headers if k == "content-length"), 0)
        if head_only or status in (204, 304):
            length = 0
        while len(self.buffer) < length:
            if not self._more():
                raise AssertionError("the reply's body was cut")
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Reply(status, headers, body)

    def closed(self):
        """Waits for the end of the stream; True when nothing more came. Fails when the peer keeps the connection."""
        assert self.buffer == b"", f"bytes after the reply: {self.buffer!r}"
        while self._more():
            pass
        return self.buffer == b""

    def rest(self):
        """Everything until the end of the stream."""
        while self._more():
            pass
        data, self.buffer = self.buffer, b""
        return data


def exchange(broker, data):
    """Sends bytes on a new connection; the first reply, and whether the connection then ended."""
    with Raw(broker) as c:
        c.send(data)
        r = c.reply()
        return r, r is None or c.closed()


def get(path="/health", *headers, host="broker", version="HTTP/1.1", method="GET"):
    lines = [f"{method} {path} {version}", f"Host: {host}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(path, body=b"{}", *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: broker", "Content-Type: application/json", *headers]
    if not any(h.lower().startswith(("content-length:", "transfer-encoding:")) for h in headers):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def alive(broker):
    """The broker still serves."""
    with Raw(broker) as c:
        c.send(get())
        assert c.reply().status == 200


class Clock:
    """Time since it was made."""

    def __init__(self):
        self.start = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.start
