# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests in YAML, their values as kubectl reads them. PyYAML makes more of what has no quotes than Go does."""

from __future__ import annotations

import functools
import re
import typing as t

_TAG = "tag:yaml.org,2002:"
#: ``22:22`` is a number with the base of 60 to PyYAML, a date is none that JSON has, and ``=`` is an error.
_OTHERWISE = {f"{_TAG}{name}" for name in ("int", "float", "timestamp", "value")}
_INT = re.compile(r"[-+]?(0b[0-1_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)\Z")
_FLOAT = re.compile(
    r"([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
)


@functools.cache
def loader(*, as_written: bool = False) -> t.Any:
    """A loader for ``yaml.load_all``. ``as_written``: a number in a form that it would not be written in, such as 0644, is
    text, as where text is wanted it is what somebody means."""
    import yaml

    base: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):
        yaml_implicit_resolvers: t.ClassVar[dict[str, t.Any]] = {
            first: [(tag, form) for tag, form in forms if tag not in _OTHERWISE]
            for first, forms in base.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+0123456789."))
    Loader.add_implicit_resolver(f"{_TAG}int", _INT, list("-+0123456789"))
    if as_written:

        def written(self: t.Any, node: t.Any) -> int | str:
            number = self.construct_yaml_int(node)
            return int(number) if str(number) == node.value else str(node.value)

        Loader.add_constructor(f"{_TAG}int", written)
    return Loader
