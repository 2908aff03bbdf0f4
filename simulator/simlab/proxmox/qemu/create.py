# SPDX-License-Identifier: GPL-3.0-or-later
"""Creating a VM."""

from __future__ import annotations

import time
import uuid

from ..api import Call, handles
from ..errors import ApiError, Failure, Forbidden, task_text
from ..tasks import Task
from . import allocate, boot, checks, drives, options, power, restore
from .vm import Vm

_REQUEST_ONLY = frozenset(
    """node vmid pool storage archive force unique start bwlimit live-restore import-working-storage ha-managed""".split()
)


@handles("POST", "/nodes/{node}/qemu")
def create(call: Call) -> str:
    settings = {name: str(value) for name, value in call.params.items() if name not in _REQUEST_ONLY}
    pool = call.params.get("pool")
    checks.check_ssh_keys(settings)
    _check_allowed(call, pool)
    if "archive" in call.params:
        restore.check_archive(call, settings)
    drives.resolve_cdrom(settings)
    checks.check_volumes(call, call.vmid, settings, call.params.get("storage"))
    checks.check_options(call, call.vmid, settings, pool)
    checks.check_devices(call, call.vmid, settings, pool)
    checks.check_bridges(call, settings)
    checks.check_mappings(call, settings)
    _canonical(call, settings)
    if "archive" in call.params:
        return restore.restore(call, settings)
    vm = Vm(call.vmid, call.node.name, {"lock": "create"})
    try:
        call.cluster.add(vm)
    except Failure as error:
        raise Failure(f"unable to create VM {call.vmid} - {error}") from None
    if pool:
        call.cluster.pools[pool].guests.add(call.vmid)
    allocator = allocate.Allocator(call.cluster, vm, call.params.get("storage"))

    def undo() -> None:
        allocator.undo()
        if vm.options.get("lock") == "create":
            call.cluster.remove(vm.vmid)

    return call.start("qmcreate", call.vmid, lambda task: _work(call, vm, settings, allocator, task), undo)


def _check_allowed(call: Call, pool: str | None) -> None:
    if pool and pool not in call.cluster.pools:
        raise Forbidden(f"pool '{pool}' does not exist")
    over = "archive" in call.params and call.flag("force") and call.vmid in call.cluster.guests
    allowed = (
        call.allowed.has(f"/vms/{call.vmid}", ["VM.Allocate"])
        or (pool and call.allowed.has(f"/pool/{pool}", ["VM.Allocate"]))
        or (over and call.allowed.has(f"/vms/{call.vmid}", ["VM.Backup"]))
    )
    if not allowed:
        raise Forbidden()


def _canonical(call: Call, settings: dict[str, str]) -> None:
    """Network cards get their addresses; empty texts become what a config file keeps. (Passwords are hashed by PUT.)"""
    for name in list(settings):
        if name.startswith("net") and name[3:].isdigit():
            settings[name] = drives.with_mac(name, settings[name], call.cluster.mac_prefix())
    if "machine" in settings:
        settings["machine"] = options.canonical_machine(settings["machine"])
    options.normalise(settings)


async def _work(call: Call, vm: Vm, settings: dict[str, str], allocator: allocate.Allocator, task: Task) -> None:
    allocator.log = task.log
    try:
        async with call.cluster.locked(vm):
            made = _build(vm, settings, allocator)
            vm.options.clear()
            vm.options.update(made)
            vm.tidy()
            if vm.template:
                power.to_template(call.cluster, vm)
    except ApiError as error:
        raise Failure(f"unable to create VM {vm.vmid} - {task_text(error)}") from None
    allocator.made.clear()
    power.finish_creation(call, task)


def _build(vm: Vm, settings: dict[str, str], allocator: allocate.Allocator) -> dict[str, str]:
    made = dict(settings)
    if made.get("template") == "1":
        vm.options["template"] = "1"  # its disks are bases at once
    for name in sorted(settings):
        if drives.is_drive(name):
            vm.options[name] = made[name] = allocator.drive(name, settings[name])
    if "vga" in made:
        checks.check_display(made["vga"])
    if "boot" not in made:
        made["boot"] = boot.render(boot.default_order(made))
    if made.get("vmgenid", "1") == "1":
        made["vmgenid"] = str(uuid.uuid4())
    made.setdefault("smbios1", f"uuid={uuid.uuid4()}")
    pinned = options.pinned_machine(made.get("machine"), made.get("ostype"))
    if pinned:
        made["machine"] = pinned
    if "machine" in made:
        checks.check_machine(made["machine"])
    made["meta"] = f"creation-qemu={options.QEMU_VERSION},ctime={int(time.time())}"
    options.normalise(made)
    return made
