# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as sops reads and writes it: go-yaml's types and its layout; edits in place are in ``sops_yaml_edits``."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import typing as t

from ..errors import InvalidInput
from .sops_values import Timestamp, Tree, go_float

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


#: A key of this name takes over the entries of other mappings. sops itself writes it with its tag.
MERGE = "<<"
_TAGGED_MERGE = f"!!merge {MERGE}"
#: A text may repeat its anchors so often. Some more, in a few lines, and nobody has the memory.
_MOST = 100_000


def load(text: str, where: str) -> tuple[list[Tree], list[t.Any]]:
    """The documents, their parts ``sops`` in them, and the nodes that :func:`sops_yaml_edits.edited` wants. Aliases are
    what they stand for. Raises InvalidInput, which quotes nothing."""
    import yaml

    try:
        _check_tags(text, where)
        nodes = list(yaml.compose_all(text, Loader=_loader()))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidInput(f"{where} is not valid YAML{f' in line {mark.line + 1}' if mark else ''}") from None
    except RecursionError:
        raise InvalidInput(f"{where} is nested too deeply") from None
    read = _Reader(where)
    return [read.document(node) for node in nodes], nodes


def _check_tags(text: str, where: str) -> None:
    """sops gives every value the type that it has without a tag, but for the merge keys, which it tags itself."""
    import yaml

    tokens = yaml.scan(text, Loader=yaml.BaseLoader)
    for token in tokens:
        if not isinstance(token, yaml.TagToken):
            continue
        following = next(tokens, None)
        if token.value != ("!!", "merge") or getattr(following, "value", None) != MERGE:
            raise InvalidInput(f"{where} has a tag in line {token.start_mark.line + 1}", hint="sops would drop it.")


class Alias(t.NamedTuple):
    """Where an anchor's node is repeated."""

    target: t.Any
    start_mark: t.Any
    end_mark: t.Any
    id: str = "alias"
    style: None = None
    value: None = None


@functools.cache
def _loader() -> t.Any:
    """A loader that tells aliases from what they stand for, and takes an anchor that is given anew, as go-yaml does."""
    import yaml

    class Loader(yaml.BaseLoader):
        def compose_document(self: t.Any) -> t.Any:
            begins = self.peek_event().start_mark.index
            node: t.Any = yaml.BaseLoader.compose_document(self)
            node.begins = begins
            return node

        def compose_node(self: t.Any, parent: t.Any, index: t.Any) -> t.Any:
            event = self.peek_event()
            if not isinstance(event, yaml.AliasEvent):
                self.anchors.pop(event.anchor, None)
                return yaml.BaseLoader.compose_node(self, parent, index)
            self.get_event()
            if event.anchor not in self.anchors:
                mark: t.Any = event.start_mark
                raise yaml.composer.ComposerError(None, None, "an alias of nothing", mark)
            return Alias(self.anchors[event.anchor], event.start_mark, event.end_mark)

    return Loader


@dataclasses.dataclass
class _Reader:
    """Nodes as values. Raises InvalidInput."""

    where: str
    repeated: int = 0
    open: list[t.Any] = dataclasses.field(default_factory=list)

    def document(self, node: t.Any) -> Tree:
        if node.id == "scalar" and node.style is None and resolve(node.value) is None:
            return {}
        if node.id != "mapping":
            place = f"the document in line {node.start_mark.line + 1}"
            raise InvalidInput(f"{self.where}: {place} is not a mapping at the top, as sops needs it")
        found: Tree = self.value(node)
        return found

    def value(self, node: t.Any) -> t.Any:
        if self.open:
            self.repeated += 1
            if self.repeated > _MOST:
                raise InvalidInput(f"{self.where} repeats its anchors more than {_MOST} times")
        if node.id == "alias":
            return self._alias(node)
        if node.id == "sequence":
            return [self.value(item) for item in node.value]
        if node.id == "scalar":
            return resolve(node.value) if node.style is None else node.value
        return self._mapping(node)

    def _alias(self, node: Alias) -> t.Any:
        if any(one is node.target for one in self.open):
            line = node.target.start_mark.line + 1
            raise InvalidInput(f"{self.where} has an anchor in line {line} that holds itself")
        self.open.append(node.target)
        found = self.value(node.target)
        self.open.pop()
        return found

    def _mapping(self, node: t.Any) -> Tree:
        found: Tree = {}
        for key, value in node.value:
            name, line = name_of(key), key.start_mark.line + 1
            if name is None:
                raise InvalidInput(f"{self.where} has a key in line {line} that is not text, which sops cannot keep")
            if name in found:
                raise InvalidInput(f"{self.where} has the key {name} twice in one mapping, again in line {line}")
            found[name] = self.value(value)
        return found


def name_of(key: t.Any) -> str | None:
    """The text of a key, None for one that is something else."""
    node = key.target if key.id == "alias" else key
    name = node.value if node.id == "scalar" and node.style else resolve(node.value) if node.id == "scalar" else None
    return name if is_text(name) else None


def with_merges(tree: t.Any) -> t.Any:
    """What a reader of YAML sees, to whom merge keys are no keys: what a mapping says itself counts, then the first."""
    if isinstance(tree, list):
        return [with_merges(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    found = {name: with_merges(value) for name, value in tree.items()}
    given = found.get(MERGE)
    merged: list[t.Any] = given if isinstance(given, list) else [given]
    if MERGE in found and all(isinstance(one, dict) for one in merged):
        del found[MERGE]
        for one in merged:
            found |= {name: value for name, value in one.items() if name not in found}
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


def is_text(value: t.Any) -> bool:
    """Points in time are none."""
    return isinstance(value, str) and not isinstance(value, Timestamp)


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


def check_merges(tree: t.Any, where: str) -> None:
    """Raises InvalidInput for a merge key that merges nothing: sops would write a file that it cannot read."""
    for name, value in tree.items() if isinstance(tree, dict) else ():
        merged = value if isinstance(value, list) else [value]
        if name == MERGE and not all(isinstance(one, dict) for one in merged):
            raise InvalidInput(f"{where}: the value of a key {MERGE} is no mapping, nor a list of mappings")
        check_merges(value, f"{where}.{name}")
    for item in tree if isinstance(tree, list) else ():
        check_merges(item, where)


# -- writing ----------------------------------------------------------------------------------------------------------


def emit(tree: Tree) -> str:
    """A whole document, laid out as sops does it."""
    return "".join(entry(name, value, 0) for name, value in tree.items()) or "{}\n"


def emit_all(documents: t.Iterable[Tree]) -> str:
    return SEPARATOR.join(emit(tree) for tree in documents)


SEPARATOR = "---\n"


def entry(name: str, value: t.Any, column: int) -> str:
    """The lines of a key and its value."""
    return " " * column + (_TAGGED_MERGE if name == MERGE else scalar(name)) + ":" + _after(value, column)


def _after(value: t.Any, column: int) -> str:
    """What follows a colon: on the same line, or on the next ones, further in."""
    if isinstance(value, dict) and value:
        return "\n" + "".join(entry(name, inner, column + _INDENT) for name, inner in value.items())
    if isinstance(value, list) and value:
        return "\n" + "".join(_item(inner, column + _INDENT) for inner in value)
    block = _block(value, column + _INDENT)
    return f" {block}" if block else f" {scalar(value)}\n"


def _item(value: t.Any, column: int) -> str:
    """``- …``; a mapping or a list begins on the same line."""
    start = " " * column + "- "
    if isinstance(value, dict) and value:
        inner = "".join(entry(name, one, column + 2) for name, one in value.items())
        return start + inner[column + 2 :]
    if isinstance(value, list) and value:
        return start + "".join(_item(one, column + 2) for one in value)[column + 2 :]
    block = _block(value, column + 2)
    return start + (block or f"{scalar(value)}\n")


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


def scalar(value: t.Any) -> str:
    """On one line."""
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
