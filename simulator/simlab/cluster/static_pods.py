# SPDX-License-Identifier: GPL-3.0-or-later
"""What Talos renders for a static pod: the Pod, and the files that its container reads."""

from __future__ import annotations

import copy
import hashlib
import json
import typing as t

import yaml

from . import credentials
from .arguments import (
    API_SERVER,
    CONFIG,
    CONTROLLER_MANAGER,
    SCHEDULER,
    SECRETS,
    arguments,
    dns_domain,
    image,
    section,
    service_addresses,
    version_of,
)
from .node import Node
from .pki import SERVER, Authority, KeyPair, decoded, public_key_pem

Files = dict[str, str]  # path on the node: content

#: (CPU, memory) requests unless the machine config says otherwise; UID; (probe kind: path) with the port.
REQUESTS = {API_SERVER: ("200m", "512Mi"), CONTROLLER_MANAGER: ("50m", "256Mi"), SCHEDULER: ("10m", "64Mi")}
USERS = {API_SERVER: 65534, CONTROLLER_MANAGER: 65535, SCHEDULER: 65536}
PROBES: dict[str, tuple[int, dict[str, str]]] = {
    API_SERVER: (0, {}),
    CONTROLLER_MANAGER: (10257, {"startupProbe": "/healthz", "livenessProbe": "/healthz"}),
    SCHEDULER: (10259, {"startupProbe": "/readyz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}),
}
VOLUMES = {
    API_SERVER: {"secrets": SECRETS, "config": CONFIG, "audit": "/var/log/audit/kube"},
    CONTROLLER_MANAGER: {"secrets": SECRETS},
    SCHEDULER: {"secrets": SECRETS, "config": CONFIG},
}


def manifest(node: Node, component: str, config_version: str) -> dict[str, t.Any]:
    """The Pod. Raises :class:`~simlab.cluster.arguments.RefusedArgument`."""
    container = {
        "name": component,
        "image": image(node, component),
        "command": [f"/usr/local/bin/{component}", *arguments(node, component)],
        "env": _environment(node, component),
        "resources": _resources(node, component),
        "volumeMounts": _mounts(node, component)[0],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]} | ({"add": ["NET_BIND_SERVICE"]} if component == API_SERVER else {}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **_probes(component),
    }
    user = USERS[component]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": component,
            "namespace": "kube-system",
            "annotations": {"talos.dev/config-version": config_version, "talos.dev/secrets-version": "1"},
            "labels": _labels(node, component),
        },
        "spec": {
            "priority": 2000000000,
            "priorityClassName": "system-cluster-critical",
            "containers": [container],
            "hostNetwork": True,
            "securityContext": {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user},
            "volumes": _mounts(node, component)[1],
        },
    }


def files(node: Node, component: str) -> Files:
    """Everything below ``/system`` that the component reads. Issues certificates: two calls give different files. Raises
    ValueError when an authority is missing or broken."""
    return _FILES[component](node)


def fingerprint(node: Node, component: str) -> str:
    """Changes exactly when Talos would start the static pod anew. New names in the API server's certificate do not:
    it reads its certificate again when the file changes."""
    cluster = dict(node.cluster)
    keys = ["ca", "acceptedCAs", "controlPlane", "clusterName"]
    if component == API_SERVER:
        keys += ["aggregatorCA", "serviceAccount", "secretboxEncryptionSecret", "aescbcEncryptionSecret"]
    if component == CONTROLLER_MANAGER:
        keys += ["serviceAccount"]
    own = {key: value for key, value in section(node, component).items() if key != "certSANs"}
    relevant = {key: cluster.get(key) for key in keys} | {"section": own}
    if component == API_SERVER:
        relevant["etcd"] = (cluster.get("etcd") or {}).get("ca")
    text = json.dumps([relevant, manifest(node, component, "")], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def server_certificate(node: Node) -> Files:
    """The API server's own certificate and key, issued anew. Raises ValueError."""
    ca = credentials.cluster_authority(node.config)
    pair = ca.issue("kube-apiserver", "kube-master", sans=server_names(node), usages=(SERVER,))
    return _below(f"{SECRETS}/{API_SERVER}", _pair_files({"apiserver": pair}))


def server_names(node: Node) -> list[str]:
    """Names and addresses in the API server's certificate."""
    host = credentials.endpoint(node.config).partition("://")[2].rpartition(":")[0].strip("[]/")
    extra = [str(name) for name in section(node, API_SERVER).get("certSANs") or ()]
    own = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{dns_domain(node)}"]
    addresses = [*service_addresses(node, 1), node.address, *node.addresses, "127.0.0.1"]
    return [name for name in dict.fromkeys([host, *extra, *own, "localhost", node.name, *addresses]) if name]


def audit_policy(node: Node) -> dict[str, t.Any]:
    """The machine config's audit policy, Talos's default otherwise: everything at level Metadata."""
    default = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
    return dict(section(node, API_SERVER).get("auditPolicy") or default)


def lab_audit_policy(node: Node) -> dict[str, t.Any]:
    """The audit policy that the process gets: the machine config's, raised so far that the lab's ledger hears of every
    request (nothing below Metadata, no stage ``ResponseComplete`` left out, one more rule for what no rule matches).
    An API server has one policy for all of its audit backends, so the node's own log says more than the machine config
    asks for where that asks for less than Metadata."""
    policy = copy.deepcopy(audit_policy(node))
    rules = policy.get("rules")
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        return policy  # not a policy: the API server says so itself
    for part in (policy, *rules):
        stages = part.get("omitStages")
        if isinstance(stages, list):
            part["omitStages"] = [stage for stage in stages if stage != "ResponseComplete"]
    for rule in rules:
        if rule.get("level") == "None":
            rule["level"] = "Metadata"
    rules.append({"level": "Metadata", "omitStages": ["RequestReceived"]})
    # No user reads what a request is before it is answered here; half the events, half the work.
    policy["omitStages"] = sorted({"RequestReceived", *(policy.get("omitStages") or ())})
    return policy


def _api_server_files(node: Node) -> Files:
    cluster = node.cluster
    ca = credentials.cluster_authority(node.config)
    aggregator = Authority(cluster.get("aggregatorCA"), "cluster.aggregatorCA")
    etcd = Authority((cluster.get("etcd") or {}).get("ca"), "cluster.etcd.ca")
    service_account = decoded((cluster.get("serviceAccount") or {}).get("key"))
    pairs = {
        "apiserver-kubelet-client": ca.issue("apiserver-kubelet-client", "system:masters"),
        "front-proxy-client": aggregator.issue("front-proxy-client"),
        "etcd-client": etcd.issue("kube-apiserver"),
    }
    secrets = {
        "ca.crt": credentials.accepted_authorities(node.config),
        "aggregator-ca.crt": aggregator.certificate_pem,
        "etcd-client-ca.crt": etcd.certificate_pem,
        "service-account.key": service_account,
        "service-account.pub": public_key_pem(service_account),
        "encryptionconfig.yaml": _yaml(_encryption(cluster)),
        **_pair_files(pairs),
    }
    config = {
        "admission-control-config.yaml": _yaml(_admission(node)),
        "auditpolicy.yaml": _yaml(lab_audit_policy(node)),
        "authorization-config.yaml": _yaml(_authorization(node)),
    }
    below = _below(f"{SECRETS}/{API_SERVER}", secrets) | _below(f"{CONFIG}/{API_SERVER}", config)
    return below | server_certificate(node)


def _controller_manager_files(node: Node) -> Files:
    ca = credentials.cluster_authority(node.config)
    secrets = {
        "ca.crt": ca.certificate_pem,
        "ca.key": ca.key_pem,
        "service-account.key": decoded((node.cluster.get("serviceAccount") or {}).get("key")),
        "kubeconfig": credentials.component_kubeconfig(node.config, "system:kube-controller-manager"),
    }
    return _below(f"{SECRETS}/{CONTROLLER_MANAGER}", secrets)


def _scheduler_files(node: Node) -> Files:
    kubeconfig = f"{SECRETS}/{SCHEDULER}/kubeconfig"
    config = dict(section(node, SCHEDULER).get("config") or {})
    config |= {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    config["clientConnection"] = dict(config.get("clientConnection") or {}) | {
        "kubeconfig": str(node.runtime) + kubeconfig.removeprefix("/system")
    }
    return {
        kubeconfig: credentials.component_kubeconfig(node.config, "system:kube-scheduler"),
        f"{CONFIG}/{SCHEDULER}/scheduler-config.yaml": _yaml(config),
    }


_FILES: dict[str, t.Callable[[Node], Files]] = {
    API_SERVER: _api_server_files,
    CONTROLLER_MANAGER: _controller_manager_files,
    SCHEDULER: _scheduler_files,
}


def _encryption(cluster: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    providers: list[dict[str, t.Any]] = []
    for kind, key, name in (
        ("secretbox", "secretboxEncryptionSecret", "key2"),
        ("aescbc", "aescbcEncryptionSecret", "key1"),
    ):
        if cluster.get(key):
            providers.append({kind: {"keys": [{"name": name, "secret": cluster[key]}]}})
    rule = {"resources": ["secrets"], "providers": [*providers, {"identity": {}}]}
    return {"apiVersion": "v1", "kind": "EncryptionConfig", "resources": [rule]}


def _admission(node: Node) -> dict[str, t.Any]:
    plugins = [
        {"name": plugin.get("name"), "configuration": plugin.get("configuration")}
        for plugin in section(node, API_SERVER).get("admissionControl") or ()
    ]
    return {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins}


def _authorization(node: Node) -> dict[str, t.Any]:
    given = list(section(node, API_SERVER).get("authorizationConfig") or ())
    for place, (kind, name) in enumerate((("Node", "node"), ("RBAC", "rbac"))):
        if all(authorizer.get("type") != kind for authorizer in given):
            given.insert(place, {"type": kind, "name": name})
    version = version_of(image(node, API_SERVER)) or (1, 36, 0)
    api = "v1" if version >= (1, 32, 0) else "v1beta1"
    return {
        "apiVersion": f"apiserver.config.k8s.io/{api}",
        "kind": "AuthorizationConfiguration",
        "authorizers": given,
    }


def _labels(node: Node, component: str) -> dict[str, str]:
    version = version_of(image(node, component))
    return {
        "tier": "control-plane",
        "k8s-app": component,
        "component": component,
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/version": "v" + ".".join(map(str, version or (0, 0, 0))),
        "app.kubernetes.io/component": "control-plane",
        "app.kubernetes.io/managed-by": "Talos",
    }


def environment(node: Node, component: str) -> dict[str, str]:
    """``env`` of the component's section, as the process gets it."""
    return {str(k): str(v) for k, v in (section(node, component).get("env") or {}).items()}


def _environment(node: Node, component: str) -> list[dict[str, t.Any]]:
    own = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    given = sorted(environment(node, component).items())
    return [own, *({"name": name, "value": value.replace("$", "$$")} for name, value in given)]


def _resources(node: Node, component: str) -> dict[str, t.Any]:
    given = section(node, component).get("resources") or {}
    cpu, memory = REQUESTS[component]
    requests = {"cpu": cpu, "memory": memory} | {k: str(v) for k, v in (given.get("requests") or {}).items()}
    limits = {k: str(v) for k, v in (given.get("limits") or {}).items()}
    return {"requests": requests} | ({"limits": limits} if limits else {})


def _probes(component: str) -> dict[str, t.Any]:
    port, paths = PROBES[component]
    return {
        kind: {"httpGet": {"path": path, "host": "localhost", "port": port, "scheme": "HTTPS"}}
        for kind, path in paths.items()
    }


def _mounts(node: Node, component: str) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    mounts: list[dict[str, t.Any]] = []
    volumes: list[dict[str, t.Any]] = []
    for name, base in VOLUMES[component].items():
        path = base if name == "audit" else f"{base}/{component}"
        mounts.append({"name": name, "mountPath": path} | ({} if name == "audit" else {"readOnly": True}))
        volumes.append({"name": name, "hostPath": {"path": path}})
    for extra in section(node, component).get("extraVolumes") or ():
        name = str(extra.get("name") or hashlib.sha256(str(extra.get("mountPath")).encode()).hexdigest()[:8])
        mounts.append({"name": name, "mountPath": extra.get("mountPath"), "readOnly": bool(extra.get("readonly"))})
        volumes.append({"name": name, "hostPath": {"path": extra.get("hostPath")}})
    return mounts, volumes


def _pair_files(pairs: t.Mapping[str, KeyPair]) -> Files:
    found: Files = {}
    for name, pair in pairs.items():
        found |= {f"{name}.crt": pair.certificate, f"{name}.key": pair.key}
    return found


def _below(directory: str, contents: Files) -> Files:
    return {f"{directory}/{name}": text for name, text in contents.items()}


def _yaml(document: t.Any) -> str:
    return yaml.safe_dump(document, sort_keys=False)
