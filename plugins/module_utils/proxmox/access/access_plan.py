# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change so that users, groups, roles, tokens and ACLs are as wished. Pure.

What is needed comes first (roles, groups, users, tokens, ACLs), what goes comes last and the other way round.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ...errors import InvalidInput
from ...plan import HIDDEN, Change, Plan
from ..api import rights, token_rights
from ..records import records
from ..records.records import Current as Listed
from ..records.records import Operation, Raw, Wish
from . import roles
from .access_spec import ROLE_KIND, USERS, Acl, Role, Token, Wishes, needs_acl, token_kind

#: ACL -> whether it goes on to what is below.
Acls = t.Mapping[Acl, bool]


@dataclasses.dataclass(frozen=True)
class SecretFile:
    """``pending`` are the ACLs of a token of which an earlier run was making the secret when it was cut off, ``kept`` the
    options that it had."""

    there: bool = False
    pending: Acls | None = None
    kept: Raw = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Current:
    """``files``: of tokens, by their id. ``wrong``: users who cannot log in with the password that they are to have.
    ``me``: who asks, and at what ``time`` (0 is before any end). ``realms`` None: nobody asked for them."""

    users: Listed
    groups: Listed
    roles: Listed
    acls: Acls
    realms: frozenset[str] | None = None
    files: t.Mapping[str, SecretFile] = dataclasses.field(default_factory=dict)
    wrong: frozenset[str] = frozenset()
    me: str = ""
    time: float = 0.0


@dataclasses.dataclass(frozen=True)
class TokenOperation:
    """``renew`` makes a new secret: the token is deleted and created. ``acls`` are what that loses, ``kept`` the options that
    it has to have again."""

    verb: t.Literal["create", "renew", "update", "delete"]
    token: Token
    send: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    acls: Acls = dataclasses.field(default_factory=dict)
    kept: Raw = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.verb} token {self.token.id}"


@dataclasses.dataclass(frozen=True)
class AclOperation:
    """``propagate`` None removes it."""

    acl: Acl
    propagate: bool | None

    def __str__(self) -> str:
        return f"{'remove' if self.propagate is None else 'give'} {self.acl}"


@dataclasses.dataclass(frozen=True)
class PasswordOperation:
    user: str

    def __str__(self) -> str:
        return f"set the password of {self.user}"


@dataclasses.dataclass(frozen=True)
class Planned:
    plan: Plan
    warnings: tuple[str, ...] = ()


def plan(wishes: Wishes, now: Current) -> Planned:
    planner = _Planner(wishes, now)
    changes = [
        *planner.roles(),
        *planner.groups(),
        *planner.users(),
        *planner.tokens(),
        *planner.acls(),
        *planner.deletions(),
    ]
    warnings = [*planner.warnings, *planner.intersections()]
    return Planned(Plan.of(changes), tuple(dict.fromkeys(warnings)))


def needs(operation: t.Any) -> list[rights.Need]:
    """The rights that one change needs."""
    if isinstance(operation, Operation):
        return operation.kind.needs(operation)
    if isinstance(operation, TokenOperation):
        return [rights.Need(("/access/groups",), ("User.Modify",), str(operation))]
    if isinstance(operation, AclOperation):
        return [needs_acl(operation.acl, str(operation))]
    return []


class _Planner:
    """Keeps what will be there when the changes are made."""

    def __init__(self, wishes: Wishes, now: Current) -> None:
        self.wishes = wishes
        self.now = now
        self.warnings: list[str] = []
        self.privileges = {name: frozenset(_privileges(raw)) for name, raw in now.roles.items()}
        self.known = self.privileges.get("Administrator", frozenset())
        self.group_names = _names(now.groups, wishes.groups)
        self.user_names = _names(now.users, wishes.users) | {"root@pam"}
        self.token_ids = {
            f"{user}!{one['tokenid']}" for user, raw in now.users.items() for one in raw.get("tokens") or ()
        }
        #: ACLs that go with a token that is made again, or went with one that an earlier run was making again.
        self.lost: dict[Acl, bool] = {}
        self.acls_after: dict[Acl, bool] = dict(now.acls)

    # -- roles, groups, users ------------------------------------------------------------------------------------------

    def roles(self) -> list[Change]:
        named = {role.name for role in self.wishes.roles}
        used = {acl.role for acl, propagate in self.wishes.acls.items() if propagate is not None}
        implied = sorted(name for name in used - named if name in roles.ROLES and name not in self.now.roles)
        present = [role for role in self.wishes.roles if role.present] + [Role(name) for name in implied]
        changes = [self._role(role) for role in present]
        return [change for change in changes if change is not None]

    def _role(self, role: Role) -> Change | None:
        raw = self.now.roles.get(role.name)
        _refuse_special(role, raw)
        wanted = self._wanted(role)
        if role.append and raw is not None:
            wanted = sorted({*wanted, *_privileges(raw)})
        self.privileges[role.name] = frozenset(wanted)
        return records.change(Wish(ROLE_KIND, role.name, values={"privs": wanted}), raw)

    def _wanted(self, role: Role) -> list[str]:
        if role.privileges is None:
            if not self.known:
                return sorted(roles.ROLES[role.name].privileges)
            found, unknown = roles.privileges(role.name, self.known)
            if unknown:
                self.warnings.append(f"role {role.name}: this version of Proxmox VE does not know {', '.join(unknown)}")
            return found
        for one in role.privileges:
            if self.known and one not in self.known:
                near = difflib.get_close_matches(one, sorted(self.known), 1)
                hint = f"Is {near[0]} meant?" if near else ""
                raise InvalidInput(f"role {role.name}: this Proxmox VE knows no privilege {one!r}", hint=hint)
        return sorted(set(role.privileges))

    def groups(self) -> list[Change]:
        made = [records.change(wish, self.now.groups.get(wish.name)) for wish in self.wishes.groups if wish.present]
        return [change for change in made if change is not None]

    def users(self) -> list[Change]:
        changes: list[Change] = []
        for wish in self.wishes.users:
            if not wish.present:
                continue
            raw = self.now.users.get(wish.name)
            self._check_user(wish, raw)
            self._refuse_end(f"user {wish.name}", wish.name, wish.values)
            change = records.change(wish, raw)
            changes += [change] if change else []
            if raw is not None and wish.name in self.now.wrong:
                after = {"password": HIDDEN}
                changes.append(Change(wish.resource, "update", after=after, operation=PasswordOperation(wish.name)))
        return changes

    def _check_user(self, wish: Wish, raw: Raw | None) -> None:
        missing = sorted(set(wish.values.get("groups") or ()) - self.group_names)
        if missing:
            raise InvalidInput(
                f"user {wish.name} is to be in the group {missing[0]}, which does not exist",
                hint="Name it in groups as well.",
            )
        realm = wish.name.rpartition("@")[2]
        if raw is None and self.now.realms is not None and realm not in self.now.realms:
            raise InvalidInput(
                f"user {wish.name} is to be of the realm {realm}, which does not exist",
                hint=f"There are: {', '.join(sorted(self.now.realms))}.",
            )

    # -- tokens --------------------------------------------------------------------------------------------------------

    def tokens(self) -> list[Change]:
        made = [self._token(token) for token in self.wishes.tokens if token.present]
        self.token_ids |= {token.id for token in self.wishes.tokens if token.present}
        self.token_ids -= {token.id for token in self.wishes.tokens if not token.present}
        self.token_ids = {one for one in self.token_ids if one.partition("!")[0] in self.user_names}
        return [change for change in made if change is not None]

    def _token(self, token: Token) -> Change | None:
        if token.user not in self.user_names:
            raise InvalidInput(
                f"token {token.id}: the user does not exist", hint=f"Name {token.user} in users as well."
            )
        self._refuse_end(f"token {token.id}", token.id, token.values)
        raw = self._listed(token)
        file = self.now.files.get(token.id, SecretFile())
        wish = Wish(token_kind(token.user), token.name, values=token.values)
        if raw is None:
            return self._new_token(token, wish, file)
        if token.secret_file and not file.there:
            return self._lost_token(token, wish, raw, file)
        self.lost.update(file.pending or {})
        change = records.change(wish, raw)
        if change is None:
            return None
        operation = TokenOperation("update", token, change.operation.send)
        return dataclasses.replace(change, resource=token.resource, operation=operation)

    def _new_token(self, token: Token, wish: Wish, file: SecretFile) -> Change:
        if token.secret_file is None:
            raise InvalidInput(
                f"token {token.id} does not exist, and to create it secret_file must be given",
                hint="Proxmox VE tells the secret once, when the token is made; it is written to that file.",
            )
        self.lost.update(file.pending or {})
        given = {key: value for key, value in wish.values.items() if value is not None}
        change = t.cast(Change, records.change(dataclasses.replace(wish, values={**file.kept, **given}), None))
        after = {**change.after, "secret": HIDDEN, "secret_file": str(token.secret_file)}
        note = f"replaces the secret in {token.secret_file}" if file.there else ""
        operation = TokenOperation("create", token, change.operation.send, file.pending or {}, file.kept)
        return Change(token.resource, "create", after=after, note=note, operation=operation)

    def _lost_token(self, token: Token, wish: Wish, raw: Raw, file: SecretFile) -> Change:
        """Its secret is nowhere: only a new one helps, and the ACLs go with the old one."""
        if file.pending is None and not token.replace_lost:
            raise InvalidInput(
                f"token {token.id} exists, but its secret_file {token.secret_file} does not, and Proxmox VE tells a secret "
                "only once",
                hint="Bring the file back; or set replace_lost, which makes the token again with another secret.",
            )
        why = "a new secret, because that of an earlier run was never written"
        if file.pending is None:
            why = "a new secret; whoever uses the old one has to be given it"
        mine = {acl: on for acl, on in self.now.acls.items() if (acl.kind, acl.subject) == ("token", token.id)}
        for acl in mine:
            self.acls_after.pop(acl, None)
        self.lost.update({**(file.pending or {}), **mine})
        change = records.change(wish, raw)
        before, after = (change.before, change.after) if change else ({}, {})
        kept = records.after(wish, raw) or {}
        send: dict[str, t.Any] = {key: kept[key] for key in ("comment", "expire", "privsep") if key in kept}
        operation = TokenOperation("renew", token, send, self.lost, send)
        shown = {**after, "secret": HIDDEN, "secret_file": str(token.secret_file)}
        return Change(token.resource, "update", before, shown, why, operation)

    def _listed(self, token: Token) -> Raw | None:
        found = self.now.users.get(token.user, {}).get("tokens") or ()
        return next((one for one in found if one["tokenid"] == token.name), None)

    # -- ACLs ----------------------------------------------------------------------------------------------------------

    def acls(self) -> list[Change]:
        wished = {acl: propagate for acl, propagate in self.wishes.acls.items() if propagate is not None}
        kept = {acl: on for acl, on in self.lost.items() if acl.role in self.privileges and self._stays(acl)}
        changes = []
        for acl, propagate in {**kept, **wished}.items():
            self._check_acl(acl)
            before = self.acls_after.get(acl)
            if before != propagate:
                changes.append(_given(acl, before, propagate, restored=acl not in wished))
            self.acls_after[acl] = propagate
        gone = [acl for acl in sorted(self.acls_after) if not self._stays(acl)]
        for acl in gone:
            shown = {"propagate": self.acls_after.pop(acl)}
            changes.append(Change(acl.resource, "delete", before=shown, operation=AclOperation(acl, None)))
        return changes

    def _stays(self, acl: Acl) -> bool:
        if acl in self.wishes.acls:
            return self.wishes.acls[acl] is not None
        if acl.path not in self.wishes.exclusive:
            return True
        if acl.subject in self._myself() or (acl.kind == "group" and acl.subject in self._my_groups()):
            raise InvalidInput(
                f"exclusive_acl_paths would take away {acl}, which is the one that asks",
                hint="Name it in acls, or let another user do this.",
            )
        return False

    def _check_acl(self, acl: Acl) -> None:
        gone = {role.name for role in self.wishes.roles if not role.present}
        if acl.role not in self.privileges or acl.role in gone:
            raise InvalidInput(
                f"{acl}: there is no such role",
                hint=f"There are: {', '.join(sorted(set(self.privileges) - gone))}; known here: {', '.join(roles.ROLES)}.",
            )
        there = {"user": self.user_names, "group": self.group_names, "token": self.token_ids}[acl.kind]
        if acl.subject not in there:
            raise InvalidInput(f"{acl}: there is no such {acl.kind}", hint=f"Name it in {acl.kind}s as well.")

    # -- what goes -----------------------------------------------------------------------------------------------------

    def deletions(self) -> list[Change]:
        changes: list[Change | None] = []
        for token in self.wishes.tokens:
            raw = self._listed(token)
            if not token.present and raw is not None:
                self._refuse_myself(token.id)
                before = records.shown(token_kind(token.user), raw)
                changes.append(Change(token.resource, "delete", before, operation=TokenOperation("delete", token)))
        for wish in self.wishes.users:
            if not wish.present and wish.name in self.now.users:
                self._refuse_myself(wish.name)
                changes.append(records.change(wish, self.now.users[wish.name]))
        for wish in self.wishes.groups:
            if not wish.present:
                self._refuse_my_group(wish)
                changes.append(records.change(wish, self.now.groups.get(wish.name)))
        for role in self.wishes.roles:
            if not role.present:
                _refuse_special(role, self.now.roles.get(role.name))
                changes.append(records.change(Wish(ROLE_KIND, role.name, present=False), self.now.roles.get(role.name)))
        return [change for change in changes if change is not None]

    # -- nobody locks himself out --------------------------------------------------------------------------------------

    def _myself(self) -> tuple[str, str]:
        """Who asks, and the user of that token."""
        return self.now.me, self.now.me.partition("!")[0]

    def _my_groups(self) -> set[str]:
        """Groups that may give rights to who asks; root has all without them."""
        user = self._myself()[1]
        return set() if user == "root@pam" else set(USERS.field("groups").of(self.now.users.get(user, {})))

    def _refuse_myself(self, name: str) -> None:
        if name in self._myself():
            raise InvalidInput(f"{name} is to be absent, and is the one that asks", hint="Let another user do this.")

    def _refuse_my_group(self, wish: Wish) -> None:
        gives = any((acl.kind, acl.subject) == ("group", wish.name) for acl in self.now.acls)
        if gives and wish.name in self._my_groups():
            raise InvalidInput(
                f"group {wish.name} is to be absent, and gives rights to {self._myself()[1]}, the one that asks",
                hint="Let another user do this.",
            )

    def _refuse_end(self, says: str, name: str, values: t.Mapping[str, t.Any]) -> None:
        off, expire = values.get("enable") is False, values.get("expire") or 0
        if name in self._myself() and (off or 0 < expire <= self.now.time):
            what = "is to be disabled" if off else "is to end before now"
            raise InvalidInput(f"{says} {what}, and is the one that asks", hint="Let another user do this.")

    # -- rights that a token has only together with its user ----------------------------------------------------------

    def intersections(self) -> list[str]:
        rights_of = token_rights.After(self.acls_after, self.privileges, self._groups_of, self._separated)
        mine = [acl for acl, propagate in self.wishes.acls.items() if acl.kind == "token" and propagate is not None]
        return [warning for acl in mine if (warning := rights_of.warning(acl))]

    def _separated(self, token_id: str) -> bool:
        for token in self.wishes.tokens:
            if token.id == token_id and token.values.get("privsep") is not None:
                return bool(token.values["privsep"])
        user, name = token_id.partition("!")[::2]
        raw: Raw = self._listed(Token(user, name)) or {}
        return bool(token_kind(user).field("privsep").of(raw))

    def _groups_of(self, user: str) -> set[str]:
        for wish in self.wishes.users:
            if wish.name == user and wish.values.get("groups") is not None:
                return set(wish.values["groups"])
        return set(USERS.field("groups").of(self.now.users.get(user, {})))


def _names(listed: Listed, wishes: t.Iterable[Wish]) -> set[str]:
    names = set(listed)
    for wish in wishes:
        (names.add if wish.present else names.discard)(wish.name)
    return names


def _privileges(raw: Raw) -> list[str]:
    return t.cast("list[str]", ROLE_KIND.field("privs").of(raw))


def _refuse_special(role: Role, raw: Raw | None) -> None:
    if raw is not None and str(raw.get("special", 0)) == "1":
        raise InvalidInput(
            f"role {role.name} is one of Proxmox VE's own, which cannot be changed", hint="Give yours another name."
        )


def _given(acl: Acl, before: bool | None, propagate: bool, *, restored: bool) -> Change:
    note = "restored, because the token is made again" if restored else ""
    was = {} if before is None else {"propagate": before}
    verb: t.Literal["create", "update"] = "create" if before is None else "update"
    return Change(acl.resource, verb, was, {"propagate": propagate}, note, AclOperation(acl, propagate))
