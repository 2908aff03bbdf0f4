# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests that earlier tasks of a check run would make, so that they are not there when later tasks look for them."""

from __future__ import annotations

import typing as t

from ...task import Task
from ..facts.reading import check_vmids

#: In the words of ``AnsibleModule``; the documentation is the doc fragment ``proxmox.planned``.
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    name: {"type": "list", "elements": "int", "default": []} for name in ("planned_vms", "planned_containers")
}


def kinds(task: Task) -> dict[int, str]:
    """Number -> ``qemu`` or ``lxc``. Nothing outside check mode. Raises :class:`errors.InvalidInput`."""
    vms, containers = (task.params.get(name) or () for name in ARGUMENTS)
    check_vmids((*vms, *containers))
    return {**dict.fromkeys(vms, "qemu"), **dict.fromkeys(containers, "lxc")} if task.check_mode else {}
