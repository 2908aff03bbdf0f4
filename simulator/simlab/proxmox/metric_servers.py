# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that metrics go to. Nothing is sent; those that are asked whether they are there (TCP, HTTP) are not."""

from __future__ import annotations

import hashlib
import json
import typing as t

from . import formats, schema
from .api import Call, handles
from .errors import Failure
from .firewall import CHANGED

_SERVERS = "/cluster/metrics/server"
_ONE = f"{_SERVERS}/{{id}}"
Server = dict[str, t.Any]

_OPTIONS = {
    "graphite": "server port mtu proto timeout path disable",
    "influxdb": """server port mtu disable organization bucket token influxdbproto timeout max-body-size api-path-prefix
        verify-certificate""",
    "opentelemetry": """server port disable otel-protocol otel-path otel-timeout otel-headers otel-verify-ssl
        otel-max-body-size otel-resource-attributes otel-compression""",
}
_REQUIRED = {"graphite": ("server",), "influxdb": ("server", "port"), "opentelemetry": ("server",)}


def _known(call: Call) -> dict[str, Server]:
    return t.cast("dict[str, Server]", call.cluster.extra("metric servers", dict))


def _digest(call: Call) -> str:
    return hashlib.sha1(json.dumps(_known(call), sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def _typed(sent: t.Mapping[str, t.Any]) -> Server:
    """As the configuration is read: numbers are numbers, a token lies elsewhere."""
    specs = schema.load().paths[_ONE]["POST"]["parameters"]["properties"]
    numeric = ("integer", "boolean")
    kept = {name: value for name, value in sent.items() if name != "token"}
    return {name: int(value) if specs[name].get("type") in numeric else value for name, value in kept.items()}


@handles("GET", _SERVERS)
def listing(call: Call) -> list[Server]:
    return [
        {
            "id": name,
            "disable": server.get("disable", 0),
            **{key: server.get(key) for key in ("type", "server", "port")},
        }
        for name, server in sorted(_known(call).items())
    ]


@handles("GET", _ONE)
def get(call: Call) -> Server:
    name = call.text("id")
    if name not in _known(call):
        raise Failure(f"status server entry '{name}' does not exist")
    return _known(call)[name]


@handles("POST", _ONE)
def create(call: Call) -> None:
    name, kind = call.text("id"), call.text("type")
    if name in _known(call):
        raise Failure(f"Metric server '{name}' already exists")
    given = {key: value for key, value in call.params.items() if key not in ("id", "type")}
    _check(kind, given)
    server = {"type": kind, **_typed(given)}
    _reach(server)
    _known(call)[name] = server


def _check(kind: str, given: t.Collection[str]) -> None:
    for key in given:
        if key not in _OPTIONS[kind].split():
            raise Failure(f"unexpected property '{key}'")


def _reach(server: Server) -> None:
    """A datagram reaches everybody; raises Failure for anything else."""
    protocol = server.get("proto") or server.get("influxdbproto") or "udp"
    if server["type"] == "opentelemetry":
        protocol = server.get("otel-protocol", "https")
    if server.get("disable") or protocol == "udp":
        return
    where = f"{server['server']}:{server.get('port', 2003)}"
    if protocol == "tcp":
        raise Failure(f"couldn't create carbon socket [{where.replace(':', ']:')} - Connection refused")
    raise Failure(f"500 Can't connect to {where} (Connection refused)")


@handles("PUT", _ONE)
def update(call: Call) -> None:
    name = call.text("id")
    if call.params.get("digest") not in (None, _digest(call)):
        raise Failure(CHANGED)
    if name not in _known(call):
        raise Failure(f"no such server '{name}'")
    server = dict(_known(call)[name])
    kind = str(server["type"])
    given = {key: value for key, value in call.params.items() if key not in ("id", "digest", "delete")}
    _check(kind, given)
    server |= _typed(given)
    for key in formats.split_list(call.text("delete")):
        if key not in _OPTIONS[kind].split():
            raise Failure(f"no such option '{key}'")
        if key in _REQUIRED[kind]:
            raise Failure(f"unable to delete required option '{key}'")
        if key in given:
            raise Failure(f"cannot set and delete property '{key}' at the same time!")
        server.pop(key, None)
    _reach(server)
    _known(call)[name] = server


@handles("DELETE", _ONE)
def delete(call: Call) -> None:
    if _known(call).pop(call.text("id"), None) is None:
        raise Failure("cannot lookup undefined type! at /usr/share/perl5/PVE/API2/Cluster/MetricServer.pm line 295.")
