# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's container runtime: pulls the lab's images, gives pods a network and their containers a process."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import typing as t

from .. import arguments, credentials
from ..client import KubeClient
from ..node import Node
from ..pki import private_file
from .delivery import Undelivered
from .images import Image, image_of
from .materials import Facts, Materials, Volume, expanded
from .pod_network import PodNetwork
from .process import ContainerProcess
from .support import BUNDLES, Support

Pod = t.Mapping[str, t.Any]
Spec = t.Mapping[str, t.Any]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PACKAGES = str(pathlib.Path(__file__).resolve().parents[3])


@dataclasses.dataclass
class _Sandbox:
    """What a pod's containers share."""

    directory: pathlib.Path
    network: PodNetwork | None
    processes: dict[str, ContainerProcess] = dataclasses.field(default_factory=dict)
    logs: dict[str, ContainerProcess] = dataclasses.field(default_factory=dict)


class Runtime:
    """``node`` is taken anew at each use: its configuration may change."""

    def __init__(self, node: t.Callable[[], Node], support: Support) -> None:
        self._node, self._support = node, support
        self._sandboxes: dict[str, _Sandbox] = {}

    def image(self, pod: Pod, reference: str) -> Image | None:
        """What the lab has of this image, None when its containers are only played."""
        return image_of(pod, reference)

    async def pull(self, image: Image) -> None:
        """Raises :class:`~simlab.cluster.containers.delivery.Undelivered`."""
        for program in image.programs.values():
            await self._support.delivery.deliver(program)

    async def run(self, client: KubeClient, pod: Pod, container: Spec, image: Image, address: str) -> ContainerProcess:
        """Start a container. ``address`` is the pod's. Raises KubeError, NetworkFailed, Undelivered, Unsupported."""
        node = self._node()
        facts = Facts(address, node.address, node.name)
        materials = Materials(client, pod, facts)
        self._support.wanted(credentials.accepted_authorities(node.config)).set()
        sandbox = await self._sandbox(pod, address)
        environment = await materials.environment(container)
        mounts = self._mounts(sandbox, await materials.volumes(), container)
        argv = _words(container, image, environment)
        files = await self._files(image)
        env = {"PATH": _PATH, "HOME": "/root", "HOSTNAME": _hostname(node, pod), **image.environment}
        env |= self._service_environment() | environment
        root = sandbox.directory / "root" / str(container["name"])
        root.mkdir(parents=True, exist_ok=True)
        spec = {
            "root": str(root),
            "directories": [image.directory],
            "binds": [*files, *mounts],
            "links": [[target, name] for name, target in image.links.items()],
            "files": self._system_files(pod, address),
            "scripts": dict(image.scripts),
            "hostname": _hostname(node, pod),
            "argv": argv,
            "env": env,
            "cwd": str(container.get("workingDir") or image.directory),
        }
        path = private_file(sandbox.directory / f"{container['name']}.json", json.dumps(spec))
        started = ContainerProcess(await self._spawn(sandbox, path))
        sandbox.processes[str(container["name"])] = sandbox.logs[str(container["name"])] = started
        return started

    async def stop(self, uid: str, grace: float) -> None:
        """The pod's containers end, then its network; what it wrote is gone."""
        sandbox = self._sandboxes.pop(uid, None)
        if sandbox is None:
            return
        await asyncio.gather(*(process.stop(grace) for process in sandbox.processes.values()))
        if sandbox.network is not None:
            await sandbox.network.stop()
        await asyncio.to_thread(shutil.rmtree, sandbox.directory, True)

    async def stop_all(self) -> None:
        """At once, as when the machine loses power."""
        await asyncio.gather(*(self.stop(uid, 0.0) for uid in list(self._sandboxes)))

    def log(self, uid: str, container: str) -> list[str] | None:
        """What the container's process has written, None when none was started."""
        sandbox = self._sandboxes.get(uid)
        process = sandbox.logs.get(container) if sandbox else None
        return None if process is None else list(process.lines)

    # --- inside ---
    async def _sandbox(self, pod: Pod, address: str) -> _Sandbox:
        node, uid = self._node(), str(pod["metadata"]["uid"])
        if uid not in self._sandboxes:
            directory = node.runtime / "pods" / uid
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            network = None if pod["spec"].get("hostNetwork") else PodNetwork(node.machine.namespace, uid, address)
            self._sandboxes[uid] = _Sandbox(directory, network)
            if network is not None:
                try:
                    await network.start()
                except BaseException:
                    await network.stop()
                    self._sandboxes.pop(uid, None)
                    raise
        return self._sandboxes[uid]

    async def _spawn(self, sandbox: _Sandbox, spec: pathlib.Path) -> asyncio.subprocess.Process:
        argv = [sys.executable, "-S", "-m", "simlab.contained", str(spec)]
        place = sandbox.network or self._node().machine.namespace
        return await place.spawn(
            argv,
            env={"PYTHONPATH": _PACKAGES, "PATH": os.environ.get("PATH", _PATH)},
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
            start_new_session=True,  # so that its children go with it
        )

    async def _files(self, image: Image) -> list[list[str]]:
        """The image's programs, and the certificates that containers trust."""
        programs = [
            [str(await self._support.delivery.deliver(program)), path] for path, program in image.programs.items()
        ]
        return programs + [[str(self._support.trusted), path] for path in BUNDLES]

    def _mounts(self, sandbox: _Sandbox, volumes: t.Mapping[str, Volume], container: Spec) -> list[list[str]]:
        found = []
        for mount in container.get("volumeMounts") or ():
            name, part = str(mount["name"]), str(mount.get("subPath") or "")
            directory = self._volume(sandbox, name, volumes[name])
            source = directory / part if part else directory
            if part and not source.exists():
                source.mkdir(parents=True)
            found.append([str(source), str(mount["mountPath"])])
        return found

    def _volume(self, sandbox: _Sandbox, name: str, volume: Volume) -> pathlib.Path:
        if volume.kept:
            directory = self._node().directory / "lib/kubelet/volumes" / volume.kept
        else:
            directory = sandbox.directory / "volumes" / name
        directory.mkdir(parents=True, exist_ok=True)
        for relative, content in volume.files.items():
            path = directory / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        return directory

    def _service_environment(self) -> dict[str, str]:
        addresses = arguments.service_addresses(self._node(), 1)
        return {"KUBERNETES_SERVICE_HOST": addresses[0], "KUBERNETES_SERVICE_PORT": "443"} if addresses else {}

    def _system_files(self, pod: Pod, address: str) -> dict[str, str]:
        node = self._node()
        domain, namespace = arguments.dns_domain(node), pod["metadata"]["namespace"]
        servers = arguments.service_addresses(node, 10)[:1]
        search = f"search {namespace}.svc.{domain} svc.{domain} {domain}"
        return {
            "/etc/resolv.conf": "\n".join([search, *(f"nameserver {s}" for s in servers), "options ndots:5", ""]),
            "/etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{address} {pod['metadata']['name']}\n",
            "/etc/nsswitch.conf": "hosts: files dns\n",
            "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
            "/etc/group": "root:x:0:\n",
        }


def _hostname(node: Node, pod: Pod) -> str:
    spec = pod["spec"]
    name = node.name if spec.get("hostNetwork") else str(spec.get("hostname") or pod["metadata"]["name"])
    return name[:63].rstrip("-.")


def _words(container: Spec, image: Image, environment: t.Mapping[str, str]) -> list[str]:
    words = [*(container.get("command") or image.entrypoint), *(container.get("args") or ())]
    if not words:
        raise Undelivered("no command, and the image has none")
    return [expanded(str(word), environment) for word in words]
