# SPDX-License-Identifier: GPL-3.0-or-later
"""One boot of a node: everything that a power cycle forgets."""

from __future__ import annotations

import asyncio
import collections
import collections.abc as c
import hashlib
import time
import typing as t
import uuid

from . import network, pki
from .events import Events
from .machineconfig import MachineConfig
from .resources import Resources
from .services import Services

if t.TYPE_CHECKING:
    from .node import TalosNode
    from .workload import Workload

_LOG_LINES = 2000
_STABLE = "abcdefghijklmnopqrstuvwxyz0123456789"


class Runtime:
    """State of the running machine: stage, services, resources, events, logs, the active configuration."""

    def __init__(self, node: TalosNode) -> None:
        self.node = node
        self.boot_id = str(uuid.uuid4())
        self.resources = Resources()
        self.events = Events()
        self.services = Services(self.events, self.resources, self.update_status)
        self.stage = "booting"
        self.config: MachineConfig | None = None
        self.persistent: MachineConfig | None = None
        #: An apply since this boot: only then there is a resource ``persistent``.
        self.applied = False
        #: Whether an apply that reboots was accepted: no other is, until then.
        self.locked = False
        self.applying = False
        self.maintenance_ca: pki.Pair | None = None
        self.trying: asyncio.Task[None] | None = None
        #: The reboot, shutdown or reset under way, and the end of the pods that all of them wait for.
        self.way_out: asyncio.Task[None] | None = None
        self.pods_ending: asyncio.Task[None] | None = None
        self.booted_at = time.time()
        #: Wakes the sequence that waits in maintenance for a configuration.
        self.configured = asyncio.Event()
        self.network = network.Plan(())
        self.held: list[str] = []
        self.hostname = ""
        self.sequence_done = False
        self.workload: Workload | None = None
        self.logs: dict[str, collections.deque[str]] = collections.defaultdict(
            lambda: collections.deque(maxlen=_LOG_LINES)
        )
        self._tasks: set[asyncio.Task[t.Any]] = set()

    # --- tasks
    def run(self, coroutine: c.Coroutine[t.Any, t.Any, t.Any]) -> asyncio.Task[t.Any]:
        """A task that ends with this boot."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[t.Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.node.problem(f"{type(error).__name__}: {error}", error)

    def cancel(self) -> None:
        """End every task of this boot but the one that calls."""
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    async def played(self, seconds: float) -> None:
        """Let lab time pass."""
        await asyncio.sleep(seconds * self.node.machine.time_scale)

    # --- status
    def set_stage(self, stage: str) -> None:
        self.stage = stage
        self.update_status()

    def unmet(self) -> list[tuple[str, str]]:
        """Conditions that keep the machine from being ready: (name, reason)."""
        if self.stage in (
            "maintenance",
            "rebooting",
            "shutting down",
            "resetting",
            "installing",
        ):
            return []
        found = []
        if not self.network.addresses:
            found.append(("network", "waiting on: address, connectivity"))
        problems = [self._problem(name) for name in self._required()]
        if any(problems):
            found.append(("services", ", ".join(problem for problem in problems if problem)))
        if self.config is not None and self.config.complete:
            found += self.workload.unmet() if self.workload else [self._no_node()]
        return found

    def _no_node(self) -> tuple[str, str]:
        return ("nodeReady", f'node "{self.hostname}" status is not available yet')

    def _required(self) -> list[str]:
        if self.config is None or not self.config.complete:
            return ["apid", "machined"]
        return [
            "apid",
            "machined",
            "kubelet",
            *(("etcd", "trustd") if self.config.control_plane else ()),
        ]

    def _problem(self, name: str) -> str:
        service = self.services.get(name)
        if service is None or not service.running:
            return f"{name} not running"
        return "" if service.healthy else f"{name} not healthy"

    def update_status(self) -> None:
        """MachineStatus, and its event when it changed."""
        unmet = self.unmet()
        spec = {
            "stage": self.stage,
            "status": {
                "ready": not unmet,
                "unmetConditions": [{"name": name, "reason": reason} for name, reason in unmet],
            },
        }
        type_ = "MachineStatuses.runtime.talos.dev"
        old = self.resources.get("runtime", type_, "machine")
        new = self.resources.put("runtime", type_, "machine", spec, owner="runtime.MachineStatusController")
        if new is not old:
            self._tell(unmet)

    def _tell(self, unmet: list[tuple[str, str]]) -> None:
        stage = self.stage.upper().replace(" ", "_")
        conditions = [{"name": name, "reason": reason} for name, reason in unmet]
        self.events.tell(
            "MachineStatusEvent",
            stage=stage,
            status={"ready": not unmet, "unmet_conditions": conditions},
        )

    # --- names
    def choose_hostname(self) -> str:
        """The config's name, else the platform's or the lease's, else the stable one made from the machine's UUID."""
        wanted = (self.config.hostname if self.config else "") or self.network.hostname
        return wanted.partition(".")[0] if wanted else self._stable_name()

    def _stable_name(self) -> str:
        digest = hashlib.sha256(self.node.machine.guest.uuid.encode()).digest()
        letters = "".join(
            _STABLE[byte % 26] if index % 3 == 0 else _STABLE[byte % 36] for index, byte in enumerate(digest)
        )
        return f"talos-{letters[:3]}-{letters[3:6]}"

    def log(self, service: str, line: str) -> None:
        self.logs[service].append(line)
