# SPDX-License-Identifier: GPL-3.0-or-later
"""``cilium install``: the objects of Cilium's chart that a cluster waits for."""

from __future__ import annotations

import typing as t

from .client import APPLY, KubeClient

DEFAULT_VERSION = "v1.19.0"
_API = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "DaemonSet": "/apis/apps/v1/namespaces/{namespace}/daemonsets",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
}


def parsed(words: t.Sequence[str]) -> dict[str, str]:
    """``--set a.b=c``, ``--set=a=b,c=d`` as a mapping, with ``version`` and ``namespace`` under these names."""
    values = {"version": DEFAULT_VERSION, "namespace": "kube-system"}
    pending = ""
    for word in words:
        flag, equals, value = word.partition("=")
        if pending:
            flag, value, pending = pending, word, ""
        elif word.startswith("--") and not equals:
            pending = flag
            continue
        if flag in ("--set", "--set-string"):
            values |= dict(_pair(part) for part in value.split(",") if part)
        elif flag in ("--version", "--namespace"):
            values[flag[2:]] = value
    if not values["version"].startswith("v"):
        values["version"] = f"v{values['version']}"
    return values


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


async def install_cilium(client: KubeClient, words: t.Sequence[str]) -> None:
    """Create what is missing. Raises :class:`~simlab.cluster.client.KubeError` when the service account may not."""
    values = parsed(words)
    for document in objects(values):
        collection = _API[document["kind"]].format(namespace=values["namespace"])
        path = f"{collection}/{document['metadata']['name']}"
        query = {"fieldManager": "cilium-cli", "force": "true"}
        await client.call("PATCH", path, document, content_type=APPLY, query=query)


def objects(values: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    namespace, version = values["namespace"], values["version"]
    given = {key: value for key, value in values.items() if key not in ("version", "namespace")}
    settings = {
        "cluster-name": given.get("cluster.name", "default"),
        "ipam": given.get("ipam.mode", "cluster-pool"),
        "kube-proxy-replacement": given.get("kubeProxyReplacement", "false"),
        "routing-mode": given.get("routingMode", "tunnel"),
        "enable-l2-announcements": given.get("l2announcements.enabled", "false"),
        "enable-gateway-api": given.get("gatewayAPI.enabled", "false"),
        "k8s-service-host": given.get("k8sServiceHost", ""),
        "k8s-service-port": given.get("k8sServicePort", ""),
    }
    config = _object("v1", "ConfigMap", "cilium-config", namespace) | {"data": settings}
    accounts = [_object("v1", "ServiceAccount", name, namespace) for name in ("cilium", "cilium-operator")]
    operator = _workload(
        "Deployment", "cilium-operator", namespace, "cilium-operator", f"quay.io/cilium/operator-generic:{version}"
    )
    operator["spec"]["replicas"] = int(given.get("operator.replicas", "1"))
    agent = _workload("DaemonSet", "cilium", namespace, "cilium", f"quay.io/cilium/cilium:{version}")
    return [*accounts, config, agent, operator]


def _workload(kind: str, name: str, namespace: str, account: str, image: str) -> dict[str, t.Any]:
    labels = {"k8s-app": "cilium"} if kind == "DaemonSet" else {"io.cilium/app": "operator", "name": name}
    pod = {
        "serviceAccountName": account,
        "hostNetwork": True,
        "priorityClassName": "system-node-critical" if kind == "DaemonSet" else "system-cluster-critical",
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [{"name": "cilium-agent" if kind == "DaemonSet" else name, "image": image}],
    }
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return _object("apps/v1", kind, name, namespace) | {"spec": spec}


def _object(api: str, kind: str, name: str, namespace: str) -> dict[str, t.Any]:
    labels = {"app.kubernetes.io/part-of": "cilium", "app.kubernetes.io/managed-by": "Helm"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": api, "kind": kind, "metadata": metadata}
