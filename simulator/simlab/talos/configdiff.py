# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences of two configurations, as the node writes and judges them."""

from __future__ import annotations

import collections.abc as c
import copy
import typing as t

from . import configtypes, textdiff
from .machineconfig import MachineConfig

#: What may change without a reboot (Talos up to 1.13), besides all of ``cluster``, ``debug`` and other documents.
_IMMEDIATE_MACHINE = (
    "ca acceptedCAs time certSANs install network sysfs sysctls logging controlPlane kubelet kernel registries pods "
    "seccompProfiles nodeAnnotations nodeLabels nodeTaints"
).split()
_IMMEDIATE_FEATURES = "kubernetesTalosAPIAccess kubePrism hostDNS imageCache nodeAddressSortAlgorithm".split()
_IMMEDIATE = "this config change can't be applied in immediate mode"


def encode(config: MachineConfig | None) -> str:
    """All documents, decoded and written again: comments and formatting do not count."""
    if config is None:
        return ""
    parts = [configtypes.encode(str(document.get("kind") or ""), document) for document in _in_order(config)]
    return "---\n".join(parts)


def diff(old: MachineConfig | None, new: MachineConfig) -> str:
    """A unified diff, empty if there is no difference."""
    return textdiff.unified(encode(old), encode(new))


def needs_reboot(old: MachineConfig | None, new: MachineConfig) -> str:
    """Why a change needs a reboot: the text and the diff of what cannot be changed at once; empty if nothing is."""
    if old is None or old.v1alpha1 is None or new.v1alpha1 is None:
        return ""
    before = configtypes.encode("", old.v1alpha1)
    after = configtypes.encode("", _with_immediate_of(new.v1alpha1, old.v1alpha1))
    if before == after:
        return ""
    return f"{_IMMEDIATE}\ndiff:\n{textdiff.unified(before, after)}"


def _in_order(config: MachineConfig) -> list[c.Mapping[str, t.Any]]:
    """The v1alpha1 document comes first."""
    first = [document for document in config.documents if "kind" not in document]
    return first + [document for document in config.documents if "kind" in document]


def _with_immediate_of(new: c.Mapping[str, t.Any], old: c.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The new document with everything that may change at once as it is in the old one."""
    mixed: dict[str, t.Any] = copy.deepcopy(dict(new))
    _take(mixed, old, ("cluster", "debug"))
    machine, before = dict(mixed.get("machine") or {}), old.get("machine") or {}
    _take(machine, before, _IMMEDIATE_MACHINE)
    features, features_before = (
        dict(machine.get("features") or {}),
        before.get("features") or {},
    )
    _take(features, features_before, _IMMEDIATE_FEATURES)
    if features or "features" in before:
        machine["features"] = features
    mixed["machine"] = machine
    return mixed


def _take(into: dict[str, t.Any], source: c.Mapping[str, t.Any], keys: c.Iterable[str]) -> None:
    for key in keys:
        into.pop(key, None)
        if key in source:
            into[key] = source[key]
