# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user describes, checked: the cluster and its nodes. Every error says which option is wrong, and how."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import ipaddress
import re
import typing as t
import urllib.parse

from ..errors import InvalidInput
from . import merge, versions
from .identity import Document

MachineType = t.Literal["controlplane", "worker"]
Params = t.Mapping[str, t.Any]

#: A DNS label, as Kubernetes wants node names and DNS domains to be made of.
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CLUSTER_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")


@dataclasses.dataclass(frozen=True)
class Node:
    """One machine of the cluster: its Kubernetes node name, the address that its API answers at, its type.
    ``fingerprint``: of the certificate that it has to show in maintenance mode, empty for any.
    """

    name: str
    address: str
    type: MachineType
    patches: tuple[Document, ...] = ()
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster as its configs describe it. Versions are checked against each other."""

    name: str
    endpoint: str
    talos: versions.Version
    kubernetes: versions.Version
    contract: int
    installer_image: str
    install_disk: str
    pod_subnets: tuple[str, ...]
    service_subnets: tuple[str, ...]
    dns_domain: str
    cert_sans: tuple[str, ...]
    cni: str
    allow_scheduling_on_control_planes: bool
    inline_manifests: tuple[t.Mapping[str, str], ...]
    patches: tuple[Document, ...] = ()
    type_patches: t.Mapping[str, tuple[Document, ...]] = dataclasses.field(default_factory=dict)

    def patches_for(self, node: Node) -> list[Document]:
        """For all nodes, then for the node's type, then its own."""
        return [*self.patches, *self.type_patches.get(node.type, ()), *node.patches]


def cluster_from(params: Params) -> Cluster:
    """The options ``cluster``, ``patches``, ``control_plane_patches``, ``worker_patches``."""
    given = params["cluster"]
    talos, kubernetes = versions.checked_pair(given["talos_version"], given["kubernetes_version"])
    return Cluster(
        name=_cluster_name(given["name"]),
        endpoint=_endpoint(given["endpoint"]),
        talos=talos,
        kubernetes=kubernetes,
        contract=versions.checked_contract(given.get("contract"), talos),
        installer_image=given.get("installer_image") or versions.installer_image(talos),
        install_disk=_disk(given["install_disk"]),
        pod_subnets=_subnets(given["pod_subnets"], "cluster.pod_subnets"),
        service_subnets=_subnets(given["service_subnets"], "cluster.service_subnets"),
        dns_domain=_domain(given["dns_domain"]),
        cert_sans=_cert_sans(given["cert_sans"]),
        cni=given["cni"],
        allow_scheduling_on_control_planes=given["allow_scheduling_on_control_planes"],
        inline_manifests=_manifests(given["inline_manifests"]),
        patches=tuple(merge.patches_from(params["patches"], "patches")),
        type_patches={
            "controlplane": tuple(merge.patches_from(params["control_plane_patches"], "control_plane_patches")),
            "worker": tuple(merge.patches_from(params["worker_patches"], "worker_patches")),
        },
    )


def nodes_from(given: t.Sequence[Params], *, need_control_plane: bool = True) -> list[Node]:
    """The option ``nodes``, control planes first: workers answer only when one of those is up."""
    if not given:
        raise InvalidInput("nodes is empty")
    nodes = [
        Node(
            node_name(item["name"], f"nodes[{index}].name"),
            address(item["address"], f"nodes[{index}].address"),
            item["type"],
            tuple(merge.patches_from(item.get("patches") or [], f"nodes[{index}].patches")),
            _fingerprint(item.get("fingerprint"), f"nodes[{index}].fingerprint"),
        )
        for index, item in enumerate(given)
    ]
    for field in ("name", "address"):
        _refuse_twice([getattr(node, field) for node in nodes], field)
    if need_control_plane and all(node.type == "worker" for node in nodes):
        raise InvalidInput(
            "nodes has workers only",
            hint="A worker's API answers only when a control plane node is up: list the control plane nodes too.",
        )
    return sorted(nodes, key=lambda node: node.type != "controlplane")


def address(text: str, where: str) -> str:
    """An IP address or a host name, without a port: Talos listens on 50000 and forwards to nothing else."""
    stripped = text.strip()
    try:
        return str(ipaddress.ip_address(stripped.strip("[]")))
    except ValueError:
        pass
    name = stripped.lower().rstrip(".")
    is_name = name and len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split("."))
    if not is_name or name.replace(".", "").isdigit():
        raise InvalidInput(
            f"{where} is {text!r}, which is neither an IP address nor a host name", hint="Give it without a port."
        )
    return name


def positive(seconds: int, where: str) -> int:
    if seconds <= 0:
        raise InvalidInput(f"{where} is {seconds}", hint="It is a number of seconds greater than 0.")
    return seconds


def _cluster_name(name: str) -> str:
    if not _CLUSTER_NAME.fullmatch(name):
        raise InvalidInput(f"cluster.name is {name!r}", hint="Letters, digits, dots, - and _, at most 63 characters.")
    return name


def _fingerprint(text: str | None, where: str) -> str:
    """Of a certificate's public key: SHA-256 in base64, as the console of a node in maintenance mode shows it."""
    if not text:
        return ""
    try:
        whole = len(base64.b64decode(text.strip(), validate=True)) == hashlib.sha256().digest_size
    except ValueError:
        whole = False
    if not whole:
        hint = "It is the SHA-256 of the public key in base64, 44 characters, as the machine's console shows it."
        raise InvalidInput(f"{where} is {text!r}, which is no fingerprint", hint=hint)
    return text.strip()


def node_name(name: str, where: str) -> str:
    """The host name of a machine, which its Kubernetes node and its member of etcd have too."""
    first, _dot, domain = name.partition(".")
    if domain and all(LABEL.fullmatch(label) for label in name.split(".")):
        raise InvalidInput(
            f"{where} is {name!r}, which has a domain",
            hint=f"Talos calls the node {first}: what follows the first dot is only its domain. Give {first}.",
        )
    if len(name) > 63 or not LABEL.fullmatch(name):
        raise InvalidInput(
            f"{where} is {name!r}, which no Kubernetes node can be called",
            hint="Lower case letters, digits and -, at most 63 characters.",
        )
    return name


def _endpoint(text: str) -> str:
    hint = "It looks like https://192.168.30.50:6443."
    problem = InvalidInput(f"cluster.endpoint is {text!r}, which is not the URL of a Kubernetes API", hint=hint)
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port
    except ValueError as error:
        raise problem from error
    if url.scheme != "https" or not url.hostname or url.path not in ("", "/") or url.query or url.username:
        raise problem
    if port is None:
        raise InvalidInput(f"cluster.endpoint {text} has no port", hint=hint)
    address(url.hostname, "The host of cluster.endpoint")
    return text.rstrip("/")


def _disk(path: str) -> str:
    if not path.startswith("/dev/"):
        raise InvalidInput(f"cluster.install_disk is {path!r}", hint="It is a path such as /dev/sda.")
    return path


def _subnets(given: t.Sequence[str], where: str) -> tuple[str, ...]:
    if not given:
        raise InvalidInput(f"{where} is empty")
    for text in given:
        subnet(text, where)
    return tuple(given)


def subnet(text: t.Any, where: str) -> None:
    """Raise when a text is not a network in CIDR form."""
    try:
        ipaddress.ip_network(str(text), strict=True)
    except ValueError as error:
        raise InvalidInput(f"{where} has {text!r}: {error}", hint="It looks like 10.244.0.0/16.") from error


def _domain(text: str) -> str:
    if not all(LABEL.fullmatch(label) for label in text.split(".")):
        raise InvalidInput(f"cluster.dns_domain is {text!r}, which is no DNS name")
    return text


def _cert_sans(given: t.Sequence[str]) -> tuple[str, ...]:
    return tuple(address(name, f"cluster.cert_sans[{index}]") for index, name in enumerate(given))


def _manifests(given: t.Sequence[Params]) -> tuple[dict[str, str], ...]:
    _refuse_twice([item["name"] for item in given], "name", of="cluster.inline_manifests")
    return tuple({"name": item["name"], "contents": item["contents"]} for item in given)


def _refuse_twice(found: t.Sequence[str], field: str, *, of: str = "nodes") -> None:
    twice = sorted({value for value in found if found.count(value) > 1})
    if twice:
        raise InvalidInput(f"{of} has the {field} {', '.join(twice)} more than once")
