# SPDX-License-Identifier: GPL-3.0-or-later
"""Release manifests under their own names, out of the Go modules that carry them.

Files of a tag (``raw.githubusercontent.com/<owner>/<repository>/<tag>/<file>``), and the assets of releases that are
nothing but joined files of the module. A module is fetched when it is first asked for.
"""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import re
import typing as t

from aiohttp import web

RAW, GITHUB = "raw.githubusercontent.com", "github.com"
HOSTS = (RAW, GITHUB)
#: Module paths of the repositories whose modules hold manifests, charts or definitions.
MODULES = {
    "argoproj/argo-cd": "github.com/argoproj/argo-cd",
    "bitnami-labs/sealed-secrets": "github.com/bitnami-labs/sealed-secrets",
    "cert-manager/cert-manager": "github.com/cert-manager/cert-manager",
    "cilium/cilium": "github.com/cilium/cilium",
    "fluxcd/flux2": "github.com/fluxcd/flux2",
    "fluxcd/helm-controller": "github.com/fluxcd/helm-controller",
    "fluxcd/kustomize-controller": "github.com/fluxcd/kustomize-controller",
    "fluxcd/source-controller": "github.com/fluxcd/source-controller",
    "kubernetes-sigs/gateway-api": "sigs.k8s.io/gateway-api",
}
#: What release assets are made of.
ASSETS = {
    "cert-manager/cert-manager": {"cert-manager.crds.yaml": "deploy/crds/*.yaml"},
    "kubernetes-sigs/gateway-api": {
        "standard-install.yaml": "config/crd/standard/*.yaml",
        "experimental-install.yaml": "config/crd/experimental/*.yaml",
    },
}
_RAW = re.compile(r"/([^/]+/[^/]+)/(?:refs/tags/)?(v(\d+)\.\d+\.\d+[^/]*)/(.+)")
_ASSET = re.compile(r"/([^/]+/[^/]+)/releases/download/(v(\d+)\.\d+\.\d+[^/]*)/([^/]+)")


@dataclasses.dataclass(frozen=True)
class Release:
    """``module`` with its version; ``files`` is a pattern in it."""

    module: str
    files: str


def wanted(host: str, path: str) -> Release | None:
    """What an address stands for, None when the modules do not hold it."""
    found = (_RAW if host == RAW else _ASSET if host == GITHUB else re.compile(r"(?!)")).fullmatch(path)
    if found is None or found[1] not in MODULES:
        return None
    files = found[4] if host == RAW else ASSETS.get(found[1], {}).get(found[4])
    if not files or ".." in files.split("/"):
        return None
    major = f"/v{found[3]}" if int(found[3]) > 1 else ""
    return Release(f"{MODULES[found[1]]}{major}@{found[2]}", files)


class Releases:
    """``fetch`` gives a module's folder; it blocks, and raises OSError or RuntimeError with the reason."""

    def __init__(self, fetch: t.Callable[[str], pathlib.Path]) -> None:
        self._fetch = fetch
        self._one = asyncio.Lock()

    async def answer(self, release: Release) -> web.Response:
        try:
            async with self._one:
                folder = await asyncio.to_thread(self._fetch, release.module)
        except (OSError, RuntimeError) as error:
            return web.Response(status=502, text=f"the lab has no {release.module}: {error}\n")
        paths = sorted(path for path in folder.glob(release.files) if path.is_file())
        if len(paths) > 1:
            paths = [path for path in paths if path.name != _LIST]
        if not paths:
            return web.Response(status=404, text=f"404: no {release.files} in {release.module}\n")
        texts = [path.read_text(encoding="utf-8").strip("\n") for path in paths]
        return web.Response(text="\n---\n".join(texts) + "\n", content_type="text/plain")


_LIST = "kustomization.yaml"
