# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging decoded configurations: the rules of 1.13 in their order, problems listed as the node lists them."""

from __future__ import annotations

from . import rules_cluster, rules_documents, rules_images, rules_machine
from .machineconfig import MachineConfig
from .problems import Problems, multiple
from .versions import Version


class Invalid(Exception):
    """The configuration is refused; the text lists every problem."""


def validate(config: MachineConfig, version: Version, mode: str) -> tuple[str, ...]:
    """Warnings. ``mode`` is the platform's (metal, cloud, container). Raises :class:`Invalid`.

    First what the documents say by themselves; only then what depends on the running version.
    """
    found = Problems()
    v1alpha1 = config.v1alpha1
    if v1alpha1 is not None:
        _group(found, "v1alpha1.Config", _v1alpha1(config, mode))
    for document in config.documents:
        if document.get("kind"):
            rules_documents.check(document, found)
    rules_documents.check_conflicts(config, found)
    _raise(found)
    if v1alpha1 is not None:
        later = Problems()
        _group(later, "v1alpha1.Config", rules_images.problems(config, version))
        _raise(later)
        found.warnings += later.warnings
    return tuple(found.warnings)


def _v1alpha1(config: MachineConfig, mode: str) -> Problems:
    found = Problems()
    if config.get("machine") is None:
        found.add("machine instructions are required")
        return found
    rules_cluster.check(config, found)
    rules_machine.check(config, mode, found)
    return found


def _group(into: Problems, name: str, found: Problems) -> None:
    into.warnings += found.warnings
    if found.errors:
        into.add(f"{name}: {multiple(found.errors)}")


def _raise(found: Problems) -> None:
    if found.errors:
        raise Invalid(multiple(found.errors))
