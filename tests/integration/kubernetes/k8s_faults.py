# SPDX-License-Identifier: GPL-3.0-or-later
"""A relay before the tests' API server that does, at a request that the test names, what networks and servers do."""

from __future__ import annotations

import http.server
import json
import pathlib
import threading
import time
import typing as t

import yaml
from k8s_played_nodes import Somebody

Object = dict[str, t.Any]
#: Answers a request: (handler) -> nothing.
Fault = t.Callable[["Handler"], None]


class Relay(http.server.ThreadingHTTPServer):
    """Plain HTTP on loopback; ``kubeconfig`` is for those who go through it. ``at``: the number of a request, from 0, and of how
    many from there on, to the fault; all others are passed on."""

    daemon_threads = True

    def __init__(self, kubeconfig: pathlib.Path, folder: pathlib.Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.somebody = Somebody(kubeconfig)
        self.fault: Fault | None = None
        self.first, self.last = 0, 0
        self.asked: list[str] = []
        self.lock = threading.Lock()
        self.kubeconfig = folder / "relayed"
        cluster = {"server": f"http://127.0.0.1:{self.server_port}"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "me", "user": {"token": "relayed-token-0123456789"}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "me"}}],
            "current-context": "lab",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Relay:
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self.server_close()

    def breaks(self, fault: Fault | None, first: int = 0, times: int = 10**6) -> None:
        """From now on, counted anew."""
        with self.lock:
            self.asked.clear()
            self.fault, self.first, self.last = fault, first, first + times

    def number(self, line: str) -> int:
        with self.lock:
            self.asked.append(line)
            return len(self.asked) - 1


class Handler(http.server.BaseHTTPRequestHandler):
    server: Relay
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        number = self.server.number(f"{self.command} {self.path}")
        if self.server.fault is not None and self.server.first <= number < self.server.last:
            self.server.fault(self)
            return
        self.reply(*self.passed_on())

    def passed_on(self) -> tuple[int, bytes]:
        """What the API server says to this request."""
        transport = self.server.somebody.client.transport
        kind = self.headers.get("content-type") or "application/json"
        found = transport.send(
            self.command, self.path, "relay", body=json.loads(self.body) if self.body else None, content_type=kind,
            accept=self.headers.get("accept") or "application/json",
        )  # fmt: skip
        return found.status, json.dumps(found.body).encode()

    def reply(self, status: int, body: bytes, missing: int = 0, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body) + missing))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = bool(missing)

    do_GET = do_PATCH = do_POST = do_DELETE = do_PUT = answer

    def log_message(self, *_arguments: t.Any) -> None:
        """Quiet."""


def status(code: int, message: str, **headers: str) -> Fault:
    body = json.dumps({"kind": "Status", "status": "Failure", "code": code, "message": message}).encode()
    return lambda handler: handler.reply(code, body, **headers)


def slow(handler: Handler) -> None:
    """Longer than anybody waits for an answer."""
    time.sleep(1.5)
    handler.close_connection = True


def cut_before(handler: Handler) -> None:
    """The connection ends, and nobody has read the request."""
    handler.close_connection = True


def cut_after(handler: Handler) -> None:
    """What was asked is done, but the answer is lost."""
    handler.passed_on()
    handler.close_connection = True


#: What passes: asked again, it is done all the same.
PASSING: dict[str, Fault] = {
    "cut off in the middle": lambda handler: handler.reply(200, b'{"kind": "No', missing=50),
    "wrong JSON": lambda handler: handler.reply(200, b"<html>starting</html>"),
    "a proxy's page": lambda handler: handler.reply(502, b"<html>bad gateway</html>"),
    "starting": status(503, "the server is not ready"),
    "busy": status(429, "too many requests", retry_after="0"),
}
#: What does not pass -> the error's kind, and words of its message.
LASTING: dict[str, tuple[Fault, str, str]] = {
    "expired": (status(401, "Unauthorized"), "Unauthenticated", "Fetch it anew"),
    "forbidden": (status(403, 'User "me" cannot do this'), "AccessDenied", 'User "me" cannot do this'),
    "redirect": (status(307, "elsewhere", location="https://192.0.2.1/"), "Refused", "a redirect (HTTP 307)"),
    "slow": (slow, "Unreachable", "Is the cluster's endpoint up"),
    "broken for good": (status(500, "etcdserver: no leader"), "ServerFault", "etcdserver: no leader"),
}
