# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose an object is by what it carries: ours, or that of another tool that has taken it over since. Pure."""

from __future__ import annotations

import typing as t

from . import fields

Object = dict[str, t.Any]

#: Where a tool writes that an object is its own: annotations or labels, the name there, and how that is said.
MARKS: tuple[tuple[str, str, str], ...] = (
    ("annotations", "argocd.argoproj.io/tracking-id", "Argo CD ({})"),
    ("labels", "kustomize.toolkit.fluxcd.io/name", "Flux's Kustomization {}"),
    ("labels", "helm.toolkit.fluxcd.io/name", "Flux's HelmRelease {}"),
    ("annotations", "meta.helm.sh/release-name", "the Helm release {}"),
)
#: The namespace of what such a mark names stands beside it.
BESIDE = {
    "kustomize.toolkit.fluxcd.io/name": "kustomize.toolkit.fluxcd.io/namespace",
    "helm.toolkit.fluxcd.io/name": "helm.toolkit.fluxcd.io/namespace",
    "meta.helm.sh/release-name": "meta.helm.sh/release-namespace",
}


def is_ours(live: Object, manager: str) -> bool:
    """Whether we applied the object that is there: not one of the same name that somebody else made."""
    return bool(fields.records(live, manager))


def claimed_by(live: Object, manager: str) -> str:
    """Who else says that the object is theirs; nothing if nobody does."""
    for where, name, words in MARKS:
        marks = live["metadata"].get(where) or {}
        if marks.get(name):
            space = marks.get(BESIDE.get(name, ""))
            return words.format(f"{space}/{marks[name]}" if space else marks[name])
    others = [
        str(entry["manager"])
        for entry in live["metadata"].get("managedFields") or []
        if entry.get("operation") == "Apply" and not entry.get("subresource") and entry.get("manager") != manager
    ]
    return f"the field manager {others[0]}, which applied it, too" if others else ""
