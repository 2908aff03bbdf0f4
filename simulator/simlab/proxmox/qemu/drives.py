# SPDX-License-Identifier: GPL-3.0-or-later
"""Drive values (``scsi0`` and so on) and network cards: reading and writing them."""

from __future__ import annotations

import functools
import random
import re
import typing as t

from .. import formats, schema
from ..errors import ParameterError
from ..storage.storages import NEW_DISK

_DRIVE = re.compile(r"(ide|sata|scsi|virtio)(\d+)|efidisk0|tpmstate0")
DRIVE_NAMES = (
    *(f"ide{n}" for n in range(4)), *(f"scsi{n}" for n in range(31)), *(f"virtio{n}" for n in range(16)),
    *(f"sata{n}" for n in range(6)), "efidisk0", "tpmstate0",
)  # fmt: skip

Drive = dict[str, str]


def is_drive(name: str) -> bool:
    return name in _NAMES


_NAMES = frozenset(DRIVE_NAMES)


@functools.cache
def _format_of(base: str) -> formats.Format:
    properties = schema.load().paths["/nodes/{node}/qemu"]["POST"]["parameters"]["properties"]
    spec = properties.get(base) or properties[f"{base}[n]"]
    return t.cast("formats.Format", spec["format"])


def format_of(name: str) -> formats.Format:
    """The property string's format of a drive or network option."""
    return _format_of(name if name in ("efidisk0", "tpmstate0") else name.rstrip("0123456789"))


def parse(name: str, value: str) -> Drive:
    """The parts of a drive; raises ParameterError."""
    return dict(_parse(name, value))


@functools.lru_cache(maxsize=4096)
def _parse(name: str, value: str) -> Drive:
    wanted: formats.Format = {"file": {"default_key": 1, "type": "string"}}
    if not name.startswith("unused"):
        wanted = format_of(name)
    try:
        found = formats.parse(wanted, value, name)
    except formats.FormatError:
        raise ParameterError({name: "unable to parse drive options"}) from None
    if _contradicts(name, found):
        raise ParameterError({name: "unable to parse drive options"})
    return found


#: Limits that make no sense without another one.
_NEEDS = {
    **{f"{rate}{way}_max": f"{rate}{way}" for rate in ("mbps", "miops") for way in ("", "_rd", "_wr")},
    **{f"bps{way}_max_length": f"mbps{way}_max" for way in ("", "_rd", "_wr")},
    **{f"iops{way}_max_length": f"iops{way}_max" for way in ("", "_rd", "_wr")},
}


def _contradicts(name: str, drive: Drive) -> bool:
    """Whether sub-options exclude each other, which the format does not say."""
    if any(drive.get(f"{rate}{way}") and drive.get(rate) for rate in ("mbps", "iops") for way in ("_rd", "_wr")):
        return True
    if any(drive.get(key) and not drive.get(needed) for key, needed in _NEEDS.items()):
        return True
    odd = drive.get("snapshot") == "1" or "format" in drive or name.startswith("virtio")
    return is_cdrom(drive) and odd


def render(name: str, drive: Drive) -> str:
    """The canonical text: volume first, then sorted. What only a request has is left out."""
    kept = {key: value for key, value in drive.items() if key not in ("import-from", "format")}
    return formats.render(format_of(name), kept)


def is_cdrom(drive: Drive, exclude_cloudinit: bool = False) -> bool:
    return drive.get("media") == "cdrom" and not (exclude_cloudinit and is_cloudinit(drive))


def is_cloudinit(drive: Drive) -> bool:
    return re.search(r"[:/](?:vm-\d+-)?cloudinit(?:\.[a-z0-9]+)?$", drive.get("file", "")) is not None


def is_new(drive: Drive) -> bool:
    """A disk that is to be made: ``STORAGE:SIZE``."""
    return NEW_DISK.fullmatch(drive.get("file", "")) is not None


def resolve_cdrom(params: dict[str, t.Any]) -> None:
    """``cdrom`` is another name of ``ide2``."""
    if "cdrom" not in params:
        return
    if "ide2" in params:
        raise ParameterError({"cdrom": "option 'cdrom' conflicts with 'ide2'"})
    value = params.pop("cdrom")
    params["ide2"] = value if "media=" in value else f"{value},media=cdrom"


# -- network cards ---------------------------------------------------------------------------------------


def parse_net(name: str, value: str) -> dict[str, str]:
    return formats.parse(format_of(name), value, name)


def render_net(name: str, net: dict[str, str]) -> str:
    return formats.render(format_of(name), net)


def new_mac(prefix: str) -> str:
    """A random address under the datacenter's prefix (``BC:24:11``)."""
    left = 6 - len(prefix.rstrip(":").split(":"))
    return ":".join([prefix.rstrip(":"), *(f"{random.randrange(256):02X}" for _ in range(left))])


def with_mac(name: str, value: str, prefix: str) -> str:
    """A network card's canonical text; one without an address gets one."""
    net = parse_net(name, value)
    net.setdefault("macaddr", new_mac(prefix))
    return render_net(name, net)
