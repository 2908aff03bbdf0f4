# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing that is wrong with a lab's variables."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Problem:
    """``variable`` with the path inside it, ``where`` it is set (a host, ``all hosts``, ``the lab``), its ``value`` as it may be shown,
    what was ``expected`` instead, and a ``hint``."""

    variable: str
    where: str
    value: str
    expected: str
    hint: str = ""

    @property
    def text(self) -> str:
        verb = "is" if self.value == "not set" or not self.value.startswith("no ") else "has"
        text = f"{self.variable} of {self.where} {verb} {self.value}; expected {self.expected}."
        return f"{text} {self.hint}" if self.hint else text

    def as_result(self) -> dict[str, str]:
        return dataclasses.asdict(self)
