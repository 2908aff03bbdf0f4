# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""INI as sops reads and writes it, which is as Go's ini.v1 does: sections of texts, comments, edits that leave other lines alone."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import InvalidInput
from .sops_stores import flattened, unflattened
from .sops_values import Tree

#: Where keys stand before the first section.
DEFAULT = "DEFAULT"
_SOPS = "sops"
_QUOTES = ('"""', "`")
#: What no name may hold: it would be read as something else.
_NO_NAME = frozenset("=:[]#;`\"'\n\r\\")


@dataclasses.dataclass
class Line:
    """A piece of the text: a section's head, a key with its value (perhaps on several lines), or anything else."""

    text: str
    section: str
    key: str = ""
    value: str = ""
    head: bool = False


def load(text: str, where: str) -> Tree:
    """The sections, and ``sops``. Raises InvalidInput, which quotes nothing of the text."""
    tree: Tree = {}
    for line in _lines(text, where):
        if line.head:
            tree.setdefault(line.section, {})
        elif line.key:
            section = tree.setdefault(line.section, {})
            if line.key in section:
                raise InvalidInput(f"{where} has {line.key} twice in the section {line.section}")
            section[line.key] = line.value
    if _SOPS in tree:
        flat = {name: value.replace("\\n", "\n") for name, value in tree[_SOPS].items()}
        tree[_SOPS] = unflattened(flat, where)
    return tree


def emit(tree: Tree, like: str = "") -> str:
    """As Go's library aligns it; where there was a text, its lines, in which only what differs is replaced."""
    tree = dict(tree)
    own = tree.pop(_SOPS, None)
    if own is not None:
        tree[_SOPS] = {name: _plain(value) for name, value in flattened(own)}
    for section, values in tree.items():
        _name(section, "section")
        for key in values:
            _name(key, "key")
    if like:
        return _edited(tree, like)
    return "\n".join(_section(name, values) for name, values in tree.items() if values or name != DEFAULT)


def as_text(tree: Tree, where: str) -> Tree:
    """What is wanted of an INI file: sections of texts; numbers become text."""
    found: Tree = {}
    for section, values in tree.items():
        if not isinstance(values, dict):
            raise InvalidInput(f"{where}: {section} is no section", hint="INI files hold mappings of texts.")
        _name(section, "section")
        for key, value in values.items():
            _name(key, "key")
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                raise InvalidInput(
                    f"{where}: {section}.{key} is no text, and INI files hold text only", hint="Write it in quotes."
                )
        found[section] = {key: str(value) for key, value in values.items()}
    return in_order(found)


def in_order(tree: Tree) -> Tree:
    """What stands before the first section comes first, and is nothing when it is empty: the MAC is over that order."""
    first = {DEFAULT: tree[DEFAULT]} if tree.get(DEFAULT) else {}
    return {**first, **{name: values for name, values in tree.items() if name != DEFAULT}}


# -- reading ------------------------------------------------------------------------------------------------------------


def _lines(text: str, where: str) -> t.Iterator[Line]:
    section, lines = DEFAULT, text.split("\n")
    number = 0
    while number < len(lines):
        raw, started = lines[number], number
        number += 1
        stripped = raw.strip()
        if not stripped or stripped[0] in "#;":
            yield Line(raw, section)
        elif stripped[0] == "[":
            if not stripped.endswith("]"):
                raise InvalidInput(f"{where} has no end of a section's name in line {started + 1}")
            section = stripped[1:-1].strip()
            yield Line(raw, section, head=True)
        else:
            key, rest = _split(raw, where, started + 1)
            quote = next((one for one in _QUOTES if rest.startswith(one)), "")
            while quote and quote not in rest[len(quote) :] and number < len(lines):
                rest += f"\n{lines[number]}"
                number += 1
            yield Line("\n".join(lines[started:number]), section, key, _value(rest, quote, where, started + 1))


def _split(raw: str, where: str, number: int) -> tuple[str, str]:
    places = [raw.find(mark) for mark in "=:" if mark in raw]
    if not places or min(places) == 0 or raw.lstrip()[0] in '"`':
        raise InvalidInput(f"{where} has no key with a value in line {number}")
    return raw[: min(places)].strip(), raw[min(places) + 1 :].strip(" \t\r")


def _value(rest: str, quote: str, where: str, number: int) -> str:
    if quote:
        end = rest.rfind(quote)
        if end < len(quote):
            raise InvalidInput(f"{where} has no end of the quotes that begin in line {number}")
        return rest[len(quote) : end]
    if rest.endswith("\\"):
        raise InvalidInput(f"{where} goes on in another line after line {number}, which is not supported")
    for mark in "#;":
        rest = rest.partition(mark)[0].strip()
    if len(rest) > 1 and rest[0] == rest[-1] and rest[0] in "\"'":
        return rest[1:-1]
    return rest


# -- writing ------------------------------------------------------------------------------------------------------------


def _section(name: str, values: t.Mapping[str, str]) -> str:
    width = max(map(len, values), default=0)
    head = "" if name == DEFAULT else f"[{name}]\n"
    return head + "".join(f"{key:{width}} = {_quoted(key, value)}\n" for key, value in values.items())


def _quoted(key: str, value: str) -> str:
    """As the library writes it. Raises InvalidInput for what it would not read again."""
    text = value
    if "\n" in value or "`" in value:
        text = f'"""{value}"""'
    elif "#" in value or ";" in value:
        text = f"`{value}`"
    elif value.strip() != value:
        text = f'"{value}"'
    try:
        (line,) = _lines(f"a = {text}", "")
        same = line.value == value
    except (InvalidInput, ValueError):
        same = False
    if not same:
        raise InvalidInput(f"The value of {key} cannot stand in an INI file in the clear")
    return text


def _edited(tree: Tree, like: str) -> str:
    """Lines of keys that are gone are taken out, those that differ are written anew up to their equals sign."""
    left = {name: dict(values) for name, values in tree.items()}
    out: list[Line] = []
    for line in _lines(like.removesuffix("\n"), "the file"):
        if line.section == _SOPS or (not line.head and line.key and line.key not in left.get(line.section, {})):
            continue
        if line.head and line.section not in tree:
            continue
        if line.key:
            value = left[line.section].pop(line.key)
            if value != line.value:
                start = line.text[: min(line.text.find(mark) for mark in "=:" if mark in line.text) + 1]
                line = dataclasses.replace(line, text=f"{start} {_quoted(line.key, value)}")
        out.append(line)
    own = left.pop(_SOPS, {})
    _add(out, left, {line.section for line in out})
    text = "\n".join(line.text for line in out).rstrip("\n")
    return f"{text}\n\n{_section(_SOPS, own)}" if own else f"{text}\n"


def _add(out: list[Line], left: t.Mapping[str, t.Mapping[str, str]], there: t.Collection[str]) -> None:
    """New keys at the end of their sections, new sections at the end."""
    for name, values in left.items():
        if not values and name in there:
            continue
        if name in there or name == DEFAULT:
            last = max(
                (number for number, line in enumerate(out) if line.section == name and _counts(line)), default=-1
            )
            added = [Line(f"{key} = {_quoted(key, value)}", name, key) for key, value in values.items()]
            out[last + 1 : last + 1] = added
        else:
            text = _section(name, values).rstrip("\n")
            out.append(Line(f"\n{text}" if out else text, name, head=True))


def _counts(line: Line) -> bool:
    return line.head or bool(line.key)


def _plain(value: t.Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace("\n", "\\n")


def _name(name: str, what: str) -> None:
    if not name or name.strip() != name or _NO_NAME & set(name):
        raise InvalidInput(f"{name!r} cannot name a {what} of an INI file")
