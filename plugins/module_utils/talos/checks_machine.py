# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the parts of a machine: disks, kubelet, encryption, logging, registries, KubeSpan."""

from __future__ import annotations

import typing as t
import urllib.parse

from . import config_schema
from .forms import Problems, at, is_network, listed, mapping, selected
from .identity import Document

#: What Talos sets in the kubelet's configuration itself.
_KUBELET_OWN = frozenset(
    """apiVersion authentication authorization cgroupRoot kind kubeletCgroups port protectKernelDefaults resolvConf
    rotateCertificates systemCgroups staticPodPath seccompDefault""".split()
)
_DISK_TYPES = ("nvme", "sd", "hdd", "ssd")
_COMPARISONS = (">=", "<=", "==", ">", "<")
_SMALLEST_MTU = 1280


def problems(config: Document) -> Problems:
    yield from _disk_selector(mapping(at(config, "machine.install.diskSelector")))
    yield from _once(selected(config, "machine.install.extensions", "image"), "machine.install.extensions")
    yield from _disks(listed(at(config, "machine.disks")))
    yield from _kubelet(mapping(at(config, "machine.kubelet")))
    for name in ("state", "ephemeral"):
        yield from _encryption(
            at(config, f"machine.systemDiskEncryption.{name}"), f"machine.systemDiskEncryption.{name}"
        )
    yield from _logging(listed(at(config, "machine.logging.destinations")))
    for kind in ("mirrors", "config"):
        for name, value in mapping(at(config, f"machine.registries.{kind}")).items():
            if value is None:
                yield f"machine.registries.{kind}.{name} has nothing in it"
    yield from _kubespan(config)
    algorithm = at(config, "machine.features.nodeAddressSortAlgorithm")
    if algorithm and str(algorithm).lower() not in ("v1", "v2"):
        yield f"machine.features.nodeAddressSortAlgorithm is {algorithm!r} and not v1 or v2"


def _disk_selector(selector: Document) -> Problems:
    where = "machine.install.diskSelector"
    if selector.get("name"):
        yield f"{where}.name is not supported any more: select by another property"
    if selector.get("type") and selector["type"] not in _DISK_TYPES:
        yield f"{where}.type is {selector['type']!r} and not one of {', '.join(_DISK_TYPES)}"
    size = selector.get("size")
    if size is not None:
        text = str(size).strip()
        bare = next((text.removeprefix(sign) for sign in _COMPARISONS if text.startswith(sign)), text)
        if not config_schema.SIZE.fullmatch(bare):
            yield f"{where}.size is {size!r}, which is no size such as '>= 100GB'"


def _once(names: t.Sequence[t.Any], where: str) -> Problems:
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        yield f"{where} has {name!r} twice"


def _disks(disks: list[t.Any]) -> Problems:
    for index, disk in enumerate(disks):
        where = f"machine.disks[{index}]"
        if disk is None:
            yield f"{where} has nothing in it"
            continue
        for number, part in enumerate(listed(disk.get("partitions"))[:-1]):
            if not mapping(part).get("size") or str(part["size"]).strip() == "0":
                yield f"{where}.partitions[{number}] has no size, and it is not the last one"


def _kubelet(kubelet: Document) -> Problems:
    for index, subnet in enumerate(listed(mapping(kubelet.get("nodeIP")).get("validSubnets"))):
        if not is_network(subnet):
            yield f"machine.kubelet.nodeIP.validSubnets[{index}] is {subnet!r}, which is no network"
    for key in mapping(kubelet.get("extraConfig")):
        if key in _KUBELET_OWN:
            yield f"machine.kubelet.extraConfig.{key} is Talos's own and cannot be set"


def _encryption(section: t.Any, where: str) -> Problems:
    if section is None:
        return
    keys = listed(section.get("keys"))
    if not keys:
        yield f"{where}.keys is missing"
    slots = [mapping(key).get("slot") or 0 for key in keys]
    yield from _once(slots, f"{where}.keys: slot")
    for index, key in enumerate(keys):
        if all(mapping(key).get(kind) is None for kind in ("static", "nodeID", "kms", "tpm")):
            yield f"{where}.keys[{index}] needs one of static, nodeID, kms, tpm"


def _logging(destinations: list[t.Any]) -> Problems:
    for index, entry in enumerate(destinations):
        where, entry = f"machine.logging.destinations[{index}]", mapping(entry)
        url = urllib.parse.urlsplit(str(entry.get("endpoint") or ""))
        if url.scheme not in ("tcp", "udp") or not url.netloc:
            yield f"{where}.endpoint is {entry.get('endpoint')!r} and not such as udp://192.168.1.10:514"
        if entry.get("format") != "json_lines":
            yield f"{where}.format is {entry.get('format')!r} and not json_lines"


def _kubespan(config: Document) -> Problems:
    section = mapping(at(config, "machine.network.kubespan"))
    if not section.get("enabled"):
        return
    where = "machine.network.kubespan"
    if section.get("mtu") and section["mtu"] < _SMALLEST_MTU:
        yield f"{where}.mtu is {section['mtu']}, and the least is {_SMALLEST_MTU}"
    for name in ("endpoints", "excludeAdvertisedNetworks"):
        for index, subnet in enumerate(listed(mapping(section.get("filters")).get(name))):
            if not is_network(subnet, bare=name == "endpoints", negated=name == "endpoints"):
                yield f"{where}.filters.{name}[{index}] is {subnet!r}, which is no network"
