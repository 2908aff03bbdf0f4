# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the ``machine`` part of the v1alpha1 document."""

from __future__ import annotations

import collections.abc as c
import typing as t

from . import gourl, rules_cluster, rules_network
from .labels import annotation_problems, label_problems, taint_problems
from .machineconfig import MachineConfig
from .problems import Problems, is_cidr, listed, multiple, quote, subnet_or_address

_TYPES = {"": "worker", "worker": "worker", "join": "worker", "controlplane": "controlplane", "init": "init"}
_ROLES = frozenset(
    "os:admin os:operator os:reader os:etcd:backup os:image:verifier os:meta:writer os:impersonator".split()
)
_PROTECTED_KUBELET = (
    "apiVersion authentication authorization cgroupRoot kind kubeletCgroups port protectKernelDefaults resolvConf "
    "rotateCertificates systemCgroups staticPodPath seccompDefault"
).split()
_DISK_TYPES = ("", "nvme", "sd", "hdd", "ssd")
#: The OCI runtime specification's own keys, with the Go types that their values become.
_RUNTIME_SPEC = {
    "ociVersion": "string",
    "process": "specs.Process",
    "root": "specs.Root",
    "hostname": "string",
    "domainname": "string",
    "mounts": "[]specs.Mount",
    "annotations": "map[string]string",
    "linux": "specs.Linux",
}
_SORT_ALGORITHMS = ("v1", "v2")
LEGACY_EXTENSIONS = (
    ".machine.install.extensions is deprecated, please see "
    "https://docs.siderolabs.com/talos/latest/platform-specific-installations/boot-assets"
)


def check(config: MachineConfig, mode: str, found: Problems) -> None:
    """In the node's order, so that its list of errors is the same."""
    _install(config, mode, found)
    _host_dns(config, mode, found)
    _type(config, found)
    rules_network.check(config, found)
    _disks(config, found)
    _kubelet(config, found)
    _encryption(config, found)
    _kubespan(config, found)
    _logging(config, found)
    _extensions(config, found)
    _metadata(config, found)
    _api_access(config, found)
    _rest(config, found)


def _install(config: MachineConfig, mode: str, found: Problems) -> None:
    if mode != "metal":
        return
    section = config.get("machine.install")
    if section is None:
        found.add('install instructions are required in "metal" mode')
        return
    selector = section.get("diskSelector")
    problem = _disk_selector(selector or {})
    found.when(problem, f"install disk selector is invalid: {problem}")
    if not section.get("disk") and (selector is None or problem):
        found.add("either install disk or diskSelector should be defined")
    if section.get("extraKernelArgs") and section.get("grubUseUKICmdline"):
        found.add("install.extraKernelArgs and install.grubUseUKICmdline can't be used together")


def _disk_selector(selector: c.Mapping[str, t.Any]) -> str:
    if selector.get("name"):
        return "selector on name is not supported"
    type_ = str(selector.get("type") or "")
    return f"unsupported disk type {quote(type_)}" if type_ not in _DISK_TYPES else ""


def _host_dns(config: MachineConfig, mode: str, found: Problems) -> None:
    enabled = config.get("machine.features.hostDNS.enabled")
    forward = config.get("machine.features.hostDNS.forwardKubeDNSToHost")
    if mode == "container":
        text = "feature HostDNS should be enabled in container mode (.machine.features.hostDNS.enabled)"
        found.when(not enabled, text)
        text = (
            "feature HostDNS should forward kube-dns to host in container mode "
            "(.machine.features.hostDNS.forwardKubeDNSToHost)"
        )
        found.when(not forward, text)
    text = "feature hostDNS.forwardKubeDNSToHost requires hostDNS.enabled to be true (.machine.features.hostDNS)"
    found.when(forward and not enabled, text)


def _type(config: MachineConfig, found: Problems) -> None:
    written = str(config.get("machine.type") or "")
    type_ = _TYPES.get(written)
    if type_ not in (None, written):
        found.warnings.append(f"use {quote(type_)} instead of {quote(written)} for machine type")
    ca, accepted = config.get("machine.ca"), listed(config.get("machine.acceptedCAs"))
    if ca is None and not accepted:
        found.add("issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)")
    if type_ in ("controlplane", "init"):
        rules_cluster.cni(config, found)
        if ca is None:
            found.add("issuing CA is required (.machine.ca)")
        elif not ca.get("key"):
            found.add("issuing CA key is required for controlplane nodes (.machine.ca.key)")
    elif type_ == "worker":
        _worker(config, ca, accepted, found)
    else:
        found.add(f"unknown machine type {quote(written)}")


def _worker(config: MachineConfig, ca: t.Any, accepted: list[t.Any], found: Problems) -> None:
    for device in config.interfaces:
        for holder in (device, *listed(device.get("vlans"))):
            found.when(holder.get("vip"), "virtual (shared) IP is not allowed on non-controlplane nodes")
    if ca is not None:
        found.when(ca.get("key"), "issuing Talos API CA key is not allowed on non-controlplane nodes (.machine.ca)")
        text = "trusted CA certificates are required on non-controlplane nodes (.machine.ca.crt, .machine.acceptedCAs)"
        found.when(not ca.get("crt") and not accepted, text)
    key = config.get("cluster.ca.key")
    found.when(key, "issuing Kubernetes API CA key is not allowed on non-controlplane nodes (.cluster.ca)")


def _disks(config: MachineConfig, found: Problems) -> None:
    for index, disk in enumerate(listed(config.get("machine.disks"))):
        if disk is None:
            found.add(f"machine.disks[{index}] is null")
            continue
        partitions = listed(disk.get("partitions"))
        for part in partitions[:-1]:
            if not part.get("size"):
                device = quote(disk.get("device") or "")
                text = "is set to occupy full disk, but it's not the last partition in the list"
                found.add(f"partition for disk {device} {text}")


def _kubelet(config: MachineConfig, found: Problems) -> None:
    for subnet in listed(config.get("machine.kubelet.nodeIP.validSubnets")):
        bare = str(subnet).removeprefix("!")
        found.when(not subnet_or_address(bare), f"kubelet nodeIP subnet is not valid: {quote(bare)}")
    extra = config.get("machine.kubelet.extraConfig", {})
    for field in _PROTECTED_KUBELET:
        found.when(field in extra, f"kubelet configuration field {quote(field)} can't be overridden")


def _encryption(config: MachineConfig, found: Problems) -> None:
    for label, key in (("EPHEMERAL", "ephemeral"), ("STATE", "state")):
        section = config.get(f"machine.systemDiskEncryption.{key}")
        if section is None:
            continue
        keys, used = listed(section.get("keys")), set()
        found.when(not keys, f"partition {quote(label)}: no encryption keys provided")
        for entry in keys:
            slot = int(entry.get("slot") or 0)
            taken = f"partition {quote(label)}: encryption key slot {slot} is already in use"
            found.when(slot in used, taken)
            used.add(slot)
            kinds = any(entry.get(kind) is not None for kind in ("nodeID", "static", "kms", "tpm"))
            text = f"encryption key at slot {slot} doesn't have the configuration parameters"
            found.when(not kinds, f"partition {quote(label)}: {text}")


def _kubespan(config: MachineConfig, found: Problems) -> None:
    section = config.get("machine.network.kubespan", {})
    if not section.get("enabled"):
        return
    wanted = "when .machine.network.kubespan is enabled"
    found.when(not config.get("cluster.discovery.enabled"), f".cluster.discovery should be enabled {wanted}")
    for key in ("id", "secret"):
        found.when(not config.get(f"cluster.{key}"), f".cluster.{key} should be set {wanted}")
    filters = section.get("filters") or {}
    for cidr in listed(filters.get("endpoints")):
        bare = str(cidr).removeprefix("!")
        found.when(not subnet_or_address(bare), f"KubeSpan endpoint filter is not valid: {quote(bare)}")
    for cidr in listed(filters.get("excludeAdvertisedNetworks")):
        text = f"KubeSpan exclude advertised networks filter is not valid: {quote(cidr)}"
        found.when(not is_cidr(cidr), text)


def _logging(config: MachineConfig, found: Problems) -> None:
    for entry in listed(config.get("machine.logging.destinations")):
        if entry.get("endpoint") is None:
            found.add("empty logging endpoint")
        else:
            url = gourl.parse(str(entry["endpoint"]))
            found.when(not url.host, "empty logging endpoint's host")
            text = f"unexpected logging endpoint scheme {quote(url.scheme)}"
            found.when(url.scheme not in ("tcp", "udp"), text)
        format_ = str(entry.get("format") or "")
        found.when(format_ != "json_lines", f"unknown logging format {quote(format_)}")


def _extensions(config: MachineConfig, found: Problems) -> None:
    images: set[str] = set()
    for entry in listed(config.get("machine.install.extensions")):
        image = str(entry.get("image") or "")
        found.when(image in images, f"duplicate system extension {quote(image)}")
        images.add(image)
    if images:
        found.warnings.append(LEGACY_EXTENSIONS)


_METADATA: tuple[tuple[str, str, t.Callable[[c.Mapping[str, t.Any]], list[str]]], ...] = (
    ("nodeLabels", "labels", label_problems),
    ("nodeAnnotations", "annotations", annotation_problems),
    ("nodeTaints", "taints", taint_problems),
)


def _metadata(config: MachineConfig, found: Problems) -> None:
    for key, name, problems in _METADATA:
        wrong = problems(config.get(f"machine.{key}", {}))
        if wrong:
            found.add(f"invalid machine node {name}: {multiple(wrong)}")


def _api_access(config: MachineConfig, found: Problems) -> None:
    section = config.get("machine.features.kubernetesTalosAPIAccess", {})
    if not section.get("enabled"):
        return
    text = "feature Kubernetes Talos API Access can only be enabled on control plane machines"
    found.when(not config.control_plane, text)
    for role in listed(section.get("allowedRoles")):
        text = f"invalid role {quote(role)} in allowed roles for Kubernetes Talos API Access"
        found.when(role not in _ROLES, text)


def _rest(config: MachineConfig, found: Problems) -> None:
    algorithm = str(config.get("machine.features.nodeAddressSortAlgorithm") or "")
    text = f"invalid node address sort algorithm: {algorithm} does not belong to AddressSortAlgorithm values"
    found.when(algorithm and algorithm.lower() not in _SORT_ALGORITHMS, text)
    persist = (config.v1alpha1 or {}).get("persist")
    found.when(persist is False, ".persist should be enabled")
    problem = _runtime_spec(config.get("machine.baseRuntimeSpecOverrides", {}))
    found.when(problem, f"failed to unmarshal base runtime spec overrides: json: cannot unmarshal {problem}")
    for kind in ("config", "mirrors"):
        for key, value in config.get(f"machine.registries.{kind}", {}).items():
            found.when(value is None, f"registries.{kind}[{quote(key)}] is null")


def _runtime_spec(overrides: c.Mapping[str, t.Any]) -> str:
    """The first of the specification's own keys whose value is of another kind; what is below them is not looked at."""
    for key in sorted(overrides):
        wanted, value = _RUNTIME_SPEC.get(key), overrides[key]
        if wanted is None or value is None:
            continue
        kind = _json_kind(value)
        fits = kind == ("string" if wanted == "string" else "array" if wanted.startswith("[]") else "object")
        if not fits:
            return f"{kind} into Go struct field Spec.{key} of type {wanted}"
    return ""


def _json_kind(value: object) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "bool"), (str, "string"), (int, "number"), (float, "number"), (list, "array"),
    )  # fmt: skip
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")
