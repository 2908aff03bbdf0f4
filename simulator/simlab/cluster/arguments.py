# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines of the control plane, as Talos 1.12 and 1.13 render them from the machine config.

Values name Talos's own paths (``/system/secrets/…``, ``/var/…``); :func:`placed` says where in the lab they lie.
Source: Talos, controllers k8s.ControlPlaneStaticPodController and its argument builder.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from . import credentials
from .node import Node

Values = dict[str, list[str]]

SECRETS = "/system/secrets/kubernetes"
CONFIG = "/system/config/kubernetes"
AUDIT_LOG = "/var/log/audit/kube/kube-apiserver.log"

API_SERVER, CONTROLLER_MANAGER, SCHEDULER = "kube-apiserver", "kube-controller-manager", "kube-scheduler"
#: Component: its section below ``cluster``.
SECTIONS = {API_SERVER: "apiServer", CONTROLLER_MANAGER: "controllerManager", SCHEDULER: "scheduler"}
COMPONENTS = tuple(SECTIONS)

#: Extra arguments that are added to Talos's own values, comma separated, instead of replacing them.
ADDITIVE = {
    API_SERVER: {"enable-admission-plugins", "feature-gates", "authorization-mode", "tls-cipher-suites"},
    CONTROLLER_MANAGER: {"service-cluster-ip-range", "controllers"},
    SCHEDULER: set[str](),
}
#: Extra arguments that Talos refuses.
DENIED = {
    API_SERVER: {
        "etcd-servers", "client-ca-file", "requestheader-client-ca-file", "proxy-client-cert-file",
        "proxy-client-key-file", "encryption-provider-config", "etcd-cafile", "etcd-certfile", "etcd-keyfile",
        "kubelet-client-certificate", "kubelet-client-key", "service-account-key-file",
        "service-account-signing-key-file", "tls-cert-file", "tls-private-key-file", "authorization-config",
    },
    CONTROLLER_MANAGER: {
        "cluster-signing-cert-file", "cluster-signing-key-file", "authentication-kubeconfig",
        "authorization-kubeconfig", "root-ca-file", "service-account-private-key-file",
    },
    SCHEDULER: {"kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig", "config"},
}  # fmt: skip

_CIPHERS = ",".join(
    f"TLS_{name}"
    for name in (
        "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256",
        "ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    )
)  # fmt: skip


class RefusedArgument(ValueError):
    """Talos does not render the static pod: ``extra arg "etcd-servers" is not allowed``."""


def section(node: Node, component: str) -> t.Mapping[str, t.Any]:
    """The component's part of the machine config."""
    return t.cast("t.Mapping[str, t.Any]", node.cluster.get(SECTIONS[component]) or {})


def image(node: Node, component: str) -> str:
    """The configured image, or Talos's default."""
    return str(section(node, component).get("image") or f"registry.k8s.io/{component}:v1.36.3")


def version_of(reference: str) -> tuple[int, int, int] | None:
    """The version in an image's tag."""
    found = re.search(r":v?(\d+)\.(\d+)\.(\d+)", reference)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def is_enabled(node: Node, component: str) -> bool:
    """Whether ``machine.controlPlane`` leaves the component on."""
    switches = node.settings.get("controlPlane") or {}
    return not (switches.get(SECTIONS[component]) or {}).get("disabled", False)


def pod_subnets(node: Node) -> list[str]:
    network = node.cluster.get("network") or {}
    return [str(subnet) for subnet in network.get("podSubnets") or ["10.244.0.0/16"]]


def service_subnets(node: Node) -> list[str]:
    network = node.cluster.get("network") or {}
    return [str(subnet) for subnet in network.get("serviceSubnets") or ["10.96.0.0/12"]]


def service_addresses(node: Node, number: int) -> list[str]:
    """The ``number``-th address of each service subnet: 1 is the API server's own, 10 the name server's."""
    found = []
    for subnet in service_subnets(node):
        try:
            found.append(str(ipaddress.ip_network(subnet, strict=False)[number]))
        except (ValueError, IndexError):  # the API server itself will say what is wrong with it
            continue
    return found


def dns_domain(node: Node) -> str:
    return str((node.cluster.get("network") or {}).get("dnsDomain") or "cluster.local")


def arguments(node: Node, component: str) -> list[str]:
    """``--name=value`` in Talos's order (by name). Raises :class:`RefusedArgument`."""
    extra = extra_arguments(section(node, component).get("extraArgs"))
    values = merged(_DEFAULTS[component](node, extra), extra, ADDITIVE[component], DENIED[component])
    return [f"--{name}={value}" for name in sorted(values) for value in values[name]]


def extra_arguments(given: t.Any) -> Values:
    """``extraArgs`` of a machine config: a value or, from Talos 1.13, a list of values for each name."""
    pairs = (given or {}).items()
    return {str(name): [_text(v) for v in (value if isinstance(value, list) else [value])] for name, value in pairs}


def merged(own: Values, extra: Values, additive: set[str], denied: set[str]) -> Values:
    """Talos's values with the extra arguments merged in. Raises :class:`RefusedArgument`."""
    result = dict(own)
    for name, values in extra.items():
        if name in denied:
            raise RefusedArgument(f'extra arg "{name}" is not allowed')
        if name in additive:
            parts = ",".join([*result.get(name, []), *values]).split(",")
            values = [",".join(dict.fromkeys(part.strip() for part in parts if part.strip()))]
        result[name] = list(values)
    return result


def placed(node: Node, component: str, argument: str) -> str:
    """The argument with the node's paths turned into the lab's: its volumes, ``/system`` and ``/var``."""
    name, equals, value = argument.partition("=")
    for volume in section(node, component).get("extraVolumes") or ():
        mount, host = str(volume.get("mountPath", "")).rstrip("/"), str(volume.get("hostPath", "")).rstrip("/")
        if mount and (value == mount or value.startswith(f"{mount}/")):
            value = host + value[len(mount) :]
            break
    value = value.replace("$(POD_IP)", node.address)
    return name + equals + host_path(node, value)


def host_path(node: Node, path: str) -> str:
    """Where a path of the node lies in the lab; other texts come back unchanged."""
    for prefix, directory in (("/system", node.runtime), ("/var", node.directory)):
        if path == prefix or path.startswith(f"{prefix}/"):
            return str(directory) + path[len(prefix) :]
    return path


def _api_server(node: Node, extra: Values) -> Values:
    secrets, config = f"{SECRETS}/{API_SERVER}", f"{CONFIG}/{API_SERVER}"
    endpoint = credentials.endpoint(node.config)
    values = {
        "admission-control-config-file": f"{config}/admission-control-config.yaml",
        "allow-privileged": "true",
        "anonymous-auth": "false",
        "api-audiences": endpoint,
        "bind-address": "0.0.0.0",
        "client-ca-file": f"{secrets}/ca.crt",
        "enable-admission-plugins": "NodeRestriction",
        "requestheader-client-ca-file": f"{secrets}/aggregator-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": f"{secrets}/front-proxy-client.crt",
        "proxy-client-key-file": f"{secrets}/front-proxy-client.key",
        "enable-bootstrap-token-auth": "true",
        "tls-min-version": "VersionTLS12",
        "tls-cipher-suites": _CIPHERS,
        "encryption-provider-config": f"{secrets}/encryptionconfig.yaml",
        "audit-policy-file": f"{config}/auditpolicy.yaml",
        "audit-log-path": AUDIT_LOG,
        "audit-log-maxage": "30",
        "audit-log-maxbackup": "10",
        "audit-log-maxsize": "100",
        "profiling": "false",
        "etcd-cafile": f"{secrets}/etcd-client-ca.crt",
        "etcd-certfile": f"{secrets}/etcd-client.crt",
        "etcd-keyfile": f"{secrets}/etcd-client.key",
        "etcd-servers": "https://127.0.0.1:2379",
        "kubelet-client-certificate": f"{secrets}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{secrets}/apiserver-kubelet-client.key",
        "secure-port": str(credentials.local_port(node.config)),
        "service-account-issuer": endpoint,
        "service-account-key-file": f"{secrets}/service-account.pub",
        "service-account-signing-key-file": f"{secrets}/service-account.key",
        "service-cluster-ip-range": ",".join(service_subnets(node)),
        "tls-cert-file": f"{secrets}/apiserver.crt",
        "tls-private-key-file": f"{secrets}/apiserver.key",
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
    }
    if not (node.settings.get("kubelet") or {}).get("skipNodeRegistration"):
        values["advertise-address"] = "$(POD_IP)"
    if "authorization-mode" in extra or any(name.startswith("authorization-webhook-") for name in extra):
        values["authorization-mode"] = "Node,RBAC"
    else:
        values["authorization-config"] = f"{config}/authorization-config.yaml"
    return {name: [value] for name, value in values.items()}


def _controller_manager(node: Node, extra: Values) -> Values:
    secrets = f"{SECRETS}/{CONTROLLER_MANAGER}"
    values = {
        "allocate-node-cidrs": "true",
        "bind-address": "127.0.0.1",
        "cluster-cidr": ",".join(pod_subnets(node)),
        "service-cluster-ip-range": ",".join(service_subnets(node)),
        "cluster-signing-cert-file": f"{secrets}/ca.crt",
        "cluster-signing-key-file": f"{secrets}/ca.key",
        "controllers": "*,tokencleaner",
        "configure-cloud-routes": "false",
        "kubeconfig": f"{secrets}/kubeconfig",
        "authentication-kubeconfig": f"{secrets}/kubeconfig",
        "authorization-kubeconfig": f"{secrets}/kubeconfig",
        "leader-elect": "true",
        "root-ca-file": f"{secrets}/ca.crt",
        "service-account-private-key-file": f"{secrets}/service-account.key",
        "profiling": "false",
        "tls-min-version": "VersionTLS13",
        "use-service-account-credentials": "true",
    }
    return {name: [value] for name, value in values.items()}


def _scheduler(node: Node, extra: Values) -> Values:
    secrets = f"{SECRETS}/{SCHEDULER}"
    values = {
        "config": f"{CONFIG}/{SCHEDULER}/scheduler-config.yaml",
        "authentication-tolerate-lookup-failure": "false",
        "authentication-kubeconfig": f"{secrets}/kubeconfig",
        "authorization-kubeconfig": f"{secrets}/kubeconfig",
        "bind-address": "127.0.0.1",
        "leader-elect": "true",
        "profiling": "false",
        "tls-min-version": "VersionTLS13",
    }
    return {name: [value] for name, value in values.items()}


_DEFAULTS: dict[str, t.Callable[[Node, Values], Values]] = {
    API_SERVER: _api_server,
    CONTROLLER_MANAGER: _controller_manager,
    SCHEDULER: _scheduler,
}


def _text(value: t.Any) -> str:
    """A YAML scalar as Go would print it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
