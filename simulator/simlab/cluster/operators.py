# SPDX-License-Identifier: GPL-3.0-or-later
"""Talos's own controllers that write to Kubernetes: bootstrap manifests; labels, taints, annotations of the node."""

from __future__ import annotations

import typing as t

from .node import Node


class ManifestOperator:
    """Applies the bootstrap manifests (server-side apply, field manager ``talos``) until the API server has them all,
    again when the configuration changes."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def manifests(self) -> list[tuple[str, list[dict[str, t.Any]]]]:
        """(id as in Manifests.kubernetes.talos.dev, such as ``10-kube-proxy``; its objects)."""
        raise NotImplementedError

    @property
    def applied(self) -> bool:
        """Whether the present configuration's manifests are all applied."""
        raise NotImplementedError


class NodeOperator:
    """Keeps machine.nodeLabels, nodeAnnotations, nodeTaints and the control plane's own label and taint on the Node."""

    def __init__(self, node: Node) -> None:
        self.node = node
