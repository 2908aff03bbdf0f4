# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster for all tests of played controllers: a node with Cilium, the Gateway API and cert-manager's definitions."""

from __future__ import annotations

import collections.abc as c
import os
import pathlib
import sys

import pytest

for place in (pathlib.Path(__file__).parent, pathlib.Path(__file__).parent.parent / "cluster"):
    sys.path.insert(0, str(place))

import gomodules
from clusterlab import Loop
from netlab import Network, machine_config
from playedlab import PlayedCluster

from simlab.cluster.cilium import install_cilium

CILIUM = (
    "kubeProxyReplacement=true,l2announcements.enabled=true,gatewayAPI.enabled=true,ipam.mode=kubernetes,"
    "operator.replicas=1"
)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> c.Iterator[PlayedCluster]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root here: run the tests under `unshare -Urn --mount`")
    loop = Loop()
    network = Network(tmp_path_factory.mktemp("played"))
    cluster = PlayedCluster(loop, network, 11, _config())
    loop.run(cluster.start())
    try:
        loop.until(cluster.kubernetes.control_plane.ready, "API server ready", 60.0)  # type: ignore[union-attr]
        gateway_api = gomodules.folder(gomodules.GATEWAY_API) / "config/crd"
        cluster.apply(*_of_gateway_api(gateway_api))
        cluster.apply(*gomodules.definitions(gomodules.folder(gomodules.CERT_MANAGER) / "deploy/crds"))
        loop.run(install_cilium(cluster.client, ["--set", CILIUM, "--version", "1.20.2"]))
        loop.until(cluster.ready, "node Ready", 60.0)
        yield cluster
    finally:
        cluster.close()
        network.close()
        loop.run(loop.loop.shutdown_asyncgens())
        loop.loop.close()


def _config() -> dict[str, object]:
    config = machine_config()
    cluster = config["cluster"]
    cluster["allowSchedulingOnControlPlanes"] = True
    cluster["network"]["cni"] = {"name": "none"}
    cluster["proxy"]["disabled"] = True
    return config


def _of_gateway_api(folder: pathlib.Path) -> list[dict[str, object]]:
    """The standard channel's resources, without the policy that keeps newer ones from being replaced by older ones."""
    found = gomodules.definitions(folder / "standard")
    return [one for one in found if one["kind"] == "CustomResourceDefinition"]
