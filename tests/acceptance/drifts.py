# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight drifts, made by other means than the collection wherever there are other means."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from .labs import Lab

_CONFIG = "/nodes/pve1/qemu/200/config"


@dataclasses.dataclass(frozen=True)
class Drift:
    """``make`` returns arguments for the playbook that comes after it (an inventory that wants something else);
    ``resource`` is what the playbook must then name."""

    make: t.Callable[[Lab], tuple[str, ...]]
    resource: str


def _memory(lab: Lab) -> tuple[str, ...]:
    lab.proxmox("PUT", _CONFIG, memory="8192")
    return ()


def _tag(lab: Lab) -> tuple[str, ...]:
    lab.proxmox("PUT", _CONFIG, tags="by-hand")
    return ()


def _vlan(lab: Lab) -> tuple[str, ...]:
    net0 = lab.proxmox("GET", _CONFIG)["net0"]
    lab.proxmox("PUT", _CONFIG, net0=re.sub(r"tag=30", "tag=31", net0))
    return ()


def _disk(lab: Lab) -> tuple[str, ...]:
    """A disk cannot be made smaller by anybody, so the inventory wants a larger one."""
    return ("-e", json.dumps({"machine_disk": 120}))


def _stopped(lab: Lab) -> tuple[str, ...]:
    lab.await_task(lab.proxmox("POST", "/nodes/pve1/qemu/200/status/stop"))
    return ()


def _sysctl(lab: Lab) -> tuple[str, ...]:
    """Nothing but the Talos API changes a node: the same module, told something else."""
    patches = [{"machine": {"sysctls": {"vm.swappiness": "1"}}}]
    run = lab.run("bootstrap", "-e", json.dumps({"talos_node_patches": patches}))
    if run.rc or not run.changed:
        raise RuntimeError(run.tail())
    return ()


def _label(lab: Lab) -> tuple[str, ...]:
    lab.kubernetes("PATCH", "/api/v1/nodes/talos-cp01", {"metadata": {"labels": {"topology.kubernetes.io/zone": None}}})
    return ()


def _manifest(lab: Lab) -> tuple[str, ...]:
    label = {"pod-security.kubernetes.io/enforce": "baseline"}
    lab.kubernetes("PATCH", "/api/v1/namespaces/observability", {"metadata": {"labels": label}})
    return ()


DRIFTS: dict[str, Drift] = {
    "VM memory": Drift(_memory, "vm/200"),
    "VM tag": Drift(_tag, "vm/200"),
    "NIC VLAN": Drift(_vlan, "vm/200"),
    "VM stopped": Drift(_stopped, "vm/200"),
    "Talos sysctl": Drift(_sysctl, "talos-config/talos-cp01"),
    "node label": Drift(_label, "Node/talos-cp01"),
    "applied manifest": Drift(_manifest, "Namespace/observability"),
    "disk size": Drift(_disk, "vm/200"),
}
