# SPDX-License-Identifier: GPL-3.0-or-later
"""From the API server's audit log to the lab's ledger."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import io
import json
import pathlib
import typing as t
import urllib.parse

from .node import Node

_READS = {"get", "list", "watch"}
#: Query parameters of a request that say what was asked; all others stay out of the ledger.
_HARMLESS = ("dryRun", "fieldManager", "force", "labelSelector", "fieldSelector", "watch", "limit")
#: Real seconds between two looks at the log file.
_PERIOD = 0.2


class AuditLog:
    """Follows the audit log of one API server, wherever the machine config sends it: a file, or standard output."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._path: pathlib.Path | None = None
        self._file: io.BufferedReader | None = None
        self._inode = 0
        self._rest = b""
        self._task: asyncio.Task[None] | None = None

    def start(self, command: t.Sequence[str]) -> None:
        """Follow the log that this command line of the API server names, from its present end."""
        paths = [text.partition("=")[2] for text in command if text.startswith("--audit-log-path=")]
        path = pathlib.Path(paths[-1]) if paths and paths[-1] not in ("", "-") else None
        if path != self._path:
            self._close()
            self._path = path
            self._open(at_end=True)
        if self._task is None and path is not None:
            self._task = asyncio.create_task(self._follow(), name=f"audit {self.node.name}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self.sync()
        self._close()
        self._path = None

    def sync(self) -> None:
        """Take over everything that the API server has written so far."""
        if self._file is None:
            self._open(at_end=False)
        if self._file is None:
            return
        self._take(self._file.read())
        with contextlib.suppress(OSError):
            if self._path is not None and self._path.stat().st_ino != self._inode:  # rotated
                self._close()
                self._open(at_end=False)
                if self._file is not None:
                    self._take(self._file.read())

    def line(self, text: str) -> bool:
        """A line of the API server's output: True when it was an audit event (``--audit-log-path=-``)."""
        if self._path is not None or not text.startswith('{"kind":"Event","apiVersion":"audit.k8s.io/'):
            return False
        self._record(text.encode())
        return True

    async def _follow(self) -> None:
        while True:
            self.sync()
            await asyncio.sleep(_PERIOD)

    def _open(self, *, at_end: bool) -> None:
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            self._file = self._path.open("rb")
            self._inode = self._path.stat().st_ino
            if at_end:
                self._file.seek(0, io.SEEK_END)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rest = b""

    def _take(self, data: bytes) -> None:
        if not data:
            return
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._record(line)

    def _record(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return
        if event.get("stage") not in ("ResponseComplete", "Panic"):
            return
        record(self.node, event)


def record(node: Node, event: t.Mapping[str, t.Any]) -> None:
    """One audit event (stage ResponseComplete) as an entry of the ledger."""
    code = int((event.get("responseStatus") or {}).get("code") or 0)
    verb, uri = str(event.get("verb")), str(event.get("requestURI"))
    user = event.get("user") or {}
    impersonated = event.get("impersonatedUser") or {}
    annotations = event.get("annotations") or {}
    node.ledger.record(
        "kubernetes",
        server=node.name,
        caller=str(impersonated.get("username") or user.get("username") or ""),
        source=str((event.get("sourceIPs") or [""])[0]),
        verb=verb,
        path=without_secrets(uri),
        write=is_write(verb, uri),
        result=str(code),
        refused=code >= 400,
        at=_time(event.get("requestReceivedTimestamp")),
        user_agent=str(event.get("userAgent") or ""),
        reason=str(annotations.get("authorization.k8s.io/reason") or "") if code == 403 else "",
    )


def is_write(verb: str, uri: str) -> bool:
    """Whether a request could change something; a dry run cannot, nor can a question about permissions."""
    if verb in _READS:
        return False
    path, _, query = uri.partition("?")
    if "All" in urllib.parse.parse_qs(query).get("dryRun", ()):
        return False
    return not path.startswith(("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/"))


def without_secrets(uri: str) -> str:
    """The path, with only those query parameters that cannot hold a secret."""
    path, _, query = uri.partition("?")
    kept = [(k, v) for k, v in urllib.parse.parse_qsl(query, keep_blank_values=True) if k in _HARMLESS]
    return path + ("?" + urllib.parse.urlencode(kept) if kept else "")


def _time(text: t.Any) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
