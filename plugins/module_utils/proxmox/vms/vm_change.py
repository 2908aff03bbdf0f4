# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be sent to a VM that exists."""

from __future__ import annotations

import dataclasses
import typing as t

from .vm_form import Form


@dataclasses.dataclass
class Difference:
    """What to send, and what a plan shows of it; false when nothing differs.

    ``put`` and ``delete`` are options and drives that are set and taken away at once; drives that are taken away keep their
    volumes as ``unusedN``. ``destroy`` names drives that go with their volumes. ``allocate`` is disk work, ``resizes`` are
    sizes in bytes, ``moves`` the storages that disks go to. ``pool`` is where the VM goes to, ``leaves`` the one that it
    leaves for none.
    """

    put: Form = dataclasses.field(default_factory=dict)
    delete: tuple[str, ...] = ()
    destroy: tuple[str, ...] = ()
    allocate: Form = dataclasses.field(default_factory=dict)
    resizes: dict[str, int] = dataclasses.field(default_factory=dict)
    moves: dict[str, str] = dataclasses.field(default_factory=dict)
    pool: str = ""
    leaves: str = ""
    template: bool = False
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        work = (self.put, self.delete, self.destroy, self.allocate, self.resizes, self.moves)
        return any(work) or bool(self.pool or self.leaves or self.template)

    def show(self, key: str, before: t.Any, after: t.Any) -> None:
        for side, value in ((self.before, before), (self.after, after)):
            if value is not None:
                side[key] = value
