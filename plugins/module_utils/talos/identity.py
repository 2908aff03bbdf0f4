# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a document of a machine config is called, and which documents are the same one."""

from __future__ import annotations

import typing as t

Document = dict[str, t.Any]
DocumentId = tuple[str, str, str]

MAIN = "v1alpha1"


def document_id(document: t.Mapping[str, t.Any]) -> DocumentId:
    """(apiVersion, kind, name); the main document's kind is ``v1alpha1``."""
    return (
        str(document.get("apiVersion") or MAIN),
        str(document.get("kind") or MAIN),
        str(document.get("name") or ""),
    )


def describe(document: t.Mapping[str, t.Any]) -> str:
    """A document's name in messages and diffs: ``v1alpha1``, ``HostnameConfig``, ``VolumeConfig/EPHEMERAL``."""
    _version, kind, name = document_id(document)
    return f"{kind}/{name}" if name else kind
