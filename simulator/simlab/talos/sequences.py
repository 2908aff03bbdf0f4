# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's sequences: initialize, install, boot, reboot, shutdown, reset. Times are lab time, measured on real nodes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import pathlib
import shutil
import typing as t

from . import documents, network, pki, publish
from .machineconfig import MachineConfig
from .runtime import Runtime
from .workload import Workload

if t.TYPE_CHECKING:
    from .node import TalosNode

#: Seconds of lab time.
FIRMWARE, SERVICE, INSTALL, LISTENER_GAP, NODE_READY_LIMIT = 8.0, 0.5, 40.0, 0.3, 300.0
_POLL = 0.05

_FIRST = ("machined", "containerd")
#: The order in which a real node's services were seen to stop.
_STOPPED_FIRST = ("trustd", "machined", "apid", "containerd", "kubelet", "cri")
_METAL_ONLY = ("udevd", "auditd", "syslogd", "dashboard")


async def power_on(node: TalosNode) -> None:
    """From the firmware on. Returns when the node runs, or has nothing to boot."""
    runtime = node.begin()
    await runtime.played(FIRMWARE)
    if node.image.medium == "disk" and node.storage.wiped:
        node.problem("no bootable device: the system disk was wiped")
        return
    await _initialize(runtime)
    config = _load_state(runtime)
    if config is None or not config.complete:
        await _maintenance(runtime, config)
    else:
        await adopt(runtime, config)
    if await _install_if_needed(runtime):
        return
    await _boot(runtime)


# --- initialize
async def _initialize(runtime: Runtime) -> None:
    with _Sequence(runtime, "initialize") as sequence:
        sequence.phase("machined", "startContainerd", "startMachined", "startApid")
        runtime.update_status()
        extra = _METAL_ONLY if runtime.node.mode != "container" else ()
        for name in (*_FIRST, *extra):
            runtime.services.starting(name)
            runtime.services.preparing(name)
            runtime.services.running(name)
        runtime.services.starting("apid")
        await runtime.played(SERVICE)
        for name in (*_FIRST, *extra):
            runtime.services.health(name, True)
        await bring_up_network(runtime)
        sequence.phase("config", "loadConfig")


def _load_state(runtime: Runtime) -> MachineConfig | None:
    text = runtime.node.storage.read_config()
    if text is None:
        return None
    try:
        return documents.load(text)
    except documents.ConfigError as error:
        runtime.events.tell("ConfigLoadErrorEvent", error=str(error))
        runtime.node.problem(f"the configuration on STATE cannot be read: {error}")
        return None


async def bring_up_network(runtime: Runtime) -> None:
    """Addresses and names as the active configuration wants them."""
    node = runtime.node
    wanted = network.plan(node.machine, node.image.platform, runtime.config)
    await network.apply(node.machine, wanted)
    runtime.network = wanted
    runtime.hostname = runtime.choose_hostname()
    publish.system(runtime)
    publish.network(runtime)
    runtime.events.tell("AddressEvent", hostname=runtime.hostname, addresses=node.addresses())
    runtime.update_status()


# --- maintenance
async def _maintenance(runtime: Runtime, partial: MachineConfig | None) -> None:
    if partial is not None:
        runtime.config = partial
        await bring_up_network(runtime)
    runtime.set_stage("maintenance")
    await runtime.node.serve_maintenance(runtime)
    _apid_up(runtime)
    runtime.run(apid_health(runtime))
    await runtime.configured.wait()


async def leave_maintenance(runtime: Runtime, config: MachineConfig) -> None:
    """A complete configuration has come: the maintenance listener goes, the sequence goes on."""
    await asyncio.sleep(0.02)  # the answer to the apply is on its way
    await runtime.node.stop_api(at_once=False)
    runtime.set_stage("booting")
    await adopt(runtime, config)
    runtime.configured.set()


async def renew_maintenance(runtime: Runtime) -> None:
    """A partial configuration has changed names or addresses: the certificate is issued anew."""
    await asyncio.sleep(0.02)
    await bring_up_network(runtime)
    await runtime.node.serve_maintenance(runtime)


async def adopt(runtime: Runtime, config: MachineConfig) -> None:
    """Make a configuration the active one, before or after the node has booted."""
    runtime.config = config
    publish.configuration(runtime)
    await bring_up_network(runtime)


# --- install and boot
async def _install_if_needed(runtime: Runtime) -> bool:
    """True when an installation has ended in a reboot, which is another boot."""
    node = runtime.node
    with _Sequence(runtime, "install"):
        if node.storage.installed or node.mode == "container":
            return False
        runtime.set_stage("installing")
        runtime.run(_serve_configured(runtime))
        await runtime.played(INSTALL)
        node.storage.install(node.image)
        if runtime.config is not None:
            node.storage.write_config(runtime.config.text)
    await reboot(runtime, "")
    return True


async def _boot(runtime: Runtime) -> None:
    with _Sequence(runtime, "boot") as sequence:
        for phase in (
            "memorySizeCheck",
            "diskSizeCheck",
            "env",
            "dbus",
            "sharedFilesystems",
        ):
            sequence.phase(phase, phase)
        sequence.phase("ephemeral", "mountEphemeralPartition")
        publish.boot(runtime)
        runtime.run(_serve_configured(runtime))
        await _start_services(runtime, sequence)
        sequence.phase("uncordon", "uncordonNode")
    runtime.sequence_done = True
    runtime.set_stage("running")


async def _serve_configured(runtime: Runtime) -> None:
    """apid with a certificate of the cluster; a worker has to wait until trustd of a control plane node gives it one."""
    node, config = runtime.node, runtime.config
    if config is None:
        return
    await runtime.played(LISTENER_GAP)
    while not config.control_plane and not node.settings.registry.trustd_for(node):
        text = "failed to get API service config: resource APIServiceConfigs.runtime.talos.dev(runtime/apid@undefined) doesn't exist"
        runtime.services.health("apid", False, text)
        await asyncio.sleep(_POLL)
    try:
        await node.serve_mutual(runtime)
    except ValueError as error:
        runtime.services.health("apid", False, f"failed to generate API server certificate: {error}")
        node.problem(f"apid does not start: {error}")
        return
    _apid_up(runtime)
    await apid_health(runtime)
    publish.members(runtime)


async def _start_services(runtime: Runtime, sequence: _Sequence) -> None:
    config = runtime.config
    if config is None:
        return
    names = ["cri", *(["trustd"] if config.control_plane else [])]
    names += [f"ext-{name}" for name in _extension_services(runtime)]
    sequence.phase("startEverything", "startAllServices")
    for name in names:
        runtime.services.starting(name)
        runtime.services.preparing(name)
    await runtime.played(SERVICE)
    for name in names:
        runtime.services.running(name)
    await runtime.played(SERVICE)
    for name in names:
        runtime.services.health(name, True)
    runtime.workload = Workload(runtime)
    await runtime.workload.start()
    await _until(lambda: not [name for name, _ in runtime.unmet() if name == "services"], None)
    await _until(
        lambda: not [name for name, _ in runtime.unmet() if name == "nodeReady"],
        NODE_READY_LIMIT,
    )


def _extension_services(runtime: Runtime) -> list[str]:
    extensions = runtime.node.settings.extensions(runtime.node.image.schematic)
    return [name.rpartition("/")[2] for name in extensions if name.endswith("-agent")]


async def _until(condition: t.Callable[[], bool], limit: float | None) -> None:
    waited = 0.0
    while not condition() and (limit is None or waited < limit):
        await asyncio.sleep(_POLL)
        waited += _POLL


def _apid_up(runtime: Runtime) -> None:
    service = runtime.services.get("apid")
    if service is not None and not service.running:
        runtime.services.preparing("apid")
        runtime.services.running("apid")


async def apid_health(runtime: Runtime) -> None:
    await runtime.played(SERVICE)
    runtime.services.health("apid", True)


# --- the ways out
def take_over(runtime: Runtime, sequence: t.Coroutine[t.Any, t.Any, None]) -> None:
    """Begin when the answer is on its way. One that is under way is given up first, and says so in an event."""
    runtime.way_out = runtime.run(_in_place_of(runtime.way_out, sequence))


async def _in_place_of(before: asyncio.Task[None] | None, sequence: t.Coroutine[t.Any, t.Any, None]) -> None:
    try:
        await asyncio.sleep(0.02)
        if before is not None and not before.done():
            before.cancel()
            await asyncio.wait([before])
        await sequence
    finally:
        sequence.close()


async def stop_everything(runtime: Runtime, sequence_name: str, actor: str = "") -> None:
    """Pods and the kubelet, D-Bus, services, then the API: the common end of reboot, shutdown and reset. The events are
    those of a real node, in its order; the stage changes when the first task has begun.
    """
    stages = {"reboot": "rebooting", "shutdown": "shutting down", "reset": "resetting"}
    with _Sequence(runtime, sequence_name, actor) as sequence:
        with sequence.task("cleanup", "stopAllPods"):
            runtime.set_stage(stages[sequence_name])
            await runtime.played(0.2)
            _stop(runtime, "kubelet")
            await _end_pods(runtime)
            await runtime.played(0.8)
        sequence.phase("dbus", "stopDBus")
        with sequence.task("stopEverything", "stopAllServices"):
            for name in [*_STOPPED_FIRST, *(service.id for service in runtime.services.all())]:
                _stop(runtime, name)
    await asyncio.sleep(0.02)
    await runtime.node.stop_api(at_once=True)


async def _end_pods(runtime: Runtime) -> None:
    """Once: a sequence that takes over waits for what the one before has begun."""
    if runtime.workload is not None and runtime.pods_ending is None:
        runtime.pods_ending = runtime.run(runtime.workload.shut_down())
    if runtime.pods_ending is not None:
        await asyncio.shield(runtime.pods_ending)


def _stop(runtime: Runtime, name: str) -> None:
    service = runtime.services.get(name)
    if service is not None and service.running:
        runtime.services.stopping(name)
        runtime.services.finished(name)


async def reboot(runtime: Runtime, actor: str) -> None:
    """Stop everything and boot again: another boot id, another certificate."""
    node = runtime.node
    await stop_everything(runtime, "reboot", actor)
    node.settings.registry.release_all(node)
    node.restart()
    runtime.cancel()


async def shutdown(runtime: Runtime, actor: str) -> None:
    await stop_everything(runtime, "shutdown", actor)
    runtime.node.halt()
    runtime.cancel()


@dataclasses.dataclass(frozen=True)
class Reset:
    """What a reset shall do: labels to wipe, none for the whole system disk if that is meant; folders of user disks."""

    graceful: bool
    restart: bool
    labels: tuple[str, ...]
    system_disk: bool = True
    disks: tuple[pathlib.Path, ...] = ()


async def reset(runtime: Runtime, wanted: Reset, actor: str) -> None:
    node = runtime.node
    runtime.set_stage("resetting")
    if wanted.graceful and runtime.workload is not None:
        with contextlib.suppress(Exception):
            await runtime.workload.leave_etcd()
    if node.mode == "container":
        await _leave_container(runtime, actor)
        return
    await stop_everything(runtime, "reset", actor)
    for disk in wanted.disks:
        shutil.rmtree(disk / "data", ignore_errors=True)
    if wanted.system_disk and not wanted.labels:
        node.storage.wipe_all()
    for label in wanted.labels if wanted.system_disk else ():
        node.storage.wipe(label)
    node.settings.registry.release_all(node)
    if wanted.restart:
        node.restart()
    else:
        node.halt()
    runtime.cancel()


async def _leave_container(runtime: Runtime, actor: str) -> None:
    """A container has no disk to wipe and cannot start itself again: its services stop, and it is off."""
    with _Sequence(runtime, "reset", actor) as sequence:
        with sequence.task("stopEverything", "stopAllServices"):
            await _end_pods(runtime)
            for name in [*_STOPPED_FIRST, *(service.id for service in runtime.services.all())]:
                _stop(runtime, name)
        sequence.phase("shutdown", "shutdown")
    await asyncio.sleep(0.02)
    await runtime.node.stop_api(at_once=True)
    runtime.node.halt()
    runtime.cancel()


# --- names that others need
def virtual_wanted(runtime: Runtime) -> list[str]:
    """Virtual addresses that this node may hold."""
    if runtime.config is None or not runtime.config.control_plane:
        return []
    return [address for address, _ in network.virtual_addresses(runtime.node.machine, runtime.config)]


def issuing_ca(node: TalosNode, config: MachineConfig) -> pki.Pair:
    """The CA that signs this node's certificate: its own, or that of a control plane node (trustd)."""
    candidates = [config.ca()]
    for other in node.settings.registry.control_planes(config.cluster_key):
        if other.powered and other.runtime.config is not None:
            candidates.append(other.runtime.config.ca())
    found = next((pair for pair in candidates if pki.usable(pair)), None)
    if found is None:
        raise ValueError("the machine CA is not a certificate with its key")
    return found


class _Sequence:
    """Start and stop events of a sequence, and of the phases and tasks in it."""

    def __init__(self, runtime: Runtime, name: str, actor: str = "") -> None:
        self._events, self._name, self._actor = runtime.events, name, actor
        self._phases = 0

    def __enter__(self) -> _Sequence:
        self._events.tell("SequenceEvent", self._actor, sequence=self._name, action="START")
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._events.tell("SequenceEvent", self._actor, sequence=self._name, action="STOP")
        if isinstance(error, asyncio.CancelledError) and self._actor:
            where = f"error running phase {self._phases} in {self._name} sequence: task 1/1: failed, context canceled"
            problem = {"message": f"sequence failed: {where}"}
            self._events.tell("SequenceEvent", self._actor, sequence=self._name, error=problem)

    @contextlib.contextmanager
    def task(self, phase: str, name: str) -> t.Iterator[None]:
        """A phase of one task that takes its time."""
        self._phases += 1
        self._events.tell("PhaseEvent", self._actor, phase=phase, action="START")
        self._events.tell("TaskEvent", self._actor, task=name, action="START")
        try:
            yield
        finally:
            self._events.tell("TaskEvent", self._actor, task=name, action="STOP")
            self._events.tell("PhaseEvent", self._actor, phase=phase, action="STOP")

    def phase(self, name: str, *tasks: str) -> None:
        self._phases += 1
        self._events.tell("PhaseEvent", self._actor, phase=name, action="START")
        for task in tasks:
            self._events.tell("TaskEvent", self._actor, task=task, action="START")
            self._events.tell("TaskEvent", self._actor, task=task, action="STOP")
        self._events.tell("PhaseEvent", self._actor, phase=name, action="STOP")
