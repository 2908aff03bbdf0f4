# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions of storages: what the user wants of them, checked against their types, and made so."""

from __future__ import annotations

import base64
import json
import typing as t

from ...errors import InvalidInput
from ...task import Result, Task
from ..api.connection import Connection
from ..api.session import Session, listing
from .records import Current, Operation, Records, Wish
from .storage_types import ANY, FIELDS, NAME, TYPES, StorageType, option_of


def converge(task: Task) -> Result:
    """The module ``proxmox_storage``."""
    wishes = wanted(task.params["storages"], renew=task.params.get("update_secrets") == "always")
    connection = Connection.of(task.params)
    task.secret(connection.password, connection.token_secret)
    with Session(connection, progress=task.progress) as session:
        records = Storages(session, wishes, check=check_nodes)
        plan = records.look_and_plan().plan
        for change in plan:
            _warn_of_key(task, change.operation)
        before = records.current.get("/storage", {})
        if not task.check_mode:
            plan = records.carry_out()
        report = _report(wishes, before, {change.resource for change in plan})
        return task.result(plan, storages=report)


class Storages(Records):
    def refuse(self, current: t.Mapping[str, Current]) -> None:
        """A storage cannot become one of another type, and a master key is for another key."""
        for wish in self.wishes:
            found = current["/storage"].get(wish.name, {}).get("type", "")
            if wish.present and found and found != wish.kind.given["type"]:
                raise InvalidInput(
                    f"storage {wish.name} is of the type {found} and cannot become {wish.kind.given['type']}",
                    hint="Choose another name; or make it absent first, if nothing uses it.",
                )
            if not found and wish.values.get("master-pubkey") and not wish.values.get("encryption-key"):
                raise InvalidInput(
                    f"storage {wish.name} does not exist, and to create it with master_pubkey, encryption_key must be given"
                )


def _warn_of_key(task: Task, operation: Operation) -> None:
    if operation.verb == "delete" and operation.seen.get("encryption-key"):
        task.warn(
            f"storage {operation.name}: its encryption key is deleted from the nodes with it; who has no copy of it cannot "
            "read its backups"
        )


def wanted(storages: t.Sequence[t.Mapping[str, t.Any]], *, renew: bool = False) -> list[Wish]:
    """Raises :class:`InvalidInput` for what no server would take."""
    return [_wish(entry, renew) for entry in storages]


def check_nodes(session: Session, operations: t.Sequence[Operation]) -> None:
    """The server takes nodes that do not exist."""
    named = {node: one.name for one in operations for node in str(one.send.get("nodes", "")).split(",") if node}
    if not named:
        return
    there = {str(entry["node"]) for entry in listing(session, "/nodes", "node", asked="list the nodes")}
    for node, storage in sorted(named.items()):
        if node not in there:
            raise InvalidInput(
                f"storage {storage} is to be on node {node!r}, which does not exist",
                hint=f"There are: {', '.join(sorted(there))}.",
            )


def _wish(entry: t.Mapping[str, t.Any], renew: bool) -> Wish:
    name = str(entry["name"])
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is no name of a storage",
            hint="Write two or more letters, digits, '-', '_' or '.'; a letter first, a letter or digit last.",
        )
    if entry.get("state") == "absent":
        return Wish(ANY, name, present=False)
    if not entry.get("type"):
        raise InvalidInput(f"storage {name} has no type", hint=f"Choose one of: {', '.join(sorted(TYPES))}.")
    kind = TYPES[entry["type"]]
    values = {
        field: _value(field, entry[option_of(field)]) for field in FIELDS if entry.get(option_of(field)) is not None
    }
    _check_options(name, kind, values)
    _check_values(name, kind, values)
    return Wish(kind.kind, name, values=values, required=kind.required, renew=renew)


def _value(field: str, given: t.Any) -> t.Any:
    """Dictionaries in the API's spelling: ``keep_last: 3`` is ``keep-last=3``; 0 is as good as nothing."""
    if not isinstance(given, dict):
        return given
    found = {key.replace("_", "-"): value for key, value in given.items() if value is not None}
    if field == "prune-backups":
        return {key: int(value) for key, value in found.items() if int(value)}
    return found


def _check_options(name: str, kind: StorageType, values: t.Mapping[str, t.Any]) -> None:
    known = {field.name for field in kind.kind.fields}
    strange = sorted(option_of(field) for field in values if field not in known)
    if strange:
        raise InvalidInput(
            f"storage {name}: the type {kind.name} has no {' and no '.join(strange)}",
            hint=f"It has: {', '.join(sorted(map(option_of, known)))}.",
        )
    for field in kind.kind.fields:
        if field.secret and values.get(field.name) == "":
            raise InvalidInput(
                f"storage {name}: {option_of(field.name)} is empty", hint="Leave it out to keep what is there."
            )
    for required in kind.required:
        if values.get(required) == "":
            raise InvalidInput(f"storage {name}: {option_of(required)} is empty")


def _check_values(name: str, kind: StorageType, values: t.Mapping[str, t.Any]) -> None:
    for option in ("path", "export", "subdir", "mountpoint"):
        if values.get(option) and not str(values[option]).startswith("/"):
            raise InvalidInput(f"storage {name}: {option} {values[option]!r} is no absolute path")
    if values.get("content") == []:
        raise InvalidInput(f"storage {name}: content is empty", hint="Use disable to take a storage out of use.")
    wrong = sorted(set(values.get("content") or ()) - kind.contents)
    if wrong:
        raise InvalidInput(
            f"storage {name}: the type {kind.name} cannot hold {' and '.join(wrong)}",
            hint=f"It can hold: {', '.join(sorted(kind.contents))}.",
        )
    retention = values.get("prune-backups") or {}
    if retention.get("keep-all") and len(retention) > 1:
        raise InvalidInput(f"storage {name}: retention says keep_all and other things besides")
    if not 1 <= int(values.get("port") or 1) <= 65535:
        raise InvalidInput(f"storage {name}: port {values['port']} is no port")
    if values.get("encryption-key") == "autogen":
        raise InvalidInput(
            f"storage {name}: an encryption key that the server makes is told only once, and would be lost here",
            hint="Make one with proxmox-backup-client key create --kdf none, keep it, and give its content.",
        )
    _check_keys(name, values)


def _check_keys(name: str, values: t.Mapping[str, t.Any]) -> None:
    """The server keeps a master key of any form, with which nobody could restore; its text is not shown."""
    if values.get("encryption-key") and not _is_key(str(values["encryption-key"])):
        hint = "It is the JSON text that proxmox-backup-client key create makes."
        raise InvalidInput(f"storage {name}: encryption_key is no key", hint=hint)
    if values.get("master-pubkey") and not _is_pem(str(values["master-pubkey"])):
        raise InvalidInput(f"storage {name}: master_pubkey is no public key", hint="It is a PEM text, also in base64.")


def _is_key(text: str) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and "data" in found


def _is_pem(text: str) -> bool:
    if "-----BEGIN" not in text:
        try:
            text = base64.b64decode("".join(text.split()), validate=True).decode()
        except ValueError:
            return False
    return "-----BEGIN" in text


def _report(wishes: t.Sequence[Wish], current: Current, touched: t.Collection[str]) -> list[dict[str, t.Any]]:
    return [
        {
            "name": wish.name,
            "type": wish.kind.given.get("type") or current.get(wish.name, {}).get("type", ""),
            "state": "present" if wish.present else "absent",
            "changed": wish.resource in touched,
        }
        for wish in wishes
    ]
