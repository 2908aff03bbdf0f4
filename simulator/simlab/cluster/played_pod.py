# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of one played pod: volumes, network, init containers, containers, and what goes wrong."""

from __future__ import annotations

import asyncio
import typing as t

from . import pod_needs
from .behaviour import CRASH, IMAGE_PULL, NOT_READY, Behaviours, brings_network, pull_error
from .client import STRATEGIC, KubeClient, KubeError
from .containers.pod import Host as ContainersHost
from .containers.pod import RealContainers
from .effects import Failed, effect_of
from .node import Node
from .node_status import NO_NETWORK, timestamp
from .played import Refused, program_of
from .played.running import running_program
from .pod_status import (
    Container,
    Pod,
    container_id,
    containers_of,
    for_patch,
    pod_status,
    running,
    terminated,
    waiting,
)

#: Lab seconds: until a missing Secret or volume is looked for again, a pull is tried again, a crashed container starts.
LOOK_AGAIN, PULL_BACKOFF, CRASH_BACKOFF, CRASH_AFTER = 2.0, 10.0, 10.0, 1.0
#: No wait of a played container is shorter than this (real seconds), so that a crash loop does not become a busy loop.
SHORTEST = 0.3


class Host(ContainersHost, t.Protocol):
    """What a pod needs of its kubelet."""

    behaviours: Behaviours
    node: Node

    @property
    def client(self) -> KubeClient: ...

    @property
    def address(self) -> str: ...

    @property
    def time_scale(self) -> float: ...

    async def network_ready(self) -> None: ...

    def network_is_ready(self) -> bool: ...

    def bring_network(self) -> None: ...

    def pod_address(self, uid: str) -> str | None: ...

    async def event(self, pod: Pod, kind: str, reason: str, message: str) -> None: ...

    async def service_account_client(self, pod: Pod) -> KubeClient: ...


class PlayedPod:
    """One pod on one node. ``pod`` is the object as the API server last showed it."""

    def __init__(self, host: Host, pod: Pod) -> None:
        self.host, self.pod = host, pod
        self.containers = containers_of(pod)
        self._started = str(pod.get("status", {}).get("startTime") or timestamp())
        self._sandbox = False
        self._last_pushed: dict[str, t.Any] = {}
        self._pushing = asyncio.Lock()
        self._real = RealContainers(host, pod, self._push)
        self._adopt(pod)
        self._task = asyncio.create_task(self._live(), name=f"pod {pod['metadata']['name']}")
        self._ending = False

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    def seen(self, pod: Pod) -> None:
        """The API server shows the pod anew."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp") and not self._ending:
            self._ending = True
            self._task.cancel()
            self._task = asyncio.create_task(self._end(), name=f"end {pod['metadata']['name']}")

    def stop(self) -> None:
        self._task.cancel()

    # --- life ---
    async def _live(self) -> None:
        await self._push()
        if not self.pod["spec"].get("hostNetwork"):
            await self._wait_for_network()
        await self._wait_for_volumes()
        self._sandbox = True
        for container in (c for c in self.containers if c.init):
            await self._start(container)
            if container.sidecar:
                container.ready = True
            elif not await self._finish(container):
                return
        main = [c for c in self.containers if not c.init]
        for container in main:
            container.state = waiting("ContainerCreating") if "waiting" in container.state else container.state
        await asyncio.gather(*(self._run(container) for container in main))

    async def _run(self, container: Container) -> None:
        """A main container, for as long as it should run."""
        while True:
            await self._start(container)
            behaviour = self._behaviour(container)
            if behaviour is None and self._real.image(container) is not None:
                code, said = await self._real.run(container)
                if not await self._crashed(container, code, said):
                    return
                continue
            if behaviour == CRASH:
                await self._sleep(CRASH_AFTER)
                if not await self._crashed(container, 1):
                    return
                continue
            if behaviour != NOT_READY:
                await asyncio.sleep(self.host.behaviours.ready_delay(self.pod) * self.host.time_scale)
                container.ready = True
                if brings_network(container.image):
                    self.host.bring_network()
            await self._push()
            if self.pod["spec"].get("restartPolicy", "Always") == "Always":
                failure = await self._program(container)
                if failure is None or not await self._crashed(container, 1, failure):
                    return
                continue
            if await self._finish(container):
                return

    async def _start(self, container: Container) -> None:
        """Pull the image, resolve the environment, start."""
        await self._pull(container)
        while True:
            missing = await pod_needs.missing_environment(self.host.client, self.pod, container.name)
            if missing is None:
                break
            container.state = waiting("CreateContainerConfigError", missing)
            await self._push()
            await self.host.event(self.pod, "Warning", "Failed", f"Error: {missing}")
            await self._sleep(LOOK_AGAIN)
        container.state = running(timestamp())
        if not container.init or container.sidecar:
            await self._push()

    async def _pull(self, container: Container) -> None:
        backoff = PULL_BACKOFF
        while (cause := await self._not_pulled(container)) is not None:
            image = container.image
            container.state = waiting("ErrImagePull", cause)
            await self._push()
            await self.host.event(self.pod, "Normal", "Pulling", f'Pulling image "{image}"')
            await self.host.event(self.pod, "Warning", "Failed", f'Failed to pull image "{image}": {cause}')
            await self.host.event(self.pod, "Warning", "Failed", "Error: ErrImagePull")
            await self._sleep(1.0)
            container.state = waiting("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {cause}')
            await self._push()
            await self.host.event(self.pod, "Normal", "BackOff", f'Back-off pulling image "{image}"')
            await self.host.event(self.pod, "Warning", "Failed", "Error: ImagePullBackOff")
            await self._sleep(backoff)
            backoff = min(backoff * 2, 300.0)

    async def _not_pulled(self, container: Container) -> str | None:
        if self._behaviour(container) == IMAGE_PULL:
            return pull_error(container.image)
        return await self._real.pull(container) if self._behaviour(container) is None else None

    async def _finish(self, container: Container) -> bool:
        """A container that does its work and ends. False when it failed and is not tried again."""
        while True:
            behaviour = self._behaviour(container)
            if behaviour is None and self._real.image(container) is not None:
                code, said = await self._real.run(container)
                failure = f"exit status {code}: {said}" if code else None
            else:
                await asyncio.sleep((0.5 if container.init else self.host.behaviours.job_after) * self.host.time_scale)
                failure = "told to fail" if behaviour == CRASH else await self._effect(container)
            if failure is None:
                self._terminate(container, 0, "Completed")
                await self._push()
                return True
            if not await self._crashed(container, 1, failure):
                return False
            await self._start(container)

    async def _effect(self, container: Container) -> str | None:
        """What this container's work does to the cluster; the reason when it fails."""
        effect = effect_of(self.pod, container.name)
        if effect is None:
            return None
        try:
            client = await self.host.service_account_client(self.pod)
            try:
                await effect(client, self.pod, container.name)
            finally:
                await client.close()
        except (Failed, KubeError) as error:
            return str(error)
        return None

    async def _program(self, container: Container) -> str | None:
        """Run what this container does all the time, if the lab plays it; the reason when it gives up."""
        program = program_of(self.pod, container.name)
        if program is None:
            return None
        try:
            await running_program(self.host, self.pod, container.name, program)
        except Refused as error:
            return str(error)
        return None

    async def _crashed(self, container: Container, code: int, why: str = "") -> bool:
        """The container has failed; True when it is to be started again, after its back-off."""
        self._terminate(container, code, "Error")
        await self._push()
        if why:
            await self.host.event(self.pod, "Warning", "Failed", why)
        if self.pod["spec"].get("restartPolicy", "Always") == "Never":
            return False
        delay = min(CRASH_BACKOFF * 2 ** min(container.restarts, 5), 300.0)
        meta = self.pod["metadata"]
        place = f"{meta['name']}_{meta['namespace']}({meta['uid']})"
        message = f"back-off {delay:.0f}s restarting failed container={container.name} pod={place}"
        await self._sleep(CRASH_AFTER)
        container.last, container.state = container.state, waiting("CrashLoopBackOff", message)
        await self._push()
        text = f"Back-off restarting failed container {container.name} in pod {place}"
        await self.host.event(self.pod, "Warning", "BackOff", text)
        await self._sleep(delay)
        container.restarts += 1
        return True

    def _terminate(self, container: Container, code: int, reason: str) -> None:
        since = container.state.get("running", {}).get("startedAt", self._started)
        container.state = terminated(code, reason, since, container_id(self.pod, container))
        container.ready = False

    async def _wait_for_network(self) -> None:
        if not self.host.network_is_ready():
            await self.host.event(self.pod, "Warning", "NetworkNotReady", f"network is not ready: {NO_NETWORK}")
        await self.host.network_ready()

    async def _wait_for_volumes(self) -> None:
        while True:
            missing = await pod_needs.missing_volume(self.host.client, self.pod)
            missing = missing or await pod_needs.missing_claim(self.host.client, self.pod)
            if missing is None:
                return
            await self.host.event(self.pod, "Warning", "FailedMount", missing)
            await self._sleep(LOOK_AGAIN)

    async def _end(self) -> None:
        """A deleted pod: its containers stop within the grace period, then the object goes."""
        grace = float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        await self._real.stop(grace)
        await asyncio.sleep(min(grace, 1.0) * self.host.time_scale)
        meta = self.pod["metadata"]
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        while True:
            try:
                await self.host.client.call("DELETE", _path(self.pod), body)
                return
            except KubeError as error:
                if error.code in (404, 409):
                    return
            await asyncio.sleep(1.0)

    # --- inside ---
    def _adopt(self, pod: Pod) -> None:
        """A pod that ran here before the node went away: its containers start again."""
        status = pod.get("status", {})
        before = {
            s["name"]: s for s in [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
        }
        for container in self.containers:
            old = before.get(container.name)
            if old and ("running" in old.get("state", {}) or old.get("restartCount")):
                started = old["state"].get("running", {}).get("startedAt", self._started)
                container.restarts = int(old.get("restartCount", 0)) + 1
                container.last = terminated(255, "Unknown", started, str(old.get("containerID", "")))

    def _behaviour(self, container: Container) -> str | None:
        return self.host.behaviours.of(self.pod, container.image)

    async def _sleep(self, seconds: float) -> None:
        """Lab seconds; those of a back-off never shorter than SHORTEST, so that no crash loop is a busy loop."""
        scaled = seconds * self.host.time_scale
        await asyncio.sleep(max(scaled, SHORTEST) if seconds >= LOOK_AGAIN else scaled)

    async def _push(self) -> None:
        """Tell the API server, if there is news."""
        async with self._pushing:
            spec = self.pod["spec"]
            own = self.host.address if spec.get("hostNetwork") else self.host.pod_address(self.uid)
            status = pod_status(
                self.pod,
                self.containers,
                host=self.host.address,
                address=own if self._sandbox else None,
                started=self._started,
                sandbox=self._sandbox,
            )
            if status == self._last_pushed:
                return
            body = {"metadata": {"uid": self.uid}, "status": for_patch(status)}
            while True:
                try:
                    shown = await self.host.client.call(
                        "PATCH", f"{_path(self.pod)}/status", body, content_type=STRATEGIC
                    )
                    break
                except KubeError as error:
                    if error.code in (404, 409, 422):  # gone, another pod of that name, or not what it was
                        return
                await asyncio.sleep(1.0)
            self._last_pushed = status
            if not self._ending:
                self.pod = shown


def _path(pod: Pod) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
