#!/usr/bin/python3
"""s3_proxy.py - a store that misbehaves: relays to a real S3 service, and spoils what its rules name.

A request is relayed byte for byte, the Host header and with it the signature too, over a connection of its own to the
service. A rule is a dictionary:

    method, target   which requests: a method, and a regular expression searched for in the decoded path and query
    head             and bytes, searched for in the request's head as it came
    skip, count      the first `skip` that match pass, the next `count` (1; -1: all) are spoiled
    do               what happens to them, a row of ACTIONS; what that needs is in the rule, too

By itself: s3_proxy.py LISTEN_PORT http://HOST:PORT PLAN.json; in a test: Proxy(upstream), .plan([...]), .down(seconds).
"""
import email.utils
import json
import re
import socket
import struct
import sys
import threading
import time
import urllib.parse

LINE_MAX, BODY_MAX = 64 * 1024, 1 << 30


class Gone(Exception):
    """The other side has closed the connection, or we are to."""


class Stream:
    """A socket that is read by lines and by counts."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def fill(self):
        data = self.sock.recv(256 * 1024)
        if not data:
            raise Gone
        self.buffer += data

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > LINE_MAX:
                raise Gone
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head + b"\r\n\r\n"

    def take(self, n):
        parts, left = [], n
        while left:
            if not self.buffer:
                self.fill()
            parts.append(self.buffer[:left])
            self.buffer = self.buffer[left:]
            left -= len(parts[-1])
        return b"".join(parts)

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line + b"\r\n"


def header(head, name):
    found = re.search(rb"\r\n" + name + rb":[ \t]*([^\r]*)", head, re.IGNORECASE)
    return found.group(1) if found else None


def read_body(stream, head, none=False):
    """As it stands on the wire. `none`: the answer to a HEAD."""
    if none or head[9:12] in (b"204", b"304"):
        return b""
    if (header(head, b"transfer-encoding") or b"").lower() == b"chunked":
        parts = []
        while True:
            parts.append(stream.line())
            n = int(parts[-1].split(b";")[0], 16)
            parts.append(stream.take(n + 2))
            if n == 0:
                return b"".join(parts)
    length = int(header(head, b"content-length") or 0)
    if length > BODY_MAX:
        raise Gone
    return stream.take(length)


def error_document(code, message="spoiled on purpose"):
    return (f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message>'
            f"<RequestId>tx-proxy</RequestId></Error>").encode()


def answer(status, body=b"", more=""):
    return (f"HTTP/1.1 {status}\r\nDate: {email.utils.formatdate(usegmt=True)}\r\nx-amz-request-id: tx-proxy\r\n"
            f"Content-Type: application/xml\r\n{more}Content-Length: {len(body)}\r\n\r\n").encode() + body


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else data


class Exchange:
    """One request: what came, and how to go on."""

    def __init__(self, proxy, client, head, body):
        self.proxy, self.client, self.head, self.body = proxy, client, head, body
        self.method, target = head.split(b" ", 2)[:2]
        self.target = urllib.parse.unquote(target.decode("latin-1"))
        self.method = self.method.decode("latin-1")

    def relay(self):
        """-> head and body of the service's answer."""
        with socket.create_connection(self.proxy.upstream, timeout=60) as sock:
            sock.sendall(re.sub(rb"\r\nConnection:[^\r]*", b"", self.head, flags=re.IGNORECASE)[:-2] + b"Connection: close\r\n\r\n" + self.body)
            stream = Stream(sock)
            head = stream.head()
            while head[9:12] == b"100":
                head = stream.head()
            body = read_body(stream, head, self.method == "HEAD")
            if head[9:12] == b"503":
                with self.proxy.lock:
                    self.proxy.slow_downs += 1
            return re.sub(rb"\r\nConnection:[^\r]*", b"", head, flags=re.IGNORECASE), body

    def send(self, data):
        self.client.sendall(data)

    def reset(self):
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone


def pass_on(x, rule):
    head, body = x.relay()
    x.send(head + body)


def say_error(x, rule):
    """`status` ("503 Slow Down") with S3's `code`; nothing reaches the service."""
    body = error_document(rule["code"]) if rule.get("code") else b""
    x.send(answer(rule["status"], b"" if x.method == "HEAD" else body, rule.get("more", "")))
    if rule.get("then"):
        rule["then"]()


def reset_before(x, rule):
    x.reset()


def reset_after(x, rule):
    """It took effect, and nobody is told."""
    x.relay()
    if rule.get("then"):
        rule["then"]()
    x.reset()


def truncate(x, rule):
    head, body = x.relay()
    x.send(head + body[: len(body) // 2])
    raise Gone


def flip_answer(x, rule):
    head, body = x.relay()
    x.send(head + flip(body, len(body) // 2))


def flip_request(x, rule):
    x.body = flip(x.body, len(x.body) // 2)
    pass_on(x, rule)


def stall(x, rule):
    """`seconds` of nothing; `half`: in the middle of the answer's body."""
    sent = b""
    if rule.get("half"):
        head, body = x.relay()
        sent = head + body[: len(body) // 2]
    x.send(sent)
    if rule.get("then"):
        rule["then"]()
    x.proxy.sleep(rule["seconds"])
    raise Gone


def drip(x, rule):
    """The answer in `pieces`, over `seconds`."""
    data = b"".join(x.relay())
    step = max(1, len(data) // rule["pieces"])
    for at in range(0, len(data), step):
        x.send(data[at : at + step])
        x.proxy.sleep(rule["seconds"] / rule["pieces"])


def late_error(x, rule):
    """200, and the failure in the document. `effect`: although it was done."""
    if rule.get("effect"):
        x.relay()
    x.send(answer("200 OK", error_document(rule["code"])))


def nothing(x, rule):
    raise Gone


def whole(head, body):
    """Out of its chunks."""
    if not header(head, b"transfer-encoding"):
        return head, body
    parts, stream = [], body
    while True:
        line, stream = stream.split(b"\r\n", 1)
        n = int(line.split(b";")[0], 16)
        parts.append(stream[:n])
        stream = stream[n + 2 :]
        if n == 0:
            body = b"".join(parts)
            return re.sub(rb"(?i)transfer-encoding:[^\r]*", b"Content-Length: %d" % len(body), head), body


def omit(x, rule):
    """A list without the entries whose key matches `key`."""
    head, body = whole(*x.relay())
    kept = re.sub(rb"<Contents>.*?</Contents>", lambda m: b"" if re.search(rule["key"].encode(), m.group(0)) else m.group(0), body, flags=re.DOTALL)
    x.send(re.sub(rb"(?i)content-length:[^\r]*", b"Content-Length: %d" % len(kept), head) + kept)


def go_down(x, rule):
    x.proxy.down(rule["seconds"])
    x.reset()


ACTIONS = {"pass": pass_on, "error": say_error, "reset_before": reset_before, "reset_after": reset_after, "truncate": truncate,
           "flip_answer": flip_answer, "flip_request": flip_request, "stall": stall, "drip": drip, "late_error": late_error,
           "nothing": nothing, "omit": omit, "down": go_down}


class Proxy:
    def __init__(self, upstream, port=0):
        place = urllib.parse.urlsplit(upstream)
        self.upstream = (place.hostname, place.port)
        self.lock = threading.Lock()
        self.rules, self.clients, self.spoiled, self.slow_downs = [], set(), [], 0  # the last: the service's own
        self.over = threading.Event()
        self.listener = None
        # Holds the port while nobody listens there: connections are refused, and nobody else takes it.
        self.keeper = self.bound(port)
        self.port = self.keeper.getsockname()[1]
        self.up()

    @staticmethod
    def bound(port):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def plan(self, rules):
        with self.lock:
            self.rules = [dict(rule, seen=0) for rule in rules]

    def add(self, *rules):
        with self.lock:
            self.rules += [dict(rule, seen=0) for rule in rules]

    def hits(self, name):
        """How many requests the rules of that `name` spoiled."""
        with self.lock:
            return sum(1 for rule in self.spoiled if rule.get("name") == name)

    def up(self):
        if self.over.is_set():
            return
        self.listener = self.bound(self.port)
        self.listener.listen(128)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def down(self, seconds):
        """Refuses connections and drops those that there are; comes back by itself."""
        with self.lock:
            listener, self.listener = self.listener, None
            clients = list(self.clients)
        if not listener:
            return
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for client in clients:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        timer = threading.Timer(seconds, self.up)
        timer.daemon = True
        timer.start()

    def close(self):
        self.over.set()
        if self.listener:
            self.listener.close()
        self.keeper.close()

    def sleep(self, seconds):
        self.over.wait(seconds)

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def rule_for(self, x):
        with self.lock:
            for rule in self.rules:
                if rule.get("method", x.method) != x.method or not re.search(rule.get("target", ""), x.target):
                    continue
                if not re.search(rule.get("head", b""), x.head):
                    continue
                rule["seen"] += 1
                n, count = rule["seen"] - rule.get("skip", 0), rule.get("count", 1)
                if n >= 1 and (count < 0 or n <= count):
                    self.spoiled.append(rule)
                    return rule
        return {"do": "pass"}

    def serve(self, client):
        with self.lock:
            self.clients.add(client)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = Stream(client)
            while True:
                head = stream.head()
                x = Exchange(self, client, head, read_body(stream, head))
                rule = self.rule_for(x)
                ACTIONS[rule["do"]](x, rule)
        except (Gone, OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.clients.discard(client)
            client.close()


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: s3_proxy.py PORT http://HOST:PORT PLAN.json")
    proxy = Proxy(sys.argv[2], int(sys.argv[1]))
    with open(sys.argv[3], encoding="utf-8") as plan:
        proxy.plan(json.load(plan))
    print(proxy.endpoint, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
