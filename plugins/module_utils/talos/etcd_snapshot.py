# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of etcd as files: when a new one is due, taking it, and clearing away old ones.

A snapshot is the database (bbolt, whole pages) and its SHA-256 behind it, as etcd's own tools write and check it. It
holds every Secret of the cluster, so its file is its owner's alone.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import os
import pathlib
import re
import stat
import typing as t

from .. import private_files
from ..errors import HomelabError, InvalidInput, ServerFault, Unauthenticated
from ..plan import COMPUTED, Change, Plan, carry_out
from ..task import Task
from ..waiting import Deadline, no_progress
from . import asking, etcd, inputs, rights, snapshot_file
from .inputs import Node
from .node import Connector

TIME = "{time}"
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """``dest`` may have ``{time}`` in its last part; ``max_age`` in seconds; ``keep`` counts the new one too."""

    dest: pathlib.Path
    max_age: float | None = None
    max_age_text: str = ""
    keep: int | None = None

    @property
    def dated(self) -> bool:
        return TIME in self.dest.name

    def path_at(self, moment: dt.datetime) -> pathlib.Path:
        return self.dest.with_name(self.dest.name.replace(TIME, moment.strftime(_TIME_FORMAT)))

    def taken_at(self, path: pathlib.Path) -> float | None:
        """When a snapshot of this name was taken, None when the name is not one of ours."""
        if not self.dated:
            return path.stat().st_mtime if path.name == self.dest.name else None
        before, after = self.dest.name.split(TIME)
        match = re.fullmatch(re.escape(before) + r"(\d{8}T\d{6}Z)" + re.escape(after), path.name)
        try:
            moment = dt.datetime.strptime(match[1], _TIME_FORMAT) if match else None
        except ValueError:
            return None
        return moment.replace(tzinfo=dt.UTC).timestamp() if moment else None


@dataclasses.dataclass(frozen=True)
class Kept:
    """A snapshot that is there. ``problem`` says why it is none that can be restored."""

    path: pathlib.Path
    taken_at: float
    mode: int = private_files.FILE_MODE
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Taken:
    """A snapshot that was made, with its size in bytes and the SHA-256 (hexadecimal) that stands at its end."""

    path: pathlib.Path
    size: int
    sha256: str
    node: str


def wanted_from(dest: str, max_age: str | None, keep: int | None) -> Wanted:
    """The options, checked."""
    path = pathlib.Path(dest).expanduser().absolute()
    unknown = [part for part in re.findall(r"\{[^{}]*\}", dest) if part != TIME]
    if unknown:
        raise InvalidInput(f"dest has {', '.join(unknown)}", hint=f"Only {TIME} is known there.")
    if TIME in str(path.parent) or path.name.count(TIME) > 1:
        raise InvalidInput(f"dest is {dest!r}", hint=f"{TIME} may stand once, in the name of the file.")
    if dest.endswith(os.sep) or path.is_dir():
        raise InvalidInput(f"dest {dest} is a directory", hint=f"Give a file, such as {dest.rstrip(os.sep)}/etcd.db.")
    if keep is not None and keep < 1:
        raise InvalidInput(f"keep is {keep}", hint="At least one snapshot is kept.")
    if keep is not None and TIME not in path.name:
        raise InvalidInput("keep is set, and dest is always the same file", hint=f"Put {TIME} into the name of dest.")
    return Wanted(path, _seconds(max_age), (max_age or "").strip(), keep)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)\s*([smhd]?)", text.strip())
    if not match or int(match[1]) == 0:
        raise InvalidInput(f"max_age is {text!r}", hint="It is a number of seconds, or looks like 90m, 24h or 7d.")
    return int(match[1]) * _UNITS[match[2]]


def run(task: Task) -> dict[str, t.Any]:
    """The module's core. Nobody is asked when nothing is due."""
    wanted = wanted_from(task.params["dest"], task.params["max_age"], task.params["keep"])
    deadline = Deadline(inputs.positive(task.params["wait_timeout"], "wait_timeout"))
    nodes, connector = asking.nodes_from(task), asking.connector(task)
    now = dt.datetime.now(dt.UTC)
    found = existing(wanted)
    _say_broken(task, found)
    changes = plan(wanted, found, now.timestamp())
    due = any(change.operation == "take" for change in changes)
    snapshots = Snapshots(connector, nodes, wanted, deadline, now, task.progress)
    source = snapshots.foresee() if due else nodes[0]
    if changes and not task.check_mode:
        snapshots.carry_out(changes, source)
    newest = next((kept.path for kept in _good(found, now.timestamp())), wanted.dest)
    shown: dict[str, t.Any] = {"path": str(wanted.dest if due else newest), "taken": due}
    if snapshots.taken:
        taken = snapshots.taken
        shown |= {"path": str(taken.path), "node": taken.node, "size": taken.size, "sha256": taken.sha256}
    return task.result(changes, **shown)


def _say_broken(task: Task, found: t.Sequence[Kept]) -> None:
    for kept in found:
        if kept.problem:
            task.warn(f"{kept.path} cannot be restored: {kept.problem}.")


# -- what is there, and what is due ----------------------------------------------------------------------------------


def existing(wanted: Wanted) -> list[Kept]:
    """Snapshots under names of ours, the newest first."""
    try:
        paths = [path for path in wanted.dest.parent.iterdir() if path.is_file() and not path.is_symlink()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidInput(f"The directory {wanted.dest.parent} cannot be read: {error.strerror}") from error
    dated = [(path, moment) for path in paths if (moment := wanted.taken_at(path)) is not None]
    found = [Kept(path, moment, stat.S_IMODE(path.stat().st_mode), file_problem(path)) for path, moment in dated]
    return sorted(found, key=lambda kept: (-kept.taken_at, kept.path.name))


def plan(wanted: Wanted, found: t.Sequence[Kept], now: float) -> Plan:
    """A new snapshot if the newest good one is too old or there is none, modes that are too open, what to delete."""
    reason = _due(wanted, found, now)
    changes = []
    if reason is not None:
        there = not wanted.dated and bool(found)
        changes.append(
            Change(
                f"etcd-snapshot/{wanted.dest}",
                "update" if there else "create",
                before={"taken": _moment(found[0].taken_at)} if there else {},
                after={"taken": COMPUTED},
                note=reason,
                operation="take",
            )
        )
    left, old = _split(wanted, _good(found, now), taking=reason is not None)
    replaced = {wanted.dest} if reason is not None and not wanted.dated else set()
    changes += [_closed(kept) for kept in left if kept.mode & 0o077 and kept.path not in replaced]
    changes += [
        Change(f"etcd-snapshot/{kept.path}", "delete", before={"taken": _moment(kept.taken_at)}, operation=kept.path)
        for kept in old
    ]
    return Plan.of(changes)


def _due(wanted: Wanted, found: t.Sequence[Kept], now: float) -> str | None:
    """Why a new one is due, None when it is not."""
    if wanted.max_age is None:
        return ""
    good = _good(found, now)
    if not good:
        return "there is none that can be restored" if found else "there is none"
    age = now - good[0].taken_at
    if age < 0:
        return "all that are there are from the future"
    return f"the newest is older than {wanted.max_age_text}" if age > wanted.max_age else None


def _good(found: t.Sequence[Kept], now: float) -> list[Kept]:
    """Those that can be restored, the newest first. One from the future says nothing of how old the data is (a clock
    was wrong), so it comes after all others.
    """
    return sorted((kept for kept in found if not kept.problem), key=lambda kept: kept.taken_at > now)


def _split(wanted: Wanted, good: t.Sequence[Kept], *, taking: bool) -> tuple[list[Kept], list[Kept]]:
    """Those that stay and those that go. What cannot be restored is left alone: it is not ours to judge."""
    if wanted.keep is None:
        return list(good), []
    stay = wanted.keep - (1 if taking else 0)
    return list(good[:stay]), list(good[stay:])


def _closed(kept: Kept) -> Change:
    return Change(
        f"etcd-snapshot/{kept.path}",
        "update",
        before={"mode": f"{kept.mode:04o}"},
        after={"mode": f"{private_files.FILE_MODE:04o}"},
        note="it holds the cluster's secrets",
        operation=("close", kept.path),
    )


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- what a snapshot is ----------------------------------------------------------------------------------------------


class Checked:
    """Passes a snapshot on piece by piece, and knows at the end whether it was whole."""

    def __init__(self, write: t.Callable[[bytes], object]) -> None:
        self._write = write
        self._sum = hashlib.sha256()
        self._head = b""
        self._last = b""
        self.size = 0

    def feed(self, piece: bytes) -> None:
        self._write(piece)
        self.size += len(piece)
        if len(self._head) < snapshot_file.MAGIC_AT + len(snapshot_file.MAGIC):
            self._head += piece[: snapshot_file.MAGIC_AT + len(snapshot_file.MAGIC)]
        data = self._last + piece
        self._sum.update(data[: -snapshot_file.SUM])
        self._last = data[-snapshot_file.SUM :]

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    def problem(self) -> str:
        """Why this is no whole snapshot, or the empty string."""
        if self.size <= snapshot_file.SUM:
            return f"it has {self.size} bytes"
        if (
            self._head[snapshot_file.MAGIC_AT : snapshot_file.MAGIC_AT + len(snapshot_file.MAGIC)]
            != snapshot_file.MAGIC
        ):
            return "it is no database of etcd"
        if self.size % snapshot_file.PAGE != snapshot_file.SUM:
            return f"it ends in the middle, after {self.size} bytes"
        return "" if self._last == self._sum.digest() else "its SHA-256 is not the one that stands at its end"


def file_problem(path: pathlib.Path) -> str:
    """As :meth:`Checked.problem`, of a file."""
    checked = Checked(lambda piece: None)
    try:
        with path.open("rb") as file:
            while piece := file.read(snapshot_file.PART):
                checked.feed(piece)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return checked.problem()


# -- taking one ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Snapshots:
    """The snapshots of one cluster in one place."""

    connector: Connector
    nodes: t.Sequence[Node]
    wanted: Wanted
    deadline: Deadline
    now: dt.datetime
    progress: t.Callable[[str], None] = no_progress
    taken: Taken | None = None

    def foresee(self) -> Node:
        """The node that can give a snapshot. Raises when none can, or we may not ask for one."""
        rights.require(self.connector.identity, "EtcdSnapshot")
        return self._first(self._promise)

    def carry_out(self, changes: Plan, source: Node) -> None:
        """Take, close and delete as planned. The old ones go only when the new one is there and whole."""
        order = [source, *(node for node in self.nodes if node != source)]

        def apply(change: Change) -> None:
            if change.operation == "take":
                self.taken = self._first(self._take, [*order, source])
            elif isinstance(change.operation, pathlib.Path):
                _delete(change.operation)
            else:
                _close(change.operation[1])

        carry_out(changes, apply)

    def _first(self, ask: t.Callable[[Node], T], nodes: t.Sequence[Node] | None = None) -> T:
        """The first node's answer. What may pass, or is one node's own trouble, sends us to the next: one that was made
        again, or has another cluster's config, is as good as away.
        """
        failures: list[HomelabError] = []
        for node in nodes or self.nodes:
            try:
                return ask(node)
            except HomelabError as error:
                failures.append(error)
                if not error.retryable and not isinstance(error, Unauthenticated):
                    raise
                self.progress(error.message)
        if len({error.message for error in failures}) == 1:
            raise failures[-1]
        kind = ServerFault if any(error.retryable for error in failures) else Unauthenticated
        answer = " ".join(dict.fromkeys(error.message for error in failures))
        raise kind("take a snapshot of etcd", of="the control plane nodes", answer=answer)

    def _promise(self, node: Node) -> Node:
        with self.connector.open(node) as client:
            found = etcd.own_status(client)
        if found.learner:
            raise ServerFault(
                "take a snapshot of etcd", of=str(client.of), answer="its member is a learner, which is not up to date"
            )
        return node

    def _take(self, node: Node) -> Taken:
        path = self.wanted.path_at(self.now)
        self._clear_away()
        with self.connector.open(node) as client, private_files.streamed(path) as file:
            checked = Checked(file.write)
            for piece in client.etcd_snapshot(timeout=max(1.0, self.deadline.left())):
                checked.feed(piece)
            problem = checked.problem()
            if problem:
                raise ServerFault("take a snapshot of etcd", of=client.of, answer=f"what came is not whole: {problem}")
        return Taken(path, checked.size, checked.sha256, node.name)

    def _clear_away(self) -> None:
        """What killed runs left beside, under the names of their own times."""
        if not self.wanted.dest.parent.is_dir():
            return
        for left in self.wanted.dest.parent.iterdir():
            match = re.fullmatch(r"\.(.+)\.\d+-\w+", left.name)
            if match and self.wanted.dated and self.wanted.taken_at(left.with_name(match[1])) is not None:
                private_files.clear_away(left.with_name(match[1]))


def _delete(path: pathlib.Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HomelabError(f"delete {path}", answer=error.strerror or str(error)) from error


def _close(path: pathlib.Path) -> None:
    try:
        path.chmod(private_files.FILE_MODE)
    except OSError as error:
        raise HomelabError(f"change the mode of {path}", answer=error.strerror or str(error)) from error
