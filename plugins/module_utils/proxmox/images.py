# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on storages: read once a storage, plan, download and check, delete what is named."""

from __future__ import annotations

import re
import typing as t

from ..errors import HomelabError, InvalidInput, NotFound, Refused, ServerFault, TaskFailed
from ..plan import Change, Plan, carry_out
from ..task import Result, Task
from . import rights
from .answers import AnswerLost
from .connection import Connection
from .factory import register
from .image_spec import Image, wanted
from .session import Session, segment
from .tasks import Tasks, Upid
from .vm_state import together

#: Where something is: (node, storage).
Place = tuple[str, str]
#: Place -> volume id -> bytes.
Contents = t.Mapping[Place, t.Mapping[str, int]]

#: Kinds of task that a download shows as.
_DOWNLOADS = ("download", "imgdownload")
ATTEMPTS = 3


def converge(task: Task) -> Result:
    """The module ``proxmox_image``."""
    images = wanted(task.params["images"])
    connection = Connection.of(task.params)
    task.secret(connection.password, connection.token_secret)
    with Session(connection, progress=task.progress) as session:
        tasks = Tasks(session, task.warn)
        contents = read(session, {(image.node, image.storage) for image in images})
        made = plan(images, contents)
        _check(session, [change.operation for change in made])
        if not task.check_mode:
            applier = _Applier(session, tasks)
            carry_out(made, lambda change: applier.apply(change.operation))
        return task.result(made, images=_report(images, made, contents))


def read(session: Session, places: t.Collection[Place]) -> Contents:
    """One list a storage."""
    ordered = sorted(places)
    return dict(zip(ordered, together(lambda place: _content(session, place), ordered), strict=True))


def plan(images: t.Sequence[Image], contents: Contents) -> Plan:
    """Pure. A file that is there is taken to be right: the API does not tell its checksum."""
    changes = []
    for image in images:
        there = image.volid in contents[(image.node, image.storage)]
        if image.state == "present" and not there:
            changes.append(Change(image.resource, "create", after=_shown(image), operation=image))
        elif image.state == "absent" and there:
            size = contents[(image.node, image.storage)][image.volid]
            changes.append(Change(image.resource, "delete", before={"size": size}, operation=image))
    return Plan.of(changes)


def _shown(image: Image) -> dict[str, t.Any]:
    shown = {"url": image.url}
    if image.checksum:
        shown["checksum"] = f"{image.algorithm}:{image.checksum}"
    if image.factory:
        shown["schematic"] = image.factory.id
    return shown


def _content(session: Session, place: Place) -> dict[str, int]:
    node, storage = place
    path = f"/nodes/{segment(node)}/storage/{segment(storage)}/content"
    asked = f"list the content of storage {storage} on node {node}"
    try:
        found = session.get(path, asked=asked)
    except NotFound as error:
        raise InvalidInput(f"{error.answer} (node {node})", hint="Check node and storage of the image.") from error
    return {entry["volid"]: int(entry.get("size") or 0) for entry in found}


def _check(session: Session, images: t.Sequence[Image]) -> None:
    """What is said before anything is written; nothing is asked when nothing is to be done."""
    if not images:
        return
    rights.check(rights.read(session), [need for image in images for need in _needs(image)], asked="change images")
    _check_storages(session, images)


def _needs(image: Image) -> list[rights.Need]:
    storage = f"/storage/{image.storage}"
    if image.state == "absent":
        return [rights.Need((storage,), ("Datastore.Allocate",), f"delete {image.volid}")]
    return [
        rights.Need((storage,), ("Datastore.AllocateTemplate",), f"download {image.volid}"),
        rights.Need((f"/nodes/{image.node}", "/"), ("Sys.AccessNetwork", "Sys.Modify"), f"download {image.volid}"),
    ]


def _check_storages(session: Session, images: t.Sequence[Image]) -> None:
    """A storage takes only certain content. One list a node."""
    downloads = [image for image in images if image.state == "present"]
    nodes = sorted({image.node for image in downloads})
    lists = together(
        lambda node: session.get(f"/nodes/{segment(node)}/storage", asked=f"list the storages of {node}"), nodes
    )
    storages = {(node, one["storage"]): one for node, found in zip(nodes, lists, strict=True) for one in found}
    for image in downloads:
        storage = storages.get((image.node, image.storage), {})
        content = re.split(r"[,\s]+", storage.get("content") or image.content)
        if image.content not in content:
            able = sorted(
                one["storage"]
                for (node, _name), one in storages.items()
                if node == image.node and image.content in re.split(r"[,\s]+", one.get("content") or "")
            )
            raise InvalidInput(
                f"The storage {image.storage!r} of node {image.node} takes no {image.content}, only {', '.join(sorted(content))}",
                hint=f"These do: {', '.join(able) or 'none'}. Content kinds are set in the storage's definition.",
            )


class _Applier:
    def __init__(self, session: Session, tasks: Tasks) -> None:
        self.session = session
        self.tasks = tasks

    def apply(self, image: Image) -> None:
        if image.state == "absent":
            return self._delete(image)
        for attempt in range(1, ATTEMPTS + 1):
            self._outlive_download(image)
            if attempt > 1 and self._size(image):
                return None
            try:
                self._download(image)
                break
            except AnswerLost as error:
                if attempt == ATTEMPTS:
                    raise
                self.session.progress(f"{error.message} Looking again.")
        return self._verify(image)

    def _outlive_download(self, image: Image) -> None:
        """A download that an earlier run has begun is waited for, not begun again beside it."""
        for running in self.tasks.running(image.node):
            if running.kind in _DOWNLOADS and _unescaped(running) == image.filename:
                self.tasks.outlive(running)

    def _download(self, image: Image) -> None:
        if self._size(image):
            return  # by another run, meanwhile
        if image.factory:
            self.session.progress(f"registering the schematic with {image.factory.url}")
            timeout = self.session.connection.api_timeout
            register(image.factory, timeout=timeout, progress=self.session.progress)
        form = {"content": image.content, "filename": image.filename, "url": image.url}
        if image.checksum:
            form.update({"checksum": image.checksum, "checksum-algorithm": image.algorithm})
        if image.factory and not image.factory.validate_certs:
            form["verify-certificates"] = "0"
        asked = f"download {image.volid} on node {image.node}"
        self.session.progress(asked)
        path = f"/nodes/{segment(image.node)}/storage/{segment(image.storage)}/download-url"
        try:
            self.tasks.do(lambda: self.session.post(path, form, asked=asked), asked=asked)
        except TaskFailed as error:
            raise _explained(error, image) from error

    def _verify(self, image: Image) -> None:
        if not self._size(image):
            raise ServerFault(
                f"find {image.volid} after its download",
                of=f"node {image.node}, {self.session.of}",
                answer="the task ended well, but the storage does not list the file, or lists it as empty",
            )

    def _size(self, image: Image) -> int:
        return _content(self.session, (image.node, image.storage)).get(image.volid, 0)

    def _delete(self, image: Image) -> None:
        asked = f"delete {image.volid} on node {image.node}"
        path = f"/nodes/{segment(image.node)}/storage/{segment(image.storage)}/content/{segment(image.volid)}"
        try:
            upid = self.session.delete(path, asked=asked)
        except AnswerLost:
            upid = self.session.delete(path, asked=asked)  # deleting what is gone succeeds
        if upid:
            self.tasks.wait(upid, asked=asked)


def _explained(error: TaskFailed, image: Image) -> HomelabError:
    hints = (
        ("exit code 8", "The server of the url does not give the file: is the url right?"),
        (
            "checksum mismatch",
            "Is the checksum that of this file? A file that has another content has to be deleted first.",
        ),
        ("No space left", f"Free space on the storage {image.storage}."),
        ("refusing to override", "Something else has downloaded a file of this name meanwhile; run the task again."),
        ("resol", f"Node {image.node} cannot look up the name in the url."),
        ("ertificate", f"Node {image.node} does not trust the server in the url."),
    )
    hint = next((hint for text, hint in hints if text in error.answer), "")
    kind = Refused if "refusing to override" in error.answer else TaskFailed
    return kind(f"{error.asked} from {image.url}", of=error.of, answer=error.answer, hint=hint, **error.details)


def _unescaped(task: Upid) -> str:
    """A UPID holds characters that would break it as ``\\x2d``."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), task.id)


def _report(images: t.Sequence[Image], made: Plan, contents: Contents) -> list[dict[str, t.Any]]:
    """One entry an image, the same in check mode and in a run."""
    touched = {change.resource for change in made}
    return [
        {
            "volid": image.volid,
            "node": image.node,
            "storage": image.storage,
            "content": image.content,
            "filename": image.filename,
            "url": image.url,
            "schematic": image.factory.id if image.factory else None,
            "state": image.state,
            "changed": image.resource in touched,
        }
        for image in images
    ]
