# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a caller may set these options of a VM, and use these volumes, bridges and mappings."""

from __future__ import annotations

import functools
import re
import typing as t
import urllib.parse

from .. import formats
from ..api import Call
from ..errors import Failure, ParameterError
from ..storage import names
from ..storage.storages import NEW_DISK, require_images
from . import drives, options


def check_options(call: Call, vmid: int, names_: t.Iterable[str], pool: str | None = None) -> None:
    """The right of every option; what depends on the value is checked where it is set."""
    if call.caller.is_root:
        return
    for name in names_:
        if drives.is_drive(name) or options.checked_by_value(name):
            continue
        wanted = options.rights(name)
        if not wanted:
            raise Failure(f"only root can set '{name}' config")
        call.allowed.vm(vmid, *wanted, pool=pool, any_of=len(wanted) > 1)
        if name == "startup":
            call.allowed.require("/", "Sys.Modify")


def check_devices(call: Call, vmid: int, params: t.Mapping[str, t.Any], pool: str | None, verb: str = "set") -> None:
    """Serial ports, USB and PCI devices: real ones are root's."""
    if call.caller.is_root:
        return
    for name, value in params.items():
        base = options.base_of(name)
        if name == base or base not in ("serial", "usb", "hostpci"):
            continue
        if not _harmless(base, str(value)):
            kind = "non-mapped" if base == "hostpci" else "real"
            raise Failure(f"only root can {verb} '{name}' config for {kind} devices")
        call.allowed.vm(vmid, "VM.Config.HWType", pool=pool)


def _harmless(base: str, value: str) -> bool:
    if base == "serial":
        return value == "socket"
    return "mapping=" in value or (base == "usb" and re.match(r"(host=)?spice(,|$)", value, re.I) is not None)


def check_bridges(call: Call, params: t.Mapping[str, t.Any]) -> None:
    """SDN.Use on the bridge of every network card, with its VLAN tags; of VMs and of containers."""
    if call.caller.is_root:
        return
    for name, value in params.items():
        if not re.fullmatch(r"net\d+", name):
            continue
        net = dict(part.partition("=")[::2] for part in str(value).split(","))
        if "bridge" not in net:
            continue
        path = f"/sdn/zones/localnetwork/{net['bridge']}"
        tags = [tag for tag in (net.get("tag"), *net.get("trunks", "").split(";")) if tag]
        for below in [f"/{tag}" for tag in tags] or [""]:
            call.allowed.require(path + below, "SDN.Use")


def check_mappings(call: Call, params: t.Mapping[str, t.Any]) -> None:
    for name, value in params.items():
        base = options.base_of(name)
        if base in ("usb", "hostpci") and name != base and "mapping=" in str(value):
            mapping = re.search(r"mapping=([^,]+)", str(value))
            kind = "pci" if base == "hostpci" else "usb"
            call.allowed.require(f"/mapping/{kind}/{mapping[1] if mapping else ''}", "Mapping.Use")
        elif base == "virtiofs" and name != base:
            directory = re.sub(r"^dirid=", "", str(value).split(",")[0])
            call.allowed.require(f"/mapping/dir/{directory}", "Mapping.Use")


def check_volumes(call: Call, vmid: int, params: t.Mapping[str, t.Any], default: str | None = None) -> None:
    """Every drive's storage, volume and import source."""
    for name in sorted(params):
        if not drives.is_drive(name):
            continue
        drive = drives.parse(name, str(params[name]))
        _check_import_syntax(name, drive)
        _check_file(call, vmid, name, drive, default)
        if "import-from" in drive:
            _check_source(call, vmid, name, drive["import-from"])
    if "vmstatestorage" in params:
        call.allowed.require(f"/storage/{params['vmstatestorage']}", "Datastore.AllocateSpace")


def _check_import_syntax(name: str, drive: drives.Drive) -> None:
    match = NEW_DISK.fullmatch(drive["file"])
    if "import-from" in drive and not (match and float(match[2]) == 0):
        text = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>"
        raise ParameterError({name: text})
    needed = {"efidisk0": ("efitype", "pre-enrolled-keys"), "tpmstate0": ("version",)}.get(name, ())
    for key in needed if "import-from" in drive else ():
        if key not in drive:
            raise ParameterError({name: f"need to specify '{key}' when using 'import-from'"})


def _check_file(call: Call, vmid: int, name: str, drive: drives.Drive, default: str | None) -> None:
    file, node = drive["file"], call.node.name
    storages = call.cluster.storages
    cdrom = drives.is_cdrom(drive)
    volume = names.split(file)[1] if names.is_volume_id(file) else ""
    if file == "none" or "cloudinit" in (file, volume):
        return
    match = NEW_DISK.fullmatch(file)
    if cdrom and file == "cdrom":
        call.allowed.require("/", "Sys.Console")
    elif not cdrom and match:
        storage = match[1] or default
        if not storage:
            raise Failure("no storage ID specified (and no default storage)")
        call.allowed.require(f"/storage/{storage}", "Datastore.AllocateSpace")
        require_images(storages.get(node, storage))
    else:
        storages.check_volume_access(call.allowed, node, vmid, file)
        if volume:
            _check_content(name, storages.parse(node, file).content, cdrom)


def _check_content(name: str, content: str, cdrom: bool) -> None:
    if content not in ("images", "iso"):
        raise ParameterError({name: "content type needs to be 'images' or 'iso'"})
    if content == "iso" and not cdrom:
        raise ParameterError({name: "explicit 'media=cdrom' is required for iso images"})


def _check_source(call: Call, vmid: int, name: str, source: str) -> None:
    storages, node = call.cluster.storages, call.node.name
    if not names.is_volume_id(source):
        storages.check_volume_access(call.allowed, node, vmid, source)
        return
    parsed = storages.parse(node, source)
    if parsed.content not in ("images", "import"):
        text = f"{source} has wrong type '{parsed.content}' - needs to be 'images' or 'import'"
        raise ParameterError({name: text})
    if parsed.format.startswith("ova+"):  # it is unpacked beside the archive
        store, _ = storages.find(node, source)
        if "images" not in store.content:
            text = "does not support 'images' content type or is not file based."
            raise ParameterError({name: f"import working storage '{store.name}' {text}"})
        call.allowed.require(f"/storage/{store.name}", "Datastore.AllocateSpace")
    if parsed.owner:
        call.allowed.require(f"/vms/{parsed.owner}", "VM.Clone")
    else:
        storages.check_volume_access(call.allowed, node, vmid, source)


def check_ssh_keys(params: t.Mapping[str, t.Any]) -> None:
    """Raises Failure for what ssh-keygen does not read."""
    for line in urllib.parse.unquote(str(params.get("sshkeys", ""))).splitlines():
        text = line.strip()
        if text and not text.startswith("#") and not _SSH_KEY.search(text):
            raise Failure("SSH public key validation error")


_SSH_KEY = re.compile(
    r"(?:^|\s)(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d+|sk-\S+)(?:-cert-v01@openssh\.com)?\s+[A-Za-z0-9+/]{20,}=*"
)


def check_hook_script(call: Call, params: t.Mapping[str, t.Any]) -> None:
    script = params.get("hookscript")
    if not script:
        return
    store, volume = call.cluster.storages.find(call.node.name, str(script))
    if store.parse(volume).content != "snippets":
        raise ParameterError({"hookscript": f"'{script}' is not in the snippets directory\n"})
    if not store.has(volume):
        raise ParameterError({"hookscript": f"script '{script}' does not exist\n"})


def check_display(value: str) -> None:
    """Raises Failure for a display without the clipboard that is asked for."""
    vga = formats.parse(options.spec_of("vga")["format"], value, "vga")
    if vga.get("clipboard") == "vnc" and "type" in vga and not re.match("std|cirrus|vmware|virtio|qxl", vga["type"]):
        raise Failure(f"vga type {vga['type']} is not compatible with VNC clipboard")


def check_machine(value: str) -> None:
    """Raises Failure for a vIOMMU that the machine has not."""
    machine = formats.parse(options.spec_of("machine")["format"], value, "machine")
    if machine.get("viommu") == "intel":
        if "q35" not in machine.get("type", ""):
            raise Failure("to use Intel vIOMMU please set the machine type to q35")
        if machine.get("aw-bits", "39") not in ("39", "48"):
            raise Failure("Intel vIOMMU supports only 39 or 48 bits as address width")
    if "aw-bits" in machine and "viommu" not in machine:
        raise Failure("cannot set aw-bits if no vIOMMU is configured")


@functools.lru_cache(maxsize=1024)
def memory_of(value: str) -> int:
    """MiB of a ``memory`` value (``1024``, ``current=768``)."""
    return int(formats.parse(options.spec_of("memory")["format"], value, "memory")["current"])
