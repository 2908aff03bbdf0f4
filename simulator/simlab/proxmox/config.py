# SPDX-License-Identifier: GPL-3.0-or-later
"""What a played Proxmox VE starts with: nodes, storages, bridges, users, tokens, roles, ACLs, times."""

from __future__ import annotations

import dataclasses
import pathlib
import time
import typing as t

_GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class StorageConfig:
    """A storage of ``storage.cfg``. ``capacity`` and ``used`` are bytes; ``nodes`` empty: on all of them;
    ``options`` are further keys of the definition. ``path`` is what the API shows, never a path of this machine.
    """

    name: str
    type: str = "dir"
    content: tuple[str, ...] = ("images", "rootdir")
    path: str | None = None
    capacity: int = 252 * _GIB
    used: int = 48 * _GIB
    shared: bool = False
    nodes: tuple[str, ...] = ()
    options: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class NodeConfig:
    name: str = "pve1"
    address: str = "10.66.0.2"
    cores: int = 2
    memory: int = 24 * _GIB
    bridges: tuple[str, ...] = ("vmbr0",)
    #: Directories that exist on the node (sources of bind mounts).
    directories: tuple[str, ...] = ("/srv",)
    #: Without it only VMs with ``kvm: 0`` start.
    kvm: bool = True


@dataclasses.dataclass(frozen=True)
class TokenConfig:
    user: str  # "ansible@pve"
    name: str  # "groundwork"
    secret: str
    privsep: bool = True


@dataclasses.dataclass(frozen=True)
class AclConfig:
    """``subject`` is a user (``ansible@pve``), a token (``ansible@pve!groundwork``) or a group (``@admins``)."""

    path: str
    role: str
    subject: str
    propagate: bool = True


#: Seconds that a task takes on an idle node; what is not listed takes none.
TASK_SECONDS: t.Mapping[str, float] = {
    "qmcreate": 0.2,
    "qmstart": 1.5,
    "qmstop": 0.5,
    "qmdestroy": 0.4,
    "qmclone": 2.0,
    "qmmove": 2.0,
    "qmconfig": 0.1,
    "qmsnapshot": 0.3,
    "qmrollback": 0.5,
    "qmtemplate": 0.3,
    "resize": 0.1,
    "vzcreate": 2.0,
    "vzstart": 1.0,
    "download": 1.0,
    "vzdump": 3.0,
    "qmigrate": 2.0,
    "vzmigrate": 2.0,
}


@dataclasses.dataclass
class ProxmoxConfig:
    """``root`` is the directory below which volumes and files of the storages are kept (one per node or shared
    storage). ``time_scale``: real seconds per second of the lab, for task times, the delay of a 401 and time-outs.
    """

    root: pathlib.Path
    nodes: tuple[NodeConfig, ...] = (NodeConfig(),)
    storages: tuple[StorageConfig, ...] = ()
    root_password: str = ""
    users: tuple[str, ...] = ()  # "ansible@pve"
    passwords: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    tokens: tuple[TokenConfig, ...] = ()
    roles: t.Mapping[str, t.Collection[str]] = dataclasses.field(default_factory=dict)
    acls: tuple[AclConfig, ...] = ()
    cluster_name: str | None = None
    time_scale: float = 0.02
    task_seconds: t.Mapping[str, float] = dataclasses.field(default_factory=lambda: dict(TASK_SECONDS))
    #: Seconds (of the lab) by which ``cluster/resources`` is late (``status_daemon``); 0: never.
    status_delay: float = 0.0
    #: Container templates of Proxmox's own list, as ``aplinfo`` shows them; ``location`` is where they are fetched.
    appliances: tuple[t.Mapping[str, str], ...] = ()
    #: Whether an HA manager runs: without it a resource is only a definition.
    ha_manager: bool = True
    #: The nodes' wall clock, in seconds since the epoch: what the schedules of backup jobs are counted from.
    clock: t.Callable[[], float] = time.time
