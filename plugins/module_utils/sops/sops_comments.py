# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted comments, which are no values: edits leave them as they are, but a new data key has to take them along."""

from __future__ import annotations

import re
import typing as t

from . import sops_values
from .sops_values import Comment, Damaged, Path

_COMMENT = re.compile(r"ENC\[AES256_GCM,data:[^\],]+,iv:[^\],]+,tag:[^\],]+,type:comment\]")


def rotated(text: str, tree: t.Any, old: bytes, new: bytes) -> str:
    """The text with its comments encrypted anew. One that opens nowhere, as it was moved by hand, is left alone."""
    places = [sops_values.additional(path) for path in dict.fromkeys(_mappings(tree))]

    def anew(found: re.Match[str]) -> str:
        for place in places:
            try:
                return sops_values.encrypt(Comment(sops_values.decrypt(found[0], old, place)), new, place)
            except Damaged:
                continue
        return found[0]

    return _COMMENT.sub(anew, text)


def _mappings(tree: t.Any, path: Path = ()) -> t.Iterator[Path]:
    """The names above each mapping and list: a comment is bound to those of what it stands in."""
    inner = tree.items() if isinstance(tree, dict) else ()
    if isinstance(tree, (dict, list)):
        yield path
    for name, value in inner:
        yield (*path, name)
        yield from _mappings(value, (*path, name))
    for item in tree if isinstance(tree, list) else ():
        yield from _mappings(item, path)
