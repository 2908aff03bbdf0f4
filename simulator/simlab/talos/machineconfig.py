# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine config as the running node reads it. Decoding and its errors are ``documents.py``'s affair."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t
import urllib.parse

from . import pki

Data = c.Mapping[str, t.Any]
CONTROL_PLANE_TYPES = ("controlplane", "init")


@dataclasses.dataclass(frozen=True)
class MachineConfig:
    """``text`` is what was uploaded, byte for byte; ``documents`` its decoded documents in order."""

    text: bytes
    documents: tuple[Data, ...]

    @property
    def v1alpha1(self) -> Data | None:
        """The document without a kind: the one that makes a machine a node."""
        return next((document for document in self.documents if "kind" not in document), None)

    @property
    def complete(self) -> bool:
        return self.v1alpha1 is not None

    def document(self, kind: str) -> Data | None:
        return next(
            (document for document in self.documents if document.get("kind") == kind),
            None,
        )

    def all_of(self, kind: str) -> list[Data]:
        return [document for document in self.documents if document.get("kind") == kind]

    def get(self, path: str, default: t.Any = None) -> t.Any:
        """A value of the v1alpha1 document: ``machine.kubelet.image``."""
        value: t.Any = self.v1alpha1 or {}
        for key in path.split("."):
            value = value.get(key) if isinstance(value, c.Mapping) else None
            if value is None:
                return default
        return value

    @property
    def machine_type(self) -> str:
        return "controlplane" if self.control_plane else "worker"

    @property
    def control_plane(self) -> bool:
        return self.get("machine.type") in CONTROL_PLANE_TYPES

    @property
    def cluster_key(self) -> str:
        return str(self.get("cluster.id") or self.get("cluster.controlPlane.endpoint") or "")

    @property
    def endpoint(self) -> str:
        return str(self.get("cluster.controlPlane.endpoint") or "")

    @property
    def endpoint_host(self) -> str:
        return urllib.parse.urlsplit(self.endpoint).hostname or ""

    @property
    def hostname(self) -> str:
        """The name that the config sets, empty if it leaves it to the platform."""
        document = self.document("HostnameConfig") or {}
        return str(document.get("hostname") or self.get("machine.network.hostname") or "")

    @property
    def interfaces(self) -> list[Data]:
        return [entry for entry in self.get("machine.network.interfaces", []) if entry]

    def ca(self) -> pki.Pair:
        """The machine CA."""
        return pki.from_config(self.get("machine.ca", {}))

    def accepted_cas(self) -> list[bytes]:
        """PEM of every CA whose client certificates are accepted."""
        extra = [pki.from_config(entry).certificate for entry in self.get("machine.acceptedCAs", [])]
        return [certificate for certificate in [self.ca().certificate, *extra] if certificate]

    def version_of(self, path: str, default: str) -> str:
        """The tag of an image reference: ``v1.36.3``."""
        image = str(self.get(path) or "")
        tag = image.partition("@")[0].rpartition(":")[2]
        return tag if tag.startswith("v") else default
