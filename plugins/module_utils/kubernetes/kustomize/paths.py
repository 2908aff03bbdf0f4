# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where in objects of which kinds a transformation works: paths such as ``spec/template/spec/containers[]/image``. Pure."""

from __future__ import annotations

import typing as t

from ..kinds import group_of

Object = dict[str, t.Any]
#: Changes one value; what it returns stands there afterwards.
Change = t.Callable[[t.Any], t.Any]


class Field(t.NamedTuple):
    """``kinds`` are words such as ``Deployment`` or ``Ingress``, empty for all; ``group`` is one API group or, if None, any.
    ``create`` makes what is missing on the way, as an empty mapping at the end."""

    path: str
    kinds: frozenset[str] = frozenset()
    group: str | None = None
    create: bool = False

    def is_for(self, given: Object) -> bool:
        if self.kinds and given["kind"] not in self.kinds:
            return False
        return self.group is None or self.group == group_of(given["apiVersion"])


def change(given: Object, field: Field, how: Change) -> None:
    """Change what stands at the field's path, wherever the kind fits."""
    if field.is_for(given):
        _walk(given, field.path.split("/"), field.create, how)


def _walk(value: t.Any, path: list[str], create: bool, how: Change) -> None:
    if isinstance(value, list):
        for item in value:
            _walk(item, path, create, how)
        return
    if not isinstance(value, dict):
        return
    step = path[0]
    name, many = step.removesuffix("[]").replace("~1", "/"), step.endswith("[]")
    if value.get(name) is None:
        if not create or many:
            return
        value[name] = {}
    if len(path) > 1:
        _walk(value[name], path[1:], create, how)
    elif many:
        value[name] = [how(item) for item in value[name]] if isinstance(value[name], list) else value[name]
    else:
        value[name] = how(value[name])
