# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images brought to storages and deleted: every step waits for its end and looks whether it is so."""

from __future__ import annotations

import hashlib
import re
import typing as t

from ...errors import HomelabError, Refused, ServerFault, TaskFailed
from ...image_factory.client import Client
from ...plan import Change, Plan
from ...web import AnswerLost
from ..api.lanes import side_by_side
from ..api.multipart import Multipart
from ..api.session import Session, listing, segment
from ..api.tasks import Tasks, Upid, delete_volume
from .image_spec import Image

#: Kinds of task that a download shows as.
_DOWNLOADS = ("download", "imgdownload")
ATTEMPTS = 3


def content_of(session: Session, place: tuple[str, str]) -> dict[str, int]:
    """Volume id -> bytes of what lies on a storage of a node."""
    node, storage = place
    path = f"/nodes/{segment(node)}/storage/{segment(storage)}/content"
    found = listing(session, path, "volid", asked=f"list the content of storage {storage} on node {node}")
    return {entry["volid"]: int(entry.get("size") or 0) for entry in found}


class Applier:
    """Nodes work side by side, each on one image after the other."""

    def __init__(self, session: Session, tasks: Tasks) -> None:
        self.session = session
        self.tasks = tasks

    def carry_out(self, plan: Plan) -> None:
        side_by_side(plan, lambda change: str(change.operation.node), self.apply)

    def apply(self, change: Change) -> None:
        image: Image = change.operation
        if image.state == "absent":
            return self._delete(image)
        before = change.before.get("size", 0)
        if before and image.url:
            self._delete(image)  # the server downloads nothing over a file that is there
            before = 0
        for attempt in range(1, ATTEMPTS + 1):
            self._outlive_download(image)
            if attempt > 1 and self._there(image, before):
                return None
            try:
                self._bring(image, before)
                break
            except AnswerLost as error:
                if attempt == ATTEMPTS:
                    raise
                self.session.progress(f"{error.message} Looking again.")
        return self._verify(image)

    def _bring(self, image: Image, before: int) -> None:
        if image.src:
            return self._upload(image)
        if self._there(image, before):
            return None  # by another run, meanwhile
        return self._appliance(image) if image.appliance else self._download(image)

    def _outlive_download(self, image: Image) -> None:
        """A download that an earlier run has begun is waited for, not begun again beside it."""
        if image.src:
            return  # what was sent before the connection broke is thrown away
        for running in self.tasks.running(image.node):
            if running.kind in _DOWNLOADS and _unescaped(running) == image.filename:
                self.tasks.outlive(running)

    def _download(self, image: Image) -> None:
        if image.order:
            factory, session = image.order.factory, self.session
            session.progress(f"registering the schematic with {factory.url}")
            timeout = session.connection.api_timeout
            client = Client(factory, timeout=timeout, limit="api_timeout", progress=session.progress)
            client.register(image.order.build)
        form = {"content": image.content, "filename": image.filename, "url": image.url}
        if image.checksum:
            form.update({"checksum": image.checksum, "checksum-algorithm": image.algorithm})
        if image.compression:
            form["compression"] = image.compression
        if image.order and not image.order.factory.validate_certs:
            form["verify-certificates"] = "0"
        self._do(image, f"{_storage(image)}/download-url", form, "download")

    def _appliance(self, image: Image) -> None:
        form = {"storage": image.storage, "template": image.appliance}
        self._do(image, f"/nodes/{segment(image.node)}/aplinfo", form, "download")

    def _upload(self, image: Image) -> None:
        """With a checksum always, so that the server knows what is to arrive. The order of the fields matters."""
        algorithm, checksum = image.algorithm, image.checksum
        if not checksum:
            algorithm = "sha256"
            with open(image.src, "rb") as file:
                checksum = hashlib.file_digest(file, algorithm).hexdigest()
        fields = {"content": image.content, "checksum-algorithm": algorithm, "checksum": checksum}
        self._do(image, f"{_storage(image)}/upload", Multipart(fields, image.src, image.filename), "upload")

    def _do(self, image: Image, path: str, form: t.Mapping[str, t.Any], verb: str) -> None:
        asked = f"{verb} {image.volid} {'to' if image.src else 'on'} node {image.node}"
        self.session.progress(asked)
        try:
            self.tasks.do(lambda: self.session.post(path, form, asked=asked), asked=asked)
        except TaskFailed as error:
            raise _explained(error, image) from error

    def _verify(self, image: Image) -> None:
        if not self._there(image, 0):
            raise ServerFault(
                f"find {image.volid} after it was {'uploaded' if image.src else 'downloaded'}",
                of=f"node {image.node}, {self.session.of}",
                answer="the task ended well, but the storage does not list the file, or lists it as empty"
                + (", or of another size" if image.src else ""),
            )

    def _there(self, image: Image, before: int) -> bool:
        """Whether the file is there; an upload over another file, whether it is the new one."""
        size = content_of(self.session, image.place).get(image.volid, 0)
        return size == image.size if image.src else bool(size) and size != before

    def _delete(self, image: Image) -> None:
        asked = f"delete {image.volid} on node {image.node}"
        delete_volume(self.session, self.tasks, image.node, image.volid, asked=asked)


def _storage(image: Image) -> str:
    return f"/nodes/{segment(image.node)}/storage/{segment(image.storage)}"


def _explained(error: TaskFailed, image: Image) -> HomelabError:
    hints = (
        ("exit code 8", "The server of the url does not give the file: is the url right?"),
        (
            "checksum mismatch",
            "Is the checksum that of this file? A file that has another content has to be deleted first.",
        ),
        ("No space left", f"Free space on the storage {image.storage}."),
        ("refusing to override", "Something else has downloaded a file of this name meanwhile; run the task again."),
        ("Image is not in", "The file is not of the format that its name says."),
        ("no .ovf file", "An OVA is a tar archive with an .ovf file in it."),
        ("' failed: exit code", "Is the file compressed as compression says?" if image.compression else ""),
        ("resol", f"Node {image.node} cannot look up the name in the url."),
        ("ertificate", f"Node {image.node} does not trust the server in the url."),
    )
    hint = next((hint for text, hint in hints if text in error.answer), "")
    kind = Refused if "refusing to override" in error.answer else TaskFailed
    source = image.url or image.src or "Proxmox's list of container templates"
    return kind(f"{error.asked} from {source}", of=error.of, answer=error.answer, hint=hint, **error.details)


def _unescaped(task: Upid) -> str:
    """A UPID holds characters that would break it as ``\\x2d``."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), task.id)
