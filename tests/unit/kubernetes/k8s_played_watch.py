# SPDX-License-Identifier: GPL-3.0-or-later
"""A played API server with one kind, ConfigMaps: lists and watches, and how these go wrong. Written from the API's concepts
(kubernetes.io/docs/reference/using-api/api-concepts, efficient detection of changes)."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import typing as t
import urllib.parse

Object = dict[str, t.Any]

ROOT = "/api/v1/namespaces/lab/configmaps"


class Api:
    """``faults``: what the next watches do instead, by name. ``forbidden``: verbs that are refused. ``broken``: it answers nothing else than that
    it is."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.events: list[tuple[int, str, Object]] = []
        self.version = 1
        self.oldest = 0
        self.faults: list[str] = []
        self.forbidden: set[str] = set()
        self.broken = False
        self.asked: list[str] = []
        self.changed = threading.Condition()
        self.closed = False
        handler = type("Handler", (Handler,), {"api": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def put(self, name: str, ready: bool | None, **meta: t.Any) -> None:
        """An object that is Ready, is not, or (nothing) says nothing about it."""
        with self.changed:
            self.version += 1
            status = (
                {} if ready is None else {"conditions": [{"type": "Ready", "status": str(ready), "reason": "Told"}]}
            )
            known = name in self.objects
            about = {"name": name, "namespace": "lab", "uid": name, "resourceVersion": str(self.version), **meta}
            self.objects[name] = {"metadata": about, "status": status}
            self._happened("MODIFIED" if known else "ADDED", self.objects[name])

    def delete(self, name: str) -> None:
        with self.changed:
            if name in self.objects:
                self.version += 1
                gone = self.objects.pop(name)
                gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}
                self._happened("DELETED", gone)

    def compact(self) -> None:
        """What happened before is forgotten: watches from there are too old."""
        with self.changed:
            self.version += 1
            self.oldest = self.version

    def _happened(self, kind: str, what: Object) -> None:
        self.events.append((self.version, kind, json.loads(json.dumps(what))))
        self.changed.notify_all()

    @contextlib.contextmanager
    def running(self) -> t.Iterator[Api]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            with self.changed:
                self.closed = True
                self.changed.notify_all()
            self.server.shutdown()
            self.server.server_close()
            thread.join(5)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: Api

    def log_message(self, *_words: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        verb = "watch" if asked.get("watch") else "list" if path == ROOT else "get"
        self.api.asked.append(verb)
        if not path.startswith(ROOT):
            return self._status(200, {"kind": "List", "items": []})
        if self.api.broken:
            return self._refuse(503, "the server is not ready")
        if verb in self.api.forbidden:
            return self._refuse(403, f'User "x" cannot {verb} resource "configmaps"')
        if verb == "watch":
            return self._watch(asked)
        if verb == "get":
            found = self.api.objects.get(path.rpartition("/")[2])
            return self._status(200, found) if found else self._refuse(404, "not found")
        with self.api.changed:
            items, version = list(self.api.objects.values()), str(self.api.version)
        return self._status(200, {"kind": "ConfigMapList", "metadata": {"resourceVersion": version}, "items": items})

    def _refuse(self, code: int, message: str, **headers: str) -> None:
        self._status(code, {"kind": "Status", "code": code, "message": message}, **headers)

    def _status(self, code: int, body: t.Any, **headers: str) -> None:
        raw = json.dumps(body).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _watch(self, asked: Object) -> None:
        fault = self.api.faults.pop(0) if self.api.faults else ""
        since = int(asked["resourceVersion"])
        whole: dict[str, t.Callable[[], None]] = {
            "HTTP 410": lambda: self._refuse(410, "too old resource version"),
            "HTTP 500": lambda: self._refuse(500, "etcdserver: leader changed"),
            "HTTP 429": lambda: self._refuse(429, "too many requests", retry_after="1"),
            "HTTP 401": lambda: self._refuse(401, "Unauthorized"),
            "redirect": lambda: self._refuse(302, "", location="https://elsewhere.invalid/"),
            "no answer": self._hang_up,
        }
        if fault in whole:
            return whole[fault]()
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if fault == "410" or since < self.api.oldest:
            status = {"kind": "Status", "code": 410, "message": "too old resource version", "reason": "Expired"}
            self._line({"type": "ERROR", "object": status})
            return self._chunk(b"")
        if fault == "500":
            self._line({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "internal"}})
            return self._chunk(b"")
        if fault == "not JSON":
            self._chunk(b"<html>proxy</html>\n")
            return self._chunk(b"")
        if fault == "cut off":
            self._chunk(b'{"type":"MODIFIED","object":{"metadata":{"na')
            return self._hang_up()
        if fault == "ends":
            return self._chunk(b"")
        return self._follow(since)

    def _follow(self, since: int) -> None:
        sent = since
        while True:
            with self.api.changed:
                fresh = [event for event in self.api.events if event[0] > sent]
                if not fresh and not self.api.closed:
                    self.api.changed.wait(0.2)
                    continue
            if self.api.closed:
                return self._hang_up()
            for version, kind, what in fresh:
                self._line({"type": kind, "object": what})
                sent = version

    def _line(self, event: Object) -> None:
        self._chunk(json.dumps(event).encode() + b"\n")

    def _chunk(self, raw: bytes) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
            self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)
