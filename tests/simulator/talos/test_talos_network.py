# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses and names: platform, DHCP, configuration, virtual addresses; etcd by recovery and leaving."""

from __future__ import annotations

import asyncio
import typing as t

import pytest
import yaml
from talos_support import Lab, config, connected, text, until
from test_talos_access import admin, bootstrapped, configured, run

from simlab.talos import network
from simlab.talos.documents import load
from simlab.talos.machineconfig import MachineConfig


def parsed(secrets: dict[str, t.Any], **machine: t.Any) -> MachineConfig:
    return load(text(config(secrets, **machine)))


CASES: list[tuple[str, str, dict[str, str] | None, dict[str, t.Any] | None, list[str]]] = [
    ("cloud-init", "nocloud", None, None, ["10.77.0.11/24"]),
    ("cloud-init with dhcp", "nocloud", {"ipconfig0": "ip=dhcp"}, None, ["10.77.0.11/24"]),
    ("cloud-init without an address", "nocloud", {}, None, []),
    ("metal takes a lease", "metal", None, None, ["10.77.0.11/24"]),
    ("a configuration without interfaces leaves it to the platform", "nocloud", None, {}, ["10.77.0.11/24"]),
    (
        "by interface name",
        "nocloud",
        None,
        {"interfaces": [{"interface": "ens18", "addresses": ["10.77.0.50/24", "10.77.1.50/24"]}]},
        ["10.77.0.50/24", "10.77.1.50/24"],
    ),
    (
        "by hardware address",
        "metal",
        None,
        {"interfaces": [{"deviceSelector": {"hardwareAddr": "bc:24:11:*"}, "dhcp": True}]},
        ["10.77.0.11/24"],
    ),
    (
        "a wrong name configures nothing",
        "metal",
        None,
        {"interfaces": [{"interface": "eth7", "addresses": ["10.77.0.50/24"]}]},
        ["10.77.0.11/24"],
    ),
]


@pytest.mark.parametrize(
    ("name", "platform", "cloud_init", "section", "expected"), CASES, ids=[case[0] for case in CASES]
)
def test_where_addresses_come_from(
    lab: Lab, secrets: t.Any, name: str, platform: str, cloud_init: t.Any, section: t.Any, expected: list[str]
) -> None:
    async def scenario() -> None:
        node = lab.node("10.77.0.11", platform=platform, cloud_init=cloud_init)
        configuration = parsed(secrets, network=section) if section is not None else None
        assert network.plan(node.machine, platform, configuration).cidrs == expected

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("subnets", "expected"),
    [
        ([], "10.0.0.1"),
        (["10.77.0.0/24"], "10.77.0.11"),
        (["!10.0.0.0/24"], "10.77.0.11"),
        (["192.168.0.0/16"], ""),
        (["10.0.0.0/8", "!10.0.0.1/32"], "10.77.0.11"),
    ],
)
def test_the_node_address_is_in_a_valid_subnet(secrets: t.Any, subnets: list[str], expected: str) -> None:
    configuration = parsed(secrets, kubelet={"nodeIP": {"validSubnets": subnets}})
    assert network.node_address(configuration, ["10.0.0.1", "10.77.0.11"]) == expected


def test_a_virtual_address_is_held_by_one_and_moves_on(lab: Lab, secrets: t.Any) -> None:
    section = {"interfaces": [{"interface": "ens18", "dhcp": True, "vip": {"ip": "10.77.0.100"}}]}

    async def node_with_vip(address: str, vmid: int) -> t.Any:
        node = await configured(lab, secrets, address, vmid=vmid)
        await until(lambda: node.serving)
        document = config(secrets, network=section)
        async with connected(lab, address, admin(secrets)) as client:
            answer = await client.call("ApplyConfiguration", {"data": text(document, f"n{vmid}"), "mode": "NO_REBOOT"})
            assert answer.code == "OK", answer.message
        return node

    async def scenario() -> None:
        first = await node_with_vip("10.77.0.11", 111)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            await until(lambda: first.runtime.services.healthy("cri"))
            assert (await client.call("Bootstrap")).code == "OK"
        await until(lambda: first.addresses()[-1] == "10.77.0.100")
        second = await node_with_vip("10.77.0.12", 112)
        await until(lambda: second.runtime.services.healthy("etcd"))
        assert "10.77.0.100" not in second.addresses()
        await first.power_off()
        await until(lambda: "10.77.0.100" in second.addresses())
        assert "10.77.0.100" in t.cast(t.Any, second.machine).addresses["net0"]

    run(lab, scenario())


def test_a_new_hostname_takes_effect_without_a_reboot(lab: Lab, secrets: t.Any) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await client.call("ApplyConfiguration", {"data": text(config(secrets), "other"), "mode": "AUTO"})
            assert answer.first.mode_details == "Applied configuration without a reboot"
        await until(lambda: node.hostname == "other")
        await until(lambda: node.runtime.workload.kubernetes.node.name == "other")
        await until(lambda: not node.runtime.unmet())

    run(lab, scenario())


def test_without_a_name_the_node_has_a_stable_one(lab: Lab, secrets: t.Any) -> None:
    async def scenario() -> None:
        node = lab.node("10.77.0.11")
        await node.boot()
        await until(lambda: bool(node.hostname))
        name = node.hostname
        assert name.startswith("talos-") and len(name) == len("talos-abc-def")
        await node.power_off()
        await node.boot()
        await until(lambda: bool(node.hostname))
        assert node.hostname == name

    run(lab, scenario())


# --- etcd
def test_recovery_without_an_upload_fails_the_service(lab: Lab, secrets: t.Any) -> None:
    async def scenario() -> None:
        node = await configured(lab, secrets, "10.77.0.11")
        await until(lambda: node.serving and node.runtime.services.healthy("cri"))
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            assert (await client.call("Bootstrap", {"recover_etcd": True})).code == "OK"
            await until(lambda: node.runtime.services.get("etcd").state == "Failed")
            services = {s.id: s for s in (await client.call("ServiceList")).first.services}
        text_ = "error verifying snapshot: stat /var/lib/etcd.snapshot: no such file or directory"
        assert services["etcd"].events.events[-1].msg == text_

    run(lab, scenario())


def test_recovery_from_an_upload(lab: Lab, secrets: t.Any) -> None:
    async def scenario() -> None:
        node = await configured(lab, secrets, "10.77.0.11")
        await until(lambda: node.serving and node.runtime.services.healthy("cri"))
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            chunks = [{"bytes": b"snap"}, {"bytes": b"shot"}]
            assert (await client.call("EtcdRecover", chunks)).code == "OK"
            assert node.storage.snapshot.read_bytes() == b"snapshot"
            assert (await client.call("Bootstrap", {"recover_etcd": True})).code == "OK"
            await until(lambda: node.runtime.services.healthy("etcd"))
            again = await client.call("Bootstrap", {"recover_etcd": True})
        assert (again.code, again.message) == ("ALREADY_EXISTS", "etcd data directory is not empty")

    run(lab, scenario())


def test_a_member_that_left_does_not_come_back_before_a_reboot(lab: Lab, secrets: t.Any) -> None:
    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            assert (await client.call("EtcdLeaveCluster")).code == "OK"
            services = {s.id: s for s in (await client.call("ServiceList")).first.services}
            assert (services["etcd"].state, services["etcd"].health.last_message) == ("Finished", "service not running")
            await asyncio.sleep(0.5)
            assert node.runtime.services.get("etcd").state == "Finished"

    run(lab, scenario())


def test_members_know_each_other(lab: Lab, secrets: t.Any) -> None:
    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        worker = await configured(lab, secrets, "10.77.0.21", "worker", vmid=121)
        await until(lambda: worker.serving)
        request = {"namespace": "cluster", "type": "Members.cluster.talos.dev"}
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await client.call("/cosi.resource.State/List", request)
        found = [yaml.safe_load(message.resource.spec.yaml_spec) for message in answer.messages]
        assert [(entry["hostname"], entry["machineType"]) for entry in found] == [
            ("n100", "controlplane"),
            ("n121", "worker"),
        ]
        assert found[0]["controlPlane"] == {"port": 6443}

    run(lab, scenario())
