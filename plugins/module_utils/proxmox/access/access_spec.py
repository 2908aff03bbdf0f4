# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users, groups, roles, tokens and ACLs as the user describes them."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import typing as t

from ...errors import InvalidInput
from ..api import rights
from ..records.records import FLAG, NUMBER, SECRET, SET, TEXT, Field, Kind, Operation, Wish, refuse_twice
from .roles import ROLES

Params = t.Mapping[str, t.Any]

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_USER = re.compile(r"[^\s:/!]+@[A-Za-z][A-Za-z0-9._-]+")  # the last @ is before the realm
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9._-]+")
_PART = r"/[A-Za-z0-9._-]+"
_PATH = re.compile(
    rf"/|/access(/(groups|realm)({_PART})?)?|/(nodes|storage)({_PART})?|/mapping({_PART}){{0,2}}|/pool({_PART}){{0,3}}"
    rf"|/sdn({_PART}){{0,4}}|/vms(/[1-9]\d{{2,8}})?"
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")

#: On these paths whoever may allocate the thing may hand on rights that they have themselves.
_DELEGATES = {"/storage/": "Datastore.Allocate", "/vms/": "VM.Allocate", "/pool/": "Pool.Allocate"}


def _needs_users(operation: Operation) -> list[rights.Need]:
    found = [rights.Need(("/access/groups",), ("User.Modify",), str(operation))]
    if operation.verb != "update":
        realm = operation.name.rpartition("@")[2]
        found.append(rights.Need((f"/access/realm/{realm}",), ("Realm.AllocateUser",), str(operation)))
    return found


def _needs(path: str, privilege: str) -> t.Callable[[Operation], list[rights.Need]]:
    return lambda operation: [rights.Need((path,), (privilege,), str(operation))]


USERS = Kind(
    word="user",
    path="/access/users",
    key="userid",
    fields=(
        Field("groups", SET, default=[]),
        Field("enable", FLAG, default=True),
        Field("expire", NUMBER, default=0),
        *(Field(name, TEXT) for name in ("email", "comment", "firstname", "lastname")),
        Field("password", SECRET, secret=True),
    ),
    query={"full": 1},
    deletes=False,
    digest=False,
    needs=_needs_users,
)
GROUPS = Kind(
    word="group",
    path="/access/groups",
    key="groupid",
    fields=(Field("comment", TEXT),),
    deletes=False,
    digest=False,
    needs=_needs("/access/groups", "Group.Allocate"),
)
ROLE_KIND = Kind(
    word="role",
    path="/access/roles",
    key="roleid",
    fields=(Field("privs", SET, default=[], option="privileges"),),
    deletes=False,
    digest=False,
    needs=_needs("/access", "Sys.Modify"),
)


def token_kind(user: str) -> Kind:
    """The tokens of a user. They are listed with the users."""
    return Kind(
        word="token",
        path=f"/access/users/{user}/token",
        key="tokenid",
        fields=(
            Field("comment", TEXT),
            Field("expire", NUMBER, default=0),
            Field("privsep", FLAG, default=True),
        ),
        deletes=False,
        digest=False,
    )


@dataclasses.dataclass(frozen=True)
class Role:
    """``privileges`` None: those of the collection's role of this name. ``append`` keeps what it has."""

    name: str
    present: bool = True
    privileges: tuple[str, ...] | None = None
    append: bool = False


@dataclasses.dataclass(frozen=True)
class Token:
    user: str
    name: str
    present: bool = True
    values: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    secret_file: pathlib.Path | None = None
    replace_lost: bool = False

    @property
    def id(self) -> str:
        return f"{self.user}!{self.name}"

    @property
    def resource(self) -> str:
        return f"token/{self.id}"


class Acl(t.NamedTuple):
    """Who (``kind``: user, group, token) has which role where. Whether it goes on below is not part of its name."""

    path: str
    kind: str
    subject: str
    role: str

    @property
    def resource(self) -> str:
        who = f"@{self.subject}" if self.kind == "group" else self.subject
        return f"acl{self.path}:{who}:{self.role}"

    def __str__(self) -> str:
        return f"the role {self.role} of {self.kind} {self.subject} on {self.path}"


@dataclasses.dataclass(frozen=True)
class Wishes:
    """``acls``: whether it goes on below, None for one that is to be absent. ``passwords``: user -> password."""

    groups: tuple[Wish, ...] = ()
    users: tuple[Wish, ...] = ()
    roles: tuple[Role, ...] = ()
    tokens: tuple[Token, ...] = ()
    acls: t.Mapping[Acl, bool | None] = dataclasses.field(default_factory=dict)
    exclusive: frozenset[str] = frozenset()
    passwords: t.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)


def wanted(params: Params) -> Wishes:
    """Raises :class:`InvalidInput` for what no server would take, or what contradicts itself."""
    users = [_user(entry) for entry in params.get("users") or ()]
    groups = [_group(entry) for entry in params.get("groups") or ()]
    roles = [_role(entry) for entry in params.get("roles") or ()]
    tokens = [_token(entry) for entry in params.get("tokens") or ()]
    refuse_twice([*groups, *users])
    _refuse_twice("role", [role.name for role in roles])
    _refuse_twice("token", [token.id for token in tokens])
    _refuse_same_file(tokens)
    check = params.get("update_password") == "always"
    passwords = {user.name: user.values["password"] for user in users if user.values.get("password")} if check else {}
    exclusive = frozenset(_path(path, "exclusive_acl_paths") for path in params.get("exclusive_acl_paths") or ())
    acls = _acls(params.get("acls") or ())
    return Wishes(tuple(groups), tuple(users), tuple(roles), tuple(tokens), acls, exclusive, passwords)


def _refuse_twice(word: str, names: t.Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"{word} {name} is named twice", hint="Put what you want of it into one entry.")


def _refuse_same_file(tokens: t.Sequence[Token]) -> None:
    seen: dict[pathlib.Path, str] = {}
    for token in tokens:
        if token.secret_file and seen.setdefault(token.secret_file, token.id) != token.id:
            raise InvalidInput(f"the tokens {seen[token.secret_file]} and {token.id} have the same secret_file")


def _named(word: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name of a {word}", hint="Write letters, digits, '-', '_' and '.'.")
    return name


def _group(entry: Params) -> Wish:
    present = entry.get("state") != "absent"
    values = {"comment": entry.get("comment")} if present else {}
    return Wish(GROUPS, _named("group", str(entry["name"])), present, values)


def _user(entry: Params) -> Wish:
    name = user_name(str(entry["name"]))
    if entry.get("state") == "absent":
        if name == "root@pam":
            raise InvalidInput("root@pam cannot be absent")
        return Wish(USERS, name, present=False)
    values = {field.name: entry.get(field.name) for field in USERS.fields}
    if values["expire"] is not None:
        values["expire"] = expiry(name, values["expire"])
    if values["email"] and not _EMAIL.fullmatch(values["email"]):
        raise InvalidInput(f"user {name}: {values['email']!r} is no email address")
    _check_password(name, values["password"])
    return Wish(USERS, name, values=values)


def _check_password(name: str, password: str | None) -> None:
    if password is None:
        return
    if not name.endswith("@pve"):
        realm = name.rpartition("@")[2]
        raise InvalidInput(
            f"user {name} is to have a password, which the realm {realm} does not keep in Proxmox VE",
            hint="Only users of the realm pve have theirs there; one of pam is that of the nodes' Linux user.",
        )
    if not 8 <= len(password) <= 64:
        raise InvalidInput(f"user {name}: the password has {len(password)} characters", hint="8 to 64 are allowed.")


def user_name(name: str) -> str:
    if not _USER.fullmatch(name) or len(name) > 64:
        raise InvalidInput(f"{name!r} is no user of a realm", hint="Write user@realm, for example ansible@pve.")
    return name


def expiry(name: str, text: t.Any) -> int:
    """Seconds since 1970; 0 is never. From a number, a date, or ``never``."""
    if str(text) == "never":
        return 0
    if re.fullmatch(r"\d+", str(text)):
        return int(text)
    try:
        day = datetime.date.fromisoformat(str(text))
    except ValueError as error:
        raise InvalidInput(
            f"{name}: expire {text!r} is no time", hint="Write never, a date such as 2030-12-31, or seconds since 1970."
        ) from error
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.timezone.utc).timestamp())


def _role(entry: Params) -> Role:
    name = _named("role", str(entry["name"]))
    present, privileges = entry.get("state") != "absent", entry.get("privileges")
    if name.upper().startswith("PVE") or name in ("Administrator", "NoAccess"):
        raise InvalidInput(
            f"role {name} is one of Proxmox VE's own, which cannot be changed", hint="Give yours another name."
        )
    if present and privileges is None and name not in ROLES:
        raise InvalidInput(
            f"role {name} has no privileges", hint=f"These are known without listing them: {', '.join(sorted(ROLES))}."
        )
    given = None if privileges is None else tuple(str(one) for one in privileges)
    return Role(name, present, given, bool(entry.get("append")))


def _token(entry: Params) -> Token:
    user, name = str(entry.get("user") or ""), str(entry["name"])
    if not user and "!" in name:
        user, name = name.split("!", 1)
    user = user_name(user)
    if not _TOKEN.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is no name of a token",
            hint="Write two or more letters, digits, '-', '_' or '.'; a letter first.",
        )
    if entry.get("state") == "absent":
        return Token(user, name, present=False)
    values = {key: entry.get(key) for key in ("comment", "privsep", "expire")}
    if values["expire"] is not None:
        values["expire"] = expiry(f"{user}!{name}", values["expire"])
    file = entry.get("secret_file")
    return Token(user, name, True, values, pathlib.Path(file) if file else None, bool(entry.get("replace_lost")))


def _acls(entries: t.Iterable[Params]) -> dict[Acl, bool | None]:
    found: dict[Acl, bool | None] = {}
    for entry in entries:
        who = [(kind, str(entry[kind])) for kind in ("user", "group", "token") if entry.get(kind)]
        if len(who) != 1:
            raise InvalidInput(
                f"the ACL of the role {entry['role']} on {entry['path']} names {len(who)} of user, group and token",
                hint="Name exactly one.",
            )
        kind, subject = who[0]
        if kind == "token" and "!" not in subject:
            raise InvalidInput(f"{subject!r} is no token", hint="Write user@realm!name.")
        user_name(subject.partition("!")[0]) if kind != "group" else _named("group", subject)
        if subject == "root@pam":
            raise InvalidInput("root@pam has every right, and no ACL", hint="Leave it out.")
        acl = Acl(_path(str(entry["path"]), "acls"), kind, subject, str(entry["role"]))
        if acl in found:
            raise InvalidInput(f"{acl} is named twice")
        found[acl] = None if entry.get("state") == "absent" else bool(entry.get("propagate", True))
    return found


def _path(text: str, option: str) -> str:
    """Without a slash at its end."""
    path = "/" + "/".join(part for part in text.split("/") if part)
    if not text.startswith("/") or not _PATH.fullmatch(path):
        raise InvalidInput(
            f"{option}: {text!r} is no path of ACLs",
            hint="They are / and what is below /access, /mapping, /nodes, /pool, /sdn, /storage and /vms.",
        )
    return path


def needs_acl(acl: Acl, why: str) -> rights.Need:
    delegates = tuple(right for prefix, right in _DELEGATES.items() if acl.path.startswith(prefix))
    return rights.Need((acl.path,), ("Permissions.Modify", *delegates), why)
