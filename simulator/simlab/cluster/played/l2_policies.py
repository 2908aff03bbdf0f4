# SPDX-License-Identifier: GPL-3.0-or-later
"""CiliumL2AnnouncementPolicies: which of a node's interfaces answer for which Service."""

from __future__ import annotations

import collections.abc as c
import re
import typing as t

from .address_requests import L2_CLASS
from .selectors import matches

Object = t.Mapping[str, t.Any]


class BadPolicy(Exception):
    """``kind`` is the type of the policy's condition."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


BAD = ("io.cilium/bad-node-selector", "io.cilium/bad-interface-regex", "io.cilium/bad-service-selector")


def devices_of(policy: Object, node_labels: t.Mapping[str, str], devices: c.Sequence[str]) -> list[str]:
    """The interfaces of a node that a policy selects; none when it does not select the node. Raises BadPolicy."""
    spec = policy.get("spec") or {}
    if not _matches(spec.get("nodeSelector"), node_labels, BAD[0]):
        return []
    patterns = spec.get("interfaces") or ()
    try:
        compiled = [re.compile(str(pattern)) for pattern in patterns]
    except re.error as error:
        raise BadPolicy(BAD[1], f"error parsing regexp: {error}") from None
    return [d for d in devices if not compiled or any(pattern.search(d) for pattern in compiled)]


def addresses_of(policy: Object, service: Object) -> list[str]:
    """The Service's addresses that the policy announces. Raises BadPolicy."""
    spec, wanted = policy.get("spec") or {}, service["spec"]
    meta = service["metadata"]
    own = {"io.kubernetes.service.namespace": meta["namespace"], "io.kubernetes.service.name": meta["name"]}
    if not _matches(spec.get("serviceSelector"), {**(meta.get("labels") or {}), **own}, BAD[2]):
        return []
    if wanted.get("loadBalancerClass") not in (None, L2_CLASS):
        return []
    found: list[str] = []
    if spec.get("loadBalancerIPs") and wanted.get("type") == "LoadBalancer":
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        found += [str(entry["ip"]) for entry in ingress if entry.get("ip")]
    if spec.get("externalIPs"):
        found += [str(address) for address in wanted.get("externalIPs") or ()]
    return found


def _matches(selector: Object | None, labels: t.Mapping[str, str], kind: str) -> bool:
    try:
        return matches(selector, labels)
    except ValueError as error:
        raise BadPolicy(kind, str(error)) from None
