# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the played cluster: nodes, storages, guests, pools, users, tasks."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import typing as t
import uuid

from ..contracts import GuestHost
from .access import Access
from .config import NodeConfig, ProxmoxConfig
from .errors import Failure
from .fetching import Fetch
from .guest import GuestConfig
from .qemu.vm import Vm
from .status_daemon import StatusDaemon
from .storage.storages import Storages
from .tasks import Tasks, current

if t.TYPE_CHECKING:
    from .auth import Authentication


class Node:
    """A hypervisor. Its values are those of an idle machine."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.name = config.name
        self.booted = time.time() - 7000
        self.fingerprint = ":".join(f"{byte:02X}" for byte in uuid.uuid5(uuid.NAMESPACE_DNS, config.name).bytes * 2)
        self.bridges = set(config.bridges)
        #: False: it does not answer; the rest of the cluster goes on.
        self.online = True

    def uptime(self) -> int:
        return int(time.time() - self.booted)


class Pool:
    def __init__(self, comment: str = "") -> None:
        self.comment = comment
        self.guests: set[int] = set()
        self.storages: set[str] = set()


class Cluster:
    def __init__(self, config: ProxmoxConfig, host: GuestHost | None, fetch: Fetch) -> None:
        self.config = config
        self.host = host
        self.fetch = fetch
        self.name = config.cluster_name or config.nodes[0].name
        self.nodes = {node.name: Node(node) for node in config.nodes}
        self.storages = Storages(config, list(self.nodes))
        self.guests: dict[int, GuestConfig] = {}
        self.pools: dict[str, Pool] = {}
        self.access = Access(config, self.pool_of)
        self.tasks = Tasks(config.task_seconds, config.time_scale)
        self.options: dict[str, t.Any] = {}
        self.authentication: Authentication | None = None
        #: State of the parts that other modules own (firewall, jobs, HA, mappings), by their name.
        self.extras: dict[str, t.Any] = {}
        self.status = StatusDaemon(self)
        self._timers: set[asyncio.Task[None]] = set()

    def extra(self, name: str, make: t.Callable[[], t.Any]) -> t.Any:
        """State of a part that is made when it is first asked for."""
        if name not in self.extras:
            self.extras[name] = make()
        return self.extras[name]

    # -- guests -------------------------------------------------------------------------------------------

    def vm(self, node: str, vmid: int | str) -> Vm:
        """Raises Failure with the text that the real server has when there is no configuration file."""
        guest = self.guests.get(int(vmid))
        if not isinstance(guest, Vm) or guest.node != node:
            raise Failure(f"Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist")
        return guest

    def present_vm(self, node: str, vmid: int | str) -> Vm:
        """As ``vm``, with the text of what asks first whether a VM runs."""
        guest = self.guests.get(int(vmid))
        if not isinstance(guest, Vm) or guest.node != node:
            raise Failure(f"unable to find configuration file for VM {vmid} on node '{node}'")
        return guest

    def add(self, guest: GuestConfig) -> None:
        """Take a VM id; raises Failure when it is taken."""
        other = self.guests.get(guest.vmid)
        if other is not None:
            raise Failure(f"{other.word} {guest.vmid} already exists on node '{other.node}'")
        self.guests[guest.vmid] = guest

    def remove(self, vmid: int) -> None:
        """Forget a guest, its ACLs and its pool."""
        self.guests.pop(vmid, None)
        self.access.forget(lambda acl: acl.path == f"/vms/{vmid}")
        for pool in self.pools.values():
            pool.guests.discard(vmid)
        if "firewall" in self.extras:
            self.extras["firewall"].forget(f"guest/{vmid}")

    @contextlib.asynccontextmanager
    async def locked(self, guest: GuestConfig) -> t.AsyncIterator[None]:
        """The lock file of a guest, kept for as long as the task takes; raises Failure when another keeps it too long.

        How long depends on what the other one does: work takes the time of this machine, waiting for a guest that of the lab.
        """
        patience = 10 * self.config.time_scale
        left = guest.busy_until - asyncio.get_running_loop().time()
        try:
            await asyncio.wait_for(guest.lock.acquire(), patience if left > patience else max(1.0, patience))
        except TimeoutError:
            raise Failure(f"can't lock file '{guest.lock_file.format(vmid=guest.vmid)}' - got timeout") from None
        try:
            task = current.get()
            if task is not None:
                await task.spend()
            yield
        finally:
            guest.lock.release()

    @contextlib.contextmanager
    def waited_for(self, guest: GuestConfig, seconds: float) -> t.Iterator[None]:
        """While the block runs, whoever holds the guest's lock waits for it to do something, this long."""
        guest.busy_until = asyncio.get_running_loop().time() + seconds * self.config.time_scale
        try:
            yield
        finally:
            guest.busy_until = 0.0

    def lock_guest(self, path: str, seconds: float) -> None:
        """A fault: the guest that ``path`` names is locked for a while."""
        match = re.search(r"/(?:qemu|lxc)/(\d+)", path)
        guest = self.guests.get(int(match[1])) if match else None
        if guest is None:
            return
        guest.options["lock"] = "backup"
        options = guest.options

        async def unlock() -> None:
            await asyncio.sleep(seconds)
            options.pop("lock", None)

        self.later(unlock())

    def later(self, work: t.Coroutine[t.Any, t.Any, None]) -> None:
        """Do something beside the requests."""
        timer = asyncio.get_running_loop().create_task(work)
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)

    async def close(self) -> None:
        """Interrupt what runs and wait for it."""
        for timer in list(self._timers):
            timer.cancel()
        await self.tasks.close()

    # -- pools --------------------------------------------------------------------------------------------

    def pool_of(self, path: str) -> str | None:
        """The pool that gives rights on ``/vms/100`` or ``/storage/local``."""
        kind, _, name = path.strip("/").partition("/")
        for pool_name, pool in self.pools.items():
            if (kind == "vms" and name.isdigit() and int(name) in pool.guests) or (
                kind == "storage" and name in pool.storages
            ):
                return pool_name
        return None

    # -- datacenter ---------------------------------------------------------------------------------------

    def mac_prefix(self) -> str:
        return str(self.options.get("mac_prefix") or "BC:24:11")

    def next_id(self) -> int:
        options = dict(part.split("=") for part in str(self.options.get("next-id", "")).split(",") if "=" in part)
        lower, upper = int(options.get("lower", 100)), int(options.get("upper", 1000000))
        for vmid in range(lower, upper):
            if vmid not in self.guests:
                return vmid
        raise Failure(f"unable to get any free VMID in range [{lower}, {upper}]")

    # -- high availability, jobs --------------------------------------------------------------------------

    def ha_managed(self, sid: str) -> bool:
        return sid in self.extras.get("ha", {})

    def ha_steers(self, sid: str) -> bool:
        """Whether power and place of a guest are the HA manager's business."""
        return self.ha_managed(sid) and self.extras["ha"][sid].get("state") != "ignored"

    def ha_request(self, sid: str, **wanted: str) -> None:
        """``state`` or ``target`` for a resource."""
        from . import ha_manager

        ha_manager.request(self, sid, **wanted)

    def ha_state(self, sid: str) -> dict[str, t.Any]:
        """The ``ha`` of a guest's status."""
        resource = self.extras.get("ha", {}).get(sid)
        if resource is None or resource.get("state") == "ignored":
            return {"managed": 0}
        return {"managed": 1, "state": resource.get("state", "started") if self.config.ha_manager else None}

    def ha_wanted(self, sid: str) -> dict[str, t.Any]:
        """``hastate`` of a guest in the list of resources."""
        resource = self.extras.get("ha", {}).get(sid)
        return {} if resource is None else {"hastate": resource.get("state")}

    def purge(self, vmid: int) -> None:
        """Take a destroyed guest out of HA and backup jobs."""
        from . import ha_rules

        for sid in (f"vm:{vmid}", f"ct:{vmid}"):
            if self.extras.get("ha", {}).pop(sid, None) is not None:
                ha_rules.forget(self.extra("ha_rules", dict), sid)
        jobs = self.extras.get("backup", {})
        for name, job in list(jobs.items()):
            for key in ("vmid", "exclude"):
                if job.get(key):
                    job[key] = ",".join(item for item in str(job[key]).split(",") if item != str(vmid))
            if job.get("vmid") == "":
                del jobs[name]  # it has nothing to do any more
            elif job.get("exclude") == "":
                del job["exclude"]
