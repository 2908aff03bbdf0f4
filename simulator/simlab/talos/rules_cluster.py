# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the ``cluster`` part of the v1alpha1 document."""

from __future__ import annotations

import collections.abc as c
import re
import typing as t

from . import gourl
from .machineconfig import MachineConfig
from .problems import Problems, listed, quote, subnet_or_address

_DNS_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}(\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*[._]?\Z")
_COMPONENTS = (("apiServer", "apiserver"), ("controllerManager", "controller-manager"), ("scheduler", "scheduler"))
_MODE_AND_CONFIG = (
    "authorization-mode cannot be used in conjunction with AuthorizationConfig, "
    "use eitherr AuthorizationConfig or authorization-mode"
)
_WEBHOOK_AND_CONFIG = (
    "authorization-webhook-* flags cannot be used in conjunction with AuthorizationConfig, "
    "use either AuthorizationConfig or authorization-webhook-* flags"
)
_AUTHORIZERS = ("Node", "RBAC", "Webhook")
_DISCOVERY = "https://discovery.talos.dev/"


def check(config: MachineConfig, found: Problems) -> None:
    if config.get("cluster") is None:
        found.add("cluster instructions are required")
        return
    if config.get("cluster.controlPlane.endpoint") is None:
        found.add("cluster controlplane endpoint is required")
        return
    problem = gourl.endpoint_problem(gourl.printed(config.endpoint))
    found.when(problem, f"invalid controlplane endpoint: {problem}")
    domain = str(config.get("cluster.network.dnsDomain") or "")
    found.when(domain and not _is_dns_name(domain), f"{quote(domain)} is not a valid DNS name")
    _cloud_provider(config, found)
    _etcd(config, found)
    ca_key = not config.control_plane and config.get("cluster.ca.key")
    found.when(ca_key, "cluster CA key is not allowed on non-controlplane nodes (.cluster.ca)")
    _inline_manifests(config, found)
    _discovery(config, found)
    refused = _api_server(config)
    found.when(refused, refused)
    for key, name in _COMPONENTS[1:] if refused else _COMPONENTS:
        problem = _resources(config.get(f"cluster.{key}.resources", {}))
        found.when(problem, f"{name} resource validation failed: {problem}")


def cni(config: MachineConfig, found: Problems) -> None:
    """Checked on control plane nodes only."""
    section = config.get("cluster.network.cni", {"name": "flannel"})
    name, urls = section.get("name") or "", listed(section.get("urls"))
    flannel = section.get("flannel") or {}
    if name not in ("flannel", "custom", "none"):
        found.add('cni name should be one of ["flannel", "custom", "none"]')
        return
    found.when(name != "custom" and urls, f'"urls" field should be empty for "{name}" CNI')
    if name == "flannel":
        return
    if name == "custom" and not urls:
        found.warnings.append('"urls" field should not be empty for "custom" CNI')
    found.when(flannel.get("extraArgs"), f'"flanneldExtraArgs" field should be empty for "{name}" CNI')
    enabled = flannel.get("kubeNetworkPoliciesEnabled")
    found.when(enabled, f'"flannelKubeNetworkPoliciesEnabled" should not be enabled for "{name}" CNI')
    for url in urls if name == "custom" else []:
        problem = gourl.endpoint_problem(str(url))
        found.when(problem, problem)


def _is_dns_name(name: str) -> bool:
    return len(name) - name.count(".") <= 255 and bool(_DNS_NAME.match(name))


def _cloud_provider(config: MachineConfig, found: Problems) -> None:
    section = config.get("cluster.externalCloudProvider", {})
    manifests = listed(section.get("manifests"))
    if manifests and not section.get("enabled"):
        found.add("external cloud provider is disabled, but manifests are provided")
        return
    for url in manifests:
        problem = gourl.endpoint_problem(str(url))
        found.when(problem, f"invalid external cloud provider manifest url {quote(url)}: {problem}")


def _etcd(config: MachineConfig, found: Problems) -> None:
    section = config.get("cluster.etcd")
    if section is None:
        return
    if not config.control_plane:
        found.add("etcd config is only allowed on control plane machines")
        return
    found.when(section.get("ca") is None, "key/cert combination should not be empty")
    advertised = listed(section.get("advertisedSubnets"))
    both = section.get("subnet") and advertised
    found.when(both, "etcd subnet can't be set when advertised subnets are set")
    listening = listed(section.get("listenSubnets")) or advertised
    advertised = advertised or listed(section.get("subnet") and [section["subnet"]])
    for kind, subnets in (("advertised", advertised), ("listen", listening)):
        for subnet in map(str, subnets):
            bare = subnet.removeprefix("!")
            found.when(not subnet_or_address(bare), f"etcd {kind} subnet is not valid: {quote(bare)}")


def _inline_manifests(config: MachineConfig, found: Problems) -> None:
    names: set[str] = set()
    for manifest in listed(config.get("cluster.inlineManifests")):
        name = str(manifest.get("name") or "")
        found.when(not name.strip(), "inline manifest name can't be empty")
        found.when(name in names, f"inline manifest name {quote(name)} is duplicate")
        names.add(name)


def _discovery(config: MachineConfig, found: Problems) -> None:
    service = config.get("cluster.discovery.registries.service", {})
    if not config.get("cluster.discovery.enabled") or service.get("disabled"):
        return
    try:
        path = gourl.parse(str(service.get("endpoint") or _DISCOVERY), of_request=True).path
        found.when(path not in ("", "/"), "cluster discovery service path should be empty")
    except gourl.GoUrlError as error:
        found.add(f"cluster discovery service registry endpoint is invalid: {error}")
    for key in ("id", "secret"):
        found.when(not config.get(f"cluster.{key}"), f"cluster discovery service requires .cluster.{key}")


def _resources(section: c.Mapping[str, t.Any]) -> str:
    for kind in ("requests", "limits"):
        for key in section.get(kind) or {}:
            if key not in ("cpu", "memory"):
                return f"unsupported pod resource {quote(key)}"
    return ""


def _api_server(config: MachineConfig) -> str:
    """Authorisation of the API server has one way or the other; the first thing that is wrong is told."""
    authorizers = listed(config.get("cluster.apiServer.authorizationConfig"))
    arguments: c.Mapping[str, t.Any] = config.get("cluster.apiServer.extraArgs", {})
    for key in sorted(arguments) if authorizers else ():
        if key == "authorization-mode":
            return _MODE_AND_CONFIG
        if key.startswith("authorization-webhook-"):
            return _WEBHOOK_AND_CONFIG
    for authorizer in authorizers:
        problem = _authorizer(authorizer)
        if problem:
            return f"apiserver authorization config validation failed: {problem}"
    return ""


def _authorizer(authorizer: c.Mapping[str, t.Any]) -> str:
    for key in ("type", "name"):
        if not authorizer.get(key):
            return f"authorizer {key} must be set"
    if authorizer["type"] not in _AUTHORIZERS:
        return f"authorizer type {authorizer['type']} is not allowed, allowed types are [{' '.join(_AUTHORIZERS)}]"
    return ""
