# SPDX-License-Identifier: GPL-3.0-or-later
"""Schematics of the Image Factory: what it accepts, and the canonical YAML whose sha256 is the id.

Written from siderolabs/image-factory: decoding refuses unknown fields, encoding is gopkg.in/yaml.v3 with its 4 spaces.
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

import yaml


class InvalidSchematic(Exception):
    """The text is the factory's."""


@dataclasses.dataclass(frozen=True)
class _Field:
    """``fields`` for a mapping; ``kind`` is the Go type as its YAML decoder names it. ``always``: written when empty."""

    kind: str
    fields: t.Mapping[str, _Field] | None = None
    always: bool = False


def _mapping(go_type: str, *, always: bool = False, **fields: _Field) -> _Field:
    return _Field(go_type, fields, always)


_META = _mapping("schematic.MetaValue", key=_Field("uint8", always=True), value=_Field("string", always=True))
_SCHEMATIC = _mapping(
    "schematic.Schematic",
    owner=_Field("string"),
    overlay=_mapping(
        "schematic.Overlay",
        image=_Field("string", always=True),
        name=_Field("string", always=True),
        options=_Field("map[string]interface {}"),
    ),
    customization=_mapping(
        "schematic.Customization",
        always=True,
        embeddedMachineConfiguration=_Field("string"),
        extraKernelArgs=_Field("[]string"),
        meta=_Field("[]schematic.MetaValue", _META.fields),
        systemExtensions=_mapping("schematic.SystemExtensions", officialExtensions=_Field("[]string")),
        bootloader=_Field("string"),
        secureboot=_mapping(
            "schematic.SecureBootCustomization",
            enrollKeys=_Field("string"),
            includeWellKnownCertificates=_Field("bool"),
        ),
        diskImage=_mapping("schematic.DiskImage", sectorSize=_Field("int")),
    ),
)
_CHECKS: t.Mapping[str, t.Callable[[t.Any], bool]] = {
    "string": lambda value: isinstance(value, (str, int, float, bool)),
    "uint8": lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255,
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "[]string": lambda value: isinstance(value, list),
    "map[string]interface {}": lambda value: isinstance(value, dict),
}


def canonical(text: bytes) -> str:
    """The canonical YAML of a schematic given as YAML or JSON. Raises :class:`InvalidSchematic`."""
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidSchematic(f"yaml: {error}") from None
    if given is None:
        raise InvalidSchematic("EOF")
    ordered = _decode(given, _SCHEMATIC)
    ordered.setdefault("customization", {})
    return "\n".join([*_emit(ordered), ""])


def identifier(canonical_text: str) -> str:
    """The schematic's id: 64 hex digits."""
    return hashlib.sha256(canonical_text.encode()).hexdigest()


def _decode(given: t.Any, field: _Field) -> dict[str, t.Any]:
    if not isinstance(given, dict):
        raise InvalidSchematic(f"yaml: unmarshal errors:\n  line 1: cannot unmarshal {_tag(given)} into {field.kind}")
    fields = field.fields or {}
    for name in given:
        if name not in fields:
            raise InvalidSchematic(f"yaml: unmarshal errors:\n  line 1: field {name} not found in type {field.kind}")
    ordered = {}
    for name, inner in fields.items():
        value = _value(given.get(name), inner)
        if inner.always and value is None:
            value = "" if inner.kind == "string" else 0 if inner.kind == "uint8" else None
        if value not in (None, "", [], {}, False) or (inner.always and value is not None):
            ordered[name] = value
    return ordered


def _value(value: t.Any, field: _Field) -> t.Any:
    if value is None:
        return None
    if field.kind.startswith("[]schematic."):
        entries = value if isinstance(value, list) else [value]
        return [_decode(entry, _Field(field.kind[2:], field.fields)) for entry in entries]
    if field.fields is not None:
        return _decode(value, field) or ({} if field.always else None)
    if not _CHECKS[field.kind](value):
        raise InvalidSchematic(f"yaml: unmarshal errors:\n  line 1: cannot unmarshal {_tag(value)} into {field.kind}")
    return [str(entry) for entry in value] if field.kind == "[]string" else value


def _tag(value: t.Any) -> str:
    tags = {dict: "!!map", list: "!!seq", bool: "!!bool", int: "!!int", float: "!!float"}
    return tags.get(type(value)) or f"!!str `{value}`"


def _emit(value: t.Any) -> list[str]:
    """The lines of a value in Go's block style: mappings in 4 spaces, sequences below their key by 4, entries by 2."""
    if isinstance(value, dict) and value:
        return [line for name, inner in value.items() for line in _emit_entry(str(name), inner)]
    if isinstance(value, list) and value:
        return [("  " if place else "- ") + line for entry in value for place, line in enumerate(_emit(entry))]
    text = yaml.safe_dump(value, width=1 << 20, allow_unicode=True, default_flow_style=True)
    return [text.removesuffix("\n").removesuffix("\n...")]


def _emit_entry(name: str, value: t.Any) -> list[str]:
    if isinstance(value, str) and "\n" in value:
        ends = len(value) - len(value.rstrip("\n"))
        return [f"{name}: |{'-' if ends == 0 else '+' if ends > 1 else ''}", *_indented(value.rstrip("\n").split("\n"))]
    if isinstance(value, (dict, list)) and value:
        return [f"{name}:", *_indented(_emit(value))]
    return [f"{name}: {_emit(value)[0]}"]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]
