# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a datacenter, networks and settings of a node, as other clients handle them."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from flows import Step, run, walk

OPTIONS = "/cluster/options"
BRIDGE = {"iface": "vmbr1", "type": "bridge", "cidr": "10.5.0.1/24"}

FLOWS: dict[str, list[Step]] = {
    "options of the datacenter": [
        Step(
            f"PUT {OPTIONS}",
            {"next-id": "lower=700,upper=600"},
            "500 lower (700) <= upper (600) boundary rule broken",
        ),
        Step(f"PUT {OPTIONS}", {"keyboard": "de", "delete": "keyboard", "description": "one\ntwo\n\n"}),
        Step(f"GET {OPTIONS}", answer={"keyboard": None, "description": "one\ntwo\n"}),
        Step(f"PUT {OPTIONS}", {"mac_prefix": "zz"}, errors={
            "mac_prefix": "invalid format - value is not a valid unicast MAC address prefix\n"
        }),
    ],
    "a bridge": [
        Step("POST network", {**BRIDGE, "autostart": 1, "comments": "c", "mtu": 1400, "bridge_vlan_aware": 1}),
        Step("GET network/vmbr1", answer={
            "address": "10.5.0.1", "netmask": "24", "method": "static", "comments": "c\n", "mtu": "1400",
            "bridge_vlan_aware": 1, "bridge_vids": "2-4094", "autostart": 1, "active": None,
        }),
        Step("PUT network/vmbr1", {"type": "bridge", "cidr": "10.5.0.9/24", "delete": "comments"}),
        Step("GET network/vmbr1", answer={"address": "10.5.0.9", "cidr": "10.5.0.9/24", "comments": None, "mtu": "1400"}),
        Step("PUT network/vmbr1", {"type": "bridge"}),
        Step("GET network/vmbr1", answer={"address": None, "cidr": None, "method": "manual"}),
        Step("PUT network", answer="task OK"),
        Step("GET network/vmbr1", answer={"active": 1}),
    ],
    "a network that cannot be": [
        Step("POST network", {**BRIDGE, "address": "10.5.0.1", "netmask": "255.255.255.0"}, errors={"address": "address conflicts with cidr"}),
        Step("POST network", {**BRIDGE, "bridge_ports": "eth9"}, "500 bridge 'vmbr1' - unable to find bridge port 'eth9'"),
        Step("GET network/vmbr1", errors={"iface": "interface does not exist"}),
        Step("POST network", {**BRIDGE, "gateway": "10.5.0.2"}),
        Step(
            "POST network",
            {"iface": "vmbr2", "type": "bridge", "cidr": "10.6.0.1/24", "gateway": "10.6.0.2"},
            errors={"gateway": "Default gateway already exists on interface 'vmbr1'."},
        ),
        Step("POST network", {"iface": "bond0", "type": "bond", "slaves": "eth0"}, "500 bond 'bond0' - unable to find slave 'eth0'"),
        Step("POST network", {"iface": "vmbr9.5", "type": "vlan"}, "500 vlan 'vmbr9.5' - unable to find parent 'vmbr9'"),
        Step("POST network", {"iface": "vmbr1.4095", "type": "vlan"}, "500 vlan 'vmbr1.4095' - vlan-id 4095 should be <= 4094"),
        Step("POST network", {"iface": "ovs0", "type": "OVSBridge"}, "500 Open VSwitch is not installed (need package 'openvswitch-switch')"),
    ],
    "VLANs and a bond": [
        Step("POST network", {"iface": "vmbr0.50", "type": "vlan"}),
        Step("GET network/vmbr0.50", answer={"vlan-id": "50", "vlan-raw-device": "vmbr0"}),
        Step("POST network", {"iface": "vlan7", "type": "vlan", "vlan-raw-device": "vmbr0"}),
        Step("GET network/vlan7", answer={"vlan-id": "7"}),
        Step("DELETE network/vmbr0", answer="500 vlan 'vlan7' - unable to find parent 'vmbr0'"),
        Step("POST network", {"iface": "eth0", "type": "eth"}),
        Step("POST network", {"iface": "bond0", "type": "bond", "slaves": "eth0"}),
        Step("GET network/bond0", answer={"bond_miimon": "100", "bond_mode": "balance-rr", "slaves": "eth0"}),
        Step("POST network", {"iface": "vmbr1", "type": "bridge", "bridge_ports": "eth0"}, errors={
            "bridge_ports": "eth0 is already used on interface 'bond0'."
        }),
        Step("DELETE network"),
        Step("GET network", {"type": "vlan"}, []),
    ],
    "all guests of a node": [
        Step("POST qemu", {"vmid": 100, "kvm": 0, "onboot": 1}, "task OK"),
        Step("POST qemu", {"vmid": 101, "kvm": 0}, "task OK"),
        Step("POST qemu", {"vmid": 102, "kvm": 0, "onboot": 1, "lock": "migrate"}, "task OK"),
        Step("POST startall", {"vms": "100,101,102"}, "task OK"),
        Step("GET qemu/100/status/current", answer={"status": "running"}),
        Step("GET qemu/101/status/current", answer={"status": "stopped"}),
        Step("GET qemu/102/status/current", answer={"status": "stopped"}),
        Step("POST startall", {"vms": "101", "force": 1}, "task OK"),
        Step("GET qemu/101/status/current", answer={"status": "running"}),
        Step("POST stopall", answer="task OK"),
        Step("GET qemu/100/status/current", answer={"status": "stopped"}),
    ],
    "a lock of a backup does not outlive the start of a node": [
        Step("POST qemu", {"vmid": 100, "kvm": 0, "onboot": 1, "lock": "backup"}, "task OK"),
        Step("POST startall", answer="task OK"),
        Step("GET qemu/100/status/current", answer={"status": "running", "lock": None}),
    ],
    "services": [
        Step("GET services/sshd/state", answer={"service": "sshd", "name": "sshd"}),
        Step("GET services/sshd", answer=[{"subdir": name} for name in ("state", "start", "stop", "restart", "reload")]),
        Step("POST services/pveproxy/stop", answer="task invalid service cmd 'pveproxy stop': refusing to stop essential service!"),
        Step("POST services/spiceproxy/stop", answer="task OK"),
        Step("GET services/spiceproxy/state", answer={"state": "dead", "active-state": "inactive"}),
        Step("POST services/spiceproxy/restart", answer="task OK"),
        Step("GET services/spiceproxy/state", answer={"state": "running", "active-state": "active"}),
    ],
    "settings of a node": [
        Step("GET config", answer={}),
        Step("PUT config", {"description": "d", "wakeonlan": "00:11:22:33:44:55"}),
        Step("GET config", answer={"description": "d\n"}),
        Step("GET config", {"property": "wakeonlan"}, {"wakeonlan": "00:11:22:33:44:55", "digest": None}),
        Step("PUT config", {"description": "e", "delete": "description"}),
        Step("GET config", answer={"description": None}),
        Step("PUT config", {"description": "e", "digest": "0" * 40}, "500 detected modified configuration - file changed by other user? Try again."),
        Step("PUT time", {"timezone": "No/Zone"}, errors={"timezone": "No such timezone"}),
        Step("PUT time", {"timezone": "Asia/Tokyo"}),
        Step("GET time", answer={"timezone": "Asia/Tokyo"}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("flow", FLOWS)
def test_nodes(tmp_path: pathlib.Path, flow: str) -> None:
    walk(tmp_path, FLOWS[flow])


def test_the_local_time_is_that_of_the_zone(tmp_path: pathlib.Path) -> None:
    async def test(login: t.Callable[..., t.Any]) -> None:
        root = await login()
        await root.check(Step("PUT time", {"timezone": "Asia/Tokyo"}))
        shown = (await root.send("GET", "/nodes/pve1/time", {}))[2]["data"]
        assert shown["localtime"] - shown["time"] == 9 * 3600

    run(tmp_path, test)


def test_who_has_no_rights_sees_few_options(tmp_path: pathlib.Path) -> None:
    async def test(login: t.Callable[..., t.Any]) -> None:
        root = await login()
        await root.check(Step(f"PUT {OPTIONS}", {"keyboard": "de", "console": "html5"}))
        await root.check(Step("POST /access/users", {"userid": "bob@pve", "password": "bobsecret1"}))
        bob = await login("bob@pve", "bobsecret1")
        assert (await bob.send("GET", OPTIONS, {}))[2]["data"] == {"console": "html5", "allowed-tags": []}

    run(tmp_path, test)


def test_all_guests_are_for_who_has_the_right_everywhere(tmp_path: pathlib.Path) -> None:
    async def test(login: t.Callable[..., t.Any]) -> None:
        root = await login()
        await root.check(Step("POST /access/users", {"userid": "bob@pve", "password": "bobsecret1"}))
        await root.check(Step("PUT /access/acl", {"path": "/vms", "roles": "PVEVMAdmin", "users": "bob@pve"}))
        await root.check(Step("POST qemu", {"vmid": 100}, "task OK"))
        bob = await login("bob@pve", "bobsecret1")
        await bob.check(Step("POST stopall", answer="403 Permission check failed (/, VM.PowerMgmt)"))
        await bob.check(Step("POST stopall", {"vms": "100"}, "task OK"))
        both = "403 Permission check failed (/, VM.PowerMgmt && VM.Config.Disk)"
        await bob.check(Step("POST suspendall", answer=both))

    run(tmp_path, test)
