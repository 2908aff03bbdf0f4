# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users, groups, roles, tokens and ACLs from wish to reality: read, plan, apply.

The secret of a token is told once, in the answer to its creation. It goes into a private file and nowhere else. A note beside
that file, written before the request, tells the next run that a token was being made, so that a run that is cut off in
between leaves nothing that only a person can mend.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import re
import time
import typing as t

from ... import private_files
from ...errors import AccessDenied, Conflict, HomelabError, InvalidInput, NotFound, ServerFault, Unauthenticated
from ...plan import Change, carry_out
from ...task import Result, Task
from ..api import attempts, rights
from ..api.connection import Connection
from ..api.session import Session, listing, segment
from ..records import records
from .access_plan import (
    AclOperation,
    Acls,
    Current,
    PasswordOperation,
    Planned,
    SecretFile,
    TokenOperation,
    needs,
    plan,
)
from .access_spec import GROUPS, ROLE_KIND, USERS, Acl, Token, Wishes, wanted

#: Options of a token that is made again.
_KEPT = ("comment", "expire", "privsep")
_SECRET = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


def converge(task: Task) -> Result:
    """The module ``proxmox_access``."""
    wishes = wanted(task.params)
    connection = Connection.of(task.params)
    task.secret(connection.password, connection.token_secret)
    with Session(connection, progress=task.progress) as session:
        planner = _Planner(session, wishes, task)
        made = planner.look_and_plan()
        for warning in made.warnings:
            task.warn(warning)
        done = made.plan
        if not task.check_mode:
            done = attempts.carry_out(planner, lambda some: carry_out(some, planner.apply), made).done
            _forget_notes(wishes)
        touched = {change.resource for change in done}
        return task.result(done, tokens=[_report(token, token.resource in touched) for token in wishes.tokens])


class _Planner:
    def __init__(self, session: Session, wishes: Wishes, task: Task) -> None:
        self.session = session
        self.wishes = wishes
        self.task = task
        self.writer = records.Writer(session)

    def look_and_plan(self) -> Planned:
        made = plan(self.wishes, read(self.session, self.wishes, self.task.warn))
        if made.plan:
            operations = [change.operation for change in made.plan]
            wanting = [need for operation in operations for need in needs(operation)]
            rights.check(rights.read(self.session), wanting, asked="; ".join(map(str, operations)))
            _refuse_tokens(self.session, operations)
        return made

    def apply(self, change: Change) -> None:
        with attempts.one_change(self.session):
            if isinstance(change.operation, records.Operation):
                self.writer.apply(change)
            else:
                self._apply(change.operation)

    def _apply(self, operation: t.Any) -> None:
        self.session.progress(str(operation))
        try:
            self._send(operation)
        except HomelabError as error:
            if re.search(r"already exists|does not exist|no such (user|token|group)", error.answer):
                raise Conflict(error.asked, of=error.of, answer=error.answer, hint="Run the task again.") from error
            raise

    def _send(self, operation: t.Any) -> None:
        if isinstance(operation, AclOperation):
            self._acl(operation)
        elif isinstance(operation, PasswordOperation):
            form = {"userid": operation.user, "password": self.wishes.passwords[operation.user]}
            if self.session.connection.user != "root@pam":  # everybody else says once more who they are
                form["confirmation-password"] = self.session.connection.password
            self.session.put("/access/password", form, asked=str(operation))
        elif isinstance(operation, TokenOperation):
            self._token(operation)

    def _acl(self, operation: AclOperation) -> None:
        acl = operation.acl
        form = {"path": acl.path, "roles": acl.role, f"{acl.kind}s": acl.subject}
        how = {"delete": "1"} if operation.propagate is None else {"propagate": "1" if operation.propagate else "0"}
        self.session.put("/access/acl", {**form, **how}, asked=str(operation))

    def _token(self, operation: TokenOperation) -> None:
        token, asked = operation.token, str(operation)
        path = f"/access/users/{segment(token.user)}/token/{segment(token.name)}"
        if operation.verb == "update":
            self.session.put(path, operation.send, asked=asked)
        elif operation.verb == "delete":
            self._delete_token(path, asked)
        else:
            _note(token, operation)
            if operation.verb == "renew":
                self._delete_token(path, asked)
            self._make_token(path, operation, asked)

    def _delete_token(self, path: str, asked: str) -> None:
        try:
            self.session.delete(path, asked=asked)
        except NotFound:
            return  # somebody else was faster

    def _make_token(self, path: str, operation: TokenOperation, asked: str) -> None:
        answer = self.session.post(path, operation.send, asked=asked)
        secret = answer.get("value") if isinstance(answer, dict) else None
        if not isinstance(secret, str) or not secret:
            raise ServerFault(
                asked, of=self.session.of, answer="the answer holds no secret", hint="Run the task again."
            )
        self.task.secret(secret)
        if operation.token.secret_file:
            private_files.replace(operation.token.secret_file, f"{secret}\n")


# -- what there is -----------------------------------------------------------------------------------------------------


def read(session: Session, wishes: Wishes, warn: t.Callable[[str], None]) -> Current:
    """One list of each kind that matters."""
    files = {token.id: _file(token) for token in wishes.tokens if token.secret_file}
    unfinished = any(file.pending is not None or not file.there for file in files.values())
    acls = bool(wishes.acls or wishes.exclusive) or unfinished or any(not wish.present for wish in wishes.groups)
    some = acls or bool(wishes.users or wishes.tokens)
    users = records.read(session, USERS) if some else {}
    new = [wish for wish in wishes.users if wish.present and wish.name not in users]
    return Current(
        users=users,
        groups=records.read(session, GROUPS) if some or wishes.groups else {},
        roles=records.read(session, ROLE_KIND) if acls or wishes.roles else {},
        acls=_acls(session) if acls else {},
        realms=_realms(session) if new else None,
        files=files,
        wrong=_wrong(session, wishes, users, warn),
        me=session.connection.who,
        time=time.time(),
    )


def _acls(session: Session) -> dict[Acl, bool]:
    listed = listing(session, "/access/acl", "ugid", asked="list the ACLs")
    return {
        Acl(str(one["path"]), str(one["type"]), str(one["ugid"]), str(one["roleid"])): str(one.get("propagate", 1))
        == "1"
        for one in listed
    }


def _realms(session: Session) -> frozenset[str]:
    return frozenset(str(one["realm"]) for one in listing(session, "/access/domains", "realm", asked="list the realms"))


def _wrong(session: Session, wishes: Wishes, users: records.Current, warn: t.Callable[[str], None]) -> frozenset[str]:
    """Who cannot log in with the password that they are to have. That is how a change is noticed; the API tells no password."""
    wrong = set()
    for name, password in wishes.passwords.items():
        if name not in users:
            continue
        if not _enabled(users[name]):
            warn(f"user {name} is disabled or has expired, so its password cannot be compared, and stays as it is")
        elif not _logs_in(session, name, password):
            wrong.add(name)
    return frozenset(wrong)


def _enabled(raw: records.Raw) -> bool:
    expire = int(raw.get("expire") or 0)
    return str(raw.get("enable", 1)) == "1" and (not expire or expire > time.time())


def _logs_in(session: Session, name: str, password: str) -> bool:
    connection = dataclasses.replace(session.connection, user=name, password=password, token="", token_secret="")
    with Session(connection) as other:
        try:
            other.get("/version")
        except Unauthenticated as error:
            return "second factor" in error.answer
        return True


def _refuse_tokens(session: Session, operations: t.Iterable[t.Any]) -> None:
    """Nobody changes a password with a token, whatever its rights."""
    named = [operation for operation in operations if isinstance(operation, PasswordOperation)]
    if named and session.connection.token:
        raise AccessDenied(
            str(named[0]),
            of=session.of,
            answer=f"{session.connection.who} is an API token, and Proxmox VE lets none of them change a password",
            hint="Log in with api_user and api_password for this, or set update_password to on_create.",
        )


# -- files of secrets --------------------------------------------------------------------------------------------------


def _file(token: Token) -> SecretFile:
    path = t.cast(pathlib.Path, token.secret_file)
    text = private_files.current(path, "secret of a token")
    if text is not None and text.strip():
        if not _SECRET.fullmatch(text.strip()):
            raise InvalidInput(
                f"token {token.id}: {path} holds something else than the secret of a token",
                hint="Give a file of its own.",
            )
        if token.present:
            private_files.refuse_open(path)
        return SecretFile(True, *_noted(token))
    return SecretFile(False, *_noted(token))


def _note_file(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.pending")


def _note(token: Token, operation: TokenOperation) -> None:
    """What the next run has to know when this one is cut off: that the token is ours, which ACLs go with it, and which
    options it had.

    It stays until the ACLs are there again. A secret that the file still holds is that of a token that is gone.
    """
    if token.secret_file is None:
        return
    lost = [[acl.path, acl.role, on] for acl, on in operation.acls.items()]
    note = {"token": token.id, "acls": lost, "options": dict(operation.kept)}
    private_files.replace(_note_file(token.secret_file), json.dumps(note) + "\n")
    token.secret_file.unlink(missing_ok=True)


def _forget_notes(wishes: Wishes) -> None:
    for token in wishes.tokens:
        if token.secret_file:
            with contextlib.suppress(OSError):
                _note_file(token.secret_file).unlink(missing_ok=True)


def _noted(token: Token) -> tuple[Acls | None, records.Raw]:
    """Nothing when there is no note about this token."""
    path = _note_file(t.cast(pathlib.Path, token.secret_file))
    try:
        note = json.loads(private_files.current(path, "note about a token") or "null")
        if not isinstance(note, dict) or note.get("token") != token.id:
            return None, {}
        acls = {Acl(str(at), "token", token.id, str(role)): bool(on) for at, role, on in note["acls"]}
        return acls, {name: value for name, value in dict(note.get("options") or {}).items() if name in _KEPT}
    except (ValueError, KeyError, TypeError):
        return {}, {}


def _report(token: Token, changed: bool) -> dict[str, t.Any]:
    return {
        "id": token.id,
        "state": "present" if token.present else "absent",
        "secret_file": str(token.secret_file) if token.secret_file else None,
        "changed": changed,
    }
