# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's own settings: DNS, time zone, hosts file, notes."""

from __future__ import annotations

import datetime
import hashlib
import typing as t
import zoneinfo

from . import formats
from .api import Call, handles
from .cluster_calls import kept_notes
from .errors import Failure, ParameterError
from .firewall import CHANGED


def _settings(call: Call) -> dict[str, t.Any]:
    known: dict[str, dict[str, t.Any]] = call.cluster.extra("node_settings", dict)
    node = call.node
    hosts = f"127.0.0.1 localhost\n{node.config.address} {node.name}.test.lan {node.name}\n"
    start = {"dns": {"dns1": "10.255.255.53"}, "timezone": "Etc/UTC", "hosts": hosts, "config": {}}
    return known.setdefault(node.name, start)


def resolvers(call: Call) -> dict[str, str]:
    """What the node itself asks for names."""
    return dict(_settings(call)["dns"])


@handles("GET", "/nodes/{node}/dns")
def dns(call: Call) -> dict[str, t.Any]:
    return resolvers(call)


@handles("PUT", "/nodes/{node}/dns")
def set_dns(call: Call) -> None:
    """Servers that are not named any more are gone."""
    _settings(call)["dns"] = {
        name: call.text(name) for name in ("search", "dns1", "dns2", "dns3") if name in call.params
    }


@handles("GET", "/nodes/{node}/time")
def clock(call: Call) -> dict[str, t.Any]:
    now, zone = int(call.cluster.config.clock()), _settings(call)["timezone"]
    offset = datetime.datetime.fromtimestamp(now, zoneinfo.ZoneInfo(zone)).utcoffset() or datetime.timedelta()
    return {"localtime": now + int(offset.total_seconds()), "time": now, "timezone": zone}


@handles("PUT", "/nodes/{node}/time")
def set_zone(call: Call) -> None:
    zone = call.text("timezone")
    if zone not in zoneinfo.available_timezones():
        raise ParameterError({"timezone": "No such timezone"})
    _settings(call)["timezone"] = zone


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@handles("GET", "/nodes/{node}/hosts")
def hosts(call: Call) -> dict[str, t.Any]:
    text = _settings(call)["hosts"]
    return {"data": text, "digest": _digest(text)}


@handles("POST", "/nodes/{node}/hosts")
def set_hosts(call: Call) -> None:
    if call.params.get("digest") not in (None, _digest(_settings(call)["hosts"])):
        raise Failure(CHANGED)
    _settings(call)["hosts"] = call.text("data")


def _config_digest(known: dict[str, t.Any]) -> str:
    return _digest("".join(f"{name}: {value}\n" for name, value in sorted(known.items())))


@handles("GET", "/nodes/{node}/config")
def config(call: Call) -> dict[str, t.Any]:
    known = _settings(call)["config"]
    if "property" in call.params:
        return {name: value for name, value in known.items() if name == call.text("property")}
    written = known or _settings(call).get("config written")
    return {**known, "digest": _config_digest(known)} if written else {}


@handles("PUT", "/nodes/{node}/config")
def set_config(call: Call) -> None:
    known = _settings(call)["config"]
    if call.params.get("digest") not in (None, _config_digest(known)):
        raise Failure(CHANGED)
    known.update({name: value for name, value in call.without_path().items() if name not in ("delete", "digest")})
    for name in formats.split_list(call.text("delete")):
        known.pop(name, None)
    if "description" in known:
        known["description"] = kept_notes(str(known["description"]))
    _settings(call)["config written"] = True
