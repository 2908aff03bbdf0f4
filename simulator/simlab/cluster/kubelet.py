# SPDX-License-Identifier: GPL-3.0-or-later
"""A played kubelet: registers its node, keeps its lease, runs pods as told."""

from __future__ import annotations

import typing as t

from .behaviour import Behaviours
from .control_plane import ControlPlane
from .node import Node


class Kubelet:
    def __init__(self, node: Node, control_plane: ControlPlane | None, behaviours: Behaviours) -> None:
        self.node, self.control_plane, self.behaviours = node, control_plane, behaviours

    @property
    def running(self) -> bool:
        """Whether the kubelet itself runs (Talos service ``kubelet``); it is healthy as soon as it runs."""
        raise NotImplementedError

    def node_object(self) -> t.Mapping[str, t.Any] | None:
        """The Node as the API server last showed it, None while not registered (for NodeStatuses.kubernetes.talos.dev:
        ``nodeReady``, ``unschedulable``, labels, annotations, podCIDRs)."""
        raise NotImplementedError

    def pods(self) -> list[dict[str, t.Any]]:
        """The Pod objects on this node with status, static pods included (for Containers, ContainerList)."""
        raise NotImplementedError
