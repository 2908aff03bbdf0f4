# SPDX-License-Identifier: GPL-3.0-or-later
"""``cilium install``: the objects of Cilium's chart that a cluster waits for."""

from __future__ import annotations

import typing as t

from .client import APPLY, KubeClient

DEFAULT_VERSION = "v1.19.0"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_API = {
    "GatewayClass": "/apis/gateway.networking.k8s.io/v1/gatewayclasses",
    "ClusterRole": f"{_RBAC}/clusterroles",
    "ClusterRoleBinding": f"{_RBAC}/clusterrolebindings",
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
    wanted = objects(values)
    if values.get("gatewayAPI.enabled") == "true" and await client.get("/apis/gateway.networking.k8s.io/v1"):
        wanted.append(_gateway_class())  # the chart has it only where its definition is there
    for document in wanted:
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
        "enable-lb-ipam": "true",
        "default-lb-service-ipam": given.get("defaultLBServiceIPAM", "lbipam"),
        "k8s-service-host": given.get("k8sServiceHost", ""),
        "k8s-service-port": given.get("k8sServicePort", ""),
    }
    config = _object("v1", "ConfigMap", "cilium-config", namespace) | {"data": settings}
    accounts = [_object("v1", "ServiceAccount", name, namespace) for name in ("cilium", "cilium-operator")]
    operator = _workload(
        "Deployment", "cilium-operator", namespace, "cilium-operator", f"quay.io/cilium/operator-generic:{version}"
    )
    operator["spec"]["replicas"] = int(given.get("operator.replicas", "1"))
    roles = [_role("cilium", _AGENT_RULES), _role("cilium-operator", _OPERATOR_RULES)]
    bindings = [_binding(name, namespace) for name in ("cilium", "cilium-operator")]
    agent = _workload("DaemonSet", "cilium", namespace, "cilium", f"quay.io/cilium/cilium:{version}")
    return [*accounts, *roles, *bindings, config, agent, operator]


Rule = tuple[str, str, str]
#: API group, resources, verbs: what those parts of Cilium need that the lab plays.
_AGENT_RULES: tuple[Rule, ...] = (
    ("", "namespaces services pods endpoints nodes", "get list watch"),
    ("discovery.k8s.io", "endpointslices", "get list watch"),
    ("networking.k8s.io", "networkpolicies", "get list watch"),
    ("coordination.k8s.io", "leases", "create get update list delete"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "list watch get"),
    ("cilium.io", "*", "get list watch"),
    ("cilium.io", "ciliuml2announcementpolicies/status", "patch"),
)
_OPERATOR_RULES: tuple[Rule, ...] = (
    ("", "nodes namespaces secrets serviceaccounts pods endpoints configmaps", "get list watch"),
    ("", "services", "get list watch create update delete patch"),
    ("", "services/status", "update patch"),
    ("discovery.k8s.io", "endpointslices", "get list watch create update delete patch"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "create get list watch update"),
    ("cilium.io", "*", "get list watch create update delete patch"),
    ("cilium.io", "ciliumloadbalancerippools/status", "patch"),
    ("coordination.k8s.io", "leases", "create get update"),
    ("gateway.networking.k8s.io", "*", "get list watch"),
    (
        "gateway.networking.k8s.io",
        "gatewayclasses/status gateways/status httproutes/status grpcroutes/status tlsroutes/status tcproutes/status "
        "udproutes/status",
        "update patch",
    ),
)


def _role(name: str, rules: t.Iterable[Rule]) -> dict[str, t.Any]:
    split = [
        {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
        for group, resources, verbs in rules
    ]
    return _object("rbac.authorization.k8s.io/v1", "ClusterRole", name) | {"rules": split}


def _binding(name: str, namespace: str) -> dict[str, t.Any]:
    account = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    made = _object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", name)
    return made | {"roleRef": role, "subjects": [account]}


def _gateway_class() -> dict[str, t.Any]:
    spec = {"controllerName": "io.cilium/gateway-controller", "description": "The default Cilium GatewayClass"}
    return _object("gateway.networking.k8s.io/v1", "GatewayClass", "cilium") | {"spec": spec}


def _workload(kind: str, name: str, namespace: str, account: str, image: str) -> dict[str, t.Any]:
    labels = {"k8s-app": "cilium"} if kind == "DaemonSet" else {"io.cilium/app": "operator", "name": name}
    pod = {
        "serviceAccountName": account,
        "hostNetwork": True,
        "priorityClassName": "system-node-critical" if kind == "DaemonSet" else "system-cluster-critical",
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [
            {
                "name": "cilium-agent" if kind == "DaemonSet" else name,
                "image": image,
                "volumeMounts": [
                    {"name": "cilium-config-path", "mountPath": "/tmp/cilium/config-map", "readOnly": True}
                ],
            }
        ],
        "volumes": [{"name": "cilium-config-path", "configMap": {"name": "cilium-config"}}],
    }
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return _object("apps/v1", kind, name, namespace) | {"spec": spec}


def _object(api: str, kind: str, name: str, namespace: str = "") -> dict[str, t.Any]:
    labels = {"app.kubernetes.io/part-of": "cilium", "app.kubernetes.io/managed-by": "Helm"}
    metadata: dict[str, t.Any] = {"name": name, "labels": labels} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata}
