# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that depend on the running version: which Kubernetes versions a config may name."""

from __future__ import annotations

import re

from . import rules_machine
from .machineconfig import MachineConfig
from .problems import Problems, quote
from .versions import Version

_COMPONENTS = (
    ("kube-apiserver", "apiServer"),
    ("kube-controller-manager", "controllerManager"),
    ("kube-scheduler", "scheduler"),
)
_SEMANTIC = re.compile(r"(\d+)\.(\d+)\.(\d+)([-+].*)?\Z")


def problems(config: MachineConfig, version: Version) -> Problems:
    found = Problems()
    if config.get("machine.install.extensions"):
        found.warnings.append(rules_machine.LEGACY_EXTENSIONS)
    _image("kubelet", str(config.get("machine.kubelet.image") or ""), version, found)
    for name, key in _COMPONENTS if config.control_plane else ():
        _image(name, str(config.get(f"cluster.{key}.image") or ""), version, found)
    return found


def _image(name: str, reference: str, version: Version, found: Problems) -> None:
    """An image that is not named is the version's own, and fits."""
    problem = _problem(reference, version) if reference else ""
    found.when(problem, f"{name} image is not valid: {problem}")


def _problem(reference: str, version: Version) -> str:
    _, colon, tag = reference.rpartition(":v")
    if not colon:
        inner = f"invalid image reference: {quote(reference)}"
        return f"failed to parse Kubernetes version from image reference {quote(reference)}: {inner}"
    text = tag.partition("@")[0]
    match = _SEMANTIC.match(text)
    if match is None:
        inner = f"error parsing version {quote(text)}: No Major.Minor.Patch elements found"
        return f"failed to parse Kubernetes version from image reference {quote(reference)}: {inner}"
    minor = (int(match[1]), int(match[2]))
    low, high = version.kubernetes_range
    if low <= minor <= high:
        return ""
    judged = "old" if minor < low else "new"
    return f"version of Kubernetes {text} is too {judged} to be used with Talos {version.tag.removeprefix('v')}"
