# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's own settings: DNS, time zone, hosts file, notes."""

from __future__ import annotations

import hashlib
import typing as t

from . import formats
from .api import Call, handles
from .errors import Failure


def _settings(call: Call) -> dict[str, t.Any]:
    known: dict[str, dict[str, t.Any]] = call.cluster.extra("node_settings", dict)
    node = call.node
    hosts = f"127.0.0.1 localhost\n{node.config.address} {node.name}.test.lan {node.name}\n"
    start = {"dns": {"dns1": "10.255.255.53"}, "timezone": "Etc/UTC", "hosts": hosts, "config": {}}
    return known.setdefault(node.name, start)


@handles("GET", "/nodes/{node}/dns")
def dns(call: Call) -> dict[str, t.Any]:
    return dict(_settings(call)["dns"])


@handles("PUT", "/nodes/{node}/dns")
def set_dns(call: Call) -> None:
    """Servers that are not named any more are gone."""
    _settings(call)["dns"] = {
        name: call.text(name) for name in ("search", "dns1", "dns2", "dns3") if name in call.params
    }


@handles("GET", "/nodes/{node}/time")
def clock(call: Call) -> dict[str, t.Any]:
    now = int(call.cluster.config.clock())
    return {"localtime": now, "time": now, "timezone": _settings(call)["timezone"]}


@handles("PUT", "/nodes/{node}/time")
def set_zone(call: Call) -> None:
    _settings(call)["timezone"] = call.text("timezone")


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@handles("GET", "/nodes/{node}/hosts")
def hosts(call: Call) -> dict[str, t.Any]:
    text = _settings(call)["hosts"]
    return {"data": text, "digest": _digest(text)}


@handles("POST", "/nodes/{node}/hosts")
def set_hosts(call: Call) -> None:
    if call.params.get("digest") not in (None, _digest(_settings(call)["hosts"])):
        raise Failure("detected modified configuration - file changed by other user? Try again.")
    _settings(call)["hosts"] = call.text("data")


@handles("GET", "/nodes/{node}/config")
def config(call: Call) -> dict[str, t.Any]:
    found = dict(_settings(call)["config"])
    if "property" in call.params:
        found = {name: value for name, value in found.items() if name == call.text("property")}
    text = "".join(f"{name}: {value}\n" for name, value in sorted(found.items()))
    return found | {"digest": _digest(text)} if found else {}


@handles("PUT", "/nodes/{node}/config")
def set_config(call: Call) -> None:
    known = _settings(call)["config"]
    for name in formats.split_list(call.text("delete")):
        known.pop(name, None)
    known.update({name: value for name, value in call.without_path().items() if name not in ("delete", "digest")})
