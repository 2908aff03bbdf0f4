# SPDX-License-Identifier: GPL-3.0-or-later
"""What etcd, Kubernetes and the kubelet of one node are told about it."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ..contracts import Machine
from ..faults import Faults
from ..ledger import Ledger
from .pki import KeyPair

if t.TYPE_CHECKING:
    from .containers.support import Support


@dataclasses.dataclass(frozen=True)
class Node:
    """One configured machine. A change of its configuration is a new ``Node`` (``dataclasses.replace``), given to
    :meth:`KubernetesNode.reconfigure`.

    ``config`` is the v1alpha1 document of the machine config (plain YAML data); later documents do not concern
    the cluster up to contract 1.13. ``directory`` is the node's EPHEMERAL partition (the disk's ``data/…``):
    etcd's data lies in ``directory/lib/etcd``, and it survives power cycles. ``runtime`` is a directory that does
    not (secrets and rendered files: ``/system``). ``program`` is the control plane's multi-call program
    (:data:`simlab.binaries.CONTROL_PLANE`).
    """

    machine: Machine
    name: str  # the Kubernetes node name, "talos-cp01"
    address: str  # the node's own address without prefix: InternalIP, etcd's peer address
    config: t.Mapping[str, t.Any]
    directory: pathlib.Path
    runtime: pathlib.Path
    program: pathlib.Path
    ledger: Ledger
    faults: Faults
    talos_version: str = "v1.13.9"
    addresses: tuple[
        str, ...
    ] = ()  # all addresses of the machine (VIPs too): certificate SANs; `address` always counts
    #: Node addresses of all members of the cluster that a kubelet or etcd may try (own address excluded). Called
    #: anew every time, because members come and go; in life Talos' discovery knows them.
    peers: t.Callable[[], t.Sequence[str]] = tuple
    #: So that the containers of some images are processes; None: all containers are only played.
    containers: Support | None = None
    #: The lab's test CA, which signs as the authorities of the internet do (ACME); None: there is none.
    authority: KeyPair | None = None

    @property
    def cluster(self) -> t.Mapping[str, t.Any]:
        """The ``cluster`` part of the machine config."""
        return t.cast("t.Mapping[str, t.Any]", self.config.get("cluster") or {})

    @property
    def settings(self) -> t.Mapping[str, t.Any]:
        """The ``machine`` part of the machine config."""
        return t.cast("t.Mapping[str, t.Any]", self.config.get("machine") or {})

    @property
    def is_control_plane(self) -> bool:
        return self.settings.get("type") in ("controlplane", "init")

    @property
    def time_scale(self) -> float:
        return self.machine.time_scale
