# SPDX-License-Identifier: GPL-3.0-or-later
"""HA resources and rules. What a running manager does with them: ``ha_manager``."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t

from . import formats, ha_rules
from .api import Call, handles
from .errors import Failure
from .firewall import CHANGED
from .qemu.vm import Vm

if t.TYPE_CHECKING:
    from .cluster import Cluster

_RESOURCES = "/cluster/ha/resources"


def _resources(call: Call) -> dict[str, dict[str, t.Any]]:
    return t.cast("dict[str, dict[str, t.Any]]", call.cluster.extra("ha", dict))


def _digest(call: Call) -> str:
    text = json.dumps(_resources(call), sort_keys=True)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _sid(call: Call) -> str:
    """``240`` is ``vm:240`` (or ``ct:240``)."""
    sent = call.text("sid")
    if ":" in sent:
        return sent
    guest = call.cluster.guests.get(int(sent))
    if guest is None:
        raise Failure(f"unable to detect SID from VMID - VM/CT {sent} does not exist")
    return f"{'vm' if isinstance(guest, Vm) else 'ct'}:{sent}"


def _check_guest(call: Call, sid: str) -> None:
    kind, _, vmid = sid.partition(":")
    if kind not in ("vm", "ct"):
        raise Failure(f"unknown section type '{kind}'")
    if not re.fullmatch("[1-9][0-9]+", vmid):
        raise Failure("invalid VMID")
    guest = call.cluster.guests.get(int(vmid))
    if guest is None:
        raise Failure(f"resource '{sid}' does not exist in cluster")
    if (kind == "vm") != isinstance(guest, Vm):
        wanted = "VM" if kind == "vm" else "container"
        raise Failure(f"resource '{sid}' - guest with ID {vmid} is not a {wanted}")


def _existing(call: Call) -> tuple[str, dict[str, t.Any]]:
    sid = _sid(call)
    if sid not in _resources(call):
        raise Failure(f"no such resource '{sid}'")
    return sid, _resources(call)[sid]


def _shown(sid: str, resource: dict[str, t.Any]) -> dict[str, t.Any]:
    numbers = ("max_restart", "max_relocate", "failback")
    typed = {key: int(value) if key in numbers else value for key, value in resource.items()}
    return {"sid": sid, "type": sid.partition(":")[0]} | typed


@handles("GET", _RESOURCES)
def listing(call: Call) -> list[dict[str, t.Any]]:
    digest, kind = _digest(call), call.params.get("type")
    return [
        _shown(sid, resource) | {"digest": digest}
        for sid, resource in _resources(call).items()
        if kind in (None, sid.partition(":")[0])
    ]


@handles("GET", f"{_RESOURCES}/{{sid}}")
def get(call: Call) -> dict[str, t.Any]:
    return _shown(*_existing(call)) | {"digest": _digest(call)}


@handles("POST", _RESOURCES)
def add(call: Call) -> None:
    sid = _sid(call)
    _check_kind(call, sid)
    _check_guest(call, sid)
    if sid in _resources(call):
        raise Failure(f"create resource failed: resource ID '{sid}' already defined")
    given = {key: value for key, value in call.params.items() if key not in ("sid", "type")}
    _resources(call)[sid] = given
    call.cluster.ha_request(sid)


def _check_kind(call: Call, sid: str) -> None:
    if call.text("type", sid.partition(":")[0]) != sid.partition(":")[0]:
        raise Failure("types does not match")
    if call.params.get("group"):
        raise Failure("invalid parameter 'group': ha groups have been migrated to rules")


def manage(cluster: Cluster, sid: str, state: str) -> None:
    """Make a new guest a resource."""
    cluster.extra("ha", dict)[sid] = {"state": state}
    cluster.ha_request(sid)


@handles("PUT", f"{_RESOURCES}/{{sid}}")
def update(call: Call) -> None:
    sid, failed = _sid(call), "update resources config failed"
    _check_kind(call, sid)
    if call.params.get("digest") not in (None, _digest(call)):
        raise Failure(f"{failed}: {CHANGED}")
    if sid not in _resources(call):
        raise Failure(f"{failed}: no such resource '{sid}'")
    resource = _resources(call)[sid]
    dropped = formats.split_list(call.text("delete"))
    for key in dropped:
        if key not in _OPTIONS:
            raise Failure(f"{failed}: no such option '{key}'")
    resource.update({key: value for key, value in call.params.items() if key in _OPTIONS})
    for key in dropped:
        resource.pop(key, None)
    call.cluster.ha_request(sid)


_OPTIONS = ("state", "group", "comment", "max_restart", "max_relocate", "failback")


def _move(call: Call) -> dict[str, str]:
    sid = _sid(call)
    if not call.cluster.ha_steers(sid):
        raise Failure(f"resource '{sid}' is not HA managed")
    target = call.text("node")
    if target in call.cluster.nodes:  # the manager does not care for others
        call.cluster.ha_request(sid, target=target)
    return {"sid": sid, "requested-node": target}


handles("POST", f"{_RESOURCES}/{{sid}}/migrate", f"{_RESOURCES}/{{sid}}/relocate")(_move)


@handles("DELETE", f"{_RESOURCES}/{{sid}}")
def remove(call: Call) -> None:
    sid = _sid(call)
    if sid not in _resources(call):
        raise Failure(f"cannot delete service '{sid}', not HA managed!")
    del _resources(call)[sid]
    if call.flag("purge", True):
        ha_rules.forget(call.cluster.extra("ha_rules", dict), sid)


@handles("GET", "/cluster/ha/groups")
def groups(call: Call) -> None:
    raise Failure("cannot index groups: ha groups have been migrated to rules")


@handles("GET", "/cluster/ha/groups/{group}")
def group(call: Call) -> None:
    raise Failure("cannot get group: ha groups have been migrated to rules")


@handles("POST", "/cluster/ha/groups")
def group_add(call: Call) -> None:
    raise Failure("cannot create group: ha groups have been migrated to rules")


@handles("PUT", "/cluster/ha/groups/{group}")
def group_update(call: Call) -> None:
    raise Failure("cannot update group: ha groups have been migrated to rules")


@handles("DELETE", "/cluster/ha/groups/{group}")
def group_delete(call: Call) -> None:
    raise Failure("cannot delete group: ha groups have been migrated to rules")


@handles("GET", "/cluster/ha/status/current")
def status(call: Call) -> list[dict[str, t.Any]]:
    node = next(iter(call.cluster.nodes))
    found: list[dict[str, t.Any]] = [
        {"id": "quorum", "node": node, "quorate": 1, "status": "OK", "type": "quorum"},
        {
            "armed-state": "standby", "id": "fencing", "node": node, "status": "standby (CRM watchdog standby)",
            "type": "fencing",
        },
    ]  # fmt: skip
    for sid, resource in _resources(call).items():
        guest = call.cluster.guests[int(sid.partition(":")[2])]
        wanted = resource.get("state", "started")
        state = wanted if call.cluster.config.ha_manager or wanted == "ignored" else "queued"
        entry: dict[str, t.Any] = {
            "id": f"service:{sid}", "sid": sid, "node": guest.node, "request_state": wanted, "state": state,
            "status": f"{sid} ({guest.node}, {state})", "type": "service", "failback": int(resource.get("failback", 1)),
            "max_relocate": int(resource.get("max_relocate", 1)), "max_restart": int(resource.get("max_restart", 1)),
        }  # fmt: skip
        found.append(entry)
    return found


@handles("GET", "/cluster/ha/status/manager_status")
def manager_status(call: Call) -> dict[str, t.Any]:
    node = next(iter(call.cluster.nodes))
    if not call.cluster.config.ha_manager:  # it never wrote a status
        return {"manager_status": {}, "quorum": {"node": node, "quorate": 1}}
    services = {
        sid: {"node": call.cluster.guests[int(sid.partition(":")[2])].node, "state": resource.get("state", "started")}
        for sid, resource in _resources(call).items()
    }
    nodes = {node.name: "online" if node.online else "unknown" for node in call.cluster.nodes.values()}
    status_ = {"master_node": next(iter(nodes)), "node_status": nodes, "service_status": services}
    return {"manager_status": status_, "quorum": {"node": node, "quorate": 1}, "lrm_status": {}}
