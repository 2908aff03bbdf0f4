# SPDX-License-Identifier: GPL-3.0-or-later
"""Talos's own bootstrap manifests (1.12 and 1.13), from the machine config.

What a cluster's objects say matters (names, labels, selectors, images, tolerations, rules); volumes and mounts that
only a real container would read are kept where somebody could look for them.
"""

from __future__ import annotations

import json
import typing as t

import yaml

from . import credentials
from .arguments import dns_domain, extra_arguments, merged, pod_subnets, service_addresses, version_of
from .node import Node

Document = dict[str, t.Any]
SYSTEM = "kube-system"
FLANNEL_IMAGE = "ghcr.io/siderolabs/flannel:v0.28.8"
COREDNS_IMAGE = "registry.k8s.io/coredns/coredns:v1.14.6"
_RBAC = "rbac.authorization.k8s.io"
_BOOTSTRAPPERS = "system:bootstrappers:nodes"
_EVERYWHERE = [{"effect": effect, "operator": "Exists"} for effect in ("NoSchedule", "NoExecute")]


def bootstrap_manifests(node: Node) -> dict[str, list[Document]]:
    """By id, in the order of ids: everything that Talos renders itself."""
    found = {
        "00-kubelet-bootstrapping-token": [_bootstrap_token(node)],
        "01-csr-approver-role-binding": [
            _binding("system-bootstrap-approve-node-client-csr", f"{_CSR}:nodeclient", [_group(_BOOTSTRAPPERS)])
        ],
        "01-csr-node-bootstrap": [
            _binding(
                "system-bootstrap-node-bootstrapper",
                "system:node-bootstrapper",
                [_group(_BOOTSTRAPPERS), _group("system:nodes")],
            )
        ],
        "01-csr-renewal-role-binding": [
            _binding("system-bootstrap-node-renewal", f"{_CSR}:selfnodeclient", [_group("system:nodes")])
        ],
        "11-kube-config-in-cluster": [_kubeconfig_in_cluster(node)],
        "11-talos-node-rbac-template": _talos_nodes(),
    }
    cluster = node.cluster
    if not (cluster.get("coreDNS") or {}).get("disabled"):
        found |= {"11-core-dns": _coredns(node), "11-core-dns-svc": [_dns_service(node)]}
    cni = ((cluster.get("network") or {}).get("cni") or {}).get("name") or "flannel"
    if cni == "flannel":
        found["05-flannel"] = _flannel(node)
    if not (cluster.get("proxy") or {}).get("disabled"):
        found["10-kube-proxy"] = _kube_proxy(node)
    return dict(sorted(found.items()))


_CSR = "system:certificates.k8s.io:certificatesigningrequests"


def _object(api: str, kind: str, name: str, namespace: str = "", labels: dict[str, str] | None = None) -> Document:
    metadata: dict[str, t.Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def _group(name: str) -> Document:
    return {"apiGroup": _RBAC, "kind": "Group", "name": name}


def _account(name: str) -> Document:
    return {"kind": "ServiceAccount", "name": name, "namespace": SYSTEM}


def _binding(name: str, role: str, subjects: list[Document], labels: dict[str, str] | None = None) -> Document:
    reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role}
    document = _object(f"{_RBAC}/v1", "ClusterRoleBinding", name, labels=labels)
    return document | {"roleRef": reference, "subjects": subjects}


def _role(name: str, rules: list[tuple[str, list[str], list[str]]], labels: dict[str, str] | None = None) -> Document:
    """``rules``: (API group, resources, verbs)."""
    parts = [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources, verbs in rules]
    return _object(f"{_RBAC}/v1", "ClusterRole", name, labels=labels) | {"rules": parts}


def _bootstrap_token(node: Node) -> Document:
    identity, _, secret = str(node.cluster.get("token") or "").partition(".")
    data = {
        "auth-extra-groups": _BOOTSTRAPPERS,
        "token-id": identity,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
    }
    document = _object("v1", "Secret", f"bootstrap-token-{identity}", SYSTEM)
    return document | {"type": "bootstrap.kubernetes.io/token", "stringData": data}


def _kubeconfig_in_cluster(node: Node) -> Document:
    prism = (node.settings.get("features") or {}).get("kubePrism") or {}
    server = credentials.endpoint(node.config)
    if prism.get("enabled"):
        server = f"https://127.0.0.1:{prism.get('port') or 7445}"
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority": f"{account}/ca.crt"}}],
        "users": [{"name": "service-account", "user": {"tokenFile": f"{account}/token"}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "service-account"}}],
        "current-context": "local",
    }
    return _object("v1", "ConfigMap", "kubeconfig-in-cluster", SYSTEM) | {
        "data": {"kubeconfig": yaml.safe_dump(config)}
    }


def _talos_nodes() -> list[Document]:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    watch = ["get", "list", "watch"]
    return [
        _binding("system:talos-nodes", "system:talos-nodes", [_group("system:nodes")], labels),
        _role("system:talos-nodes", [("discovery.k8s.io", ["endpointslices"], watch)], labels),
    ]


def _workload(kind: str, name: str, labels: dict[str, str], selector: dict[str, str], pod: Document) -> Document:
    template = {"metadata": {"labels": selector}, "spec": pod}
    spec = {"selector": {"matchLabels": selector}, "template": template}
    return _object("apps/v1", kind, name, SYSTEM, labels) | {"spec": spec}


def _field(name: str, path: str) -> Document:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _coredns(node: Node) -> list[Document]:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    lists = ["list", "watch"]
    rules = [
        ("", ["endpoints", "services", "pods", "namespaces"], lists),
        ("discovery.k8s.io", ["endpointslices"], lists),
    ]
    config = _object("v1", "ConfigMap", "coredns", SYSTEM) | {"data": {"Corefile": _corefile(dns_domain(node))}}
    selector = {"k8s-app": "kube-dns"}
    deployment = _workload(
        "Deployment", "coredns", selector | {"kubernetes.io/name": "CoreDNS"}, selector, _coredns_pod(node)
    )
    deployment["spec"] |= {"replicas": 2, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}}
    return [
        _object("v1", "ServiceAccount", "coredns", SYSTEM),
        _role("system:coredns", rules, labels),
        _binding("system:coredns", "system:coredns", [_account("coredns")], labels),
        config,
        deployment,
    ]


def _coredns_pod(node: Node) -> Document:
    ports = [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP")]
    container = {
        "name": "coredns",
        "image": str((node.cluster.get("coreDNS") or {}).get("image") or COREDNS_IMAGE),
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "env": [{"name": "GOMEMLIMIT", "value": "161MiB"}],
        "ports": [{"name": name, "containerPort": port, "protocol": protocol} for name, port, protocol in ports],
        "resources": {"limits": {"memory": "170Mi"}, "requests": {"cpu": "100m", "memory": "70Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181, "scheme": "HTTP"}},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080, "scheme": "HTTP"}, "initialDelaySeconds": 60},
        "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    items = [{"key": "Corefile", "path": "Corefile"}]
    spread = {
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchExpressions": [{"key": "k8s-app", "operator": "In", "values": ["kube-dns"]}]},
        },
    }
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [
            {"key": key, "effect": "NoSchedule", "operator": "Exists"}
            for key in ("node-role.kubernetes.io/control-plane", "node.cloudprovider.kubernetes.io/uninitialized")
        ],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [spread]}},
        "containers": [container],
        "volumes": [{"name": "config-volume", "configMap": {"name": "coredns", "items": items}}],
    }


def _corefile(domain: str) -> str:
    plugins = [
        "errors",
        "health {\n        lameduck 5s\n    }",
        "ready",
        "log . {\n        class error\n    }",
        "prometheus :9153",
        (
            f"kubernetes {domain} in-addr.arpa ip6.arpa {{\n        pods insecure\n"
            "        fallthrough in-addr.arpa ip6.arpa\n        ttl 30\n    }"
        ),
        "forward . /etc/resolv.conf {\n        max_concurrent 1000\n    }",
        f"cache 30 {{\n        disable success {domain}\n        disable denial {domain}\n    }}",
        "loop",
        "reload",
        "loadbalance",
    ]
    return ".:53 {\n" + "".join(f"    {plugin}\n" for plugin in plugins) + "}\n"


def _dns_service(node: Node) -> Document:
    addresses = service_addresses(node, 10)
    families = ["IPv6" if ":" in address else "IPv4" for address in addresses]
    labels = {
        "k8s-app": "kube-dns",
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "CoreDNS",
    }
    document = _object("v1", "Service", "kube-dns", SYSTEM, labels)
    document["metadata"]["annotations"] = {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"}
    ports = [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP")]
    spec = {
        "selector": {"k8s-app": "kube-dns"},
        "clusterIP": addresses[0],
        "clusterIPs": addresses,
        "ipFamilies": families,
        "ipFamilyPolicy": "RequireDualStack" if len(addresses) > 1 else "SingleStack",
        "ports": [
            {"name": name, "port": port, "protocol": protocol, "targetPort": port} for name, port, protocol in ports
        ],
    }
    return document | {"spec": spec}


def _flannel(node: Node) -> list[Document]:
    app, labels = {"k8s-app": "flannel"}, {"k8s-app": "flannel", "tier": "node"}
    rules = [("", ["pods", "nodes", "namespaces"], ["get", "list", "watch"]), ("", ["nodes/status"], ["patch"])]
    plugins = [
        {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    cni = {"name": "cbr0", "cniVersion": "1.0.0", "plugins": plugins}
    network: dict[str, t.Any] = {"Backend": {"Type": "vxlan", "Port": 4789}}
    for subnet in pod_subnets(node):
        if ":" in subnet:
            network |= {"IPv6Network": subnet, "EnableIPv6": True}
        else:
            network["Network"] = subnet
    if "Network" not in network:
        network["EnableIPv4"] = False
    data = {"cni-conf.json": json.dumps(cni, indent=2), "net-conf.json": json.dumps(network, indent=2)}
    daemon_set = _workload("DaemonSet", "kube-flannel", labels, labels, _flannel_pod(node))
    return [
        _role("flannel", rules, app),
        _binding("flannel", "flannel", [_account("flannel")], app),
        _object("v1", "ServiceAccount", "flannel", SYSTEM, app),
        _object("v1", "ConfigMap", "kube-flannel-cfg", SYSTEM, labels) | {"data": data},
        daemon_set,
    ]


def _flannel_pod(node: Node) -> Document:
    flannel = ((node.cluster.get("network") or {}).get("cni") or {}).get("flannel") or {}
    container = {
        "name": "kube-flannel",
        "image": FLANNEL_IMAGE,
        "command": ["/opt/bin/flanneld"],
        "args": ["--ip-masq", "--kube-subnet-mgr", *(flannel.get("extraArgs") or ())],
        "env": [
            _field("POD_NAME", "metadata.name"),
            _field("POD_NAMESPACE", "metadata.namespace"),
            {"name": "EVENT_QUEUE_DEPTH", "value": "5000"},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "50Mi"}},
        "securityContext": {"privileged": False, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
        "volumeMounts": [_mount("run", "/run/flannel"), _mount("flannel-cfg", "/etc/kube-flannel/")],
    }
    init = {
        "name": "install-config",
        "image": FLANNEL_IMAGE,
        "command": ["cp"],
        "args": ["-f", "/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/10-flannel.conflist"],
        "volumeMounts": [_mount("cni", "/etc/cni/net.d"), _mount("flannel-cfg", "/etc/kube-flannel/")],
    }
    volumes = [_host_path("run", "/run/flannel"), _host_path("cni", "/etc/cni/net.d")]
    linux = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [linux]}}
    return {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "flannel",
        "affinity": {"nodeAffinity": required},
        "tolerations": _EVERYWHERE,
        "initContainers": [init],
        "containers": [container],
        "volumes": [*volumes, {"name": "flannel-cfg", "configMap": {"name": "kube-flannel-cfg"}}],
    }


def _kube_proxy(node: Node) -> list[Document]:
    labels = {"k8s-app": "kube-proxy", "tier": "node"}
    proxy = node.cluster.get("proxy") or {}
    image = str(proxy.get("image") or "registry.k8s.io/kube-proxy:v1.36.3")
    mode = proxy.get("mode") or ("nftables" if (version_of(image) or (1, 36, 0)) >= (1, 31, 0) else "iptables")
    own = {
        "cluster-cidr": [",".join(pod_subnets(node))],
        "conntrack-max-per-core": ["0"],
        "hostname-override": ["$(NODE_NAME)"],
        "kubeconfig": ["/etc/kubernetes/kubeconfig"],
        "proxy-mode": [str(mode)],
    }
    values = merged(own, extra_arguments(proxy.get("extraArgs")), set(), {"kubeconfig"})
    flags = [f"--{name}={value}" for name in sorted(values) for value in values[name]]
    container = {
        "name": "kube-proxy",
        "image": image,
        "command": ["/usr/local/bin/kube-proxy", *flags],
        "env": [_field("NODE_NAME", "spec.nodeName"), _field("POD_IP", "status.podIP")],
        "securityContext": {"privileged": True},
        "volumeMounts": [_mount("kubeconfig", "/etc/kubernetes")],
    }
    pod = {
        "hostNetwork": True,
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "kube-proxy",
        "tolerations": _EVERYWHERE,
        "containers": [container],
        "volumes": [{"name": "kubeconfig", "configMap": {"name": "kubeconfig-in-cluster"}}],
    }
    daemon_set = _workload("DaemonSet", "kube-proxy", labels, labels, pod)
    daemon_set["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
    return [
        daemon_set,
        _object("v1", "ServiceAccount", "kube-proxy", SYSTEM),
        _binding("kube-proxy", "system:node-proxier", [_account("kube-proxy")]),
    ]


def _mount(name: str, path: str) -> Document:
    return {"name": name, "mountPath": path}


def _host_path(name: str, path: str) -> Document:
    return {"name": name, "hostPath": {"path": path}}
