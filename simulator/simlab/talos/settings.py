# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab tells its Talos nodes besides their machine."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import pathlib
import tempfile
import typing as t

from .registry import Registry

#: Schematic ids that are known without asking the Image Factory.
EMPTY_SCHEMATIC = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
GUEST_AGENT_SCHEMATIC = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"
_KNOWN = {EMPTY_SCHEMATIC: (), GUEST_AGENT_SCHEMATIC: ("siderolabs/qemu-guest-agent",)}


def known_extensions(schematic: str) -> c.Sequence[str]:
    """Official extensions of a schematic; none for one that is not known."""
    return _KNOWN.get(schematic, ())


@dataclasses.dataclass(frozen=True)
class Settings:
    """One object for all nodes of a lab.

    ``program`` is the control plane's multi-call program, None when there is none: then etcd and Kubernetes do not
    start, and the node says so. ``runtime`` is a directory for what does not survive a power cycle. ``extensions``
    tells which extensions a schematic has (the lab's mirror knows). ``behaviours`` are those of ``simlab.cluster``.
    """

    registry: Registry = dataclasses.field(default_factory=Registry)
    program: pathlib.Path | None = None
    runtime: pathlib.Path = pathlib.Path(tempfile.gettempdir()) / "simlab-talos"
    extensions: t.Callable[[str], c.Sequence[str]] = known_extensions
    behaviours: t.Any = None
    #: :class:`simlab.cluster.containers.support.Support`, None in a lab that only plays containers.
    containers: t.Any = None
    #: The lab's test CA (:class:`simlab.cluster.pki.KeyPair`), None where nothing is signed as on the internet.
    authority: t.Any = None
    #: Makes the KubernetesNode of ``simlab.cluster`` from its Node; only tests put something else here.
    kubernetes: t.Callable[[t.Any, t.Any], t.Any] | None = None
