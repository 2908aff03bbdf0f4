# SPDX-License-Identifier: GPL-3.0-or-later
"""``download-url``: files from the internet onto a storage."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import pathlib
import re
import tarfile
import typing as t

from .. import fetching
from ..api import Call, handles
from ..errors import Failure, ParameterError
from ..tasks import Task
from .store import Store

_EXTENSIONS = {
    "iso": (re.compile(r".+\.(?:iso|img)", re.I), "wrong file extension"),
    "vztmpl": (re.compile(r".+\.tar\.(?:gz|xz|zst|bz2)", re.I), "wrong file extension"),
    "import": (re.compile(r"[A-Za-z0-9\-_.+=]+\.(?:ova|qcow2|raw|vmdk)"), "invalid filename or wrong extension"),
}
_PIDS = itertools.count(5000)


def safe_name(content: str, sent: str) -> str:
    """The name on the storage; raises ParameterError for a wrong extension."""
    name = re.sub(r"[^A-Za-z0-9\-_.]", "_", re.split(r"[/\\]", sent)[-1])
    pattern, text = _EXTENSIONS[content]
    if not pattern.fullmatch(name):
        raise ParameterError({"filename": text})
    return name


def enabled_directory(call: Call, reason: str = "") -> Store:
    """The storage of the request; raises Failure for one that is off or keeps no files."""
    store = call.cluster.storages.get_active(call.node.name, call.text("storage"))
    if store.flat:
        raise Failure(f"can't upload to storage type '{store.type}'{reason}")
    return store


@handles("POST", "/nodes/{node}/storage/{storage}/download-url")
def download(call: Call) -> str:
    store, content = enabled_directory(call, ", not a file based storage!"), call.text("content")
    if content not in store.content:
        raise Failure(f"storage '{store.name}' is not configured for content-type '{content}'")
    name = safe_name(content, call.text("filename"))
    job = Download(call, store, f"{content}/{name}")
    return call.start("download", name, job.run)


@handles("GET", "/nodes/{node}/aplinfo")
def appliances(call: Call) -> list[dict[str, str]]:
    return [dict(entry) for entry in call.cluster.config.appliances]


@handles("POST", "/nodes/{node}/aplinfo")
def appliance(call: Call) -> str:
    """A container template of the list that Proxmox maintains."""
    offered = {entry["template"]: entry for entry in call.cluster.config.appliances}
    entry = offered.get(call.text("template"))
    if entry is None:
        raise ParameterError({"template": "no such template"})
    store = call.cluster.storages.get(call.node.name, call.text("storage"))
    if "vztmpl" not in store.content:
        raise Failure(f"storage '{store.name}' does not support templates")
    job = Download(call, store, f"vztmpl/{entry['template']}")
    job.url, job.checksum, job.algorithm = entry["location"], entry["sha512sum"], "sha512"
    return call.start("download", "", job.run)


class Download:
    def __init__(self, call: Call, store: Store, volume: str) -> None:
        self.call = call
        self.store = store
        self.volume = volume
        self.url = call.text("url", "")
        self.target = store.file(volume)
        self.shown = store.node_path(volume)  # the path on the node
        self.checksum = call.text("checksum").lower()
        self.algorithm = call.text("checksum-algorithm")
        self.compression = call.params.get("compression")

    async def run(self, task: Task) -> None:
        if self.compression is not None and not self.volume.startswith("iso/"):
            raise Failure(f"decompression not supported for {self.volume.partition('/')[0]}")
        if self.compression not in (None, "gz", "lzo", "zst", "bz2"):
            raise Failure("no decompression method found")
        task.log(f"downloading {self.url} to {self.shown}")
        if self.target.exists():
            self._existing(task)
            return
        self.target.parent.mkdir(parents=True, exist_ok=True)
        part = self.target.with_name(f"{self.target.name}.tmp_dwnl.{next(_PIDS)}")
        try:
            await self._fetch(part, task)
            self._check(part, task)
            self._decompress(part, task)
            self._verify(part, task)
            part.rename(self.target)
        finally:
            part.unlink(missing_ok=True)
        task.log(f"download of '{self.url}' to '{self.shown}' finished")

    def _existing(self, task: Task) -> None:
        if not self.checksum:
            raise Failure(f"refusing to override existing file '{self.shown}'")
        got = _digest(self.target, self.algorithm)
        if got != self.checksum:
            task.log("calculating checksum of existing file...")
            raise Failure(f"checksum mismatch: got '{got}' != expect '{self.call.text('checksum')}', aborting")
        task.log("calculating checksum of existing file...OK, got correct file already, no need to download")

    async def _fetch(self, part: pathlib.Path, task: Task) -> None:
        storages = self.call.cluster.storages
        shown = f"{self.shown}{part.name[len(self.target.name) :]}"
        verify = self.call.flag("verify-certificates", True)
        try:
            async with self.call.cluster.fetch("GET" if verify else "GET-INSECURE", self.url) as fetched:
                length = fetched.headers.get("content-length", "")
                task.log(f"Length: {length or 'unspecified'} [{fetched.headers.get('content-type', '')}]")
                free = self.store.capacity - self.store.used()
                if storages.full or (length.isdigit() and int(length) > free):
                    storages.full = False
                    raise Failure(f"download failed: Cannot write to '{shown}' (No space left on device).")
                with part.open("wb") as file:
                    async for chunk in fetched.chunks:
                        file.write(chunk)
        except fetching.FetchError as error:
            raise Failure(f"download failed: {self._reason(error)}") from None

    def _reason(self, error: fetching.FetchError) -> str:
        """What wget prints; for an error of the server only its exit code."""
        if error.status:
            return "exit code 8"
        host = fetching.host_of(self.url)
        if error.kind == "name":
            return f"wget: unable to resolve host address '{host.partition(':')[0]}'"
        if error.kind == "certificate":
            return f"ERROR: The certificate of '{host.partition(':')[0]}' doesn't have a known issuer."
        return f"Connecting to {host}... failed: {error.text}."

    def _check(self, part: pathlib.Path, task: Task) -> None:
        if self.checksum:
            got = _digest(part, self.algorithm)
            if got != self.checksum:
                task.log("calculating checksum...")
                raise Failure(f"checksum mismatch: got '{got}' != expect '{self.call.text('checksum')}'")
            task.log("calculating checksum...OK, checksum verified")

    def _decompress(self, part: pathlib.Path, task: Task) -> None:
        if self.compression is None:
            return
        tools = {"gz": "zcat", "zst": "zstd -q -d -c", "lzo": "lzop -d -c", "bz2": "bzcat"}
        shown = f"{self.shown}{part.name[len(self.target.name) :]}"
        task.log(f"decompressing {shown} to {shown.replace('.tmp_dwnl.', '.tmp_dcom.')}")
        if self.compression != "gz":
            raise Failure(f"command '{tools[self.compression]} {shown}' failed: exit code 1")
        try:
            part.write_bytes(gzip.decompress(part.read_bytes()))
        except (OSError, EOFError):
            raise Failure(f"command 'zcat {shown}' failed: exit code 1") from None

    def _verify(self, part: pathlib.Path, task: Task) -> None:
        if self.volume.startswith("import/"):
            shown = f"{self.shown}{part.name[len(self.target.name) :]}"
            verify_import(part, shown, self.target.suffix, task.log, True)


def verify_import(path: pathlib.Path, shown: str, suffix: str, log: t.Callable[[str], None], prefixed: bool) -> None:
    """Raises Failure when an import file is not what its name says."""
    prefix = "failed to verify file: " if prefixed else ""
    with path.open("rb") as file:
        magic = file.read(4)
    known = {".qcow2": (b"QFI\xfb",), ".vmdk": (b"KDMV", b"COWD", b"# Di")}.get(suffix)
    if known is not None and magic not in known:
        format_ = suffix[1:]
        log(f"command '/usr/bin/qemu-img info '--output=json' {shown} -f {format_}' failed: exit code 1")
        raise Failure(f"{prefix}qemu-img: Could not open '{shown}': Image is not in {format_} format")
    if suffix == ".ova" and not _has_ovf(path):
        raise Failure(f"{prefix}ova archive has no .ovf file inside")


def _has_ovf(path: pathlib.Path) -> bool:
    try:
        with tarfile.open(path) as archive:
            return any(name.endswith(".ovf") for name in archive.getnames())
    except (tarfile.TarError, OSError):
        return False


def _digest(path: pathlib.Path, algorithm: str) -> str:
    digest: t.Any = hashlib.new(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return str(digest.hexdigest())
