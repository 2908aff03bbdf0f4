# SPDX-License-Identifier: GPL-3.0-or-later
"""The judges of the Kubernetes room: upstream's manifests, kubectl and kustomize, and the API server of the integration tests."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

TESTS = pathlib.Path(__file__).parents[2]
sys.path[:0] = [
    str(pathlib.Path(__file__).parents[1]),
    str(pathlib.Path(__file__).parent),
    str(TESTS / "unit/kubernetes"),
]

_spec = importlib.util.spec_from_file_location("k8s_server", TESTS / "integration/kubernetes/conftest.py")
if _spec is None or _spec.loader is None:
    raise ImportError("tests/integration/kubernetes/conftest.py")
k8s_server = importlib.util.module_from_spec(_spec)
sys.modules["k8s_server"] = k8s_server
_spec.loader.exec_module(k8s_server)

api_server = k8s_server.api_server
lab = k8s_server.lab
