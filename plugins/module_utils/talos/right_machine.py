# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the machine at an address is the one that is meant: addresses get swapped, or are those of several machines."""

from __future__ import annotations

import ipaddress
import typing as t

from ..errors import HomelabError, InvalidInput, Refused
from . import documents
from .client import Client
from .identity import Document
from .inputs import Node

_VIRTUAL_KINDS = ("Layer2VIPConfig", "HCloudVIPConfig")
#: Names of disks that the kernel gives: one that is not among a machine's disks is not there.
_PLAIN = ("/dev/sd", "/dev/vd", "/dev/xvd", "/dev/hd", "/dev/nvme", "/dev/mmcblk")


def virtual_addresses(config: t.Iterable[Document]) -> set[str]:
    """Addresses that whichever control plane node holds them answers at."""
    found: list[t.Any] = []
    for document in config:
        if document.get("kind") in _VIRTUAL_KINDS:
            found.append(document.get("name"))
        network = (document.get("machine") or {}).get("network") or {}
        for interface in network.get("interfaces") or []:
            links = [interface, *(interface.get("vlans") or [])]
            found += [(link.get("vip") or {}).get("ip") for link in links]
    return {_plain(str(address)) for address in found if address}


def require_own_address(node: Node, config: t.Iterable[Document]) -> None:
    """Raise when the node's address is a virtual one of its cluster."""
    if _plain(node.address) in virtual_addresses(config):
        raise InvalidInput(
            f"The address of {node.name} is {node.address}, which is a virtual address of the cluster",
            hint="It is another node's as soon as this one is away. Give the node's own address.",
        )


def require_own_address_of_it(node: Node, client: Client) -> None:
    """The same, by the config that the machine there has."""
    try:
        config = documents.parse(client.machine_config("v1alpha1") or "")
    except ValueError:  # what it has is its own trouble
        return
    require_own_address(node, config)


def require_same(node: Node, current: t.Sequence[Document], others: t.Collection[str], *, of: str) -> str:
    """Raise when a configured machine is certainly not the one whose config is to be applied. What to warn of otherwise.

    ``others``: names of the task's other nodes. A machine becomes no other type: Talos would take the config, and etcd's
    data or the cluster's keys would be left behind.
    """
    name, kind = static_name(current), machine_type(current)
    if name and name != node.name and name in others:
        why = f"the machine there has the config of {name}"
    elif kind != node.type:
        why = f"the machine there{f', {name},' if name else ''} is a {kind}, and {node.name} is to be a {node.type}"
    else:
        changed = name and name != node.name
        return f"The machine at {node.address} is called {name}, and will be called {node.name}." if changed else ""
    raise Refused(
        f"apply the machine config of {node.name}",
        of=of,
        answer=why,
        hint="Is this its address? Nothing was applied to it. A machine that is meant to become another one is reset "
        "first (talos_reset).",
    )


def require_name(node: Node, client: Client, name: str, asked: str) -> None:
    """Raise when the machine that answers now is not the one of that name that was looked at before."""
    now = client.hostname()
    if name and now and now != name:
        raise Refused(
            asked,
            of=client.of,
            answer=f"the machine there calls itself {now!r}, and it was {name!r} before",
            hint="Nothing was done to it. An address that is now one machine's and now another's (a virtual address, a "
            "load balancer) tells no node: give the node's own.",
        )


def require_install_disk(node: Node, config: t.Sequence[Document], client: Client) -> None:
    """Raise when Talos is to be installed on a disk that the machine does not have. It would fail at that after it had
    taken the config, and stay away.
    """
    install = (_main(config).get("machine") or {}).get("install") or {}
    disk = str(install.get("disk") or "")
    if install.get("diskSelector") or not disk.startswith(_PLAIN):
        return
    try:
        installed = client.resources("runtime", "SystemDisks.block.talos.dev")
        found = client.resources("runtime", "Disks.block.talos.dev")
    except HomelabError:  # it does not tell: then the installer judges
        return
    disks = {
        str(spec.get("dev_path") or f"/dev/{name}"): spec for name, spec in found.items() if isinstance(spec, dict)
    }
    if installed or not disks or disk in disks:
        return
    there = [path for path, spec in disks.items() if not (spec.get("readonly") or spec.get("cdrom") or _is_part(path))]
    raise InvalidInput(
        f"{node.name} has no disk {disk}, on which Talos is to be installed",
        hint=f"It has {', '.join(sorted(there)) or 'no disk at all'}. Set cluster.install_disk, or machine.install.disk "
        "in the node's patches. Nothing was applied to any node.",
    )


def static_name(config: t.Iterable[Document]) -> str:
    """The host name that a config sets, empty when it leaves that to others."""
    name = ""
    for document in config:
        if document.get("kind") == "HostnameConfig":
            name = str(document.get("hostname") or name)
        else:
            name = name or str(((document.get("machine") or {}).get("network") or {}).get("hostname") or "")
    return name.partition(".")[0]


def machine_type(config: t.Iterable[Document]) -> str:
    """As Talos takes it: ``init`` is an old word for a control plane, and what it does not know is a worker."""
    kind = str((_main(config).get("machine") or {}).get("type") or "")
    return "controlplane" if kind in ("controlplane", "init") else "worker"


def _main(config: t.Iterable[Document]) -> Document:
    return next((document for document in config if not document.get("kind")), {})


def _is_part(path: str) -> bool:
    """What is a disk to the kernel and nobody's to install on."""
    return path.startswith(("/dev/loop", "/dev/ram", "/dev/zram", "/dev/dm-"))


def _plain(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
