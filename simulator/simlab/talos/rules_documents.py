# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the documents besides v1alpha1: what the lab's configs use; others are decoded strictly and no more."""

from __future__ import annotations

import typing as t

from .machineconfig import Data, MachineConfig
from .problems import Problems, is_address, is_cidr, listed, quote


def check(document: Data, found: Problems) -> None:
    rule = _RULES.get(str(document.get("kind")))
    errors = rule(document) if rule is not None else []
    if errors:
        name = "/".join(str(document[key]) for key in ("kind", "name") if key in document)
        found.add(f"{name}: " + "\n".join(errors))


def check_conflicts(config: MachineConfig, found: Problems) -> None:
    """What a document sets may not be set in v1alpha1 as well."""
    if config.v1alpha1 is None:
        return
    for document in config.documents:
        conflict = _CONFLICTS.get(str(document.get("kind")))
        problem = conflict(document, config) if conflict is not None else ""
        found.when(problem, problem)


def _hostname(document: Data) -> list[str]:
    auto, hostname, errors = document.get("auto"), str(document.get("hostname") or ""), []
    if auto is None and not hostname:
        errors.append("either 'auto' or 'hostname' must be set")
    if auto not in (None, "off") and hostname:
        errors.append("'auto' and 'hostname' cannot be set at the same time")
    if auto not in (None, "off", "stable"):
        errors.append(f"invalid value for 'auto': {auto}")
    if len(hostname) > 253:
        errors.append(f"fqdn is too long: {len(hostname)}")
    first = hostname.partition(".")[0]
    if hostname and not 0 < len(first) <= 63:
        errors.append(f"invalid hostname {quote(first)}")
    return errors


def _layer2_vip(document: Data) -> list[str]:
    name, errors = str(document.get("name") or ""), []
    if not name:
        errors.append("name must be specified")
    elif not is_address(name):
        errors.append(f"name must be a valid IP address: ParseAddr({quote(name)}): unable to parse IP")
    if not document.get("link"):
        errors.append("link must be specified")
    return errors


def _static_host(document: Data) -> list[str]:
    name, errors = str(document.get("name") or ""), []
    if not name:
        errors.append("name is required")
    if not is_address(name):
        errors.append("name must be a valid IP address")
    if not document.get("hostnames"):
        errors.append("at least one hostname is required")
    return errors


def _link(document: Data) -> list[str]:
    errors = [] if document.get("name") else ["name must be specified"]
    for index, entry in enumerate(listed(document.get("addresses"))):
        if not entry.get("address"):
            errors.append(f"address {index} must be specified")
        elif not is_cidr(entry["address"]):
            errors.append(f"address {index} must be a valid IP prefix")
    return errors


def _vlan(document: Data) -> list[str]:
    errors = [] if document.get("name") else ["name must be specified"]
    if not 0 < int(document.get("vlanID") or 0) <= 4094:
        errors.append("vlanID must be specified and between 1 and 4094")
    if not document.get("parent"):
        errors.append("parent must be specified")
    return errors + [error for error in _link(document) if not error.startswith("name")]


def _hostname_conflict(document: Data, config: MachineConfig) -> str:
    if config.get("machine.network.hostname"):
        return "static hostname is already set in v1alpha1 config"
    stable = config.get("machine.features.stableHostname")
    return "stable hostname is already set in v1alpha1 config" if stable else ""


def _resolver_conflict(document: Data, config: MachineConfig) -> str:
    for key in ("searchDomains", "nameservers", "disableSearchDomain"):
        if config.get(f"machine.network.{key}"):
            return f".machine.network.{key} is already set in v1alpha1 config"
    return ""


def _time_conflict(document: Data, config: MachineConfig) -> str:
    suffix = "in both v1alpha1 and new-style configuration"
    if config.get("machine.time.disabled"):
        return f"time sync cannot be disabled {suffix}"
    if config.get("machine.time.servers"):
        return f"time servers cannot be specified {suffix}"
    return f"boot timeout cannot be specified {suffix}" if config.get("machine.time.bootTimeout") else ""


def _kubespan_conflict(document: Data, config: MachineConfig) -> str:
    configured = config.get("machine.network.kubespan") is not None
    return "kubespan is already configured in v1alpha1 machine.network.kubespan" if configured else ""


_RULES: dict[str, t.Callable[[Data], list[str]]] = {
    "HostnameConfig": _hostname,
    "Layer2VIPConfig": _layer2_vip,
    "LinkConfig": _link,
    "DummyLinkConfig": _link,
    "StaticHostConfig": _static_host,
    "VLANConfig": _vlan,
}
_CONFLICTS: dict[str, t.Callable[[Data, MachineConfig], str]] = {
    "HostnameConfig": _hostname_conflict,
    "ResolverConfig": _resolver_conflict,
    "TimeSyncConfig": _time_conflict,
    "KubeSpanConfig": _kubespan_conflict,
}
