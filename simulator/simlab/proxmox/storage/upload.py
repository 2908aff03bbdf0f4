# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads of ISO images, container templates and disk images."""

from __future__ import annotations

import hashlib
import pathlib
import secrets
import tempfile

from ..api import Call, handles
from ..errors import ApiError, Failure, NotSimulated
from ..tasks import Task
from .download import enabled_directory, safe_name, verify_import


@handles("POST", "/nodes/{node}/storage/{storage}/upload")
def upload(call: Call) -> str:
    if call.upload is None:
        raise NotSimulated("POST", "an upload without a file")
    store = enabled_directory(call)
    content, data = call.text("content"), call.upload.content
    name = safe_name(content, call.upload.filename)
    if content not in ("iso", "vztmpl", "import"):
        raise ApiError(400, "Bad Request")
    if content not in store.content:
        raise Failure(f"storage '{store.name}' does not support '{content}' content")
    volume = f"{content}/{name}"
    source = f"/var/tmp/pveupload-{secrets.token_hex(16)}"

    async def work(task: Task) -> None:
        task.log(f"starting file import from: {source}")
        if "checksum" in call.params:
            got = hashlib.new(call.text("checksum-algorithm"), data).hexdigest()
            if got != call.text("checksum").lower():
                task.log("calculating checksum...")
                raise Failure(f"checksum mismatch: got '{got}' != expect '{call.text('checksum')}'")
            task.log("calculating checksum...OK, checksum verified")
        if content == "import":
            _verify(data, source, pathlib.PurePath(name).suffix, task)
        task.log(f"target node: {call.node.name}")
        task.log(f"target file: {store.node_path(volume)}")
        task.log(f"file size is: {len(data)}")
        task.log(f"command: cp -- {source} {store.node_path(volume)}")
        target = store.file(volume)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        task.log("finished file import successfully")

    return call.start("imgcopy", "", work)


def _verify(data: bytes, shown: str, suffix: str, task: Task) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        verify_import(pathlib.Path(file.name), shown, suffix, task.log, False)
