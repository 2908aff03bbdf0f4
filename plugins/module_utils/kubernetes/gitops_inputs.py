# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of Argo CD and Flux, as the user gave it. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import InvalidInput

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
OPTION = re.compile(r"[A-Za-z]+=[A-Za-z]+")

SOURCES = "source.toolkit.fluxcd.io"
#: Kind -> API group. Flux's own order: sources, what is built of them, what applies them.
GROUPS: dict[str, str] = {
    "GitRepository": SOURCES,
    "OCIRepository": SOURCES,
    "HelmRepository": SOURCES,
    "Bucket": SOURCES,
    "HelmChart": SOURCES,
    "Kustomization": "kustomize.toolkit.fluxcd.io",
    "HelmRelease": "helm.toolkit.fluxcd.io",
    "Application": "argoproj.io",
}
APPLIERS = ("Kustomization", "HelmRelease")
#: Which controller's absence explains that nothing happens.
CONTROLLERS = {
    "Application": "Argo CD's application controller",
    "Kustomization": "Flux's kustomize-controller",
    "HelmRelease": "Flux's helm-controller",
}


def controller(kind: str) -> str:
    return CONTROLLERS.get(kind, "Flux's source-controller")


@dataclasses.dataclass(frozen=True)
class Asked:
    """One object. ``revision``: where it has to be; nothing: where its definition says. ``prune`` and ``options`` are of Argo
    CD, ``with_source`` of Flux, ``force`` and ``reset`` of HelmReleases."""

    kind: str
    namespace: str
    name: str
    revision: str = ""
    prune: bool = False
    options: tuple[str, ...] | None = None
    with_source: bool = False
    force: bool = False
    reset: bool = False

    @property
    def identity(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    @property
    def label(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def of_argo(self) -> bool:
        return self.kind == "Application"

    @property
    def group(self) -> str:
        return GROUPS[self.kind]


#: Option -> kinds that know it.
ONLY_FOR: dict[str, tuple[str, ...]] = {
    "prune": ("Application",),
    "sync_options": ("Application",),
    "with_source": APPLIERS,
    "force": ("HelmRelease",),
    "reset": ("HelmRelease",),
}


def asked_of(params: t.Mapping[str, t.Any]) -> list[Asked]:
    """The objects of a task. Raises :class:`InvalidInput`."""
    if not params["objects"]:
        raise InvalidInput("objects is empty", hint="Name at least one Application, Kustomization or HelmRelease.")
    found = [_one(given) for given in params["objects"]]
    names = [one.identity for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"objects has {', '.join(twice)} twice")
    for one in found:
        _fits(one, params)
    return found


def _one(given: t.Mapping[str, t.Any]) -> Asked:
    kind, name = str(given["kind"]), str(given["name"])
    namespace = given.get("namespace") or ("argocd" if kind == "Application" else "flux-system")
    for word, value in (("name", name), ("namespace", namespace)):
        if not NAME.fullmatch(value):
            raise InvalidInput(f"{kind} {name}: {word} {value!r} is not a name that an object can have")
    for option, kinds in ONLY_FOR.items():
        if given.get(option) and kind not in kinds:
            raise InvalidInput(f"{kind} {name}: {option} is for {' and '.join(kinds)} only")
    options = given.get("sync_options")
    for option in options or []:
        if not OPTION.fullmatch(option):
            raise InvalidInput(f"{kind} {name}: sync option {option!r} is not like ServerSideApply=true")
    revision = given.get("revision") or ""
    if revision != revision.strip() or " " in revision:
        raise InvalidInput(f"{kind} {name}: revision {revision!r} has blanks")
    return Asked(
        kind,
        namespace,
        name,
        revision=revision,
        prune=bool(given.get("prune")),
        options=None if options is None else tuple(options),
        **{option: bool(given.get(option)) for option in ("with_source", "force", "reset")},
    )


def _fits(one: Asked, params: t.Mapping[str, t.Any]) -> None:
    """Whether what is asked of one goes with what the task does."""
    state = params["state"]
    if state != "synced" and one.of_argo:
        hint = "Argo CD has no suspend. Turn spec.syncPolicy.automated off in the Application's definition."
        raise InvalidInput(f"{one.label} cannot be {state}", hint=hint)
    if state != "synced" and params["refresh"] != "never":
        raise InvalidInput(f"refresh is {params['refresh']}, which goes with state synced only, not {state}")
    options = [option for option in ("revision", *ONLY_FOR) if getattr(one, option.removeprefix("sync_"))]
    if state != "synced" and options:
        raise InvalidInput(f"{one.label}: {options[0]} goes with state synced only, not {state}")
    if params["refresh"] == "hard" and not one.of_argo:
        hint = "Flux keeps no cache of manifests: normal does it. HelmReleases have force and reset."
        raise InvalidInput(f"{one.label}: refresh hard is for Applications only", hint=hint)
