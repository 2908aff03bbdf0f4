# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs and what surrounds them as they are: read once, with a bounded number of requests at a time."""

from __future__ import annotations

import dataclasses
import functools
import re
import typing as t

from ...errors import AccessDenied, Conflict, NotFound, Refused
from ..api import propertystring as ps
from ..api import rights
from ..api.lanes import together
from ..api.session import Session, listing, record, segment
from .options import Value
from .vm_words import archive_of

Kind = t.Literal["qemu", "lxc"]

#: A guest in a list. ``now`` is there when ``status`` is that of this moment.
Entry = t.Mapping[str, t.Any]

#: What people call them, and the option that holds their name.
WORDS: dict[Kind, str] = {"qemu": "VM", "lxc": "CT"}
_NAMES: dict[Kind, str] = {"qemu": "name", "lxc": "hostname"}


@dataclasses.dataclass(frozen=True)
class VmState:
    """A guest that exists. ``config`` is what will be after a stop and start; ``pending`` names the options of a
    running VM that wait for that. ``lock`` is empty when nobody holds it.
    """

    vmid: int
    kind: Kind
    node: str
    name: str
    running: bool = False
    lock: str = ""
    template: bool = False
    pool: str = ""
    digest: str = ""
    config: t.Mapping[str, Value] = dataclasses.field(default_factory=dict)
    pending: tuple[str, ...] = ()
    #: Those of ``pending`` that are not there at all yet.
    coming: frozenset[str] = frozenset()
    #: What high availability wants of it; empty when it does not care.
    ha: str = ""
    #: Its snapshots, when somebody asked for them.
    snapshots: tuple[str, ...] = ()
    #: Numbers of guests whose volumes are linked clones of its own, as far as they can be seen.
    clones: tuple[int, ...] = ()
    #: The hash of its cloud-init password, when somebody asked for it and the server told.
    password_hash: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Node:
    """``cpus`` is 0 when the rights do not suffice to see them."""

    online: bool
    cpus: int = 0


@dataclasses.dataclass(frozen=True)
class Storage:
    name: str
    content: frozenset[str]
    active: bool
    shared: bool = False
    #: Its type, such as ``dir``.
    kind: str = ""


@dataclasses.dataclass(frozen=True)
class Needs:
    """What has to be known before something new is planned."""

    nodes: frozenset[str] = frozenset()
    bridges: frozenset[str] = frozenset()  # nodes whose bridges matter
    images: frozenset[tuple[str, str]] = frozenset()  # (node, volume)
    rights: bool = False
    pools: bool = False
    mappings: frozenset[str] = frozenset()  # "pci", "usb"
    migrations: frozenset[tuple[int, str, str]] = frozenset()  # (vmid, from, to)


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """``bridges`` of a node is None when none could be seen; an image's size is in bytes, None when it is missing."""

    nodes: t.Mapping[str, Node] = dataclasses.field(default_factory=dict)
    storages: t.Mapping[str, t.Mapping[str, Storage]] = dataclasses.field(default_factory=dict)
    bridges: t.Mapping[str, frozenset[str] | None] = dataclasses.field(default_factory=dict)
    images: t.Mapping[tuple[str, str], int | None] = dataclasses.field(default_factory=dict)
    rights: t.Mapping[str, t.Mapping[str, int]] | None = None
    pools: frozenset[str] = frozenset()
    #: Names of resource mappings by kind (``pci``); a kind that nobody asked for, or that cannot be seen, is missing.
    mappings: t.Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    #: What the server says of moving a guest: (vmid, from, to) -> its answer.
    migrations: t.Mapping[tuple[int, str, str], t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    #: Whether root@pam has logged in with a password.
    root: bool = False


def read(
    session: Session, vmids: t.Collection[int], kind: Kind = "qemu", found: t.Sequence[Entry] | None = None
) -> dict[int, VmState]:
    """The guests with these ids, by id; those that are not there (or may not be seen) are left out. Guests of another
    kind are only named. ``found`` are their entries, from lists that were read already."""
    if found is None:
        resources = listing(
            session, "/cluster/resources", "vmid", {"type": "vm"}, asked="list the guests of the cluster"
        )
        found = [entry for entry in resources if int(entry.get("vmid", 0)) in vmids]
    states = together(lambda entry: _state(session, entry, kind), found)
    return {state.vmid: state for state in states if state is not None}


def look_around(session: Session, needs: Needs) -> Surroundings:
    """Nodes, storages, bridges and images, as far as they matter."""
    kinds, moves = sorted(needs.mappings), sorted(needs.migrations)
    asked: list[tuple[t.Hashable, t.Callable[[], t.Any]]] = [
        *([("rights", lambda: rights.read(session))] if needs.rights else []),
        *([("pools", lambda: _pools(session))] if needs.pools else []),
        *([("nodes", lambda: _nodes(session))] if needs.nodes else []),
        *((kind, functools.partial(_mappings, session, kind)) for kind in kinds),
        *((move, functools.partial(_migration, session, *move)) for move in moves),
    ]
    found = dict(zip((name for name, _ask in asked), together(lambda one: one[1](), asked), strict=True))
    nodes: dict[str, Node] = found.get("nodes", {})
    common: dict[str, t.Any] = {
        "rights": found.get("rights"),
        "pools": found.get("pools", frozenset()),
        "mappings": {kind: found[kind] for kind in kinds if found[kind] is not None},
        "migrations": {move: found[move] for move in moves},
        "root": session.connection.who == "root@pam",
    }
    if not needs.nodes:
        return Surroundings(**common)
    up = sorted(node for node in needs.nodes if node in nodes and nodes[node].online)
    images = sorted(image for image in needs.images if image[0] in up)
    jobs: list[t.Callable[[], t.Any]] = [lambda node=node: _storages(session, node) for node in up]  # type: ignore[misc]
    with_bridges = [node for node in up if node in needs.bridges]
    jobs += [lambda node=node: _bridges(session, node) for node in with_bridges]  # type: ignore[misc]
    jobs += [lambda image=image: _image_size(session, *image) for image in images]  # type: ignore[misc]
    answers = iter(together(lambda job: job(), jobs))
    return Surroundings(
        nodes=nodes,
        storages={node: next(answers) for node in up},
        bridges={node: next(answers) for node in with_bridges},
        images={image: next(answers) for image in images},
        **common,
    )


def _state(session: Session, entry: t.Mapping[str, t.Any], wanted: Kind) -> VmState | None:
    """Configuration, pending changes and power of one guest. The list above lags behind by ten seconds, so it only
    says where a guest is; None when the guest has gone since."""
    vmid, node, kind = int(entry["vmid"]), str(entry["node"]), entry.get("type", "qemu")
    if kind != wanted:
        return VmState(vmid, kind, node, str(entry.get("name") or ""))
    path, asked = f"/nodes/{segment(node)}/{kind}/{vmid}", f"read {WORDS[wanted]} {vmid} on node {node}"
    try:
        pending = listing(session, f"{path}/pending", "key", asked=asked)
        status = entry if entry.get("now") else record(session, f"{path}/status/current", asked=asked)
    except NotFound:
        return None
    config, waiting = _effective(pending)
    return VmState(
        vmid=vmid,
        kind=wanted,
        node=node,
        name=str(config.get(_NAMES[wanted]) or ""),
        running=status.get("status") == "running",
        lock=str(status.get("lock") or config.get("lock") or ""),
        template=bool(int(config.get("template") or 0)),
        pool=str(entry.get("pool") or ""),
        digest=str(config.pop("digest", "")),
        config=config,
        pending=waiting,
        coming=frozenset(str(item["key"]) for item in pending if "pending" in item and "value" not in item),
        ha=str(entry.get("hastate") or ""),
    )


def _effective(pending: t.Iterable[t.Mapping[str, t.Any]]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """``[{key, value[, pending][, delete]}]`` -> what will be, and the names of what waits."""
    config: dict[str, Value] = {}
    waiting: list[str] = []
    for item in pending:
        key = str(item["key"])
        if "pending" in item:
            config[key] = _with_size_of(item.get("value"), item["pending"])
            waiting.append(key)
        elif item.get("delete"):
            waiting.append(key)
        elif "value" in item:
            config[key] = item["value"]
    return config, tuple(sorted(waiting))


def _with_size_of(value: Value | None, pending: Value) -> Value:
    """A volume that has grown meanwhile: what waits still has the size of its day."""
    is_, will_be = ps.parse_disk(str(value)), ps.parse_disk(str(pending))
    if "size" not in is_ or "size" not in will_be or is_.get("file") != will_be.get("file"):
        return pending
    return ps.render_disk({**will_be, "size": is_["size"]})


def _storages(session: Session, node: str) -> dict[str, Storage]:
    path, asked = f"/nodes/{segment(node)}/storage", f"list the storages of node {node}"
    return {
        entry["storage"]: Storage(
            name=entry["storage"],
            content=frozenset(re.split(r"[,\s]+", entry.get("content") or "")),
            active=bool(entry.get("active", 1)) and bool(entry.get("enabled", 1)),
            shared=bool(int(entry.get("shared") or 0)),
            kind=str(entry.get("type") or ""),
        )
        for entry in listing(session, path, "storage", asked=asked)
    }


def _bridges(session: Session, node: str) -> frozenset[str] | None:
    path, query = f"/nodes/{segment(node)}/network", {"type": "any_bridge"}
    found = listing(session, path, "iface", query, asked=f"list the bridges of node {node}")
    return frozenset(entry["iface"] for entry in found) or None


def _image_size(session: Session, node: str, volume: str) -> int | None:
    """What a guest would see of it, in bytes (for qcow2 the virtual size); None when it is not there, 0 when it may not be
    looked at: the check of rights says what is missing, and to copy a disk of another VM no right to look is needed. Of a
    disk in an archive nothing is told but that the archive is there."""
    storage, archive = volume.partition(":")[0], archive_of(volume)
    path = f"/nodes/{segment(node)}/storage/{segment(storage)}/content/{segment(archive or volume)}"
    try:
        found = record(session, path, asked=f"read the volume {archive or volume} on node {node}")
        return 0 if archive else int(found.get("size") or 0)
    except AccessDenied:
        return 0
    except (NotFound, Refused) as error:
        if re.search(r"volume_size_info|does not exist|no such|unable to parse", error.answer):
            return None
        raise


def _nodes(session: Session) -> dict[str, Node]:
    return {
        entry["node"]: Node(entry.get("status") == "online", int(entry.get("maxcpu") or 0))
        for entry in listing(session, "/nodes", "node", asked="list the nodes")
    }


def _pools(session: Session) -> frozenset[str]:
    return frozenset(entry["poolid"] for entry in listing(session, "/pools", "poolid", asked="list the pools"))


def _mappings(session: Session, kind: str) -> frozenset[str] | None:
    """None when there are none that may be seen."""
    found = listing(session, f"/cluster/mapping/{kind}", "id", asked=f"list the resource mappings for {kind}")
    return frozenset(str(entry["id"]) for entry in found) or None


def _migration(session: Session, vmid: int, node: str, target: str) -> dict[str, t.Any]:
    """Empty when the rights do not suffice to ask: the check of rights says so. Raises :class:`Conflict` when the VM has
    gone from the node since it was read, as a move does that an earlier run began."""
    path = f"/nodes/{segment(node)}/qemu/{vmid}/migrate"
    asked = f"ask whether VM {vmid} can move to node {target}"
    try:
        found = record(session, path, {"target": target}, asked=asked)
    except AccessDenied:
        return {}
    except NotFound as error:
        hint = f"It was there a moment ago: somebody moves it or has deleted it. Look for VM {vmid}, then run again."
        raise Conflict(asked, of=error.of, answer=error.answer, hint=hint) from error
    return found
