# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as sops reads and writes it: go-yaml's types, its layout, and edits in place that leave the rest of a text alone."""

from __future__ import annotations

import math
import re
import typing as t

from ..errors import InvalidInput
from .sops_values import Timestamp, Tree, go_float, same

_INDENT = 4
_WORDS: dict[str, t.Any] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_WORDS |= dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)
_WORDS |= dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf)
_WORDS |= dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INTEGER = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)\Z")
_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[Tt ](\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,9}))?(Z|[-+]\d{2}:\d{2})?)?\Z"
)
#: What is written without quotes: nothing that any reader of YAML takes for something else than text.
_PLAIN = re.compile(r"(ENC\[AES256_GCM,[^\s#]+\]|[A-Za-z_][A-Za-z0-9_./@+-]*)\Z")
_OLD_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def load(text: str, where: str) -> tuple[Tree, t.Any]:
    """The tree, its part ``sops`` in it, and the node that :func:`edited` wants. Raises InvalidInput, which quotes nothing."""
    import yaml

    try:
        for token in yaml.scan(text, Loader=yaml.BaseLoader):
            if isinstance(token, (yaml.AnchorToken, yaml.AliasToken, yaml.TagToken)):
                raise InvalidInput(f"{where} has an anchor, alias or tag in line {token.start_mark.line + 1}")
        nodes = list(yaml.compose_all(text, Loader=yaml.BaseLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidInput(f"{where} is not valid YAML{f' in line {mark.line + 1}' if mark else ''}") from None
    except RecursionError:
        raise InvalidInput(f"{where} is nested too deeply") from None
    if len(nodes) != 1:
        raise InvalidInput(f"{where} holds {len(nodes)} documents, one is supported", hint="Split the file.")
    if not isinstance(nodes[0], yaml.MappingNode):
        raise InvalidInput(f"{where} is not a mapping at the top, as sops needs it")
    return _value(nodes[0], where), nodes[0]


def _value(node: t.Any, where: str) -> t.Any:
    if node.id == "sequence":
        return [_value(item, where) for item in node.value]
    if node.id == "scalar":
        return resolve(node.value) if node.style is None else node.value
    found: Tree = {}
    for key, value in node.value:
        name, line = _value(key, where), key.start_mark.line + 1
        if not isinstance(name, str) or (name == "<<" and key.style is None):
            raise InvalidInput(f"{where} has a key in line {line} that is not text, which sops cannot keep")
        if name in found:
            raise InvalidInput(f"{where} has the key {name} twice in one mapping, again in line {line}")
        found[name] = _value(value, where)
    return found


def resolve(text: str) -> t.Any:
    """What go-yaml makes of a scalar without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    time = _timestamp(text)
    if time:
        return time
    digits = text.replace("_", "")
    whole = _INTEGER.match(digits)
    if whole:
        number = _integer(whole[2]) * (-1 if whole[1] == "-" else 1)
        if -(2**63) <= number < 2**64:
            return number
    return float(digits) if _FLOAT.match(digits) else text


def _integer(text: str) -> int:
    if text[:2].lower() in {"0x", "0b", "0o"}:
        return int(text, 0)
    return int(text, 8) if text.startswith("0") else int(text)


def _timestamp(text: str) -> Timestamp | None:
    found = _TIME.match(text)
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    if hour is not None and text[10:11] == " " and zone:  # go-yaml knows a blank in times without a zone only
        return None
    if hour is not None and zone is None and " " not in text:
        return None
    import datetime

    try:
        datetime.datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError:
        return None
    parts = f"{year}-{int(month):02}-{int(day):02}T{int(hour or 0):02}:{int(minute or 0):02}:{int(second or 0):02}"
    rest = f".{fraction.rstrip('0')}" if (fraction or "").rstrip("0") else ""
    return Timestamp(parts + rest + ("Z" if zone in (None, "+00:00", "-00:00") else zone))


# -- writing ----------------------------------------------------------------------------------------------------------


def emit(tree: Tree) -> str:
    """The whole file, laid out as sops does it."""
    return "".join(_entry(name, value, 0) for name, value in tree.items()) or "{}\n"


def _entry(name: str, value: t.Any, column: int) -> str:
    return " " * column + _scalar(name) + ":" + _after(value, column)


def _after(value: t.Any, column: int) -> str:
    """What follows a colon: on the same line, or on the next ones, further in."""
    if isinstance(value, dict) and value:
        return "\n" + "".join(_entry(name, inner, column + _INDENT) for name, inner in value.items())
    if isinstance(value, list) and value:
        return "\n" + "".join(_item(inner, column + _INDENT) for inner in value)
    block = _block(value, column + _INDENT)
    return f" {block}" if block else f" {_scalar(value)}\n"


def _item(value: t.Any, column: int) -> str:
    """``- …``; a mapping or a list begins on the same line."""
    start = " " * column + "- "
    if isinstance(value, dict) and value:
        inner = "".join(_entry(name, one, column + 2) for name, one in value.items())
        return start + inner[column + 2 :]
    if isinstance(value, list) and value:
        return start + "".join(_item(one, column + 2) for one in value)[column + 2 :]
    block = _block(value, column + 2)
    return start + (block or f"{_scalar(value)}\n")


def _block(value: t.Any, column: int) -> str:
    """Text of several lines as a literal block, where it can stand in one unescaped; else nothing."""
    if not isinstance(value, str) or isinstance(value, Timestamp) or "\n" not in value:
        return ""
    body = value.removesuffix("\n")
    lines = body.split("\n")
    if not all(re.fullmatch(r"[!-~]([ -~]*[!-~])?", line) for line in lines):
        return ""
    mark = "|" if value.endswith("\n") else "|-"
    return f"{mark}\n" + "".join(f"{' ' * column}{line}\n" for line in lines)


def _scalar(value: t.Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (int, Timestamp)):
        return str(value)
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return "[]"
    if _PLAIN.match(value) and value.lower() not in _OLD_WORDS:
        return str(value)
    return '"' + "".join(_escaped(sign) for sign in value) + '"'


def _float(value: float) -> str:
    if math.isnan(value) or math.isinf(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    text = go_float(value)
    return text if "." in text else f"{text}.0"


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return "\\" + sign
    if sign in _ESCAPES:
        return _ESCAPES[sign]
    number = ord(sign)
    if 0x20 <= number < 0x7F or (number >= 0xA0 and number not in {0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF}):
        return sign
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


# -- edits in place ------------------------------------------------------------------------------------------------------


class _Whole(Exception):
    """What changes cannot be changed alone: the entry around it is written anew."""


class Edit(t.NamedTuple):
    start: int
    end: int
    text: str


def edited(text: str, node: t.Any, old: Tree, new: Tree) -> str:
    """The text with the values of ``new``. Lines that hold nothing that differs stay as they are, comments too."""
    if node.flow_style or not node.value:
        return emit(new)
    text = text if text.endswith("\n") else text + "\n"
    edits = sorted(_mapping(text, node, old, new, removable=True), reverse=True)
    for edit in edits:
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _mapping(text: str, node: t.Any, old: Tree, new: Tree, *, removable: bool) -> list[Edit]:
    names = [key.value for key, _value in node.value]
    if not removable and old.keys() != new.keys():
        raise _Whole
    edits: list[Edit] = []
    column, place = node.start_mark.column, 0
    before_sops = None
    for (key, value), name in zip(node.value, names, strict=True):
        start, place = _line_start(text, key.start_mark.index), _end(text, value, key)
        if name == "sops" and column == 0:
            before_sops = start
        if name not in new:
            edits.append(Edit(start, place, ""))
        elif not same(old[name], new[name]):
            edits += _changed(
                text, key, value, (old[name], new[name]), Edit(start, place, _entry(name, new[name], column)), removable
            )
    added = "".join(_entry(name, value, column) for name, value in new.items() if name not in old)
    place = place if before_sops is None else before_sops
    return [*edits, Edit(place, place, added)] if added else edits


def _changed(
    text: str, key: t.Any, value: t.Any, sides: tuple[t.Any, t.Any], whole: Edit, removable: bool
) -> list[Edit]:
    try:
        return _inside(text, value, *sides, removable=True)
    except _Whole:
        if not removable and text[whole.start : key.start_mark.index].strip():
            raise  # the entry shares its line with the dash of a list
        return [whole]


def _inside(text: str, node: t.Any, old: t.Any, new: t.Any, *, removable: bool) -> list[Edit]:
    """The edits within a value. Raises _Whole."""
    if node.id == "scalar":
        simple = node.style != "|" and node.style != ">" and not isinstance(new, (dict, list))
        start, end = node.start_mark.index, node.end_mark.index
        if not simple or start == end or "\n" in text[start:end] or (isinstance(new, str) and "\n" in new):
            raise _Whole
        return [Edit(start, end, _scalar(new))]
    if node.flow_style or not old or not new or type(old) is not type(new):
        raise _Whole
    if isinstance(old, dict):
        return _mapping(text, node, old, new, removable=removable)
    if len(old) != len(new):
        raise _Whole
    edits: list[Edit] = []
    for item, one, other in zip(node.value, old, new, strict=True):
        if not same(one, other):
            edits += _inside(text, item, one, other, removable=False)
    return edits


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _end(text: str, node: t.Any, key: t.Any) -> int:
    """Where the lines of an entry end: after its last value, and the comment on that line."""
    last = node
    while last.id != "scalar" and last.value and not last.flow_style:
        last = last.value[-1] if last.id == "sequence" else last.value[-1][1]
    index = max(last.end_mark.index, key.end_mark.index)
    if last.id == "scalar" and last.style in ("|", ">"):
        return _line_start(text, index)
    return text.find("\n", index) + 1
