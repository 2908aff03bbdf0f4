# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a kubeconfig as one: which cluster, as which user, in which namespace."""

from __future__ import annotations

import base64
import binascii
import os
import typing as t

Object = dict[str, t.Any]


class Unfit(Exception):
    """What is wrong with a kubeconfig, in words that quote nothing secret of it."""


class Part(t.NamedTuple):
    """A cluster, user or context, and the folder that its paths are relative to."""

    what: str
    content: Object
    folder: str

    def text(self, field: str) -> str:
        """The value, or nothing. Raises :class:`Unfit` if it is no text."""
        value = self.content.get(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Unfit(f"its {self.what}'s {field} is not text")
        return value

    def flag(self, field: str) -> bool:
        value = self.content.get(field)
        if value is not None and not isinstance(value, bool):
            raise Unfit(f"its {self.what}'s {field} is neither true nor false")
        return bool(value)

    def file(self, field: str) -> str:
        """The path of a file that is named, or nothing."""
        path = self.text(field)
        return os.path.join(self.folder, os.path.expanduser(path)) if path else ""

    def pem(self, field: str) -> bytes:
        """What ``<field>-data`` holds, or else the file that ``<field>`` names; nothing if there is neither."""
        data = self.text(f"{field}-data")
        try:
            return base64.b64decode(data, validate=False) if data else self.read(field)
        except (binascii.Error, ValueError):
            raise Unfit(f"its {self.what}'s {field}-data cannot be read: it is not base64") from None

    def read(self, field: str) -> bytes:
        """The content of the file that is named; nothing if none is."""
        path = self.file(field)
        if not path:
            return b""
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise Unfit(f"its {self.what}'s {field} {path} cannot be read: {error.strerror}") from None


class Chosen(t.NamedTuple):
    cluster: Part
    user: Part
    namespace: str


def choose(paths: t.Sequence[str], context: str | None) -> Chosen:
    """The context of this name, or the current one. Of several files, the first that has something counts, as for kubectl."""
    files = [(path, content) for path in paths if (content := _loaded(path)) is not None]
    if not files:
        raise Unfit("it is empty")
    named = [content["current-context"] for _path, content in files if content.get("current-context")]
    wanted = context or (named[0] if named else "")
    if not wanted:
        raise Unfit("it has no current-context")
    chosen = _named(files, "context", wanted)
    user = chosen.text("user")
    return Chosen(
        _named(files, "cluster", chosen.text("cluster")),
        _named(files, "user", user) if user else Part("user", {}, ""),
        chosen.text("namespace") or "default",
    )


def _loaded(path: str) -> Object | None:
    """What a file holds; nothing if it is empty."""
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            found = yaml.safe_load(file)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Unfit("it is not valid YAML" + (f" in line {mark.line + 1}" if mark else "")) from None
    except UnicodeDecodeError:
        raise Unfit("it is not text in UTF-8") from None
    except OSError as error:
        raise Unfit(f"it cannot be read: {error.strerror}") from None
    if found is not None and not isinstance(found, dict):
        raise Unfit("it is not a mapping with clusters, contexts and users")
    return found


def _named(files: t.Sequence[tuple[str, Object]], what: str, name: str) -> Part:
    known: list[str] = []
    for path, content in files:
        entries = content.get(f"{what}s") or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise Unfit(f"its {what}s are not a list of mappings")
        for entry in entries:
            if entry.get("name") == name:
                found = entry.get(what) or {}
                if not isinstance(found, dict):
                    raise Unfit(f"its {what} {name} is not a mapping")
                return Part(what, found, os.path.dirname(os.path.abspath(path)))
            known.append(str(entry.get("name")))
    others = f", only {', '.join(dict.fromkeys(known))}" if known else ""
    raise Unfit(f"it has no {what} {name}{others}")
