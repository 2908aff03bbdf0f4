# SPDX-License-Identifier: GPL-3.0-or-later
"""kube-apiserver, kube-controller-manager and kube-scheduler as Talos's static pods: real processes."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import os
import pathlib
import typing as t

from . import arguments, static_pods
from .arguments import API_SERVER, COMPONENTS, CONTROLLER_MANAGER
from .audit import AuditLog
from .client import KubeClient, KubeError, talos_client
from .node import Node
from .pki import private_file
from .process import Supervised

#: The minor versions that the lab's one program can be (``--emulated-version``), newest last.
NEWEST_MINOR, EMULATED_MINORS = 36, 3
#: Real seconds that the other components wait for the API server before they start anyhow.
_PATIENCE = 15.0
#: The lab's own wishes for the processes' garbage collector: less CPU, some more memory.
_ENVIRONMENT = {"GOGC": "200", "HOME": "/nonexistent"}
#: Flags that the lab adds to the processes, not to the static pods, unless the machine config sets them: the API server's
#: port can be shared with the fault proxy (proxy.py); the controller manager's own brake (20 requests a second, which
#: costs 5 s at the first start) is off.
_LAB_FLAGS = {
    API_SERVER: {"permit-port-sharing": "true"},
    CONTROLLER_MANAGER: {"kube-api-qps": "300", "kube-api-burst": "600"},
}


@dataclasses.dataclass(frozen=True)
class StaticPod:
    """One static pod and its only container, as the kubelet knows it."""

    name: str  # "kube-apiserver"; the mirror pod is called "kube-apiserver-<node name>"
    manifest: t.Mapping[str, t.Any]  # the Pod as Talos renders it (StaticPods.kubernetes.talos.dev)
    config_version: str  # annotation talos.dev/config-version: "1", "2", … counts its own configuration
    state: t.Literal["waiting", "running", "terminated"]
    reason: str  # "", "CrashLoopBackOff", "Error", "ContainerCreating"
    ready: bool
    exit_code: int | None  # of the last exit
    restarts: int
    pid: int | None
    started_at: datetime.datetime | None


@dataclasses.dataclass
class _Component:
    process: Supervised
    manifest: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""
    version: int = 0
    problem: str = ""  # why it was not started at all: the reason of the waiting container
    ready: bool = False
    starting: asyncio.Task[None] | None = None

    async def stop(self, *, kill: bool = False) -> None:
        if self.starting is not None:
            self.starting.cancel()
            self.starting = None
        await self.process.stop(kill=kill)
        self.ready = False

    @property
    def wanted(self) -> bool:
        return self.starting is not None or self.process.wanted


class ControlPlane:
    """The static pods of one control plane node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.audit = AuditLog(node)
        self._components = {
            name: _Component(
                Supervised(
                    name,
                    node.machine.namespace,
                    time_scale=node.time_scale,
                    on_line=self.audit.line if name == API_SERVER else None,
                )
            )
            for name in COMPONENTS
        }
        self._client: KubeClient | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._names: list[str] = []  # in the API server's certificate

    async def start(self) -> None:
        """Render and start what the configuration asks for. Returns when the processes run, or have failed to."""
        await self.reconfigure(self.node)
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name=f"readiness {self.node.name}")

    async def reconfigure(self, node: Node) -> list[str]:
        """Restart what the new configuration changes; returns the names of those."""
        self.node = node
        self.audit.node = node
        done = await asyncio.gather(*(self._bring(name) for name in COMPONENTS))
        return [name for name, restarted in zip(COMPONENTS, done, strict=False) if restarted]

    async def stop(self, *, kill: bool = False) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        await asyncio.gather(*(component.stop(kill=kill) for component in self._components.values()))
        for component in self._components.values():
            component.fingerprint = ""
        await self.audit.stop()
        if self._client is not None:
            await self._client.close()
            self._client = None
        self._ready.clear()

    @property
    def started(self) -> bool:
        """Whether :meth:`start` was called and :meth:`stop` not yet."""
        return self._watcher is not None

    def api_server_runs(self) -> bool:
        """Whether its process is there, ready or not."""
        return self._components[API_SERVER].process.running

    async def ready(self) -> bool:
        """Whether this node's API server answers /readyz with 200."""
        try:
            if self._client is None:
                self._client = talos_client(self.node)
            await self._client.text("GET", "/readyz", timeout=2.0)
        except (KubeError, ValueError):
            return False
        return True

    async def wait_ready(self, timeout: float = 60.0) -> bool:
        """False when ``timeout`` seconds pass; a crash loop does not end the wait, as a later config may end it."""
        try:
            await asyncio.wait_for(self._ready.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        return True

    def pods(self) -> list[StaticPod]:
        """In Talos's order; components that the configuration switches off are not there."""
        return [self._pod(name) for name, component in self._components.items() if component.fingerprint]

    def logs(self, name: str, lines: int = 50) -> list[str]:
        """The last lines of a static pod's log (``kube-apiserver``), all of its runs."""
        return list(self._components[name].process.lines)[-lines:]

    def _pod(self, name: str) -> StaticPod:
        component = self._components[name]
        process = component.process
        state: t.Literal["waiting", "running", "terminated"] = "running" if process.running else "waiting"
        reason = component.problem
        if process.in_backoff and process.exit_code is not None:
            reason = "CrashLoopBackOff"
        elif not process.running and not reason:
            reason = "ContainerCreating"
        return StaticPod(
            name=name,
            manifest=component.manifest,
            config_version=str(component.version),
            state=state,
            reason="" if process.running else reason,
            ready=component.ready and process.running,
            exit_code=process.exit_code,
            restarts=process.restarts,
            pid=process.pid,
            started_at=process.started_at,
        )

    async def _bring(self, name: str) -> bool:
        """Make one component what the configuration says; True when its process was started anew."""
        component = self._components[name]
        if not arguments.is_enabled(self.node, name):
            await component.stop()
            component.fingerprint = ""
            return False
        try:
            wanted = static_pods.fingerprint(self.node, name)
            if wanted == component.fingerprint and component.wanted:
                self._renew_certificate(name)
                return False
            manifest = static_pods.manifest(self.node, name, str(component.version + 1))
            files = static_pods.files(self.node, name)
        except ValueError as error:  # Talos's controller fails; the static pod stays as it was
            component.process.say(f"cannot render the static pod: {error}")
            component.problem = component.problem or "CreateContainerConfigError"
            return False
        component.manifest, component.fingerprint = manifest, wanted
        component.version += 1
        await self._restart(name, component, files)
        return True

    def _renew_certificate(self, name: str) -> None:
        """The names of a running API server have changed: it reads the new certificate by itself."""
        if name == API_SERVER and self._names != static_pods.server_names(self.node):
            self._write(static_pods.server_certificate(self.node))

    def _write(self, files: static_pods.Files) -> None:
        for path, text in files.items():
            private_file(pathlib.Path(arguments.host_path(self.node, path)), text)
        self._names = static_pods.server_names(self.node)

    async def _restart(self, name: str, component: _Component, files: static_pods.Files) -> None:
        await component.stop()
        self._write(files)
        pathlib.Path(arguments.host_path(self.node, arguments.AUDIT_LOG)).parent.mkdir(parents=True, exist_ok=True)
        try:
            emulated = emulation(arguments.image(self.node, name))
        except ValueError as error:
            component.problem = "ErrImagePull"
            component.process.say(str(error))
            return
        component.problem = ""
        flags = component.manifest["spec"]["containers"][0]["command"][1:]
        command = [arguments.placed(self.node, name, flag) for flag in flags]
        if name == API_SERVER:
            self.audit.start(command)
            self._ready.clear()
        given = {flag.partition("=")[0][2:] for flag in flags}
        command += [f"--{k}={v}" for k, v in _LAB_FLAGS.get(name, {}).items() if k not in given]
        argv = [str(self.node.program), name, *command, *emulated]
        if name == API_SERVER:
            await component.process.start(argv, self._environment(name))
        else:
            component.starting = asyncio.create_task(self._start_later(name, argv), name=f"start {name}")

    async def _start_later(self, name: str, argv: list[str]) -> None:
        """Controller manager and scheduler exit when they start before the API server is ready, and the kubelet starts
        them again until it is. The lab saves that work: it starts them when the API server is ready, or after a while."""
        await self.wait_ready(_PATIENCE)
        await self._components[name].process.start(argv, self._environment(name))

    def _environment(self, name: str) -> dict[str, str]:
        version = arguments.version_of(arguments.image(self.node, name)) or (1, NEWEST_MINOR, 0)
        own = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "POD_IP": self.node.address,
            "GROUNDWORK_KUBERNETES_VERSION": "v"
            + ".".join(map(str, version)),  # what it reports (controlplane/main.go)
        }
        return own | _ENVIRONMENT | static_pods.environment(self.node, name)

    async def _watch(self) -> None:
        """Keep the pods' readiness: the API server's own /readyz; the others are ready when they run."""
        while True:
            for name, component in self._components.items():
                component.ready = component.process.running and (name != API_SERVER or await self.ready())
            if self._components[API_SERVER].ready:
                self._ready.set()
            else:
                self._ready.clear()
            await asyncio.sleep(2.0 if self._ready.is_set() else 0.1)


def emulation(reference: str) -> list[str]:
    """The flag that makes the lab's program behave as the version of an image tag. Raises ValueError when it cannot."""
    version = arguments.version_of(reference)
    if version is None:
        raise ValueError(f"{reference}: no version in the tag; the lab knows v1.{NEWEST_MINOR}.x images only")
    behind = NEWEST_MINOR - version[1]
    if version[0] != 1 or not 0 <= behind <= EMULATED_MINORS:
        oldest = NEWEST_MINOR - EMULATED_MINORS
        raise ValueError(f"{reference}: the simulated lab runs Kubernetes 1.{oldest} to 1.{NEWEST_MINOR} only")
    return [f"--emulated-version={version[0]}.{version[1]}"] if behind else []
