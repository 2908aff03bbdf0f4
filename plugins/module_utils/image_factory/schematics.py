# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schematics of the Talos Image Factory: their id is the SHA-256 of their canonical YAML, so it is known offline.

Indented by 4 blanks, keys in the order of the factory's own structure, what is empty left out, ``customization: {}`` when there is
nothing in it. Agrees with the factory's own test vectors.
"""

from __future__ import annotations

import functools
import hashlib
import re
import typing as t

from ..errors import InvalidInput

#: The keys that the factory knows, in its order. None: a value; a mapping: keys below it.
_KNOWN: dict[str, t.Any] = {
    "owner": None,
    "overlay": {"image": None, "name": None, "options": None},
    "customization": {
        "embeddedMachineConfiguration": None,
        "extraKernelArgs": None,
        "meta": None,
        "systemExtensions": {"officialExtensions": None},
        "bootloader": None,
        "secureboot": {"enrollKeys": None, "includeWellKnownCertificates": None},
        "diskImage": {"sectorSize": None},
    },
}
_LISTS = ("extraKernelArgs", "meta", "officialExtensions")


def canonical(schematic: t.Mapping[str, t.Any]) -> str:
    """The YAML that the factory makes of it. Raises :class:`InvalidInput` for what the factory would not take."""
    ordered = _ordered(schematic, _KNOWN, "schematic")
    ordered.setdefault("customization", {})
    in_order = {key: ordered[key] for key in _KNOWN if key in ordered}
    import yaml

    text = yaml.dump(in_order, Dumper=_dumper(), sort_keys=False, default_flow_style=False, indent=4, width=1 << 30)
    return _META.sub(r"\1- key: \2\n\1  value: ", text)


def schematic_id(schematic: t.Mapping[str, t.Any]) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(canonical(schematic).encode()).hexdigest()


#: What yaml.v3 takes for no text and PyYAML does.
_NO_TEXT = re.compile(r"[yYnN]|[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|0o[0-7_]+")

#: Mappings in a list are indented by what stands before them, not by 4.
_META = re.compile(r"^( +)-   key: (\d+)\n\1    value: ", re.MULTILINE)


@functools.cache
def _dumper() -> t.Any:
    """Lists are indented below their key, and text is quoted twice where it would be read as something else, as Go's
    yaml.v3 does it. Made at the first use: PyYAML is not there wherever the collection is only imported."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    def text(dumper: t.Any, value: str) -> t.Any:
        tag = "tag:yaml.org,2002:str"
        plain = not _NO_TEXT.fullmatch(value) and dumper.resolve(yaml.ScalarNode, value, (True, False)) == tag
        return dumper.represent_scalar(tag, value, style="|" if "\n" in value else None if plain else '"')

    Dumper.add_representer(str, text)
    return Dumper


def _ordered(given: t.Any, known: t.Mapping[str, t.Any], place: str) -> dict[str, t.Any]:
    if not isinstance(given, t.Mapping):
        raise InvalidInput(f"{place} is no mapping but {type(given).__name__}")
    unknown = [str(key) for key in given if key not in known]
    if unknown:
        raise InvalidInput(
            f"{place} has the unknown key {', '.join(unknown)}", hint=f"The factory knows: {', '.join(known)}."
        )
    kept = {}
    for key, below in known.items():
        value = given.get(key)
        if key == "meta" and isinstance(value, list):
            value = [_meta(entry, f"{place}.meta[{index}]") for index, entry in enumerate(value)]
        if below is not None and value:
            value = _ordered(value, below, f"{place}.{key}")
        elif key in _LISTS and value and not isinstance(value, list):
            raise InvalidInput(f"{place}.{key} is no list")
        if value:
            kept[key] = value
    if "overlay" in place and kept:
        kept = {"image": kept.get("image", ""), "name": kept.get("name", ""), **_sorted_options(kept)}
    return kept


def _sorted_options(overlay: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {"options": dict(sorted(overlay["options"].items()))} if overlay.get("options") else {}


def _meta(entry: t.Any, place: str) -> dict[str, t.Any]:
    key = entry.get("key") if isinstance(entry, t.Mapping) else None
    if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key <= 255 or set(entry) - {"key", "value"}:
        raise InvalidInput(f"{place} is no META value", hint="Write {key: 10, value: text}, with a key of 0 to 255.")
    return {"key": key, "value": str(entry.get("value", ""))}
