# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits in place of a YAML text: lines that hold nothing that differs stay as they are, comments too.

An alias stays as long as it stands for what is wanted there. As soon as what an anchor names changes alone, all aliases of the
text are written out, as sops does it whenever it writes.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import InvalidInput
from . import sops_yaml
from .sops_values import Tree, same


class _Whole(Exception):
    """What changes cannot be changed alone: the entry around it is written anew."""


class Edit(t.NamedTuple):
    start: int
    end: int
    text: str


def edited(text: str, nodes: list[t.Any], old: list[Tree], new: list[Tree]) -> str:
    """The text with the documents of ``new``. Raises nothing that :func:`sops_yaml.load` did not raise for the text."""
    text = text if text.endswith("\n") else text + "\n"
    found = _applied(text, _Edits(text).documents(nodes, old, new))
    if any(map(_repeats, nodes)) and not _reads_as(found, new):
        return _applied(text, _Edits(text, written_out=True).documents(nodes, old, new))
    return found


def _applied(text: str, edits: list[Edit]) -> str:
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _reads_as(text: str, wanted: list[Tree]) -> bool:
    try:
        return same(sops_yaml.load(text, "the file")[0], wanted)
    except InvalidInput:  # an alias whose anchor is gone
        return False


def _repeats(node: t.Any) -> bool:
    """Whether there is an alias in it."""
    if node.id == "mapping":
        return any(_repeats(one) for pair in node.value for one in pair)
    return node.id == "alias" or (node.id == "sequence" and any(map(_repeats, node.value)))


@dataclasses.dataclass(frozen=True)
class _Edits:
    """What is to be done to a text; ``written_out``: aliases count as something that differs."""

    text: str
    written_out: bool = False

    def documents(self, nodes: list[t.Any], old: list[Tree], new: list[Tree]) -> list[Edit]:
        """Those that are gone are the last ones, as are those that are new."""
        end = len(self.text)
        edits = [edit for node, *sides in zip(nodes, old, new, strict=False) for edit in self._document(node, *sides)]
        if len(old) > len(new):
            edits.append(Edit(nodes[len(new)].begins, end, ""))
        added = "".join(f"{sops_yaml.SEPARATOR}{sops_yaml.emit(one)}" for one in new[len(old) :])
        return [*edits, Edit(end, end, added)] if added else edits

    def _document(self, node: t.Any, old: Tree, new: Tree) -> list[Edit]:
        if node.id == "mapping" and node.value and not node.flow_style:
            return self._mapping(node, old, new, removable=True)
        start, end = node.start_mark.index, node.end_mark.index
        if self.text[start:end].strip() == "" and not new:
            return []
        line = "\n" if self.text[_line_start(self.text, start) : start].strip() else ""
        rest = self.text.find("\n", end)
        end = rest + 1 if not self.text[end:rest].strip() else end
        return [Edit(start, end, line + sops_yaml.emit(new))]

    def _mapping(self, node: t.Any, old: Tree, new: Tree, *, removable: bool) -> list[Edit]:
        if not removable and old.keys() != new.keys():
            raise _Whole
        edits: list[Edit] = []
        column, place = self._column(node), 0
        before_sops = None
        for key, value in node.value:
            name = t.cast("str", sops_yaml.name_of(key))
            start, place = _line_start(self.text, key.start_mark.index), self._end(value, key)
            if name == "sops" and column == 0:
                before_sops = start
            if name not in new:
                edits.append(Edit(start, place, ""))
            elif self._differ(value, old[name], new[name]):
                whole = Edit(start, place, sops_yaml.entry(name, new[name], column))
                edits += self._changed(key, value, (old[name], new[name]), whole, removable)
        added = "".join(sops_yaml.entry(name, value, column) for name, value in new.items() if name not in old)
        place = place if before_sops is None else before_sops
        return [*edits, Edit(place, place, added)] if added else edits

    def _column(self, node: t.Any) -> int:
        """Where the keys of a mapping stand; an anchor before it is where the mapping begins."""
        anchored = self.text[node.start_mark.index] == "&"
        found: int = (node.value[0][0] if anchored else node).start_mark.column
        return found

    def _differ(self, node: t.Any, old: t.Any, new: t.Any) -> bool:
        return not same(old, new) or (self.written_out and _repeats(node))

    def _changed(
        self, key: t.Any, value: t.Any, sides: tuple[t.Any, t.Any], whole: Edit, removable: bool
    ) -> list[Edit]:
        try:
            return self._inside(value, *sides, removable=True)
        except _Whole:
            if not removable and self.text[whole.start : key.start_mark.index].strip():
                raise  # the entry shares its line with the dash of a list
            return [whole]

    def _inside(self, node: t.Any, old: t.Any, new: t.Any, *, removable: bool) -> list[Edit]:
        """The edits within a value. Raises _Whole."""
        if node.id in {"scalar", "alias"}:
            simple = node.style != "|" and node.style != ">" and not isinstance(new, (dict, list))
            start, end = node.start_mark.index, node.end_mark.index
            if not simple or start == end or "\n" in self.text[start:end] or (isinstance(new, str) and "\n" in new):
                raise _Whole
            return [Edit(start, end, sops_yaml.scalar(new))]
        if node.flow_style or not old or not new or type(old) is not type(new):
            raise _Whole
        if isinstance(old, dict):
            return self._mapping(node, old, new, removable=removable)
        if len(old) != len(new):
            raise _Whole
        edits: list[Edit] = []
        for item, one, other in zip(node.value, old, new, strict=True):
            if self._differ(item, one, other):
                edits += self._inside(item, one, other, removable=False)
        return edits

    def _end(self, node: t.Any, key: t.Any) -> int:
        """Where the lines of an entry end: after its last value, and the comment on that line."""
        last = node
        while last.id != "scalar" and last.value and not last.flow_style:
            last = last.value[-1] if last.id == "sequence" else last.value[-1][1]
        index = max(last.end_mark.index, key.end_mark.index)
        if last.id == "scalar" and last.style in ("|", ">"):
            return _line_start(self.text, index)
        return self.text.find("\n", index) + 1


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1
