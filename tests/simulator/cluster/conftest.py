# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: a network of namespaces, an event loop, a running one-node cluster."""

from __future__ import annotations

import collections.abc as c
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from clusterlab import Cluster, Loop
from netlab import Network, machine_config


@pytest.fixture(scope="session")
def loop() -> c.Iterator[Loop]:
    made = Loop()
    yield made
    made.loop.run_until_complete(made.loop.shutdown_asyncgens())
    made.loop.close()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> c.Iterator[Network]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root here: run the tests under `unshare -Urn --mount`")
    made = Network(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def cluster(loop: Loop, network: Network) -> c.Iterator[Cluster]:
    """One control plane node that takes workloads, Ready."""
    config = machine_config()
    config["cluster"]["allowSchedulingOnControlPlanes"] = True
    made = Cluster(loop, network, 11, config)
    loop.run(made.start())
    loop.until(made.ready, "node Ready", 60.0)
    yield made
    made.close()
