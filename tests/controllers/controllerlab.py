# SPDX-License-Identifier: GPL-3.0-or-later
"""One node of the simulated lab for the whole session: real API server, real controllers as its containers.

Everything of the simulator runs in a thread; tests call it from outside, as a person at the lab would: over HTTPS with a
kubeconfig. What lies in ``lab.site`` is served by the lab's internet as ``https://git.lab.test/…``: Git repositories,
charts, files.
"""

from __future__ import annotations

import asyncio
import collections.abc as c
import contextlib
import dataclasses
import functools
import json
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

import yaml

from ansible_collections.groundwork.homelab.plugins.module_utils.task import Task, execute
from simlab import binaries
from simlab.authority import Authority
from simlab.cluster import KubernetesNode, credentials
from simlab.cluster.behaviour import Behaviours
from simlab.cluster.client import KubeClient, KubeError, talos_client
from simlab.cluster.containers.delivery import Delivery
from simlab.cluster.containers.support import Support
from simlab.mirror.releases import Releases
from simlab.mirror.server import MirrorServer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "simulator" / "cluster"))

from netlab import Network, machine_config

T = t.TypeVar("T")
HOST = "git.lab.test"
_ROUTER = "10.99.0.1"
Object = dict[str, t.Any]


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="simulated lab", daemon=True)
        self._thread.start()

    def run(self, coroutine: c.Coroutine[t.Any, t.Any, T], timeout: float = 60.0) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)


class ControllerLab:
    """``kubeconfig`` is an administrator's; ``site`` the folder that the lab's internet serves."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.site = directory / "site"
        self.site.mkdir()
        (directory / "secrets").mkdir()
        self.kubeconfig = directory / "kubeconfig"
        self.warnings: list[str] = []
        self.loop = Loop()
        self.network = Network(directory / "network")
        self.authority = Authority(directory / "secrets")
        releases = Releases(binaries.module_folder)
        self.mirror = MirrorServer([], {HOST: self.site}, self.network.ledger, self.network.faults, releases)
        bundle = directory / "trusted.pem"
        bundle.write_text(self.authority.certificate)
        self.support = Support(
            Delivery(lambda program: program.build(_say)),
            bundle,
            addresses=lambda name: [_ROUTER] if name in self.mirror.names else [],
            announce=self._announce,
        )
        config = machine_config()
        config["cluster"]["allowSchedulingOnControlPlanes"] = True
        self.node = dataclasses.replace(self.network.node(11, config), containers=self.support)
        self.client: KubeClient

    # --- start and end ---
    def start(self) -> None:
        self.loop.run(self._start(), 120)
        self.until(lambda: self.kubernetes.describe()["kubelet"]["ready"], "the node is Ready", 120)

    async def _start(self) -> None:
        secure, plain = (self.network.switch.listen(_ROUTER, port) for port in (443, 80))
        await self.mirror.start(secure, plain, self.authority.server_context(*self.mirror.names))
        self.kubernetes = KubernetesNode(self.node, Behaviours())
        self.client = talos_client(self.node)
        await self.kubernetes.start_kubelet()
        if self.kubernetes.etcd is None:
            raise RuntimeError("not a control plane node")
        await asyncio.gather(self.kubernetes.etcd.start_new(), self.kubernetes.start_control_plane())
        self._forwarder = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        port = self._forwarder.sockets[0].getsockname()[1]
        config = yaml.safe_load(credentials.admin_kubeconfig(self.node.config))
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self.kubeconfig.chmod(0o600)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.loop.run(self._close(), 60)
        self.network.close()
        self.loop.close()

    async def _close(self) -> None:
        self._forwarder.close()
        await self.kubernetes.power_off()
        await self.client.close()
        await self.mirror.stop()

    async def _announce(self, subnet: str, address: str) -> None:
        self.network.switch.ip("route", "replace", subnet, "via", address)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the test's own network to the API server."""

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    target.write(data)
                    await target.drain()
            target.close()

        with contextlib.suppress(OSError, asyncio.TimeoutError):
            sock = await self.node.machine.namespace.connect(self.node.address, 6443)
            far_reader, far_writer = await asyncio.open_connection(sock=sock)
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    # --- what tests ask ---
    def run(self, module: t.Any, *, check: bool = False, **params: t.Any) -> Object:
        """A module's core with its defaults, as the controller of this cluster. The result as Ansible gets it."""
        if "kubeconfig" in module.SPEC.argument_spec:
            params = {"kubeconfig": str(self.kubeconfig), **params}
        task = Task(
            params=_with_defaults(module.SPEC.argument_spec, params),
            check_mode=check,
            diff_mode=True,
            warn=self.warnings.append,
            progress=lambda text: None,
            secrets=set(),
        )
        return t.cast("Object", execute(module.run, task))

    def call(self, method: str, path: str, body: t.Any = None, **keywords: t.Any) -> Object:
        """Raises KubeError."""
        return self.loop.run(self.client.call(method, path, body, **keywords))

    def get(self, path: str) -> Object | None:
        return self.loop.run(self.client.get(path))

    def apply(self, *documents: Object) -> None:
        """Server-side apply, in the given order; a kind that is not served yet is waited for."""
        from simlab.cluster.client import APPLY
        from simlab.cluster.discovery import Discovery

        async def one(document: Object) -> None:
            for attempt in range(60):
                try:
                    path, _ = await Discovery(self.client).path(document)
                    query = {"fieldManager": "tests", "force": "true"}
                    await self.client.call("PATCH", path, document, content_type=APPLY, query=query)
                    return
                except (LookupError, KubeError) as error:
                    if attempt == 59 or (isinstance(error, KubeError) and error.code not in (404, 0, 429, 500)):
                        raise
                    await asyncio.sleep(0.25)

        for document in documents:
            self.loop.run(one(document), 60)

    def until(self, condition: c.Callable[[], T | None], what: str, timeout: float = 60.0) -> T:
        """The first true answer; an error says what was waited for, and what the lab has to say."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"after {timeout:.0f} s: not {what}\n{self.story()}")

    def ready(self, path: str, timeout: float = 120.0) -> Object:
        """A Deployment or StatefulSet with all its replicas ready."""

        def condition() -> Object | None:
            found = self.get(path)
            wanted = ((found or {}).get("spec") or {}).get("replicas", 1)
            status = (found or {}).get("status") or {}
            whole = status.get("readyReplicas", 0) == wanted == status.get("updatedReplicas", 0)
            return found if whole and status.get("observedGeneration") == found["metadata"]["generation"] else None

        return self.until(condition, f"{path} is ready", timeout) or {}

    def condition(self, path: str, kind: str = "Ready", status: str = "True", timeout: float = 90.0) -> Object:
        """The condition of an object, once it has that status for the object's newest generation."""

        def look() -> Object | None:
            found = self.get(path) or {}
            for one in (found.get("status") or {}).get("conditions") or ():
                seen = one.get("observedGeneration", (found["status"]).get("observedGeneration"))
                current = seen in (None, found["metadata"]["generation"])
                if one["type"] == kind and one["status"] == status and current:
                    return one
            return None

        return (
            self.until(look, f"{path} has {kind}={status}: {json.dumps((self.get(path) or {}).get('status'))}", timeout)
            or {}
        )

    def says(self, path: str, words: str, kind: str = "Ready", status: str = "False", timeout: float = 90.0) -> Object:
        """The condition, once its message holds these words: what comes first is often that nothing is known yet."""

        def look() -> Object | None:
            conditions = ((self.get(path) or {}).get("status") or {}).get("conditions") or ()
            found = [one for one in conditions if one["type"] == kind and one["status"] == status]
            return found[0] if found and words in found[0]["message"] else None

        return self.until(look, f"{path} has {kind}={status} with {words!r}", timeout)

    def log(self, namespace: str, prefix: str, lines: int = 40) -> str:
        """The end of the logs of pods whose name begins so."""
        found = []
        for pod in self.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]:
            if pod["metadata"]["name"].startswith(prefix):
                for container in pod["spec"]["containers"]:
                    log = self.kubernetes.kubelet.runtime.log(pod["metadata"]["uid"], container["name"])
                    found += (log or [])[-lines:]
        return "\n".join(found)

    def story(self) -> str:
        """Pods that are not ready, warnings, and problems of the node: for a failed test."""
        told = [str(self.kubernetes.kubelet.problem or "")]
        for pod in self.call("GET", "/api/v1/pods")["items"]:
            states = [one for one in pod["status"].get("containerStatuses") or () if not one["ready"]]
            if states and pod["status"].get("phase") != "Succeeded":
                meta = pod["metadata"]
                told.append(f"{meta['namespace']}/{meta['name']}: {[one['state'] for one in states]}")
                told.append(self.log(meta["namespace"], meta["name"], 8))
        for event in self.call("GET", "/api/v1/events")["items"][-200:]:
            if event["type"] == "Warning":
                told.append(f"{event['involvedObject'].get('name')}: {event['reason']}: {event['message']}")
        return "\n".join(told[-60:])

    def program(
        self, name: str, *words: str, stdin: str = "", timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """One of the lab's programs (``kubeseal``), with the lab's kubeconfig."""
        path = binaries.PROGRAMS[name].build(_say)
        env = {"KUBECONFIG": str(self.kubeconfig), "PATH": "/usr/bin:/bin", "HOME": str(self.directory)}
        return subprocess.run(
            [str(path), *words], input=stdin, env=env, capture_output=True, text=True, timeout=timeout, check=False
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _with_defaults(spec: t.Mapping[str, t.Any], given: Object) -> Object:
    """As Ansible fills in what a task leaves out, in suboptions too."""
    found = {name: given.get(name, option.get("default")) for name, option in spec.items()}
    for name, option in spec.items():
        if option.get("options") and isinstance(found[name], list):
            found[name] = [_with_defaults(option["options"], one) for one in found[name]]
    return found


@functools.cache
def module_folder(module: str) -> pathlib.Path:
    """Where the Go module lies that one of the lab's programs is made of: its manifests, charts, CRDs."""
    return binaries.module_folder(module)


def documents(path: pathlib.Path) -> list[Object]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]
