# SPDX-License-Identifier: GPL-3.0-or-later
"""The Image Factory: schematics and boot images. Paths, codes and texts are those of siderolabs/image-factory."""

from __future__ import annotations

import hashlib
import lzma
import re
import typing as t

import yaml
from aiohttp import web

from .. import images
from ..contracts import BootImage
from .schematic import InvalidSchematic, canonical, identifier

#: Releases that this factory can build, newest last.
VERSIONS = (
    "v1.11.6",
    *(f"v1.12.{patch}" for patch in range(12)),
    *(f"v1.13.{patch}" for patch in range(10)),
    "v1.14.0-rc.0",
    "v1.14.0-rc.1",
)
_PLATFORMS = (
    "akamai", "aws", "azure", "cloudstack", "digital-ocean", "equinixMetal", "exoscale", "gcp", "hcloud", "metal",
    "nocloud", "openstack", "opennebula", "oracle", "scaleway", "upcloud", "vmware", "vultr",
)  # fmt: skip
_TYPES = {
    ".iso": "application/x-iso9660-image",
    ".xz": "application/x-xz",
    ".gz": "application/gzip",
    ".qcow2": "application/x-qemu-disk",
}
#: Official system extensions that labs use, a part of those of the real factory.
EXTENSIONS = (
    "amd-ucode", "amdgpu", "binfmt-misc", "btrfs", "cloudflared", "drbd", "fuse3", "gasket-driver", "glibc", "gvisor",
    "hailort", "i915", "intel-ice-firmware", "intel-ucode", "iscsi-tools", "kata-containers", "mei", "nfsd",
    "nonfree-kmod-nvidia-lts", "nut-client", "nvidia-container-toolkit-lts", "nvme-cli", "qemu-guest-agent",
    "realtek-firmware", "spin", "stargz-snapshotter", "tailscale", "thunderbolt", "usb-modem-drivers", "util-linux-tools",
    "v4l-uvc-drivers", "vmtoolsd-guest-agent", "wasmedge", "xe", "youki", "zfs",
)  # fmt: skip
_FORMAT = re.compile(r"^(?P<rest>.+?)(?P<suffix>\.iso|\.raw\.xz|\.raw|\.qcow2)$")


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ImageFactory:
    """The handlers of ``factory.talos.dev`` (or whatever name the lab's inventory gives it)."""

    def __init__(self, versions: t.Sequence[str] = VERSIONS) -> None:
        self._versions = tuple(versions)
        self._schematics: dict[str, str] = {}

    async def handle(self, request: web.Request) -> web.Response:
        """Any request to the factory's name."""
        parts = request.path.strip("/").split("/")
        try:
            if parts == ["schematics"]:
                return await self._create(request)
            if request.method not in ("GET", "HEAD"):
                raise _Refused(405, "method not registered in OpenAPI: method not allowed")
            if len(parts) == 2 and parts[0] == "schematics":
                return self._schematic(parts[1])
            if parts == ["versions"]:
                return web.json_response(list(self._versions))
            if len(parts) == 4 and parts[0] == "version" and parts[2:] == ["extensions", "official"]:
                return self._extensions(parts[1])
            if len(parts) == 4 and parts[0] == "image":
                return self._image(*parts[1:])
            raise _Refused(404, "route not registered in OpenAPI: no matching operation was found")
        except _Refused as refused:
            return web.Response(
                status=refused.status, text=f"{refused}\n", headers={"X-Content-Type-Options": "nosniff"}
            )

    def extensions(self, schematic: str) -> list[str]:
        """Official extensions of a schematic that was registered; none otherwise."""
        text = self._schematics.get(schematic, "{}")
        customization = yaml.safe_load(text).get("customization") or {}
        return list((customization.get("systemExtensions") or {}).get("officialExtensions") or ())

    async def _create(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            raise _Refused(405, "method not registered in OpenAPI: method not allowed")
        try:
            text = canonical(await request.read())
        except InvalidSchematic as error:
            raise _Refused(400, str(error)) from None
        number = identifier(text)
        self._schematics[number] = text
        return web.json_response({"id": number, "schematic": text}, status=201)

    def _schematic(self, number: str) -> web.Response:
        if number not in self._schematics:
            raise _Refused(404, "schematic not found")
        return web.Response(text=self._schematics[number], content_type="application/yaml")

    def _extensions(self, version: str) -> web.Response:
        version = version if version.startswith("v") else f"v{version}"
        if version not in self._versions:
            raise _Refused(404, f"version {version[1:]} is not available")
        return web.json_response([_extension(name, version) for name in EXTENSIONS])

    def _image(self, schematic: str, version: str, path: str) -> web.Response:
        if schematic not in self._schematics:
            raise _Refused(404, f'schematic ID "{schematic}" not found')
        if not version.startswith("v"):
            version = f"v{version}"
        identity, suffix = _parse(path, version, schematic)
        if version not in self._versions:
            raise _Refused(404, f"version {version[1:]} is not available")
        body = _content(identity, suffix)
        kind = _TYPES.get("." + path.rsplit(".", 1)[-1], "application/octet-stream")
        return web.Response(
            body=body, headers={"Content-Type": kind, "Content-Disposition": f'attachment; filename="{path}"'}
        )


def _extension(name: str, version: str) -> dict[str, str]:
    return {
        "name": f"siderolabs/{name}",
        "ref": f"ghcr.io/siderolabs/{name}:{version}",
        "digest": f"sha256:{hashlib.sha256(f'{name}:{version}'.encode()).hexdigest()}",
        "author": "Sidero Labs",
        "description": f"This system extension provides {name}.",
    }


def _parse(path: str, version: str, schematic: str) -> tuple[BootImage, str]:
    form = _FORMAT.match(path)
    if form is None:
        raise _Refused(400, f'invalid profile path: "{path}"')
    rest = form["rest"].removesuffix("-secureboot")
    platform, _, arch = rest.rpartition("-")
    if not platform:
        raise _Refused(400, f'invalid platform-arch: "{rest}"')
    if arch not in ("amd64", "arm64"):
        raise _Refused(400, f'invalid architecture: "{arch}"')
    if platform not in _PLATFORMS:
        raise _Refused(400, f'invalid platform: "{platform}"')
    medium: t.Literal["disk", "iso"] = "iso" if form["suffix"] == ".iso" else "disk"
    return BootImage("talos", version, platform, arch, schematic, medium), form["suffix"]


def _content(identity: BootImage, suffix: str) -> bytes:
    if suffix == ".iso":
        return images.iso_image(identity)
    if suffix == ".qcow2":
        return images.disk_image(identity)
    raw = images.raw_image(identity)
    return lzma.compress(raw) if suffix == ".raw.xz" else raw
