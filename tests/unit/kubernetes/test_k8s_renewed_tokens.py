# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens that expire while a task waits: those that a program or a file gives are asked for again, and the request goes on."""

from __future__ import annotations

import concurrent.futures
import http.server
import json
import pathlib
import stat
import threading
import typing as t

import pytest
import yaml

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client, Resource
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kubeconfig import load

NODES = Resource("v1", "Node", "nodes", False)


class Server(http.server.ThreadingHTTPServer):
    """Takes one token, which may change, and notes which ones it was given."""

    valid = "first"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.given: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        token = str(self.headers.get("authorization")).removeprefix("Bearer ")
        self.server.given.append(token)
        known = token == self.server.valid
        status = {"kind": "Status", "reason": "Unauthorized", "message": "Unauthorized", "code": 401}
        body = json.dumps({"kind": "Good", "items": []} if known else status).encode()
        self.send_response(200 if known else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_arguments: t.Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> t.Iterator[Server]:
    one = Server()
    threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield one
    one.shutdown()
    one.server_close()


def by_file(folder: pathlib.Path) -> tuple[dict[str, t.Any], pathlib.Path]:
    return {"tokenFile": str(folder / "token")}, folder / "token"


def by_program(folder: pathlib.Path) -> tuple[dict[str, t.Any], pathlib.Path]:
    version = "client.authentication.k8s.io/v1"
    program = folder / "program"
    answer = f'{{"kind": "ExecCredential", "apiVersion": "{version}", "status": {{"token": "%s"}}}}'
    program.write_text(f"#!/bin/sh\necho x >> {folder}/runs\nprintf '{answer}' \"$(cat {folder}/token)\"\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}}, folder / "token"


WAYS = pytest.mark.parametrize("way", [by_file, by_program])


def connect(server: Server, folder: pathlib.Path, user: dict[str, t.Any]) -> Client:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": user}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    return Client(load(str(folder / "config"), None), 5.0)


@WAYS
def test_a_request_goes_on_with_the_new_token(server: Server, tmp_path: pathlib.Path, way: t.Any) -> None:
    user, token = way(tmp_path)
    token.write_text("first")
    client = connect(server, tmp_path, user)
    assert client.read("/version", "see the version")["kind"] == "Good"
    server.valid = "second"
    token.write_text("second")
    assert client.create("/api/v1/pods", {"kind": "Pod"}, "create a pod")["kind"] == "Good"
    stream = client.watch(NODES, "", "1", 1.0)
    assert b"Good" in stream.whole()
    stream.close()
    assert server.given == ["first", "first", "second", "second"]


@WAYS
def test_a_watch_goes_on_with_the_new_token(server: Server, tmp_path: pathlib.Path, way: t.Any) -> None:
    user, token = way(tmp_path)
    token.write_text("first")
    client = connect(server, tmp_path, user)
    server.valid = "second"
    token.write_text("second")
    stream = client.watch(NODES, "", "1", 1.0)
    assert stream.status == 200
    assert b"Good" in stream.whole()
    stream.close()


def test_of_many_requests_one_asks_the_program(server: Server, tmp_path: pathlib.Path) -> None:
    user, token = by_program(tmp_path)
    token.write_text("first")
    client = connect(server, tmp_path, user)
    server.valid = "second"
    token.write_text("second")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _number: client.read("/version", "see the version"), range(8)))
    assert [one["kind"] for one in found] == ["Good"] * 8
    assert (tmp_path / "runs").read_text().splitlines() == ["x"] * 2


def test_of_many_requests_one_asks_the_program_in_vain(server: Server, tmp_path: pathlib.Path) -> None:
    user, token = by_program(tmp_path)
    token.write_text("first")
    client = connect(server, tmp_path, user)
    server.valid = "second"

    def refused(_number: int) -> bool:
        with pytest.raises(errors.Unauthenticated):
            client.read("/version", "see the version")
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(refused, range(8)))
    assert (tmp_path / "runs").read_text().splitlines() == ["x"] * 2


@WAYS
def test_a_token_that_is_still_the_old_one_is_refused_once(server: Server, tmp_path: pathlib.Path, way: t.Any) -> None:
    user, token = way(tmp_path)
    token.write_text("first")
    client = connect(server, tmp_path, user)
    server.valid = "second"
    with pytest.raises(errors.Unauthenticated, match="Unauthorized"):
        client.read("/version", "see the version")
    assert server.given == ["first"]


@WAYS
def test_what_cannot_be_asked_again_is_told_as_the_server_said_it(
    server: Server, tmp_path: pathlib.Path, way: t.Any
) -> None:
    user, token = way(tmp_path)
    token.write_text("first")
    client = connect(server, tmp_path, user)
    server.valid = "second"
    (tmp_path / "config").unlink()
    with pytest.raises(errors.Unauthenticated, match="Unauthorized"):
        client.read("/version", "see the version")


def test_a_token_in_the_kubeconfig_itself_is_not_asked_for_again(server: Server, tmp_path: pathlib.Path) -> None:
    client = connect(server, tmp_path, {"token": "first"})
    server.valid = "second"
    connect(server, tmp_path, {"token": "second"})
    with pytest.raises(errors.Unauthenticated, match="Unauthorized"):
        client.read("/version", "see the version")
    assert server.given == ["first"]
