# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab of this session and what is installed in it. Nothing here skips: what is missing is built, or is an error."""

from __future__ import annotations

import collections.abc as c
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from controllerlab import ControllerLab
from installs import install_argocd, install_flux, install_sealed_secrets


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> c.Iterator[ControllerLab]:
    """One node, Ready, with a real API server; nothing installed."""
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root: run `make test-controllers`, which sees to it")
    made = ControllerLab(tmp_path_factory.mktemp("controllers"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def sealed_secrets(lab: ControllerLab) -> ControllerLab:
    """With the sealed-secrets controller in kube-system."""
    install_sealed_secrets(lab)
    return lab


@pytest.fixture(scope="session")
def flux(lab: ControllerLab) -> ControllerLab:
    """With Flux's source, kustomize and helm controllers in flux-system."""
    install_flux(lab)
    return lab


@pytest.fixture(scope="session")
def argocd(lab: ControllerLab) -> ControllerLab:
    """With Argo CD's core (redis, repo-server, application-controller) in argocd."""
    install_argocd(lab)
    return lab
