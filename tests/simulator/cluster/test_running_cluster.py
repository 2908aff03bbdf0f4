# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane of one node, with the played kubelet."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import ssl

import pytest
import yaml
from clusterlab import Cluster

from simlab.cluster import admin_kubeconfig, credentials
from simlab.cluster.client import KubeError
from simlab.ledger import Entry


def test_system_pods_of_talos_are_running(cluster: Cluster) -> None:
    def running() -> bool:
        pods = cluster.call("GET", "/api/v1/namespaces/kube-system/pods")["items"]
        names = {p["metadata"]["name"].rsplit("-", 1)[0] for p in pods if p["status"]["phase"] == "Running"}
        return {"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-flannel", "kube-proxy"} <= names

    async def dns() -> bool:
        found = await cluster.client.call("GET", "/apis/apps/v1/namespaces/kube-system/deployments/coredns")
        return found.get("status", {}).get("readyReplicas") == 2

    cluster.loop.until(dns, "CoreDNS ready")
    assert running()


def test_the_node_is_described_as_talos_and_the_kubelet_do(cluster: Cluster) -> None:
    node = cluster.call("GET", "/api/v1/nodes/n11")
    assert node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] == ""
    assert "node.kubernetes.io/exclude-from-external-load-balancers" in node["metadata"]["labels"]
    assert node["status"]["nodeInfo"]["osImage"] == "Talos (v1.13.9)"
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.3"
    assert {"type": "InternalIP", "address": "10.99.0.11"} in node["status"]["addresses"]
    assert node["status"]["capacity"]["cpu"] == "4"


def test_the_admin_kubeconfig_is_for_the_endpoint(cluster: Cluster) -> None:
    config = yaml.safe_load(admin_kubeconfig(cluster.node.config))
    assert config["current-context"] == "admin@lab"
    assert config["clusters"][0]["cluster"]["server"] == "https://10.99.0.11:6443"


def test_pods_become_ready_with_addresses_of_their_own(cluster: Cluster) -> None:
    for name in ("a", "b"):
        cluster.create_pod(name, {"containers": [{"name": "c", "image": "nginx"}]})
    for name in ("a", "b"):
        cluster.loop.until(lambda name=name: _ready(cluster, name), f"pod {name} ready")  # type: ignore[misc]
    addresses = {cluster.pod(name)["status"]["podIP"] for name in ("a", "b")}
    assert len(addresses) == 2
    assert all(address.startswith("10.244.0.") for address in addresses)


def test_a_deleted_pod_goes(cluster: Cluster) -> None:
    cluster.create_pod("short", {"containers": [{"name": "c", "image": "nginx"}]})
    cluster.loop.until(lambda: _ready(cluster, "short"), "ready")
    cluster.call("DELETE", "/api/v1/namespaces/default/pods/short")

    async def gone() -> bool:
        return await cluster.client.get("/api/v1/namespaces/default/pods/short") is None

    cluster.loop.until(gone, "pod gone")


def test_an_image_that_never_pulls_is_reported_like_a_kubelet_does(cluster: Cluster) -> None:
    cluster.behaviours.images["registry.example/"] = "ImagePullBackOff"
    cluster.create_pod("nopull", {"containers": [{"name": "c", "image": "registry.example/x:1"}]})
    cluster.loop.until(lambda: _waiting(cluster, "nopull", "ImagePullBackOff"), "ImagePullBackOff")
    cluster.loop.until(lambda: _has_event(cluster, "nopull", "BackOff"), "BackOff event")
    assert any(reason == "Failed" and "registry.example/x:1" in text for reason, text in cluster.events_of("nopull"))
    cluster.behaviours.images.clear()
    cluster.loop.until(lambda: _ready(cluster, "nopull"), "ready once the image is there")


def test_a_crash_loop_counts_restarts(cluster: Cluster) -> None:
    spec = {"containers": [{"name": "c", "image": "nginx"}]}
    cluster.create_pod("crash", spec, annotations={"simlab/behaviour": "CrashLoopBackOff"})

    async def restarted() -> bool:
        found = await cluster.client.call("GET", "/api/v1/namespaces/default/pods/crash")
        statuses = found["status"].get("containerStatuses") or [{}]
        return statuses[0].get("restartCount", 0) >= 2

    cluster.loop.until(restarted, "two restarts")
    cluster.loop.until(lambda: _waiting(cluster, "crash", "CrashLoopBackOff"), "CrashLoopBackOff")
    assert cluster.pod("crash")["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
    cluster.call("DELETE", "/api/v1/namespaces/default/pods/crash")


def test_a_missing_secret_holds_the_container_until_it_is_there(cluster: Cluster) -> None:
    env = [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "late", "key": "p"}}}]
    cluster.create_pod("waits", {"containers": [{"name": "c", "image": "nginx", "env": env}]})
    cluster.loop.until(lambda: _waiting(cluster, "waits", "CreateContainerConfigError"), "CreateContainerConfigError")
    state = cluster.pod("waits")["status"]["containerStatuses"][0]["state"]
    assert state["waiting"]["message"] == 'secret "late" not found'
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"p": "x"}}
    cluster.call("POST", "/api/v1/namespaces/default/secrets", secret)
    cluster.loop.until(lambda: _ready(cluster, "waits"), "ready")


def test_a_missing_volume_is_an_event_and_no_container(cluster: Cluster) -> None:
    volumes = [{"name": "v", "configMap": {"name": "nowhere"}}]
    cluster.create_pod("novolume", {"containers": [{"name": "c", "image": "nginx"}], "volumes": volumes})
    cluster.loop.until(lambda: _has_event(cluster, "novolume", "FailedMount"), "FailedMount")
    assert ('MountVolume.SetUp failed for volume "v" : configmap "nowhere" not found') in [
        text for _, text in cluster.events_of("novolume")
    ]
    assert cluster.pod("novolume")["status"]["phase"] == "Pending"


def test_a_job_completes(cluster: Cluster) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}, "spec": {"template": {"spec": pod}}}
    cluster.call("POST", "/apis/batch/v1/namespaces/default/jobs", job)

    async def complete() -> bool:
        found = await cluster.client.call("GET", "/apis/batch/v1/namespaces/default/jobs/work")
        return any(c["type"] == "Complete" for c in found.get("status", {}).get("conditions") or ())

    cluster.loop.until(complete, "job complete")


def test_node_labels_and_taints_follow_the_machine_config(cluster: Cluster) -> None:
    config = dict(cluster.node.config)
    config["machine"] = dict(config["machine"]) | {
        "nodeLabels": {"rack": "one"},
        "nodeTaints": {"gpu": "yes:NoSchedule"},
    }
    restarted = cluster.loop.run(cluster.kubernetes.reconfigure(dataclasses.replace(cluster.node, config=config)))
    assert restarted == []

    async def labelled() -> bool:
        node = await cluster.client.call("GET", "/api/v1/nodes/n11")
        taints = node["spec"].get("taints") or []
        return node["metadata"]["labels"].get("rack") == "one" and any(taint["key"] == "gpu" for taint in taints)

    cluster.loop.until(labelled, "label and taint there")
    cluster.loop.run(cluster.kubernetes.reconfigure(cluster.node))

    async def gone() -> bool:
        node = await cluster.client.call("GET", "/api/v1/nodes/n11")
        return "rack" not in node["metadata"]["labels"] and not node["spec"].get("taints")

    cluster.loop.until(gone, "label and taint gone")


def test_a_new_name_in_the_certificate_needs_no_restart(cluster: Cluster) -> None:
    config = copy.deepcopy(dict(cluster.node.config))
    config["cluster"]["apiServer"]["certSANs"] = ["api.lab.test"]
    renamed = dataclasses.replace(cluster.node, config=config)
    assert cluster.loop.run(cluster.kubernetes.reconfigure(renamed)) == []
    context = ssl.create_default_context(cadata=credentials.accepted_authorities(config))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT

    async def answers() -> bool:
        made = await cluster.node.machine.namespace.connect("127.0.0.1", 6443)
        try:
            _, writer = await asyncio.open_connection(sock=made, ssl=context, server_hostname="api.lab.test")
        except ssl.SSLCertVerificationError:
            return False
        writer.close()
        return True

    cluster.loop.until(answers, "the new name in the certificate")
    cluster.loop.run(cluster.kubernetes.reconfigure(cluster.node))


def test_a_new_kubelet_version_leaves_the_pods_running(cluster: Cluster) -> None:
    cluster.create_pod("kept", {"containers": [{"name": "c", "image": "nginx"}]})
    cluster.loop.until(lambda: _ready(cluster, "kept"), "ready")
    config = copy.deepcopy(dict(cluster.node.config))
    config["machine"]["kubelet"]["image"] = "ghcr.io/siderolabs/kubelet:v1.36.2"
    cluster.loop.run(cluster.kubernetes.reconfigure(dataclasses.replace(cluster.node, config=config)))

    async def older() -> bool:
        node = await cluster.client.call("GET", "/api/v1/nodes/n11")
        return bool(node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.2")

    cluster.loop.until(older, "the node shows the new version")
    assert cluster.pod("kept")["status"]["containerStatuses"][0]["restartCount"] == 0
    cluster.loop.run(cluster.kubernetes.reconfigure(cluster.node))


def test_logs_of_static_pods_are_real_and_exec_is_refused(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/kube-system/pods/kube-scheduler-n11"
    text = cluster.loop.run(cluster.client.text("GET", f"{path}/log", query={"tailLines": "5"}))
    assert text.strip().splitlines() == cluster.kubernetes.control_plane.logs("kube-scheduler", 5)  # type: ignore[union-attr]
    with pytest.raises(KubeError) as refused:
        cluster.call("POST", f"{path}/exec", query={"command": "sh"})
    assert refused.value.code >= 400


def test_the_ledger_names_callers_and_tells_writes_from_dry_runs(cluster: Cluster) -> None:
    mark = cluster.node.ledger.mark()
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}}
    path = "/api/v1/namespaces/default/configmaps"
    cluster.call("POST", path, body, query={"dryRun": "All"})
    cluster.call("POST", path, body)
    cluster.call("GET", f"{path}/seen")

    def mine() -> list[Entry]:
        cluster.kubernetes.sync_ledger()
        return [e for e in cluster.node.ledger.entries(mark) if e.caller == "talos:admin" and e.path.startswith(path)]

    cluster.loop.until(lambda: len(mine()) >= 3, "all three in the ledger")
    assert [(e.verb, e.write, e.result) for e in mine()] == [
        ("create", False, "201"),
        ("create", True, "201"),
        ("get", False, "200"),
    ]
    assert {e.server for e in mine()} == {"n11"}


def _ready(cluster: Cluster, name: str) -> object:
    async def look() -> bool:
        found = await cluster.client.call("GET", f"/api/v1/namespaces/default/pods/{name}")
        return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions") or ())

    return look()


def _waiting(cluster: Cluster, name: str, reason: str) -> object:
    async def look() -> bool:
        found = await cluster.client.call("GET", f"/api/v1/namespaces/default/pods/{name}")
        states = [s["state"].get("waiting", {}) for s in found["status"].get("containerStatuses") or ()]
        return any(state.get("reason") == reason for state in states)

    return look()


def _has_event(cluster: Cluster, name: str, reason: str) -> object:
    async def look() -> bool:
        found = await cluster.client.call("GET", "/api/v1/namespaces/default/events")
        return any(e["involvedObject"]["name"] == name and e["reason"] == reason for e in found["items"])

    return look()
