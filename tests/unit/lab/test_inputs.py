# SPDX-License-Identifier: GPL-3.0-or-later
"""From a lab's variables to the modules' inputs."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab_inventories import NETWORKS, lab, network

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.lab.addresses import mac_for, next_free_address
from ansible_collections.groundwork.homelab.plugins.module_utils.lab.inputs import Lab, foresight
from ansible_collections.groundwork.homelab.plugins.module_utils.lab.kinds import is_unicast_mac

AGENT_ID = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"
VOLUME = "local:import/talos-ce4c980550dd-v1.13.9-nocloud-amd64.qcow2"


def test_a_machine_gets_all_that_the_inventory_leaves_open() -> None:
    assert Lab(lab(cp1={"machine_mac": "bc:24:11:aa:bb:cc"})).vm("cp1") == {
        "vmid": 200,
        "name": "cp1",
        "node": "pve1",
        "state": "started",
        "cores": 2,
        "sockets": 1,
        "cpu": "x86-64-v2-AES",
        "memory": 4096,
        "machine": "q35",
        "bios": "ovmf",
        "efidisk": {"storage": "local-lvm", "type": "4m", "pre_enrolled_keys": False},
        "scsihw": "virtio-scsi-single",
        "disks": [
            {
                "slot": "scsi0",
                "storage": "local-lvm",
                "size": "32G",
                "import_from": VOLUME,
                "discard": True,
                "ssd": True,
                "iothread": True,
            }
        ],
        "networks": [{"slot": "net0", "model": "virtio", "bridge": "vmbr0", "vlan": 30, "mac": "BC:24:11:AA:BB:CC"}],
        "cloud_init": {
            "storage": "local-lvm",
            "slot": "ide2",
            "ipconfig": ["ip=192.168.30.50/24,gw=192.168.30.1"],
            "nameservers": ["192.168.30.45"],
        },
        "agent": True,
        "ostype": "l26",
        "boot_order": ["scsi0"],
        "onboot": True,
        "allow_restart": False,
    }


def test_without_uefi_there_is_no_disk_for_its_variables() -> None:
    assert "efidisk" not in Lab(lab(cp1={"machine_bios": "seabios"})).vm("cp1")


def test_extra_disks_follow_the_first() -> None:
    disks = Lab(lab(cp1={"machine_extra_disks": [{"size": 100}, {"size": 200, "storage": "tank"}]})).disks("cp1")
    assert [(disk["slot"], disk["storage"], disk["size"]) for disk in disks] == [
        ("scsi0", "local-lvm", "32G"),
        ("scsi1", "local-lvm", "100G"),
        ("scsi2", "tank", "200G"),
    ]


def test_no_agent_is_waited_for_that_is_not_in_the_image() -> None:
    assert Lab(lab(shared={"talos_schematic": {"customization": {}}})).vm("cp1")["agent"] is False


def test_machines_of_one_image_share_it() -> None:
    assert len(Lab(lab()).images()) == 1
    assert len(Lab(lab(w1={"talos_schematic": {}})).images()) == 2


def test_a_lab_with_several_hypervisors_wants_to_know_which() -> None:
    two = lab({"proxmox": ["pve1", "pve2"]}, pve2={"ansible_host": "192.168.30.11"})
    with pytest.raises(InvalidInput, match="machine_node of cp1 is not set, and the lab has 2 hypervisors"):
        Lab(two).vm("cp1")


def test_the_connection_has_only_what_the_inventory_says() -> None:
    assert Lab(lab()).proxmox_connection() == {
        "api_host": "192.168.30.10",
        "api_user": "ansible@pve",
        "api_token_id": "groundwork",
    }


def test_the_installer_is_that_of_the_machines_own_schematic() -> None:
    lab_ = Lab(lab(w1={"talos_schematic": {}}))
    assert lab_.cluster()["installer_image"] == f"factory.talos.dev/nocloud-installer/{AGENT_ID}:v1.13.9"
    assert lab_.nodes()[0]["patches"] == []
    installer = lab_.nodes()[1]["patches"][0]["machine"]["install"]["image"]
    assert installer.startswith("factory.talos.dev/nocloud-installer/376567988ad3")


def test_a_cluster_is_named_after_the_lab_and_answers_at_its_first_control_plane() -> None:
    cluster = Lab(lab()).cluster()
    assert (cluster["name"], cluster["endpoint"]) == ("home", "https://192.168.30.50:6443")
    assert "cni" not in cluster
    assert Lab(lab(shared={"talos_version": "1.13.9"})).cluster()["talos_version"] == "v1.13.9"


def test_labels_taints_and_time_servers_become_patches_before_the_users_own() -> None:
    own = {"machine": {"sysctls": {"a": "1"}}}
    lab_ = Lab(
        lab(
            shared={"lab_time_servers": ["time.example.org"], "talos_patches": [own]},
            w1={
                "talos_node_labels": {"rack": 1},
                "talos_node_taints": {"gpu": "NoSchedule"},
                "talos_node_patches": [own],
            },
        )
    )
    assert lab_.lab_patches() == [{"machine": {"time": {"servers": ["time.example.org"]}}}, own]
    labelled = {"machine": {"nodeLabels": {"rack": "1"}, "nodeTaints": {"gpu": "NoSchedule"}}}
    assert lab_.nodes()[1] == {"name": "w1", "address": "192.168.30.51", "type": "worker", "patches": [labelled, own]}
    assert [node["metadata"] for node in lab_.node_objects()] == [{"name": "w1", "labels": {"rack": "1"}}]


def test_secrets_lie_in_the_inventorys_folder_unless_said_otherwise() -> None:
    assert Lab(lab()).secrets_dir == "/labs/home/secrets"
    assert Lab(lab(shared={"lab_secrets_dir": "/safe/"})).secrets_dir == "/safe"


def nic(before: str | None, after: str) -> dict[str, t.Any]:
    return {"resource": "vm/200", "action": "update", "before": {"net0": before}, "after": {"net0": after}}


@pytest.mark.parametrize(
    ("changes", "exists", "planned", "silent"),
    [
        ([], True, (), ()),
        ([{"resource": "vm/200", "action": "create"}, {"resource": "vm/200", "action": "start"}], False, ("cp1",), ()),
        ([{"resource": "vm/201", "action": "create"}], True, ("w1",), ()),
        ([{"resource": "vm/200", "action": "start"}], True, (), ("cp1",)),
        ([{"resource": "vm/200", "action": "start"}], False, ("cp1",), ()),
        ([nic("virtio=…,tag=20", "virtio=…,tag=30")], True, (), ("cp1",)),
        ([nic("virtio=…,tag=30", "virtio=…,link_down=1,tag=30")], True, (), ("cp1",)),
        ([nic(None, "virtio=…,tag=30")], True, (), ("cp1",)),
        ([nic("virtio=…,tag=30", "virtio=…,mtu=1400,rate=10,tag=30")], True, (), ()),
        ([{"resource": "vm/200", "action": "update", "after": {"memory": "8192"}}], True, (), ()),
        ([{"resource": "image/pve1/x", "action": "create"}], False, (), ()),
    ],
)
def test_check_mode_knows_whom_it_cannot_ask(
    changes: list[dict[str, t.Any]], exists: bool, planned: tuple[str, ...], silent: tuple[str, ...]
) -> None:
    seen = foresight(Lab(lab()), changes, cluster_exists=exists)
    assert (seen.planned, seen.silent) == (planned, silent)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shared": {"lab_networks": None}}, "lab_networks is not set"),
        ({"cp1": {"machine_vmid": None}}, "machine_vmid of cp1 is not set"),
        ({"cp1": {"machine_vmid": "x"}}, "machine_vmid of cp1 is 'x', which is no number"),
        ({"cp1": {"machine_network": "elsewhere"}}, "machine_network of cp1 is 'elsewhere'"),
        ({"shared": network(subnet="nonsense")}, "The subnet 'nonsense'"),
    ],
)
def test_a_lab_that_was_not_checked_gets_an_error_with_the_variable(changed: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Lab(lab(**changed)).vms()


# -- addresses ---------------------------------------------------------------------------------------------------


def test_mac_addresses_are_what_they_have_always_been() -> None:
    """A change here gives every lab's machines new addresses."""
    assert mac_for("talos-cp01", "homelab") == "02:AD:EF:AA:74:17"


@given(st.text(min_size=1), st.text(min_size=1))
def test_mac_addresses_are_unicast_and_locally_administered(host: str, name: str) -> None:
    made = mac_for(host, name)
    assert is_unicast_mac(made)
    assert int(made[:2], 16) & 2
    assert made == mac_for(host, name)


@pytest.mark.parametrize(("host", "name"), [("", "lab"), ("host", ""), (None, "lab"), (5, "lab")])
def test_mac_addresses_need_both_names(host: t.Any, name: t.Any) -> None:
    with pytest.raises(InvalidInput, match="mac_for needs the name of a"):
        mac_for(host, name)


@pytest.mark.parametrize(
    ("taken", "within", "free"),
    [
        ([], None, "192.168.30.2"),
        (["192.168.30.2", "192.168.30.3"], None, "192.168.30.4"),
        ([], "nodes", "192.168.30.50"),
        (["192.168.30.50", "192.168.30.51"], "nodes", "192.168.30.52"),
    ],
)
def test_the_next_free_address(taken: list[str], within: str | None, free: str) -> None:
    assert next_free_address(NETWORKS["homelab"], taken, within) == free


def test_a_full_range_is_said() -> None:
    taken = [f"192.168.30.{number}" for number in range(50, 60)]
    with pytest.raises(InvalidInput, match=r"No address of 192.168.30.0/24 is free within nodes"):
        next_free_address(NETWORKS["homelab"], taken, "nodes")
    with pytest.raises(InvalidInput, match="has no range 'pods'"):
        next_free_address(NETWORKS["homelab"], [], "pods")
