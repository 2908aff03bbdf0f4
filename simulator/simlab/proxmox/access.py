# SPDX-License-Identifier: GPL-3.0-or-later
"""Users, groups, tokens, roles, ACLs: who may do what where."""

from __future__ import annotations

import dataclasses
import typing as t

from . import privileges
from .config import ProxmoxConfig

Privileges = frozenset[str]


@dataclasses.dataclass
class Token:
    secret: str
    privsep: t.Any = 1
    expire: t.Any = 0
    comment: str | None = None

    def info(self) -> dict[str, t.Any]:
        shown = {"privsep": self.privsep, "expire": self.expire}
        return {**shown, "comment": self.comment} if self.comment else shown


@dataclasses.dataclass
class User:
    enable: int = 1
    expire: int = 0
    password: str | None = None
    details: dict[str, str] = dataclasses.field(default_factory=dict)  # comment, email, firstname, lastname, keys
    tokens: dict[str, Token] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Group:
    comment: str = ""
    members: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class Acl:
    path: str
    kind: t.Literal["user", "group", "token"]
    subject: str
    role: str


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who a request comes from: ``name`` is ``root@pam`` or ``ansible@pve!groundwork``."""

    name: str

    @property
    def user(self) -> str:
        return self.name.partition("!")[0]

    @property
    def is_token(self) -> bool:
        return "!" in self.name

    @property
    def is_root(self) -> bool:
        """Only the real one: a token of root is not root."""
        return self.name == "root@pam"


class Access:
    """The user database. ``pool_of`` tells the pool of a VM or storage (``/vms/100`` → name or None)."""

    def __init__(self, config: ProxmoxConfig, pool_of: t.Callable[[str], str | None]) -> None:
        self.users: dict[str, User] = {"root@pam": User(password=config.root_password)}
        self.groups: dict[str, Group] = {}
        self.roles: dict[str, Privileges] = dict(privileges.ROLES)
        self.acls: dict[Acl, bool] = {}
        self.realms: dict[str, dict[str, t.Any]] = {
            "pam": {"type": "pam", "comment": "Linux PAM standard authentication"},
            "pve": {"type": "pve", "comment": "Proxmox VE authentication server"},
        }
        self._pool_of = pool_of
        self._load(config)

    def _load(self, config: ProxmoxConfig) -> None:
        for name in config.users:
            self.users.setdefault(name, User(password=config.passwords.get(name)))
        for token in config.tokens:
            user = self.users.setdefault(token.user, User(password=config.passwords.get(token.user)))
            user.tokens[token.name] = Token(token.secret, int(token.privsep))
        self.roles.update({name: frozenset(granted) for name, granted in config.roles.items()})
        for acl in config.acls:
            kind: t.Any = "group" if acl.subject.startswith("@") else "token" if "!" in acl.subject else "user"
            self.acls[Acl(acl.path, kind, acl.subject.lstrip("@"), acl.role)] = acl.propagate

    # -- questions ----------------------------------------------------------------------------------------

    def permissions(self, name: str, path: str) -> Privileges:
        """All privileges of a user or token on a path."""
        return frozenset(self.permissions_propagated(name, path))

    def permissions_propagated(self, name: str, path: str) -> dict[str, bool]:
        """The same, each with whether it is inherited further down."""
        user, _, token = name.partition("!")
        if name == "root@pam":
            return dict.fromkeys(privileges.ALL, True)
        own = self._of_user(user, path)
        if not token:
            return own
        known = self.users[user].tokens.get(token) if user in self.users else None
        if known is None:
            return {}
        if not int(known.privsep):
            return own
        granted = self._of_roles(self._roles("token", {name}, path), path, ("token", {name}))
        return {privilege: on and own[privilege] for privilege, on in granted.items() if privilege in own}

    def _of_user(self, user: str, path: str) -> dict[str, bool]:
        if user == "root@pam":
            return dict.fromkeys(privileges.ALL, True)
        groups = {name for name, group in self.groups.items() if user in group.members}
        roles = self._roles("user", {user}, path, groups)
        return self._of_roles(roles, path, ("user", {user}), groups)

    def _of_roles(
        self, roles: dict[str, bool], path: str, subject: tuple[str, set[str]], groups: t.Collection[str] = ()
    ) -> dict[str, bool]:
        pool = self._pool_of(path)
        if pool is not None and "NoAccess" not in roles:
            inherited = self._roles(subject[0], subject[1], f"/pool/{pool}", groups)
            roles = {**inherited, **roles} if "NoAccess" not in inherited else roles
        found: dict[str, bool] = {}
        for role, propagate in roles.items():
            for privilege in self.roles.get(role, ()):
                found[privilege] = found.get(privilege, False) or propagate
        return found

    def _roles(
        self, kind: str, subjects: t.Collection[str], path: str, groups: t.Collection[str] = ()
    ) -> dict[str, bool]:
        """The roles on a path: the deepest entry counts, one's own before those of groups."""
        roles: dict[str, bool] = {}
        for at in _ancestors(path):
            own = self._at(at, path, kind, subjects)
            roles = own or self._at(at, path, "group", groups) or roles
        return {"NoAccess": True} if "NoAccess" in roles else roles

    def _at(self, at: str, path: str, kind: str, subjects: t.Collection[str]) -> dict[str, bool]:
        return {
            acl.role: propagate
            for acl, propagate in self.acls.items()
            if acl.path == at and acl.kind == kind and acl.subject in subjects and (propagate or at == path)
        }

    # -- changes ------------------------------------------------------------------------------------------

    def forget(self, matches: t.Callable[[Acl], bool]) -> None:
        """Remove the ACLs of which ``matches`` is true."""
        for acl in [acl for acl in self.acls if matches(acl)]:
            del self.acls[acl]


def _ancestors(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/", *("/" + "/".join(parts[: count + 1]) for count in range(len(parts)))]
