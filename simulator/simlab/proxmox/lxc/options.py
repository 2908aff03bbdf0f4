# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of each option of a container."""

from __future__ import annotations

import functools
import re
import typing as t

from .. import formats, schema
from ..errors import ParameterError
from ..qemu.drives import new_mac

_CREATE = "/nodes/{node}/lxc"
_NOT_OPTIONS = frozenset(
    """node vmid ostemplate password ssh-public-keys start force restore storage pool bwlimit unique
    ignore-unpack-errors ha-managed digest delete revert""".split()
)
_MOUNT = re.compile(r"rootfs|mp\d+")
_NET = re.compile(r"net\d+")

#: What a running container takes at once; the rest waits for a restart.
LIVE = frozenset(
    "hostname tags description onboot protection startup cores memory swap cpulimit cpuunits hookscript lock".split()
)
READ_ONLY = frozenset(("unprivileged",))
#: The greatest weight that a cgroup (version 2) takes.
_MOST_CPU_UNITS = 10000


@functools.cache
def properties() -> schema.Properties:
    paths = schema.load().paths
    found = dict(paths[_CREATE]["POST"]["parameters"]["properties"])
    found.update(paths[f"{_CREATE}/{{vmid}}/config"]["PUT"]["parameters"]["properties"])
    found["parent"] = {"type": "string", "optional": 1}
    return {name: spec for name, spec in found.items() if name not in _NOT_OPTIONS}


def exists(name: str) -> bool:
    return schema.property_of(properties(), name) is not None


def spec_of(name: str) -> dict[str, t.Any]:
    return schema.property_of(properties(), name) or {}


def shown(name: str, value: str) -> t.Any:
    numeric = spec_of(name).get("type") in ("integer", "boolean")
    return int(value) if numeric and re.fullmatch(r"-?\d+", value) else value


def is_mount(name: str) -> bool:
    return _MOUNT.fullmatch(name) is not None


def is_net(name: str) -> bool:
    return _NET.fullmatch(name) is not None


def parse_mount(name: str, value: str) -> dict[str, str]:
    """The parts of a mount point; raises ParameterError."""
    try:
        return formats.parse(spec_of(name)["format"], value, name)
    except formats.FormatError as error:
        raise ParameterError({name: f"invalid format - {error}"}) from None


def render_mount(name: str, mount: dict[str, str]) -> str:
    return formats.render(spec_of(name)["format"], mount)


def parse_net(name: str, value: str) -> dict[str, str]:
    return formats.parse(spec_of(name)["format"], value, name)


def with_hwaddr(name: str, value: str, prefix: str) -> str:
    """A network interface's canonical text; one without an address gets one."""
    net = parse_net(name, value)
    net.setdefault("hwaddr", new_mac(prefix))
    net.setdefault("type", "veth")
    return formats.render(spec_of(name)["format"], net)


def normalise(values: dict[str, str], tag_style: str = "") -> None:
    """What the configuration file keeps: notes end in one line feed, tags are sorted, nothing is a space."""
    if "description" in values:
        text = values["description"].rstrip("\n")
        if text:
            values["description"] = text + "\n"
        else:
            del values["description"]
    if "tags" in values:
        tags = formats.split_list(values["tags"])
        if "case-sensitive=1" not in tag_style:
            tags = [tag.lower() for tag in tags]
        values["tags"] = ";".join(sorted(set(tags)))
    if "cpuunits" in values:
        values["cpuunits"] = str(min(max(int(values["cpuunits"]), 1), _MOST_CPU_UNITS))
    for name, value in values.items():
        if value == "":
            values[name] = " "


_RIGHTS = {
    "VM.Config.CPU": ("cores", "cpulimit", "cpuunits"),
    "VM.Config.Memory": ("memory", "swap"),
    "VM.Config.Network": ("hostname", "nameserver", "searchdomain"),
    "VM.Config.Disk": ("rootfs",),
}
_RIGHT_OF = {name: right for right, names in _RIGHTS.items() for name in names}


def right_of(name: str) -> str:
    if is_net(name):
        return "VM.Config.Network"
    if is_mount(name):
        return "VM.Config.Disk"
    return _RIGHT_OF.get(name, "VM.Config.Options")
