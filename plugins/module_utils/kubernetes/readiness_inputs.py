# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's references, selectors and definitions to what is waited for; and what is said of it. Pure."""

from __future__ import annotations

import re
import typing as t

from ..errors import InvalidInput
from . import collecting, documents
from .conditions import Check, Object, wants
from .discovery import KNOWN
from .kinds import group_of
from .readiness_gateway import GROUP, ROUTES, addresses
from .readiness_wants import Outcome, Want

#: Kinds of add-ons that can be named without their apiVersion.
ADD_ONS: dict[str, tuple[str, ...]] = {
    GROUP: ("GatewayClass", "Gateway", *ROUTES),
    "cert-manager.io": ("Certificate", "CertificateRequest", "Issuer", "ClusterIssuer"),
    "argoproj.io": ("Application", "ApplicationSet"),
    "kustomize.toolkit.fluxcd.io": ("Kustomization",),
    "helm.toolkit.fluxcd.io": ("HelmRelease",),
    "source.toolkit.fluxcd.io": ("GitRepository", "OCIRepository", "HelmRepository", "HelmChart", "Bucket"),
    "bitnami.com": ("SealedSecret",),
    "cilium.io": ("CiliumLoadBalancerIPPool",),
    "snapshot.storage.k8s.io": ("VolumeSnapshot",),
}
GROUPS = {kind: group for group, members in ADD_ONS.items() for kind in members}
VERSIONS = {kind: api_version for api_version, kind in KNOWN}

KIND = re.compile(r"[A-Z][A-Za-z0-9]*\Z")
API_VERSION = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
PRESENT: Check = lambda _live: ""  # noqa: E731


def wants_of(params: t.Mapping[str, t.Any], namespace: str) -> list[Want]:
    """All that a task waits for, in the order given. Raises :class:`InvalidInput`. ``namespace``: where none is named."""
    if params["wait_timeout"] < 0:
        raise InvalidInput(f"wait_timeout is {params['wait_timeout']:g}, it must not be negative")
    given = params.get("objects") or []
    found = [_want(f"object {number}", one, namespace) for number, one in enumerate(given, 1)]
    defined = collecting.collect(params.get("definitions") or [], params.get("src") or [])
    found += [_defined(one, namespace) for one in defined]
    return list(dict.fromkeys(found))


def _defined(wanted: Object, namespace: str) -> Want:
    """An object by its definition: only what names it counts."""
    meta = wanted["metadata"]
    return Want(wanted["kind"], wanted["apiVersion"], meta.get("namespace") or namespace, meta["name"])


def _want(where: str, given: t.Mapping[str, t.Any], namespace: str) -> Want:
    kind, name, selector = given["kind"], given.get("name"), given.get("selector")
    if not KIND.match(kind):
        raise InvalidInput(f"{where}: the kind {kind!r} is not valid", hint="Write it as manifests do: Deployment.")
    api_version = _api_version(where, kind, given.get("api_version"))
    _check_which(where, given)
    if name is not None:
        _check_name(where, kind, name)
    chosen = "" if given.get("all_namespaces") else given.get("namespace") or namespace
    if not (len(chosen) <= 63 and documents.LABEL.match(chosen)) and chosen:
        raise InvalidInput(f"{where} ({kind}): the namespace {chosen!r} is not valid")
    state = given.get("state") or "ready"
    return Want(
        kind,
        api_version,
        chosen,
        name or "",
        selector or "",
        at_least=1 if given.get("at_least") is None else given["at_least"],
        checks=_checks(where, given, state),
        gone=state == "absent",
    )


def _api_version(where: str, kind: str, given: str | None) -> str:
    """As given; else of the kinds that are well known."""
    if given:
        if not API_VERSION.match(given):
            raise InvalidInput(f"{where} ({kind}): the api_version {given!r} is not valid", hint="Write group/version.")
        return given
    found = VERSIONS.get(kind) or GROUPS.get(kind)
    if found is None:
        raise InvalidInput(
            f"{where}: the kind {kind} is not among those that need no api_version",
            hint="Name its group (example.com) or its group and version (example.com/v1).",
        )
    return found


def _check_which(where: str, given: t.Mapping[str, t.Any]) -> None:
    """One object by its name, or many by a selector."""
    kind, name, selector = given["kind"], given.get("name"), given.get("selector")
    if (name is None) == (selector is None):
        raise InvalidInput(
            f"{where} ({kind}) needs either a name or a selector",
            hint='An empty selector ("") means all objects of the kind.',
        )
    if name is not None and given.get("all_namespaces"):
        raise InvalidInput(f"{where} ({kind} {name}): all_namespaces needs a selector, a name is in one namespace")
    if given.get("all_namespaces") and given.get("namespace"):
        raise InvalidInput(f"{where} ({kind}): namespace and all_namespaces exclude each other")
    least = given.get("at_least")
    if least is not None and (name is not None or given.get("state") == "absent"):
        raise InvalidInput(f"{where} ({kind}): at_least counts what a selector finds and must be there")
    if least is not None and least < 0:
        raise InvalidInput(f"{where} ({kind}): at_least is {least}, it must not be negative")


def _check_name(where: str, kind: str, name: str) -> None:
    free = kind in documents.FREE_NAMES and name and "/" not in name and "%" not in name
    if not free and not (len(name) <= 253 and documents.SUBDOMAIN.match(name)):
        raise InvalidInput(
            f"{where}: the {kind} name {name!r} is not valid", hint="Names are lower case letters, digits, '-' and '.'."
        )


def _checks(where: str, given: t.Mapping[str, t.Any], state: str) -> tuple[Check, ...]:
    conditions = given.get("conditions") or []
    if conditions and state != "ready":
        raise InvalidInput(f"{where} ({given['kind']}): conditions are of the state ready, not of {state}")
    for one in conditions:
        if not one["type"]:
            raise InvalidInput(f"{where} ({given['kind']}): a condition has no type")
    if state == "present":
        return (PRESENT,)
    return tuple(wants(one["type"], one.get("status") or "True", one.get("reason") or "") for one in conditions)


def shown(outcome: Outcome) -> dict[str, t.Any]:
    """What a task returns of one: ``resource``, ``ready``, and what applies of ``reason``, ``found``, ``addresses``."""
    result: dict[str, t.Any] = {"resource": outcome.want.identity, "ready": not outcome.reason}
    if outcome.reason:
        result["reason"] = outcome.reason
    if not outcome.want.name:
        result["found"] = [documents.identity(live) for live in outcome.objects]
    reached = [address for live in outcome.objects for address in _addresses(live)]
    if reached:
        result["addresses"] = reached
    return result


def _addresses(live: Object) -> list[str]:
    """By which a Gateway, or a Service of type LoadBalancer, is reached."""
    if live["kind"] == "Gateway" and group_of(live["apiVersion"]) == GROUP:
        return addresses(live)
    if live["kind"] != "Service":
        return []
    found = ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [str(one.get("ip") or one.get("hostname")) for one in found]
