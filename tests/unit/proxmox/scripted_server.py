# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTPS server on loopback that plays a script: one step for each request that is expected."""

from __future__ import annotations

import dataclasses
import datetime
import http.server
import ipaddress
import json
import pathlib
import ssl
import threading
import typing as t
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclasses.dataclass(frozen=True)
class Step:
    """``fault``: ``drop`` (close without an answer), ``garbage`` (not HTTP), ``cut`` (half of the body), ``slow``."""

    data: t.Any = None
    status: int = 200
    reason: str = "OK"
    body: bytes | None = None
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    fault: str = ""


def refusal(status: int, reason: str, errors: dict[str, str] | None = None) -> Step:
    """As Proxmox VE refuses: the text in the status line, and again in the body."""
    body: dict[str, t.Any] = {"data": None, "message": f"{reason}\n"}
    if errors:
        body["errors"] = errors
    return Step(status=status, reason=reason, body=json.dumps(body).encode())


@dataclasses.dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    values: dict[str, str]


class ScriptedServer:
    """``seen`` are the requests. A request beyond the script is answered 599."""

    def __init__(self, directory: pathlib.Path, *steps: Step) -> None:
        self.steps = list(steps)
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        self.ca = directory / "ca.pem"
        key = directory / "key.pem"
        _certificate(self.ca, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, key)
        self._server = _QuietServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def next_step(self, seen: Seen) -> Step:
        with self.lock:
            self.seen.append(seen)
            return self.steps.pop(0) if self.steps else Step(status=599, reason="beyond the script")


class _QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Clients that refuse the certificate are what some tests are about."""


def _handler(server: ScriptedServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            parts = urllib.parse.urlsplit(self.path)
            text = self.rfile.read(length).decode() if length else parts.query
            values = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._answer(server.next_step(Seen(self.command, parts.path.removeprefix("/api2/json"), headers, values)))

        do_GET = do_POST = do_PUT = do_DELETE = _any

        def _answer(self, step: Step) -> None:
            body = json.dumps({"data": step.data}).encode() if step.body is None else step.body
            if step.fault in ("drop", "garbage"):
                if step.fault == "garbage":
                    self.wfile.write(b"\x00\x01\x02 this is not the protocol\r\n\r\n")
                self.close_connection = True
                return
            if step.fault == "slow":
                threading.Event().wait(1.5)
            self.wfile.write(f"HTTP/1.1 {step.status} {step.reason}\r\n".encode())
            headers = {
                "Content-Type": "application/json;charset=UTF-8",
                "Content-Length": str(len(body)),
                **step.headers,
            }
            self.wfile.write("".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n")
            self.wfile.write(body[: len(body) // 2] if step.fault == "cut" else body)
            self.close_connection = step.fault == "cut"

        def log_message(self, *_args: object) -> None:
            pass

    return Handler


def _certificate(path: pathlib.Path, key_path: pathlib.Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pve1.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
