# SPDX-License-Identifier: GPL-3.0-or-later
"""The container images that the lab has: what lies in them, and what they start.

Paths, entry points and environment are those of the images' own Dockerfiles.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ... import binaries
from ...binaries import Program

Pod = t.Mapping[str, t.Any]
_BIN = "/usr/local/bin"
#: argocd is one program under many names.
_ARGOCD_NAMES = (
    "argocd-server", "argocd-repo-server", "argocd-cmp-server", "argocd-application-controller", "argocd-dex",
    "argocd-notifications", "argocd-applicationset-controller", "argocd-k8s-auth", "argocd-commit-server",
)  # fmt: skip
#: Its repo-server wants GnuPG and wrappers of it when it starts, unless told otherwise: signatures of commits are not
#: verified in the lab.
_ARGOCD_ENVIRONMENT = {"HOME": "/home/argocd", "USER": "argocd", "ARGOCD_GPG_ENABLED": "false"}
#: Said of every commit, so that a project that asks for signatures refuses it.
_NO_SIGNATURE = "#!/bin/sh\n# The lab verifies no signatures: a commit is one without.\nexit 0\n"


@dataclasses.dataclass(frozen=True)
class Image:
    """``repositories``: how its name ends, without registry and tag. ``programs``, ``links``, ``scripts``: absolute path
    in the container, and what is there. ``entrypoint``: what a container without a command starts. ``label``: only pods with
    this label get it."""

    version: str
    repositories: tuple[str, ...]
    programs: t.Mapping[str, Program]
    links: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    scripts: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    directory: str = "/"
    label: tuple[str, str] | None = None


def _controller(version: str, repositories: tuple[str, ...], name: str, program: Program) -> Image:
    return Image(version, repositories, {f"{_BIN}/{name}": program}, entrypoint=(name,))


IMAGES = (
    _controller(
        "0.40.0",
        ("bitnami/sealed-secrets-controller", "bitnamilabs/sealed-secrets-controller"),
        "controller",
        binaries.SEALED_SECRETS,
    ),
    _controller("v1.9.3", ("fluxcd/source-controller",), "source-controller", binaries.SOURCE_CONTROLLER),
    _controller("v1.9.5", ("fluxcd/kustomize-controller",), "kustomize-controller", binaries.KUSTOMIZE_CONTROLLER),
    _controller("v1.6.1", ("fluxcd/helm-controller",), "helm-controller", binaries.HELM_CONTROLLER),
    Image(
        "v3.5.7",
        ("argoproj/argocd",),
        {
            f"{_BIN}/argocd": binaries.ARGOCD,
            f"{_BIN}/helm": binaries.HELM,
            f"{_BIN}/kustomize": binaries.KUSTOMIZE,
        },
        links={f"{_BIN}/{name}": f"{_BIN}/argocd" for name in _ARGOCD_NAMES},
        scripts={f"{_BIN}/git-verify-wrapper.sh": _NO_SIGNATURE},
        environment=_ARGOCD_ENVIRONMENT,
        directory="/home/argocd",
    ),
    Image(
        "8",
        ("redis",),
        {f"{_BIN}/redis-server": binaries.REDIS},
        entrypoint=("redis-server",),
        label=("app.kubernetes.io/name", "argocd-redis"),
    ),
)


def image_of(pod: Pod, reference: str) -> Image | None:
    """The lab's image for a container of this pod, None when the container is only played."""
    repository = reference.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    labels = pod["metadata"].get("labels") or {}
    for image in IMAGES:
        if image.label is not None and labels.get(image.label[0]) != image.label[1]:
            continue
        if any(f"/{repository}".endswith(f"/{name}") for name in image.repositories):
            return image
    return None


def tag_of(reference: str) -> str:
    """The tag of an image reference, "" when it has none."""
    last = reference.partition("@")[0].rpartition("/")[2]
    return last.partition(":")[2]


def is_other_version(image: Image, reference: str) -> bool:
    """Whether the manifest asks for another version than the lab has (a redis of the same major is the same)."""
    tag = tag_of(reference).removeprefix("v")
    own = image.version.removeprefix("v")
    return bool(tag) and tag != own and not tag.startswith(f"{own}.")
