# SPDX-License-Identifier: GPL-3.0-or-later
"""What the node tells of itself as COSI resources."""

from __future__ import annotations

import collections.abc as c
import ipaddress
import typing as t

from .events import new_id
from .machineconfig import MachineConfig
from .network import link_names, node_address
from .resourcetypes import TYPES

if t.TYPE_CHECKING:
    from .node import TalosNode
    from .runtime import Runtime

PAUSE = "registry.k8s.io/pause:3.10.1"
__all__ = [
    "PAUSE",
    "boot",
    "configuration",
    "etcd_member",
    "kubernetes",
    "members",
    "network",
    "new_id",
    "system",
]
_DIRECTORIES = (
    "/var/lib /var/lib/cni /var/lib/containerd /var/lib/kubelet /var/lib/kubelet/seccomp "
    "/var/lib/kubelet/seccomp/profiles /var/log /var/log/audit /var/log/audit/kube /var/log/containers /var/log/pods "
    "/var/mnt"
).split()


def device_of(node: TalosNode) -> str:
    """The system disk as Linux calls it: ``/dev/sda`` for scsi and sata, ``/dev/vda`` for virtio."""
    return _device(node.storage.disk.slot)


def _device(slot: str) -> str:
    bus, number = slot.rstrip("0123456789"), slot[len(slot.rstrip("0123456789")) :]
    letter = chr(ord("a") + int(number or 0))
    return f"/dev/{'vd' if bus == 'virtio' else 'sd'}{letter}"


# --- the machine
def system(runtime: Runtime) -> None:
    """Platform, disks, extensions: what is there in maintenance already."""
    node, put = runtime.node, runtime.resources.put
    metadata = {
        "platform": node.image.platform,
        "hostname": runtime.hostname,
        "instanceId": node.machine.guest.uuid,
    }
    put(
        "runtime",
        "PlatformMetadatas.talos.dev",
        "platformmetadata",
        metadata,
        owner="network.PlatformConfigApplyController",
    )
    put(
        "runtime",
        "SecurityStates.talos.dev",
        "securitystate",
        {"secureBoot": False},
        owner="runtime.SecurityStateController",
    )
    put(
        "runtime",
        "Versions.runtime.talos.dev",
        "version",
        {"version": node.version.tag},
        owner="runtime.VersionController",
    )
    for definition in TYPES.values():
        _definition(runtime, definition.name, definition.namespace, definition.display)
    _disks(runtime)
    _extensions(runtime)
    volume(runtime, "META", "partition", f"{device_of(node)}4")
    volume(runtime, "STATE", "partition", f"{device_of(node)}5")


def _definition(runtime: Runtime, name: str, namespace: str, display: str) -> None:
    spec = {
        "type": name,
        "displayType": display,
        "defaultNamespace": namespace,
        "aliases": [display.lower()],
    }
    runtime.resources.put("meta", "ResourceDefinitions.meta.cosi.dev", name.lower(), spec, owner="")


def _disks(runtime: Runtime) -> None:
    node = runtime.node
    for disk in node.machine.guest.disks:
        device = _device(disk.slot)
        spec = {
            "dev_path": device,
            "size": disk.size,
            "pretty_size": _pretty(disk.size),
            "io_size": 512,
            "sector_size": 512,
            "readonly": disk.cdrom,
            "cdrom": disk.cdrom,
            "model": "QEMU DVD-ROM" if disk.cdrom else "QEMU HARDDISK",
            "transport": "virtio" if "virtio" in disk.slot or "scsi" in disk.slot else "sata",
            "rotational": False,
        }
        name = device.rpartition("/")[2]
        runtime.resources.put(
            "runtime",
            "Disks.block.talos.dev",
            name,
            spec,
            owner="block.DisksController",
        )
    if node.storage.installed:
        device = device_of(node)
        spec = {"diskID": device.rpartition("/")[2], "devPath": device}
        type_ = "SystemDisks.block.talos.dev"
        runtime.resources.put("runtime", type_, "system-disk", spec, owner="block.SystemDiskController")


def legacy_disks(node: TalosNode) -> list[dict[str, t.Any]]:
    """As ``storage.StorageService/Disks`` answers."""
    return [
        {
            "size": disk.size,
            "model": "QEMU HARDDISK",
            "device_name": _device(disk.slot),
            "name": _device(disk.slot).rpartition("/")[2],
            "type": "HDD",
            "system_disk": disk.slot == node.storage.disk.slot and node.storage.installed,
        }
        for disk in node.machine.guest.disks
        if not disk.cdrom
    ]


def _extensions(runtime: Runtime) -> None:
    """Extensions of the schematic, and the schematic itself as the pseudo extension that names it."""
    node = runtime.node
    names = [*node.settings.extensions(node.image.schematic), "schematic"]
    for index, name in enumerate(names):
        schematic = name == "schematic"
        metadata = {
            "name": "schematic" if schematic else name.rpartition("/")[2],
            "version": node.image.schematic if schematic else node.version.tag,
            "author": "Image Factory" if schematic else "Sidero Labs",
            "description": "Virtual extension which specifies the schematic of the image built with Image Factory."
            if schematic
            else name,
        }
        spec = {"image": f"{index}.sqsh", "metadata": metadata}
        runtime.resources.put(
            "runtime",
            "ExtensionStatuses.runtime.talos.dev",
            str(index),
            spec,
            owner="runtime.ExtensionStatusController",
        )


def volume(runtime: Runtime, name: str, kind: str, location: str = "") -> None:
    spec = {"phase": "ready", "type": kind}
    if location:
        spec["location"] = location
    runtime.resources.put(
        "runtime",
        "VolumeStatuses.block.talos.dev",
        name,
        spec,
        owner="block.VolumeManagerController",
    )


def boot(runtime: Runtime) -> None:
    """Volumes that are mounted when a configured node boots."""
    volume(runtime, "EPHEMERAL", "partition", f"{device_of(runtime.node)}6")
    for name in (
        *_DIRECTORIES,
        *(["ETCD"] if runtime.config and runtime.config.control_plane else []),
    ):
        volume(runtime, name, "directory")


# --- network
def network(runtime: Runtime) -> None:
    put, keep = runtime.resources.put, runtime.resources.keep_only
    known = {}
    for link in (*runtime.network.links,):
        for cidr in link.addresses:
            known[f"{link.name}/{cidr}"] = (cidr, link.name)
    first = runtime.network.links[0].name if runtime.network.links else ""
    known |= {f"{first}/{address}/32": (f"{address}/32", first) for address in runtime.held}
    known |= {"lo/127.0.0.1/8": ("127.0.0.1/8", "lo"), "lo/::1/128": ("::1/128", "lo")}
    type_ = "AddressStatuses.net.talos.dev"
    keep("network", type_, known)
    for id_, (cidr, name) in known.items():
        put(
            "network",
            type_,
            id_,
            _address(cidr, name),
            owner="network.AddressStatusController",
        )
    _links(runtime)
    spec = {"hostname": runtime.hostname, "domainname": ""}
    put(
        "network",
        "HostnameStatuses.net.talos.dev",
        "hostname",
        spec,
        owner="network.HostnameSpecController",
    )
    _node_addresses(runtime)


def _address(cidr: str, link: str) -> dict[str, t.Any]:
    loopback = link == "lo"
    return {
        "address": cidr,
        "linkIndex": 1 if loopback else 2,
        "linkName": link,
        "family": "inet6" if ":" in cidr else "inet4",
        "scope": "host" if loopback else "global",
        "flags": "permanent",
        "priority": 0,
    }


def _links(runtime: Runtime) -> None:
    put = runtime.resources.put
    nics = link_names(runtime.node.machine)
    described = {name: (index, nic.mac, not nic.link_down) for index, (name, nic) in enumerate(nics.items(), 2)}
    for name, (index, mac, up) in {
        "lo": (1, "00:00:00:00:00:00", True),
        **described,
    }.items():
        spec = {
            "index": index,
            "type": "loopback" if name == "lo" else "ether",
            "linkIndex": 0,
            "flags": "UP,RUNNING" if up else "",
            "hardwareAddr": mac,
            "permanentAddr": mac,
            "mtu": 65536 if name == "lo" else 1500,
            "operationalState": "unknown" if name == "lo" else "up" if up else "down",
            "kind": "",
            "driver": "" if name == "lo" else "virtio_net",
            "linkState": up,
        }
        put(
            "network",
            "LinkStatuses.net.talos.dev",
            name,
            spec,
            owner="network.LinkStatusController",
        )


def _node_addresses(runtime: Runtime) -> None:
    put, cidrs = runtime.resources.put, list(runtime.network.cidrs)
    current = [*cidrs, *(f"{address}/32" for address in runtime.held)]
    lists = {
        "default": cidrs[:1],
        "routed": cidrs,
        "current": current,
        "accumulative": current,
    }
    for id_, addresses in lists.items():
        spec = {"addresses": addresses}
        put(
            "network",
            "NodeAddresses.net.talos.dev",
            id_,
            spec,
            owner="network.NodeAddressController",
        )


# --- configuration
def configuration(runtime: Runtime) -> None:
    """The active configuration and, after an apply since this boot, the persistent one."""
    _machine_config(runtime, "v1alpha1", runtime.config)
    if runtime.applied:
        _machine_config(runtime, "persistent", runtime.persistent)
    config = runtime.config
    if config is None or not config.complete:
        return
    put = runtime.resources.put
    put(
        "config",
        "MachineTypes.config.talos.dev",
        "machine-type",
        config.machine_type,
        owner="config.MachineTypeController",
    )
    spec = {
        "nodename": runtime.choose_hostname(),
        "hostnameVersion": "1",
        "skipNodeRegistration": False,
    }
    put(
        "k8s",
        "Nodenames.kubernetes.talos.dev",
        "nodename",
        spec,
        owner="k8s.NodenameController",
    )
    _kubelet(runtime, config)


def _machine_config(runtime: Runtime, id_: str, config: MachineConfig | None) -> None:
    type_ = "MachineConfigs.config.talos.dev"
    if config is None:
        runtime.resources.remove("config", type_, id_)
        return
    runtime.resources.put(
        "config",
        type_,
        id_,
        config.text.decode(errors="replace"),
        owner="config.AcquireController" if id_ == "v1alpha1" else "config.PersistenceController",
        annotations={"talos.dev/yaml-spec": ""},
    )


def _kubelet(runtime: Runtime, config: MachineConfig) -> None:
    name = runtime.choose_hostname()
    address = node_address(config, runtime.network.addresses)
    extra = config.get("machine.kubelet.extraArgs", {})
    arguments = {
        "bootstrap-kubeconfig": "/etc/kubernetes/bootstrap-kubeconfig",
        "cert-dir": "/var/lib/kubelet/pki",
        "config": "/etc/kubernetes/kubelet.yaml",
        "hostname-override": name,
        "kubeconfig": "/etc/kubernetes/kubeconfig-kubelet",
        "node-ip": address,
        **{key: value for key, value in extra.items() if isinstance(value, str)},
    }
    default = f"ghcr.io/siderolabs/kubelet:{runtime.node.version.default_kubernetes}"
    spec = {
        "image": config.get("machine.kubelet.image", default),
        "args": [f"--{key}={value}" for key, value in sorted(arguments.items())],
        "expectedNodename": name,
    }
    runtime.resources.put(
        "k8s",
        "KubeletSpecs.kubernetes.talos.dev",
        "kubelet",
        spec,
        owner="k8s.KubeletSpecController",
    )


# --- cluster
def members(runtime: Runtime) -> None:
    """The cluster's members as discovery knows them: told to every node of the cluster."""
    own = runtime.node
    for node in own.settings.registry.members(own.cluster_key):
        if node.powered:
            _members(node.runtime)


def _members(runtime: Runtime) -> None:
    registry = runtime.node.settings.registry
    found = {node.hostname: node for node in registry.members(runtime.node.cluster_key) if node.powered}
    runtime.resources.keep_only("cluster", "Members.cluster.talos.dev", found)
    for name, node in found.items():
        spec: dict[str, t.Any] = {
            "nodeId": node.storage.node_id(),
            "addresses": list(node.runtime.network.addresses),
            "hostname": name,
            "machineType": "controlplane" if node.control_plane else "worker",
            "operatingSystem": f"Talos ({node.version.tag})",
        }
        if node.control_plane:
            spec["controlPlane"] = {"port": 6443}
        runtime.resources.put(
            "cluster",
            "Members.cluster.talos.dev",
            name,
            spec,
            owner="cluster.MemberController",
        )


def etcd_member(runtime: Runtime, member_id: int) -> None:
    spec = {"memberID": f"{member_id:016x}"}
    runtime.resources.put(
        "etcd",
        "EtcdMembers.etcd.talos.dev",
        "local",
        spec,
        owner="etcd.MemberController",
    )


# --- Kubernetes
def kubernetes(runtime: Runtime, source: t.Any) -> None:
    """NodeStatus, static pods and manifests, as ``simlab.cluster`` has them."""
    node = source.kubelet.node_object()
    if node is not None:
        _node_status(runtime, node)
    if source.control_plane is not None:
        _static_pods(runtime, source.control_plane.pods())
    if source.manifests is not None:
        for id_, objects in source.manifests.manifests():
            _manifest(runtime, id_, objects)


def node_ready(node: c.Mapping[str, t.Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def image_of(manifest: c.Mapping[str, t.Any]) -> str:
    containers = (manifest.get("spec") or {}).get("containers") or [{}]
    return str(containers[0].get("image") or "")


def _node_status(runtime: Runtime, node: c.Mapping[str, t.Any]) -> None:
    metadata, spec = node.get("metadata") or {}, node.get("spec") or {}
    name = str(metadata.get("name") or runtime.hostname)
    status = {
        "nodename": name,
        "nodeReady": node_ready(node),
        "unschedulable": bool(spec.get("unschedulable")),
        "labels": dict(sorted((metadata.get("labels") or {}).items())),
        "annotations": dict(sorted((metadata.get("annotations") or {}).items())),
        "podCIDRs": list(spec.get("podCIDRs") or []),
    }
    type_ = "NodeStatuses.kubernetes.talos.dev"
    runtime.resources.put("k8s", type_, name, status, owner="k8s.NodeStatusController")


def _static_pods(runtime: Runtime, pods: c.Sequence[t.Any]) -> None:
    put, keep = runtime.resources.put, runtime.resources.keep_only
    statuses = {f"kube-system/{pod.name}-{runtime.hostname}": pod for pod in pods}
    keep("k8s", "StaticPodStatuses.kubernetes.talos.dev", statuses)
    for id_, pod in statuses.items():
        status = {"phase": "Running" if pod.state == "running" else "Pending"}
        status["conditions"] = [{"type": "Ready", "status": str(bool(pod.ready))}]  # type: ignore[assignment]
        put(
            "k8s",
            "StaticPodStatuses.kubernetes.talos.dev",
            id_,
            {"podStatus": status},
            owner="k8s.KubeletStaticPodController",
        )
        put(
            "k8s",
            "StaticPods.kubernetes.talos.dev",
            pod.name,
            {"pod": dict(pod.manifest)},
            owner="k8s.ControlPlaneStaticPodController",
        )


def _manifest(runtime: Runtime, id_: str, objects: c.Sequence[t.Any]) -> None:
    runtime.resources.put(
        "controlplane",
        "Manifests.kubernetes.talos.dev",
        id_,
        list(objects),
        owner="k8s.ManifestController",
    )


def _pretty(size: int) -> str:
    value, unit = float(size), 0
    while value >= 1000 and unit < 4:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {('B', 'kB', 'MB', 'GB', 'TB')[unit]}"


def inside(address: str, subnet: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(subnet, strict=False)
