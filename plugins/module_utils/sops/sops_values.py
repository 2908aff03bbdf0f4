# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values in files of sops: which are encrypted, how, and the MAC over all of them.

A tree is what JSON has (mappings with names as keys, lists, text, whole numbers, floats, booleans, null) and
:class:`Timestamp`. An encrypted tree has ``ENC[AES256_GCM,…]`` in place of values. Null, and empty texts, lists and
mappings stay as they are.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import decimal
import hashlib
import math
import os
import re
import typing as t

from ..errors import Absent, HomelabError, InvalidInput
from . import sops_regex

try:
    from cryptography import exceptions
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as missing:
    exceptions = AESGCM = t.cast("t.Any", Absent("cryptography", missing))

Tree = dict[str, t.Any]
Path = tuple[str, ...]
Place = tuple[t.Union[str, int], ...]

_FORM = re.compile(r"ENC\[AES256_GCM,data:(.+),iv:(.+),tag:(.+),type:(.+)\]")
_ONLY_ENCRYPTED = hashlib.sha256(b"sops").digest()
_TAG, _IV = 16, 32
#: What is no text in a whole file that was encrypted is kept so in Python's text.
_BYTES = "surrogateescape"


class Timestamp(str):
    """A point in time as sops writes it: RFC 3339. YAML alone has these."""

    __slots__ = ()


class Comment(str):
    """A comment between the items of a list, which sops keeps as one of them; not a value."""

    __slots__ = ()


class Damaged(HomelabError):
    """A file of sops was changed by something else than sops, or is not whole."""

    def __init__(self, problem: str) -> None:
        hint = "Restore the file from a backup or from the repository's history."
        super().__init__("read a file of sops", answer=problem, hint=hint)


@dataclasses.dataclass(frozen=True)
class Rules:
    """Which values are encrypted, by the names above them; at most one of the first four is given."""

    unencrypted_suffix: str = ""
    encrypted_suffix: str = ""
    unencrypted_regex: str = ""
    encrypted_regex: str = ""
    mac_only_encrypted: bool = False

    def __post_init__(self) -> None:
        given = [name for name in RULES if getattr(self, name)]
        if len(given) > 1:
            raise InvalidInput(f"{' and '.join(given)} cannot be used together", hint="Give one of them.")
        for name in ("unencrypted_regex", "encrypted_regex"):
            sops_regex.compiled(getattr(self, name), name)

    @property
    def select(self) -> bool:
        """Whether they say what is encrypted."""
        return any(getattr(self, name) for name in RULES)

    def encrypted(self, path: Path) -> bool:
        if self.encrypted_suffix:
            return any(name.endswith(self.encrypted_suffix) for name in path)
        if self.unencrypted_suffix:
            return not any(name.endswith(self.unencrypted_suffix) for name in path)
        if self.encrypted_regex:
            return any(map(sops_regex.compiled(self.encrypted_regex, "encrypted_regex").search, path))
        if self.unencrypted_regex:
            return not any(map(sops_regex.compiled(self.unencrypted_regex, "unencrypted_regex").search, path))
        return True


RULES = ("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex")


def leaves(tree: t.Any, path: Path = ()) -> t.Iterator[tuple[Path, t.Any]]:
    """Each value with the names above it, in order. A list's items have the path of the list. Null is no value."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from leaves(value, (*path, name))
    elif isinstance(tree, list):
        for value in tree:
            yield from leaves(value, path)
    elif tree is not None:
        yield path, tree


def places(tree: t.Any, place: Place = ()) -> t.Iterator[tuple[Place, t.Any]]:
    """As :func:`leaves`, with the numbers of items and documents among the names."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from places(value, (*place, name))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from places(value, (*place, number))
    elif tree is not None:
        yield place, tree


def replaced(tree: t.Any, by: t.Callable[[Path, t.Any], t.Any], path: Path = ()) -> t.Any:
    """The same tree with other values."""
    if isinstance(tree, dict):
        return {name: replaced(value, by, (*path, name)) for name, value in tree.items()}
    if isinstance(tree, list):
        return [replaced(value, by, path) for value in tree]
    return tree if tree is None else by(path, tree)


def visible(tree: t.Any) -> t.Any:
    """The values only: without comments in lists."""
    if isinstance(tree, dict):
        return {name: visible(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [visible(value) for value in tree if not isinstance(value, Comment)]
    return tree


def same(one: t.Any, other: t.Any) -> bool:
    """Whether two trees are equal; ``1``, ``1.0`` and ``True`` are not. The order of names does not count."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return kind(one) == kind(other) and (one == other or _both_nan(one, other))


def _both_nan(one: t.Any, other: t.Any) -> bool:
    """Not a number is not even itself."""
    return isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)


def kind(value: t.Any) -> str:
    """sops' name of a value's type."""
    for name, of in _KINDS:
        if isinstance(value, of):
            return name
    return type(value).__name__


_KINDS: tuple[tuple[str, type], ...] = (
    ("bool", bool), ("int", int), ("float", float), ("time", Timestamp), ("comment", Comment), ("str", str),
)  # fmt: skip


def plain_bytes(value: t.Any) -> bytes:
    """As sops has a value before it encrypts it, and in the MAC."""
    if isinstance(value, bool):
        return b"True" if value else b"False"
    if isinstance(value, float):
        return go_float(value).encode()
    return str(value).encode("utf-8", _BYTES)


def go_float(value: float) -> str:
    """Go's ``FormatFloat(value, 'f', -1, 64)``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = format(decimal.Decimal(repr(value)), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "-0" if text in {"0", "-0"} and math.copysign(1, value) < 0 else text


def mac(tree: Tree | list[Tree], rules: Rules) -> str:
    """Over the values of a tree that is not encrypted."""
    digest = hashlib.sha512(_ONLY_ENCRYPTED if rules.mac_only_encrypted else b"")
    for path, value in leaves(tree):
        if not isinstance(value, Comment) and (not rules.mac_only_encrypted or rules.encrypted(path)):
            digest.update(plain_bytes(value))
    return digest.hexdigest().upper()


def encrypt(value: t.Any, key: bytes, more: str) -> str:
    """``ENC[…]``, bound to ``more``."""
    data, iv = plain_bytes(value), os.urandom(_IV)
    if not data:
        return ""
    sealed = AESGCM(key).encrypt(iv, data, more.encode())
    parts = [base64.b64encode(part).decode() for part in (sealed[:-_TAG], iv, sealed[-_TAG:])]
    return f"ENC[AES256_GCM,data:{parts[0]},iv:{parts[1]},tag:{parts[2]},type:{kind(value)}]"


def decrypt(text: t.Any, key: bytes, more: str) -> t.Any:
    """The value. Raises Damaged, which names the place only."""
    place = more.rstrip(":") or "a value"
    if text == "":
        return ""
    found = _FORM.match(text) if isinstance(text, str) else None
    if not found:
        raise Damaged(f"{place} should be encrypted and is not")
    try:
        data, iv, tag = (base64.b64decode(part, validate=True) for part in found.groups()[:3])
        plain = AESGCM(key).decrypt(iv, data + tag, more.encode())
        return _READ[found[4]](plain.decode("utf-8", _BYTES if found[4] in ("str", "bytes") else "strict"))
    except (binascii.Error, ValueError, KeyError, exceptions.InvalidTag):
        raise Damaged(f"{place} does not decrypt: it was changed, moved, or its type is unknown") from None


def _bool(text: str) -> bool:
    return {"True": True, "False": False, "true": True, "false": False}[text]


_READ: dict[str, t.Callable[[str], t.Any]] = {
    "str": str, "int": int, "float": float, "bool": _bool, "time": Timestamp, "comment": Comment, "bytes": str,
}  # fmt: skip


def additional(path: Path) -> str:
    """What a value is bound to: the names above it."""
    return ":".join(path) + ":"


def check(tree: t.Any, where: str, path: Path = ()) -> None:
    """Raises InvalidInput for what sops could not keep, and quotes no value."""
    place = ".".join(path) or where
    if isinstance(tree, dict):
        for name, value in tree.items():
            if not isinstance(name, str):
                raise InvalidInput(
                    f"{place} has a key that is {type(name).__name__}, not text", hint="Write it in quotes."
                )
            check(value, where, (*path, name))
    elif isinstance(tree, list):
        for value in tree:
            check(value, where, path)
    elif isinstance(tree, int) and not -(2**63) <= tree < 2**63:
        raise InvalidInput(f"{place} is a number of more than 64 bits", hint="Write it in quotes.")
    elif tree is not None and not isinstance(tree, (str, int, float)):
        raise InvalidInput(f"{place} is {type(tree).__name__}, which sops cannot keep")
    elif not is_text(tree):
        raise InvalidInput(f"{place} is not text in Unicode")


def is_text(value: t.Any) -> bool:
    """False for bytes that are no text, which Python's text can hold as surrogates."""
    return not isinstance(value, str) or not any("\ud800" <= sign <= "\udfff" for sign in value)
