# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' lab on a person's own Proxmox VE (``make conformance PVE=https://…``): the same as ``PveLab`` to a test.

Environment: ``PVE`` (address), ``PROXMOX_USER`` and ``PROXMOX_PASSWORD`` or ``PROXMOX_TOKEN_ID`` (``user@realm!name``) and
``PROXMOX_TOKEN_SECRET``, ``PROXMOX_VALIDATE_CERTS`` or ``PROXMOX_CA_PATH``; ``PVE_NODE`` (default: the first that is online),
``PVE_STORAGE`` (default ``local``; its content must have images, rootdir, import, iso, vztmpl), ``PVE_ISO_STORAGE`` (one without
images), ``PVE_<NAME>_STORAGE`` for others that tests name, ``PVE_BRIDGE`` (``vmbr0``), ``PVE_TEMPLATE`` (a container template
that is there, a volume id), ``PVE_KVM=0`` (the node cannot virtualise), ``PVE_CONTAINERS=0`` (it cannot run containers),
``PVE_WEB`` (the address under which the node reaches this machine).

Guests are 9001 to 9099 in pools ``groundwork-test-…``, files are called ``groundwork-test-…``. All of them go after each test, and
before the first one what an earlier run may have left.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import time
import typing as t
import urllib.parse

import pytest
from pve_lab import DISK, ENVIRONMENT, ROLE, Outcome, PveLab
from pve_names import IDS, POOL, PREFIX, Names
from pve_passage import PREPARATIONS, Account, Passage

from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.access.roles import ROLES
from simlab.faults import PROXMOX, Fault

_PLAYED = "needs the played Proxmox VE: "
#: What the tests put on the storage that stands for ``local``.
_CONTENT = frozenset(("images", "rootdir", "import", "iso", "vztmpl"))
#: What the storage that stands for ``isoonly`` does not hold.
_DISKS = frozenset(("images", "rootdir", "import"))
#: Seconds until the tests' own guests and tasks of an earlier test are gone.
_PATIENCE = 300.0


class _NotThere:
    """What only the played server has: asking for it, or for a copy with changes, skips the test."""

    __dataclass_fields__: t.ClassVar[dict[str, t.Any]] = {}

    def __init__(self, what: str = "its state", **changes: t.Any) -> None:
        if changes:
            pytest.skip(f"{_PLAYED}{what} is not to be had of a real one")
        object.__setattr__(self, "_what", what)

    def __getattr__(self, name: str) -> t.Any:
        pytest.skip(f"{_PLAYED}{self._what} is not to be had of a real one")

    def __setattr__(self, name: str, value: t.Any) -> None:
        self.__getattr__(name)


class ExternalPve(PveLab):
    #: Seconds for a start or an end: the guests of an interrupted run are removed one after the other.
    patience = 900.0
    #: Of this process: the id with which the next test begins, and why no test can run at all.
    next_id: t.ClassVar[int] = IDS[0]
    unfit: t.ClassVar[str] = ""

    def __init__(self, *given: t.Any, **more: t.Any) -> None:
        super().__init__(*given, **more)
        #: The tests' own names of storages -> the person's.
        self.stand_ins = {name: there for name in self.more_storages if (there := ENVIRONMENT.get(_variable(name)))}
        if set(self.rights) != set(ROLE):
            pytest.skip(f"{_PLAYED}roles are not made on a real one")
        self.contents = {storage.name: storage.content for storage in self.config.storages}
        self.config = t.cast("t.Any", _NotThere("its state"))
        self.server = t.cast("t.Any", _NotThere("its inside"))

    def __enter__(self) -> t.Self:
        entered = super().__enter__()
        try:
            lacking = self._in_loop(self._lacking())
        except BaseException:
            self.__exit__()
            raise
        if lacking:
            self.__exit__()
            pytest.skip(f"needs a token with the role {lacking}, or root@pam")
        return entered

    async def _lacking(self) -> str:
        """The first of the roles ``also`` that the person's account has not, and where."""
        for name, paths in self.also.items():
            for path in paths:
                there = re.sub("^/pool/", f"/pool/{PREFIX}", self.passage.names.path_there(path))
                known = (await self.passage.ask("GET", "/access/permissions", {"path": there})).get(there, {})
                if ROLES[name].privileges - set(known):
                    return f"{name} on {path}"
        return ""

    # -- start and end --------------------------------------------------------------------------------------------

    async def serve(self, context: ssl.SSLContext) -> None:
        base = ENVIRONMENT["PVE"]
        user, password = ENVIRONMENT.get("PROXMOX_USER", ""), ENVIRONMENT.get("PROXMOX_PASSWORD", "")
        token, secret = ENVIRONMENT.get("PROXMOX_TOKEN_ID", ""), ENVIRONMENT.get("PROXMOX_TOKEN_SECRET", "")
        account = Account(user, password, f"{token}={secret}" if token else "")
        address = _reached_at()
        urls = (
            {one: one.replace("127.0.0.1", address) for one in (self.web, self.factory)}
            if address != "127.0.0.1"
            else {}
        )
        storages = {"local": ENVIRONMENT.get("PVE_STORAGE", "local")}
        if ENVIRONMENT.get("PVE_ISO_STORAGE"):
            storages["isoonly"] = ENVIRONMENT["PVE_ISO_STORAGE"]
        storages |= self.stand_ins
        names = Names(ENVIRONMENT.get("PVE_NODE", "pve1"), storages, ENVIRONMENT.get("PVE_BRIDGE", "vmbr0"), urls)
        names.template = ENVIRONMENT.get("PVE_TEMPLATE", "")
        names.missing = {name: _variable(name) for name in self.more_storages if name not in self.stand_ins}
        self.passage = Passage(base, names, account, _tls(), self.ledger, self.faults)
        names.first, names.contents = self.next_id, self.contents
        self.passage.kvm = ENVIRONMENT.get("PVE_KVM", "1") != "0"
        self.passage.containers = ENVIRONMENT.get("PVE_CONTAINERS", "1") != "0"
        await self.passage.start(self._sock, context)
        if self.unfit:
            raise RuntimeError(self.unfit)
        await self._prepare()

    @staticmethod
    def listen() -> socket.socket:
        """Where the node fetches files: on all addresses when it is another machine."""
        return socket.create_server(("127.0.0.1" if _reached_at() == "127.0.0.1" else "", 0))

    async def _prepare(self) -> None:
        ask, names = self.passage.ask, self.passage.names
        if not ENVIRONMENT.get("PVE_NODE"):
            names.node = next(one["node"] for one in await ask("GET", "/nodes") if one["status"] == "online")
        await self._check_storage(names.storages["local"])
        await self._remove_all()
        guests = await ask("GET", "/cluster/resources", {"type": "vm"})
        names.taken = frozenset(one["vmid"] for one in guests)
        await ask("POST", "/pools", {"poolid": POOL, "comment": "made by the tests of groundwork.homelab"})
        self.passage.before = {one["volid"] for one in await self._files()}
        self.files["there.qcow2"] = DISK
        url = f"{self.web}/there.qcow2"
        for here, there in names.urls.items():
            url = url.replace(here, there)
        wanted = {"content": "import", "filename": f"{PREFIX}there.qcow2", "url": url}
        upid = await ask("POST", f"/nodes/{names.node}/storage/{names.storages['local']}/download-url", wanted)
        self.passage.since = int(upid.split(":")[4], 16)
        done = await self._task(upid)
        if not done.startswith(("OK", "WARNINGS")):
            hint = "PVE_WEB is the address under which it reaches this machine"
            self._give_up(f"node {names.node} cannot fetch {url}: {done} ({hint})")

    async def _check_storage(self, storage: str) -> None:
        """Without this every test fails in words of its own. A storage that stands for ``isoonly`` is found where none is named."""
        listed = await self.passage.ask("GET", f"/nodes/{self.passage.names.node}/storage")
        names = self.passage.names
        if "isoonly" not in names.storages:
            contents = {one["storage"]: set(one["content"].split(",")) for one in listed}
            able = sorted(name for name, content in contents.items() if "iso" in content and not _DISKS & content)
            if able:
                names.storages["isoonly"] = able[0]
            else:
                names.missing["isoonly"] = _variable("iso")
        content = next((one["content"].split(",") for one in listed if one["storage"] == storage), None)
        if content is None:
            self._give_up(f"there is no storage {storage} on node {self.passage.names.node} (PVE_STORAGE)")
        elif _CONTENT - set(content):
            lacking = ", ".join(sorted(_CONTENT - set(content)))
            self._give_up(
                f"the storage {storage} (PVE_STORAGE) may not hold {lacking}: `pvesm set {storage} --content …`"
            )

    def _give_up(self, why: str) -> t.NoReturn:
        type(self).unfit = why
        raise RuntimeError(why)

    def __exit__(self, *_error: object) -> None:
        """What cannot be removed is said. A Ctrl-C has to wait for it, a second one does not."""
        ending = asyncio.run_coroutine_threadsafe(self._ends.aclose(), self._loop)
        try:
            try:
                ending.result(self.patience)
            except KeyboardInterrupt:
                ending.result(self.patience)
                raise
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    @property
    def beyond(self) -> str:
        """Why what a test saw says nothing: something that it asked for was not sent."""
        return "; ".join(dict.fromkeys(self.passage.beyond)) if hasattr(self, "passage") else ""

    async def unserve(self) -> None:
        if not hasattr(self, "passage"):
            return  # it has not come so far
        type(self).next_id = self.passage.names.next
        try:
            if not self.unfit:
                await self._remove_all()
        finally:
            await self.passage.stop()

    async def _files(self) -> list[dict[str, t.Any]]:
        names = self.passage.names
        found: list[dict[str, t.Any]] = []
        for storage in names.storages.values():
            found += await self.passage.ask("GET", f"/nodes/{names.node}/storage/{storage}/content")
        return found

    async def _remove_all(self) -> None:
        """Everything in pools and files of the tests' own, of this run or an earlier one; nothing else."""
        ask = self.passage.ask
        pools = [one["poolid"] for one in await ask("GET", "/pools") if one["poolid"].startswith(PREFIX)]
        guests: dict[int, dict[str, t.Any]] = {}
        for pool in pools:
            detail = (await ask("GET", "/pools", {"poolid": pool}))[0]
            guests |= {one["vmid"]: one for one in detail.get("members", []) if one.get("vmid") in IDS}
        await self._remove_guests(list(guests.values()))
        await self._let_downloads_end()
        for entry in await self._files():
            ours = re.search(rf"/{PREFIX}", entry["volid"]) or (
                entry["content"] == "backup" and entry.get("vmid") in guests
            )
            if ours:
                storage = entry["volid"].partition(":")[0]
                path = f"/nodes/{self.passage.names.node}/storage/{storage}/content/{entry['volid']}"
                if entry.get("protected"):
                    await ask("PUT", path, {"protected": 0})
                await self._task(await ask("DELETE", path))
        for pool in sorted(pools, key=lambda name: -name.count("/")):  # those below others first
            await self._empty_pool(pool)

    async def _let_downloads_end(self) -> None:
        """Of a run that was interrupted: the file is there when its task has ended."""
        query = {"source": "active"}
        for task in await self.passage.ask("GET", f"/nodes/{self.passage.names.node}/tasks", query):
            name = str(task.get("id")).replace("\\x2d", "-")
            if name.startswith(PREFIX) and not task.get("endtime"):
                await self._task(task["upid"])

    async def _empty_pool(self, pool: str) -> None:
        ask = self.passage.ask
        storages = [
            m["storage"] for m in (await ask("GET", "/pools", {"poolid": pool}))[0].get("members", []) if "storage" in m
        ]
        if storages:
            await ask("PUT", "/pools", {"poolid": pool, "storage": ",".join(storages), "delete": 1})
        await ask("DELETE", "/pools", {"poolid": pool})

    async def _remove_guests(self, guests: list[dict[str, t.Any]]) -> None:
        """Copies go before the templates that they stand on, and whoever is still worked on goes later."""
        end = time.monotonic() + _PATIENCE
        while guests:
            why = {one["vmid"]: await self._remove_guest(one) for one in guests}
            left = [one for one in guests if why[one["vmid"]]]
            if left and time.monotonic() > end:
                raise RuntimeError(f"these guests of the tests' own cannot be removed: {why}")
            if len(left) == len(guests):
                await asyncio.sleep(1)
            guests = left

    async def _remove_guest(self, member: dict[str, t.Any]) -> str:
        """Why it is still there; empty when it is gone."""
        ask = self.passage.ask
        path = f"/nodes/{member['node']}/{member['id']}"
        with contextlib.suppress(RuntimeError):
            await self._task(await ask("POST", f"{path}/status/stop"))
        with contextlib.suppress(RuntimeError):
            await ask("PUT", f"{path}/config", {"protection": 0})
        try:
            done = await self._task(await ask("DELETE", path, {"purge": 1, "destroy-unreferenced-disks": 1}))
        except RuntimeError as error:
            return "" if "does not exist" in str(error) else str(error)
        return "" if done.startswith(("OK", "WARNINGS")) else done

    async def _task(self, upid: str | None) -> str:
        """Wait for a task of ours; how it ended. None is what was done at once."""
        path = f"/nodes/{self.passage.names.node}/tasks/{upid}/status"
        end = time.monotonic() + _PATIENCE
        while upid and time.monotonic() < end:
            status = await self.passage.ask("GET", path)
            if status["status"] == "stopped":
                return str(status.get("exitstatus") or "")
            await asyncio.sleep(0.1)
        if upid:
            raise TimeoutError(f"the task {upid} does not end")
        return "OK"

    # -- what tests do --------------------------------------------------------------------------------------------

    def connection(self, **more: t.Any) -> dict[str, t.Any]:
        return super().connection(**{"task_timeout": 300.0, **more})

    def run(self, module: t.Any, **params: t.Any) -> Outcome:
        """Nobody answers in the tests' VMs: who does not care is not kept waiting for it."""
        for name in self.passage.names.missing:
            if f"'{name}'" in repr(params):
                self.needs_storage(name)
        if "shutdown_timeout" in module.SPEC.keywords()["argument_spec"]:
            params.setdefault("shutdown_timeout", 10)
        return super().run(module, **params)

    def fault(self, kind: str, **more: t.Any) -> Fault:
        if kind in PROXMOX or kind.startswith("kill"):
            pytest.skip(f"{_PLAYED}the fault {kind}")
        return super().fault(kind, **more)

    def session(self) -> t.Any:
        """As root, or where no password was given as the token: what it may not prepare skips the test."""
        from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.connection import Connection
        from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.session import Session

        if self.passage.account.password:
            return super().session()
        name, secret = PREPARATIONS
        return Session(Connection.of(self.connection(api_token_id=name, api_token_secret=secret)))

    def has_storage(self, name: str) -> bool:
        return name in self.stand_ins or name not in self.more_storages

    def late(self) -> None:
        """It is, by itself."""

    def needs_played(self, why: str) -> None:
        pytest.skip(f"{_PLAYED}{why}")

    def needs_storage(self, name: str) -> None:
        if name in self.passage.names.missing:
            pytest.skip(f"needs a storage that stands for {name}: {self.passage.names.missing[name]}")

    def needs_least_rights(self) -> None:
        if not self.passage.account.token or "Sys.Modify" in self._in_loop(self._rights_of_root()):
            pytest.skip(f"{_PLAYED}the token that was given may do more than the documentation asks for")

    async def _rights_of_root(self) -> dict[str, t.Any]:
        return dict((await self.passage.ask("GET", "/access/permissions", {"path": "/"})).get("/", {}))

    def put_file(self, content: str, name: str, data: bytes, node: str = "pve1") -> None:
        if node != "pve1":
            pytest.skip(f"{_PLAYED}a second node")
        names = self.passage.names
        if content == "vztmpl":
            if not names.template:
                pytest.skip("needs a container template: PVE_TEMPLATE=STORAGE:vztmpl/NAME")
            names.template_here = f"local:vztmpl/{name}"
            return
        self.files[name] = data
        with self.session() as session:
            upid = session.post(
                "/nodes/pve1/storage/local/download-url",
                {"content": content, "filename": name, "url": f"{self.web}/{name}"},
                asked="put a file there",
            )
            self._in_loop(self._task(names.upids.get(upid, upid)))


def _variable(storage: str) -> str:
    return f"PVE_{storage.upper()}_STORAGE"


def _reached_at() -> str:
    """The address under which the node reaches this machine."""
    host = urllib.parse.urlsplit(ENVIRONMENT["PVE"])
    return ENVIRONMENT.get("PVE_WEB") or _own_address(host.hostname or "", host.port or 8006)


def _own_address(host: str, port: int) -> str:
    """The address of this machine on the way to the node."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, port))
        return str(sock.getsockname()[0])


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ENVIRONMENT.get("PROXMOX_CA_PATH") or None)
    if ENVIRONMENT.get("PROXMOX_VALIDATE_CERTS", "true").lower() in ("0", "no", "false", "off"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
