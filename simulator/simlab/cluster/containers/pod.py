# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of one pod that are processes: what the played pod asks of them."""

from __future__ import annotations

import asyncio
import collections.abc as c
import typing as t

from ...contracts import Namespace
from ..client import KubeClient, KubeError
from ..pod_status import Container, Pod, waiting
from .delivery import Undelivered
from .images import Image, is_other_version
from .materials import Unsupported
from .pod_network import NetworkFailed
from .process import CALM, EAGER, ContainerProcess, probe
from .runtime import Runtime

#: Real seconds between two tries to create a container, and those that one may take to end.
AGAIN, GRACE = 1.0, 5.0
#: Failed probes in a row until a container that was ready is not.
_FAILURES = 3


class Host(t.Protocol):
    """What is needed of the kubelet."""

    runtime: Runtime | None

    @property
    def client(self) -> KubeClient: ...

    @property
    def address(self) -> str: ...

    @property
    def place(self) -> Namespace: ...

    def pod_address(self, uid: str) -> str | None: ...

    async def event(self, pod: Pod, kind: str, reason: str, message: str) -> None: ...


class RealContainers:
    """``push`` tells the API server what has changed."""

    def __init__(self, host: Host, pod: Pod, push: c.Callable[[], c.Awaitable[None]]) -> None:
        self._host, self._pod, self._push = host, pod, push

    def image(self, container: Container) -> Image | None:
        """What the lab has of the container's image, None when the container is only played."""
        runtime = self._host.runtime
        return runtime.image(self._pod, container.image) if runtime is not None else None

    async def pull(self, container: Container) -> str | None:
        """Why the image does not come, None when it is there."""
        image, runtime = self.image(container), self._host.runtime
        if image is None or runtime is None:
            return None
        try:
            await runtime.pull(image)
        except Undelivered as error:
            return f"the lab cannot build it: {error}"
        if is_other_version(image, container.image):
            text = f'The lab runs version {image.version} as image "{container.image}"'
            await self._host.event(self._pod, "Normal", "Pulled", text)
        return None

    async def run(self, container: Container) -> tuple[int, str]:
        """Start the container's process and wait for its end: exit status and last words. Keeps the readiness."""
        process = await self._created(container)
        keeping = asyncio.create_task(self._keep_ready(container), name=f"readiness of {container.name}")
        try:
            return await process.wait(), process.last_words()
        finally:
            keeping.cancel()
            container.ready = False

    async def stop(self, grace: float) -> None:
        if self._host.runtime is not None:
            await self._host.runtime.stop(str(self._pod["metadata"]["uid"]), min(grace, GRACE))

    # --- inside ---
    def _spec(self, container: Container) -> t.Mapping[str, t.Any]:
        spec = self._pod["spec"]
        every = [*(spec.get("initContainers") or ()), *spec["containers"]]
        return t.cast("t.Mapping[str, t.Any]", next(one for one in every if one["name"] == container.name))

    @property
    def _address(self) -> str:
        if self._pod["spec"].get("hostNetwork"):
            return self._host.address
        return self._host.pod_address(str(self._pod["metadata"]["uid"])) or ""

    async def _created(self, container: Container) -> ContainerProcess:
        image, runtime = self.image(container), self._host.runtime
        while True:
            try:
                if image is None or runtime is None:
                    raise Unsupported(f"no image {container.image}")
                spec = self._spec(container)
                return await runtime.run(self._host.client, self._pod, spec, image, self._address)
            except (KubeError, NetworkFailed, OSError, Undelivered, Unsupported) as error:
                before, container.state = container.state, waiting("CreateContainerError", str(error))
                await self._push()
                await self._host.event(self._pod, "Warning", "Failed", f"Error: {error}")
                await asyncio.sleep(AGAIN)
                container.state = before

    async def _keep_ready(self, container: Container) -> None:
        """Only main containers and sidecars; a container without a probe is ready as long as it runs."""
        if container.init and not container.sidecar:
            return
        failed = 0
        while True:
            answered = await probe(self._host.place, self._address, self._spec(container))
            failed = 0 if answered else failed + 1
            ready = answered or (container.ready and failed < _FAILURES)
            if ready != container.ready:
                container.ready = ready
                await self._push()
            await asyncio.sleep(CALM if ready and not failed else EAGER)
