# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as Go's ``yaml`` package writes it with an indent of four: what COSI specs and configuration diffs look like.

Values are plain Python: dict, list, str, int, float, bool, None.
"""

from __future__ import annotations

import collections.abc as c
import re
import typing as t

_INDENT = 4
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLS = {"true", "True", "TRUE", "false", "False", "FALSE"}
_OLD_BOOLS = {word for base in ("y", "n", "yes", "no", "on", "off") for word in (base, base.capitalize(), base.upper())}
_NUMBER = re.compile(
    r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)\Z"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z"
    r"|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"
)
_BASE60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([Tt ].*)?\Z")
#: Not to be kept in a literal block.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\ufeff\u2028\u2029]")
_LEADING = set(",[]{}#&*!|>'\"%@`")


class Raw(str):
    """A scalar that is written as it is: it has its quotes already, or is a number in another base."""


def dump(value: t.Any) -> str:
    """One document, with a newline at its end."""
    if (isinstance(value, c.Mapping) and value) or (isinstance(value, list) and value):
        return "\n".join(_block(value, 0)) + "\n"
    return _inline(value, _INDENT) + "\n"


def dump_all(documents: c.Sequence[t.Any]) -> str:
    return "---\n".join(dump(document) for document in documents)


def scalar(value: t.Any) -> str:
    """One line: how a scalar stands in a mapping."""
    if isinstance(value, Raw):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return _string(str(value))


def resolves_to_string(text: str) -> bool:
    """Whether a plain scalar of this text is read back as a string."""
    special = text in _NULLS or text in _BOOLS or text in ("<<", "=")
    return not (special or _NUMBER.match(text) or _DATE.match(text))


def _string(text: str) -> str:
    if not resolves_to_string(text) or text in _OLD_BOOLS or _BASE60.match(text):
        return _double(text)
    if any(ord(char) < 32 or ord(char) in (0x7F, 0xFEFF) for char in text):
        return _double(text)
    if _plain(text):
        return text
    return "'" + text.replace("'", "''") + "'"


def _plain(text: str) -> bool:
    first = text[0]
    if first in _LEADING or first == " " or text[-1] == " ":
        return False
    if first in "-?:" and (len(text) == 1 or text[1] == " "):
        return False
    if text.startswith(("---", "...")) or text.endswith(":"):
        return False
    return ": " not in text and " #" not in text


def double_quoted(text: str) -> Raw:
    return Raw(_double(text))


def _double(text: str) -> str:
    escapes = {
        "\\": "\\\\",
        '"': '\\"',
        "\n": "\\n",
        "\t": "\\t",
        "\r": "\\r",
        "\0": "\\0",
        "\x1b": "\\e",
    }
    out = [escapes.get(char) or (char if ord(char) >= 32 else f"\\x{ord(char):02X}") for char in text]
    return '"' + "".join(out) + '"'


def _inline(value: t.Any, indent: int) -> str:
    """What follows ``key: `` or ``- ``: a scalar, an empty collection or a literal block."""
    if isinstance(value, c.Mapping):
        return "{}"
    if isinstance(value, list):
        return "[]"
    if isinstance(value, str) and not isinstance(value, Raw) and "\n" in value and not _CONTROL.search(value):
        return _literal(value, indent)
    return scalar(value)


def _literal(text: str, indent: int) -> str:
    body = text.rstrip("\n")
    newlines = len(text) - len(body)
    chomp = {0: "-", 1: ""}.get(newlines, "+")
    hint = str(_INDENT) if body.startswith((" ", "\n")) else ""
    pad = " " * indent
    lines = body.split("\n") + [""] * max(0, newlines - 1)
    return "\n".join([f"|{hint}{chomp}"] + [pad + line if line else "" for line in lines])


def _next(indent: int) -> int:
    """Everything but the inside of a list item aligns to the chosen indentation."""
    return _INDENT * ((indent + _INDENT) // _INDENT)


def _block(value: t.Any, indent: int) -> list[str]:
    if isinstance(value, c.Mapping):
        return [line for key, item in value.items() for line in _pair(key, item, indent)]
    return [line for item in value for line in _item(item, indent)]


def _pair(key: t.Any, item: t.Any, indent: int) -> list[str]:
    head = " " * indent + scalar(key) + ":"
    if isinstance(item, (c.Mapping, list)) and item:
        return [head, *_block(item, _next(indent))]
    return (head + " " + _inline(item, _next(indent))).split("\n")


def _item(item: t.Any, indent: int) -> list[str]:
    if isinstance(item, (c.Mapping, list)) and item:
        lines = _block(item, indent + 2)
        return [" " * indent + "- " + lines[0][indent + 2 :], *lines[1:]]
    return (" " * indent + "- " + _inline(item, indent + 2)).split("\n")
