# SPDX-License-Identifier: GPL-3.0-or-later
"""External provisioner, attacher and resizer of one storage driver. Binding and the choice of a node are the real
controller manager's and scheduler's."""

from __future__ import annotations

import asyncio
import contextlib
import typing as t

from ..client import MERGE, KubeError
from ..events import Events
from .leading import leading
from .seat import Object, Refused, Seat
from .storage_drivers import LARGEST, Driver, NotProvisioned, driver_of, quantity, size_of
from .watching import Controller, Kind, key_of

STORAGE = "storage.k8s.io"
PROVISIONER = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
SELECTED = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
_CAPACITIES = f"/apis/{STORAGE}/v1/namespaces/{{}}/csistoragecapacities"


#: What stands in the pod beside a CSI driver, by its image; one more: ``--enable-capacity``.
ATTACHER, RESIZER, CAPACITY = "csi-attacher", "csi-resizer", "capacity"
SIDECARS = frozenset({ATTACHER, RESIZER})


class Volumes(Controller):
    """Does what the pod's sidecars are there for, and asks for no more than their rights."""

    kinds: tuple[Kind, ...] = (
        Kind("", "persistentvolumeclaims"),
        Kind("", "persistentvolumes"),
        Kind("", "nodes"),
        Kind(STORAGE, "storageclasses"),
    )

    def __init__(self, seat: Seat, driver: Driver, sidecars: t.Collection[str] = SIDECARS) -> None:
        self.driver, self.sidecars = driver, sidecars
        if driver.csi:
            self.kinds = (*self.kinds, Kind(STORAGE, "csinodes"))
        if ATTACHER in sidecars:
            self.kinds = (*self.kinds, Kind(STORAGE, "volumeattachments"))
        super().__init__(seat)
        self.name = f"provisioner of {driver.name}"
        self._events = Events(seat.client, "", f"{driver.name}_{seat.name}")
        self._resizer = Events(seat.client, "", f"external-resizer {driver.name}")
        self._failed: dict[tuple[str, str], str] = {}

    async def reconcile(self) -> None:
        if CAPACITY in self.sidecars:
            await self._publish()
        mine = [
            claim
            for claim in self["persistentvolumeclaims"]
            if not claim["metadata"].get("deletionTimestamp")
            and self.driver.name in [(claim["metadata"].get("annotations") or {}).get(key) for key in PROVISIONER]
        ]
        await self.each([claim for claim in mine if not claim["spec"].get("volumeName")], self._provision)
        if RESIZER in self.sidecars:
            await self.each([claim for claim in mine if claim["spec"].get("volumeName")], self._expand)
        await self.each(self["persistentvolumes"], self._reclaim)
        await self.each(self._attachments(), self._attach)

    # --- a new volume
    async def _provision(self, claim: Object) -> None:
        node = (claim["metadata"].get("annotations") or {}).get(SELECTED)
        name = f"pvc-{claim['metadata']['uid']}"
        found = self["storageclasses"].get("", str(claim["spec"].get("storageClassName")))
        if found is None or self["persistentvolumes"].get("", name) is not None:
            return
        late = found.get("volumeBindingMode") == "WaitForFirstConsumer"
        if late and not node:
            return
        try:
            labels = self._labels(node) if late else self._anywhere()
            made = self.driver.make(claim, found, labels)
        except NotProvisioned as error:
            await self._fail(
                claim, f'failed to provision volume with StorageClass "{found["metadata"]["name"]}": {error}'
            )
            return
        place = "/".join(key_of(claim))
        await self._events.record(
            claim, "Normal", "Provisioning", f'External provisioner is provisioning volume for claim "{place}"'
        )
        await self.client.call("POST", self["persistentvolumes"].path(), self._volume(claim, found, name, made))
        self._failed.pop(key_of(claim), None)
        await self._events.record(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    async def _fail(self, claim: Object, text: str) -> None:
        """Told once for each cause; it is tried again when something has changed."""
        if self._failed.get(key_of(claim)) != text:
            self._failed[key_of(claim)] = text
            await self._events.record(claim, "Warning", "ProvisioningFailed", text)

    def _labels(self, node: str | None) -> dict[str, str]:
        """The labels of the node that the volume must be reachable from. Raises NotProvisioned."""
        found = self["nodes"].get("", str(node))
        labels = dict(((found or {}).get("metadata") or {}).get("labels") or {})
        for key in self.driver.topology:
            if self.driver.csi and key not in self._registered(str(node)):
                raise NotProvisioned(
                    f"error generating accessibility requirements: no topology key found on CSINode {node}"
                )
            if key not in labels:
                raise NotProvisioned(
                    f"error generating accessibility requirements: topology label {key} of node {node}"
                )
        return labels

    def _registered(self, node: str) -> list[str]:
        """The topology keys with which the driver is registered on a node."""
        drivers = (((self["csinodes"].get("", node) or {}).get("spec") or {}).get("drivers")) or ()
        return next((list(one.get("topologyKeys") or ()) for one in drivers if one["name"] == self.driver.name), [])

    def _anywhere(self) -> dict[str, str] | None:
        """Without a selected node, a driver with topology takes the first node that it is registered on."""
        if not self.driver.topology or not self.driver.csi:
            return None
        names = sorted(name for _, name in self["csinodes"].objects if self._registered(name))
        if not names:
            raise NotProvisioned("error generating accessibility requirements: no available topology found")
        return self._labels(names[0])

    def _volume(self, claim: Object, found: Object, name: str, made: t.Mapping[str, t.Any]) -> Object:
        meta = claim["metadata"]
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        }
        spec = {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "volumeMode": claim["spec"].get("volumeMode", "Filesystem"),
            "persistentVolumeReclaimPolicy": found.get("reclaimPolicy", "Delete"),
            "storageClassName": found["metadata"]["name"],
            "mountOptions": found.get("mountOptions") or [],
            "claimRef": reference,
            **made,
        }
        metadata = {"name": name, "annotations": {PROVISIONED_BY: self.driver.name}, "finalizers": [FINALIZER]}
        return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}

    # --- a volume that nobody claims any more
    async def _reclaim(self, volume: Object) -> None:
        meta, spec = volume["metadata"], volume["spec"]
        if (meta.get("annotations") or {}).get(PROVISIONED_BY) != self.driver.name:
            return
        released = (volume.get("status") or {}).get("phase") == "Released"
        going = bool(meta.get("deletionTimestamp"))
        if spec.get("persistentVolumeReclaimPolicy") != "Delete":
            if going and FINALIZER in (meta.get("finalizers") or ()):
                await self._let_go(volume)
            return
        if not released and not (going and not spec.get("claimRef")):
            return
        attached = [one for one in self._attachments() if _held(one) == meta["name"]]
        if attached:
            text = f"persistentvolume {meta['name']} is still attached to node {attached[0]['spec']['nodeName']}"
            await self._events.record(volume | {"kind": "PersistentVolume"}, "Warning", "VolumeFailedDelete", text)
            return
        if not going:
            await self.client.call("DELETE", self["persistentvolumes"].path_of(volume))
        await self._let_go(volume)

    async def _let_go(self, volume: Object) -> None:
        rest = [one for one in volume["metadata"].get("finalizers") or () if one != FINALIZER]
        with contextlib.suppress(_Gone):
            await self._patch(self["persistentvolumes"].path_of(volume), {"metadata": {"finalizers": rest}})

    async def _patch(self, path: str, body: Object) -> None:
        try:
            await self.client.call("PATCH", path, body, content_type=MERGE)
        except KubeError as error:
            if error.code == 404:
                raise _Gone from None
            raise

    # --- a larger volume
    async def _expand(self, claim: Object) -> None:
        volume = self["persistentvolumes"].get("", claim["spec"]["volumeName"])
        if volume is None or (claim.get("status") or {}).get("phase") != "Bound" or not self.driver.expands:
            return
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if size_of(claim) <= quantity(str(volume["spec"]["capacity"]["storage"])):
            return
        if size_of(claim) > LARGEST:
            text = f'resize volume "{volume["metadata"]["name"]}" by resizer "{self.driver.name}" failed: not enough storage'
            if self._failed.get(key_of(claim)) != text:
                self._failed[key_of(claim)] = text
                await self._resizer.record(claim, "Warning", "VolumeResizeFailed", text)
            return
        text = f"External resizer is resizing volume {volume['metadata']['name']}"
        await self._resizer.record(claim, "Normal", "Resizing", text)
        await self._patch(self["persistentvolumes"].path_of(volume), {"spec": {"capacity": {"storage": wanted}}})
        status = {"status": {"capacity": {"storage": wanted}, "conditions": None}}
        await self._patch(self["persistentvolumeclaims"].path_of(claim, "status"), status)
        await self._resizer.record(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")

    # --- attachment
    def _attachments(self) -> list[Object]:
        found = self.known.get("volumeattachments", ())
        return [one for one in found if one["spec"]["attacher"] == self.driver.name]

    async def _attach(self, attachment: Object) -> None:
        path, meta = self["volumeattachments"].path_of(attachment), attachment["metadata"]
        mine = f"external-attacher/{self.driver.name.replace('.', '-')}"
        finalizers = list(meta.get("finalizers") or ())
        attached = bool((attachment.get("status") or {}).get("attached"))
        with contextlib.suppress(_Gone):
            if not meta.get("deletionTimestamp") and not attached:
                if mine not in finalizers:
                    await self._patch(path, {"metadata": {"finalizers": [*finalizers, mine]}})
                await self._patch(f"{path}/status", {"status": {"attached": True}})
            elif meta.get("deletionTimestamp") and mine in finalizers:
                await self._patch(f"{path}/status", {"status": {"attached": False}})
                rest = [one for one in finalizers if one != mine]
                await self._patch(path, {"metadata": {"finalizers": rest}})

    # --- room
    async def _publish(self) -> None:
        """A CSIStorageCapacity for each class and place: what the scheduler looks at before it chooses a node."""
        collection = _CAPACITIES.format(self.seat.namespace)
        label = "csi.storage.k8s.io/drivername"
        found = await self.client.call("GET", collection, query={"labelSelector": f"{label}={self.driver.name}"})
        have = {(one["storageClassName"], str(one.get("nodeTopology"))): one for one in found.get("items") or ()}
        wanted = {
            (storage["metadata"]["name"], str(place)): place
            for storage in self["storageclasses"]
            if storage["provisioner"] == self.driver.name
            for place in self._places()
        }
        for key, place in wanted.items():
            if key not in have:
                body = {
                    "apiVersion": f"{STORAGE}/v1",
                    "kind": "CSIStorageCapacity",
                    "metadata": {"generateName": "csisc-", "labels": {label: self.driver.name}},
                    "storageClassName": key[0],
                    "nodeTopology": place,
                    "capacity": str(LARGEST),
                }
                await self.client.call("POST", collection, body)
        for key in have.keys() - wanted.keys():
            await self.client.call("DELETE", f"{collection}/{have[key]['metadata']['name']}")

    def _places(self) -> list[Object]:
        found: list[Object] = []
        for _, name in sorted(self["csinodes"].objects):
            keys = self._registered(name)
            labels = ((self["nodes"].get("", name) or {}).get("metadata") or {}).get("labels") or {}
            place = {"matchLabels": {key: labels[key] for key in keys if key in labels}}
            if keys and place not in found:
                found.append(place)
        return found


class _Gone(Exception):
    """The object is not there any more."""


def _held(attachment: t.Mapping[str, t.Any]) -> str:
    return str(attachment["spec"]["source"].get("persistentVolumeName") or "")


async def storage(seat: Seat) -> None:
    """A container of a storage driver: controller or node plugin, by the sidecars in its pod."""
    driver = driver_of(seat.pod)
    images = [str(one["image"]) for one in seat.pod["spec"]["containers"]]
    if driver is None:
        text = f"the simulated lab does not play this storage driver ({', '.join(images)}): its volumes stay Pending"
        await seat.tell("Warning", "NotPlayed", text)
    elif not driver.csi or any("csi-provisioner" in image for image in images):
        async with leading(seat, driver.name):
            await Volumes(seat, driver, _sidecars(seat, images)).run()
    elif any("node-driver-registrar" in image for image in images):
        await _node_plugin(seat, driver)
    await asyncio.Event().wait()


def _sidecars(seat: Seat, images: list[str]) -> set[str]:
    found = {name for name in SIDECARS if any(name in image for image in images)}
    words = [
        str(word)
        for one in seat.pod["spec"]["containers"]
        for part in ("command", "args")
        for word in one.get(part) or ()
    ]
    return found | ({CAPACITY} if {"--enable-capacity", "--enable-capacity=true"} & set(words) else set())


async def _node_plugin(seat: Seat, driver: Driver) -> None:
    """Registered with the kubelet, on whose CSINode the driver stands as long as the plugin runs. Raises Refused."""
    if seat.node is None or seat.kubelet is None:
        return
    path = f"/apis/{STORAGE}/v1/csinodes"
    node = await seat.kubelet.call("GET", f"/api/v1/nodes/{seat.node.name}")
    labels = node["metadata"].get("labels") or {}
    absent = [key for key in driver.topology if key not in labels]
    if absent:
        raise Refused(
            f"error retrieving region and zone of node {seat.node.name}: it has no label {' and '.join(absent)}: "
            "registration process failed"
        )
    own = {"name": driver.name, "nodeID": seat.node.name, "topologyKeys": list(driver.topology) or None}
    await _register(seat, path, node, lambda drivers: [*drivers, own])
    try:
        await asyncio.Event().wait()
    finally:
        with contextlib.suppress(KubeError):
            await _register(seat, path, node, list)


async def _register(seat: Seat, path: str, node: Object, change: t.Callable[[list[Object]], list[Object]]) -> None:
    """Change the CSINode's drivers but for this one's entry, which ``change`` adds or leaves out."""
    driver = driver_of(seat.pod)
    while seat.kubelet is not None and driver is not None:
        name = node["metadata"]["name"]
        found = await seat.kubelet.get(f"{path}/{name}")
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
        meta = {"name": name, "ownerReferences": [owner]}
        body = found or {"apiVersion": f"{STORAGE}/v1", "kind": "CSINode", "metadata": meta, "spec": {"drivers": []}}
        others = [one for one in body["spec"].get("drivers") or () if one["name"] != driver.name]
        body = body | {"spec": {"drivers": change(others)}}
        try:
            await seat.kubelet.call("PUT" if found else "POST", f"{path}/{name}" if found else path, body)
            return
        except KubeError as error:
            if error.code != 409:
                raise
