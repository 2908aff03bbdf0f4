# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the API server keeps objects of a kind."""

from __future__ import annotations

import typing as t

from .client import KubeClient, KubeError


class Discovery:
    """Asks once for each group and version; forgets what it did not find."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: dict[str, dict[str, tuple[str, bool]]] = {}

    async def path(self, document: t.Mapping[str, t.Any]) -> tuple[str, str]:
        """(path of the object, its namespace or ""). Raises LookupError when the API server does not know the kind,
        KubeError when it does not answer."""
        version, kind = str(document["apiVersion"]), str(document["kind"])
        meta = document.get("metadata") or {}
        kinds = await self._kinds(version)
        if kind not in kinds:
            self._known.pop(version, None)
            raise LookupError(f'no matches for kind "{kind}" in version "{version}"')
        plural, namespaced = kinds[kind]
        namespace = str(meta.get("namespace") or "default") if namespaced else ""
        middle = f"/namespaces/{namespace}" if namespaced else ""
        return f"{_root(version)}{middle}/{plural}/{meta.get('name')}", namespace

    async def _kinds(self, version: str) -> dict[str, tuple[str, bool]]:
        if version not in self._known:
            try:
                found = await self._client.call("GET", _root(version))
            except KubeError as error:
                if error.code != 404:
                    raise
                return {}
            self._known[version] = {
                r["kind"]: (r["name"], r["namespaced"]) for r in found["resources"] if "/" not in r["name"]
            }
        return self._known[version]


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"
