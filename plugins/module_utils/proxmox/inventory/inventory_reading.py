# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory asks for: one list for all guests, and more facts about those that matter, a few at a time.

A guest, an agent or a node that does not answer costs its own facts only, and is said. That the API itself cannot be
reached, or no longer knows who asks, is raised.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import typing as t

from ...errors import AccessDenied, HomelabError, NotFound, Unauthenticated, Unreachable
from ..api import propertystring as ps
from ..api.lanes import together
from ..api.session import NoRecords, Session, listing, record, records_in, segment
from ..api.transport import POOL
from ..snapshots.snapshot_list import snapshots
from . import inventory_guests as guests_of
from .inventory_guests import Guest

#: ``config``: one request a guest; ``agent``: one more for each that runs and has an agent; ``snapshots``: one a
#: guest; ``status``: one for each node and kind of guest.
TIERS = ("config", "agent", "snapshots", "status")

#: What is asked of a guest and answered with a list of things that have names.
_LISTS = ("snapshot", "interfaces")

Facts = dict[str, t.Any]


@dataclasses.dataclass
class Reading:
    """What was read, in the form in which a cache keeps it. ``offline``: node -> why. ``problems``: what went wrong ->
    the guests (``qemu/101``). ``facts``: guest -> tier -> what the API says of it.
    """

    guests: list[Guest] = dataclasses.field(default_factory=list)
    offline: dict[str, str] = dataclasses.field(default_factory=dict)
    facts: dict[str, Facts] = dataclasses.field(default_factory=dict)
    problems: dict[str, list[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Silence:
    """Agents that did not answer: guest -> when, in seconds since the epoch. Remembered for ``seconds``."""

    seconds: float
    now: float
    agents: dict[str, float] = dataclasses.field(default_factory=dict)

    def of(self, guest: Guest) -> bool:
        """Whether to leave the agent alone; one that was started since is asked."""
        since = self.agents.get(guest.id)
        if since is None or not 0 <= self.now - since < self.seconds:
            return False
        return not guest.uptime or self.now - guest.uptime <= since


class Reader:
    """``connect`` is called when something is asked for, so that a reading from a cache costs nothing. ``at_once`` is how
    many requests wait for their answers at a time."""

    def __init__(
        self, connect: t.Callable[[], Session], reading: Reading, silence: Silence, *, at_once: int = POOL
    ) -> None:
        self._connect = connect
        self._at_once = at_once
        self._reading = reading
        self._silence = silence
        self._lock = threading.Lock()
        self._broken = threading.Event()

    @functools.cached_property
    def _session(self) -> Session:
        return self._connect()

    # -- all guests ------------------------------------------------------------------------------------------------

    def list_guests(self) -> None:
        """One request; more only for guests of which the cluster tells nothing but their id."""
        rows = self._session.get("/cluster/resources", {"type": "vm"}, asked="list the guests of the cluster")
        found = guests_of.parse(rows, of=self._session.of)
        if any(guest.unnamed for guest in found):
            found = self._named(found)
        self._reading.guests = found

    def _named(self, found: list[Guest]) -> list[Guest]:
        """The status daemon is ten seconds late, a node's own list never is; an offline node tells nothing."""
        self._look_for_offline_nodes()
        parts = sorted({(guest.node, guest.kind) for guest in found if guest.unnamed})
        lists = dict(zip(parts, together(lambda part: self._of_node(*part), parts), strict=True))

        def look(guest: Guest) -> Guest:
            entry = lists.get((guest.node, guest.kind), {}).get(guest.vmid)
            return guests_of.completed(guest, entry) if guest.unnamed and entry is not None else guest

        return [look(guest) for guest in found]

    def _look_for_offline_nodes(self) -> None:
        for entry in listing(self._session, "/nodes", "node", asked="list the nodes"):
            if entry.get("status") == "offline":
                self._reading.offline[str(entry["node"])] = "the cluster says that it is offline"

    def _of_node(self, node: str, kind: str) -> dict[int, Facts]:
        """What a node says of its guests now, by id; empty when it cannot be asked."""
        if node in self._reading.offline:
            return {}
        query = {"full": 1} if kind == "qemu" else {}
        try:
            path, asked = f"/nodes/{segment(node)}/{kind}", f"list the {kind} guests of node {node}"
            answer = listing(self._session, path, "vmid", query, asked=asked)
        except HomelabError as error:
            if not self._node_is_gone(node, error):
                self._problem(f"{error.message}", f"node/{node}")
            return {}
        return {int(entry["vmid"]): entry for entry in answer}

    # -- facts -----------------------------------------------------------------------------------------------------

    def add_facts(self, of: t.Sequence[Guest], tiers: t.Collection[str]) -> None:
        """For each of these guests that has none yet; where it is now, if it has moved since it was listed."""
        self._add_facts(of, tiers)
        self._add_facts(self._moved(), tiers)
        gone = self._gone()
        self._reading.guests = [guest for guest in self._reading.guests if guest.id not in gone]

    def _gone(self) -> set[str]:
        return {guest_id for guest_id, facts in self._reading.facts.items() if facts.get("gone")}

    def _moved(self) -> list[Guest]:
        """Those that their nodes do not know (any more), but the cluster has on another one. Their place is taken over."""
        gone = self._gone() & {guest.id for guest in self._reading.guests}
        if not gone:
            return []
        rows = self._session.get("/cluster/resources", {"type": "vm"}, asked="list the guests of the cluster")
        nodes = {guest.id: guest.node for guest in guests_of.parse(rows, of=self._session.of) if guest.id in gone}
        moved = [
            dataclasses.replace(guest, node=nodes[guest.id])
            for guest in self._reading.guests
            if nodes.get(guest.id, guest.node) != guest.node
        ]
        places = {guest.id: guest for guest in moved}
        self._reading.guests = [places.get(guest.id, guest) for guest in self._reading.guests]
        for guest in moved:
            del self._reading.facts[guest.id]
        return moved

    def _add_facts(self, of: t.Sequence[Guest], tiers: t.Collection[str]) -> None:
        wanted = [guest for guest in of if guest.id not in self._reading.facts]
        for guest in wanted:
            self._reading.facts[guest.id] = {}
        if "status" in tiers:
            self._add_status(wanted)
        asking = [
            functools.partial(self._unless_broken, work, guest) for work in self._works(tiers) for guest in wanted
        ]
        together(lambda ask: ask(), asking, at_once=self._at_once)

    def _works(self, tiers: t.Collection[str]) -> t.Iterator[t.Callable[[Guest], None]]:
        """What is asked of each guest, in one request after the other; several of them may be asked at a time."""
        if "agent" in tiers:
            yield self._add_config_and_interfaces
        elif "config" in tiers:
            yield self._add_config
        if "snapshots" in tiers:
            yield self._add_snapshots

    def _add_status(self, of: t.Sequence[Guest]) -> None:
        parts = sorted({(guest.node, guest.kind) for guest in of})
        lists = dict(zip(parts, together(lambda part: self._of_node(*part), parts), strict=True))
        for guest in of:
            entry = lists[guest.node, guest.kind].get(guest.vmid)
            if entry is not None:
                self._reading.facts[guest.id]["status"] = entry

    def _unless_broken(self, work: t.Callable[[Guest], None], guest: Guest) -> None:
        """When the API itself fails, the other guests are not tried, each with its patience."""
        if self._broken.is_set():
            return
        try:
            work(guest)
        except HomelabError:
            self._broken.set()
            raise

    def _add_config(self, guest: Guest) -> None:
        config = self._ask(guest, "config", "read the configuration")
        if config is not None:
            self._reading.facts[guest.id]["config"] = config

    def _add_config_and_interfaces(self, guest: Guest) -> None:
        self._add_config(guest)
        if guest.status == "running" and "config" in self._reading.facts[guest.id]:
            self._add_interfaces(guest, self._reading.facts[guest.id])

    def _add_snapshots(self, guest: Guest) -> None:
        found = self._ask(guest, "snapshot", "list the snapshots")
        if found is not None:
            self._reading.facts[guest.id]["snapshots"] = snapshots(found)

    def _ask(self, guest: Guest, about: str, what: str) -> t.Any:
        """None, and said, when this guest or its node cannot answer."""
        if guest.node in self._reading.offline:
            return None
        try:
            path, asked = _path(guest, about), f"{what} of {guest.id} on node {guest.node}"
            if about not in _LISTS:
                return record(self._session, path, asked=asked)
            found = self._session.get(path, asked=asked)  # nothing at all of a container that has just stopped
            return None if found is None else records_in(self._session, found, "name", asked=asked)
        except NotFound:
            self._reading.facts[guest.id]["gone"] = True
        except HomelabError as error:
            if not self._node_is_gone(guest.node, error):
                self._problem(_in_general(error, what), guest.id)
        return None

    def _add_interfaces(self, guest: Guest, facts: Facts) -> None:
        if guest.kind == "lxc":
            found = self._ask(guest, "interfaces", "list the interfaces")
            if found is not None:
                facts["interfaces"] = found
        elif _has_agent(facts["config"]) and not self._silence.of(guest) and guest.node not in self._reading.offline:
            self._ask_agent(guest, facts)

    def _ask_agent(self, guest: Guest, facts: Facts) -> None:
        """An agent that does not answer is nothing to warn of: the guest may not have one, or not yet."""
        try:
            path = _path(guest, "agent/network-get-interfaces")
            asked = f"ask the agent of {guest.id} on node {guest.node}"
            answer = self._told(record(self._session, path, asked=asked).get("result"), asked)
        except (AccessDenied, NoRecords) as error:
            self._problem(_in_general(error, "ask the agent"), guest.id)
            return
        except Unauthenticated:
            raise
        except HomelabError as error:
            if isinstance(error, Unreachable) and "no answer within" not in error.answer:
                if not self._node_is_gone(guest.node, error):
                    raise
                return
            answer = None
        if answer is not None:
            facts["interfaces"] = answer
            self._silence.agents.pop(guest.id, None)
        else:
            with self._lock:
                self._silence.agents[guest.id] = self._silence.now

    def _told(self, result: t.Any, asked: str) -> list[dict[str, t.Any]] | None:
        """None for what an old agent on Windows answers: an object with an error."""
        return None if isinstance(result, dict) else records_in(self._session, result, "name", asked=asked)

    def _node_is_gone(self, node: str, error: HomelabError) -> bool:
        """Whether the node did not answer, rather than the API. Raises what concerns the API as a whole."""
        if isinstance(error, Unauthenticated):
            raise error
        if not isinstance(error, Unreachable):
            return False
        if "status" not in error.details and "no answer within" not in error.answer:
            raise error
        with self._lock:
            self._reading.offline.setdefault(node, error.answer)
        return True

    def _problem(self, what: str, guest_id: str) -> None:
        with self._lock:
            self._reading.problems.setdefault(what, []).append(guest_id)


def _path(guest: Guest, about: str) -> str:
    return f"/nodes/{segment(guest.node)}/{guest.kind}/{guest.vmid}/{about}"


def _has_agent(config: t.Mapping[str, t.Any]) -> bool:
    return ps.flag(ps.parse(str(config.get("agent") or ""), "enabled").get("enabled", "0")) == "1"


def _in_general(error: HomelabError, what: str) -> str:
    """The same words for all guests that meet the same error, without their numbers."""
    if isinstance(error, AccessDenied) and error.details.get("rights"):
        rights = " or ".join(error.details["rights"])
        return f"Could not {what}: the right {rights} is missing"
    return f"Could not {what}: {error.answer.rstrip('.')}"
