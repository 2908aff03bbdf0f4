# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are not simply at an address: behind a proxy, below a path, on IPv6; and requests in another user's name."""

from __future__ import annotations

import http.server
import socket
import threading
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kubeconfig import Access


class Server(http.server.ThreadingHTTPServer):
    """Answers everything, and notes what came: the first line, and the headers."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.address_family = family
        super().__init__(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), Handler)
        self.lines: list[str] = []
        self.headers: list[list[tuple[str, str]]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.server.lines.append(self.requestline.removesuffix(" HTTP/1.1"))
        self.server.headers.append([(name.lower(), value) for name, value in self.headers.items()])
        body = b'{"kind": "Good", "items": []}'
        self.send_response(407 if self.command == "CONNECT" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_CONNECT = answer

    def log_message(self, *_arguments: t.Any) -> None:
        """Quiet."""


@pytest.fixture
def start() -> t.Iterator[t.Callable[..., Server]]:
    running: list[Server] = []

    def one(family: socket.AddressFamily = socket.AF_INET) -> Server:
        server = Server(family)
        running.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    yield one
    for server in running:
        server.shutdown()
        server.server_close()


def read(access: Access) -> t.Any:
    """Also as a stream, which goes the same way."""
    one = Client(access, 5.0)
    stream = one.watch(client.Resource("v1", "Node", "nodes", False), "", "1", 1.0)
    assert b"Good" in stream.whole()
    stream.close()
    return one.read("/version", "see the version")


def test_a_server_below_a_path(start: t.Callable[..., Server]) -> None:
    server = start()
    assert read(Access(server=f"http://127.0.0.1:{server.server_port}/k8s/clusters/c-1"))["kind"] == "Good"
    assert server.lines[-1] == "GET /k8s/clusters/c-1/version"
    assert server.lines[0].startswith("GET /k8s/clusters/c-1/api/v1/nodes?watch=true")


def test_a_server_with_an_ipv6_address(start: t.Callable[..., Server]) -> None:
    server = start(socket.AF_INET6)
    assert read(Access(server=f"http://[::1]:{server.server_port}"))["kind"] == "Good"
    assert ("host", f"[::1]:{server.server_port}") in server.headers[-1]


def test_a_proxy_passes_on_what_is_in_the_clear_and_is_told_who_asks(start: t.Callable[..., Server]) -> None:
    proxy = start()
    access = Access(server="http://api.lab.example:8080", proxy=f"http://ann:pass%20word@127.0.0.1:{proxy.server_port}")
    assert read(access)["kind"] == "Good"
    assert proxy.lines[-1] == "GET http://api.lab.example:8080/version"
    assert ("proxy-authorization", "Basic YW5uOnBhc3Mgd29yZA==") in proxy.headers[-1]
    assert {"pass word", "pass%20word"} <= set(access.secrets())


def test_a_proxy_that_refuses_a_tunnel_is_said(start: t.Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    monkeypatch.setattr(client, "PATIENCE", 0.1)
    proxy = start()
    access = Access(
        server="https://api.lab.example:6443",
        proxy=f"http://ann:hunter2@127.0.0.1:{proxy.server_port}",
        tls=ssl.create_default_context(),
    )
    with pytest.raises(errors.Unreachable, match="407") as caught:
        Client(access, 5.0).read("/version", "see the version")
    assert "proxy" in caught.value.message
    assert "hunter2" not in caught.value.message
    assert proxy.lines[0].split()[:2] == ["CONNECT", "api.lab.example:6443"]  # Python 3.11 names the version here, too
    assert ("proxy-authorization", "Basic YW5uOmh1bnRlcjI=") in proxy.headers[0]


def test_each_request_says_as_whom_it_is(start: t.Callable[..., Server]) -> None:
    server = start()
    acting = (("Impersonate-User", "bob"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    access = Access(
        server=f"http://127.0.0.1:{server.server_port}", headers={"authorization": "Bearer t"}, acting_as=acting
    )
    read(access)
    Client(access, 5.0).create("/apis", {}, "ask")
    for headers in server.headers:
        assert [one for one in headers if one[0].startswith("impersonate")] == [(n.lower(), v) for n, v in acting]
        assert ("authorization", "Bearer t") in headers
    assert ("content-type", "application/json") in server.headers[-1]
