# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup writes into the log of its task."""

from __future__ import annotations

import shlex
import time
import typing as t
import uuid

from .api import Call
from .guest import GuestConfig
from .lxc import options as containers
from .qemu import drives, image_logs
from .qemu.vm import Vm

Log = t.Callable[[str], None]
_UNNAMED = ("vmid", "node", "id", "starttime", "dow", "stdout", "enabled", "job-id")


def command(call: Call, wanted: t.Iterable[int]) -> str:
    """The job as it would be typed."""
    options = {name: str(value) for name, value in call.params.items() if name not in _UNNAMED}
    options["node"] = call.node.name
    given = [f"--{name} {shlex.quote(value)}" for name, value in sorted(options.items()) if value]
    guests = [str(vmid) for vmid in wanted] if call.params.get("vmid") else []
    return " ".join(["vzdump", *guests, *given])


def stamp(log: Log, what: str) -> None:
    log(f"INFO: {what} {time.strftime('%Y-%m-%d %H:%M:%S')}")


def begin(log: Log, call: Call, guest: GuestConfig) -> str:
    """The mode of the backup: nobody has to stop what is stopped."""
    mode = call.text("mode", "snapshot") if guest.running else "stop"
    lines = _of_vm(guest) if isinstance(guest, Vm) else _of_container(guest)
    shown = [f"backup mode: {mode}"]
    if call.text("bwlimit", "0") != "0":
        shown.append(f"bandwidth limit: {call.text('bwlimit')} KiB/s")
    shown.append(f"ionice priority: {call.text('ionice', '7')}")
    # A snapshot is prepared before its mode is known to work.
    for line in [*lines, *shown] if mode == "snapshot" else [*shown, *lines]:
        log(f"INFO: {line}")
    if guest.running and mode != "snapshot":
        log(f"INFO: {'stopping virtual' if mode == 'stop' else 'suspending'} guest")
    return mode


def _of_vm(vm: Vm) -> t.Iterator[str]:
    if vm.options.get("name"):
        yield f"VM Name: {vm.options['name']}"
    for slot, drive in vm.volumes():
        if drives.is_cdrom(drive):
            continue
        if slot == "efidisk0" and vm.options.get("bios") != "ovmf":
            yield f"exclude disk '{slot}' '{drive['file']}' (efidisk but no OVMF BIOS)"
        elif drive.get("backup") == "0":
            yield f"exclude disk '{slot}' '{drive['file']}' (backup=no)"
        else:
            yield f"include disk '{slot}' '{drive['file']}' {drive.get('size', '')}".rstrip()


def _of_container(ct: GuestConfig) -> t.Iterator[str]:
    yield f"CT Name: {ct.name}"
    for slot in sorted(name for name in ct.options if containers.is_mount(name)):
        point = containers.parse_mount(slot, ct.options[slot])
        where = "/" if slot == "rootfs" else point.get("mp", "")
        kind = "bind" if point["volume"].startswith("/") else "volume"
        if slot == "rootfs" or (kind == "volume" and point.get("backup") == "1"):
            yield f"including mount point {slot} ('{where}') in backup"
        else:
            why = "not a volume" if kind == "bind" else "disabled"
            yield f"excluding {kind} mount point {slot} ('{where}') from backup ({why})"


def left_out(log: Log, guest: GuestConfig) -> None:
    """What of a VM's configuration is not archived."""
    for name, value in sorted(guest.options.items()):
        if name.startswith("unused") and guest.kind == "qemu":
            log(f"INFO: skip unused drive '{value}' (not included into backup)")
    if guest.kind != "qemu":
        return
    if guest.snapshots:
        log("INFO: snapshots found (not included into backup)")
    if guest.pending or guest.deleting:
        log("INFO: pending configuration changes found (not included into backup)")


def archived(log: Log, guest: GuestConfig, mode: str, sizes: t.Sequence[int]) -> None:
    """The copying: a VM that does not run is started for it, and stopped again."""
    total = sum(sizes)
    if guest.kind != "qemu":
        log(f"INFO: Total bytes written: {total}")
        return
    if not guest.running or mode == "stop":
        log("INFO: starting kvm to execute backup task")
    log(f"INFO: started backup task '{uuid.uuid4()}'")
    if guest.running and mode == "stop":
        log("INFO: resuming VM again after 0 seconds")
    whole = image_logs.rendered(total)
    log(f"INFO: 100% ({whole} of {whole}) in 0s, read: 0 B/s, write: 0 B/s")
    if total:
        log(f"INFO: backup is sparse: {image_logs.rendered(total, 2)} (100%) total zero data")
        log(f"INFO: transferred {image_logs.rendered(total, 2)} in <1 seconds")
    if not guest.running:
        log("INFO: stopping kvm after backup task")


def finished(log: Log, vmid: int) -> None:
    log(f"INFO: Finished Backup of VM {vmid} (00:00:00)")
    stamp(log, "Backup finished at")
