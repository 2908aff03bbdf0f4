# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong containers are told by their option, its value and what was expected, before anybody is asked anything."""

from __future__ import annotations

import typing as t

import pytest
from test_pve_bad_input import message, nobody_is_asked

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.containers import ct_options as options
from ansible_collections.groundwork.homelab.plugins.modules import proxmox_lxc

__all__ = ["nobody_is_asked"]

CT: dict[str, t.Any] = {"vmid": 310, "hostname": "traefik", "node": "pve1"}


def mount(**more: t.Any) -> dict[str, t.Any]:
    return {**CT, "mounts": [{"mp": "/data", "storage": "local", "size": "1G", **more}]}


def nic(**more: t.Any) -> dict[str, t.Any]:
    return {**CT, "networks": [more]}


def device(**more: t.Any) -> dict[str, t.Any]:
    return {**CT, "devices": [{"path": "/dev/dri/renderD128", **more}]}


CONTAINERS = [
    ({**CT, "vmid": 99}, "containers[0]: vmid 99 is out of range. Proxmox VE takes 100 to 999999999."),
    ({"vmid": 310, "node": "pve1"}, "containers[0]: hostname is missing for vmid 310. Only absent containers go without."),
    ({"vmid": 310, "hostname": "a"}, "containers[0]: node is missing for vmid 310"),
    ({**CT, "hostname": "pi_hole"}, "containers[0]: hostname 'pi_hole' is not valid. Use letters, digits, hyphens and dots"),
    ({**CT, "node": "pve 1"}, "node 'pve 1' is not valid"),
    ({**CT, "state": "runing"}, "value of state must be one of: started, stopped, present, restarted, absent, got: runing"),
    ({**CT, "memroy": 2048}, "memroy"),
    ({**CT, "cores": 0}, "cores is 0. It must be at least 1."),
    ({**CT, "memory": 8}, "memory is 8. It must be at least 16."),
    ({**CT, "cpulimit": -1.0}, "cpulimit is -1. It must be at least 0."),
    ({**CT, "tty": 9}, "tty is 9. It must be at least 0 and at most 6."),
    ({**CT, "tags": ["a b"]}, "tag 'a b' is not valid"),
    ({**CT, "startup": "third"}, "startup 'third' is not valid. Write for example order=2,up=30,down=60."),
    ({**CT, "nameservers": ["dns.test"]}, "nameserver 'dns.test' is no IP address"),
    ({**CT, "ostemplate": "debian.tar.zst"}, "ostemplate 'debian.tar.zst' is no volume. Write for example local:vztmpl/debian"),
    ({**CT, "ostemplate": "local:vztmpl/a.tar.zst", "clone": {"vmid": 900}}, "CT 310 (traefik) has an ostemplate and is a clone. Choose one of the two."),
    ({**CT, "clone": {"hostname": "traefik"}}, "CT 310 (traefik) is to be a clone of itself"),
    ({**CT, "clone": {"full": True}}, "clone needs either vmid or hostname. It says which container is copied."),
    ({**CT, "clone": {"vmid": 900, "hostname": "golden"}}, "clone needs either vmid or hostname."),
    ({**CT, "clone": {"hostname": "a b"}}, "hostname of clone 'a b' is not valid."),
    ({**CT, "clone": {"vmid": 310}}, "CT 310 (traefik) is to be a clone of itself"),
    ({**CT, "clone": {"vmid": 900, "full": False, "storage": "local"}}, "A linked clone lies on the storage of its source. Leave out clone.storage."),
    ({**CT, "clone": {"vmid": 900}, "password": "secret12"}, "which keeps the password and ssh_keys of its source"),
    ({**CT, "password": "abc"}, "password is too short. Proxmox VE wants at least 5 characters."),
    ({**CT, "unset": ["memory"], "memory": 512}, "memory is set and listed in unset. Do one of them."),
    ({**CT, "unset": ["rootfs"]}, "unset names 'rootfs'. Known: "),
    ({**CT, "rootfs": {"storage": "local", "size": "8"}}, "size of rootfs is '8'. Write a unit, for example 8G."),
    ({**CT, "rootfs": {"storage": "local:8"}}, "storage of rootfs 'local:8' is not valid. Give the name of a storage."),
    (mount(size=None), "size of mp0 is missing. Write for example 8G."),
    (mount(size="much"), "size of mp0 'much' is no size"),
    (mount(mp="data"), "mp of mp0 is 'data'. Write an absolute path in the container, such as /data."),
    (mount(mp="/data/../etc"), "mp of mp0 is '/data/../etc'"),
    (mount(source="/srv"), "Mount mp0 has storage and source. A mount has storage and size, or volume, or source."),
    (mount(storage=None, size=None), "Mount mp0 has none of them."),
    (mount(storage=None, source="/srv"), "Mount mp0 has size and source. Only a volume on a storage has a size."),
    (mount(storage=None, size=None, source="srv"), "source of mp0 is 'srv'. Write an absolute path on the node."),
    (mount(storage=None, size=None, volume="disk-1.raw"), "volume of mp0 'disk-1.raw' is no volume"),
    (mount(slot="mp256"), "'mp256' is no slot of a mount. Known: mp0 to mp255."),
    (mount(mount_options=["atime"]), "mount_options of mp0 has atime. Known: discard, lazytime, noatime"),
    ({**CT, "mounts": mount()["mounts"] + mount(slot="mp1")["mounts"]}, "CT 310 (traefik) uses the mount path /data twice"),
    ({**CT, "mounts": mount()["mounts"] + mount(slot="mp0", mp="/a")["mounts"]}, "CT 310 (traefik) uses the slot mp0 twice"),
    (nic(vlan=4095), "vlan of net0 is 4095. It must be 1 to 4094."),
    (nic(mac="BC:24:11:00:00"), "mac of net0 'BC:24:11:00:00' is not valid"),
    (nic(mac="01:24:11:00:00:50"), "mac of net0 is the multicast address 01:24:11:00:00:50"),
    (nic(mtu=32), "mtu of net0 is 32. It must be 64 to 65535."),
    (nic(slot="eth0"), "'eth0' is no network slot. Known: net0 to net31."),
    (nic(name="an-interface-too-long"), "name of net0 'an-interface-too-long' is not valid. It is the interface in the container, 15 characters at most."),
    (nic(ip="192.168.1.4"), "ip of net0 is '192.168.1.4'. Write for example 192.168.1.5/24, or dhcp or manual."),
    (nic(ip="auto"), "ip of net0 is 'auto'"),
    (nic(ip6="192.168.1.4/24"), "ip6 of net0 is '192.168.1.4/24'. Write for example fd00::5/64, or dhcp or auto or manual."),
    (nic(ip="dhcp", gateway="192.168.1.1"), "net0 has gateway, but no ip of its own. Leave the gateway out."),
    (nic(ip="192.168.1.4/24", gateway="router"), "gateway of net0 is 'router'. Write an IPv4 address."),
    ({**CT, "networks": [{"name": "eth0"}, {"name": "eth0"}]}, "uses the network name eth0 twice"),
    (device(path="dri/card0"), "path of dev0 is 'dri/card0'. Write a device of the node, such as /dev/dri/renderD128."),
    (device(path="/etc/passwd"), "path of dev0 is '/etc/passwd'"),
    (device(mode="660"), "mode of dev0 '660' is not valid. Write four octal digits in quotes, such as '0660'."),
    (device(gid=-1), "gid of dev0 is -1. It must be at least 0."),
    ({**CT, "features": {"mount": ["nfs,fuse=1"]}}, "mount of features 'nfs,fuse=1' is not valid"),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "text"), CONTAINERS, ids=lambda value: str(value)[:50])
def test_containers(wish: dict[str, t.Any], text: str) -> None:
    assert text in message(proxmox_lxc, containers=[wish])


def test_all_problems_are_told_at_once_with_their_places() -> None:
    text = message(proxmox_lxc, containers=[{**CT, "vmid": 99}, CT, {**CT, "vmid": 311, "cores": 0}])
    assert "containers[0]: vmid 99" in text and "containers[2]: cores is 0" in text


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_shutdown_has_time(seconds: int) -> None:
    text = message(proxmox_lxc, containers=[CT], shutdown_timeout=seconds)
    assert f"shutdown_timeout is {seconds} seconds. It must be at least 1." in text


def test_two_containers_are_not_one() -> None:
    card = {"networks": [{"mac": "bc:24:11:00:00:01"}]}
    text = message(proxmox_lxc, containers=[{**CT, **card}, {**CT, **card}])
    for what in ("vmid 310", "hostname traefik", "MAC BC:24:11:00:00:01"):
        assert f"The {what} is given twice: to CT 310 (traefik) and to CT 310 (traefik)." in text


SAME = [
    ("cpulimit", "0.50", "0.5"),
    ("cpulimit", None, "0"),
    ("memory", None, 512),
    ("onboot", None, 0),
    ("tty", None, 2),
    ("console", None, 1),
    ("tags", "b;a", "A,b"),
    ("tags", " ", None),
    ("description", "x\n", "x"),
    ("startup", "up=3,order=1", "1,up=3"),
    ("nameserver", "1.1.1.1,9.9.9.9", "1.1.1.1 9.9.9.9"),
    ("hostname", "a", "a"),
]


@pytest.mark.parametrize(("key", "one", "other"), SAME)
def test_what_means_the_same_compares_equal(key: str, one: t.Any, other: t.Any) -> None:
    assert options.comparable(key, one) == options.comparable(key, other)


@pytest.mark.parametrize(
    ("key", "before", "waits"),
    [
        ("memory", 512, False), ("net0", "name=eth0", False), ("mp0", None, False), ("mp0", "local:1", True),
        ("dev0", None, False), ("dev0", "/dev/null", True), ("rootfs", "local:1", True), ("nameserver", None, True),
        ("features", None, True), ("timezone", None, True), ("hostname", "a", False), ("cpulimit", None, False),
    ],
)  # fmt: skip
def test_what_waits_for_a_restart(key: str, before: t.Any, waits: bool) -> None:
    assert options.needs_restart(key, before) == waits
