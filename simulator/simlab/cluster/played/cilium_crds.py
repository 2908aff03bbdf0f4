# SPDX-License-Identifier: GPL-3.0-or-later
"""The custom resources that Cilium's operator registers when it starts: its chart has none.

Those that are played have the schema of their documentation. The others are there, so that manifests with them are
accepted as on a real cluster; nothing acts on them, and they have no status.
"""

from __future__ import annotations

import typing as t

Schema = dict[str, t.Any]
GROUP = "cilium.io"

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_OPEN: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_REQUIREMENT: Schema = {
    "type": "object",
    "required": ["key", "operator"],
    "properties": {
        "key": _TEXT,
        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
        "values": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "atomic"},
    },
}
_LABEL_VALUE: Schema = {
    "type": "string",
    "maxLength": 63,
    "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
}
_SELECTOR: Schema = {
    "type": "object",
    "x-kubernetes-map-type": "atomic",
    "properties": {
        "matchExpressions": {"type": "array", "items": _REQUIREMENT, "x-kubernetes-list-type": "atomic"},
        "matchLabels": {"type": "object", "additionalProperties": _LABEL_VALUE},
    },
}
_CONDITION: Schema = {
    "type": "object",
    "required": ["lastTransitionTime", "message", "reason", "status", "type"],
    "properties": {
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "message": {"type": "string", "maxLength": 32768},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "reason": {
            "type": "string",
            "maxLength": 1024,
            "minLength": 1,
            "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "type": {"type": "string", "maxLength": 316},
    },
}
_STATUS: Schema = {
    "type": "object",
    "properties": {
        "conditions": {
            "type": "array",
            "items": _CONDITION,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    },
}
_POOL: Schema = {
    "type": "object",
    "properties": {
        "allowFirstLastIPs": {"type": "string", "enum": ["Yes", "No"]},
        "blocks": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"cidr": {"type": "string", "format": "cidr"}, "start": _TEXT, "stop": _TEXT},
            },
        },
        "disabled": {"type": "boolean", "default": False},
        "serviceSelector": _SELECTOR,
    },
}
_L2_POLICY: Schema = {
    "type": "object",
    "properties": {
        "externalIPs": _FLAG,
        "interfaces": {"type": "array", "items": _TEXT},
        "loadBalancerIPs": _FLAG,
        "nodeSelector": _SELECTOR,
        "serviceSelector": _SELECTOR,
    },
}

_POOL_COLUMNS = (
    ("Disabled", "boolean", ".spec.disabled"),
    ("Conflicting", "string", '.status.conditions[?(@.type=="cilium.io/PoolConflict")].status'),
    ("IPs Available", "string", '.status.conditions[?(@.type=="cilium.io/IPsAvailable")].message'),
)
#: Plural, kind, scope, versions (the one that is stored first), short names.
_OTHERS = (
    ("ciliumnetworkpolicies", "CiliumNetworkPolicy", "Namespaced", ("v2",), ("cnp", "ciliumnp")),
    ("ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", "Cluster", ("v2",), ("ccnp",)),
    ("ciliumcidrgroups", "CiliumCIDRGroup", "Cluster", ("v2", "v2alpha1"), ("ccg",)),
    ("ciliumendpoints", "CiliumEndpoint", "Namespaced", ("v2",), ("cep", "ciliumep")),
    ("ciliumidentities", "CiliumIdentity", "Cluster", ("v2",), ("ciliumid",)),
    ("ciliumnodes", "CiliumNode", "Cluster", ("v2",), ("cn", "ciliumn")),
    ("ciliumnodeconfigs", "CiliumNodeConfig", "Namespaced", ("v2",), ()),
    ("ciliumpodippools", "CiliumPodIPPool", "Cluster", ("v2alpha1",), ("cpip",)),
    ("ciliumenvoyconfigs", "CiliumEnvoyConfig", "Namespaced", ("v2",), ("cec",)),
    ("ciliumclusterwideenvoyconfigs", "CiliumClusterwideEnvoyConfig", "Cluster", ("v2",), ("ccec",)),
    ("ciliumgatewayclassconfigs", "CiliumGatewayClassConfig", "Namespaced", ("v2alpha1",), ("cgcc",)),
    ("ciliumbgpclusterconfigs", "CiliumBGPClusterConfig", "Cluster", ("v2",), ("cbgpcluster",)),
    ("ciliumbgppeerconfigs", "CiliumBGPPeerConfig", "Cluster", ("v2",), ("cbgppeer",)),
    ("ciliumbgpadvertisements", "CiliumBGPAdvertisement", "Cluster", ("v2",), ("cbgpadvert",)),
)


def definitions() -> list[dict[str, t.Any]]:
    pools = ("ciliumloadbalancerippools", "CiliumLoadBalancerIPPool", "Cluster", ("v2", "v2alpha1"))
    policies = ("ciliuml2announcementpolicies", "CiliumL2AnnouncementPolicy", "Cluster", ("v2alpha1",))
    found = [
        _definition(*pools, ("ippools", "ippool", "lbippool", "lbippools"), _POOL, _POOL_COLUMNS),
        _definition(*policies, ("l2announcement",), _L2_POLICY),
    ]
    return found + [_definition(*other) for other in _OTHERS]


def _definition(
    plural: str,
    kind: str,
    scope: str,
    versions: tuple[str, ...],
    short: tuple[str, ...],
    spec: Schema | None = None,
    columns: tuple[tuple[str, str, str], ...] = (),
) -> dict[str, t.Any]:
    properties = {"spec": spec, "status": _STATUS} if spec else {"spec": _OPEN, "specs": _LIST, "status": _OPEN}
    schema = {"type": "object", "properties": {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}}}
    schema["properties"] |= properties  # type: ignore[operator]
    printed = [{"name": name, "type": form, "jsonPath": path} for name, form, path in columns]
    printed.append({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    served = [
        {
            "name": version,
            "served": True,
            "storage": version == versions[0],
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
            "additionalPrinterColumns": printed,
        }
        for version in versions
    ]
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [*short],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"io.cilium.k8s.crd.schema.version": "1.33.1"}},
        "spec": {"group": GROUP, "names": names | {"categories": ["cilium"]}, "scope": scope, "versions": served},
    }


_LIST: Schema = {"type": "array", "items": _OPEN}
