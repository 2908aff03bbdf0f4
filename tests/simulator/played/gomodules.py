# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of custom resources as their projects publish them: files in Go modules, pinned by their checksums."""

from __future__ import annotations

import pathlib
import typing as t

import yaml

from simlab import binaries

#: Module, version: the checksum that go.sum would have.
GATEWAY_API = ("sigs.k8s.io/gateway-api", "v1.6.1", "h1:mock6phZbI6rvZerwrVNk7hVNymQgHo+6sJ81Ia7ftY=")
CERT_MANAGER = ("github.com/cert-manager/cert-manager", "v1.21.2", "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=")
ARGO_CD = ("github.com/argoproj/argo-cd/v3", "v3.5.7", "h1:Xm1BF+I5OgDKUG3SDK49vn2/Y5AMyaNVko+/JT08gj0=")
SOURCE_CONTROLLER = (
    "github.com/fluxcd/source-controller",
    "v1.9.3",
    "h1:Zj1gfvK/2MFIm/K3vh5fSHoJBoggLKMuLWf5ZEmaF0w=",
)
KUSTOMIZE_CONTROLLER = (
    "github.com/fluxcd/kustomize-controller",
    "v1.9.5",
    "h1:/XY2zy3K7fntyppEXIHG7oRMzmfgIt50eJzUfaPX1Kc=",
)
HELM_CONTROLLER = ("github.com/fluxcd/helm-controller", "v1.6.1", "h1:b0XKTQCGlQy4nOGfEFMbn/e+/j9IMEHSDlKecbZkG9M=")


def folder(module: tuple[str, str, str]) -> pathlib.Path:
    """Where the module's files are; downloaded when they are not there yet."""
    path, version, checksum = module
    return pathlib.Path(binaries.downloaded(f"{path}@{version}", checksum)["Dir"])


def definitions(directory: pathlib.Path) -> list[dict[str, t.Any]]:
    """All objects in a folder's YAML files."""
    texts = [path.read_text() for path in sorted(directory.glob("*.yaml"))]
    return [one for text in texts for one in yaml.safe_load_all(text) if one and one.get("kind") != "Kustomization"]
