# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests of the projects that home labs install, out of the Go modules that carry them, and the programs that judge."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import shutil

from simlab import binaries


@functools.cache
def module(path: str, version: str) -> pathlib.Path:
    """The folder of a Go module, downloaded and checked by go when it is not there."""
    return binaries.module_folder(f"{path}@{version}")


def kubectl() -> pathlib.Path:
    """The machine's own kubectl, or one that is built."""
    own = shutil.which("kubectl")
    return pathlib.Path(own) if own else binaries.KUBECTL.build(lambda text: print(text, flush=True))


def kustomize() -> pathlib.Path:
    return binaries.KUSTOMIZE.build(lambda text: print(text, flush=True))


@dataclasses.dataclass(frozen=True)
class Release:
    """``paths`` in the module are given to ``src``, ``kustomizations`` to ``kustomize``."""

    name: str
    path: str
    old: str
    new: str
    paths: tuple[str, ...] = ()
    kustomizations: tuple[str, ...] = ()

    def params(self, version: str) -> dict[str, list[str]]:
        folder = module(self.path, version)
        return {
            "src": [str(one) for path in self.paths for one in _manifests(folder / path)],
            "kustomize": [str(folder / path) for path in self.kustomizations],
        }


def _manifests(path: pathlib.Path) -> list[pathlib.Path]:
    """A file, or the manifests of a folder that may hold its kustomization besides."""
    if path.is_file():
        return [path]
    return sorted(one for one in path.glob("*.yaml") if one.name != "kustomization.yaml")


CILIUM = "pkg/k8s/apis/cilium.io/client/crds"
RELEASES = (
    Release("gateway-api", "sigs.k8s.io/gateway-api", "v1.3.0", "v1.4.0", ("config/crd/standard",)),
    Release("cert-manager", "github.com/cert-manager/cert-manager", "v1.20.0", "v1.21.2", ("deploy/crds",)),
    Release(
        "sealed-secrets", "github.com/bitnami-labs/sealed-secrets", "v0.36.6", "v0.40.0", ("helm/sealed-secrets/crds",)
    ),
    Release("cilium", "github.com/cilium/cilium", "v1.19.0", "v1.20.2", (f"{CILIUM}/v2", f"{CILIUM}/v2alpha1")),
    Release("flux-source", "github.com/fluxcd/source-controller", "v1.8.5", "v1.9.3", (), ("config/default",)),
    Release("argo-cd", "github.com/argoproj/argo-cd/v3", "v3.2.12", "v3.5.7", ("manifests/install.yaml",)),
)
#: Kustomizations of upstream that are built by both; those with something that we refuse are not among them.
KUSTOMIZATIONS = (
    ("github.com/argoproj/argo-cd/v3", "v3.2.12", "manifests"),
    ("github.com/fluxcd/source-controller", "v1.9.3", "config"),
    ("github.com/fluxcd/kustomize-controller", "v1.9.5", "config"),
    ("github.com/fluxcd/helm-controller", "v1.6.1", "config"),
    ("github.com/fluxcd/flux2/v2", "v2.9.5", "manifests"),
    ("sigs.k8s.io/gateway-api", "v1.4.0", "config"),
)
