# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers as they are wanted: a module's parameters checked and brought into the words of the API."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import InvalidInput
from ..api.names import NODE, STORAGE
from ..guests import guest_spec
from ..vms.options import Value
from . import ct_spec_parts as parts
from .ct_options import DEFAULTS
from .ct_spec_parts import Device, Mount, Network

State = t.Literal["started", "stopped", "present", "absent", "restarted"]
Params = t.Mapping[str, t.Any]

#: Parameters that are sent as they are, by their name there and in the API.
_PLAIN = ("cores", "cpuunits", "memory", "swap", "tty", "ostype", "startup", "timezone", "searchdomain")

#: What ``unset`` may name -> what the API calls it.
UNSETTABLE = {
    **{name: name for name in _PLAIN if name != "ostype"},
    **{name: name for name in ("cpulimit", "console", "description", "onboot", "protection", "tags")},
    "console_mode": "cmode",
    "nameservers": "nameserver",
}

#: Least and greatest value of numbers.
_RANGES: dict[str, tuple[float, float]] = {
    "cores": (1, 8192),
    "cpulimit": (0, 8192),
    "cpuunits": (0, 500000),
    "memory": (16, 1 << 40),
    "swap": (0, 1 << 40),
    "tty": (0, 6),
}

#: What the server makes of ``cpuunits``: the weights that a cgroup takes.
_WEIGHTS = (1, 10000)

#: Options that are unset by writing their default: memory cannot be deleted, and a running container whose swap is
#: deleted has none at all until it is restarted.
_UNSET_BY_DEFAULT = ("memory", "swap")


@dataclasses.dataclass(frozen=True)
class Clone:
    """Made from another container; ``full`` None leaves it to the server: linked from a template, else full. ``source``
    is 0 where it is known by its ``hostname``."""

    source: int
    full: bool | None
    snapshot: str
    storage: str
    hostname: str = ""

    @property
    def title(self) -> str:
        return f"CT {self.source}" if self.source else f"the container {self.hostname!r}"


@dataclasses.dataclass(frozen=True)
class Container:
    """``options`` are whole values; an empty text removes the option. ``vmid`` is 0 where it is to be found by the
    hostname. ``features`` are those that are decided, an empty value means off. ``unprivileged``, ``pool`` and ``template``
    are None when left alone."""

    vmid: int
    hostname: str
    node: str
    state: State
    options: t.Mapping[str, Value] = dataclasses.field(default_factory=dict)
    ostemplate: str = ""
    clone: Clone | None = None
    rootfs: Mount | None = None
    mounts: tuple[Mount, ...] = ()
    networks: tuple[Network, ...] = ()
    devices: tuple[Device, ...] = ()
    features: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    unprivileged: bool | None = None
    ssh_keys: str = ""
    password: str = dataclasses.field(default="", repr=False)
    pool: str | None = None
    template: bool | None = None
    renamed_from: str = ""
    allow_restart: bool = False
    migrate: bool = False

    @property
    def title(self) -> str:
        if not self.vmid:
            return f"the container {self.hostname!r}"
        return f"CT {self.vmid} ({self.hostname})" if self.hostname else f"CT {self.vmid}"

    @property
    def volumes(self) -> tuple[Mount, ...]:
        """The root file system first."""
        return ((self.rootfs,) if self.rootfs else ()) + self.mounts

    @property
    def runs(self) -> bool:
        return self.state in ("started", "restarted")


def wanted(entries: t.Iterable[Params]) -> list[Container]:
    """All entries checked; raises one :class:`InvalidInput` that names every problem with its place."""
    containers, problems = guest_spec.each("containers", entries, _container)
    problems += _doubles(containers)
    if problems:
        raise InvalidInput(" ".join(problems))
    return containers


def _doubles(containers: t.Sequence[Container]) -> list[str]:
    """Two entries must not mean one guest, or claim one MAC or address."""
    there = [ct for ct in containers if ct.state != "absent"]
    claims = [("vmid", str(ct.vmid), ct.title) for ct in containers if ct.vmid]
    claims += [("hostname", ct.hostname.lower(), ct.title) for ct in there if ct.hostname]
    claims += [("MAC", nic.mac, ct.title) for ct in there for nic in ct.networks if nic.mac]
    return guest_spec.claimed_twice(claims)


def _container(entry: Params) -> Container:
    vmid, hostname = int(entry.get("vmid") or 0), entry.get("hostname") or ""
    if entry.get("vmid") is not None:
        guest_spec.check_vmid(vmid)
    state: State = entry.get("state") or "started"
    if hostname:
        guest_spec.match(
            guest_spec.NAME, hostname, "hostname", "Use letters, digits, hyphens and dots, as in a DNS name."
        )
    if not vmid and not hostname:
        raise InvalidInput("vmid and hostname are missing", hint="One of them says which container is meant.")
    if state == "absent":
        return Container(vmid, hostname, entry.get("node") or "", state)
    if not hostname or not entry.get("node"):
        raise InvalidInput(
            f"{'node' if hostname else 'hostname'} is missing for {f'vmid {vmid}' if vmid else hostname}",
            hint="Only absent containers go without.",
        )
    container = Container(
        vmid=vmid,
        hostname=hostname,
        node=guest_spec.match(NODE, entry["node"], "node", "Give the name that the web interface shows."),
        state=state,
        options=_options(entry),
        ostemplate=parts.volid(entry.get("ostemplate") or "", "ostemplate", "local:vztmpl/debian-13-standard.tar.zst"),
        clone=_clone(entry.get("clone")),
        rootfs=parts.rootfs(entry.get("rootfs")),
        mounts=tuple(parts.mount(one, index) for index, one in enumerate(entry.get("mounts") or [])),
        networks=tuple(parts.network(one, index) for index, one in enumerate(entry.get("networks") or [])),
        devices=tuple(parts.device(one, index) for index, one in enumerate(entry.get("devices") or [])),
        features=parts.features(entry.get("features") or {}),
        unprivileged=entry.get("unprivileged"),
        ssh_keys="\n".join(key.strip() for key in entry.get("ssh_keys") or []),
        password=_password(entry.get("password") or ""),
        pool=entry.get("pool"),
        template=entry.get("template"),
        renamed_from=entry.get("renamed_from") or "",
        allow_restart=bool(entry.get("allow_restart")),
        migrate=bool(entry.get("migrate")),
    )
    _consistent(container)
    return container


def _consistent(ct: Container) -> None:
    """What no single option can know."""
    slots = [mount.slot for mount in ct.mounts] + [nic.slot for nic in ct.networks]
    _once(ct, "slot", slots + [device.slot for device in ct.devices])
    _once(ct, "mount path", [mount.settings["mp"] for mount in ct.mounts if not mount.absent])
    _once(ct, "network name", [nic.name for nic in ct.networks if not nic.absent])
    if ct.ostemplate and ct.clone:
        raise InvalidInput(f"{ct.title} has an ostemplate and is a clone", hint="Choose one of the two.")
    if ct.template and ct.runs:
        raise InvalidInput(f"{ct.title} is to be a template, which never runs", hint="Set state to stopped or present.")
    if ct.clone and (ct.password or ct.ssh_keys):
        raise InvalidInput(
            f"{ct.title} is a clone, which keeps the password and ssh_keys of its source", hint="Leave them out."
        )
    if ct.clone and ((ct.vmid and ct.clone.source == ct.vmid) or ct.clone.hostname.lower() == ct.hostname.lower()):
        raise InvalidInput(f"{ct.title} is to be a clone of itself")


def _once(ct: Container, what: str, found: t.Sequence[str]) -> None:
    twice = sorted({one for one in found if found.count(one) > 1})
    if twice:
        raise InvalidInput(f"{ct.title} uses the {what} {', '.join(twice)} twice")


def _options(entry: Params) -> dict[str, Value]:
    found: dict[str, Value] = {"hostname": entry["hostname"]}
    for key, (least, most) in _RANGES.items():
        value = entry.get(key)
        if value is not None and not least <= value <= most:
            upper = f" and at most {most:g}" if value > most else ""
            raise InvalidInput(f"{key} is {value:g}", hint=f"It must be at least {least:g}{upper}.")
    found.update({key: entry[key] for key in _PLAIN if entry.get(key) is not None})
    found.update({key: int(entry[key]) for key in ("onboot", "protection", "console") if entry.get(key) is not None})
    if "cpuunits" in found:
        found["cpuunits"] = min(max(int(found["cpuunits"]), _WEIGHTS[0]), _WEIGHTS[1])
    if entry.get("cpulimit") is not None:
        found["cpulimit"] = f"{entry['cpulimit']:g}"
    if entry.get("console_mode") is not None:
        found["cmode"] = entry["console_mode"]
    if entry.get("description") is not None:
        found["description"] = entry["description"].rstrip("\n")
    if entry.get("tags") is not None:
        found["tags"] = guest_spec.check_tags(entry["tags"])
    if entry.get("nameservers") is not None:
        found["nameserver"] = " ".join(guest_spec.check_address(one, "nameserver") for one in entry["nameservers"])
    if entry.get("startup"):
        guest_spec.match(guest_spec.STARTUP, entry["startup"], "startup", "Write for example order=2,up=30,down=60.")
    _unset(entry.get("unset") or (), found)
    return found


def _unset(names: t.Sequence[str], found: dict[str, Value]) -> None:
    for name in dict.fromkeys(names):
        if name not in UNSETTABLE:
            raise InvalidInput(f"unset names {name!r}", hint=f"Known: {', '.join(sorted(UNSETTABLE))}.")
        if found.get(UNSETTABLE[name], "") != "":
            raise InvalidInput(f"{name} is set and listed in unset", hint="Do one of them.")
        found[UNSETTABLE[name]] = DEFAULTS[name] if name in _UNSET_BY_DEFAULT else ""


def _clone(clone: Params | None) -> Clone | None:
    if not clone:
        return None
    source, hostname = int(clone.get("vmid") or 0), clone.get("hostname") or ""
    if bool(source) == bool(hostname):
        raise InvalidInput("clone needs either vmid or hostname", hint="It says which container is copied.")
    if source:
        guest_spec.check_vmid(source)
    else:
        hint = "Use letters, digits, hyphens and dots, as in a DNS name."
        guest_spec.match(guest_spec.NAME, hostname, "hostname of clone", hint)
    storage = clone.get("storage") or ""
    if storage:
        guest_spec.match(STORAGE, storage, "storage of clone", "Give the name of a storage.")
    if storage and clone.get("full") is False:
        raise InvalidInput("A linked clone lies on the storage of its source", hint="Leave out clone.storage.")
    return Clone(source, clone.get("full"), clone.get("snapshot") or "", storage, hostname)


def _password(password: str) -> str:
    if password and len(password) < 5:
        raise InvalidInput("password is too short", hint="Proxmox VE wants at least 5 characters.")
    return password
