# SPDX-License-Identifier: GPL-3.0-or-later
"""RPCs that are not simulated, but refuse a request that lacks something as the real node does: images, debugging, files."""

from __future__ import annotations

import typing as t

from .. import refusals
from ..calls import Call, machine, refuses

if t.TYPE_CHECKING:
    from ..node import TalosNode

_SERVICE = "/machine.ImageService/"


@refuses(*machine("ImageList", "ImagePull"))
def legacy_images(node: TalosNode, call: Call) -> None:
    if call.request.namespace == 0:
        raise refusals.invalid("invalid namespace NS_UNKNOWN")


@refuses(_SERVICE + "List", _SERVICE + "Pull", _SERVICE + "Remove")
def images(node: TalosNode, call: Call) -> None:
    if call.request.containerd.namespace == 0:
        raise refusals.invalid("invalid containerd namespace NS_UNKNOWN")


@refuses(_SERVICE + "Verify")
def verify(node: TalosNode, call: Call) -> None:
    if not call.request.image_ref:
        raise refusals.invalid("image reference is invalid: could not parse reference: ")


@refuses(_SERVICE + "Import")
def import_(node: TalosNode, call: Call) -> None:
    raise refusals.invalid("containerd instance is required")


@refuses("/machine.DebugService/ContainerRun")
def container_run(node: TalosNode, call: Call) -> None:
    raise refusals.invalid("expected debug container spec")


@refuses(*machine("Stats"))
def stats(node: TalosNode, call: Call) -> None:
    if not call.request.namespace:
        raise refusals.invalid("namespace can't be empty")


@refuses(*machine("Copy"))
def copy(node: TalosNode, call: Call) -> None:
    path = call.request.root_path or "."
    if not path.startswith("/"):
        raise refusals.unknown(f"path is not absolute {path}")


@refuses(*machine("EtcdDowngradeEnable", "EtcdDowngradeValidate"))
def downgrade(node: TalosNode, call: Call) -> None:
    if not call.request.version:
        raise refusals.invalid("version is required for etcd downgrade")


@refuses("/securityapi.SecurityService/Certificate")
def certificate(node: TalosNode, call: Call) -> None:
    raise refusals.unimplemented("unknown service securityapi.SecurityService")
