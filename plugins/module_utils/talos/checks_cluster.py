# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the parts of a cluster: its network, discovery, etcd, manifests, the components of the control plane."""

from __future__ import annotations

import typing as t

from .forms import Problems, at, is_network, is_url, listed, mapping
from .identity import Document

_CNI_NAMES = ("flannel", "custom", "none")
_COMPONENTS = ("apiServer", "controllerManager", "scheduler")
_AUTHORIZERS = ("Node", "RBAC", "Webhook")


def problems(config: Document) -> Problems:
    yield from _cni(at(config, "cluster.network.cni"))
    yield from _cloud_provider(mapping(at(config, "cluster.externalCloudProvider")))
    yield from _etcd(mapping(at(config, "cluster.etcd")))
    yield from _manifests(listed(at(config, "cluster.inlineManifests")))
    yield from _discovery(config)
    yield from _authorizers(config)
    for name in _COMPONENTS:
        for kind in ("requests", "limits"):
            for key in mapping(at(config, f"cluster.{name}.resources.{kind}")):
                if key not in ("cpu", "memory"):
                    yield f"cluster.{name}.resources.{kind}.{key} is not cpu or memory"


def _cni(section: t.Any) -> Problems:
    if section is None:
        return
    where, name, urls = "cluster.network.cni", section.get("name"), listed(section.get("urls"))
    if name not in _CNI_NAMES:
        yield f"{where}.name is {name!r} and not one of {', '.join(_CNI_NAMES)}"
    if urls and name != "custom":
        yield f"{where}.urls is only for the name custom"
    for index, url in enumerate(urls):
        if not is_url(url):
            yield f"{where}.urls[{index}] is {url!r}, which is no URL"
    flannel = mapping(section.get("flannel"))
    for key in ("extraArgs", "kubeNetworkPoliciesEnabled"):
        if flannel.get(key) and name != "flannel":
            yield f"{where}.flannel.{key} is only for the name flannel"


def _cloud_provider(section: Document) -> Problems:
    where, manifests = "cluster.externalCloudProvider", listed(section.get("manifests"))
    if manifests and not section.get("enabled"):
        yield f"{where} has manifests and is not enabled"
    for index, url in enumerate(manifests):
        if not is_url(url):
            yield f"{where}.manifests[{index}] is {url!r}, which is no URL"


def _etcd(section: Document) -> Problems:
    if section.get("subnet") and section.get("advertisedSubnets"):
        yield "cluster.etcd has both subnet and advertisedSubnets"
    if section.get("subnet") and not is_network(section["subnet"]):
        yield f"cluster.etcd.subnet is {section['subnet']!r}, which is no network"
    for name in ("advertisedSubnets", "listenSubnets"):
        for index, subnet in enumerate(listed(section.get(name))):
            if not is_network(subnet):
                yield f"cluster.etcd.{name}[{index}] is {subnet!r}, which is no network"


def _manifests(manifests: list[t.Any]) -> Problems:
    names: set[str] = set()
    for index, manifest in enumerate(manifests):
        name = str(mapping(manifest).get("name") or "")
        if not name.strip():
            yield f"cluster.inlineManifests[{index}] has no name"
        elif name in names:
            yield f"cluster.inlineManifests has {name!r} twice"
        names.add(name)


def _discovery(config: Document) -> Problems:
    section = mapping(at(config, "cluster.discovery"))
    service = mapping(at(section, "registries.service"))
    if not section.get("enabled") or service.get("disabled"):
        return
    endpoint = service.get("endpoint")
    where = "cluster.discovery.registries.service.endpoint"
    if endpoint and not is_url(endpoint):
        yield f"{where} is {endpoint!r}, which is no URL"
    elif endpoint and str(endpoint).partition("://")[2].partition("/")[2]:
        yield f"{where} is {endpoint!r}, and must have no path"


def _authorizers(config: Document) -> Problems:
    where, authorizers = (
        "cluster.apiServer.authorizationConfig",
        listed(at(config, "cluster.apiServer.authorizationConfig")),
    )
    for index, one in enumerate(authorizers):
        one = mapping(one)
        if one.get("type") not in _AUTHORIZERS:
            yield f"{where}[{index}].type is {one.get('type')!r} and not one of {', '.join(_AUTHORIZERS)}"
        if not one.get("name"):
            yield f"{where}[{index}].name is missing"
    for key in mapping(at(config, "cluster.apiServer.extraArgs")) if authorizers else ():
        if key == "authorization-mode" or str(key).startswith("authorization-webhook-"):
            yield f"cluster.apiServer.extraArgs.{key} and authorizationConfig exclude each other"
