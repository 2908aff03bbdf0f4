# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing a VM's configuration: ``PUT`` at once, ``POST`` as a task."""

from __future__ import annotations

import re
import uuid

from .. import formats, passwords, tags
from ..api import Call, handles
from ..errors import Failure, ParameterError
from ..tasks import Task
from . import allocate, boot, checks, drives, options, pending, power
from .vm import Vm

_CONFIG = "/nodes/{node}/qemu/{vmid}/config"
_REQUEST_ONLY = ("node", "vmid", "digest", "background_delay", "skiplock", "delete", "revert", "force")


@handles("PUT", _CONFIG)
async def put(call: Call) -> None:
    update = await Update.checked(call)
    async with call.cluster.locked(update.vm):
        update.check_state()
        await update.work(lambda line: None)


@handles("POST", _CONFIG)
async def post(call: Call) -> str | None:
    update = await Update.checked(call)
    update.check_state()

    async def work(task: Task) -> None:
        async with call.cluster.locked(update.vm):
            task.log(f"update VM {call.vmid}: {update.log_text()}")
            await update.work(task.log)

    return await call.in_time(
        call.start("qmconfig", call.vmid, work), "background_delay", f"failed to update VM {call.vmid}: "
    )


class Update:
    """One request. First everything is checked, then done option by option: an error keeps what was done before."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.cluster = call.cluster
        given = {name: value for name, value in call.params.items() if name not in _REQUEST_ONLY}
        self.sent = {name: str(value) for name, value in given.items() if value is not None}
        self.undefined = [name for name, value in call.params.items() if value is None]
        self.set = dict(self.sent)
        self.delete: list[str] = []
        self.revert: list[str] = []
        self.force = call.flag("force")

    @classmethod
    async def checked(cls, call: Call) -> Update:
        """Checks that need no configuration; raises ApiError."""
        update = cls(call)
        update._check_parameters()
        update.vm = call.cluster.vm(call.node.name, call.vmid)
        return update

    vm: Vm

    def log_text(self) -> str:
        shown = {name: "<hidden>" if name == "cipassword" else value for name, value in self.sent.items()}
        for name in ("delete", "revert"):
            if name in self.call.params:
                shown[name] = self.call.text(name)
        return " ".join(f"-{name} {value}" for name, value in sorted(shown.items()))

    # -- checks -------------------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        call, params = self.call, self.set
        if call.flag("skiplock"):
            call.allowed.only_root("skiplock")
        checks.check_ssh_keys(params)
        if not params and not self.undefined and not call.params.get("delete") and not call.params.get("revert"):
            raise Failure("no options specified")
        drives.resolve_cdrom(params)
        self._read_lists()
        self._canonical()
        checks.check_options(call, call.vmid, self.delete)
        checks.check_options(call, call.vmid, params)
        checks.check_volumes(call, call.vmid, params)
        checks.check_bridges(call, params)
        checks.check_mappings(call, params)

    def _read_lists(self) -> None:
        for name in formats.split_list(self.call.text("revert")):
            if not options.exists(name):
                raise ParameterError({"revert": f"unknown option '{name}'"})
            self._refuse_both("delete", name, "revert", name in self.set)
            self.revert.append(name)
        for name in formats.split_list(self.call.text("delete")):
            name = "ide2" if name == "cdrom" else name
            self._refuse_both("delete", name, "delete", name in self.set)
            self._refuse_both("revert", name, "revert", name in self.revert)
            if not options.exists(name):
                raise ParameterError({"delete": f"unknown option '{name}'"})
            self.delete.append(name)

    @staticmethod
    def _refuse_both(parameter: str, name: str, verb: str, both: bool) -> None:
        if both:
            raise ParameterError({parameter: f"you can't use '-{name}' and -{verb} {name}' at the same time"})

    def _canonical(self) -> None:
        for name, value in self.set.items():
            if drives.is_drive(name):
                drives.parse(name, value)
            elif re.fullmatch(r"net\d+", name):
                self.set[name] = drives.with_mac(name, value, self.cluster.mac_prefix())
            elif name == "vmgenid" and value == "1":
                self.set[name] = str(uuid.uuid4())
        checks.check_hook_script(self.call, self.set)

    def check_state(self) -> None:
        """Digest, lock, memory; before anything is changed."""
        vm, params = self.vm, self.call.params
        if params.get("digest") and params["digest"] != vm.digest():
            raise Failure("checksum mismatch (file change by other user?)")
        if "vmstate" in self.delete and vm.options.get("lock") == "suspended":
            self.delete += [name for name in power.STATE if name in vm.options and name not in self.delete]
        elif not self.call.flag("skiplock"):
            vm.check_lock()
        for name in self.revert:
            if name in vm.options:
                self.set[name] = vm.options[name]
            elif name in vm.pending:
                self.delete.append(name)
        if "tags" in self.set or "tags" in self.delete:
            tags.check_change(self.call, vm.vmid, vm.options.get("tags", ""), self.set.get("tags", ""))
        self._check_memory()

    def _check_memory(self) -> None:
        if not self.set.get("memory") and "balloon" not in self.set:
            return
        merged = {**self.vm.options, **self.vm.pending, **self.set}
        if int(merged.get("balloon", 0)) > checks.memory_of(merged.get("memory", "512")):
            raise Failure("balloon value too large (must be smaller than assigned memory)")

    # -- work ---------------------------------------------------------------------------------------------

    async def work(self, log: allocate.Log) -> None:
        """Raises ApiError; what was done before stays."""
        vm = self.vm
        self._order = boot.parse(vm.options.get("boot"))
        changed = set()
        for name in self.delete:
            if self._delete(name, log):
                changed.add(name)
        for name in sorted(self.set, key=lambda name: (name == "boot", name)):
            changed.add(name)
            vm.deleting.pop(name, None)
            if vm.pending.get(name) != self.set[name]:
                self._change(name, self.set[name], log)
        if self.undefined:
            raise Failure(f"unable to parse value of '{self.undefined[0]}' - got undefined value")
        vm.tidy()
        if vm.running:
            await pending.plug(self.cluster, vm, changed | {"boot"})
        else:
            pending.apply(self.cluster, vm, log)

    def _delete(self, name: str, log: allocate.Log) -> bool:
        vm = self.vm
        value = vm.options.get(name, vm.pending.get(name))
        if value is None:
            log(f"cannot delete '{name}' - not set in current configuration!")
            return False
        was_pending = vm.pending.pop(name, None)
        if name in self._order and "boot" not in self.delete:
            self._order.remove(name)
            vm.pending["boot"] = boot.render(self._order) or " "
        if name.startswith("unused"):
            self._delete_unused(name, value)
            return True
        if name == "vmstate":
            vm.check_protection(f"can't remove vmstate '{value}'")
            self.cluster.storages.free(vm.node, value)
            vm.options.pop(name, None)
            return True
        if drives.is_drive(name):
            vm.check_protection(f"can't remove drive '{name}'")
            self._check_drive_right(name, value)
            if was_pending is not None:
                pending.register_unused(self.cluster, vm, was_pending, name)
        else:
            checks.check_devices(self.call, vm.vmid, {name: value}, None, "delete")
            checks.check_bridges(self.call, {name: value})
            if name == "tags":
                self.call.allowed.vm(vm.vmid, "VM.Config.Options")
        vm.deleting[name] = self.force
        return True

    def _delete_unused(self, name: str, value: str) -> None:
        vm = self.vm
        vm.check_protection(f"can't remove unused disk '{value}'")
        self.call.allowed.vm(vm.vmid, "VM.Config.Disk")
        drive = drives.parse(name, value)
        if pending.owns(self.cluster, vm, drive["file"]):
            storage = drive["file"].partition(":")[0]
            self.call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")
        pending.deallocate(self.cluster, vm, name, drive)
        vm.options.pop(name, None)

    def _check_drive_right(self, name: str, value: str) -> None:
        drive = drives.parse(name, value)
        if drives.is_cloudinit(drive):
            self.call.allowed.vm(self.vm.vmid, "VM.Config.Cloudinit", "VM.Config.CDROM")
        else:
            right = "VM.Config.CDROM" if drives.is_cdrom(drive) else "VM.Config.Disk"
            self.call.allowed.vm(self.vm.vmid, right)

    def _change(self, name: str, value: str, log: allocate.Log) -> None:
        vm = self.vm
        if drives.is_drive(name):
            self._change_drive(name, value, log)
            return
        old = {name: vm.options[name]} if name in vm.options else {}
        verb = "modify" if name.startswith("serial") else "set"
        checks.check_devices(self.call, vm.vmid, {**old, name: value}, None, verb)
        checks.check_bridges(self.call, old)
        if name == "vga":
            checks.check_display(value)
        elif name == "machine":
            checks.check_machine(value)
        if name == "cipassword":  # at once; Windows gets it as it was sent
            kept = (vm.options.get("ostype") or "").startswith("w")
            vm.options[name] = value if kept else passwords.hashed(value)
            return
        if name == "tags":
            value = self._tags(value)
        elif name == "boot":
            value = self._boot(value)
        elif name == "ostype" and "machine" not in {**vm.pending, **vm.deleting, **self.set}:
            pinned = options.pinned_machine(vm.options.get("machine"), value)
            if pinned:
                vm.pending["machine"] = pinned
        if name == "sshkeys" and not value:
            return  # taken for "not given"
        made = {name: value}
        options.normalise(made)
        if made:
            vm.pending.update(made)
        elif name in vm.options:
            vm.deleting[name] = False

    def _tags(self, value: str) -> str:
        self.call.allowed.vm(self.vm.vmid, "VM.Config.Options")
        style = str(self.cluster.options.get("tag-style", ""))
        tags = formats.split_list(value)
        if "case-sensitive=1" not in style:
            tags = [tag.lower() for tag in tags]
        return ";".join(sorted(set(tags)))

    def _boot(self, value: str) -> str:
        order = boot.parse(value)
        known = {**self.vm.options, **self.vm.pending, **self.set}
        for device in order:
            if device not in known or device in self.delete:
                raise Failure(f"invalid bootorder: device '{device}' does not exist'")
        if order and "bootdisk" in self.vm.options:
            self.vm.deleting["bootdisk"] = False
        return boot.render(order) if order else value

    @staticmethod
    def _check_tpm(old: str, new: str) -> None:
        before, after = drives.parse("tpmstate0", old), drives.parse("tpmstate0", new)
        if before["file"] == after["file"] and before.get("version", "v1.2") != after.get("version", "v1.2"):
            raise Failure("cannot change TPM state version after creation")

    def _change_drive(self, name: str, value: str, log: allocate.Log) -> None:
        vm = self.vm
        for one in (vm.options.get(name), value):
            if one is not None:
                self._check_drive_right(name, one)
        if name == "tpmstate0" and name in vm.options:
            self._check_tpm(vm.options[name], value)
        if name in vm.pending:
            pending.register_unused(self.cluster, vm, vm.pending[name], name)
        allocator = allocate.Allocator(self.cluster, vm, None, log)
        try:
            vm.pending[name] = allocator.drive(name, value)
        except Failure:
            allocator.undo()
            raise
        cdrom = drives.is_cdrom(drives.parse(name, value), exclude_cloudinit=True)
        if self._order and cdrom and name not in self._order:
            self._order.append(name)
            vm.pending["boot"] = boot.render(self._order)
