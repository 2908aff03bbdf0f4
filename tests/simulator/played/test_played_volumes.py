# SPDX-License-Identifier: GPL-3.0-or-later
"""Played storage drivers beside the real controller manager and scheduler: one test for each outcome and reason."""

from __future__ import annotations

import collections.abc as c
import typing as t

import pytest
from playedlab import Object, PlayedCluster

from simlab.cluster.played.storage_drivers import quantity

PROXMOX, NFS, LOCAL = "csi.proxmox.sinextra.dev", "nfs.csi.k8s.io", "rancher.io/local-path"
SIDECARS = ("csi-attacher:v4.9.0", "csi-provisioner:v5.3.0", "csi-resizer:v1.14.0")


def workload(kind: str, name: str, *containers: Object) -> Object:
    labels = {"app": name}
    pod = {"serviceAccountName": "storage", "containers": list(containers), "tolerations": [{"operator": "Exists"}]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    meta = {"name": name, "namespace": "storage"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec}


def container(image: str, *args: str) -> Object:
    name = image.rpartition("/")[2].partition(":")[0]
    return {"name": name, "image": image, "args": list(args)}


def controller(name: str, image: str, without: str = "nothing") -> Object:
    wanted = [one for one in SIDECARS if without not in one]
    sidecars = [container(f"registry.k8s.io/sig-storage/{one}", "--enable-capacity") for one in wanted]
    return workload("Deployment", name, container(image), *sidecars)


def node_plugin(name: str, image: str) -> Object:
    registrar = container("registry.k8s.io/sig-storage/csi-node-driver-registrar:v2.14.0")
    return workload("DaemonSet", name, container(image), registrar)


def csi_driver(name: str, **spec: t.Any) -> Object:
    return {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": name}, "spec": spec}


def storage_class(name: str, provisioner: str, **more: t.Any) -> Object:
    meta = {"name": name}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": meta,
        "provisioner": provisioner,
    } | more


def claim(
    namespace: str, cls: str | None, size: str = "1Gi", mode: str = "ReadWriteOnce", name: str = "data"
) -> Object:
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
    spec |= {"storageClassName": cls} if cls is not None else {}
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}


def user(namespace: str, name: str = "user", **spec: t.Any) -> Object:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    body = {"containers": [{"name": "c", "image": "nginx"}], "volumes": [volume], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": body}


NODE: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n11"}}
ZONES = {"topology.kubernetes.io/region": "lab", "topology.kubernetes.io/zone": "pve1"}


@pytest.fixture(scope="module")
def lab(played: PlayedCluster) -> c.Iterator[PlayedCluster]:
    """With the drivers' manifests; the service account may what charts give it, and more."""
    meta = {"name": "storage", "namespace": "storage"}
    privileged = {"pod-security.kubernetes.io/enforce": "privileged"}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "storage"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "storage", "namespace": "storage"}],
    }
    played.patch(NODE, {"metadata": {"labels": ZONES}})
    proxmox, nfs = "ghcr.io/sergelogvinov/proxmox-csi-", "registry.k8s.io/sig-storage/nfsplugin:v4.12.1"
    late = {"volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": True}
    share = {"server": "192.168.30.5", "share": "/mnt/pool"}
    played.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "storage", "labels": privileged}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        binding,
        csi_driver(PROXMOX, attachRequired=True, storageCapacity=True),
        csi_driver(NFS, attachRequired=False),
        controller("proxmox-csi-plugin-controller", f"{proxmox}controller:v0.15.0"),
        node_plugin("proxmox-csi-plugin-node", f"{proxmox}node:v0.15.0"),
        controller("csi-nfs-controller", nfs, without="csi-attacher"),
        node_plugin("csi-nfs-node", nfs),
        workload("Deployment", "local-path", container("rancher/local-path-provisioner:v0.0.32")),
        storage_class("proxmox", PROXMOX, parameters={"storage": "raid1", "csi.storage.k8s.io/fstype": "ext4"}, **late),
        storage_class("kept", PROXMOX, parameters={"storage": "raid1"}, reclaimPolicy="Retain"),
        storage_class("nowhere", PROXMOX),
        storage_class(
            "nfs",
            NFS,
            parameters=share | {"subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}"},
            mountOptions=["nfsvers=4.1", "hard"],
        ),
        storage_class("shareless", NFS, parameters={"server": "192.168.30.5"}),
        storage_class("local-path", LOCAL, volumeBindingMode="WaitForFirstConsumer"),
        storage_class("local-now", LOCAL),
        storage_class("unknown", "example.com/driver"),
    )
    played.until(
        {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "n11"}},
        lambda one: {d["name"] for d in one["spec"].get("drivers") or ()} == {PROXMOX, NFS},
        "both drivers registered",
        40.0,
    )
    yield played
    played.delete(*(workload(k, n) for k, n in (("DaemonSet", "csi-nfs-node"),)))


def bound(found: Object) -> bool:
    return bool(found.get("status", {}).get("phase") == "Bound")


def running(found: Object) -> bool:
    return bool(found.get("status", {}).get("phase") == "Running")


def volume_of(lab: PlayedCluster, found: Object) -> Object:
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": found["spec"]["volumeName"]}}


def test_a_claim_waits_for_its_first_consumer(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wanted = claim(place, "proxmox", "3Gi")
    lab.apply(wanted)
    text = lab.until_event(place, "data", "WaitForFirstConsumer")
    assert text == "waiting for first consumer to be created before binding"
    lab.apply(user(place))
    found = lab.until(wanted, bound, "bound")
    assert found["status"]["capacity"]["storage"] == "3Gi"
    volume = lab.live(volume_of(lab, found))
    assert volume["spec"]["csi"]["driver"] == PROXMOX and volume["spec"]["csi"]["fsType"] == "ext4"
    assert volume["spec"]["csi"]["volumeHandle"] == f"lab/pve1/raid1/vm-9999-{volume['metadata']['name']}"
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"]
    assert {one["key"]: one["values"] for one in terms} == {key: [value] for key, value in ZONES.items()}
    lab.until(user(place), running, "running with its volume", 40.0)
    reasons = [one[1] for one in lab.events(place, "data")]
    assert "Provisioning" in reasons and "ProvisioningSucceeded" in reasons
    attached = lab.call("GET", "/apis/storage.k8s.io/v1/volumeattachments")["items"]
    assert [one["status"]["attached"] for one in attached if one["spec"]["nodeName"] == "n11"] == [True]
    lab.delete(user(place))


def test_the_volume_of_a_deleted_claim_goes(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wanted = claim(place, "nfs", mode="ReadWriteMany")
    lab.apply(wanted)
    volume = volume_of(lab, lab.until(wanted, bound, "bound"))
    shown = lab.live(volume)
    assert shown["spec"]["csi"]["volumeAttributes"]["subdir"] == f"{place}/data"
    assert shown["spec"]["mountOptions"] == ["nfsvers=4.1", "hard"]
    lab.delete(wanted)
    lab.until_gone(volume)


def test_a_volume_that_is_kept_stays_released(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wanted = claim(place, "kept")
    lab.apply(wanted)
    volume = volume_of(lab, lab.until(wanted, bound, "bound at once"))
    lab.delete(wanted)
    lab.until(volume, lambda one: one["status"]["phase"] == "Released", "released")
    lab.delete(volume)
    lab.until_gone(volume)


def test_a_claim_grows(lab: PlayedCluster) -> None:
    place = lab.namespace()
    wanted = claim(place, "proxmox")
    lab.apply(wanted, user(place))
    lab.until(wanted, bound, "bound", 40.0)
    lab.apply(claim(place, "proxmox", "2Gi"))
    lab.until(wanted, lambda one: one["status"]["capacity"]["storage"] == "2Gi", "grown")
    lab.until_event(place, "data", "VolumeResizeSuccessful")
    lab.delete(user(place))


def test_a_claim_without_a_class_stays_pending(lab: PlayedCluster) -> None:
    place = lab.namespace()
    lab.apply(claim(place, None))
    text = lab.until_event(place, "data", "FailedBinding")
    assert text == "no persistent volumes available for this claim and no storage class is set"
    lab.apply(user(place))
    lab.until(user(place), lambda one: "unbound" in str(one["status"].get("conditions")), "not scheduled")


def test_a_class_that_is_not_there(lab: PlayedCluster) -> None:
    place = lab.namespace()
    lab.apply(claim(place, "none"))
    text = lab.until_event(place, "data", "ProvisioningFailed")
    assert text == 'storageclass.storage.k8s.io "none" not found'


def test_a_provisioner_that_does_not_run(lab: PlayedCluster) -> None:
    place = lab.namespace()
    lab.apply(claim(place, "unknown"))
    assert "'example.com/driver'" in lab.until_event(place, "data", "ExternalProvisioning")


@pytest.mark.parametrize(
    ("cls", "size", "mode", "text"),
    [
        ("nowhere", "1Gi", "ReadWriteOnce", "code = InvalidArgument desc = parameters storage must be provided"),
        ("kept", "1Gi", "ReadWriteMany", "volume capability not supported: access mode ReadWriteMany"),
        ("kept", "2Ti", "ReadWriteOnce", "code = ResourceExhausted desc = not enough storage"),
        ("shareless", "1Gi", "ReadWriteOnce", "code = InvalidArgument desc = share is a required parameter"),
        ("local-now", "1Gi", "ReadWriteOnce", "configuration error, no node was specified"),
    ],
)
def test_what_a_driver_refuses(lab: PlayedCluster, cls: str, size: str, mode: str, text: str) -> None:
    place = lab.namespace()
    lab.apply(claim(place, cls, size, mode))
    told = lab.until_event(place, "data", "ProvisioningFailed")
    assert told.startswith(f'failed to provision volume with StorageClass "{cls}": ') and text in told
    assert lab.live(claim(place, cls))["status"]["phase"] == "Pending"


def test_a_local_volume_is_on_its_pods_node(lab: PlayedCluster) -> None:
    place = lab.namespace(**{"pod-security.kubernetes.io/enforce": "privileged"})
    wanted = claim(place, "local-path")
    lab.apply(wanted, user(place))
    volume = lab.live(volume_of(lab, lab.until(wanted, bound, "bound")))
    assert volume["spec"]["hostPath"]["path"].endswith(f"{volume['metadata']['name']}_{place}_data")
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"]
    assert [one["values"] for one in terms] == [["n11"]]
    lab.until(user(place), running, "running")


def test_a_pod_waits_for_a_driver_that_is_not_on_its_node(lab: PlayedCluster) -> None:
    place = lab.namespace()
    meta = {"name": f"static-{place}"}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "example.com", "volumeHandle": "x"},
        "storageClassName": "static",
    }
    wanted = claim(place, "static")
    wanted["spec"]["volumeName"] = meta["name"]
    lab.apply(
        csi_driver("example.com", attachRequired=False),
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": spec},
        wanted,
        user(place),
    )
    text = lab.until_event(place, "user", "FailedMount")
    assert text.endswith("driver name example.com not found in the list of registered CSI drivers")
    assert lab.live(user(place))["status"]["phase"] == "Pending"


def test_a_pod_on_a_node_waits_for_a_claim_that_is_missing(lab: PlayedCluster) -> None:
    place = lab.namespace()
    lab.apply(user(place, nodeName="n11"))
    text = lab.until_event(place, "user", "FailedMount")
    assert text.endswith('failed to fetch PVC from API server: persistentvolumeclaims "data" not found')
    lab.apply(claim(place, "nfs"))
    lab.until(user(place), running, "running once it is there")


def test_a_node_plugin_without_region_and_zone_ends(lab: PlayedCluster) -> None:
    lab.patch(NODE, {"metadata": {"labels": dict.fromkeys(ZONES)}})
    name = lab.call("GET", "/api/v1/namespaces/storage/pods?labelSelector=app%3Dproxmox-csi-plugin-node")
    lab.call("DELETE", f"/api/v1/namespaces/storage/pods/{name['items'][0]['metadata']['name']}")
    path = "/api/v1/namespaces/storage/pods?labelSelector=app%3Dproxmox-csi-plugin-node"

    async def crashed() -> bool:
        found = (await lab.client.call("GET", path))["items"]
        states = [s for pod in found for s in pod["status"].get("containerStatuses") or ()]
        return any(s.get("lastState", {}).get("terminated", {}).get("reason") == "Error" for s in states)

    lab.loop.until(crashed, "the plugin crashed", 40.0)
    lab.patch(NODE, {"metadata": {"labels": ZONES}})


def test_a_driver_that_is_not_played_says_so(lab: PlayedCluster) -> None:
    ceph = workload(
        "Deployment", "ceph", container("quay.io/cephcsi/cephcsi:v3.15.0"), container("x/csi-provisioner:v5")
    )
    lab.apply(ceph)

    async def told() -> bool:
        found = (await lab.client.call("GET", "/api/v1/namespaces/storage/events"))["items"]
        return any(one["reason"] == "NotPlayed" and "cephcsi" in one["message"] for one in found)

    lab.loop.until(told, "told that it is not played", 30.0)
    lab.delete(ceph)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1Gi", 1 << 30), ("500M", 500_000_000), ("1.5Ki", 1536), ("42", 42), ("1e3", 1000), ("2000m", 2)],
)
def test_quantities(text: str, size: int) -> None:
    assert quantity(text) == size


def test_a_quantity_that_is_none() -> None:
    with pytest.raises(ValueError, match="quantities must match"):
        quantity("much")
