# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON, dotenv, and whole files as one value, as sops reads and writes them."""

from __future__ import annotations

import json
import math
import re
import typing as t

from ..errors import InvalidInput
from .sops_values import Timestamp, Tree, go_float

_PREFIX = "sops_"
_STEP = re.compile(r"__(map|list)_")


# -- JSON ---------------------------------------------------------------------------------------------------------------


def load_json(text: str, where: str) -> Tree:
    """Raises InvalidInput, which quotes nothing of the text."""
    try:
        tree = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, where), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{where} is not valid JSON in line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):
        raise InvalidInput(f"{where} is not valid JSON") from None
    if not isinstance(tree, dict):
        raise InvalidInput(f"{where} is not an object at the top, as sops needs it")
    return tree


def _once(pairs: list[tuple[str, t.Any]], where: str) -> Tree:
    found: Tree = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInput(f"{where} has the key {name} twice in one object")
        found[name] = value
    return found


def _no_constant(_text: str) -> t.NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def emit_json(tree: Tree, like: str = "") -> str:
    """Indented as the text that was there, or with tabs, as sops does it."""
    found = re.search(r"\{\n([ \t]+)\"", like)
    return _json(tree, found[1] if found else "\t", "\n") + "\n"


def _json(value: t.Any, indent: str, line: str) -> str:
    inner = line + indent
    if isinstance(value, dict) and value:
        parts = [f"{inner}{_text(name)}: {_json(one, indent, inner)}" for name, one in value.items()]
        return "{" + ",".join(parts) + line + "}"
    if isinstance(value, list) and value:
        return "[" + ",".join(inner + _json(one, indent, inner) for one in value) + line + "]"
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            raise InvalidInput("JSON cannot keep infinity or what is no number")
        return go_float(value)
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """As Go writes it, which spares HTML and JavaScript."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(f"\\u{ord(sign):04x}" if sign in "<>&\u2028\u2029" else sign for sign in text)


# -- dotenv -------------------------------------------------------------------------------------------------------------


def load_dotenv(text: str, where: str) -> Tree:
    """The values, all of them text, and ``sops``."""
    tree: Tree = {}
    flat: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        name, mark, value = line.partition("=")
        if not mark:
            raise InvalidInput(f"{where} has no = in line {number}")
        into: dict[str, t.Any] = flat if name.startswith(_PREFIX) else tree
        short = name.removeprefix(_PREFIX) if into is flat else name
        if short in into:
            raise InvalidInput(f"{where} has {name} twice, again in line {number}")
        into[short] = value.replace("\\n", "\n")
    if flat:
        tree["sops"] = unflattened(flat, where)
    return tree


def emit_dotenv(tree: Tree, like: str = "") -> str:
    """The lines of the text that was there, those that are gone taken out, comments and blank lines where they were, new ones
    at the end."""
    left = {name: _line(name, value) for name, value in tree.items() if name != "sops"}
    lines = []
    for line in like.removesuffix("\n").split("\n") if like else ():
        name = line.partition("=")[0]
        if not line or line.startswith("#"):
            lines.append(line)
        elif name in left:
            lines.append(left.pop(name))
    lines += left.values()
    lines += [f"{_PREFIX}{name}={_dotenv(value)}" for name, value in flattened(tree.get("sops", {}))]
    return "".join(f"{line}\n" for line in lines)


def _line(name: str, value: t.Any) -> str:
    if isinstance(value, (dict, list)):
        raise InvalidInput(f"{name} is a {type(value).__name__}, and dotenv files hold text only")
    if not name or name.startswith(("#", _PREFIX)) or "=" in name or "\n" in name:
        raise InvalidInput(f"{name!r} cannot name a value of a dotenv file")
    return f"{name}={_dotenv(value)}"


def _dotenv(value: t.Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).replace("\n", "\\n")


def flattened(value: t.Any, name: str = "") -> t.Iterator[tuple[str, t.Any]]:
    """The part ``sops`` as names that hold the way, and values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flattened(inner, f"{name}__map_{key}" if name else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from flattened(inner, f"{name}__list_{number}")
    else:
        yield name, value


def unflattened(flat: t.Mapping[str, str], where: str) -> Tree:
    """The part ``sops`` out of lines whose names hold the way."""
    root: Tree = {}
    for name, value in flat.items():
        parts = _STEP.split(name)
        at, steps = root, [parts[0], *parts[2::2]]
        for step in steps[:-1]:
            at = at.setdefault(step, {})
            if not isinstance(at, dict):
                raise InvalidInput(f"{where}: the lines of sops contradict each other at {name}")
        at[steps[-1]] = value
    entries = root.get("age")
    if isinstance(entries, dict):
        root["age"] = [entries[number] for number in sorted(entries, key=lambda text: (len(text), text))]
    return root


def as_text(tree: Tree, where: str) -> Tree:
    """What is wanted of a dotenv file: numbers as text, for it has no other types."""
    for name, value in tree.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            what = "nothing" if value is None else type(value).__name__
            raise InvalidInput(
                f"{where}: {name} is {what}, and dotenv files hold text only", hint="Write it in quotes."
            )
        if isinstance(value, str) and ("\\n" in value or "\r" in value) and not isinstance(value, Timestamp):
            raise InvalidInput(
                f"{where}: {name} has a backslash before n, or a carriage return, which dotenv cannot keep"
            )
        _line(name, "")
    return {name: str(value) for name, value in tree.items()}
