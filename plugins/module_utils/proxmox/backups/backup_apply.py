# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups made, deleted and restored: each step waits for its end, and looks whether what it made is there and whole."""

from __future__ import annotations

import contextlib
import re
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ...errors import HomelabError, ServerFault, TaskFailed, Unauthenticated
from ...plan import Change, Plan
from ...web import AnswerLost, NeverSent
from ..api.answers import Locked
from ..api.session import Session, segment, while_locked
from ..api.task_start import Starter
from ..api.tasks import Tasks, Upid, delete_volume
from ..api.transport import POOL
from .backup_plan import Delete, MakeDump, MakeRestore
from .backup_reading import Backup, Guest, backups_at, to_prune

ATTEMPTS = 3

#: Lines of a backup's log that are looked through for what became of the guest.
_LINES = 2000

_FAILED = re.compile(r"ERROR: Backup of VM \d+ failed - (?P<why>.*)")


class Applier:
    """Serial on a node, which does one backup at a time; several nodes at once. A guest that cannot be backed up does
    not keep the others from it: all that failed is said at the end."""

    def __init__(self, session: Session, tasks: Tasks) -> None:
        self.session = session
        self.tasks = tasks
        self.starter = Starter(session, tasks)
        #: Change -> the backup that it made.
        self.made: dict[str, Backup] = {}
        #: Deletions that the server's own reckoning spared after the new backup was there.
        self.spared: list[Change] = []
        self._done: list[Change] = []
        self._failed: list[tuple[Change, HomelabError]] = []
        self._halt = threading.Event()

    def apply(self, plan: Plan) -> None:
        nodes: dict[str, list[Change]] = {}
        for change in plan:
            nodes.setdefault(_node(change.operation), []).append(change)
        with ThreadPoolExecutor(max_workers=min(POOL, len(nodes) or 1)) as pool:
            for done in [pool.submit(self._on_node, changes) for changes in nodes.values()]:
                done.result()
        if self._failed:
            error = _together(self._failed)
            kept = {id(change) for change in self._done}
            error.made = [change.as_result() for change in plan if id(change) in kept]
            raise error

    def _on_node(self, changes: t.Sequence[Change]) -> None:
        broken: set[int] = set()
        for change in changes:
            operation = change.operation
            if self._halt.is_set():
                return
            if isinstance(operation, Delete) and operation.backup.vmid in broken:
                continue  # without a new backup the old ones stay
            try:
                self._one(change)
            except HomelabError as error:
                self._failed.append((change, error))
                if isinstance(operation, MakeDump):
                    broken.add(operation.guest.vmid)
                if isinstance(error, (Unauthenticated, NeverSent)):
                    self._halt.set()

    def _one(self, change: Change) -> None:
        operation = change.operation
        self.session.progress(str(operation))
        if isinstance(operation, MakeDump):
            self.made[change.resource] = self._dump(operation)
        elif isinstance(operation, MakeRestore):
            self._restore(operation)
        elif self._spares(operation):
            self.spared.append(change)
            return
        else:
            self._delete(operation)
        self._done.append(change)

    # -- backups -------------------------------------------------------------------------------------------------------

    def _dump(self, operation: MakeDump) -> Backup:
        guest, asked = operation.guest, str(operation)
        before = {one.volid for one in backups_at(self.session, operation.place, guest.vmid)}
        form = operation.dump.form(guest.vmid)
        path = f"/nodes/{segment(guest.node)}/vzdump"

        def once() -> Upid:
            upid = self._begin(guest.node, "vzdump", guest.vmid, lambda: self.session.post(path, form, asked=asked))
            self._end(upid, asked)
            return upid

        upid = while_locked(once, deadline=self.session.deadline(), progress=self.session.progress)
        return self._whole(operation, before, upid)

    def _begin(self, node: str, kind: str, vmid: int, start: t.Callable[[], object]) -> Upid:
        for _attempt in range(1, ATTEMPTS):
            try:
                return self.starter.start(node, kind, vmid, start)
            except AnswerLost as error:
                self.session.progress(f"{error.message} It was not begun; trying again.")
        return self.starter.start(node, kind, vmid, start)

    def _end(self, upid: Upid, asked: str) -> None:
        """``job errors`` says nothing: the reason stands in the log, before much else."""
        try:
            self.tasks.wait(upid.text, asked=asked)
        except TaskFailed as error:
            found = [match["why"] for line in self.tasks.log(upid, _LINES) if (match := _FAILED.search(line))]
            why = found[-1] if found else error.answer
            kind = Locked if "is locked (" in why or "can't lock file" in why else TaskFailed
            raise kind(asked, of=error.of, answer=why, hint=_hint(why), **error.details) from error

    def _whole(self, operation: MakeDump, before: t.Collection[str], upid: Upid) -> Backup:
        """There, with a size, and finished by its log."""
        guest, storage = operation.guest, operation.dump.storage
        found = [one for one in backups_at(self.session, operation.place, guest.vmid) if one.volid not in before]
        log = self.tasks.log(upid, _LINES)
        finished = any(line.startswith(f"INFO: Finished Backup of VM {guest.vmid}") for line in log)
        if not found or found[0].problem or not finished:
            problem = found[0].problem if found else f"the storage {storage} does not list a new one"
            raise ServerFault(
                f"see the backup of {guest.title} there and whole",
                of=f"node {guest.node}, {self.session.of}",
                answer=f"its task ended well, but {problem or 'its log does not say that it was finished'}",
                log=log[-8:],
            )
        return found[0]

    # -- deletions -----------------------------------------------------------------------------------------------------

    def _spares(self, operation: Delete) -> bool:
        """What was reckoned to go once there is a new backup has to be what the server reckons, too."""
        if not operation.after or operation.pruned is None:
            return False
        gone = to_prune(self.session, operation.place, operation.pruned.retention, operation.backup.vmid)
        return operation.backup.volid not in gone

    def _delete(self, operation: Delete) -> None:
        node, volid = operation.place[0], operation.backup.volid
        delete_volume(self.session, self.tasks, node, volid, asked=str(operation))

    # -- restores ------------------------------------------------------------------------------------------------------

    def _restore(self, operation: MakeRestore) -> None:
        wish, kind, asked = operation.wish, operation.backup.kind, str(operation)
        path = f"/nodes/{segment(operation.node)}/{kind}"
        if operation.over and operation.over.running:
            self._stop_guest(operation, operation.over)
        form, task = _form(operation), "qmrestore" if kind == "qemu" else "vzrestore"

        def once() -> None:
            upid = self._begin(operation.node, task, wish.vmid, lambda: self.session.post(path, form, asked=asked))
            self.tasks.wait(upid.text, asked=asked)

        follows = self.starter.start_follows(operation.node, kind, wish.vmid)
        try:
            with follows if form.get("start") else contextlib.nullcontext():
                while_locked(once, deadline=self.session.deadline(), progress=self.session.progress)
        except TaskFailed as error:
            hint = _hint(error.answer)
            raise TaskFailed(error.asked, of=error.of, answer=error.answer, hint=hint, **error.details) from error

    def _stop_guest(self, operation: MakeRestore, guest: Guest) -> None:
        path = f"/nodes/{segment(operation.node)}/{guest.kind}/{guest.vmid}/status/stop"
        asked = f"stop {guest.title}, to {operation}"
        task = "qmstop" if guest.kind == "qemu" else "vzstop"

        def once() -> None:
            upid = self._begin(operation.node, task, guest.vmid, lambda: self.session.post(path, asked=asked))
            self.tasks.wait(upid.text, asked=asked)

        while_locked(once, deadline=self.session.deadline(), progress=self.session.progress)


def _form(operation: MakeRestore) -> dict[str, t.Any]:
    wish = operation.wish
    form: dict[str, t.Any] = {"vmid": wish.vmid}
    if operation.backup.kind == "qemu":
        form["archive"] = operation.backup.volid
    else:
        form.update({"ostemplate": operation.backup.volid, "restore": 1})
    more = {
        "storage": wish.target,
        **operation.volumes,
        "pool": "" if operation.over else wish.pool,
        "unique": int(wish.unique),
        "force": int(operation.over is not None),
        "start": int(operation.start),
        "bwlimit": wish.bandwidth,
    }
    return {**form, **{key: value for key, value in more.items() if value}}


def _node(operation: MakeDump | Delete | MakeRestore) -> str:
    if isinstance(operation, MakeDump):
        return operation.guest.node
    return operation.place[0] if isinstance(operation, Delete) else operation.node


#: Text of a failure -> what to try.
_HINTS = (
    ("No space left", "Free space on the storage, or keep fewer backups (retention)."),
    ("wrong content type", "The storage takes no backups: add backup to its content."),
    ("does not support container directories", "Choose a target_storage for containers' file systems."),
    ("protection mode enabled", "The guest is protected: take its protection off first."),
    ("max-protected-backups", "Take the protection off an old backup, or allow more on the storage."),
    ("is not online", "The server behind the storage does not answer."),
)


def _hint(text: str) -> str:
    return next((hint for words, hint in _HINTS if words in text), "")


def _together(failed: t.Sequence[tuple[Change, HomelabError]]) -> HomelabError:
    """One error for all: the only one as it is."""
    first = failed[0][1]
    if len(failed) == 1:
        return first
    answer = "; ".join(f"{change.operation}: {error.answer}" for change, error in failed)
    return TaskFailed(f"do {len(failed)} of the changes", of=first.of, answer=answer, hint=first.hint, **first.details)
