# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a task applies: its definitions, files, folders, kustomizations and URLs, as one list of objects."""

from __future__ import annotations

import os
import typing as t

from ..errors import InvalidInput
from . import documents, fetching
from .documents import Source
from .kustomize import build
from .together import together

Object = dict[str, t.Any]

#: The files of a folder that are manifests.
ENDINGS = (".yaml", ".yml", ".json")


def collect(
    definitions: t.Sequence[t.Any],
    paths: t.Sequence[str] = (),
    kustomizations: t.Sequence[str] = (),
    urls: t.Sequence[t.Mapping[str, t.Any]] = (),
) -> list[Object]:
    """In the order given. Raises :class:`InvalidInput` before anything is asked of a cluster, and what a download raises."""
    wanted = [fetching.wanted(entry) for entry in urls]
    found = documents.given(definitions)
    for path in paths:
        for file in _files(path):
            found += documents.from_file(file)
    for path in kustomizations:
        found += [Source(f"{path}, {one.get('kind')} {_name(one)}", one) for one in build.build(path)]
    for one, raw in zip(wanted, together(fetching.fetched, wanted), strict=True):
        found += documents.sources(one.label, raw)
    return documents.checked(found)


def _name(given: Object) -> t.Any:
    return (given.get("metadata") or {}).get("name")


def _files(path: str) -> list[str]:
    """A file is itself; a folder stands for the manifests that lie in it, by their names."""
    folder = os.path.expanduser(path)
    if not os.path.isdir(folder):
        return [path]
    if build.is_kustomization(folder):
        raise InvalidInput(f"The folder {path} has a kustomization", hint="Name it in kustomize, not in src.")
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(ENDINGS))
    except OSError as error:
        raise InvalidInput(f"The folder {path} cannot be read: {error.strerror}") from None
    if not names:
        raise InvalidInput(f"The folder {path} holds no file that ends in {', '.join(ENDINGS)}")
    return [os.path.join(path, name) for name in names]
