# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for ``machine.network`` of the v1alpha1 document."""

from __future__ import annotations

import base64
import binascii
import typing as t

from .machineconfig import Data, MachineConfig
from .problems import Problems, address_or_cidr, is_address, is_cidr, listed, quote

_EXCLUSIVE = "config sections are mutually exclusive"
_BOTH = "[networking.os.device.interface], [networking.os.device.deviceSelector]"
_MINIMUM_MTU = 1280
_BALANCED = ("balance-tlb", "balance-alb")
#: Words of a bond's options: the key, those that there are beside none, and what the error says before another one.
_BOND_WORDS = (
    ("mode", ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", *_BALANCED), "invalid bond type"),
    ("xmitHashPolicy", ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4"), "invalid xmit hash policy"),
    ("lacpRate", ("slow", "fast"), "invalid lacp rate"),
    (
        "arpValidate",
        ("none", "active", "backup", "all", "filter", "filter-active", "filter-backup"),
        "invalid arp_validate mode",
    ),
    ("arpAllTargets", ("any", "all"), "invalid arp_all_targets mode"),
    ("primaryReselect", ("always", "better", "failure"), "invalid primary_reselect mode"),
    ("failOverMac", ("none", "active", "follow"), "invalid fail_over_mac value"),
    ("adSelect", ("stable", "bandwidth", "count"), "invalid ad_select mode"),
)
#: Options that a mode has not: the key, from which number on it counts as set (None: any text), the modes that have it.
_BOND_MODE_OPTIONS: tuple[tuple[str, str, int | None, tuple[str, ...]], ...] = (
    ("arpValidate", "arpValidate", None, ("balance-rr", "active-backup", "balance-xor", "broadcast")),
    ("primary", "primary", None, ("active-backup", *_BALANCED)),
    ("arpInterval", "arpInterval", 0, ("balance-rr", "active-backup", "balance-xor", "broadcast")),
    ("packetsPerSlave", "packetsPerSlave", 1, ("balance-rr",)),
    ("tlbDynamicLb", "tlbDynamicTLB", 0, _BALANCED),
)


def check(config: MachineConfig, found: Problems) -> None:
    if config.get("machine.network") is None:
        return
    devices = listed(config.get("machine.network.interfaces"))
    members = _members(devices, found)
    for device in devices:
        if device is None:
            found.add("empty device")
        elif not device.get("ignore"):
            _interface(device, found)
            _addressing(device, members, found)
            _routes(device, found)
    kubespan = config.get("machine.network.kubespan", {})
    if kubespan.get("enabled"):
        mtu = kubespan.get("mtu")
        found.when(mtu and mtu < _MINIMUM_MTU, f"kubespan link MTU must be at least {_MINIMUM_MTU}")


def _members(devices: list[t.Any], found: Problems) -> dict[str, str]:
    """Links that belong to a bond or a bridge, each to one."""
    owners: dict[str, str] = {}
    for device in devices:
        bond, bridge, name = device.get("bond"), device.get("bridge"), str(device.get("interface") or "")
        if bond is not None and bridge is not None:
            found.add(f"interface has both bridge and bond sections set {quote(name)}: {_EXCLUSIVE}")
        if bond is not None and bond.get("interfaces") and bond.get("deviceSelectors"):
            found.add(f"interface {quote(name)} has both interfaces and selectors set: {_EXCLUSIVE}")
        for link in listed((bridge or bond or {}).get("interfaces")):
            other = owners.get(link)
            if other is not None and other != name:
                text = f"is declared as part of two separate links: {quote(other)} and {quote(name)}"
                found.add(f"interface {quote(link)} {text}")
            owners[link] = name
    return owners


def _interface(device: Data, found: Problems) -> None:
    name, selector = device.get("interface"), device.get("deviceSelector")
    if not name and selector is None:
        found.add(f"{_BOTH}: required either config section to be set")
    elif name and selector is not None:
        found.add(f"{_BOTH}: {_EXCLUSIVE}")
    if selector is not None and not any(value is not None and value != "" for value in selector.values()):
        found.add("[networking.os.device.deviceSelector]: config section should contain at least one field")
    if device.get("bond") is not None:
        _bond(device["bond"], found)
    if device.get("wireguard") is not None:
        _wireguard(device["wireguard"], found)
    for vlan in listed(device.get("vlans")):
        _vlan(str(name or ""), vlan, found)


def _bond(bond: Data, found: Problems) -> None:
    for key, words, problem in _BOND_WORDS:
        word = str(bond.get(key) or "")
        found.when(word and word not in words, f"{problem} {word}")
    for key, label in (("updelay", "upDelay"), ("downdelay", "downDelay")):
        delay, interval = int(bond.get(key) or 0), int(bond.get("miimon") or 0)
        if delay and not interval:
            found.add(f"bond.{label} can't be set if miiMon is zero")
        elif interval and delay % interval:
            found.add(f"bond.{label} should be a multiple of miiMon")
    found.when(bond.get("arpIPTarget"), "bond.arpIPTarget is not supported")
    _bond_mode(bond, found)


def _bond_mode(bond: Data, found: Problems) -> None:
    """What only some modes have. An unknown mode counts as the first one."""
    mode = str(bond.get("mode") or "")
    mode = mode if mode in _BOND_WORDS[0][1] else "balance-rr"
    only = "is only available in 802.3ad mode"
    found.when(bond.get("lacpRate") and mode != "802.3ad", f"bond.lacpRate {only}")
    found.when(bond.get("adActorSystem"), "bond.adActorSystem is not supported")
    for key, label, least, modes in _BOND_MODE_OPTIONS:
        value = bond.get(key)
        is_set = bool(value) if least is None else int(value or 0) > least
        found.when(is_set and mode not in modes, f"bond.{label} is not available in {mode} mode")
    for key in ("adActorSysPrio", "adUserPortKey"):
        found.when(int(bond.get(key) or 0) > 0 and mode != "802.3ad", f"bond.{key} {only}")


def _wireguard(section: Data, found: Problems) -> None:
    problem = _key_problem(str(section.get("privateKey") or ""))
    found.when(problem, f"private key is invalid: {problem}")
    for peer in listed(section.get("peers")):
        problem = _key_problem(str(peer.get("publicKey") or ""))
        found.when(problem, f"public key invalid: {problem}")
        endpoint = str(peer.get("endpoint") or "")
        found.when(endpoint and ":" not in endpoint, f"peer endpoint {quote(endpoint)} is invalid")
        for allowed in map(str, listed(peer.get("allowedIPs"))):
            text = f"peer allowed IP {quote(allowed)} is invalid: invalid CIDR address: {allowed}"
            found.when(not is_cidr(allowed), text)


def _key_problem(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        position = next((index for index, char in enumerate(text) if not (char.isalnum() or char in "+/=")), None)
        return f"illegal base64 data at input byte {len(text) // 4 * 4 if position is None else position}"
    return "" if len(raw) == 32 else f"wrong key {quote(text)} length: {len(raw)}"


def _vlan(device: str, vlan: Data, found: Problems) -> None:
    name, addresses = f"{device}.{vlan.get('vlanId') or 0}", listed(vlan.get("addresses"))
    if addresses and vlan.get("cidr"):
        found.add(f"[networking.os.device.vlan] {name}: vlan can't have both .cidr and .addresses set")
    if vlan.get("cidr") and (problem := address_or_cidr(str(vlan["cidr"]))):
        found.add(f"[networking.os.device.vlan.CIDR] {name}: {problem}")
    for address in map(str, addresses):
        problem = address_or_cidr(address)
        found.when(problem, f"[networking.os.device.vlan.addresses] {name}: {problem}")


def _addressing(device: Data, members: dict[str, str], found: Problems) -> None:
    name = str(device.get("interface") or "")
    shown, addresses, vip = quote(name), listed(device.get("addresses")), device.get("vip")
    if name in members and (device.get("dhcp") or device.get("cidr") or addresses or vip is not None):
        text = "bonded/bridged interface shouldn't have any addressing methods configured"
        found.add(f"[networking.os.device] {shown}: {text}")
    if addresses and device.get("cidr"):
        found.add(f"[networking.os.device] {shown}: interface can't have both .cidr and .addresses set")
    if device.get("cidr"):
        problem = address_or_cidr(str(device["cidr"]))
        found.when(problem, f"[networking.os.device.CIDR] {shown}: {problem}")
        text = "machine.network.interface.cidr is deprecated, please use machine.network.interface.addresses"
        found.warnings.append(f"{shown}: {text}")
    for address in map(str, addresses):
        problem = address_or_cidr(address)
        found.when(problem, f"[networking.os.device.addresses] {shown}: {problem}")
    if vip is not None and not is_address(vip.get("ip") or ""):
        found.add(f"[networking.os.device.vip] failed to parse {quote(vip.get('ip') or '')} as IP address")


def _routes(device: Data, found: Problems) -> None:
    for index, route in enumerate(listed(device.get("routes"))):
        path = f"networking.os.device.route[{index}]"
        network, gateway, source = (str(route.get(key) or "") for key in ("network", "gateway", "source"))
        wrong = network and not is_cidr(network)
        found.when(wrong, f"[{path}.network] {quote(network)}: invalid network address")
        wrong = gateway and not is_address(gateway)
        found.when(wrong, f"[{path}.gateway] {quote(gateway)}: invalid network address")
        found.when(not gateway and not network, f"[{path}]: either network or gateway should be set")
        wrong = source and not is_address(source)
        found.when(wrong, f"[{path}.source] {quote(source)}: invalid network address")
