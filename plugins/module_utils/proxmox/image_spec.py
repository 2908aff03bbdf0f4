# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as they are wanted on storages: where they come from, what their volume is called. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse

from ..errors import InvalidInput
from .schematics import schematic_id

Params = t.Mapping[str, t.Any]

#: Content -> what its file names end with, as the server checks it.
EXTENSIONS = {
    "import": (".qcow2", ".raw", ".vmdk", ".ova"),
    "iso": (".iso", ".img"),
    "vztmpl": (".tar.gz", ".tar.xz", ".tar.zst"),
}

#: Algorithm -> hexadecimal digits of its checksums.
CHECKSUMS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}

_VERSION = re.compile(r"v\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?")
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_WORD = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclasses.dataclass(frozen=True)
class Factory:
    """An Image Factory and what it is to build. ``ca_path`` is empty for what the machine trusts."""

    url: str
    schematic: t.Mapping[str, t.Any]
    id: str
    validate_certs: bool
    ca_path: str


@dataclasses.dataclass(frozen=True)
class Image:
    """``checksum`` in lower case, empty when none is given."""

    node: str
    storage: str
    content: str
    filename: str
    state: t.Literal["present", "absent"]
    url: str = ""
    checksum: str = ""
    algorithm: str = ""
    factory: Factory | None = None

    @property
    def volid(self) -> str:
        return f"{self.storage}:{self.content}/{self.filename}"

    @property
    def resource(self) -> str:
        return f"image/{self.node}/{self.volid}"


def wanted(entries: t.Iterable[Params]) -> list[Image]:
    """All entries checked; raises one :class:`InvalidInput` that names every problem with its place."""
    images: list[Image] = []
    problems: list[str] = []
    for index, entry in enumerate(entries):
        try:
            images.append(_image(entry))
        except InvalidInput as error:
            problems.append(f"images[{index}]: {error.message}")
    seen: dict[str, Image] = {}
    for image in images:
        if seen.setdefault(image.resource, image) != image:
            problems.append(f"{image.volid} on node {image.node} is wanted twice, in two ways.")
    if problems:
        raise InvalidInput(" ".join(problems))
    return list(seen.values())


def _image(entry: Params) -> Image:
    state: t.Literal["present", "absent"] = entry.get("state") or "present"
    content, factory = entry.get("content") or "import", entry.get("image_factory")
    if factory and (entry.get("url") or entry.get("filename")):
        raise InvalidInput("image_factory is given with a url or a filename", hint="Both follow from image_factory.")
    if factory:
        made, url, filename = _factory(factory, content)
    else:
        made, url, filename = None, _url(entry, state), _filename(entry)
    _extension(filename, content)
    checksum, algorithm = _checksum(entry)
    for key in ("node", "storage"):
        if not entry.get(key) or "/" in entry[key] or ":" in entry[key]:
            raise InvalidInput(f"{key} {entry.get(key)!r} is not valid", hint=f"Give the name of a {key}.")
    return Image(entry["node"], entry["storage"], content, filename, state, url, checksum, algorithm, made)


def _factory(factory: Params, content: str) -> tuple[Factory, str, str]:
    """The factory, and the URL and the name of the file that it makes."""
    if content == "vztmpl":
        raise InvalidInput("image_factory makes no container templates", hint="Set content to import or iso.")
    version = factory["version"]
    if not _VERSION.fullmatch(version):
        raise InvalidInput(f"version {version!r} is no version of Talos", hint="Write for example v1.13.9.")
    platform, arch = factory.get("platform") or "nocloud", factory.get("arch") or "amd64"
    for option, value in (("platform", platform), ("arch", arch)):
        if not _WORD.fullmatch(value):
            raise InvalidInput(f"{option} {value!r} of image_factory is not valid")
    schematic = factory.get("schematic") or {}
    number = schematic_id(schematic)
    base = _http((factory.get("url") or "https://factory.talos.dev").rstrip("/"), "url of image_factory")
    suffix = ".iso" if content == "iso" else ".qcow2"
    build = f"{platform}-{arch}{'-secureboot' if factory.get('secureboot') else ''}"
    made = Factory(base, schematic, number, factory.get("validate_certs", True), factory.get("ca_path") or "")
    url = f"{base}/image/{number}/{version}/{build}{suffix}"
    return made, url, f"talos-{number[:12]}-{version}-{build}{suffix}"


def _url(entry: Params, state: str) -> str:
    url = entry.get("url") or ""
    if not url:
        if state == "present":
            raise InvalidInput("url or image_factory is missing", hint="The node has to know where to download from.")
        return ""
    return _http(url, "url")


def _http(url: str, option: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"{option} {url!r} is no http or https address")
    return url


def _filename(entry: Params) -> str:
    filename = entry.get("filename") or urllib.parse.unquote(
        urllib.parse.urlsplit(entry.get("url") or "").path.rpartition("/")[2]
    )
    if not filename:
        raise InvalidInput("filename is missing", hint="It cannot be taken from the url.")
    if not _FILENAME.fullmatch(filename):
        raise InvalidInput(f"filename {filename!r} is not valid", hint="Use letters, digits and _ . + - only.")
    return filename


def _extension(filename: str, content: str) -> None:
    allowed = EXTENSIONS[content]
    if not filename.lower().endswith(allowed) or filename.lower() in allowed:
        raise InvalidInput(
            f"filename {filename!r} does not fit content {content}", hint=f"It must end with {' or '.join(allowed)}."
        )


def _checksum(entry: Params) -> tuple[str, str]:
    checksum, algorithm = (entry.get("checksum") or "").lower(), entry.get("checksum_algorithm") or ""
    prefix, separator, digits = checksum.partition(":")
    if separator:
        if algorithm and algorithm != prefix:
            raise InvalidInput(f"checksum begins with {prefix}:, but checksum_algorithm is {algorithm}")
        algorithm, checksum = prefix, digits
    if not checksum:
        return "", ""
    algorithm = algorithm or "sha256"
    if algorithm not in CHECKSUMS:
        raise InvalidInput(f"checksum_algorithm {algorithm!r} is unknown", hint=f"Known: {', '.join(CHECKSUMS)}.")
    if not re.fullmatch(rf"[0-9a-f]{{{CHECKSUMS[algorithm]}}}", checksum):
        raise InvalidInput(
            f"checksum {checksum!r} is no {algorithm} checksum",
            hint=f"That has {CHECKSUMS[algorithm]} hexadecimal digits; checksum_algorithm names another algorithm.",
        )
    return checksum, algorithm
