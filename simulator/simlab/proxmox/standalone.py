# SPDX-License-Identifier: GPL-3.0-or-later
"""A played Proxmox VE on its own, in the state that the recordings started from.

``python -m simlab.proxmox.standalone 127.0.0.1:8006 PASSWORD``. One node ``pve1``, storages ``local``, ``dir2`` and
``isoonly``, a disk image, an ISO and a container template, and a small web server on port 9000 of loopback for
downloads. Guests run without an operating system.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import io
import pathlib
import signal
import socket
import ssl
import sys
import tarfile
import tempfile
import time
import typing as t

from .. import images
from ..contracts import BootImage
from ..faults import Faults
from ..ledger import Ledger
from . import certificates, fetching, website
from .config import NodeConfig, ProxmoxConfig, StorageConfig
from .server import ProxmoxServer

STORAGES = (
    StorageConfig(
        "local",
        content=("images", "iso", "vztmpl", "import", "backup", "snippets", "rootdir"),
        path="/var/lib/vz",
        options={"prune-backups": "keep-all=1"},
    ),
    StorageConfig("dir2", content=("images", "rootdir")),
    StorageConfig("isoonly", content=("iso",)),
)
_IDENTITY = BootImage("talos", "v1.13.9", "nocloud", "amd64", "0" * 64, "disk")
#: The status daemon of a real node looks every ten seconds.
_STATUS_SECONDS = 10
_ISO_SIZE = 358400
_QCOW2_SIZE = 196624
_TEMPLATE_SIZE = 1067286


def config(
    root: pathlib.Path, password: str, time_scale: float = 0.02, clock: t.Callable[[], float] = time.time
) -> ProxmoxConfig:
    return ProxmoxConfig(
        root=root,
        nodes=(NodeConfig(kvm=False),),
        storages=STORAGES,
        root_password=password,
        time_scale=time_scale,
        status_delay=_STATUS_SECONDS / time_scale,
        ha_manager=False,
        clock=clock,
    )


def files(root: pathlib.Path) -> dict[str, bytes]:
    """Put the files of the recordings' start on ``local``; the files of the web server by name."""
    disk = images.disk_image(_IDENTITY, 1 << 30).ljust(_QCOW2_SIZE, b"\0")
    iso = (b"\0" * 32768 + b"\x01CD001\x01\0").ljust(_ISO_SIZE, b"\0")
    template = _template()
    local = root / "pve1" / "local"
    for name, content in {
        "import/test.qcow2": disk,
        "template/iso/test.iso": iso,
        "template/cache/mini_1.0_amd64.tar.gz": template,
    }.items():
        path = local / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {
        "dl.iso": iso,
        "dl.qcow2": disk,
        "t.tar.gz": template,
        "dl.iso.gz": gzip.compress(iso, mtime=0),
        "zeros.iso": bytes(1 << 20),
    }


def _template() -> bytes:
    """A container template whose init only sleeps."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {"sbin/init": b"#!/bin/sh\nexec sleep inf\n", "etc/debian_version": b"13.0\n"}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue().ljust(_TEMPLATE_SIZE, b"\0")


def clock_from(start: float) -> t.Callable[[], float]:
    """A clock that shows ``start`` (seconds since the epoch) now and goes on from there."""
    begun = time.monotonic()
    return lambda: start + time.monotonic() - begun


def listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)))


@contextlib.asynccontextmanager
async def serving(
    sock: socket.socket,
    password: str,
    root: pathlib.Path,
    web: str,
    *,
    time_scale: float = 0.02,
    clock: t.Callable[[], float] = time.time,
) -> t.AsyncIterator[ProxmoxServer]:
    """The server on ``sock`` while the block runs, and the web server at ``web``."""
    downloads = files(root)
    web_sock = listen(web)
    fetch = _from_the_node(fetching.fetcher(), _address(sock), _address(web_sock))
    server = ProxmoxServer(config(root, password, time_scale, clock), None, Ledger(), Faults(), fetch)
    certificate, key = certificates.self_signed(root, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    await server.start(sock, context)
    site = await website.serve(web_sock, downloads)
    try:
        yield server
    finally:
        await server.stop()
        await site.cleanup()


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"{host}:{port}"


def _from_the_node(fetch: fetching.Fetch, api: str, web: str) -> fetching.Fetch:
    """The node sees its own API and the web server at their well-known ports, wherever they listen here."""

    def seen(method: str, url: str) -> contextlib.AbstractAsyncContextManager[fetching.Fetched]:
        for known, real in (("https://127.0.0.1:8006", f"https://{api}"), ("http://127.0.0.1:9000", f"http://{web}")):
            if url == known or url.startswith(f"{known}/"):
                url = real + url[len(known) :]
        return fetch(method, url)

    return seen


async def run(address: str, password: str, web: str, clock: t.Callable[[], float] = time.time) -> None:
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    with tempfile.TemporaryDirectory(prefix="simulated-proxmox-") as root:
        async with serving(listen(address), password, pathlib.Path(root), web, clock=clock):
            print(f"simulated Proxmox VE: https://{address} root@pam, downloads at http://{web}", flush=True)
            await done.wait()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("listen", help="ADDRESS:PORT")
    parser.add_argument("password", help="of root@pam")
    parser.add_argument("--web", default="127.0.0.1:9000", help="address of the web server (default: %(default)s)")
    given = parser.parse_args(arguments)
    asyncio.run(run(given.listen, given.password, given.web))
    return 0


if __name__ == "__main__":
    sys.exit(main())
