# SPDX-License-Identifier: GPL-3.0-or-later
"""The Gateway API on the tests' API server: its definitions as published, and Cilium's controllers as the lab plays them."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
import time
import typing as t

ROOT = pathlib.Path(__file__).parents[3]
sys.path.append(str(ROOT / "tests/simulator/played"))

import gomodules

from simlab.cluster.played import cilium_crds

Object = dict[str, t.Any]

GROUP = "gateway.networking.k8s.io"
#: Addresses that the played LB-IPAM gives; documentation's own (RFC 5737).
POOL = "192.0.2.0/26"


def definitions(directory: pathlib.Path, channel: str = "standard") -> list[Object]:
    """Without the policy that keeps one channel from taking the place of the other."""
    folder = gomodules.folder(gomodules.GATEWAY_API, directory) / "config/crd" / channel
    found = gomodules.definitions(folder)
    return [one for one in found if one["kind"] == "CustomResourceDefinition"]


def surroundings() -> list[Object]:
    """What the played Cilium needs besides: its pool of addresses and its class."""
    pool = {"blocks": [{"cidr": POOL}], "serviceSelector": {"matchExpressions": [OF_GATEWAYS]}}
    return [
        {"apiVersion": "cilium.io/v2", "kind": "CiliumLoadBalancerIPPool", "metadata": {"name": "lab"}, "spec": pool},
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "cilium"},
            "spec": {"controllerName": "io.cilium/gateway-controller"},
        },
    ]


#: Other Services get no address: there are tests of waiting for one.
OF_GATEWAYS = {"key": "io.cilium.gateway/owning-gateway", "operator": "Exists"}


@contextlib.contextmanager
def controllers(kubeconfig: pathlib.Path, log: pathlib.Path) -> t.Iterator[None]:
    """The played controllers in a process of their own, which ends with its input."""
    argv = [sys.executable, "-m", "simlab.cluster.played", "--kubeconfig", str(kubeconfig), "lbipam", "gateway"]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=ROOT / "simulator")
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError(f"the played controllers ended: {log.read_text()[-2000:]}")
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def gateway_api(server: t.Any, apply: t.Callable[[list[Object]], Object], folder: pathlib.Path) -> t.Iterator[None]:
    """All of it, with ``apply`` for what is to be there."""
    pools = [one for one in cilium_crds.definitions() if "loadbalancerippool" in one["metadata"]["name"]]
    for objects in (definitions(folder) + pools, surroundings()):
        done = apply(objects)
        if done.get("failed"):
            raise RuntimeError(done["msg"])
    with controllers(server.kubeconfig, folder / "played.log"):
        yield


def until(check: t.Callable[[], t.Any], seconds: float = 20.0) -> t.Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")
