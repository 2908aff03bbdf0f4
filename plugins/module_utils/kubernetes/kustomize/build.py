# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a folder with a ``kustomization.yaml`` to its objects, as ``kustomize build`` makes them, without kustomize.

What is supported is in :data:`FIELDS`; anything else is refused by its name, and so are bases that are not on this machine.
Files must lie in or below the folder of the kustomization that names them, as kustomize wants it too.
"""

from __future__ import annotations

import os
import typing as t

from ...errors import InvalidInput
from ..documents import flattened, loaded
from . import patches, references, transformers
from .generators import generated, merged, name_hash
from .resources import Res, distinct, matching

Object = dict[str, t.Any]

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
#: The fields, and of which type they are.
FIELDS: dict[str, type] = {
    "apiVersion": str, "kind": str, "metadata": dict,
    "resources": list, "bases": list, "components": list, "configMapGenerator": list, "secretGenerator": list,
    "generatorOptions": dict, "namespace": str, "namePrefix": str, "nameSuffix": str, "labels": list, "commonLabels": dict,
    "commonAnnotations": dict, "patches": list, "patchesStrategicMerge": list, "patchesJson6902": list, "images": list,
    "replicas": list, "sortOptions": dict,
}  # fmt: skip
IMAGE = {"name", "newName", "newTag", "digest", "tagSuffix"}
LABELS = {"pairs", "includeSelectors", "includeTemplates"}
REMOTE = ("://", "git@", "github.com/", "git::", "?ref=")
#: Kustomizations that include each other are found out earlier; deeper trees than this nobody has.
DEEPEST = 50


def is_kustomization(folder: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, name)) for name in NAMES)


def build(folder: str) -> list[Object]:
    """The objects of a kustomization. Raises :class:`InvalidInput`, which names the file and what is wrong."""
    top = _Folder(os.path.realpath(os.path.expanduser(folder)), shown=folder, above=())
    everything = top.accumulate([])
    for one in everything:
        if one.hashed:
            one.remember()
            one.given["metadata"]["name"] += f"-{name_hash(one.given)}"
    references.follow(top.shown, everything)
    return [_tidy(one.given) for one in everything]


def _tidy(given: Object) -> Object:
    """Without labels and annotations that hold nothing."""
    for field in ("labels", "annotations"):
        if not given["metadata"].get(field, True):
            del given["metadata"][field]
    return given


class _Folder:
    """One kustomization of the tree. ``above`` are the folders that lead here."""

    def __init__(self, folder: str, shown: str, above: tuple[str, ...]) -> None:
        self.folder, self.shown, self.above = folder, shown, above
        if folder in above:
            raise InvalidInput(f"The kustomization {shown} includes itself")
        if len(above) > DEEPEST:
            raise InvalidInput(f"The kustomization {shown} is more than {DEEPEST} levels deep")
        found = [name for name in NAMES if os.path.isfile(os.path.join(folder, name))]
        if len(found) != 1:
            problem = f"holds {' and '.join(found)}" if found else f"has no {NAMES[0]}"
            raise InvalidInput(f"The folder {shown} {problem}", hint="A kustomization is a folder with one such file.")
        self.where = os.path.join(shown, found[0])
        self.fields = self._checked(self._read_documents(found[0]))

    def _checked(self, documents: list[t.Any]) -> Object:
        given = documents[0] if len(documents) == 1 else None
        if not isinstance(given, dict):
            raise InvalidInput(f"{self.where} is not one mapping")
        for key, value in given.items():
            if key not in FIELDS:
                raise InvalidInput(
                    f"{self.where}: {key} is not supported",
                    hint="Supported are "
                    + ", ".join(sorted(FIELDS))
                    + ". Build it with kustomize, and give its output.",
                )
            if value is not None and not isinstance(value, FIELDS[key]):
                raise InvalidInput(
                    f"{self.where}: {key} must be a {'text' if FIELDS[key] is str else FIELDS[key].__name__}"
                )
        if given.get("kind", "Kustomization") not in ("Kustomization", "Component"):
            raise InvalidInput(f"{self.where} is a {given['kind']}, not a Kustomization")
        return {key: value for key, value in given.items() if value}

    def accumulate(self, everything: list[Res]) -> list[Res]:
        """The objects after this kustomization; ``everything`` is what a component works on."""
        for text in [*self._texts("bases"), *self._texts("resources")]:
            everything = everything + self._resource(text)
            distinct(self.where, everything)
        everything = self._generate(everything)
        for text in self._texts("components"):
            everything = self._below(text, "Component").accumulate(everything)
        everything = self._patch(everything)
        self._transform(everything)
        distinct(self.where, everything)
        return everything

    def _texts(self, field: str) -> list[str]:
        found = self.fields.get(field, [])
        for text in found:
            if not isinstance(text, str):
                raise InvalidInput(f"{self.where}: {field} must hold texts")
        return list(found)

    def _entries(self, field: str, allowed: t.Collection[str] = ()) -> t.Iterator[tuple[str, Object]]:
        for number, entry in enumerate(self.fields.get(field, []), 1):
            where = f"{self.where}, {field} {number}"
            if not isinstance(entry, dict):
                raise InvalidInput(f"{where} is not a mapping")
            for key in entry:
                if allowed and key not in allowed:
                    raise InvalidInput(
                        f"{where}: {key} is not supported", hint=f"Supported are {', '.join(sorted(allowed))}."
                    )
            yield where, entry

    # -- what it is made of ------------------------------------------------------------------------------------------

    def _resource(self, text: str) -> list[Res]:
        if any(mark in text for mark in REMOTE):
            raise InvalidInput(
                f"{self.where}: {text} is not on this machine, and remote bases are not supported",
                hint="Download it, or give manifests by url with their checksum.",
            )
        if os.path.isdir(os.path.join(self.folder, text)):
            return self._below(text, "Kustomization").accumulate([])
        found = []
        for source in (one for document in self._read_documents(text) for one in flattened(text, document)):
            given = source.given
            if not isinstance(given, dict) or not given.get("kind") or not (given.get("metadata") or {}).get("name"):
                raise InvalidInput(
                    f"{self.where}: {text} holds something that is no object with kind and metadata.name"
                )
            found.append(Res({"apiVersion": "v1", **given}))
        return found

    def _below(self, text: str, kind: str) -> _Folder:
        path = os.path.realpath(os.path.join(self.folder, text))
        if not os.path.isdir(path):
            raise InvalidInput(f"{self.where}: {text} is not a folder")
        one = _Folder(path, os.path.join(self.shown, text), (*self.above, self.folder))
        if one.fields.get("kind", "Kustomization") != kind:
            raise InvalidInput(f"{self.where}: {text} is a {one.fields.get('kind', 'Kustomization')}, not a {kind}")
        return one

    def _read_documents(self, text: str) -> list[t.Any]:
        return loaded(os.path.join(self.shown, text), self._read(text))

    def _read(self, text: str) -> bytes:
        path = os.path.realpath(os.path.join(self.folder, text))
        if os.path.commonpath([path, self.folder]) != self.folder:
            raise InvalidInput(
                f"{self.shown}: the file {text} is outside the folder",
                hint="A kustomization may only name files in or below it.",
            )
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise InvalidInput(f"{self.shown}: the file {text} cannot be read: {error.strerror}") from None

    def _generate(self, everything: list[Res]) -> list[Res]:
        for kind, field in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
            for where, entry in self._entries(field):
                new = generated(kind, where, entry, self.fields.get("generatorOptions", {}), self._read)
                behaviour = entry.get("behavior", "create")
                there = matching(everything, new.now)
                if behaviour == "create":
                    everything = [*everything, new]
                elif behaviour not in ("merge", "replace"):
                    raise InvalidInput(f"{where}: behavior is {behaviour!r}, not create, merge or replace")
                elif len(there) != 1:
                    raise InvalidInput(f"{where}: there is no {kind} {entry['name']} to {behaviour}")
                else:
                    merged(there[0], new, behaviour)
            distinct(self.where, everything)
        return everything

    # -- what is done to it ------------------------------------------------------------------------------------------

    def _patch(self, everything: list[Res]) -> list[Res]:
        for number, given in enumerate(self.fields.get("patchesStrategicMerge", []), 1):
            where = f"{self.where}, patchesStrategicMerge {number}"
            text = str(given)
            entry = {"patch" if "\n" in text else "path": text}
            everything = patches.apply(where, everything, entry, self._load(where), self._read_documents)
        for field in ("patches", "patchesJson6902"):
            for where, entry in self._entries(field):
                everything = patches.apply(where, everything, entry, self._load(where), self._read_documents)
        return everything

    @staticmethod
    def _load(where: str) -> patches.Load:
        return lambda text: loaded(where, text.encode())

    def _transform(self, everything: list[Res]) -> None:
        fields = self.fields
        if fields.get("namespace"):
            transformers.set_namespace(everything, fields["namespace"])
        if fields.get("namePrefix") or fields.get("nameSuffix"):
            transformers.affix(everything, fields.get("namePrefix", ""), fields.get("nameSuffix", ""))
        self._label(everything)
        transformers.label(everything, self._pairs("commonAnnotations"), transformers.ANNOTATIONS)
        for where, entry in self._entries("replicas", {"name", "count"}):
            if not isinstance(entry.get("count"), int) or not entry.get("name"):
                raise InvalidInput(f"{where} needs a name and a count that is a number")
            transformers.set_replicas(self.where, everything, entry["name"], entry["count"])
        images = []
        for where, entry in self._entries("images", IMAGE):
            if not entry.get("name"):
                raise InvalidInput(f"{where} has no name")
            images.append(entry)
        transformers.set_images(everything, images)

    def _label(self, everything: list[Res]) -> None:
        for where, entry in self._entries("labels", LABELS):
            pairs = _texts_of(where, entry.get("pairs") or {})
            places = [transformers.METADATA]
            if entry.get("includeTemplates") or entry.get("includeSelectors"):
                places += transformers.TEMPLATES
            if entry.get("includeSelectors"):
                places += transformers.SELECTORS
            transformers.label(everything, pairs, places)
        everywhere = (transformers.METADATA, *transformers.TEMPLATES, *transformers.SELECTORS)
        transformers.label(everything, self._pairs("commonLabels"), everywhere)

    def _pairs(self, field: str) -> dict[str, str]:
        return _texts_of(f"{self.where}, {field}", self.fields.get(field, {}))


def _texts_of(where: str, given: t.Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise InvalidInput(f"{where} must map names to texts", hint="Quote the values.")
    return given
