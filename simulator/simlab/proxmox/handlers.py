# SPDX-License-Identifier: GPL-3.0-or-later
"""All modules that answer requests: importing them registers their handlers."""

from __future__ import annotations

import importlib

from . import named_formats, schema

MODULES = (
    "access_calls",
    "acl_calls",
    "backup",
    "backup_coverage",
    "backup_jobs",
    "cluster_calls",
    "consoles",
    "firewall_calls",
    "fixed",
    "ha_rules",
    "high_availability",
    "logs",
    "mappings",
    "metric_servers",
    "migration",
    "network_calls",
    "node_calls",
    "lxc.create",
    "lxc.power",
    "lxc.reading",
    "lxc.snapshots",
    "lxc.update",
    "lxc.volume_calls",
    "node_power",
    "node_settings",
    "pool_calls",
    "services",
    "statistics",
    "task_calls",
    "qemu.agent",
    "qemu.clone",
    "qemu.cloudinit",
    "qemu.create",
    "qemu.destroy",
    "qemu.disk_calls",
    "qemu.power",
    "qemu.reading",
    "qemu.snapshots",
    "qemu.suspend",
    "qemu.update",
    "storage.content_calls",
    "storage.definition_calls",
    "storage.download",
    "storage.upload",
)


def load() -> None:
    """Register every handler, and the formats that the description spells out elsewhere."""
    named_formats.register_from_schema(schema.load().paths["/nodes/{node}/qemu"]["POST"]["parameters"]["properties"])
    for name in MODULES:
        importlib.import_module(f"{__package__}.{name}")
