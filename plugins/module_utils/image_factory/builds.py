# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an Image Factory builds of a schematic, and what it calls it. Nothing is asked of anybody."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse

from ..errors import InvalidInput
from .schematics import schematic_id

PUBLIC = "https://factory.talos.dev"

_VERSION = re.compile(r"v\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


@dataclasses.dataclass(frozen=True)
class Factory:
    """An Image Factory and how it is trusted; ``ca_path`` is empty for what the machine trusts."""

    url: str = PUBLIC
    validate_certs: bool = True
    ca_path: str = ""

    def __str__(self) -> str:
        return f"the Image Factory at {self.url}"

    @property
    def registry(self) -> str:
        """The name of its container registry: its host, with a path below it."""
        parts = urllib.parse.urlsplit(self.url)
        return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


@dataclasses.dataclass(frozen=True)
class Build:
    """One schematic for one version, platform and architecture. ``id`` is the schematic's."""

    schematic: t.Mapping[str, t.Any]
    id: str
    version: str
    platform: str = "nocloud"
    arch: str = "amd64"
    secureboot: bool = False

    @property
    def flavour(self) -> str:
        """How its files begin: ``nocloud-amd64``, ``metal-arm64-secureboot``."""
        return f"{self.platform}-{self.arch}{'-secureboot' if self.secureboot else ''}"

    def filename(self, ending: str) -> str:
        """A name of ours that tells one image from all others, also beside those of other schematics."""
        return f"talos-{self.id[:12]}-{self.version}-{self.flavour}.{ending}"

    def url(self, factory: Factory, file: str) -> str:
        """``file`` is the factory's own name of it, see :data:`FILES`."""
        return f"{factory.url}/image/{self.id}/{self.version}/{file}"

    def image_url(self, factory: Factory, ending: str) -> str:
        return self.url(factory, f"{self.flavour}.{ending}")

    def pxe_url(self, factory: Factory) -> str:
        """The iPXE script."""
        return f"{factory.url}/pxe/{self.id}/{self.version}/{self.flavour}"

    def installer(self, factory: Factory) -> str:
        """The container image that installs and upgrades it; an upgrade with it keeps extensions and arguments."""
        kind = f"{self.platform}-installer{'-secureboot' if self.secureboot else ''}"
        return f"{factory.registry}/{kind}/{self.id}:{self.version}"


def factory(url: str | None, *, validate_certs: bool = True, ca_path: str | None = None) -> Factory:
    """Raises :class:`InvalidInput` for what is no address of a web server."""
    address = (url or PUBLIC).rstrip("/")
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidInput(f"{url!r} is no http or https address of an Image Factory")
    return Factory(address, validate_certs, ca_path or "")


def build(
    schematic: t.Mapping[str, t.Any],
    version: str,
    *,
    platform: str | None = None,
    arch: str | None = None,
    secureboot: bool = False,
) -> Build:
    """Raises :class:`InvalidInput` for what no factory would take."""
    if not _VERSION.fullmatch(version):
        raise InvalidInput(f"version {version!r} is no version of Talos", hint="Write for example v1.13.9.")
    platform, arch = platform or "nocloud", arch or "amd64"
    for option, value in (("platform", platform), ("arch", arch)):
        if not _WORD.fullmatch(value):
            raise InvalidInput(f"{option} {value!r} is not valid", hint="It is one word of the factory's own.")
    return Build(schematic, schematic_id(schematic), version, platform, arch, secureboot)
