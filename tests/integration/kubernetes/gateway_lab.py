# SPDX-License-Identifier: GPL-3.0-or-later
"""The Gateway API on the tests' API server: its definitions as published, and Cilium's controller as the lab plays it."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

ROOT = pathlib.Path(__file__).parents[3]
sys.path.append(str(ROOT / "tests/simulator/played"))

import gomodules

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.discovery import KNOWN
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kubeconfig import load

Object = dict[str, t.Any]

GROUP = "gateway.networking.k8s.io"
OWNER = "io.cilium.gateway/owning-gateway"


def definitions(channel: str = "standard") -> list[Object]:
    """Without the policy that keeps one channel from taking the place of the other."""
    folder = gomodules.folder(gomodules.GATEWAY_API) / "config/crd" / channel
    found = gomodules.definitions(folder)
    return [one for one in found if one["kind"] == "CustomResourceDefinition"]


CLASS: Object = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "cilium"},
    "spec": {"controllerName": "io.cilium/gateway-controller"},
}


class Addresses(threading.Thread):
    """Gives the Services of Gateways an address, of documentation's own (RFC 5737). The played LB-IPAM would take the other
    tests' Services for its own too."""

    def __init__(self, kubeconfig: pathlib.Path) -> None:
        super().__init__(daemon=True)
        access = load(str(kubeconfig), None)
        self.client = Client(dataclasses.replace(access, headers={**access.headers, "user-agent": "test"}))
        self.stopped = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopped.wait(0.2):
            for one in self.client.list(KNOWN["v1", "Service"], labelSelector=OWNER):
                if not (one["status"].get("loadBalancer") or {}).get("ingress"):
                    number += 1
                    self._give(one["metadata"], f"192.0.2.{number % 250 + 1}")

    def _give(self, meta: Object, address: str) -> None:
        path = KNOWN["v1", "Service"].path(meta["namespace"], meta["name"])
        body = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        kind = "application/merge-patch+json"
        self.client.transport.send("PATCH", f"{path}/status", "give an address", body=body, content_type=kind)


@contextlib.contextmanager
def controllers(kubeconfig: pathlib.Path, log: pathlib.Path) -> t.Iterator[None]:
    """The played controller in a process of its own, which ends with its input."""
    addresses = Addresses(kubeconfig)
    addresses.start()
    argv = [sys.executable, "-m", "simlab.cluster.played", "--kubeconfig", str(kubeconfig), "gateway"]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=ROOT / "simulator")
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError(f"the played controllers ended: {log.read_text()[-2000:]}")
        finally:
            addresses.stopped.set()
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def gateway_api(server: t.Any, apply: t.Callable[[list[Object]], Object], log: pathlib.Path) -> t.Iterator[None]:
    """All of it, with ``apply`` for what is to be there; the controllers' words go to ``log``."""
    for objects in (definitions(), [CLASS]):
        done = apply(objects)
        if done.get("failed"):
            raise RuntimeError(done["msg"])
    with controllers(server.kubeconfig, log):
        yield


def until(check: t.Callable[[], t.Any], seconds: float = 20.0) -> t.Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")
