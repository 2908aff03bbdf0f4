# SPDX-License-Identifier: GPL-3.0-or-later
"""The played Talos node. Start from :class:`TalosNode`; all nodes of a lab share one :class:`Settings`."""

from .node import TalosNode
from .registry import Registry
from .settings import Settings
from .storage import installed_image

__all__ = ["Registry", "Settings", "TalosNode", "installed_image"]
