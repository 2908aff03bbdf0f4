# SPDX-License-Identifier: GPL-3.0-or-later
"""Played controllers beside a cluster that has no nodes: for tests of clients against a bare API server."""

from __future__ import annotations

import asyncio
import base64
import pathlib
import socket
import ssl
import tempfile
import typing as t
import urllib.parse

import yaml

from ..client import KubeClient
from ..pki import KeyPair
from . import signing
from .certificates import CertManager
from .cilium_config import Settings
from .gateway_controller import GatewayController
from .lbipam import LBIPAM
from .seat import Seat
from .storage_drivers import DRIVERS
from .volumes import Volumes
from .watching import Controller

_POD = {"metadata": {"namespace": "kube-system", "name": "played", "uid": ""}}

#: Those that need no node.
CONTROLLERS: dict[str, t.Callable[[Seat], t.Sequence[Controller]]] = {
    "lbipam": lambda seat: [LBIPAM(seat, Settings(l2=True))],
    "gateway": lambda seat: [GatewayController(seat)],
    "volumes": lambda seat: [Volumes(seat, driver) for driver in DRIVERS],
    "certificates": lambda seat: [CertManager(seat, _test_authority())],
}


def _test_authority() -> KeyPair:
    """A certificate authority of this process's own, where no lab has one."""
    key = signing.new_key({"privateKey": {"algorithm": "ECDSA"}})
    spec = {"commonName": "simulated lab test CA", "isCA": True}
    certificate = signing.sign(signing.request(key, spec), spec, None, key)
    return KeyPair(certificate, signing.key_pem(key, {}))


class Here:
    """The network of this process."""

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        return socket.socket(family, kind)


def client_of(kubeconfig: pathlib.Path) -> KubeClient:
    """With the rights of the file's current context. Raises ValueError when it has no token or certificate."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config, "contexts", config["current-context"])["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    server = urllib.parse.urlsplit(cluster["server"])
    place = (str(server.hostname), server.port or 443)
    token = user.get("token")
    return KubeClient(Here(), lambda: [place], _context(cluster, user), token=token, agent="simlab-played")


async def play(kubeconfig: pathlib.Path, names: t.Iterable[str]) -> None:
    """For ever. Raises KeyError for a name that is not in :data:`CONTROLLERS`."""
    client = client_of(kubeconfig)
    seat = Seat(client, _POD, {"name": "played", "image": ""})
    try:
        await asyncio.gather(*(part.run() for name in names for part in CONTROLLERS[name](seat)))
    finally:
        await client.close()


def _named(config: t.Mapping[str, t.Any], part: str, name: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", next(one for one in config[part] if one["name"] == name))


def _context(cluster: t.Mapping[str, t.Any], user: t.Mapping[str, t.Any]) -> ssl.SSLContext:
    authority = _text(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority or None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _text(user, "client-certificate"), _text(user, "client-key")
    if certificate:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # ssl reads files only; mode 0600
            file.write(certificate + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _text(section: t.Mapping[str, t.Any], name: str) -> str:
    if section.get(f"{name}-data"):
        return base64.b64decode(section[f"{name}-data"]).decode()
    return pathlib.Path(section[name]).read_text() if section.get(name) else ""
