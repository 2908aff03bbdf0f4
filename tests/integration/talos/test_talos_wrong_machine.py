# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that are not what the inventory says: swapped, virtual, one machine's now and another's a moment later."""

from __future__ import annotations

import typing as t

import pytest
from talos_lab import PlayedLab
from talos_quorum_lab import stand_up
from test_talos_life import SYSCTL, build

from ansible_collections.groundwork.homelab.plugins.module_utils.talos.client import Client
from simlab.contracts import BootImage

Json = dict[str, t.Any]
GO = {"/machine.MachineService/Reboot", "/machine.MachineService/Reset"}


def swapped(lab: PlayedLab, one: str, other: str, *names: str) -> Json:
    wanted = lab.cluster(*names, patches=[SYSCTL])
    there = {node["name"]: node for node in wanted["nodes"]}
    there[one]["address"], there[other]["address"] = there[other]["address"], there[one]["address"]
    return wanted


@pytest.mark.parametrize(("one", "other"), [("cp1", "cp2"), ("cp2", "w1")])
def test_swapped_addresses_give_nobody_another_s_config(lab: PlayedLab, one: str, other: str) -> None:
    """DHCP gave them the other way round. A control plane node that took a worker's config would be lost to etcd."""
    names = ("cp1", "cp2", "w1")
    stand_up(lab, *names)
    written, configs = lab.writes(), [lab.nodes[name].storage.read_config() for name in names]
    for check in (True, False):
        refused = lab.run("apply_config", check=check, **swapped(lab, one, other, *names))
        assert refused["failed"] and "the machine there has the config of" in refused["msg"], refused
        assert refused["changes"] == [] and "Is this its address? Nothing was applied to it." in refused["msg"]
    assert lab.writes() == written and [lab.nodes[name].storage.read_config() for name in names] == configs


def test_a_worker_becomes_no_control_plane_in_place(lab: PlayedLab) -> None:
    stand_up(lab, "cp1", "w1")
    wanted = lab.cluster("cp1", "w1")
    wanted["nodes"][1]["type"] = "controlplane"
    written = lab.writes()
    refused = lab.run("apply_config", **wanted)
    assert refused["failed"] and "w1, is a worker, and w1 is to be a controlplane" in refused["msg"], refused
    assert "talos_reset" in refused["msg"] and lab.writes() == written


def test_a_new_name_is_told_before_it_is_given(lab: PlayedLab) -> None:
    stand_up(lab, "cp1", "w1")
    wanted = lab.cluster("cp1", "w1")
    wanted["nodes"][1]["name"] = "w9"
    checked = lab.run("apply_config", check=True, **wanted)
    assert not checked.get("failed") and checked["changes"][0]["before"] == {"HostnameConfig": {"hostname": "w1"}}
    assert f"The machine at {lab.address('w1')} is called w1, and will be called w9." in lab.warned


def test_a_disk_that_is_not_there_is_told_before_the_machine_takes_its_config(lab: PlayedLab) -> None:
    lab.nodes["cp1"] = lab._machine("cp1")
    node = lab.nodes["cp1"]
    node.image = BootImage("talos", lab.version.tag, "metal", "amd64", node.image.schematic, "iso")
    object.__setattr__(node.storage.disk, "image", None)
    lab.power_on("cp1")
    wanted = lab.cluster("cp1")
    wanted["cluster"]["install_disk"] = "/dev/nvme0n1"
    for check in (True, False):
        refused = lab.run("apply_config", check=check, **wanted)
        assert refused["failed"] and "cp1 has no disk /dev/nvme0n1" in refused["msg"], refused
        assert "It has /dev/sda. Set cluster.install_disk" in refused["msg"]
    assert lab.writes() == []


def another_from(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    """The address is that of another machine from this question on, as that of a load balancer is."""
    asked: list[str] = []
    own = Client.hostname

    def hostname(client: Client) -> str:
        asked.append(own(client))
        return asked[-1] if len(asked) < nth else "cp9"

    monkeypatch.setattr(Client, "hostname", hostname)


@pytest.mark.parametrize(
    ("module", "given", "nth"),
    [("reset", {"node_name": "w1"}, 2), ("reboot", {}, 2)],
)
def test_a_machine_that_was_not_looked_at_does_not_go(
    lab: PlayedLab, monkeypatch: pytest.MonkeyPatch, module: str, given: Json, nth: int
) -> None:
    build(lab, "cp1", "w1")
    who: Json = {"node": lab.address("w1")} if module == "reset" else {"nodes": lab.described("w1")}
    another_from(monkeypatch, nth)
    refused = lab.run(module, **who, **given)
    assert refused["failed"] and "calls itself 'cp9', and it was 'w1' before" in refused["msg"], refused
    assert refused["changes"] == [] and not GO & set(lab.writes())


def test_another_machine_that_runs_at_the_address_is_not_the_one_that_reboots(
    lab: PlayedLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual address goes to another node at once, whose boot is another one, too."""
    build(lab, "cp1", "w1")
    another_from(monkeypatch, 3)
    failed = lab.run("reboot", nodes=lab.described("w1"), wait_timeout=5)
    assert failed["failed"] and "the machine there calls itself 'cp9'" in failed["msg"], failed


def test_a_virtual_address_is_not_reset(lab: PlayedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node holds it now. Another one would hold it as soon as this one is being wiped."""
    stand_up(lab, "cp1")
    virtual = f"---\napiVersion: v1alpha1\nkind: Layer2VIPConfig\nname: {lab.address('cp1')}\nlink: eth0\n"
    own = Client.machine_config
    monkeypatch.setattr(Client, "machine_config", lambda client, which: (own(client, which) or "") + virtual)
    for check in (True, False):
        refused = lab.run("reset", node=lab.address("cp1"), node_name="cp1", force=True, check=check)
        assert refused["failed"] and "which is a virtual address of the cluster" in refused["msg"], refused
    assert not GO & set(lab.writes())
