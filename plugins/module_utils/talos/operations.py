# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's parameters to the operations on a running cluster."""

from __future__ import annotations

import pathlib
import typing as t

from ..errors import InvalidInput
from ..task import Task
from ..waiting import Deadline
from . import compare, credentials, inputs, recovery, rights, secrets_bundle, snapshot_file, tls
from . import kubeconfig as kubeconfig_room
from .bootstrap import Bootstrap
from .health import Health
from .node import Connector
from .reboot import Reboot
from .reset import Reset, wanted_from


def bootstrap(task: Task) -> Bootstrap:
    node = _control_plane_node(task)
    given = enumerate(task.params["control_planes"])
    addresses = [inputs.address(text, f"control_planes[{index}]") for index, text in given]
    return Bootstrap(
        _connector(task, "Bootstrap"),
        node,
        task.params["cluster_name"],
        _deadline(task),
        others=[inputs.Node(one, one, "controlplane") for one in addresses if one != node.address],
        recovery=_recovery(task.params),
        progress=task.progress,
    )


def _recovery(params: t.Mapping[str, t.Any]) -> recovery.Recovery | None:
    if not params["recover_from"]:
        if params["recover_skip_hash_check"]:
            raise InvalidInput("recover_skip_hash_check is set without recover_from")
        return None
    path = pathlib.Path(params["recover_from"]).expanduser().absolute()
    return recovery.checked(snapshot_file.read(path, "recover_from"), params["recover_skip_hash_check"])


def reboot(task: Task) -> Reboot:
    params = task.params
    return Reboot(
        _connector(task, "Reboot"),
        inputs.nodes_from(params["nodes"], need_control_plane=False),
        _deadline(task),
        mode=params["mode"],
        serial=params["serial"],
        healthy=params["wait_healthy"],
        node_ready=params["node_ready"],
        force=params["force"],
        censor=_censor(task),
        progress=task.progress,
    )


def reset(task: Task) -> Reset:
    node = inputs.Node(
        inputs.node_name(task.params["node_name"], "node_name"),
        inputs.address(task.params["node"], "node"),
        "worker",
    )
    wanted = wanted_from(task.params)
    connector = _connector(task, "Reset")
    return Reset(connector, node, wanted, _deadline(task), force=task.params["force"], progress=task.progress)


def kubeconfig(task: Task) -> kubeconfig_room.Kubeconfig:
    path = credentials.bundle_path(task.params)
    known = None
    if path:
        known = credentials.load_bundle(path, task).authority("k8s").crt if path.exists() else b""
    return kubeconfig_room.Kubeconfig(
        _connector(task, "Kubeconfig"),
        _control_plane_node(task),
        pathlib.Path(task.params["dest"]).expanduser().absolute(),
        _deadline(task),
        known_ca=known,
        progress=task.progress,
    )


def health(task: Task) -> Health:
    nodes = inputs.nodes_from(task.params["nodes"])
    return Health(
        _connector(task),
        nodes,
        _deadline(task),
        node_ready=task.params["node_ready"],
        censor=_censor(task),
        progress=task.progress,
    )


def _censor(task: Task) -> t.Callable[[str], str]:
    """What hides the bundle's secrets in words of a node."""
    path = credentials.bundle_path(task.params)
    known = credentials.load_bundle(path, task).secret_values() if path and path.exists() else set()
    return compare.Discretion(frozenset(known)).censored


def planned_nodes(task: Task) -> list[dict[str, t.Any]]:
    """The nodes as :meth:`Health.wait` reports them, without having looked."""
    return [
        {"name": node.name, "address": node.address, "type": node.type, "stage": "planned"}
        for node in inputs.nodes_from(task.params["nodes"])
    ]


def _connector(task: Task, call: str = "") -> Connector:
    """For a task that makes this call, which needs a right of its own."""
    timeout = inputs.positive(task.params["timeout"], "timeout")
    identity = _identity(task)
    if call:
        rights.require(identity, call)
    return Connector(identity, timeout)


def _identity(task: Task) -> tls.Identity:
    """In check mode, when an earlier task would have made the bundle, somebody whom no node knows."""
    path = credentials.bundle_path(task.params)
    if task.check_mode and path and not path.exists():
        return credentials.from_bundle(secrets_bundle.generate())
    return credentials.from_params(task)


def _control_plane_node(task: Task) -> inputs.Node:
    address = inputs.address(task.params["node"], "node")
    return inputs.Node(task.params.get("node_name") or address, address, "controlplane")


def _deadline(task: Task) -> Deadline:
    return Deadline(inputs.positive(task.params["wait_timeout"], "wait_timeout"))
