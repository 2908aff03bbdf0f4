# SPDX-License-Identifier: GPL-3.0-or-later
"""A right lab of one hypervisor, a control plane and a worker, and ways to make it wrong."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.lab.inventory import Inventory

NETWORKS = {
    "homelab": {
        "subnet": "192.168.30.0/24",
        "gateway": "192.168.30.1",
        "vlan": 30,
        "nameservers": ["192.168.30.45"],
        "ranges": {
            "nodes": "192.168.30.50-192.168.30.59",
            "load_balancers": "192.168.30.60-80",
            "dhcp": "192.168.30.81-192.168.30.254",
        },
    }
}
SHARED = {
    "lab_name": "home",
    "lab_networks": NETWORKS,
    "proxmox_api_user": "ansible@pve",
    "proxmox_api_token_id": "groundwork",
}
HOSTS: dict[str, dict[str, t.Any]] = {
    "pve1": {**SHARED, "ansible_host": "192.168.30.10"},
    "cp1": {**SHARED, "machine_vmid": 200, "machine_address": "192.168.30.50"},
    "w1": {**SHARED, "machine_vmid": 201, "machine_address": "192.168.30.51"},
}
GROUPS = {"proxmox": ["pve1"], "talos_control_planes": ["cp1"], "talos_workers": ["w1"]}


def lab(groups: dict[str, list[str]] | None = None, **variables: t.Any) -> Inventory:
    """The right lab. ``shared={…}`` sets variables for all hosts, any other keyword those of one host; None removes one."""
    hosts = copy.deepcopy(HOSTS)
    for host in [host for members in (groups or {}).values() for host in members]:
        hosts.setdefault(host, copy.deepcopy(SHARED))
    for host, changed in variables.items():
        for target in hosts if host == "shared" else [host]:
            hosts[target].update(copy.deepcopy(changed))
    for host, changed in hosts.items():
        hosts[host] = {name: value for name, value in changed.items() if value is not None}
    return Inventory.from_mapping({"groups": {**GROUPS, **(groups or {})}, "hosts": hosts, "folder": "/labs/home"})


def network(**changed: t.Any) -> dict[str, t.Any]:
    """``lab_networks`` with other fields in its only network."""
    return {"lab_networks": {"homelab": {**NETWORKS["homelab"], **changed}}}
