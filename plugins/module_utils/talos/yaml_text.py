# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents as Talos reads them: YAML 1.2, where ``52:54:00:12:34:56`` and ``off`` are words and ``0o644`` is a number."""

from __future__ import annotations

import re
import typing as t

from ..errors import InvalidInput

try:
    import yaml
except ImportError:  # only where the collection is imported without being used, as by ansible-test sanity
    yaml = t.cast("t.Any", None)

_PREFIX = "tag:yaml.org,2002:"
#: What plain words mean, beside null and dates: those of YAML 1.2, with the octal numbers of 1.1 that Go still reads.
_WORDS = (
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("int", re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)"), "-+0123456789"),
    (
        "float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        "-+0123456789.",
    ),
)


def load_all(text: str) -> list[t.Any]:
    """The documents that are not empty. Raises :class:`yaml.YAMLError`."""
    return [document for document in yaml.load_all(text, _loader()) if document is not None]


def parsed(text: str, place: str) -> list[t.Any]:
    """The same; raises :class:`errors.InvalidInput` that names the place."""
    try:
        return load_all(text)
    except yaml.YAMLError as error:
        raise InvalidInput(f"{place} is not YAML: {error}") from error


def _loader() -> type[yaml.SafeLoader]:
    class Loader(yaml.SafeLoader):
        """The safe loader with other implicit types."""

    kept = {
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag.removeprefix(_PREFIX) not in ("bool", "int", "float")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.yaml_implicit_resolvers = kept
    for name, pattern, first in _WORDS:
        Loader.add_implicit_resolver(f"{_PREFIX}{name}", re.compile(rf"(?:{pattern.pattern})\Z"), list(first))
    Loader.add_constructor(f"{_PREFIX}int", _integer)
    Loader.add_constructor(f"{_PREFIX}timestamp", _word)
    return Loader


def _word(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    old_octal = re.fullmatch(r"([-+]?)0([0-7]+)", text)
    return int(f"{old_octal[1]}0o{old_octal[2]}" if old_octal else text, 0)


def dump(data: t.Any) -> str:
    """Plain data as Talos's own tools write it: indented by four, lists too, in double quotes what would be no text without them."""
    return yaml.dump(
        data, Dumper=_dumper(), sort_keys=False, default_flow_style=False, indent=4, width=1 << 20, allow_unicode=True
    )


def _dumper() -> type[yaml.SafeDumper]:
    class Dumper(yaml.SafeDumper):
        """The safe dumper with the habits of Go's."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> t.Any:
            return super().increase_indent(flow, False)

        def choose_scalar_style(self) -> t.Any:
            style = super().choose_scalar_style()
            is_word = (
                self.analysis is not None and self.analysis.allow_block_plain
            )  # its quotes only say that it is no number, truth or nothing
            return '"' if style == "'" and is_word else style

    for name, pattern, first in _WORDS:
        Dumper.add_implicit_resolver(f"{_PREFIX}{name}", re.compile(rf"(?:{pattern.pattern})\Z"), list(first))
    return Dumper
