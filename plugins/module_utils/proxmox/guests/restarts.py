# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is being restarted in this run. A guest does not show it: one that is off may have been off before, and one that
runs may have been restarted or not."""

from __future__ import annotations

import typing as t


class Wish(t.Protocol):
    @property
    def vmid(self) -> int: ...
    @property
    def state(self) -> str: ...


class State(t.Protocol):
    @property
    def running(self) -> bool: ...


class Restarts:
    """What plans after a lost answer have to know. Told by whoever applies, asked by whoever plans."""

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._was_off: set[int] = set()

    def begun(self, vmid: int) -> None:
        """It is asked to stop now, to be started after that."""
        self._begun.add(vmid)

    def was_off(self, vmid: int) -> None:
        """It has stopped, or was reset: all that may be left to do is to start it."""
        self._was_off.add(vmid)

    def only_to_run(self, wish: Wish, states: t.Mapping[int, State]) -> bool:
        """Whether the guest now only has to run, whatever the wish says: it was stopped by us, or must not be again."""
        vmid = wish.vmid
        if vmid in self._begun and vmid in states and not states[vmid].running:
            self._was_off.add(vmid)
        return vmid in self._was_off or (vmid in self._begun and wish.state == "present")
