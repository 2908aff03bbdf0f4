# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of machine config documents (``config_types.txt``): strict reading of YAML nodes, writing in the node's order."""

from __future__ import annotations

import base64
import binascii
import collections.abc as c
import dataclasses
import functools
import pathlib
import re
import typing as t

import yaml

from . import gourl, goyaml

_TAG = "tag:yaml.org,2002:"
#: Strings that YAML 1.1 took for booleans: accepted where a boolean is wanted.
_TRUE = {"true", "True", "TRUE", "y", "Y", "yes", "on"}
_FALSE = {"n", "N", "no", "off"}
_INTEGERS = {
    "int": (-(1 << 63), (1 << 63) - 1),
    "uint": (0, (1 << 64) - 1),
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
    "size": (0, (1 << 64) - 1),
    "mode": (0, (1 << 32) - 1),
}
#: Numbers of YAML 1.2 that are words in 1.1.
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+\Z")
_OCTAL = re.compile(r"[-+]?0o[0-7_]+\Z")
#: Written as structs without a name in Go.
_ANONYMOUS = ("Pair", "Certificate", "Key")
_GO_NAMES = {
    "duration": "time.Duration",
    "base64": "v1alpha1.Base64Bytes",
    "text": "string",
    "mode": "v1alpha1.FileMode",
    "size": "string",
    "disk_size": "string",
    "auto": "*nethelpers.AutoHostnameKind (TextUnmarshaler)",
    "url": "string",
}
_SIZE_UNIT = re.compile(r"b?|[kmgtpe]i?b?")
_DURATION = re.compile(r"[-+]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+\Z|0\Z")


class ConstructError(Exception):
    """Values that do not fit their types; the text lists all of them as the node does."""

    def __init__(self, problems: c.Sequence[tuple[int, str]]) -> None:
        super().__init__("yaml: construct errors:\n" + "\n".join(f"  line {line}: {text}" for line, text in problems))


class UnknownKeys(Exception):
    def __init__(self, tree: t.Any) -> None:
        super().__init__("unknown keys found during decoding:\n" + goyaml.dump(tree))


@dataclasses.dataclass(frozen=True)
class Field:
    key: str
    kind: str  # "string", "[]MachineFile", "{}string", "Pair"
    pointer: bool
    omit_empty: bool
    go: str = ""  # the name of a list type, where it has one


@dataclasses.dataclass(frozen=True)
class Struct:
    name: str
    fields: dict[str, Field]
    document: bool = False

    @property
    def go_name(self) -> str:
        if self.name in _ANONYMOUS:
            fields = "; ".join(f'{key.title()} string "yaml:\\"{key}\\""' for key in self.fields)
            return f"struct {{ {fields} }}"
        if self.document:
            return f"{self.name}V1Alpha1"
        return self.name if "." in self.name else f"v1alpha1.{self.name}"


def document(kind: str, version: str) -> Struct | None:
    """The type of a document; an empty kind is the v1alpha1 document."""
    structs, kinds = _loaded()
    if version != "v1alpha1":
        return None
    return structs["Config"] if not kind else structs.get(kinds.get(kind, ""))


def construct(type_: Struct, node: yaml.MappingNode) -> dict[str, t.Any]:
    """Plain data of a document. Raises ConstructError, UnknownKeys."""
    problems: list[tuple[int, str]] = []
    value = _struct(type_, node, problems)
    if problems:
        raise ConstructError(problems)
    unknown = _unknown(type_.name, node)
    if unknown is not None:
        raise UnknownKeys(unknown)
    return value


def encode(kind: str, value: c.Mapping[str, t.Any]) -> str:
    """The document as the node writes it: keys in its order, empty ones left out where it leaves them out."""
    type_ = document(kind, "v1alpha1")
    if type_ is None:
        raise ValueError(f"no document kind {kind!r}")
    return goyaml.dump(_ordered(type_, value))


# --- reading
def _struct(type_: Struct, node: yaml.MappingNode, problems: list[tuple[int, str]]) -> dict[str, t.Any]:
    if type_.name in _ANONYMOUS:
        return _pem(type_, node, problems)
    found: dict[str, t.Any] = {}
    for key, child in node.value:
        field = type_.fields.get(key.value)
        if field is not None:
            found[key.value] = _value(field.kind, child, problems, field.go)
    return found


def _pem(type_: Struct, node: yaml.MappingNode, problems: list[tuple[int, str]]) -> dict[str, t.Any]:
    """Base64 of PEM: first read as strings, then decoded; the first that cannot be is told, at the line of the whole."""
    inside: list[tuple[int, str]] = []
    known = [(key.value, child) for key, child in node.value if key.value in type_.fields]
    found = {key: _value("string", child, inside) for key, child in known}
    for key, _ in known if not inside else ():
        problem = _base64_problem(found[key] or "")
        if problem:
            inside.append((_line(node), problem))
            break
    problems += inside
    return found


def _value(kind: str, node: yaml.Node, problems: list[tuple[int, str]], go: str = "") -> t.Any:
    if _is_null(node):
        return None
    if kind == "tree":
        return _plain(node) if isinstance(node, yaml.MappingNode) else _mismatch(kind, node, problems)
    if kind == "args":
        return _arguments(node, problems)
    if kind.startswith("[]"):
        if isinstance(node, yaml.SequenceNode):
            items = [_value(kind[2:].lstrip("*"), item, problems) for item in node.value]
            # A null in a list of values is no element; in a list of pointers it is a null pointer.
            return items if kind[2] == "*" else [item for item in items if item is not None]
        return _mismatch(kind, node, problems, go)
    if not isinstance(node, yaml.MappingNode) and (kind.startswith("{}") or kind in _loaded()[0]):
        return _mismatch(kind, node, problems)
    if kind.startswith("{}"):
        return {key.value: _value(kind[2:].lstrip("*"), item, problems) for key, item in _pairs(node)}
    if kind in _loaded()[0]:
        return _struct(_loaded()[0][kind], t.cast(yaml.MappingNode, node), problems)
    if not isinstance(node, yaml.ScalarNode):
        return _mismatch(kind, node, problems)
    return _scalar(kind, node, problems)


def _scalar(kind: str, node: yaml.ScalarNode, problems: list[tuple[int, str]]) -> t.Any:
    text, tag = str(node.value), _tag(node)
    if kind in _INTEGERS:
        return _integer(kind, node, problems)
    if kind == "bool":
        if tag == "!!bool" or (tag == "!!str" and text in _TRUE | _FALSE):
            return text in _TRUE
        return _mismatch(kind, node, problems)
    if kind == "url":
        try:
            gourl.parse(text)
        except gourl.GoUrlError as error:
            problems.append((_line(node), str(error)))
    if kind == "disk_size" and (problem := _disk_size_problem(text)):
        problems.append((_line(node), problem))
    if kind == "auto" and text not in ("off", "stable", "talos-addr"):
        problems.append((_line(node), f"{text} does not belong to AutoHostnameKind values"))
    if kind == "port" and tag == "!!int":
        return _plain(node)
    if kind == "duration":
        if _DURATION.match(text):
            return text
        return _mismatch(kind, node, problems)
    if kind == "base64":
        problem = _base64_problem(text)
        if problem:
            problems.append((_line(node), problem))
    return text


def _disk_size_problem(text: str) -> str:
    """``>= 100GB``: the comparison, a number, a unit."""
    rest = re.sub(r"^(>=|<=|>|<|==)", "", text.strip())
    problem = _size_problem(rest.strip())
    return f"failed to parse disk size {rest}: {problem}" if problem else ""


def _size_problem(text: str) -> str:
    number, unit = t.cast("re.Match[str]", re.match(r"([\d.,]*)(.*)\Z", text, re.DOTALL)).groups()
    digits, unit = number.replace(",", ""), unit.strip().lower()
    if not re.fullmatch(r"\d+\.?\d*|\.\d+", digits):
        return f'strconv.ParseFloat: parsing "{digits}": invalid syntax'
    return "" if _SIZE_UNIT.fullmatch(unit) else f"unhandled size name: {unit}"


def _integer(kind: str, node: yaml.ScalarNode, problems: list[tuple[int, str]]) -> t.Any:
    low, high = _INTEGERS[kind]
    value: t.Any = None
    if _tag(node) in ("!!int", "!!float"):
        value = _plain(node)
    if kind == "size" and _tag(node) != "!!bool":
        problem = _size_problem(str(node.value))
        if problem:
            problems.append((_line(node), problem))
        return value if _tag(node) == "!!int" else str(node.value)
    if not isinstance(value, (int, float)) or value != int(value) or not low <= value <= high:
        return _mismatch(kind, node, problems)
    return int(value)


def _base64_problem(text: str) -> str:
    """Checked only; it stays as written. Go says at which byte it goes wrong."""
    for position, char in enumerate(text):
        if not (char.isascii() and (char.isalnum() or char in "+/=\r\n")):
            return f"illegal base64 data at input byte {position}"
    try:
        base64.b64decode(text, validate=False)
    except (ValueError, binascii.Error):
        return f"illegal base64 data at input byte {len(text) // 4 * 4}"
    return ""


def _arguments(node: yaml.Node, problems: list[tuple[int, str]]) -> t.Any:
    """Extra arguments: a string or a list of strings each."""
    if not isinstance(node, yaml.MappingNode):
        return _mismatch("args", node, problems)
    found: dict[str, t.Any] = {}
    for key, item in _pairs(node):
        inside: list[tuple[int, str]] = []
        found[key.value] = _value("[]string" if isinstance(item, yaml.SequenceNode) else "string", item, inside)
        if inside:
            problems.append((_line(item), "arg value must be a string or list of strings"))
    return found


def _mismatch(kind: str, node: yaml.Node, problems: list[tuple[int, str]], go: str = "") -> None:
    shown = ""
    if isinstance(node, yaml.ScalarNode):
        text = str(node.value)
        shown = f" `{text[:7]}...`" if len(text) > 10 else f" `{text}`"
    problems.append((_line(node), f"cannot construct {_tag(node)}{shown} into {go or _go(kind)}"))


def _go(kind: str) -> str:
    """How Go prints a type."""
    if kind.startswith("*"):
        return "*" + _go(kind[1:])
    if kind.startswith("[]"):
        return "[]" + _go(kind[2:])
    if kind.startswith("{}"):
        return "map[string]" + _go(kind[2:])
    if kind in _loaded()[0]:
        return _loaded()[0][kind].go_name
    return {**_GO_NAMES, "tree": "v1alpha1.Unstructured", "args": "v1alpha1.Args"}.get(kind, kind)


def _unknown(kind: str, node: yaml.Node) -> t.Any:
    """The part of a tree that no type knows, None if there is none."""
    if kind.startswith("[]") and isinstance(node, yaml.SequenceNode):
        inside = (_unknown(kind[2:].lstrip("*"), item) for item in node.value)
        return [item for item in inside if item is not None] or None
    if not isinstance(node, yaml.MappingNode) or not (kind.startswith("{}") or kind in _loaded()[0]):
        return None
    fields = None if kind.startswith("{}") else _loaded()[0][kind].fields
    found: dict[str, t.Any] = {}
    for key, child in node.value:
        if fields is not None and key.value not in fields:
            found[key.value] = _styled(child)
            continue
        inner = _unknown(kind[2:].lstrip("*") if fields is None else fields[key.value].kind, child)
        if inner is not None:
            found[key.value] = inner
    return {key: found[key] for key in sorted(found)} or None


def _pairs(node: yaml.Node) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    return t.cast("list[tuple[yaml.ScalarNode, yaml.Node]]", node.value)


def _tag(node: yaml.Node) -> str:
    short: str = node.tag.replace(_TAG, "!!")
    if short == "!!bool" and isinstance(node, yaml.ScalarNode) and node.value.lower() not in ("true", "false"):
        return "!!str"  # YAML 1.2: yes and no are strings
    if short == "!!str" and isinstance(node, yaml.ScalarNode) and not node.style:
        return "!!float" if _FLOAT.match(node.value) else "!!int" if _OCTAL.match(node.value) else short
    return short


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and _tag(node) == "!!null"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _styled(node: yaml.Node) -> t.Any:
    """Anything, with its scalars as they were written."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: _styled(child) for key, child in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_styled(child) for child in node.value]
    text, style = str(node.value), t.cast(yaml.ScalarNode, node).style
    if style == "'":
        return goyaml.Raw("'" + text.replace("'", "''") + "'")
    if style == '"':
        return goyaml.double_quoted(text)
    return text if "\n" in text or not text else goyaml.Raw(text)


def _plain(node: yaml.Node) -> t.Any:
    """Anything, as plain data."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: _plain(child) for key, child in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child) for child in node.value]
    if _tag(node) in ("!!str", "!!timestamp"):
        return str(node.value)
    if isinstance(node, yaml.ScalarNode) and _FLOAT.match(node.value):
        return float(node.value)
    if isinstance(node, yaml.ScalarNode) and _OCTAL.match(node.value):
        return int(node.value, 0)
    return yaml.SafeLoader("").construct_object(node, deep=True)


# --- writing
def _ordered(type_: Struct, value: c.Mapping[str, t.Any]) -> dict[str, t.Any]:
    written: dict[str, t.Any] = {}
    for field in type_.fields.values():
        item = _written(field.kind, value.get(field.key))
        if item is None and not field.pointer:
            item = _zero(field.kind)
        empty = item is None if field.pointer else item in (None, "", 0, False, [], {}, _zero(field.kind))
        if not (field.omit_empty and empty):
            written[field.key] = item
    return written


def _written(kind: str, value: t.Any) -> t.Any:
    if value is None:
        return None
    if kind.startswith("[]"):
        return [_written(kind[2:].lstrip("*"), item) for item in value]
    if kind.startswith("{}") or kind == "args":
        inner = "string" if kind == "args" else kind[2:].lstrip("*")
        return {key: _written(inner, value[key]) if inner != "string" else value[key] for key in sorted(value)}
    if kind == "tree":
        return _sorted(value)
    if kind == "duration":
        return _go_duration(str(value))
    if kind == "mode":
        return goyaml.Raw(f"0o{value:o}") if isinstance(value, int) else value
    struct = _loaded()[0].get(kind)
    return _ordered(struct, value) if struct is not None else value


def _zero(kind: str) -> t.Any:
    if kind.startswith("[]"):
        return []
    if kind.startswith("{}") or kind in ("args", "tree"):
        return {}
    if kind in _loaded()[0]:
        return _ordered(_loaded()[0][kind], {})
    if kind == "mode":
        return goyaml.Raw("0o0")
    return 0 if kind in _INTEGERS else False if kind == "bool" else ""


def _sorted(value: t.Any) -> t.Any:
    if isinstance(value, c.Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _go_duration(text: str) -> str:
    """``90s`` as Go prints it: ``1m30s``."""
    units = {
        "h": 3600.0,
        "m": 60.0,
        "s": 1.0,
        "ms": 1e-3,
        "us": 1e-6,
        "µs": 1e-6,
        "μs": 1e-6,
        "ns": 1e-9,
    }
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", text)
    seconds = sum(float(number) * units[unit] for number, unit in parts)
    return go_duration(seconds)


def go_duration(seconds: float) -> str:
    """Seconds in the form of Go's ``time.Duration``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms" if seconds else "0s"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{text}"
    return f"{minutes:.0f}m{text}" if minutes else text


@functools.cache
def _loaded() -> tuple[dict[str, Struct], dict[str, str]]:
    structs: dict[str, Struct] = {}
    kinds: dict[str, str] = {}
    current = Struct("", {})
    text = pathlib.Path(__file__).with_name("config_types.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if words[0] == "document":
            kinds[words[1]] = words[2]
        elif line.startswith(" "):
            kind = words[1]
            bare = kind.rstrip("*~")
            field = Field(words[0], bare, "*" in kind[len(bare) :], kind.endswith("~"), " ".join(words[2:]))
            current.fields[field.key] = field
        else:
            current = structs[words[0]] = Struct(words[0], {}, words[0] in kinds.values())
    return structs, kinds
