# SPDX-License-Identifier: GPL-3.0-or-later
"""HA resources and rules. What a running manager does with them: ``ha_manager``."""

from __future__ import annotations

import hashlib
import json
import typing as t

from . import formats
from .api import Call, handles
from .errors import Failure
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
        raise Failure(f"unable to find VM/CT with ID '{sent}'")
    return f"{'vm' if isinstance(guest, Vm) else 'ct'}:{sent}"


def _check_guest(call: Call, sid: str) -> None:
    kind, _, vmid = sid.partition(":")
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
    digest = _digest(call)
    return [_shown(sid, resource) | {"digest": digest} for sid, resource in _resources(call).items()]


@handles("GET", f"{_RESOURCES}/{{sid}}")
def get(call: Call) -> dict[str, t.Any]:
    return _shown(*_existing(call)) | {"digest": _digest(call)}


@handles("POST", _RESOURCES)
def add(call: Call) -> None:
    sid = _sid(call)
    _check_guest(call, sid)
    if call.params.get("group"):
        raise Failure("cannot use ha groups, they have been migrated to rules")
    if sid in _resources(call):
        raise Failure(f"create resource failed: resource ID '{sid}' already defined")
    given = {key: value for key, value in call.params.items() if key not in ("sid", "type")}
    _resources(call)[sid] = given
    call.cluster.ha_request(sid)


def manage(cluster: Cluster, sid: str, state: str) -> None:
    """Make a new guest a resource."""
    cluster.extra("ha", dict)[sid] = {"state": state}
    cluster.ha_request(sid)


@handles("PUT", f"{_RESOURCES}/{{sid}}")
def update(call: Call) -> None:
    sid, resource = _existing(call)
    if call.params.get("digest") not in (None, _digest(call)):
        text = "detected modified configuration - file changed by other user? Try again."
        raise Failure(f"update resources config failed: {text}")
    for key in formats.split_list(call.text("delete")):
        resource.pop(key, None)
    resource.update({key: v for key, v in call.params.items() if key not in ("sid", "digest", "delete")})
    call.cluster.ha_request(sid)


def _move(call: Call) -> dict[str, str]:
    sid, resource = _existing(call)
    target = call.text("node")
    if target not in call.cluster.nodes:
        raise Failure(f"no such cluster node '{target}'")
    if resource.get("state") == "ignored":
        raise Failure(f"service '{sid}' in ignored state, cannot migrate")
    call.cluster.ha_request(sid, target=target)
    return {"sid": sid, "requested-node": target}


handles("POST", f"{_RESOURCES}/{{sid}}/migrate", f"{_RESOURCES}/{{sid}}/relocate")(_move)


@handles("DELETE", f"{_RESOURCES}/{{sid}}")
def remove(call: Call) -> None:
    sid = _sid(call)
    if sid not in _resources(call):
        raise Failure(f"cannot delete service '{sid}', not HA managed!")
    del _resources(call)[sid]


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


@handles("GET", "/cluster/ha/rules")
def rules(call: Call) -> list[dict[str, t.Any]]:
    known = call.cluster.extra("ha_rules", dict)
    digest = hashlib.sha1(json.dumps(known).encode(), usedforsecurity=False).hexdigest()
    return [{"rule": name, **rule, "order": n, "digest": digest} for n, (name, rule) in enumerate(known.items(), 1)]


def _rule(call: Call) -> dict[str, t.Any]:
    name = call.text("rule")
    known: dict[str, dict[str, t.Any]] = call.cluster.extra("ha_rules", dict)
    if name not in known:
        raise Failure(f"no such ha rule '{name}'")
    return known[name]


@handles("GET", "/cluster/ha/rules/{rule}")
def rule_get(call: Call) -> dict[str, t.Any]:
    return {"rule": call.text("rule"), **_rule(call)}


@handles("PUT", "/cluster/ha/rules/{rule}")
def rule_update(call: Call) -> None:
    rule = _rule(call)
    if call.text("type", rule["type"]) != rule["type"]:
        raise Failure(f"update ha rules failed: ha rule type of '{call.text('rule')}' cannot be changed")
    for key in formats.split_list(call.text("delete")):
        rule.pop(key, None)
    rule.update({key: value for key, value in call.params.items() if key not in ("rule", "digest", "delete")})


@handles("POST", "/cluster/ha/rules")
def rule_add(call: Call) -> None:
    wanted = formats.split_list(call.text("resources"))
    unmanaged = [sid for sid in wanted if sid not in _resources(call)]
    if unmanaged:
        raise Failure(f"create ha rule failed: cannot use unmanaged resource(s) {', '.join(unmanaged)}.")
    rule = {key: value for key, value in call.params.items() if key != "rule"}
    call.cluster.extra("ha_rules", dict)[call.text("rule")] = rule


@handles("DELETE", "/cluster/ha/rules/{rule}")
def rule_delete(call: Call) -> None:
    call.cluster.extra("ha_rules", dict).pop(call.text("rule"), None)


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
        state = resource.get("state", "started")
        entry: dict[str, t.Any] = {
            "id": f"service:{sid}", "sid": sid, "node": guest.node, "request_state": state, "state": state,
            "status": f"{sid} ({guest.node}, {state})", "type": "service", "failback": int(resource.get("failback", 1)),
            "max_relocate": int(resource.get("max_relocate", 1)), "max_restart": int(resource.get("max_restart", 1)),
        }  # fmt: skip
        found.append(entry)
    return found


@handles("GET", "/cluster/ha/status/manager_status")
def manager_status(call: Call) -> dict[str, t.Any]:
    services = {
        sid: {"node": call.cluster.guests[int(sid.partition(":")[2])].node, "state": resource.get("state", "started")}
        for sid, resource in _resources(call).items()
    }
    nodes = {node.name: "online" if node.online else "unknown" for node in call.cluster.nodes.values()}
    status_ = {"master_node": next(iter(nodes)), "node_status": nodes, "service_status": services}
    return {"manager_status": status_, "quorum": {"node": next(iter(nodes)), "quorate": "1"}, "lrm_status": {}}
