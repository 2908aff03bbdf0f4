# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as they are wanted on storages: where they come from, what their volume is called.

Nothing is asked of anybody; of a file to upload only its size is looked at.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t
import urllib.parse

from ...errors import InvalidInput
from ...image_factory import builds

Params = t.Mapping[str, t.Any]

#: Content -> what its file names end with, as the server checks it.
EXTENSIONS = {
    "import": (".qcow2", ".raw", ".vmdk", ".ova"),
    "iso": (".iso", ".img"),
    "vztmpl": (".tar.gz", ".tar.xz", ".tar.zst"),
    "snippets": ("",),
}

#: Content -> why the API cannot bring it there.
REFUSED = {
    "snippets": "Put it into the directory snippets/ of the storage by other means, for example with "
    "ansible.builtin.copy over SSH. The API can only delete it."
}

#: Of these one says where an image comes from.
SOURCES = ("url", "image_factory", "src", "appliance")

#: How a file is compressed -> what its name ends with.
COMPRESSIONS = {"gz": ".gz", "lzo": ".lzo", "zst": ".zst", "bz2": ".bz2"}

#: Algorithm -> hexadecimal digits of its checksums.
CHECKSUMS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}

_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclasses.dataclass(frozen=True)
class Order:
    """What an Image Factory is to build."""

    factory: builds.Factory
    build: builds.Build


@dataclasses.dataclass(frozen=True)
class Image:
    """``checksum`` in lower case, empty when none is given. One of ``url``, ``src`` and ``appliance`` says where it
    comes from. ``filename`` is empty as long as the newest version of an appliance is not known.
    """

    node: str
    storage: str
    content: str
    filename: str
    state: t.Literal["present", "absent"]
    url: str = ""
    checksum: str = ""
    algorithm: str = ""
    order: Order | None = None
    src: str = ""
    #: Bytes of ``src``.
    size: int = 0
    appliance: str = ""
    compression: str = ""
    compare: t.Literal["name", "size"] = "name"

    @property
    def volid(self) -> str:
        return f"{self.storage}:{self.content}/{self.filename}"

    @property
    def resource(self) -> str:
        return f"image/{self.node}/{self.volid}"

    @property
    def place(self) -> tuple[str, str]:
        return (self.node, self.storage)


def wanted(entries: t.Iterable[Params]) -> list[Image]:
    """All entries checked, one image for each node; raises one :class:`InvalidInput` that names every problem with
    its place."""
    images: list[Image] = []
    problems: list[str] = []
    for index, entry in enumerate(entries):
        try:
            images += _images(entry)
        except InvalidInput as error:
            problems.append(f"images[{index}]: {error.message}")
    seen: dict[str, Image] = {}
    for image in images:
        name = image.resource if image.filename else f"{image.node}/{image.storage}/{image.appliance}"
        if seen.setdefault(name, image) != image:
            problems.append(f"{image.volid} on node {image.node} is wanted twice, in two ways.")
    if problems:
        raise InvalidInput(" ".join(problems))
    return list(seen.values())


def _images(entry: Params) -> list[Image]:
    one, several = entry.get("node"), entry.get("nodes") or []
    if bool(one) == bool(several):
        problem = "node and nodes are both given" if one else "node is missing"
        raise InvalidInput(problem, hint="Give node, or nodes for several.")
    nodes = list(dict.fromkeys(several or [one]))
    for key, names in (("node", nodes), ("storage", [entry.get("storage")])):
        for name in names:
            if not name or "/" in name or ":" in name:
                raise InvalidInput(f"{key} {name!r} is not valid", hint=f"Give the name of a {key}.")
    image = _image(entry, nodes[0])
    return [dataclasses.replace(image, node=node) for node in nodes]


def _image(entry: Params, node: str) -> Image:
    state: t.Literal["present", "absent"] = entry.get("state") or "present"
    content, given = _content(entry, state), [key for key in SOURCES if entry.get(key)]
    if "image_factory" in given and (entry.get("url") or entry.get("filename")):
        raise InvalidInput("image_factory is given with a url or a filename", hint="Both follow from image_factory.")
    if len(given) > 1:
        raise InvalidInput(f"{' and '.join(given)} are given", hint="Only one of them can be where it comes from.")
    checksum, algorithm = _checksum(entry)
    image = Image(node, entry["storage"], content, "", state, checksum=checksum, algorithm=algorithm)
    if "image_factory" in given:
        made, url, filename = _factory(entry["image_factory"], content)
        image = dataclasses.replace(image, order=made, url=url, filename=filename)
    elif "appliance" in given:
        image = _appliance(entry, image)
    elif "src" in given:
        image = _upload(entry, image)
    else:
        image = _download(entry, image)
    if image.filename:
        _extension(image.filename, content)
    return _compared(entry, image)


def _content(entry: Params, state: str) -> str:
    content = entry.get("content") or ("vztmpl" if entry.get("appliance") else "import")
    if state == "present" and content in REFUSED:
        raise InvalidInput(
            f"The API of Proxmox VE takes no {content}, neither by upload nor from a url", hint=REFUSED[content]
        )
    return content


def _appliance(entry: Params, image: Image) -> Image:
    """A whole file name is what it says; the beginning of one is looked up later."""
    name = entry["appliance"]
    if image.content != "vztmpl":
        raise InvalidInput("appliance is a container template", hint="Set content to vztmpl, or leave it out.")
    if not _FILENAME.fullmatch(name):
        raise InvalidInput(f"appliance {name!r} is not valid", hint="Write for example debian-12-standard.")
    for option in ("filename", "checksum", "compression"):
        if entry.get(option):
            raise InvalidInput(f"{option} is given with appliance", hint="It follows from Proxmox's own list.")
    whole = name.lower().endswith(EXTENSIONS["vztmpl"])
    if not whole and image.state == "absent":
        raise InvalidInput(f"appliance {name!r} is no file name", hint="To delete one, write its whole name.")
    return dataclasses.replace(image, appliance=name, filename=name if whole else "")


def _upload(entry: Params, image: Image) -> Image:
    path = os.path.expanduser(entry["src"])
    if entry.get("compression"):
        raise InvalidInput(
            "compression is given with src", hint="Only what a node downloads can be decompressed there."
        )
    filename = _filename(entry, os.path.basename(path))
    if image.state == "absent":
        return dataclasses.replace(image, filename=filename, src=path)
    try:
        size = os.path.getsize(path) if os.path.isfile(path) else 0
    except OSError:
        size = 0
    if not size or not os.access(path, os.R_OK):
        raise InvalidInput(f"src {entry['src']} is no file that can be read, or is empty")
    return dataclasses.replace(image, filename=filename, src=path, size=size)


def _download(entry: Params, image: Image) -> Image:
    url, compression = _url(entry, image.state), entry.get("compression") or ""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
    if compression:
        if image.content != "iso":
            raise InvalidInput("compression is given", hint="Nodes decompress images of content iso only.")
        name = name.removesuffix(COMPRESSIONS[compression])
    return dataclasses.replace(image, url=url, filename=_filename(entry, name), compression=compression)


def _compared(entry: Params, image: Image) -> Image:
    """How it is told whether what is there is right, and a name that says what is in it."""
    if entry.get("checksum_in_name"):
        if not image.checksum or entry.get("filename") or not (image.url or image.src):
            raise InvalidInput("checksum_in_name needs a checksum and a url or src, and no filename")
        ending = next(end for end in EXTENSIONS[image.content] if image.filename.lower().endswith(end))
        stem = image.filename[: -len(ending)]
        return dataclasses.replace(image, filename=f"{stem}-{image.checksum[:12]}{image.filename[-len(ending) :]}")
    compare: t.Literal["name", "size"] = entry.get("compare") or "name"
    if compare == "size" and (image.compression or image.appliance):
        raise InvalidInput("compare is size, but the size of what is decompressed or an appliance is not known")
    return dataclasses.replace(image, compare="size" if image.src else compare)


def _factory(given: Params, content: str) -> tuple[Order, str, str]:
    """The order, and the URL and the name of the file that the factory makes of it."""
    if content == "vztmpl":
        raise InvalidInput("image_factory makes no container templates", hint="Set content to import or iso.")
    build = builds.build(
        given.get("schematic") or {},
        given["version"],
        platform=given.get("platform"),
        arch=given.get("arch"),
        secureboot=bool(given.get("secureboot")),
    )
    factory = builds.factory(
        given.get("url"), validate_certs=given.get("validate_certs", True), ca_path=given.get("ca_path")
    )
    ending = "iso" if content == "iso" else "qcow2"
    return Order(factory, build), build.image_url(factory, ending), build.filename(ending)


def _url(entry: Params, state: str) -> str:
    url = entry.get("url") or ""
    if not url:
        if state == "present":
            raise InvalidInput(
                "url or image_factory is missing",
                hint="Where it comes from has to be said; src uploads a file, appliance is one of Proxmox's own templates.",
            )
        return ""
    return _http(url, "url")


def _http(url: str, option: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"{option} {url!r} is no http or https address")
    return url


def _filename(entry: Params, derived: str) -> str:
    filename: str = entry.get("filename") or derived
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
