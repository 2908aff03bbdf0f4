# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drain of one node: evict what leaves, again while a budget forbids it, until it is gone or the time is over."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ..errors import Conflict, NotFound, WaitTimeout
from ..plan import Change
from ..waiting import Backoff, Deadline, Pending, wait_for
from . import drain
from .answers import Guarded
from .client import Client, Object
from .discovery import Resource
from .pods import PODS
from .together import together

BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", True)

#: Pauses between two looks at the node's pods.
PAUSES = Backoff(first=0.1, factor=1.5, most=2.0)
#: Pauses between two evictions of one pod that a budget forbids. Seconds.
AGAIN = Backoff(first=0.5, factor=2.0, most=5.0)


def pods_of(client: Client, node: str, options: drain.Options) -> list[Object]:
    """The pods of a node, in all namespaces: one request."""
    query = {"fieldSelector": f"spec.nodeName={node}"}
    if options.selector:
        query["labelSelector"] = options.selector
    return client.list(PODS, **query)


@dataclasses.dataclass
class Leaving:
    """A pod on its way. ``refused``: how often its budget said no, ``since`` when, ``again`` not before; of the deadline's
    clock, in seconds."""

    pod: Object
    told: bool = False
    refused: int = 0
    since: float = 0.0
    again: float = 0.0
    answer: str = ""
    pauses: t.Iterator[float] = dataclasses.field(default_factory=AGAIN.pauses)

    @property
    def name(self) -> str:
        meta = self.pod["metadata"]
        return f"{meta['namespace']}/{meta['name']}"


class Drain:
    """One node. ``made`` has the changes that were made, the planned ones and those of pods that came meanwhile."""

    def __init__(self, client: Client, node: str, options: drain.Options, warn: t.Callable[[str], None]) -> None:
        self.client = client
        self.node = node
        self.options = options
        self.warn = warn
        self.made: list[Change] = []
        self.left: dict[str, Leaving] = {}
        #: Pods that came after the plan and must not be evicted.
        self._newcomers: set[str] = set()

    def run(self, planned: t.Sequence[Change], deadline: Deadline) -> None:
        """Until none of them is there any more. Raises WaitTimeout that names what blocks it."""
        self.deadline = deadline
        self.changes = {change.operation["metadata"]["uid"]: change for change in planned}
        self._look(pods_of(self.client, self.node, self.options))
        try:
            wait_for(
                f"node {self.node} drained",
                self._check,
                deadline=deadline,
                of=self.client.of,
                progress=self.client.progress,
                backoff=PAUSES,
                hint=f"Node {self.node} stays cordoned. Run it again to go on, or set schedulable to give up.",
            )
        except WaitTimeout as error:
            error.details["blocked"] = self._blocked()
            raise

    def _check(self) -> bool | Pending:
        due = [one for one in self.left.values() if not one.told and one.again <= self.deadline.elapsed()]
        together(self._evict, due)
        if self.left:
            self._look(pods_of(self.client, self.node, self.options))
        if not self.left:
            return True
        reasons = [f"pod {entry['pod']}: {entry['reason']}" for entry in self._blocked()]
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        return Pending("; ".join(reasons[:3]) + more)

    def _look(self, pods: list[Object]) -> None:
        """Forget the pods that are gone, and take in those that came meanwhile."""
        now = datetime.datetime.now(datetime.timezone.utc)
        here = {str(pod["metadata"]["uid"]): pod for pod in pods}
        for uid in [uid for uid in self.left if uid not in here]:
            del self.left[uid]
        for uid, pod in here.items():
            verdict = drain.judge(pod, self.options, ())
            if verdict.fate == "leaving" and self._given_up(pod, now):
                self.left.pop(uid, None)
            elif uid in self.left:
                self.left[uid].pod = pod
            elif verdict.fate in ("leave", "leaving") or uid in self.changes:
                self.left[uid] = Leaving(pod, told=verdict.fate == "leaving")
            elif verdict.fate == "forbidden" and uid not in self._newcomers:
                self._newcomers.add(uid)
                self.warn(f"Pod {verdict.name} came to node {self.node} meanwhile and stays there: {verdict.why}.")

    def _given_up(self, pod: Object, now: datetime.datetime) -> bool:
        after = self.options.skip_after
        if after is None or drain.overdue(pod, now) < after:
            return False
        self.warn(f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']} {drain.terminating(pod, now)}.")
        return True

    def _evict(self, one: Leaving) -> None:
        try:
            evict(self.client, one.pod, self.options)
        except Guarded as error:
            now = self.deadline.elapsed()
            one.since = one.since or now
            one.refused, one.answer = one.refused + 1, error.answer
            one.again = now + next(one.pauses)
            return
        one.told = True
        uid = one.pod["metadata"]["uid"]
        self.made.append(self.changes.get(uid) or drain.change_of(one.pod, self.node, self.options, ()))

    def _blocked(self) -> list[dict[str, t.Any]]:
        """Each pod that is left, with its reason, for how long it has been so, and the budget if there is one."""
        now = datetime.datetime.now(datetime.timezone.utc)
        found = []
        for one in sorted(self.left.values(), key=lambda one: one.name):
            entry: dict[str, t.Any] = {"pod": one.name}
            if one.told:
                entry["reason"] = drain.terminating(one.pod, now)
            elif one.refused:
                seconds = self.deadline.elapsed() - one.since
                entry["reason"] = f"{self._budget(one)} ({one.refused} times refused in {seconds:.0f} s)"
                entry["seconds"] = round(seconds, 1)
            else:
                entry["reason"] = "it is about to be evicted"
            found.append(entry)
        return found

    def _budget(self, one: Leaving) -> str:
        """The server's words name the budget, but not its namespace."""
        namespace = one.pod["metadata"]["namespace"]
        return f"in namespace {namespace}, {one.answer[:1].lower()}{one.answer[1:]}"


def evict(client: Client, pod: Object, options: drain.Options) -> None:
    """Ask for a pod's end; one that is gone, or has a successor of the same name, is fine. Raises :class:`Guarded`."""
    meta = pod["metadata"]
    more: Object = {"preconditions": {"uid": meta["uid"]}}
    if options.grace is not None:
        more["gracePeriodSeconds"] = options.grace
    try:
        if options.bypass_budgets:
            client.delete(PODS, meta["namespace"], meta["name"], more=more)
            return
        name = {"name": meta["name"], "namespace": meta["namespace"]}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": name, "deleteOptions": more}
        path = f"{PODS.path(meta['namespace'], meta['name'])}/eviction"
        client.create(path, body, f"evict pod {meta['namespace']}/{meta['name']}")
    except NotFound:
        return
    except Guarded:
        raise
    except Conflict as error:
        if "precondition" not in error.answer.lower():
            raise
