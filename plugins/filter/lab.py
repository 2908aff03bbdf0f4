# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a lab's variables to the inputs of the collection's modules. The work is done in ``module_utils/lab``."""

from __future__ import annotations

import multiprocessing
import typing as t

from ansible_collections.groundwork.homelab.plugins.module_utils.image_factory import schematics
from ansible_collections.groundwork.homelab.plugins.module_utils.lab import addresses
from ansible_collections.groundwork.homelab.plugins.module_utils.lab.inputs import Lab, foresight
from ansible_collections.groundwork.homelab.plugins.module_utils.lab.inventory import (
    Inventory,
    collect,
    plain,
    redacted,
)
from ansible_collections.groundwork.homelab.plugins.plugin_utils.template_errors import speaking

Hostvars = t.Mapping[str, t.Any]
Groups = t.Mapping[str, t.Sequence[str]]


class _Worker:
    """What one of Ansible's workers has collected: of one task, which names the lab a dozen times, and during which no
    host's variables change. Each time all variables of all hosts would be templated."""

    hostvars: Hostvars | None = None
    groups: Groups | None = None
    inventory: Inventory


def _collected(hostvars: Hostvars, groups: Groups) -> Inventory:
    if multiprocessing.parent_process() is None:  # the playbook's own process, which lives longer than a task
        return collect(hostvars, groups)
    if _Worker.hostvars is not hostvars or _Worker.groups != groups:
        _Worker.inventory = collect(hostvars, groups)
        _Worker.hostvars, _Worker.groups = hostvars, groups
    return _Worker.inventory


def _lab(hostvars: Hostvars, groups: Groups) -> Lab:
    return Lab(_collected(hostvars, groups))


def lab_inventory(hostvars: Hostvars, groups: Groups) -> dict[str, t.Any]:
    return redacted(_collected(hostvars, groups)).as_mapping()


def lab_proxmox(hostvars: Hostvars, groups: Groups) -> dict[str, t.Any]:
    return _lab(hostvars, groups).proxmox_connection()


def lab_images(hostvars: Hostvars, groups: Groups) -> list[dict[str, t.Any]]:
    return _lab(hostvars, groups).images()


def lab_vms(hostvars: Hostvars, groups: Groups) -> list[dict[str, t.Any]]:
    return _lab(hostvars, groups).vms()


def lab_talos(hostvars: Hostvars, groups: Groups) -> dict[str, t.Any]:
    lab = _lab(hostvars, groups)
    return {
        "cluster": lab.cluster(),
        "nodes": lab.nodes(),
        "members": [{key: node[key] for key in ("name", "address", "type")} for node in lab.nodes()],
        "patches": lab.lab_patches(),
        "control_plane_patches": lab.of_lab("talos_control_plane_patches"),
        "worker_patches": lab.of_lab("talos_worker_patches"),
    }


def lab_node_objects(hostvars: Hostvars, groups: Groups) -> list[dict[str, t.Any]]:
    return _lab(hostvars, groups).node_objects()


def lab_settings(hostvars: Hostvars, groups: Groups) -> dict[str, t.Any]:
    lab = _lab(hostvars, groups)
    first = lab.first_control_plane
    return {
        "name": lab.of_lab("lab_name"),
        "cluster_name": lab.cluster_name,
        "endpoint": lab.cluster()["endpoint"],
        "control_plane": {"name": first, "address": lab.of_machine(first, "machine_address")},
        "secrets_dir": lab.secrets_dir,
        "secrets_bundle": f"{lab.secrets_dir}/talos-secrets.yaml",
        "talosconfig": f"{lab.secrets_dir}/talosconfig",
        "kubeconfig": f"{lab.secrets_dir}/kubeconfig",
    }


def lab_foresight(
    changes: t.Sequence[t.Mapping[str, t.Any]], hostvars: Hostvars, groups: Groups, cluster_exists: bool
) -> dict[str, list[str]]:
    seen = foresight(_lab(hostvars, groups), changes, cluster_exists=cluster_exists)
    return {"planned": list(seen.planned), "silent": list(seen.silent)}


def mac_for(host: str, lab: str) -> str:
    return addresses.mac_for(host, lab)


def schematic_id(schematic: t.Mapping[str, t.Any]) -> str:
    return schematics.schematic_id(plain(schematic))


def next_free_address(network: t.Mapping[str, t.Any], taken: t.Iterable[str] = (), within: str | None = None) -> str:
    return addresses.next_free_address(plain(network), taken, within)


def address_range(text: str) -> dict[str, t.Any]:
    return addresses.address_range(text)


_FILTERS = (
    address_range,
    lab_foresight,
    lab_images,
    lab_inventory,
    lab_node_objects,
    lab_proxmox,
    lab_settings,
    lab_talos,
    lab_vms,
    mac_for,
    next_free_address,
    schematic_id,
)


class FilterModule:
    """The filters of this file; each has its documentation beside it."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {function.__name__: speaking(function) for function in _FILTERS}
