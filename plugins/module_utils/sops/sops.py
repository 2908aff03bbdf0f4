# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of sops: opened, and written so that unchanged values keep their texts."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import typing as t

from .. import private_files
from ..errors import InvalidInput
from . import age, sops_ini, sops_metadata, sops_stores, sops_values, sops_yaml
from .sops_metadata import Metadata
from .sops_values import Comment, Damaged, Path, Rules, Tree

FORMATS = ("yaml", "json", "dotenv", "ini", "binary")
_ENDINGS = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".env": "dotenv", ".ini": "ini"}
#: A whole file is the value of this key.
WHOLE = "data"


def format_of(path: pathlib.Path, given: str | None = None) -> str:
    """By the file's ending, as sops does: what it does not know is a whole."""
    ending = ".env" if path.name.startswith(".env") else path.suffix
    return given or _ENDINGS.get(ending, "binary")


@dataclasses.dataclass(frozen=True)
class File:
    """One that is there, opened: its text, its tree as it stands there and as it decrypts, and its data key."""

    form: str
    text: str
    metadata: Metadata
    sealed: Tree = dataclasses.field(repr=False)
    tree: Tree = dataclasses.field(repr=False)
    key: bytes = dataclasses.field(repr=False)


def read(path: pathlib.Path, form: str, identities: t.Sequence[age.Identity]) -> File:
    """Raises InvalidInput, Damaged, :class:`age.NotForUs`; none of them quotes a value."""
    text = private_files.read(path, "file of sops")
    sealed = _load(text, form, str(path))
    if "sops" not in sealed:
        raise InvalidInput(
            f"{path} is not encrypted: it has no part sops",
            hint="Encrypt it with sops, or remove it and give its content to groundwork.homelab.sops_file.",
        )
    metadata = Metadata.of(sealed.pop("sops"))
    key = metadata.data_key(identities)
    rules = metadata.rules

    def opened(place: Path, value: t.Any) -> t.Any:
        if not rules.encrypted(place):
            return value
        return sops_values.decrypt(value, key, sops_values.additional(place))

    tree = sops_values.replaced(sealed, opened)
    metadata.check_mac(tree, key)
    if form != "binary" and any(not sops_values.is_text(value) for _place, value in sops_values.leaves(tree)):
        raise Damaged("a value of it is no text in Unicode")
    return File(form, text, metadata, sealed, tree, key)


def create(tree: Tree, form: str, recipients: t.Sequence[str], rules: Rules, now: datetime.datetime) -> str:
    """The text of a new file."""
    metadata, key = sops_metadata.new(rules, whole=form == "binary"), sops_metadata.new_key()
    sealed = _sealed(tree, metadata.rules, key, {})
    raw = metadata.renewed(tree, key, recipients, now).raw
    return _emit({**sealed, "sops": raw}, form)


def changed(file: File, tree: Tree, recipients: t.Sequence[str], now: datetime.datetime) -> str:
    """The text with other values: what is unchanged keeps its text, and its place in YAML and dotenv."""
    tree = ordered(tree, file.tree)
    if file.form == "ini":
        tree = sops_ini.in_order(tree)
    sealed = _sealed(tree, file.metadata.rules, file.key, _texts(file))
    raw = file.metadata.renewed(tree, file.key, recipients, now).raw
    new = {**sealed, "sops": raw}
    if file.form != "yaml":
        return _emit(new, file.form, file.text)
    old, node = sops_yaml.load(file.text, "the file")
    return sops_yaml.edited(file.text, node, old, new)


def ordered(tree: t.Any, like: t.Any) -> t.Any:
    """The same tree, its names in the order of another one, new ones at the end: the MAC is over that order. Comments that
    are in a list of the other one stay there, as long as the list keeps its length."""
    if isinstance(tree, dict) and isinstance(like, dict):
        names = [name for name in like if name in tree] + [name for name in tree if name not in like]
        return {name: ordered(tree[name], like.get(name)) for name in names}
    if isinstance(tree, list) and isinstance(like, list):
        tree = sops_values.visible(tree)
        comments = sum(isinstance(item, Comment) for item in like)
        if len(tree) == len(like) - comments:
            items = iter(tree)
            return [item if isinstance(item, Comment) else ordered(next(items), item) for item in like]
    return tree


Known = dict[tuple[Path, str, bytes], str]


def _texts(file: File) -> Known:
    """Which text each value has, by where it is."""
    texts = sops_values.leaves(file.sealed)
    plain = sops_values.leaves(file.tree)
    return {
        (path, sops_values.kind(value), sops_values.plain_bytes(value)): text
        for (path, value), (_path, text) in zip(plain, texts, strict=True)
    }


def _sealed(tree: Tree, rules: Rules, key: bytes, known: Known) -> Tree:
    def sealed(path: Path, value: t.Any) -> t.Any:
        if not rules.encrypted(path):
            return value
        there = known.get((path, sops_values.kind(value), sops_values.plain_bytes(value)))
        return there if there is not None else sops_values.encrypt(value, key, sops_values.additional(path))

    found: Tree = sops_values.replaced(tree, sealed)
    return found


def _load(text: str, form: str, where: str) -> Tree:
    return sops_yaml.load(text, where)[0] if form == "yaml" else _LOAD[form](text, where)


def _emit(tree: Tree, form: str, like: str = "") -> str:
    return sops_yaml.emit(tree) if form == "yaml" else _EMIT[form](tree, like)


_LOAD: dict[str, t.Callable[[str, str], Tree]] = {
    "json": sops_stores.load_json, "dotenv": sops_stores.load_dotenv, "ini": sops_ini.load, "binary": sops_stores.load_json,
}  # fmt: skip
_EMIT: dict[str, t.Callable[[Tree, str], str]] = {
    "json": sops_stores.emit_json, "dotenv": sops_stores.emit_dotenv, "ini": sops_ini.emit, "binary": sops_stores.emit_json,
}  # fmt: skip


def plain_bytes(file: File, form: str) -> bytes:
    """The values in the clear, in the same format."""
    tree = sops_values.visible(file.tree)
    if form != "binary":
        return _emit(tree, form).encode()
    if not isinstance(tree.get(WHOLE), str):
        raise InvalidInput(f"The file holds no {WHOLE}, so it is no whole file that sops encrypted")
    return sops_values.plain_bytes(tree[WHOLE])
