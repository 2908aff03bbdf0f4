# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests it takes to know kinds and to read objects, and what is done where a right is missing."""

from __future__ import annotations

import http.server
import json
import threading
import time
import typing as t
import urllib.parse

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import Refused
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import kubeconfig, reading
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.answers import UnknownKind
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.items import Item

Object = dict[str, t.Any]
CORE = "/api/v1"
FORBIDDEN = (403, {"message": "forbidden"})
NO_PATH = (404, {"message": "the server could not find the requested resource"})


class Played(http.server.ThreadingHTTPServer):
    """Answers by path; what has no answer is not there. ``asked`` are the paths, with what a LIST goes on from."""

    def __init__(self, answers: dict[str, t.Any]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = answers, list[str]()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Played
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        token = urllib.parse.parse_qs(url.query).get("continue", [""])[0]
        path = url.path + (f"?{token}" if token else "")
        self.server.asked.append(path)
        found = self.server.answers.get(path, (404, {"message": "not found"}))
        status, body, *headers = found if isinstance(found, tuple) else (200, found)
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_arguments: t.Any) -> None:
        """Quiet."""


@pytest.fixture
def play() -> t.Iterator[t.Callable[[dict[str, t.Any]], tuple[Client, Played]]]:
    running: list[Played] = []

    def start(answers: dict[str, t.Any]) -> tuple[Client, Played]:
        server = Played(answers)
        running.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return Client(kubeconfig.Access(server=f"http://127.0.0.1:{server.server_port}"), 5.0), server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def items(client: Client, *names: str, kind: str = "ConfigMap", api_version: str = "v1") -> list[Item]:
    """Of ``namespace/name``."""
    found = []
    for name in names:
        meta = dict(zip(("namespace", "name"), name.split("/"), strict=True))
        wanted = {"apiVersion": api_version, "kind": kind, "metadata": meta}
        found.append(Item(wanted, resource=client.resource(api_version, kind)))
    return found


def listed(*names: str, **meta: t.Any) -> Object:
    return {
        "metadata": meta,
        "items": [{"metadata": dict(zip(("namespace", "name"), name.split("/"), strict=True))} for name in names],
    }


def fail(_item: Item, error: UnknownKind) -> None:
    raise error


def test_one_list_for_a_kind_in_any_number_of_namespaces_and_no_discovery(play: t.Any) -> None:
    client, server = play({f"{CORE}/configmaps": listed("a/x", "b/y", "c/other")})
    given = items(client, "a/x", "b/y", "b/z")
    reading.read(client, given, fail)
    assert [bool(item.live) for item in given] == [True, True, False]
    assert given[0].live["kind"] == "ConfigMap"
    assert server.asked == [f"{CORE}/configmaps"]


def test_one_namespace_is_listed_alone_and_one_object_read_alone(play: t.Any) -> None:
    answers = {f"{CORE}/namespaces/a/configmaps": listed("a/x"), f"{CORE}/namespaces/a/secrets/s": {"kind": "Secret"}}
    client, server = play(answers)
    given = items(client, "a/x", "a/y") + items(client, "a/s", kind="Secret")
    reading.read(client, given, fail)
    assert [bool(item.live) for item in given] == [True, False, True]
    assert sorted(server.asked) == sorted(answers)


def test_who_may_not_look_everywhere_looks_where_they_may(play: t.Any) -> None:
    client, server = play({
        f"{CORE}/configmaps": FORBIDDEN,
        f"{CORE}/namespaces/a/configmaps": listed("a/x", "a/y"),
        f"{CORE}/namespaces/b/configmaps": FORBIDDEN,
        f"{CORE}/namespaces/b/configmaps/u": {"metadata": {"name": "u"}},
    })  # fmt: skip
    given = items(client, "a/x", "a/y", "b/u", "b/v")
    reading.read(client, given, fail)
    assert [bool(item.live) for item in given] == [True, True, True, False]
    assert len(server.asked) == 5


def test_of_very_many_objects_only_those_that_matter_are_read(play: t.Any) -> None:
    path = f"{CORE}/namespaces/a/configmaps"
    first = {"continue": "more", "remainingItemCount": 9000}
    client, server = play({path: listed("a/x", **first), f"{path}/z": {"metadata": {"name": "z"}}})
    given = items(client, "a/x", "a/z", "a/none")
    reading.read(client, given, fail)
    assert [bool(item.live) for item in given] == [True, True, False]
    assert sorted(server.asked) == [path, f"{path}/none", f"{path}/z"]


def test_a_kind_that_is_not_served_is_told_for_each_object(play: t.Any) -> None:
    client, _server = play({f"{CORE}/namespaces/a/configmaps": NO_PATH, f"{CORE}/namespaces/a/secrets/s": NO_PATH})
    told: list[str] = []
    given = items(client, "a/x", "a/y") + items(client, "a/s", kind="Secret")
    reading.read(client, given, lambda item, _error: told.append(item.name))
    assert sorted(told) == ["s", "x", "y"]


AGGREGATED = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {"name": "x.example"},
            "versions": [
                {
                    "version": version,
                    "resources": [{"resource": "things", "responseKind": {"kind": "Thing"}, "scope": "Cluster"}],
                }
                for version in ("v1beta1", "v1")
            ],
        }
    ],
}


def test_all_other_kinds_are_known_after_one_request(play: t.Any) -> None:
    client, server = play({"/apis": AGGREGATED})
    found = client.resource("x.example/v1", "Thing")
    assert (found.plural, found.namespaced) == ("things", False)
    assert client.resource("y.example/v1", "Other") is None
    assert client.resource("apps/v1", "Deployment").plural == "deployments"
    assert client.kinds("x.example/v1") == ["Thing"]
    assert client.discovery.versions("x.example", "Thing") == ["x.example/v1", "x.example/v1beta1"]
    assert server.asked == ["/apis"]
    client.forget()
    assert client.resource("x.example/v1", "Thing") is not None
    assert server.asked == ["/apis", "/apis"]


def test_a_server_without_the_whole_is_asked_for_the_version(play: t.Any) -> None:
    resources = [
        {"kind": "Thing", "name": "things", "namespaced": True},
        {"kind": "Thing", "name": "things/status", "namespaced": True},
    ]
    client, server = play({"/apis": {"kind": "APIGroupList"}, "/apis/x.example/v1": {"resources": resources}})
    assert client.resource("x.example/v1", "Thing").namespaced
    assert client.resource("x.example/v2", "Thing") is None
    assert server.asked.count("/apis/x.example/v1") == 1


def test_a_server_that_says_when_to_come_again_is_not_asked_before(play: t.Any) -> None:
    client, server = play({"/busy": (429, {"message": "busy"}, ("retry-after", "1"))})

    def relieve() -> None:
        end = time.monotonic() + 10
        while not server.asked and time.monotonic() < end:
            time.sleep(0.01)
        server.answers["/busy"] = {"kind": "Good"}

    threading.Thread(target=relieve, daemon=True).start()
    started = time.monotonic()
    assert client.read("/busy", "look") == {"kind": "Good"}
    assert time.monotonic() - started >= 0.9
    assert len(server.asked) == 2


def test_a_selector_that_is_wrong_is_what_is_to_be_corrected(play: t.Any) -> None:
    client, _server = play({f"{CORE}/pods": (400, {"message": "unable to parse requirement"})})
    with pytest.raises(Refused, match=r"unable to parse requirement\. Correct the selector\."):
        client.list(client.resource("v1", "Pod"), labelSelector="a in (b")
