# SPDX-License-Identifier: GPL-3.0-or-later
"""The played kubelet's own API (port 10250): what ``kubectl logs`` asks through the API server.

Static pods and containers that are processes have real logs; played containers have written nothing. Whatever would need a real container (exec, attach,
port-forward) is refused.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import socket
import ssl
import typing as t

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import credentials
from .containers.runtime import Runtime
from .control_plane import ControlPlane
from .node import Node
from .pki import YEAR, KeyPair, private_file, private_pem

PORT = 10250
_REFUSAL = "the simulated lab plays containers: there is nothing to {} in\n"


class KubeletServer:
    """``pods`` gives the Pod objects of the node. Only callers with a certificate of the cluster's authority, in the
    group ``system:masters`` (as the API server's), are answered."""

    def __init__(
        self,
        node: Node,
        control_plane: ControlPlane | None,
        pods: t.Callable[[], list[dict[str, t.Any]]],
        runtime: Runtime | None = None,
    ) -> None:
        self._node, self._control_plane, self._pods, self._runtime = node, control_plane, pods, runtime
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listen(), ssl_context=self._context()).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not _is_administrator(request):
            return web.Response(status=401, text="Unauthorized")
        parts = request.path.strip("/").split("/")
        if parts[0] == "healthz":
            return web.Response(text="ok")
        if parts[0] == "pods":
            body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self._pods()}
            return web.Response(text=json.dumps(body), content_type="application/json")
        if parts[0] == "containerLogs" and len(parts) == 4:
            return self._logs(request, *parts[1:])
        if parts[0] in ("exec", "attach", "portForward", "run"):
            return web.Response(status=501, text=_REFUSAL.format(parts[0]))
        return web.Response(status=404, text="404 page not found\n")

    def _logs(self, request: web.BaseRequest, namespace: str, name: str, container: str) -> web.Response:
        found = [p for p in self._pods() if (p["metadata"]["namespace"], p["metadata"]["name"]) == (namespace, name)]
        if not found:
            return web.Response(status=404, text=f'pod "{name}" not found in "{namespace}"\n')
        spec = found[0]["spec"]
        if container not in {c["name"] for c in [*(spec.get("initContainers") or ()), *spec["containers"]]}:
            text = f'container {container} not found in pod "{name}_{namespace}"\n'
            return web.Response(status=404, text=text)
        lines: list[str] = []
        own = f"{container}-{self._node.name}"
        tail = int(request.query["tailLines"]) if request.query.get("tailLines", "").isdigit() else 500
        if self._control_plane is not None and namespace == "kube-system" and name == own:
            lines = self._control_plane.logs(container, tail)
        elif self._runtime is not None:
            lines = (self._runtime.log(found[0]["metadata"]["uid"], container) or [])[-tail:]
        return web.Response(text="".join(f"{line}\n" for line in lines))

    def _listen(self) -> socket.socket:
        made = self._node.machine.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("0.0.0.0", PORT))
        made.listen(16)
        made.setblocking(False)
        return made

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        pair = _self_signed(self._node)
        path = private_file(self._node.runtime / ".kubelet-server.pem", pair.certificate + pair.key)
        try:
            context.load_cert_chain(path)
        finally:
            path.unlink()
        context.load_verify_locations(cadata=credentials.accepted_authorities(self._node.config))
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def _is_administrator(request: web.BaseRequest) -> bool:
    certificate = request.get_extra_info("peercert") or {}
    parts = [pair for part in certificate.get("subject", ()) for pair in part]
    return ("organizationName", "system:masters") in parts


def _self_signed(node: Node) -> KeyPair:
    """A kubelet's serving certificate, which it makes for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{node.name}@1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName(node.name), x509.IPAddress(ipaddress.ip_address(node.address))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + YEAR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM).decode(), private_pem(key))


async def serve(server: KubeletServer) -> None:
    """Serve until cancelled; try again while the port is taken or the authority unusable."""
    try:
        while True:
            try:
                await server.start()
                await asyncio.Event().wait()
            except (OSError, ValueError):
                await asyncio.sleep(1.0)
    finally:
        await server.stop()
