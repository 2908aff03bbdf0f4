# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules behind :mod:`validate`: what a config must have and must not have. Each yields messages with paths."""

from __future__ import annotations

import base64
import re
import typing as t

from . import checks_cluster, checks_links, checks_machine, compare, config_schema, pki, versions
from .forms import Problems, at, is_address, is_network, is_url, listed
from .identity import MAIN, Document, describe
from .inputs import LABEL

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_TAINT = re.compile(r"([^:]*:)?(NoSchedule|PreferNoSchedule|NoExecute)")
_IMAGE_VERSION = re.compile(r":v1\.(\d+)\.\d+[^/:]*(@[^@]*)?$")
_ROLES = frozenset(
    {
        "os:admin",
        "os:operator",
        "os:reader",
        "os:etcd:backup",
        "os:impersonator",
        "os:image:verifier",
        "os:meta:writer",
    }
)


def structure(documents: t.Sequence[t.Any]) -> Problems:
    """Whether these are documents at all, each once, with a main document among them."""
    for document in documents:
        if not isinstance(document, dict):
            yield f"a document is not a mapping but {type(document).__name__}"
            return
        if document.get("$patch"):
            yield f"{describe(document)} has a $patch left in it"
        if not isinstance(document.get("kind", ""), str | None):
            yield f"a document has the kind {document['kind']!r}"
            return
        if document.get("kind") and not document.get("apiVersion"):
            yield f"{document['kind']} has no apiVersion"
    mains = [document for document in documents if not document.get("kind")]
    if not mains:
        yield "there is no v1alpha1 document"
    for name in compare.duplicates(documents):
        yield f"the document {name} is there twice"


def main(documents: t.Sequence[Document]) -> Document:
    return next(document for document in documents if not document.get("kind"))


def main_document(config: Document, *, machine_type: str, talos: versions.Version) -> Problems:
    """Everything about the v1alpha1 document."""
    if config.get("version") != MAIN:
        yield f"version is not {MAIN}"
    if config.get("persist") is False:
        yield "persist is false, and the node must keep its config"
    found = at(config, "machine.type")
    if found != machine_type:
        yield f"machine.type is {found!r} and not {machine_type!r}"
    yield from _secrets(config, controls=machine_type == "controlplane")
    yield from _install(config)
    yield from _kubernetes(config, talos)
    yield from _network(config, controls=machine_type == "controlplane")
    yield from _node(config)
    yield from _features(config, controls=machine_type == "controlplane")
    yield from checks_machine.problems(config)
    yield from checks_cluster.problems(config)


def other_documents(documents: t.Sequence[Document]) -> Problems:
    """What the further documents say, and what they say against the main one."""
    for document in documents:
        if document.get("kind") == "HostnameConfig":
            yield from _hostname(document, main(documents))


def unknown_kinds(documents: t.Sequence[Document], talos: versions.Version) -> Problems:
    """Kinds that this Talos does not have; of newer ones only the node knows."""
    known = config_schema.KINDS.get(talos.minor)
    for document in documents:
        kind = document.get("kind")
        if kind and document.get("apiVersion") != MAIN:
            yield f"{describe(document)} has the apiVersion {document.get('apiVersion')!r} and not {MAIN}"
        if known and kind and kind not in known:
            yield f"{describe(document)} is of a kind that Talos {talos.text} does not know"


def _secrets(config: Document, *, controls: bool) -> Problems:
    for path in ("machine.token", "cluster.id", "cluster.secret", "cluster.token"):
        if not at(config, path):
            yield f"{path} is missing"
    for path in ("machine.ca", "cluster.ca"):
        yield from _authority(config, path, with_key=controls)
    if not controls:
        if at(config, "cluster.etcd") is not None:
            yield "cluster.etcd is for control plane nodes only"
        for path in ("cluster.aggregatorCA", "cluster.serviceAccount"):
            if at(config, path):
                yield f"{path} is for control plane nodes only"
        return
    for path in ("cluster.aggregatorCA", "cluster.etcd.ca"):
        yield from _authority(config, path, with_key=True)
    yield from _private_key(config, "cluster.serviceAccount.key")
    if not at(config, "cluster.secretboxEncryptionSecret") and not at(config, "cluster.aescbcEncryptionSecret"):
        yield "cluster.secretboxEncryptionSecret is missing"


def _authority(config: Document, path: str, *, with_key: bool) -> Problems:
    crt, key = at(config, f"{path}.crt"), at(config, f"{path}.key")
    if not crt:
        yield f"{path}.crt is missing"
    elif not _loads(crt, pki.load_certificate):
        yield f"{path}.crt is not a certificate in base64 of PEM"
    if not with_key:
        if key:
            yield f"{path}.key must not be on a worker"
        return
    yield from _private_key(config, f"{path}.key")


def _private_key(config: Document, path: str) -> Problems:
    key = at(config, path)
    if not key:
        yield f"{path} is missing"
    elif not _loads(key, pki.load_key):
        yield f"{path} is not a private key in base64 of PEM"


def _loads(value: str, load: t.Callable[[bytes], t.Any]) -> bool:
    try:
        load(base64.b64decode(value, validate=True))
    except (ValueError, TypeError):
        return False
    return True


def _install(config: Document) -> Problems:
    install = at(config, "machine.install") or {}
    if not install.get("disk") and not install.get("diskSelector"):
        yield "machine.install needs disk or diskSelector"
    if install.get("extraKernelArgs") and install.get("grubUseUKICmdline"):
        yield "machine.install.extraKernelArgs has no effect with grubUseUKICmdline"


def _kubernetes(config: Document, talos: versions.Version) -> Problems:
    low, high = versions.KUBERNETES_RANGE[talos.minor]
    images = ["machine.kubelet.image"] + [
        f"cluster.{component}.image" for component in ("apiServer", "controllerManager", "scheduler", "proxy")
    ]
    for path in images:
        image = str(at(config, path) or "")
        match = _IMAGE_VERSION.search(image)
        if image and not match:
            yield f"{path} is {image!r}, which does not say its version of Kubernetes"
        elif match and not low <= int(match[1]) <= high:
            yield f"{path} is of Kubernetes 1.{match[1]}, and Talos {talos.text} runs 1.{low} to 1.{high}"
    endpoint = at(config, "cluster.controlPlane.endpoint")
    if not endpoint:
        yield "cluster.controlPlane.endpoint is missing"
    elif not is_url(endpoint):
        yield f"cluster.controlPlane.endpoint is {endpoint!r}, which is no URL"


def _network(config: Document, *, controls: bool) -> Problems:
    domain = at(config, "cluster.network.dnsDomain")
    if domain and not all(LABEL.fullmatch(label) for label in str(domain).split(".")):
        yield f"cluster.network.dnsDomain is {domain!r}, which is no DNS name"
    for path in ("cluster.network.podSubnets", "cluster.network.serviceSubnets"):
        for index, subnet in enumerate(at(config, path) or []):
            if not is_network(subnet, bare=False, negated=False):
                yield f"{path}[{index}] is {subnet!r}, which is no network"
    interfaces = listed(at(config, "machine.network.interfaces"))
    yield from checks_links.problems(interfaces, controls=controls)
    for index, server in enumerate(at(config, "machine.network.nameservers") or []):
        if not is_address(server):
            yield f"machine.network.nameservers[{index}] is {server!r}, which is no address"


def _node(config: Document) -> Problems:
    for path in ("machine.nodeLabels", "machine.nodeAnnotations", "machine.nodeTaints"):
        for key, value in (at(config, path) or {}).items():
            if not _is_label_key(str(key)):
                yield f"{path} has the key {key!r}, which Kubernetes does not allow"
            elif path.endswith("Labels") and not _LABEL_VALUE.fullmatch(str(value)):
                yield f"{path}.{key} is {value!r}, which Kubernetes does not allow"
            elif path.endswith("Taints") and not _TAINT.fullmatch(str(value)):
                yield f"{path}.{key} is {value!r} and not [value:]NoSchedule, PreferNoSchedule or NoExecute"


def _is_label_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not all(LABEL.fullmatch(label) for label in prefix.split(".")):
        return False
    return bool(_LABEL_NAME.fullmatch(name))


def _features(config: Document, *, controls: bool) -> Problems:
    if at(config, "machine.network.kubespan.enabled") and not at(config, "cluster.discovery.enabled"):
        yield "machine.network.kubespan is enabled, and cluster.discovery is not"
    access = at(config, "machine.features.kubernetesTalosAPIAccess") or {}
    if access.get("enabled"):
        if not controls:
            yield "machine.features.kubernetesTalosAPIAccess is for control plane nodes only"
        for role in access.get("allowedRoles") or []:
            if role not in _ROLES:
                yield f"machine.features.kubernetesTalosAPIAccess.allowedRoles has {role!r}, which is no role"
    dns = at(config, "machine.features.hostDNS") or {}
    if dns.get("forwardKubeDNSToHost") and not dns.get("enabled"):
        yield "machine.features.hostDNS.forwardKubeDNSToHost needs hostDNS to be enabled"


def _hostname(document: Document, config: Document) -> Problems:
    name, auto = document.get("hostname"), document.get("auto")
    if auto not in (None, "stable", "off"):
        yield f"HostnameConfig: auto is {auto!r} and not stable or off"
    if not name and not auto:
        yield "HostnameConfig needs hostname or auto"
    if name and auto == "stable":
        yield "HostnameConfig has both hostname and auto: stable"
    if name and not all(LABEL.fullmatch(label) for label in str(name).split(".")):
        yield f"HostnameConfig: hostname is {name!r}, which is no host name"
    if at(config, "machine.network.hostname"):
        yield "HostnameConfig and machine.network.hostname both name the host"
    if at(config, "machine.features.stableHostname"):
        yield "HostnameConfig and machine.features.stableHostname both name the host"
