# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab is what its inventory says, read as Ansible reads it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import textwrap
import typing as t

import pytest

from simlab import inventory
from simlab.contracts import Guest, Nic
from simlab.guests import Leases
from simlab.hypervisor import proxmox_config
from simlab.inventory import Inventory, InventoryError, interpret


def raw(**changes: t.Any) -> dict[str, t.Any]:
    every = {"lab_name": "small", "lab_networks": {"home": {"subnet": "192.168.30.0/24", "vlan": 30}}}
    hosts: dict[str, dict[str, t.Any]] = {
        "pve1.example.org": {"ansible_host": "192.168.30.10"},
        "cp1": {"machine_vmid": 200, "machine_address": "192.168.30.50/24"},
        "w1": {"machine_vmid": 201, "machine_address": "192.168.30.51", "machine_mac": "02:AA:00:00:00:01"},
    }
    groups = {"proxmox": ["pve1.example.org"], "talos_control_planes": ["cp1"], "talos_workers": ["w1"]}
    for path, value in changes.items():
        where, _, name = path.partition("__")
        target = every if where == "all" else hosts[where]
        target[name] = value
    return {"all": every, "hosts": {name: {**every, **own} for name, own in hosts.items()}, "groups": groups}


def lab(**changes: t.Any) -> Inventory:
    return interpret(raw(**changes), "inventories/small")


def test_defaults_are_those_of_the_collection() -> None:
    found = lab()
    assert (found.storage, found.image_storage, found.factories) == ("local-lvm", "local", ("factory.talos.dev",))
    assert (found.access.user, found.access.token, found.access.port) == ("ansible@pve", "groundwork", 8006)
    assert found.networks[0].gateway == "192.168.30.1" and found.networks[0].bridge == "vmbr0"
    assert found.hypervisors[0].name == "pve1"
    assert [(machine.name, machine.address, machine.node) for machine in found.machines] == [
        ("cp1", "192.168.30.50", "pve1"),
        ("w1", "192.168.30.51", "pve1"),
    ]


@pytest.mark.parametrize(
    ("changes", "user", "token"),
    [
        ({"all__proxmox_api_token_id": "me@pam!deploy"}, "me@pam", "deploy"),
        ({"all__proxmox_api_user": "me@pve", "all__proxmox_api_token_id": "deploy"}, "me@pve", "deploy"),
        ({"all__proxmox_api_user": "me@pve", "all__proxmox_api_password": None}, "me@pve", None),
        ({"all__proxmox_api_password": "x"}, "root@pam", None),
    ],
)
def test_the_playbooks_user_is_the_inventorys(changes: dict[str, t.Any], user: str, token: str | None) -> None:
    access = lab(**changes).access
    assert (access.user, access.token) == (user, token)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"all__lab_networks": None}, ["lab_networks is None"]),
        ({"all__lab_networks": {"home": {"subnet": "192.168.30.7/24"}}}, ["lab_networks.home", "host bits"]),
        ({"all__lab_networks": {"home": {}}}, ["lab_networks.home", "subnet"]),
        ({"all__lab_name": ""}, ["lab_name is not set"]),
        ({"pve1.example.org__ansible_host": "pve1.lan"}, ["ansible_host of pve1.example.org is 'pve1.lan'", "IPv4"]),
        ({"cp1__machine_vmid": "two"}, ["cp1", "machine_vmid"]),
        ({"cp1__machine_address": "192.168.30.500"}, ["cp1", "192.168.30.500"]),
        ({"cp1__machine_network": "iot"}, ["machine_network of cp1 is 'iot'", "home"]),
    ],
)
def test_an_inventory_that_describes_no_lab_is_refused_by_variable(changes: dict[str, t.Any], names: list[str]) -> None:
    with pytest.raises(InventoryError) as caught:
        lab(**changes)
    assert all(name in str(caught.value) for name in names), str(caught.value)


def test_a_lab_without_a_hypervisor_is_refused() -> None:
    given = raw()
    given["groups"].pop("proxmox")
    with pytest.raises(InventoryError, match="group proxmox has no host"):
        interpret(given, "x")


def test_an_endpoint_that_is_a_name_leads_to_the_first_control_plane() -> None:
    assert lab(all__talos_cluster_endpoint="https://api.small.test:6443").names == {"api.small.test": "192.168.30.50"}
    assert lab(all__talos_cluster_endpoint="https://192.168.30.60:6443").names == {}


def test_the_rights_of_the_playbooks_are_not_those_of_an_administrator(tmp_path: pathlib.Path) -> None:
    config = proxmox_config(lab(), tmp_path, "secret", "password", 0.02)
    privileges = set(config.roles["AnsibleGuests"])
    assert not privileges & {"Sys.Modify", "Permissions.Modify", "User.Modify", "Sys.Console", "Pool.Allocate"}
    assert {acl.subject for acl in config.acls} == {"ansible@pve", "ansible@pve!groundwork"}
    assert "/" not in {acl.path for acl in config.acls}


def _guest(vmid: int, *nics: Nic) -> Guest:
    return Guest(vmid, "qemu", f"vm{vmid}", "pve1", "u", 1, 1 << 30, "ovmf", nics, ())


@pytest.mark.parametrize(
    ("vmid", "nic", "address"),
    [
        (200, Nic("net0", "02:00:00:00:00:01", "vmbr0", 30), "192.168.30.50"),  # by the VM's number
        (999, Nic("net0", "02:aa:00:00:00:01", "vmbr0", 30), "192.168.30.51"),  # by the MAC
        (201, Nic("net0", "02:00:00:00:00:01", "vmbr0", 30), None),  # another MAC than the inventory's
        (200, Nic("net0", "02:00:00:00:00:01", "vmbr0", 31), None),  # another VLAN
        (200, Nic("net0", "02:00:00:00:00:01", "vmbr1", 30), None),  # another bridge
        (200, Nic("net0", "02:00:00:00:00:01", "vmbr0", 30, link_down=True), None),
        (300, Nic("net0", "02:00:00:00:00:01", "vmbr0", 30), None),  # nobody's
    ],
)
def test_a_lease_is_for_its_machine_on_its_vlan_only(vmid: int, nic: Nic, address: str | None) -> None:
    lease = Leases(lab()).find(_guest(vmid, nic), nic)
    assert (lease.address if lease else None) == address


def test_only_the_first_nic_gets_the_lease_of_the_vms_number() -> None:
    first, second = (Nic(f"net{slot}", f"02:00:00:00:00:0{slot}", "vmbr0", 30) for slot in (0, 1))
    assert Leases(lab()).find(_guest(200, first, second), second) is None


def test_an_inventory_is_read_with_its_templates_and_without_its_secrets(tmp_path: pathlib.Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(
        textwrap.dedent("""
        lab_name: templated
        base: 10.9.8
        lab_networks:
          home: {subnet: "{{ base }}.0/24", gateway: "{{ base }}.254"}
        proxmox_api_token_secret: "{{ lookup('pipe', 'false') }}"
        proxmox_api_user: "{{ lookup('env', 'SIMLAB_TEST_USER') }}"
        """)
    )
    (tmp_path / "hosts.yml").write_text(
        textwrap.dedent("""
        all:
          children:
            proxmox: {hosts: {pve: {ansible_host: "{{ base }}.2"}}}
            talos_control_planes: {hosts: {cp: {machine_vmid: 7, machine_address: "{{ base }}.3"}}}
        """)
    )
    environment = {**os.environ, "SIMLAB_TEST_USER": "deploy@pve", "PYTHONPATH": os.pathsep.join(_path())}
    found = asyncio.run(inventory.Reading(tmp_path, environment).result())
    assert (found.name, found.hypervisors[0].address, found.machines[0].address) == (
        "templated",
        "10.9.8.2",
        "10.9.8.3",
    )
    assert found.networks[0].gateway == "10.9.8.254"
    assert found.access.user == "deploy@pve" and "proxmox_api_token_secret" in found.access.given


def _path() -> list[str]:
    return [str(pathlib.Path(inventory.__file__).parents[1])]
