# SPDX-License-Identifier: GPL-3.0-or-later
"""What the node tells of itself as COSI resources."""

from .addresses import network
from .configuration import configuration
from .kubernetes import PAUSE, etcd_member, image_of, kubernetes, members, node_ready
from .machine import boot, device_at, device_of, legacy_disks, meta, system

__all__ = [
    "PAUSE",
    "boot",
    "configuration",
    "device_at",
    "device_of",
    "etcd_member",
    "image_of",
    "kubernetes",
    "legacy_disks",
    "members",
    "meta",
    "network",
    "node_ready",
    "system",
]
