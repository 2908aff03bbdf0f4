# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine configs and the talosconfig as files, for people who ask for them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import pathlib
import typing as t

from .. import private_files
from ..errors import InvalidInput
from ..plan import HIDDEN, Change, Plan, carry_out
from ..task import Task
from . import compare, contexts, credentials, documents, pki, secrets_bundle, talosconfig
from .desired import Wanted


@dataclasses.dataclass(frozen=True)
class File:
    """A file to be written: its new text, and how to compare it with the old one."""

    path: pathlib.Path
    text: str
    config: t.Sequence[documents.Document] | None = None
    context: talosconfig.Context | None = None
    renew_before: dt.timedelta = talosconfig.RENEW_BEFORE


def wanted_files(task: Task, wanted: Wanted) -> list[File]:
    """One file a node in ``dest``, and the talosconfig."""
    found: list[File] = []
    if task.params.get("dest"):
        folder = pathlib.Path(task.params["dest"]).expanduser().absolute()
        if folder.exists() and not folder.is_dir():
            raise InvalidInput(f"dest is {folder}, which is no directory")
        for one in wanted.configs:
            text = documents.render(one.documents)
            found.append(File(folder / f"{one.node.name}.yaml", text, config=one.documents))
    if task.params.get("talosconfig_dest"):
        endpoints = [one.node.address for one in wanted.configs if one.node.type == "controlplane"]
        context = administrator(wanted.bundle, wanted.cluster.name, endpoints)
        path = pathlib.Path(task.params["talosconfig_dest"]).expanduser().absolute()
        found.append(File(path, talosconfig.render(context), context=context))
    return found


def plan(found: t.Sequence[File], discretion: compare.Discretion) -> Plan:
    """Files that are missing, differ, or can be read by others."""
    changes = (_change(file, discretion) for file in found)
    return Plan.of(change for change in changes if change)


def write(planned: Plan) -> None:
    carry_out(planned, lambda change: private_files.replace(change.operation.path, change.operation.text))


def _change(file: File, discretion: compare.Discretion) -> Change | None:
    text = private_files.current(file.path, "talosconfig" if file.context is not None else "machine config")
    if text is None:
        content = compare.shown(file.config, discretion) if file.config is not None else HIDDEN
        return Change(_resource(file), "create", after={"mode": "0600", "content": content}, operation=file)
    before, after, note = _difference(file, text, discretion)
    if not before and not after:  # what stands in it stays, whatever becomes of its mode
        file = dataclasses.replace(file, text=text)
    mode = private_files.mode_of(file.path)
    if mode != "0600":
        before, after = {"mode": mode, **before}, {"mode": "0600", **after}
    if not before and not after:
        return None
    return Change(_resource(file), "update", before=before, after=after, note=note, operation=file)


def _difference(
    file: File, text: str, discretion: compare.Discretion
) -> tuple[dict[str, t.Any], dict[str, t.Any], str]:
    if file.context is not None:
        reason = _stale_context(text, file)
        if reason:
            contexts.refuse_several(file.path, text, "talosconfig", "talosconfig_dest")
        return ({"content": HIDDEN}, {"content": HIDDEN}, reason) if reason else ({}, {}, "")
    try:
        current = documents.parse(text)
    except ValueError:
        return {"content": HIDDEN}, {"content": HIDDEN}, "the file was no machine config"
    before, after = compare.difference(current, file.config or [], discretion)
    return before, after, ""


def _stale_context(text: str, file: File) -> str:
    if file.context is None:
        return ""
    try:
        there = talosconfig.parse(text, str(file.path))
        return talosconfig.staleness(there, file.context, renew_before=file.renew_before)
    except (InvalidInput, ValueError):
        return "the file was no talosconfig"


def administrator(bundle: secrets_bundle.Bundle, name: str, endpoints: t.Sequence[str]) -> talosconfig.Context:
    """A context with a new certificate."""
    authority = bundle.authority("os")
    client = pki.client_certificate(authority, [credentials.ADMIN_ROLE], lifetime=talosconfig.LIFETIME)
    return talosconfig.Context(name, tuple(endpoints), authority.crt, client)


def _resource(file: File) -> str:
    return f"talosconfig/{file.path}" if file.context is not None else f"talos-config-file/{file.path}"
