# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller on another node than the API server: pods, Services and names reach over nodes."""

from __future__ import annotations

import collections.abc as c
import copy
import dataclasses

import pytest
from controllerlab import ControllerLab

from simlab.cluster import KubernetesNode
from simlab.cluster.behaviour import Behaviours

DEPLOYMENT = "/apis/apps/v1/namespaces/kube-system/deployments/sealed-secrets-controller"
WORKER = "n12"
MERGE = "application/merge-patch+json"


@pytest.fixture
def worker(sealed_secrets: ControllerLab) -> c.Iterator[ControllerLab]:
    """With a second node, which only has what a worker's configuration has."""
    lab = sealed_secrets
    config = copy.deepcopy(dict(lab.node.config))
    config["machine"]["type"] = "worker"
    config["cluster"]["ca"]["key"] = ""
    for part in ("aggregatorCA", "etcd", "serviceAccount", "apiServer", "controllerManager", "scheduler"):
        config["cluster"].pop(part, None)
    node = dataclasses.replace(lab.network.node(12, config, WORKER), containers=lab.support)
    kubernetes = KubernetesNode(node, Behaviours())
    lab.loop.run(kubernetes.start_kubelet())
    try:
        lab.until(lambda: kubernetes.describe()["kubelet"]["ready"], "the worker is Ready", 120)
        yield lab
    finally:
        _move(lab, None)
        lab.loop.run(kubernetes.power_off())
        lab.call("DELETE", f"/api/v1/nodes/{WORKER}")


def _move(lab: ControllerLab, node: str | None) -> None:
    selector = {"kubernetes.io/hostname": node} if node else None
    body = {"spec": {"template": {"spec": {"nodeSelector": selector}}}}
    lab.call("PATCH", DEPLOYMENT, body, content_type=MERGE)
    lab.ready(DEPLOYMENT)

    def gone() -> bool:
        query = {"labelSelector": "name=sealed-secrets-controller"}
        pods = lab.call("GET", "/api/v1/namespaces/kube-system/pods", query=query)["items"]
        return len(pods) == 1 and (node is None or pods[0]["spec"]["nodeName"] == node)

    lab.until(gone, "the old pod is gone", 60)


def test_the_api_server_reaches_a_controller_on_a_worker(worker: ControllerLab) -> None:
    _move(worker, WORKER)
    done = worker.program("kubeseal", "--fetch-cert")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("-----BEGIN CERTIFICATE-----")
