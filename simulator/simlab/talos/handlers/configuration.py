# SPDX-License-Identifier: GPL-3.0-or-later
"""ApplyConfiguration, GenerateClientConfiguration, Kubeconfig."""

from __future__ import annotations

import base64
import collections.abc as c
import datetime as dt
import gzip
import io
import tarfile
import typing as t

from grpclib import Status

from ... import cluster
from .. import apply, goyaml, pki, refusals
from ..calls import Call, Reply, machine, single, streams, unary
from ..refusals import Refusal
from .lifecycle import control_plane_only

if t.TYPE_CHECKING:
    from ..node import TalosNode


@unary(*machine("ApplyConfiguration"))
async def apply_configuration(node: TalosNode, call: Call) -> Reply:
    timeout = call.request.try_mode_timeout
    wanted = apply.Wanted(
        text=bytes(call.request.data),
        mode=apply.MODES[call.request.mode],
        dry_run=bool(call.request.dry_run),
        timeout=timeout.seconds + timeout.nanos / 1e9 if call.request.HasField("try_mode_timeout") else None,
    )
    call.detail["mode"] = wanted.mode
    answer = await apply.apply(node.runtime, wanted, maintenance=call.maintenance)
    return single(mode=answer.mode, mode_details=answer.details, warnings=answer.warnings)


@streams(*machine("Kubeconfig"))
async def kubeconfig(node: TalosNode, call: Call) -> c.AsyncIterator[Reply]:
    control_plane_only(node, "kubeconfig")
    config = node.runtime.config
    try:
        text = cluster.admin_kubeconfig(dict((config and config.v1alpha1) or {}))
    except ValueError as error:
        raise refusals.unknown(str(error)) from None
    yield {"bytes": _tarball("kubeconfig", text.encode())}


@unary(*machine("GenerateClientConfiguration"))
async def generate_client_configuration(node: TalosNode, call: Call) -> Reply:
    config = control_plane_only(node, "generate client configuration")
    lifetime = call.request.crt_ttl.seconds + call.request.crt_ttl.nanos / 1e9
    if lifetime <= 0:
        raise refusals.invalid("crt_ttl should be positive")
    ca = config.ca()
    if not pki.usable(ca):
        raise Refusal(Status.UNKNOWN, "failed to generate client certificate")
    pair = pki.client(ca, call.request.roles, dt.timedelta(seconds=lifetime))
    key = pki.talos_key(pair.key)
    name = str(config.get("cluster.clusterName") or "default")
    encoded = {
        part: base64.b64encode(value).decode()
        for part, value in (
            ("ca", ca.certificate),
            ("crt", pair.certificate),
            ("key", key),
        )
    }
    talosconfig = goyaml.dump({"context": name, "contexts": {name: {"endpoints": [], **encoded}}})
    return single(
        ca=ca.certificate,
        crt=pair.certificate,
        key=key,
        talosconfig=talosconfig.encode(),
    )


def _tarball(name: str, content: bytes) -> bytes:
    """As Talos writes it: the tar writer is never closed, so there is no padding and no end."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = len(content), 0o600
    raw = io.BytesIO()
    raw.write(header.tobuf(tarfile.GNU_FORMAT))
    raw.write(content)
    return gzip.compress(raw.getvalue())
