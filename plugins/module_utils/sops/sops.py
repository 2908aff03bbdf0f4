# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of sops: opened, and written so that unchanged values keep their texts."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import pathlib
import typing as t

from .. import private_files
from ..errors import InvalidInput
from . import age, sops_comments, sops_ini, sops_metadata, sops_stores, sops_values, sops_yaml, sops_yaml_edits
from .sops_metadata import Metadata
from .sops_values import Comment, Damaged, Path, Place, Rules, Timestamp, Tree

FORMATS = ("yaml", "json", "dotenv", "ini", "binary")
_ENDINGS = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".env": "dotenv", ".ini": "ini"}
#: What a file holds. Of several YAML documents it is a list: its items are bound to the names above them only, as those of lists.
Content = t.Union[Tree, list[Tree]]
#: A whole file is the value of this key.
WHOLE = "data"


def format_of(path: pathlib.Path, given: str | None = None) -> str:
    """By the end of the file's name, as sops does: what it does not know is a whole."""
    return given or next((form for ending, form in _ENDINGS.items() if path.name.endswith(ending)), "binary")


@dataclasses.dataclass(frozen=True)
class File:
    """One that is there, opened: its text, its tree as it stands there and as it decrypts, and its data key."""

    form: str
    text: str
    metadata: Metadata
    sealed: Content = dataclasses.field(repr=False)
    tree: Content = dataclasses.field(repr=False)
    key: bytes = dataclasses.field(repr=False)

    @property
    def values(self) -> Content:
        """What its readers are after: without comments in lists, without merge keys, and with points in time as text."""
        visible = sops_values.visible(self.tree)
        found: Content = sops_values.replaced(
            visible, lambda _path, one: str(one) if isinstance(one, Timestamp) else one
        )
        return sops_yaml.with_merges(found) if self.form == "yaml" else found


def read(path: pathlib.Path, form: str, identities: t.Sequence[age.Identity]) -> File:
    """Raises InvalidInput, Damaged, :class:`age.NotForUs`; each names the file, none of them quotes a value."""
    text = private_files.read(path, "file of sops")
    found = _load(text, form, str(path))
    try:
        return _opened(path, text, form, found, identities)
    except InvalidInput as error:
        if str(path) in error.problem:
            raise
        raise InvalidInput(f"{path}: {error.problem}", hint=error.hint) from None
    except (Damaged, age.NotForUs) as error:
        error.of = str(path)
        raise


def _opened(path: pathlib.Path, text: str, form: str, found: list[Tree], identities: t.Sequence[age.Identity]) -> File:
    parts = [document.pop("sops", None) for document in found]
    if not parts or parts[0] is None:
        raise InvalidInput(
            f"{path} is not encrypted: it has no part sops",
            hint="Encrypt it with sops, or remove it and give its content to groundwork.homelab.sops_file.",
        )
    metadata, sealed = Metadata.of(parts[0]), content_of(found)
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


def documents(content: Content) -> list[Tree]:
    """Each of them; a file that has no more than one is that one."""
    return content if isinstance(content, list) else [content]


def content_of(trees: list[Tree]) -> Content:
    return trees[0] if len(trees) == 1 else trees


def single(file: File, path: pathlib.Path) -> Tree:
    """The values of a file that must not have several documents. Raises InvalidInput for one that has."""
    found = file.values
    if isinstance(found, list):
        raise InvalidInput(f"{path} holds {len(found)} documents, one was expected", hint="Split the file.")
    return found


def create(tree: Content, form: str, recipients: t.Sequence[str], rules: Rules, now: datetime.datetime) -> str:
    """The text of a new file. Rules are of names, so they are nothing for a whole, whose one value is always encrypted."""
    whole = form == "binary"
    metadata, key = sops_metadata.new(Rules() if whole else rules, whole=whole), sops_metadata.new_key()
    sealed = _sealed(tree, metadata.rules, key)
    raw = metadata.renewed(tree, key, recipients, now).raw
    return _emit(_with_metadata(sealed, raw), form)


def changed(
    file: File, tree: Content, recipients: t.Sequence[str], now: datetime.datetime, *, rotated: bool = False
) -> str:
    """The text with other values: what is unchanged keeps its text, and its place in YAML and dotenv. ``rotated``: with a new
    data key, which no entry of an old version opens."""
    tree = ordered(tree, file.tree)
    if file.form == "ini":
        tree = sops_ini.in_order(t.cast("Tree", tree))
    key = sops_metadata.new_key() if rotated else file.key
    sealed = _sealed(tree, file.metadata.rules, key, None if rotated else file)
    raw = file.metadata.renewed(tree, key, recipients, now, rotated=rotated).raw
    text = _edited(file, _with_metadata(sealed, raw))
    return sops_comments.rotated(text, file.tree, file.key, key) if rotated else text


def _edited(file: File, new: list[Tree]) -> str:
    if file.form != "yaml":
        return _emit(new, file.form, file.text)
    old, nodes = sops_yaml.load(file.text, "the file")
    return sops_yaml_edits.edited(file.text, nodes, old, new)


def _with_metadata(content: Content, raw: Tree) -> list[Tree]:
    """sops writes its part into each document, and reads that of the first."""
    return [{**document, "sops": raw} for document in documents(content)]


def ordered(tree: Content, like: Content) -> Content:
    """The same content, its names in the order of another one, new ones at the end: the MAC is over that order. Comments that
    are in a list of the other one stay there, as long as the list keeps its length."""
    trees, others = documents(tree), documents(like)
    nothing: Tree = {}
    pairs = itertools.zip_longest(trees, others[: len(trees)], fillvalue=nothing)
    return content_of([_ordered(one, other) for one, other in pairs])


def _ordered(tree: t.Any, like: t.Any) -> t.Any:
    if isinstance(tree, dict) and isinstance(like, dict):
        names = [name for name in like if name in tree] + [name for name in tree if name not in like]
        return {name: _ordered(tree[name], like.get(name)) for name in names}
    if isinstance(tree, list) and isinstance(like, list):
        tree = sops_values.visible(tree)
        comments = sum(isinstance(item, Comment) for item in like)
        if len(tree) == len(like) - comments:
            items = iter(tree)
            return [item if isinstance(item, Comment) else _ordered(next(items), item) for item in like]
    return tree


def _sealed(tree: Content, rules: Rules, key: bytes, file: File | None = None) -> Content:
    """With the texts of values that are there, of which each is used in one place: two that are alike would show it."""
    texts = iter(_kept(tree, file) if file else ())

    def sealed(path: Path, value: t.Any) -> t.Any:
        there = next(texts, None)
        if not rules.encrypted(path):
            return value
        return there if there is not None else sops_values.encrypt(value, key, sops_values.additional(path))

    found: Content = sops_values.replaced(tree, sealed)
    return found


def _kept(tree: Content, file: File) -> list[t.Any]:
    """For each value of a tree its text in the file, None for one that has none. What stands where it stood comes first,
    then what has moved within a list or to another document: a text is bound to the names above it only."""
    texts = [text for _place, text in sops_values.places(file.sealed)]
    values = zip(sops_values.places(file.tree), texts, strict=True)
    there = {place: (*_identity(place, value), text) for (place, value), text in values}
    wanted = list(sops_values.places(tree))
    found = [_same_there(there, place, value) for place, value in wanted]
    left: dict[tuple[t.Any, ...], list[t.Any]] = {}
    for *identity, text in there.values():
        left.setdefault(tuple(identity), []).append(text)
    for number, (place, value) in enumerate(wanted):
        rest = left.get(_identity(place, value))
        if found[number] is None and rest:
            found[number] = rest.pop(0)
    return found


def _same_there(there: dict[Place, tuple[t.Any, ...]], place: Place, value: t.Any) -> t.Any:
    if place not in there or there[place][:-1] != _identity(place, value):
        return None
    return there.pop(place)[-1]


def _identity(place: Place, value: t.Any) -> tuple[t.Any, ...]:
    names = tuple(name for name in place if isinstance(name, str))
    return names, sops_values.kind(value), sops_values.plain_bytes(value)


def _load(text: str, form: str, where: str) -> list[Tree]:
    return sops_yaml.load(text, where)[0] if form == "yaml" else [_LOAD[form](text, where)]


def _emit(trees: list[Tree], form: str, like: str = "") -> str:
    return sops_yaml.emit_all(trees) if form == "yaml" else _EMIT[form](trees[0], like)


_LOAD: dict[str, t.Callable[[str, str], Tree]] = {
    "json": sops_stores.load_json, "dotenv": sops_stores.load_dotenv, "ini": sops_ini.load, "binary": sops_stores.load_json,
}  # fmt: skip
_EMIT: dict[str, t.Callable[[Tree, str], str]] = {
    "json": sops_stores.emit_json, "dotenv": sops_stores.emit_dotenv, "ini": sops_ini.emit, "binary": sops_stores.emit_json,
}  # fmt: skip


def plain_bytes(file: File, form: str) -> bytes:
    """The values in the clear, in the same format."""
    trees = documents(sops_values.visible(file.tree))
    if form != "binary":
        return _emit(trees, form).encode()
    tree = trees[0]
    if not isinstance(tree.get(WHOLE), str):
        raise InvalidInput(f"The file holds no {WHOLE}, so it is no whole file that sops encrypted")
    return sops_values.plain_bytes(tree[WHOLE])
