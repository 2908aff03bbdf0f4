# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machine is at an address: virtual addresses, machines that have another's config, disks that are not there."""

from __future__ import annotations

import typing as t

import pytest
from talos_room import options, run

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput, Refused, ServerFault
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import right_machine
from ansible_collections.groundwork.homelab.plugins.module_utils.talos.inputs import Node

Json = dict[str, t.Any]
CP1 = Node("cp1", "10.77.0.11", "controlplane")


def config(name: str = "cp1", kind: str = "controlplane", **network: t.Any) -> list[Json]:
    main = {"version": "v1alpha1", "machine": {"type": kind, "network": network}}
    return [main, {"apiVersion": "v1alpha1", "kind": "HostnameConfig", "hostname": name}]


@pytest.mark.parametrize(
    ("documents", "found"),
    [
        (config(), set()),
        (config(interfaces=[{"interface": "eth0", "vip": {"ip": "10.0.0.9"}}]), {"10.0.0.9"}),
        (config(interfaces=[{"interface": "eth0", "vlans": [{"vlanId": 5, "vip": {"ip": "fd00:0::9"}}]}]), {"fd00::9"}),
        (config(interfaces=[{"interface": "eth0", "vlans": None, "vip": None}]), set()),
        ([*config(), {"apiVersion": "v1alpha1", "kind": "Layer2VIPConfig", "name": "10.0.0.8", "link": "eth0"}], {"10.0.0.8"}),
        ([*config(), {"apiVersion": "v1alpha1", "kind": "HCloudVIPConfig", "name": "10.0.0.7"}], {"10.0.0.7"}),
    ],
)  # fmt: skip
def test_virtual_addresses_are_known_from_the_config(documents: list[Json], found: set[str]) -> None:
    assert right_machine.virtual_addresses(documents) == found


@pytest.mark.parametrize(
    ("current", "others", "why"),
    [
        (config("cp2"), {"cp2"}, "the machine there has the config of cp2"),
        (config("cp2.example.org"), {"cp2"}, "the machine there has the config of cp2"),
        (config("cp1", "worker"), set(), "the machine there, cp1, is a worker, and cp1 is to be a controlplane"),
        (config("", "worker"), set(), "the machine there is a worker, and cp1 is to be a controlplane"),
        (config("", "", hostname="cp3"), {"cp3"}, "the machine there has the config of cp3"),
    ],
)
def test_a_machine_that_is_another_is_refused(current: list[Json], others: set[str], why: str) -> None:
    with pytest.raises(Refused) as caught:
        right_machine.require_same(CP1, current, others, of="node")
    assert caught.value.answer == why


@pytest.mark.parametrize(
    ("current", "doubt"),
    [
        (config(), ""),
        (config(kind="init"), ""),
        (config("", hostname=""), ""),
        (config("cp1.example.org"), ""),
        (config("old"), "The machine at 10.77.0.11 is called old, and will be called cp1."),
    ],
)
def test_a_machine_that_may_be_meant_is_taken(current: list[Json], doubt: str) -> None:
    assert right_machine.require_same(CP1, current, {"cp2"}, of="node") == doubt


class Disks:
    """A client of a machine with these disks."""

    def __init__(self, *paths: str, installed: bool = False, silent: bool = False) -> None:
        self.paths, self.installed, self.silent = paths, installed, silent

    def resources(self, _namespace: str, kind: str) -> Json:
        if self.silent:
            raise ServerFault("list", answer="PERMISSION_DENIED")
        if kind.startswith("SystemDisks"):
            return {"system-disk": {"devPath": "/dev/sda"}} if self.installed else {}
        kinds = {"/dev/sr0": {"cdrom": True, "readonly": True}}
        return {path.rpartition("/")[2]: {"dev_path": path, **kinds.get(path, {})} for path in self.paths}


def install(**install: t.Any) -> list[Json]:
    return [{"version": "v1alpha1", "machine": {"install": install}}]


@pytest.mark.parametrize(
    ("wanted", "disks", "fits"),
    [
        (install(disk="/dev/sda"), Disks("/dev/sda", "/dev/sr0"), True),
        (install(disk="/dev/sda"), Disks("/dev/nvme0n1", "/dev/sr0", "/dev/loop0"), False),
        (install(disk="/dev/sda"), Disks("/dev/vda", installed=True), True),
        (install(disk="/dev/sda"), Disks(), True),
        (install(disk="/dev/sda"), Disks("/dev/vda", silent=True), True),
        (install(disk="/dev/disk/by-id/x"), Disks("/dev/vda"), True),
        (install(disk="/dev/sda", diskSelector={"type": "ssd"}), Disks("/dev/vda"), True),
        (install(), Disks("/dev/vda"), True),
        ([{"version": "v1alpha1", "machine": {"install": None}}], Disks("/dev/vda"), True),
    ],
)
def test_a_disk_to_install_on_is_one_that_is_there(wanted: list[Json], disks: Disks, fits: bool) -> None:
    if fits:
        right_machine.require_install_disk(CP1, wanted, t.cast(t.Any, disks))
        return
    with pytest.raises(InvalidInput) as caught:
        right_machine.require_install_disk(CP1, wanted, t.cast(t.Any, disks))
    assert "cp1 has no disk /dev/sda, on which Talos is to be installed. It has /dev/nvme0n1. " in caught.value.message


VIP: Json = {"machine": {"network": {"interfaces": [{"interface": "eth0", "dhcp": True, "vip": {"ip": "10.77.0.21"}}]}}}


def test_a_virtual_address_is_no_node_s(bundle_path: t.Any) -> None:
    """Not a worker's either, whose own config does not have it."""
    outcome = run("talos_apply_config", options(secrets_path=str(bundle_path), control_plane_patches=[VIP]))
    assert outcome["failed"] and "which is a virtual address of the cluster" in outcome["msg"], outcome["msg"]
    assert "Give the node's own address." in outcome["msg"] and not outcome["changed"]
