# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of values against types, limits, named formats and property strings, with the texts of the real ones."""

from __future__ import annotations

import functools
import re
import typing as t

import fakepve.formats as scalar_formats  # type: ignore[import-untyped]

from . import named_formats

Spec = t.Mapping[str, t.Any]
Format = t.Mapping[str, Spec]

_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TRUE = ("1", "on", "yes", "true")
_FALSE = ("0", "off", "no", "false")


class FormatError(ValueError):
    """A value breaks its format. The text ends in a line feed, as the real ones do."""


def check(spec: Spec, value: t.Any, name: str) -> dict[str, str]:
    """The errors of a value: of itself, or of the items of a list. The order of the checks is the real one's."""
    errors: dict[str, str] = {}
    _check(spec, value, name, errors)
    return errors


def _check(spec: Spec, value: t.Any, name: str, errors: dict[str, str]) -> None:
    kind = spec.get("type")
    if kind == "array":
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            _check(spec.get("items") or {}, item, f"{name}[{number}]", errors)
        return
    text = _type_error(kind, value) or _format_error(spec, str(value), name) or _limits(spec, kind, str(value))
    if text:
        errors[name] = text


_RIGHT: t.Mapping[str | None, t.Callable[[str], bool]] = {
    "integer": lambda text: _INTEGER.fullmatch(text) is not None,
    "number": lambda text: _NUMBER.fullmatch(text) is not None,
    "boolean": lambda text: text in ("0", "1"),
}


def _type_error(kind: str | None, value: t.Any) -> str | None:
    if isinstance(value, (dict, list)):
        return f"type check ('{kind or 'string'}') failed - got {'HASH' if isinstance(value, dict) else 'ARRAY'}"
    text = str(value)
    if kind not in _RIGHT or _RIGHT[kind](text):
        return None
    return f"type check ('{kind}') failed - got '{text}'"


def _format_error(spec: Spec, text: str, name: str) -> str | None:
    wanted = spec.get("format")
    if not wanted:
        return None
    try:
        check_format(wanted, text, name)
    except FormatError as error:
        return f"invalid format - {error}"
    return None


def _limits(spec: Spec, kind: str | None, text: str) -> str | None:
    if "pattern" in spec and not _pattern(spec["pattern"]).fullmatch(text):
        return "value does not match the regex pattern"
    if kind in ("integer", "number"):
        if "maximum" in spec and float(text) > float(spec["maximum"]):
            return f"value must have a maximum value of {spec['maximum']}"
        if "minimum" in spec and float(text) < float(spec["minimum"]):
            return f"value must have a minimum value of {spec['minimum']}"
    if "maxLength" in spec and len(text) > int(spec["maxLength"]):
        return f"value may only be {spec['maxLength']} characters long"
    if "minLength" in spec and len(text) < int(spec["minLength"]):
        return f"value must be at least {spec['minLength']} characters long"
    if spec.get("enum") and text not in [str(choice) for choice in spec["enum"]]:
        choices = ", ".join(str(choice) for choice in spec["enum"])
        return f"value '{text}' does not have a value in the enumeration '{choices}'"
    return None


@functools.lru_cache(maxsize=512)
def _pattern(pattern: str) -> re.Pattern[str]:
    # Perl prints a compiled pattern as (?^:...); Python has no such group.
    python = re.sub(r"\(\?\^([a-z]*):", lambda m: f"(?{m[1].replace('u', '')}:", pattern)
    return re.compile(python, re.DOTALL)


# -- formats ---------------------------------------------------------------------------------------------


def check_format(wanted: str | Format, text: str, name: str) -> None:
    """Raises FormatError when ``text`` is not of the format."""
    if not isinstance(wanted, str):
        parse(wanted, text, name)
        return
    own = named_formats.CHECKS.get(wanted)
    if own is not None:
        _raise(own(text))
    elif wanted in named_formats.PROPERTY_STRINGS:
        parse(named_formats.PROPERTY_STRINGS[wanted], text, name)
        _raise(named_formats.verify(wanted, text))
    elif wanted.endswith("-list") and wanted[:-5] in named_formats.CHECKS:
        for item in split_list(text):
            _raise(named_formats.CHECKS[wanted[:-5]](item))
    else:
        _raise(scalar_formats.check(wanted, text))


def _raise(text: str | None) -> None:
    if text:
        raise FormatError(text if text.endswith("\n") else f"{text}\n")


def split_list(text: str | None) -> list[str]:
    """Items separated by commas, semicolons, spaces or NUL."""
    return [item for item in re.split("\0" if text and "\0" in text else r"[,;\s]+", text or "") if item]


def parse(wanted: Format, text: str, name: str) -> dict[str, str]:
    """A property string as a dictionary, aliases resolved, booleans as ``0``/``1``."""
    values = _split(wanted, text)
    errors: dict[str, str] = {}
    for key, spec in wanted.items():
        if "alias" in spec:
            continue
        if key not in values:
            if not spec.get("optional"):
                errors[f"{name}.{key}"] = "property is missing and it is not optional"
            continue
        _check(spec, values[key], f"{name}.{key}", errors)
    for key in values:
        if key not in wanted:
            errors[f"{name}.{key}"] = (
                "property is not defined in schema and the schema does not allow additional properties"
            )
        needed = wanted.get(key, {}).get("requires")
        if needed and needed not in values:
            errors[f"{name}.{needed}"] = f"missing property required by '{name}.{key}'"
    if errors:
        raise FormatError("format error\n" + "".join(f"{where}: {why}\n" for where, why in sorted(errors.items())))
    return values


def _split(wanted: Format, text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    default = next((key for key, spec in wanted.items() if spec.get("default_key")), None)
    bare = False
    for part in text.split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if equals and key and value:
            _add(wanted, values, key, value)
        elif equals:
            raise FormatError("missing key in comma-separated list property\n")
        elif default is None:
            raise FormatError("value without key, but schema does not define a default key\n")
        elif bare or values.get(default):
            raise FormatError(f"duplicate key in comma-separated list property: {default}\n")
        else:
            bare = True
            values[default] = _boolean(wanted[default], part)
    return values


def _add(wanted: Format, values: dict[str, str], key: str, value: str) -> None:
    if key in values:
        raise FormatError(f"duplicate key in comma-separated list property: {key}\n")
    spec = wanted.get(key, {})
    if "alias" in spec:
        group = spec.get("keyAlias")
        if group:
            if group in values:
                raise FormatError(f"key alias '{group}' is already defined\n")
            values[group] = key
        key = spec["alias"]
        if key in values:
            raise FormatError(f"key '{key}' is already defined (via alias)\n")
    values[key] = _boolean(wanted.get(key, {}), value)


def _boolean(spec: Spec, value: str) -> str:
    if spec.get("type") == "boolean":
        return "1" if value.lower() in _TRUE else "0" if value.lower() in _FALSE else value
    return value


def render(wanted: Format, values: t.Mapping[str, str]) -> str:
    """A property string: the default key without its name, then the required keys, then the others, sorted."""
    parts = []
    rest = dict(values)
    group = next((spec for spec in wanted.values() if spec.get("keyAlias")), None)
    if group and rest.get(group["alias"]) and rest.get(group["keyAlias"]):
        parts.append(f"{rest.pop(group['keyAlias'])}={rest.pop(group['alias'])}")
    default = next((key for key, spec in wanted.items() if spec.get("default_key")), None)
    if default in rest:
        parts.append(rest.pop(default))
    order = sorted(rest, key=lambda key: (bool(wanted.get(key, {}).get("optional")), key))
    return ",".join(parts + [f"{key}={rest[key]}" for key in order])
