# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the Talos versions that are played: 1.12 and 1.13."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Version:
    """``tag`` is the whole version (``v1.13.9``)."""

    tag: str

    @property
    def minor(self) -> tuple[int, int]:
        major, minor, *_ = self.tag.lstrip("v").split("-")[0].split(".")
        return int(major), int(minor)

    @property
    def maintenance_apid(self) -> bool:
        """From 1.13 apid itself serves maintenance, and every caller is a reader."""
        return self.minor >= (1, 13)

    @property
    def default_kubernetes(self) -> str:
        return {(1, 12): "v1.35.3"}.get(self.minor, "v1.36.3")

    @property
    def kubernetes_range(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Oldest and newest Kubernetes minor that a config may name."""
        return {(1, 12): ((1, 30), (1, 35))}.get(self.minor, ((1, 31), (1, 36)))

    @property
    def etcd_image(self) -> str:
        return "registry.k8s.io/etcd:v3.6.12"

    def has(self, path: str) -> bool:
        """Whether this version's API has the method."""
        new = (
            "/machine.ImageService/",
            "/machine.LifecycleService/",
            "/machine.DebugService/",
        )
        return self.minor >= (1, 13) or not path.startswith(new)


PLAYED = ((1, 12), (1, 13))
