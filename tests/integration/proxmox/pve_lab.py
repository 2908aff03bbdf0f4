# SPDX-License-Identifier: GPL-3.0-or-later
"""A played Proxmox VE for modules: TLS, a token with the documented role, a ledger and faults, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import socket
import ssl
import threading
import time
import types
import typing as t

import aiohttp.web
import calls_seen
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.groundwork.homelab.plugins.module_utils import task
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.access.roles import ROLES
from simlab import images as boot_images
from simlab.contracts import BootImage
from simlab.faults import Fault, Faults
from simlab.ledger import Entry, Ledger
from simlab.mirror.factory import ImageFactory
from simlab.proxmox import certificates, website
from simlab.proxmox.config import AclConfig, NodeConfig, ProxmoxConfig, StorageConfig, TokenConfig
from simlab.proxmox.server import ProxmoxServer

#: The role of the documentation (facts: least privileges).
ROLE = sorted(ROLES["AnsibleGuests"].privileges)
PATHS = ("/vms", "/storage", "/sdn/zones/localnetwork", "/nodes/pve1", "/pool/lab")
#: As it was before the tests took away what is a person's own.
ENVIRONMENT = dict(os.environ)
GIB = 1 << 30
DISK = boot_images.disk_image(BootImage("talos", "v1.13.9", "nocloud", "amd64", "0" * 64, "disk"), 4 * GIB)


@dataclasses.dataclass
class Outcome:
    """A module's result, what it warned of, and the requests that it made."""

    result: dict[str, t.Any]
    warnings: list[str]
    progress: list[str]
    requests: list[Entry]

    @property
    def writes(self) -> list[str]:
        return [
            f"{entry.verb} {entry.path}" for entry in self.requests if entry.write and entry.path != "/access/ticket"
        ]

    @property
    def changes(self) -> list[dict[str, t.Any]]:
        return t.cast("list[dict[str, t.Any]]", self.result["changes"])

    @property
    def actions(self) -> list[str]:
        return [f"{change['resource']} {change['action']}" for change in self.changes]


class PveLab:
    """Runs in a thread of its own. ``web`` is where files for downloads are served.

    ``storages`` are there besides ``local`` and ``isoonly``. ``rights`` are those of the role ``AnsibleGuests`` of the token and its user; ``also`` are other roles of the
    documentation that they have, with the paths on which they have them. With the environment variable ``PVE`` it is a
    person's own Proxmox VE (``pve_external``), for tests that do not know the difference.
    """

    #: Seconds for what a test waits for in the lab's own thread.
    patience = 120.0

    def __new__(cls, *_given: t.Any, **_more: t.Any) -> t.Self:
        if not ENVIRONMENT.get("PVE"):
            return super().__new__(cls)
        if cls.__name__ not in ("PveLab", "ExternalPve"):
            pytest.skip("needs the played Proxmox VE: its state is arranged by hand")
        from pve_external import ExternalPve

        return t.cast("t.Self", object.__new__(ExternalPve))

    def __init__(
        self,
        root: pathlib.Path,
        *,
        rights: t.Collection[str] = ROLE,
        also: t.Mapping[str, t.Collection[str]] = types.MappingProxyType({}),
        time_scale: float = 0.02,
        storages: t.Sequence[StorageConfig] = (),
    ) -> None:
        self.root = root
        self.more_storages = [storage.name for storage in storages]
        self.rights = rights
        self.also = also
        self.faults = Faults()
        self.ledger = Ledger()
        self.files: dict[str, bytes] = {"talos.qcow2": DISK, "boot.iso": b"\0" * 40000}
        self._sock = socket.create_server(("127.0.0.1", 0))
        self._web = self.listen()
        self._factory = self.listen()
        self.factory = f"http://127.0.0.1:{self._factory.getsockname()[1]}"
        #: How the factory answers instead of itself, one request each.
        self.factory_answers: list[tuple[int, str]] = []
        self.factory_seen: list[str] = []
        self.port = int(self._sock.getsockname()[1])
        self.web = f"http://127.0.0.1:{self._web.getsockname()[1]}"
        self.config = ProxmoxConfig(
            root=root / "pve",
            nodes=(NodeConfig(cores=8, directories=("/srv", "/srv/films")),),
            storages=(
                StorageConfig("local", content=("images", "iso", "vztmpl", "import", "rootdir"), path="/var/lib/vz"),
                StorageConfig("isoonly", content=("iso",)),
                *storages,
            ),
            root_password="root-not-a-secret",
            users=("ansible@pve",),
            tokens=(TokenConfig("ansible@pve", "groundwork", "token-not-a-secret"),),
            roles={"AnsibleGuests": tuple(rights), **{name: tuple(ROLES[name].privileges) for name in also}},
            acls=tuple(
                AclConfig(path, role, who)
                for role, paths in {"AnsibleGuests": PATHS, **also}.items()
                for path in paths
                for who in ("ansible@pve", "ansible@pve!groundwork")
            ),
            time_scale=time_scale,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        #: How what has begun is ended, the last first.
        self._ends = contextlib.AsyncExitStack()

    def __enter__(self) -> t.Self:
        self._thread.start()
        certificate, key = certificates.self_signed(self.root, "127.0.0.1")
        self.ca_path = str(certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        try:
            self._in_loop(self._start(context))
        except BaseException:  # Ctrl-C, too: nobody else ends what has begun
            with contextlib.suppress(Exception):
                self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(Exception):
            self._in_loop(self._ends.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def witness(self) -> t.Callable[[t.Any], None] | None:
        """Who judges the requests (``conftest.judged_requests``)."""
        return None

    @property
    def beyond(self) -> str:
        """Why a test cannot be judged here; see ``pve_external``."""
        return ""

    @staticmethod
    def listen() -> socket.socket:
        """Where files are fetched from."""
        return socket.create_server(("127.0.0.1", 0))

    async def serve(self, context: ssl.SSLContext) -> None:
        """Start what answers at ``port``."""
        self.put_file("import", "there.qcow2", DISK)
        self.server = ProxmoxServer(self.config, None, self.ledger, self.faults, witness=self.witness())
        await self.server.start(self._sock, context)

    async def unserve(self) -> None:
        await self.server.stop()

    async def _start(self, context: ssl.SSLContext) -> None:
        site = await website.serve(self._web, self.files)
        self._ends.push_async_callback(site.cleanup)
        self._ends.push_async_callback(self.unserve)
        await self.serve(context)
        real = ImageFactory()

        async def answer(request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
            self.factory_seen.append(f"{request.method} {request.path}")
            if request.method == "POST" and self.factory_answers:
                status, text = self.factory_answers.pop(0)
                return aiohttp.web.Response(status=status, text=text)
            return await real.handle(request)

        app = aiohttp.web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = aiohttp.web.AppRunner(app)
        await runner.setup()
        self._ends.push_async_callback(runner.cleanup)
        await aiohttp.web.SockSite(runner, self._factory).start()

    def _in_loop(self, work: t.Coroutine[t.Any, t.Any, t.Any]) -> t.Any:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(self.patience)
        except BaseException:
            future.cancel()  # nobody waits for it any more
            raise

    # -- what tests do ---------------------------------------------------------------------------------------------

    def connection(self, **more: t.Any) -> dict[str, t.Any]:
        return {
            "api_host": "127.0.0.1",
            "api_port": self.port,
            "api_token_id": "ansible@pve!groundwork",
            "api_token_secret": "token-not-a-secret",
            "ca_path": self.ca_path,
            "task_timeout": 20.0,
            **more,
        }

    def root_connection(self) -> dict[str, t.Any]:
        return self.connection(
            api_token_id=None, api_token_secret=None, api_user="root@pam", api_password="root-not-a-secret"
        )

    def run(self, module: t.Any, *, check: bool = False, as_root: bool = False, **params: t.Any) -> Outcome:
        """A module's core as ``in_process`` calls it: its SPEC validates, its ``run`` does the work."""
        connection = self.root_connection() if as_root else self.connection()
        validated = ArgumentSpecValidator(**module.SPEC.keywords()).validate({**connection, **params})
        if validated.error_messages:
            raise AssertionError(validated.error_messages)
        warnings: list[str] = []
        progress: list[str] = []
        given = task.Task(
            validated.validated_parameters,
            check_mode=check,
            diff_mode=True,
            warn=warnings.append,
            progress=progress.append,
        )
        mark = self.ledger.mark()
        result = task.execute(module.run, given)
        requests = self.ledger.entries(mark)
        calls_seen.note(module, requests)
        return Outcome(result, warnings, progress, requests)

    def fault(self, kind: str, **more: t.Any) -> Fault:
        args = {key: more.pop(key) for key in ("text", "status", "seconds") if key in more}
        made = Fault(kind, args=args, **more)
        self.faults.add(made)
        return made

    def late(self) -> None:
        """From now on the list of the cluster tells of each guest what it was at this moment, as a real one does for ten
        seconds; nothing of those that are made later."""
        self.config.status_delay = 3600 / self.config.time_scale
        self.server.cluster.status.look(ago=3600)

    def needs_least_rights(self) -> None:
        """For a test in which the token lacks what no role of ``rights`` and ``also`` has: a person's own may be an
        administrator's, then the test is skipped."""

    def needs_played(self, why: str) -> None:
        """For a test that is about something that only the played server has or does: a person's own skips it."""

    def needs_storage(self, name: str) -> None:
        """For a test that makes something on one of ``storages``: a person's own server may have nothing like it."""

    def has_storage(self, name: str) -> bool:
        return True

    def put_file(self, content: str, name: str, data: bytes, node: str = "pve1") -> None:
        """A file on the storage ``local``, as if somebody had put it there before."""
        folder = (
            self.config.root
            / node
            / "local"
            / {"iso": "template/iso", "vztmpl": "template/cache"}.get(content, content)
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    def session(self) -> t.Any:
        """Requests of the tests themselves, as root."""
        from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.connection import Connection
        from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.session import Session

        return Session(Connection.of(self.root_connection()))

    def do(self, path: str, **form: t.Any) -> None:
        """A task of the tests' own, and its end."""
        with self.session() as session:
            upid = session.post(path, form, asked="prepare a test")
            end = time.monotonic() + 300
            while session.get(f"/nodes/pve1/tasks/{upid}/status")["status"] != "stopped":
                assert time.monotonic() < end, f"{upid} does not end"
                time.sleep(0.02)

    def config_of(self, vmid: int) -> dict[str, t.Any]:
        with self.session() as session:
            return dict(session.get(f"/nodes/pve1/qemu/{vmid}/config"))

    def status_of(self, vmid: int) -> str:
        with self.session() as session:
            return str(session.get(f"/nodes/pve1/qemu/{vmid}/status/current")["status"])

    def vmids(self) -> list[int]:
        with self.session() as session:
            return sorted(entry["vmid"] for entry in session.get("/nodes/pve1/qemu"))

    def volumes(self) -> list[str]:
        with self.session() as session:
            return sorted(entry["volid"] for entry in session.get("/nodes/pve1/storage/local/content"))
