# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server, or the network before it, can do to a request."""

from __future__ import annotations

import collections
import http.server
import threading
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import client, kubeconfig

GOOD = (200, b'{"kind": "Good"}')
Reply = tuple[int, bytes]


class Server(http.server.ThreadingHTTPServer):
    """Gives these replies one after the other; -1 as status cuts the connection in the middle of the body."""

    def __init__(self, replies: list[Reply]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies = collections.deque(replies)
        self.asked: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status, body = self.server.replies.popleft()
        self.send_response(200 if status < 0 else status)
        self.send_header("content-length", str(len(body) + (50 if status < 0 else 0)))
        if status == 302:
            self.send_header("location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = status < 0

    do_GET = do_PATCH = do_DELETE = answer

    def log_message(self, *_arguments: t.Any) -> None:
        """Quiet."""


@pytest.fixture
def serve() -> t.Iterator[t.Callable[..., tuple[client.Client, Server]]]:
    running: list[Server] = []

    def start(*replies: Reply, progress: t.Callable[[str], None] = print) -> tuple[client.Client, Server]:
        server = Server(list(replies))
        running.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        access = kubeconfig.Access(server=f"http://127.0.0.1:{server.server_port}")
        return client.Client(access, 5.0, progress), server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


PASSING: dict[str, Reply] = {
    "cut off in the middle": (-1, b'{"kind": "Go'),
    "wrong JSON": (200, b"<html>starting</html>"),
    "a list": (200, b"[1]"),
    "busy": (429, b'{"message": "too many requests"}'),
    "starting": (503, b'{"message": "not ready"}'),
    "a proxy's page": (502, b"<html>bad gateway</html>"),
    "somebody else's write": (409, b'{"message": "the object has been modified"}'),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_passes_is_asked_again_and_told(case: str, serve: t.Callable[..., tuple[client.Client, Server]]) -> None:
    told: list[str] = []
    one, server = serve(PASSING[case], GOOD, progress=told.append)
    assert one.read("/api", "look") == {"kind": "Good"}
    assert len(server.asked) == 2
    assert "Trying again" in told[0]


LASTING: dict[str, tuple[Reply, type[errors.HomelabError], str]] = {
    "refused": ((403, b'{"message": "no"}'), errors.AccessDenied, "no"),
    "a redirect": ((302, b"{}"), errors.Refused, "a redirect (HTTP 302)"),
    "not found": ((404, b"404 page not found"), errors.NotFound, "404 page not found"),
}


@pytest.mark.parametrize("case", LASTING)
def test_what_lasts_is_asked_once(case: str, serve: t.Callable[..., tuple[client.Client, Server]]) -> None:
    reply, kind, words = LASTING[case]
    one, server = serve(reply)
    with pytest.raises(kind) as caught:
        one.read("/api", "look")
    assert words in caught.value.message
    assert len(server.asked) == 1


def test_what_does_not_pass_in_time_is_the_servers_last_answer(
    serve: t.Callable[..., tuple[client.Client, Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.5)
    one, server = serve(*[(500, b'{"message": "etcdserver: no leader"}')] * 20)
    with pytest.raises(errors.ServerFault, match="no leader"):
        one.read("/api", "look")
    assert 1 < len(server.asked) < 8


def test_a_dry_run_deletion_says_so_where_the_server_looks(
    serve: t.Callable[..., tuple[client.Client, Server]],
) -> None:
    one, server = serve(GOOD)
    seen: list[t.Any] = []
    send = one.transport.send
    one.transport.send = lambda *a, **k: (seen.append(k["body"]), send(*a, **k))[1]  # type: ignore[method-assign]
    one.delete(client.Resource("v1", "ConfigMap", "configmaps", True), "a", "b", dry_run=True)
    assert seen[0]["dryRun"] == ["All"]
    assert server.asked == ["DELETE /api/v1/namespaces/a/configmaps/b?dryRun=All"]


def test_lists_are_read_page_by_page(serve: t.Callable[..., tuple[client.Client, Server]]) -> None:
    first = b'{"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}'
    last = b'{"metadata": {}, "items": [{"metadata": {"name": "b"}}]}'
    one, server = serve((200, first), (200, last))
    found = one.list(client.Resource("v1", "ConfigMap", "configmaps", True), "n")
    assert [item["metadata"]["name"] for item in found] == ["a", "b"]
    assert found[0]["kind"] == "ConfigMap"
    assert server.asked[1].endswith("continue=more")


@pytest.mark.parametrize(
    ("exempt", "used"),
    [("", True), ("10.0.0.5", False), ("10.0.0.0/8", False), ("192.168.0.0/16, lab.example", True), ("*", False)],
)
def test_the_environments_proxy_is_used_unless_the_server_is_exempt(
    exempt: str, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", exempt)
    assert (kubeconfig.proxy_for("https://10.0.0.5:6443") is not None) is used
