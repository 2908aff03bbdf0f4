# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which guests there are, and where: one list of the cluster and one of a node, each read once and only when needed.

The list of a node tells the status of this moment; that of the cluster lags behind by ten seconds, but knows all nodes,
pools and what high availability wants.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import HomelabError, Unreachable
from ..api.lanes import together
from ..api.session import Session, listing, segment
from ..vms.vm_state import Entry, Kind, VmState

_KINDS: dict[Kind, str] = {"qemu": "VM", "lxc": "container"}


class GuestLists:
    """``kind`` of guest that is looked for; of others only their number and place are told."""

    def __init__(self, session: Session, kind: Kind) -> None:
        self.session = session
        self.kind = kind
        self._nodes: dict[str, dict[int, dict[str, t.Any]]] = {}
        self._cluster: list[dict[str, t.Any]] | None = None
        #: Nodes that did not tell theirs, and why.
        self._silent: dict[str, HomelabError] = {}

    def find(self, vmids: t.Collection[int], nodes: t.Collection[str], *, whole: bool) -> list[Entry]:
        """Entries of those that are there. ``nodes`` are where they should be; ``whole`` entries have their pool."""
        self._read_nodes(nodes)
        seen = {vmid: entry for node in self._nodes.values() for vmid, entry in node.items() if vmid in vmids}
        if not whole and set(seen) == set(vmids):
            return list(seen.values())
        entries = [entry for entry in self.cluster() if int(entry["vmid"]) in vmids]
        self._read_nodes({str(entry["node"]) for entry in entries if entry.get("type") == self.kind})
        return [self._joined(entry) for entry in entries]

    def named(self, name: str) -> list[Entry]:
        """Guests of this name, as their nodes tell it: the list of the cluster has no name of a new guest yet, and the old
        one of a guest that was renamed. Raises when there is none, and guests of a node that is away have lost their names:
        one of them may be it."""
        ours = [entry for entry in self.cluster() if entry.get("type") == self.kind]
        self._read_nodes({str(entry["node"]) for entry in ours})
        found = [entry for entry in map(self._joined, ours) if str(entry.get("name") or "").lower() == name.lower()]
        if not found:
            self._require_names(name, ours)
        return found

    def _require_names(self, name: str, ours: t.Iterable[Entry]) -> None:
        nameless: dict[str, list[str]] = {}
        for entry in ours:
            if str(entry["node"]) in self._silent and not entry.get("name"):
                nameless.setdefault(str(entry["node"]), []).append(str(entry["vmid"]))
        for node, vmids in nameless.items():
            has = "has no name" if len(vmids) == 1 else "have no names"
            why = f"node {node} does not answer, and {', '.join(vmids)} {has} without it"
            raise Unreachable(
                f"look for the {_KINDS[self.kind]} {name!r}",
                of=self.session.of,
                answer=f"{why} ({self._silent[node].answer})",
                hint="One of them may have that name. Give the vmid, or run again when the node is back.",
            )

    def cluster(self) -> list[dict[str, t.Any]]:
        if self._cluster is None:
            query = {"type": "vm"}
            self._cluster = listing(
                self.session, "/cluster/resources", "vmid", query, asked="list the guests of the cluster"
            )
        return self._cluster

    def completed(self, state: VmState) -> VmState:
        """With its pool and what high availability wants of it."""
        for entry in self.cluster():
            if int(entry["vmid"]) == state.vmid:
                pool, ha = str(entry.get("pool") or ""), str(entry.get("hastate") or "")
                return dataclasses.replace(state, pool=pool, ha=ha)
        return state

    def _joined(self, entry: Entry) -> Entry:
        now = self._nodes.get(str(entry["node"]), {}).get(int(entry["vmid"]))
        return {**entry, **now} if now else entry

    def _read_nodes(self, nodes: t.Collection[str]) -> None:
        missing = sorted(set(nodes) - set(self._nodes))
        for node, found in zip(missing, together(self._on, missing), strict=True):
            self._nodes[node] = found

    def _on(self, node: str) -> dict[int, dict[str, t.Any]]:
        """Empty when the node is not there: who needs it says so."""
        path = f"/nodes/{segment(node)}/{self.kind}"
        try:
            found = listing(self.session, path, "vmid", asked=f"list the guests of node {node}")
        except HomelabError as error:
            if not (error.retryable or "hostname lookup" in error.answer):
                raise
            self._silent[node] = error
            return {}
        return {int(entry["vmid"]): {**entry, "node": node, "type": self.kind, "now": True} for entry in found}
