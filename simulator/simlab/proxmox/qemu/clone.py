# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloning VMs: full copies, and linked clones of templates."""

from __future__ import annotations

import re
import uuid

from .. import formats, named_formats
from ..api import Call, handles
from ..errors import ApiError, Failure, Forbidden
from ..sizes import format_size
from ..storage.storages import require_images
from ..storage.store import copy_data
from ..tasks import Task
from . import checks, drives, image_logs, machine, memory_state, options, snapshots
from .vm import Vm

_LEFT_OUT = ("template", "lock", "parent", "snaptime", "hookscript_run", *memory_state.OPTIONS)


@handles("POST", "/nodes/{node}/qemu/{vmid}/clone")
def clone(call: Call) -> str:
    new, pool = int(call.params["newid"]), call.params.get("pool")
    _check_allowed(call, new, pool)
    source = _source(call)
    if call.params.get("storage"):
        require_images(call.cluster.storages.get_active(source.node, call.text("storage")))
    source.check_lock()
    values = _values(call, source)
    full = call.flag("full", not source.template)
    _check_request(call, source, values, full)
    if new in call.cluster.guests:
        raise Failure(f"unable to create VM {new}: config file already exists")
    target = Vm(new, call.text("target", source.node), {"lock": "clone"})
    call.cluster.add(target)
    if pool:
        call.cluster.pools[pool].guests.add(new)
    job = _Clone(call, source, target, values, full)
    return call.start("qmclone", source.vmid, job.run, job.undo)


def _check_allowed(call: Call, new: int, pool: str | None) -> None:
    if pool and pool not in call.cluster.pools:
        raise Forbidden(f"pool '{pool}' does not exist")
    in_pool = pool and call.allowed.has(f"/pool/{pool}", ["VM.Allocate"])
    if not in_pool and not call.allowed.has(f"/vms/{new}", ["VM.Allocate"]):
        raise Forbidden()
    if call.params.get("storage"):
        call.allowed.require(f"/storage/{call.params['storage']}", "Datastore.AllocateSpace")


def _source(call: Call) -> Vm:
    target = call.params.get("target")
    if target and target not in call.cluster.nodes:
        raise Failure(f"no such cluster node '{target}'")
    return call.cluster.present_vm(call.node.name, call.vmid)


def _values(call: Call, source: Vm) -> dict[str, str]:
    name = call.params.get("snapname")
    if not name:
        return source.options
    if name not in source.snapshots:
        raise Failure(f"snapshot '{name}' does not exist")
    return source.snapshots[name].options


def _check_request(call: Call, source: Vm, values: dict[str, str], full: bool) -> None:
    if not full:
        for parameter in ("storage", "format"):
            if call.params.get(parameter):
                raise Failure(f"parameter '{parameter}' not allowed for linked clones")
    for slot, drive in source.volumes(values):
        if drives.is_cdrom(drive, exclude_cloudinit=True):
            continue
        storage = drive["file"].partition(":")[0]
        if not call.params.get("storage"):
            call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")
        if slot == "tpmstate0" and full and source.running and not call.params.get("snapname"):
            raise Failure("cannot clone TPM state while VM is running")
        _check_feature(call, source, slot, drive, _is_full(full, slot, drive))
    checks.check_bridges(call, {k: v for k, v in values.items() if re.fullmatch(r"net\d+", k)})
    if call.text("target", source.node) != source.node:
        _check_shared(call, source, values)


def _is_full(full: bool, slot: str, drive: drives.Drive) -> bool:
    """Also a linked clone has a cloud-init drive and a TPM of its own."""
    return full or slot == "tpmstate0" or drives.is_cloudinit(drive)


def _check_feature(call: Call, source: Vm, slot: str, drive: drives.Drive, full: bool) -> None:
    store, _ = call.cluster.storages.find(source.node, drive["file"])
    volume = store.volumes.get(drive["file"])
    snapshot = bool(call.params.get("snapname"))
    if volume is None or drives.is_cloudinit(drive):
        return
    if not snapshots.storage_feature("copy" if full else "clone", store, volume, snapshot):
        what = "a snapshot of " if snapshot else ""
        text = f"clone feature is not supported for {what}'{drive['file']}' ({slot})"
        raise Failure(f"{'Full' if full else 'Linked'} {text}")


def _check_shared(call: Call, source: Vm, values: dict[str, str]) -> None:
    """``target`` is "only allowed if the original VM is on shared storage" (the API's description)."""
    for slot, drive in source.volumes(values):
        if ":" in drive["file"] and not call.cluster.storages.find(source.node, drive["file"])[0].shared:
            raise Failure(f"can't clone VM to node '{call.text('target')}' (VM uses local storage: {slot})")


class _Clone:
    def __init__(self, call: Call, source: Vm, target: Vm, values: dict[str, str], full: bool) -> None:
        self.call = call
        self.source = source
        self.target = target
        self.values = dict(values)
        self.full = full
        self.storages = call.cluster.storages
        self.made: list[str] = []
        #: Drives of a running VM: QEMU copies them, and lets them go together.
        self.mirrored: list[str] = []

    async def run(self, task: Task) -> None:
        task.log(f"creating a clone of VM {self.source.vmid} with ID {self.target.vmid}")
        try:
            async with self.call.cluster.locked(self.source):
                made = self._options(task)
        except ApiError as error:
            raise Failure(f"clone failed: {error}") from None
        if "firewall" in self.call.cluster.extras:
            self.call.cluster.extras["firewall"].copy(f"guest/{self.source.vmid}", f"guest/{self.target.vmid}")
        self.target.options.clear()
        self.target.options.update(made)

    def undo(self) -> None:
        if self.target.options.get("lock") == "clone":
            for volid in self.made:
                self.storages.free(self.target.node, volid)
            self.call.cluster.remove(self.target.vmid)

    def _options(self, task: Task) -> dict[str, str]:
        left = (*_LEFT_OUT, *(key for key in self.values if re.fullmatch(r"unused\d+|snaptime", key)))
        made = {key: value for key, value in self.values.items() if key not in left}
        for key, value in sorted(made.items()):  # volumes are numbered in this order
            if drives.is_drive(key):
                made[key] = self._drive(key, value, task)
            elif re.fullmatch(r"net\d+", key):
                net = drives.parse_net(key, value)
                net["macaddr"] = drives.new_mac(self.call.cluster.mac_prefix())
                made[key] = drives.render_net(key, net)
        if self.mirrored:
            image_logs.left(task.log, self.mirrored, machine.has_agent(self.source))
        waiting = [*self.source.pending, *(["delete"] if self.source.deleting else [])]
        if waiting and not self.call.params.get("snapname"):
            task.log(f"found pending changes for '{','.join(waiting)}', discarding for clone")
        made["smbios1"] = _new_uuid(made.get("smbios1", ""))
        if made.get("vmgenid", "0") != "0":
            made["vmgenid"] = str(uuid.uuid4())
        made["name"] = self.call.text("name") or f"Copy-of-VM-{self.source.options.get('name', self.source.vmid)}"
        if self.call.text("description"):
            made["description"] = self.call.text("description")
        options.normalise(made)
        return made

    def _drive(self, slot: str, value: str, task: Task) -> str:
        drive = drives.parse(slot, value)
        if drives.is_cdrom(drive, exclude_cloudinit=True):
            return value
        cloud_init = drives.is_cloudinit(drive)
        linked = not _is_full(self.full, slot, drive)
        task.log(f"create {'linked' if linked else 'full'} clone of drive {slot} ({drive['file']})")
        made = self._linked(drive["file"], task) if linked else self._copied(slot, drive["file"], cloud_init, task)
        drive["file"] = made
        size = self.storages.size_of(self.target.node, made)
        drive["size"] = format_size(size or 0)
        return drives.render(slot, drive)

    def _copied(self, slot: str, volid: str, cloud_init: bool, task: Task) -> str:
        source, volume = self.storages.find(self.source.node, volid)
        storage = self.call.text("storage") or source.name
        target = self.storages.get(self.target.node, storage)
        format_ = "raw" if target.flat else self.call.text("format") or source.parse(volume).format
        if not cloud_init:
            made = self.storages.copy(self.source.node, volid, storage, self.target.vmid, format_)
        else:
            name = target.next_name(self.target.vmid, format_, kind="cloudinit")
            made = self.storages.allocate(self.target.node, storage, name, 4 << 20)
        self.made.append(made.volid)
        if self.source.running and not self.call.params.get("snapname") and not cloud_init:
            image_logs.allocated(task.log, target, made)
            image_logs.mirrored(task.log, slot, made.size)
            self.mirrored.append(slot)
        else:
            image_logs.copied(task.log, slot, target, made, cloud_init)
        return made.volid

    def _linked(self, volid: str, task: Task) -> str:
        store, volume = self.storages.find(self.source.node, volid)
        base = store.volumes[volid]
        name = store.next_name(self.target.vmid, base.format if store.flat else "qcow2")  # raw files know no base
        linked = name if store.type == "lvmthin" else f"{volume}/{name}"
        made = self.storages.allocate(self.target.node, store.name, linked, base.size, image=base.image)
        copy_data(store.directory(volid), store.directory(made.volid))
        self.made.append(made.volid)
        image_logs.linked(task.log, store, volume, self.target.vmid, made)
        return made.volid


def _new_uuid(smbios: str) -> str:
    wanted = named_formats.PROPERTY_STRINGS["pve-qm-smbios1"]
    values = formats.parse(wanted, smbios, "smbios1")
    values["uuid"] = str(uuid.uuid4())
    return formats.render(wanted, values)
