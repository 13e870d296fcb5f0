#!/usr/bin/env -S python3 -B
"""Usage: net_server.py

An HTTP and HTTPS server with bad manners, on loopback, for test_net.c. It makes a
certificate authority to be thrown away in a folder to be thrown away, prints
"NAME VALUE" lines (ports, files) and "ready -", and ends with its standard input.
"""

import gzip
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

OPENSSL_CNF = """\
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[good]
subjectAltName = DNS:localhost, DNS:public.test, IP:127.0.0.1
[wrong]
subjectAltName = DNS:other.test
"""
# For the client: what is older than TLS 1.2 is refused by our code, not by the system's settings.
LAX_CNF = """\
openssl_conf = conf
[conf]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
MinProtocol = TLSv1
CipherString = DEFAULT@SECLEVEL=0
"""
BIG = 10 << 20
BOMB = gzip.compress(bytes(BIG), mtime=0)
GZIPPED = gzip.compress(b"[" + b" " * 100000 + b"]", mtime=0)


def reply(head, body=b""):
    return lambda c, request: c.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)


def text(c, body, head=""):
    reply(f"HTTP/1.1 200 OK\nContent-Type: text/plain{head}\nContent-Length: {len(body)}")(c, None)
    c.sendall(body)


def wait_for_end(c, request):
    while c.recv(4096):
        pass


def half_then_wait(c, request):
    c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    wait_for_end(c, request)


def for_ever(head, more):
    def page(c, request):
        c.sendall(head)
        while True:
            c.sendall(more)

    return page


def big(c, request):
    c.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * BIG)


PAGES = {
    "/ok": lambda c, request: text(c, b"fine"),
    "/echo": lambda c, request: text(c, request),
    "/up/../echo": lambda c, request: text(c, request),
    "/empty": reply("HTTP/1.1 204 No Content"),
    "/redirect": reply("HTTP/1.1 302 Found\nLocation: /ok\nContent-Length: 0"),
    "/redirect-away": reply("HTTP/1.1 307 Temporary Redirect\nLocation: http://169.254.169.254/\nContent-Length: 0"),
    "/login": reply('HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Basic realm="x"\nContent-Length: 0'),
    "/cookie": lambda c, request: text(c, b"fine", "\nSet-Cookie: taste=sweet; Path=/"),
    "/big-length": reply(f"HTTP/1.1 200 OK\nContent-Length: {BIG}", b"x" * BIG),
    "/big-stream": big,
    "/endless-chunks": for_ever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "/large-header": reply("HTTP/1.1 200 OK\nContent-Length: 0\nX-Large: " + "x" * 17000),
    "/endless-header": for_ever(b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n"),
    "/endless-interim": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "/endless-trailer": for_ever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: and more\r\n"),
    "/says-more": reply("HTTP/1.1 200 OK\nContent-Length: 100", b"0123456789"),
    "/says-less": reply("HTTP/1.1 200 OK\nContent-Length: 5", b"0123456789" * 500),
    "/cut-chunks": reply("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"5\r\n01234\r\n"),
    "/gzip": reply(f"HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: {len(GZIPPED)}", GZIPPED),
    "/bad": reply("HTTP/1.1 400 Bad Request\nContent-Length: 0"),
    "/gzip-bomb": lambda c, request: c.sendall(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BOMB), BOMB)
    ),
    "/hang": wait_for_end,
    "/half": half_then_wait,
    "/nothing": lambda c, request: None,
    "/no-http": lambda c, request: c.sendall(b"220 mail.example ESMTP\r\n" * 10),
}


def read_request(c):
    data = b""
    while b"\r\n\r\n" not in data:
        more = c.recv(65536)
        if not more:
            return None
        data += more
        if not data[:1].isalpha():  # TLS where none is spoken
            PAGES["/bad"](c, data)
            return None
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += c.recv(65536)
    return head + b"\r\n\r\n" + body


def serve(c, context):
    try:
        with c:
            if context is not None:
                c = context.wrap_socket(c, server_side=True)
            with c:
                request = read_request(c)
                if request is not None:
                    path = request.split(b" ", 2)[1].decode().partition("?")[0]
                    PAGES.get(path, reply("HTTP/1.1 404 Not Found\nContent-Length: 0"))(c, request)
    except OSError:
        pass  # the client had enough


def mute(c, context):
    with c:
        wait_for_end(c, None)


def listen(name, handler, context=None):
    listener = socket.create_server(("127.0.0.1", 0))

    def loop():
        while True:
            c, _ = listener.accept()
            threading.Thread(target=handler, args=(c, context), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    print(name, listener.getsockname()[1])


def certificate(folder, name, extensions, signer):
    key, cert = f"{folder}/{name}.key", f"{folder}/{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-config", f"{folder}/openssl.cnf", "-extensions", extensions, "-subj", f"/CN={name}"]
    if signer is not None:
        command += ["-CA", f"{folder}/{signer}.pem", "-CAkey", f"{folder}/{signer}.key"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
    return cert, key


def tls(files):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def old_tls(files):
    context = tls(files)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def main():
    with tempfile.TemporaryDirectory(prefix="nexus-net.") as folder:
        for name, content in (("openssl.cnf", OPENSSL_CNF), ("lax.cnf", LAX_CNF)):
            with open(os.path.join(folder, name), "w", encoding="ascii") as f:
                f.write(content)
        ca = certificate(folder, "ca", "ca", None)
        stranger = certificate(folder, "stranger", "ca", None)
        good = certificate(folder, "localhost", "good", "ca")
        listen("http", serve)
        listen("https", serve, tls(good))
        listen("wrong_name", serve, tls(certificate(folder, "other", "wrong", "ca")))
        listen("old_tls", serve, old_tls(good))
        listen("mute", mute)
        print("ca_file", ca[0])
        print("stranger_file", stranger[0])
        print("lax_cnf", f"{folder}/lax.cnf")
        print("key_log", f"{folder}/keys")
        print("ready -", flush=True)
        sys.stdin.read()


main()
