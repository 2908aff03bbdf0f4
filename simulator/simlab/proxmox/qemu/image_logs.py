# SPDX-License-Identifier: GPL-3.0-or-later
"""What qemu-img and the copying of disks write into the logs of tasks."""

from __future__ import annotations

import typing as t

from ..storage.store import Store, Volume

Log = t.Callable[[str], None]
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
#: Without and with a base: clusters of a linked clone are bigger, and parts of them can come from the base.
_CLUSTERS = ("cluster_size=65536 extended_l2=off", "cluster_size=131072 extended_l2=on")


def rendered(size: int, places: int = 1) -> str:
    """``1.0 GiB``."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.{places}f} {_UNITS[unit]}"


def formatted(log: Log, store: Store, made: Volume) -> None:
    """A file was made; a volume group or pool says nothing."""
    if store.flat:
        return
    path, metadata = store.node_path(made.volid.partition(":")[2]), store.options.get("preallocation", "metadata")
    if made.format == "vmdk":
        log(f"Formatting '{path}', fmt=vmdk size={made.size} compat6=off hwversion=undefined")
    elif made.format != "qcow2":
        kept = "off" if metadata == "metadata" else metadata
        log(f"Formatting '{path}', fmt={made.format} size={made.size} preallocation={kept}")
    else:
        base = f" backing_file=../{made.base} backing_fmt={made.base.rpartition('.')[2]}" if made.base else ""
        log(
            f"Formatting '{path}', fmt=qcow2 {_CLUSTERS[bool(made.base)]} preallocation={metadata} compression_type=zlib "
            f"size={made.size}{base} lazy_refcounts=off refcount_bits=16"
        )


def allocated(log: Log, store: Store, made: Volume) -> None:
    """The target of a copy."""
    formatted(log, store, made)
    log(f"allocated target volume '{made.volid}'")


def converted(log: Log, size: int) -> None:
    """The progress of a copy: what holds nothing is copied at once."""
    log(f"transferred 0.0 B of {rendered(size)} (0.00%)")
    log(f"transferred {rendered(size)} of {rendered(size)} (100.00%)")


def copied(log: Log, slot: str, store: Store, made: Volume, cloud_init: bool = False) -> None:
    """A full clone of a drive. A cloud-init drive is not copied, one of EFI variables by another tool."""
    allocated(log, store, made)
    if not cloud_init and slot != "efidisk0":
        converted(log, made.size)


def mirrored(log: Log, slot: str, size: int) -> None:
    """A disk of a running VM is copied by QEMU itself."""
    whole = rendered(size)
    log(f"drive mirror is starting for drive-{slot}")
    log(f"mirror-{slot}: transferred {whole} of {whole} (100.00%) in 0s, ready")
    log("all 'mirror' jobs are ready")


def switched(log: Log, slot: str) -> None:
    """The VM goes on with the copy."""
    log(f"mirror-{slot}: Completing block job...")
    log(f"mirror-{slot}: Completed successfully.")
    log(f"mirror-{slot}: mirror-job finished")


def left(log: Log, slots: t.Sequence[str], agent: bool) -> None:
    """The copies are for another VM: they are taken at one moment."""
    if agent:
        log("skipping guest agent 'guest-fsfreeze-freeze' command: the agent is not running inside of the guest")
    else:
        log("skipping guest-agent 'guest-fsfreeze-freeze', disabled in VM options")
    log("suspend vm")
    for slot in slots:
        log(f"mirror-{slot}: Cancelling block job")
    for slot in slots:
        log(f"mirror-{slot}: Done.")
    log("resume vm")


def linked(log: Log, store: Store, base: str, owner: int, made: Volume) -> None:
    """A linked clone of a base volume (``140/base-140-disk-0.qcow2``)."""
    if not store.flat:
        name = made.volid.rpartition("/")[2]
        log(f"clone {base}: images, {name}, {owner} to {name} (base=../{base})")
    formatted(log, store, made)


def efi_variables(log: Log, size: int, enrolled: bool) -> None:
    """The template of the firmware's variables is copied into a new disk; keys of Microsoft are looked up in it."""
    converted(log, size)
    if size > 131072:  # not all of this template is empty
        log(f"transferred {rendered(size)} of {rendered(size)} (100.00%)")
    if enrolled:
        log("INFO: reading raw edk2 varstore from /usr/share/pve-edk2-firmware//OVMF_VARS_4M.ms.fd")
        log("INFO: var store range: 0x64 -> 0x40000")
