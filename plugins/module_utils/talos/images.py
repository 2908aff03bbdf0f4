# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of Talos as they are wanted: what they are called at an Image Factory, and whether it has them."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import typing as t

from ..errors import InvalidInput, NotFound
from ..image_factory import builds
from ..image_factory.builds import Build, Factory
from ..image_factory.client import Client
from ..plan import HIDDEN, Change, Plan, carry_out
from ..task import Task

Params = t.Mapping[str, t.Any]
Json = dict[str, t.Any]

#: What of a schematic has an option of its own: where it stands below ``customization``.
SHORT = {
    "extensions": ("systemExtensions", "officialExtensions"),
    "kernel_args": ("extraKernelArgs",),
}

#: What can be asked of the factory -> the image that is meant, for what is one.
CHECKS: dict[str, str] = {"version": "", "extensions": "", "disk_image": "disk_image_url", "iso": "iso_url"}


@dataclasses.dataclass(frozen=True)
class Image:
    """``number`` is the position in the input."""

    number: int
    name: str
    build: Build
    disk_format: str

    @property
    def place(self) -> str:
        return f"images[{self.number}]"

    @property
    def extensions(self) -> list[str]:
        customization = self.build.schematic.get("customization") or {}
        return list((customization.get("systemExtensions") or {}).get("officialExtensions") or ())

    def names(self, factory: Factory) -> Json:
        """Everything that follows from the input without asking."""
        made = self.build
        plain = {
            "kernel": f"kernel-{made.arch}",
            "initramfs": f"initramfs-{made.arch}.xz",
            "cmdline": f"cmdline-{made.flavour}",
            "uki": f"{made.flavour}-uki.efi",
        }
        return {
            "name": self.name,
            "schematic": made.id,
            "version": made.version,
            "platform": made.platform,
            "arch": made.arch,
            "secureboot": made.secureboot,
            "installer": made.installer(factory),
            "disk_image_url": made.image_url(factory, self.disk_format),
            "disk_image_filename": made.filename(self.disk_format),
            "iso_url": made.image_url(factory, "iso"),
            "iso_filename": made.filename("iso"),
            **{f"{name}_url": made.url(factory, file) for name, file in plain.items()},
            "pxe_url": made.pxe_url(factory),
        }


def run(task: Task) -> Json:
    """The names; registered, and looked at, where the task asks for it."""
    params = task.params
    factory = builds.factory(
        params["factory_url"], validate_certs=params["validate_certs"], ca_path=params.get("ca_path")
    )
    images = wanted(params["images"])
    for image in images:
        task.secret(_embedded(image.build.schematic))
    client = Client(factory, timeout=params["timeout"], progress=task.progress)
    _foresee(client, images, params["verify"])
    plan = _plan(client, images) if params["register"] else Plan()
    if not task.check_mode:
        carry_out(plan, lambda change: client.register(change.operation))
    unknown = {change.operation.id for change in plan} if task.check_mode else set()
    _see(client, factory, [image for image in images if image.build.id not in unknown], params["verify"])
    return task.result(plan, images=[image.names(factory) for image in images])


def wanted(entries: t.Sequence[Params]) -> list[Image]:
    """All entries checked; raises one :class:`InvalidInput` that names every problem with its place."""
    images: list[Image] = []
    problems: list[str] = []
    for number, entry in enumerate(entries):
        try:
            images.append(_image(number, entry))
        except InvalidInput as error:
            problems.append(f"images[{number}]: {error.message}")
    if problems:
        raise InvalidInput(" ".join(problems))
    return images


def _image(number: int, entry: Params) -> Image:
    version = entry["version"]
    made = builds.build(
        _schematic(entry),
        version if version.startswith("v") else f"v{version}",
        platform=entry["platform"],
        arch=entry["arch"],
        secureboot=entry["secureboot"],
    )
    image = Image(number, entry.get("name") or "", made, entry["disk_format"])
    wrong = [one for one in image.extensions if not isinstance(one, str) or one.count("/") != 1]
    if wrong:
        raise InvalidInput(
            f"{wrong[0]!r} is not the name of an official extension", hint="Write for example siderolabs/iscsi-tools."
        )
    twice = sorted({one for one in image.extensions if image.extensions.count(one) > 1})
    if twice:
        raise InvalidInput(f"The extension {twice[0]} is given twice")
    return image


def _schematic(entry: Params) -> Json:
    """The schematic with what the short options say put into it."""
    schematic: Json = copy.deepcopy(dict(entry.get("schematic") or {}))
    for option, path in SHORT.items():
        value = entry.get(option)
        if not value:
            continue
        inner: t.Any = schematic
        for key in ("customization", *path[:-1]):
            if inner.get(key) is None:
                inner[key] = {}
            inner = inner[key]
            if not isinstance(inner, dict):
                raise InvalidInput(f"{key} of the schematic is no mapping but {type(inner).__name__}")
        if inner.get(path[-1]):
            where = ".".join(("customization", *path))
            raise InvalidInput(f"{option} and the schematic's {where} are both given", hint="Leave one out.")
        inner[path[-1]] = list(value)
    return schematic


def _foresee(client: Client, images: t.Sequence[Image], checks: t.Collection[str]) -> None:
    """What the factory does not know is said before anything is registered; one request for each thing."""
    if "version" in checks and images:
        known = client.versions()
        for image in images:
            if image.build.version not in known:
                _missing(image, client, "version", image.build.version, known)
    if "extensions" in checks:
        lists = {image.build.version: client.extensions(image.build.version) for image in images if image.extensions}
        for image in images:
            for extension in image.extensions:
                if extension not in lists[image.build.version]:
                    _missing(image, client, "extension", extension, lists[image.build.version])


def _missing(image: Image, client: Client, kind: str, name: str, known: t.Sequence[str]) -> t.NoReturn:
    near = difflib.get_close_matches(name, known, 3, 0.5)
    of_version = f" for Talos {image.build.version}" if kind == "extension" else ""
    raise NotFound(
        f"find the {kind} {name}{of_version}",
        of=str(client.factory),
        answer=f"it does not have it ({image.place})",
        hint=f"Near to it: {', '.join(near)}." if near else f"Is the {kind} right?",
    )


def _plan(client: Client, images: t.Sequence[Image]) -> Plan:
    """One look for each schematic."""
    different = {image.build.id: image.build for image in images}
    return Plan.of(
        Change(
            f"schematic/{number}",
            "create",
            after={"factory": client.factory.url, "schematic": _shown(build.schematic)},
            operation=build,
        )
        for number, build in different.items()
        if not client.knows(number)
    )


def _see(client: Client, factory: Factory, images: t.Sequence[Image], checks: t.Collection[str]) -> None:
    """Images that the factory does not make are its own words; the same file is asked for once."""
    urls = (image.names(factory)[CHECKS[check]] for check in checks if CHECKS[check] for image in images)
    for url in dict.fromkeys(urls):
        client.builds(url)


def _embedded(schematic: Params) -> str | None:
    found = (schematic.get("customization") or {}).get("embeddedMachineConfiguration")
    return found if isinstance(found, str) else None


def _shown(schematic: Params) -> Json:
    """A machine config in a schematic holds secrets."""
    if not _embedded(schematic):
        return dict(schematic)
    return {**schematic, "customization": {**schematic["customization"], "embeddedMachineConfiguration": HIDDEN}}
