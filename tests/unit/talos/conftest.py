# SPDX-License-Identifier: GPL-3.0-or-later
"""One secrets bundle for all tests: its RSA key takes half a second."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import secrets_bundle


@pytest.fixture(scope="session")
def bundle() -> secrets_bundle.Bundle:
    return secrets_bundle.generate()


@pytest.fixture
def bundle_path(tmp_path: pathlib.Path, bundle: secrets_bundle.Bundle) -> pathlib.Path:
    path = tmp_path / "secrets" / "talos-secrets.yaml"
    secrets_bundle.create(path, bundle)
    return path
