# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab's storage drivers do with a StorageClass and a claim: the volume that they make, or why they do not."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import decimal
import re
import typing as t

Object = t.Mapping[str, t.Any]
Volume = dict[str, t.Any]
#: No played storage has more than this for one volume (bytes).
LARGEST = 1 << 40
REGION, ZONE, HOSTNAME = "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "kubernetes.io/hostname"
_UNITS = {letter: decimal.Decimal(1000) ** power for power, letter in enumerate(("", "k", "M", "G", "T", "P", "E"))}
_UNITS |= {f"{letter}i": decimal.Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
_UNITS["m"] = decimal.Decimal("0.001")


class NotProvisioned(Exception):
    """In the driver's words."""


@dataclasses.dataclass(frozen=True)
class Driver:
    """``images``: parts of the names of the images that are this driver. ``topology``: the labels of nodes that its volumes
    depend on. ``source`` makes the part of a PersistentVolume's spec that is the driver's own."""

    name: str
    images: tuple[str, ...]
    source: c.Callable[[Object, Object, str, t.Mapping[str, str]], Volume]
    csi: bool = True
    topology: tuple[str, ...] = ()
    modes: frozenset[str] = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
    expands: bool = True

    def make(self, claim: Object, storage_class: Object, labels: t.Mapping[str, str] | None) -> Volume:
        """The driver's part of the volume's spec. ``labels`` are those of the selected node, None when the class binds at
        once. Raises NotProvisioned."""
        wanted = set(claim["spec"].get("accessModes") or ())
        if not wanted <= self.modes:
            raise NotProvisioned(self._refusal("InvalidArgument", f"access mode {sorted(wanted - self.modes)[0]}"))
        if size_of(claim) > LARGEST:
            raise NotProvisioned("rpc error: code = ResourceExhausted desc = not enough storage")
        name = f"pvc-{claim['metadata']['uid']}"
        made = self.source(claim, storage_class.get("parameters") or {}, name, labels or {})
        if self.topology and labels is not None:
            made["nodeAffinity"] = _affinity({key: labels[key] for key in self.topology})
        return made

    def _refusal(self, code: str, what: str) -> str:
        return f"rpc error: code = {code} desc = volume capability not supported: {what}" if self.csi else what


def quantity(text: str) -> int:
    """Bytes of a Kubernetes quantity. Raises ValueError."""
    found = re.fullmatch(r"([0-9.]+(?:[eE][0-9]+)?)([kMGTPEm]|[KMGTPE]i|)", text)
    if found is None:
        raise ValueError(f"quantities must match the regular expression: {text}")
    return int(decimal.Decimal(found[1]) * _UNITS[found[2]])


def size_of(claim: Object) -> int:
    return quantity(str(claim["spec"]["resources"]["requests"]["storage"]))


def _affinity(labels: t.Mapping[str, str]) -> Volume:
    terms = [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": terms}]}}


def _csi(driver: str, handle: str, parameters: Object, attributes: t.Mapping[str, str]) -> Volume:
    kind = parameters.get("csi.storage.k8s.io/fstype") or parameters.get("csi.storage.k8s.io/fsType")
    made = {"driver": driver, "volumeHandle": handle, "volumeAttributes": dict(attributes)}
    return {"csi": made | ({"fsType": kind} if kind else {})}


def _proxmox(claim: Object, parameters: Object, name: str, labels: t.Mapping[str, str]) -> Volume:
    storage = parameters.get("storage")
    if not storage:
        raise NotProvisioned("rpc error: code = InvalidArgument desc = parameters storage must be provided")
    place = f"{labels.get(REGION, '')}/{labels.get(ZONE, '')}/{storage}/vm-9999-{name}"
    kept = {key: str(value) for key, value in parameters.items() if not key.startswith("csi.storage.k8s.io/")}
    return _csi(PROXMOX.name, place, parameters, kept)


def _nfs(claim: Object, parameters: Object, name: str, labels: t.Mapping[str, str]) -> Volume:
    for key in ("server", "share"):
        if not parameters.get(key):
            raise NotProvisioned(f"rpc error: code = InvalidArgument desc = {key} is a required parameter")
    meta = claim["metadata"]
    folder = str(parameters.get("subDir") or name)
    names = {"pvc.metadata.name": meta["name"], "pvc.metadata.namespace": meta["namespace"], "pv.metadata.name": name}
    for key, value in names.items():
        folder = folder.replace(f"${{{key}}}", value)
    server, share = str(parameters["server"]), str(parameters["share"])
    attributes = {"server": server, "share": share, "subdir": folder}
    kept = "#".join([server, share.strip("/"), folder, name, str(parameters.get("onDelete") or "")])
    return _csi(NFS.name, kept, parameters, attributes)


def _local(base: str) -> c.Callable[[Object, Object, str, t.Mapping[str, str]], Volume]:
    def source(claim: Object, parameters: Object, name: str, labels: t.Mapping[str, str]) -> Volume:
        if HOSTNAME not in labels:
            raise NotProvisioned("configuration error, no node was specified")
        if claim["spec"].get("volumeMode") == "Block":
            raise NotProvisioned("block volume not supported")
        meta = claim["metadata"]
        folder = f"{base}/{name}_{meta['namespace']}_{meta['name']}"
        return {"hostPath": {"path": folder, "type": "DirectoryOrCreate"}}

    return source


PROXMOX = Driver(
    "csi.proxmox.sinextra.dev", ("proxmox-csi-controller", "proxmox-csi-node"), _proxmox, topology=(REGION, ZONE)
)
NFS = Driver(
    "nfs.csi.k8s.io",
    ("sig-storage/nfsplugin", "csi-driver-nfs"),
    _nfs,
    modes=frozenset({"ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany", "ReadOnlyMany"}),
)
LOCAL_PATH = Driver(
    "rancher.io/local-path",
    ("local-path-provisioner",),
    _local("/opt/local-path-provisioner"),
    csi=False,
    topology=(HOSTNAME,),
    expands=False,
)
OPENEBS = Driver(
    "openebs.io/local",
    ("openebs/provisioner-localpv", "openebs/dynamic-localpv-provisioner"),
    _local("/var/openebs/local"),
    csi=False,
    topology=(HOSTNAME,),
    expands=False,
)
DRIVERS = (PROXMOX, NFS, LOCAL_PATH, OPENEBS)


def driver_of(pod: Object) -> Driver | None:
    """The played driver that is among a pod's images."""
    images = [str(one["image"]) for one in pod["spec"]["containers"]]
    return next((d for d in DRIVERS if any(part in image for part in d.images for image in images)), None)
