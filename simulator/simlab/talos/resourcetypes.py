# SPDX-License-Identifier: GPL-3.0-or-later
"""The COSI resource types that exist, from ``resource_types.txt``."""

from __future__ import annotations

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class ResourceType:
    name: str  # "MachineStatuses.runtime.talos.dev"
    namespace: str  # its default one
    sensitive: bool  # for admins only

    @property
    def display(self) -> str:
        """``MachineStatus``."""
        plural = self.name.partition(".")[0]
        for ending, singular in (
            ("uses", "us"),
            ("ies", "y"),
            ("esses", "ess"),
            ("s", ""),
        ):
            if plural.endswith(ending):
                return plural[: -len(ending)] + singular
        return plural


def _load() -> dict[str, ResourceType]:
    text = pathlib.Path(__file__).with_name("resource_types.txt").read_text(encoding="utf-8")
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, namespace, access = line.split()
            found[name] = ResourceType(name, namespace, access == "sensitive")
    return found


TYPES = _load()
NAMESPACES = frozenset(
    {type_.namespace for type_ in TYPES.values()} | {"cluster-raw", "network-config", "network", "kubespan"}
)
