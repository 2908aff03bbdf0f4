# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory's parts without a network: names, groups, addresses, the cache's entries, expressions."""

from __future__ import annotations

import json
import random
import re
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput, ServerFault
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory import (
    inventory_addresses as addresses,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory import inventory_cache as caching
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory import inventory_guests as guests_of
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory import inventory_hosts as hosts
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory.inventory_guests import Guest
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.inventory.inventory_reading import (
    Reading,
    Silence,
)
from ansible_collections.groundwork.homelab.plugins.plugin_utils import expressions

SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
WORDS = st.one_of(
    st.sampled_from(
        ["web", "Web", "db", "localhost", "all", "web-101", "web-101-101", "VM 101", "a b", "", "ünï", "[1:3]"]
    ),
    st.text(max_size=12),
)

# -- names -------------------------------------------------------------------------------------------------------------


@st.composite
def clusters(draw: st.DrawFn) -> list[Guest]:
    """Guests with few names, so that many meet."""
    vmids = draw(st.lists(st.integers(100, 130), unique=True, max_size=12))
    return [
        Guest(
            vmid, draw(st.sampled_from(["qemu", "lxc"])), draw(st.sampled_from(["pve1", "pve2"])),
            draw(st.sampled_from(["running", "stopped", "unknown"])), draw(WORDS),
            tags=tuple(draw(st.lists(WORDS, max_size=3))), pool=draw(WORDS),
        )
        for vmid in vmids
    ]  # fmt: skip


@settings(max_examples=60)
@given(clusters(), st.randoms())
def test_every_guest_has_a_host_name_of_its_own_that_no_other_guest_decides(
    guests: list[Guest], chance: random.Random
) -> None:
    names, said = guests_of.host_names(guests)
    assert set(names) == {guest.vmid for guest in guests}
    assert len({name.lower() for name in names.values()}) == len(guests)
    assert all(
        HOST.fullmatch(name) and name.lower() not in ("localhost", "all", "ungrouped") for name in names.values()
    )
    shuffled = list(guests)
    chance.shuffle(shuffled)
    assert guests_of.host_names(shuffled)[0] == names
    changed = [guest for guest in guests if guest.name and names[guest.vmid] != guest.name]
    assert bool(said) == bool(changed) or any(not guest.name for guest in guests)


@settings(max_examples=60)
@given(clusters(), WORDS)
def test_names_of_groups_are_ones_that_ansible_takes(guests: list[Guest], prefix: str) -> None:
    for guest in guests:
        found = hosts.groups(guest, {"config": {"ostype": guest.pool}}, hosts.GROUPINGS, prefix)
        assert all(SAFE.fullmatch(name) for name in found)
        assert all(hosts.group_name(name) == name for name in found)
        assert f"type {guest.kind}" in found.values()


def test_names_stay_when_a_twin_comes_only_for_the_twins() -> None:
    pair = [
        Guest(101, "qemu", "a", name="web"),
        Guest(102, "lxc", "a", name="WEB"),
        Guest(103, "qemu", "a", name="web-101"),
    ]
    assert guests_of.host_names(pair)[0] == {101: "web-101-101", 102: "WEB-102", 103: "web-101"}
    assert guests_of.host_names(pair[2:])[0] == {103: "web-101"}


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [None, {}, "x", [1], [{"type": "qemu"}], [{"type": "lxc", "vmid": "x", "node": "a"}]])
def test_what_is_no_list_of_guests_is_an_error_and_no_empty_inventory(rows: t.Any) -> None:
    with pytest.raises(ServerFault, match="Could not list the guests of the cluster"):
        guests_of.parse(rows, of="Proxmox VE")


def test_rows_of_other_things_are_left_out_and_ids_are_no_names() -> None:
    rows = [
        {"type": "storage", "id": "storage/pve1/local"},
        {"type": "qemu", "vmid": 102, "node": "pve1", "status": "stopped", "name": "VM 102", "template": 1},
        {
            "type": "lxc",
            "vmid": 101,
            "node": "pve1",
            "status": "running",
            "name": "CT101",
            "tags": "b;A b",
            "maxmem": 1 << 30,
        },
    ]
    ct, vm = guests_of.parse(rows, of="Proxmox VE")
    assert (ct.vmid, ct.name, ct.tags, ct.memory, ct.stand_in) == (101, "", ("a", "b"), 1024, "ct-101")
    assert (vm.name, vm.template, vm.stand_in) == ("", True, "vm-102")


@settings(max_examples=60)
@given(clusters())
def test_a_guest_survives_the_cache(guests: list[Guest]) -> None:
    reading = Reading(
        guests=guests, offline={"pve2": "off"}, facts={"qemu/101": {"config": {"a": 1}}}, problems={"x": ["y"]}
    )
    entry = json.loads(json.dumps(caching.as_entry(reading, of=["api", "me"], now=100.0)))
    kept = caching.from_entry(entry, of=["api", "me"], now=130.0)
    assert kept is not None and kept.reading == reading and kept.age == 30
    assert caching.from_entry(entry, of=["api", "you"], now=130.0) is None


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["form", "of", "at", "guests", "facts", "offline", "problems"]), inner)
        ),
    )
)
def test_an_entry_that_something_else_wrote_is_none(entry: t.Any) -> None:
    kept = caching.from_entry(entry, of=["api"], now=0.0)
    assert kept is None or isinstance(entry, dict)
    assert all(isinstance(since, float) for since in caching.silent_agents(entry).values())


def test_a_silent_agent_is_left_alone_for_a_while_or_until_its_guest_starts() -> None:
    silence = Silence(60, now=1000.0, agents={"qemu/101": 950.0, "qemu/102": 900.0, "qemu/103": 2000.0})
    assert silence.of(Guest(101, "qemu", "a", uptime=500))
    assert not silence.of(Guest(101, "qemu", "a", uptime=20))  # started since
    assert not silence.of(Guest(102, "qemu", "a", uptime=500))  # long ago
    assert not silence.of(Guest(103, "qemu", "a", uptime=500))  # the clock was wrong
    assert not silence.of(Guest(104, "qemu", "a"))


# -- addresses ---------------------------------------------------------------------------------------------------------

CONFIG = {
    "net0": "virtio=02:00:00:00:00:01,bridge=vmbr0", "net1": "e1000=02:00:00:00:00:02,bridge=vmbr1",
    "ipconfig0": "ip=dhcp,ip6=auto", "ipconfig1": "ip=10.2.0.5/24,gw=10.2.0.1,ip6=fd00::5/64",
}  # fmt: skip
TOLD = addresses.interfaces(
    {
        "result": [
            {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1", "prefix": 8}]},
            {"name": "docker0", "hardware-address": "02:42:00:00:00:01", "ip-addresses": [{"ip-address": "172.17.0.1", "prefix": 16}]},
            {"name": "eth0", "hardware-address": "02:00:00:00:00:01", "ip-addresses": [
                {"ip-address": "fe80::1", "prefix": 64}, {"ip-address": "fd00::9", "prefix": 64},
                {"ip-address": "192.168.30.9", "prefix": 24}, {"ip-address": "nonsense"}, "nonsense"]},
            "nonsense",
        ]
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("preferred", "sources", "expected"),
    [
        ([], ("config", "agent"), ["10.2.0.5", "fd00::5", "192.168.30.9", "fd00::9", "172.17.0.1"]),
        ([], ("agent", "config"), ["192.168.30.9", "fd00::9", "172.17.0.1", "10.2.0.5", "fd00::5"]),
        ([], ("config",), ["10.2.0.5", "fd00::5"]),
        (["fd00::/16"], ("config", "agent"), ["fd00::5", "fd00::9", "10.2.0.5", "192.168.30.9", "172.17.0.1"]),
        (["172.16.0.0/12", "192.168.0.0/16"], ("config", "agent"), ["172.17.0.1", "192.168.30.9", "10.2.0.5", "fd00::5", "fd00::9"]),
    ],
)  # fmt: skip
def test_the_order_of_addresses(preferred: list[str], sources: tuple[str, ...], expected: list[str]) -> None:
    networks = addresses.networks(preferred)
    assert addresses.of_guest("qemu", CONFIG, TOLD, preferred=networks, sources=sources) == expected


def test_addresses_of_a_container() -> None:
    config = {
        "net0": "name=eth0,bridge=vmbr0,hwaddr=02:00:00:00:00:03,ip=dhcp,type=veth",
        "net1": "name=eth1,ip=10.0.0.2/8",
    }
    told = addresses.interfaces(
        [{"name": "eth0", "hwaddr": "02:00:00:00:00:03", "inet": "192.168.1.7/24", "inet6": "fe80::1/64"}]
    )
    assert addresses.of_guest("lxc", config, told) == ["10.0.0.2", "192.168.1.7"]
    assert addresses.interfaces({"result": {"error": {"class": "CommandNotFound"}}}) == []


def test_a_network_that_is_none() -> None:
    with pytest.raises(InvalidInput, match=re.escape("preferred_networks: 'lan' is no network")):
        addresses.networks(["192.168.30.5/24", "lan"])


@pytest.mark.parametrize(
    ("kind", "ostype", "system"),
    [
        ("qemu", "l26", "linux"), ("qemu", "win11", "windows"), ("qemu", "w2k8", "windows"), ("qemu", "solaris", "solaris"),
        ("qemu", "other", "other"), ("qemu", "", ""), ("lxc", "alpine", "linux"), ("lxc", "unmanaged", "other"), ("lxc", "", ""),
    ],
)  # fmt: skip
def test_operating_systems(kind: str, ostype: str, system: str) -> None:
    assert hosts.system(kind, ostype) == system


# -- expressions -------------------------------------------------------------------------------------------------------


def test_which_expressions_have_to_wait_for_facts() -> None:
    early = ["status == 'running'", "'web' in tags and vmid > 100", "name is search('config')"]
    late = [
        "config.ostype == 'l26'",
        "(config | default({})).x is defined",
        "lookup('vars', 'config')",
        "vars['config']",
    ]
    assert expressions.split([*late, *early], ["config"]) == (early, late)
    assert expressions.names("x", "config.tags and other['status']") == {"config", "other"}
    for broken in ("a ==", "a) + (b", "{{ a }}"):
        with pytest.raises(InvalidInput, match="is no Jinja expression"):
            expressions.names("filters", broken)
