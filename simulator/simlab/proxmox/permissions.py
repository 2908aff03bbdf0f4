# SPDX-License-Identifier: GPL-3.0-or-later
"""The permission checks of requests, as the API's description states them."""

from __future__ import annotations

import contextlib
import re
import typing as t

from .access import Access, Caller
from .errors import ApiError, Failure, Forbidden, ParameterError

#: Rights that allow to hand on one's own rights below a path.
_DELEGATES = {"/storage/": "Datastore.Allocate", "/vms/": "VM.Allocate", "/pool/": "Pool.Allocate"}


class Permissions:
    """One caller's rights."""

    def __init__(self, access: Access, caller: Caller) -> None:
        self._access = access
        self.caller = caller

    def has(self, path: str, wanted: t.Collection[str], any_of: bool = False) -> bool:
        if self.caller.is_root:
            return True
        granted = self._access.permissions(self.caller.name, path)
        return any(name in granted for name in wanted) if any_of else all(name in granted for name in wanted)

    def require(self, path: str, *wanted: str, any_of: bool = False) -> None:
        """Raises Forbidden with the text of the real check."""
        if self.has(path, wanted, any_of):
            return
        if any_of:
            raise Forbidden(f"{path}, {'|'.join(wanted)}")
        missing = [name for name in wanted if not self.has(path, [name])]
        raise Forbidden(f"{path}, {missing[0]}")

    def vm(self, vmid: int | str, *wanted: str, pool: str | None = None, any_of: bool = False) -> None:
        """On a VM; a right on the pool that it will be in is as good."""
        if pool and self.has(f"/pool/{pool}", wanted, any_of):
            return
        self.require(f"/vms/{vmid}", *wanted, any_of=any_of)

    def only_root(self, parameter: str) -> None:
        if not self.caller.is_root:
            raise ParameterError({parameter: "Only root may use this option."})

    # -- the description's checks -------------------------------------------------------------------------

    def check_method(self, stated: dict[str, t.Any] | None, params: dict[str, t.Any]) -> None:
        if self.caller.is_root:
            return
        if not stated:
            raise Forbidden("user != root@pam")
        if stated.get("user") in ("all", "world"):
            return
        if "check" in stated:
            self._check(stated["check"], params)
        else:
            raise Forbidden("user != root@pam")

    def _check(self, check: list[t.Any], params: dict[str, t.Any]) -> None:
        kind, *rest = check
        if kind == "and":
            for one in rest:
                self._check(one, params)
        elif kind == "or":
            self._any(rest, params)
        elif kind == "perm":
            self._perm(rest, params)
        elif kind == "perm-modify":
            self.modify(re.sub(r"\{([^}]+)\}", lambda match: str(params.get(match[1], "")), rest[0]))
        elif kind == "userid-param":
            self._userid(rest[0], params)
        elif kind == "userid-group":
            self._userid_group(rest, params)
        else:
            raise Forbidden()

    def _any(self, checks: list[t.Any], params: dict[str, t.Any]) -> None:
        """One of them is enough; when none holds the text says nothing."""
        for one in checks:
            with contextlib.suppress(ApiError):
                self._check(one, params)
                return
        raise Forbidden()

    def _perm(self, rest: list[t.Any], params: dict[str, t.Any]) -> None:
        path, wanted, *options = rest
        named = dict(zip(options[::2], options[1::2], strict=False))
        needed = named.get("require_param")
        if needed and needed not in params:
            return
        path = re.sub(r"\{([^}]+)\}", lambda match: str(params.get(match[1], "")), path)
        if wanted:
            self.require(path, *wanted, any_of=bool(named.get("any")))

    def modify(self, path: str) -> None:
        """Whether one may give rights on a path."""
        wanted = [right for prefix, right in _DELEGATES.items() if path.startswith(prefix) and path != prefix]
        self.require(path or "/access", "Permissions.Modify", *wanted, any_of=True)

    def _userid(self, what: str, params: dict[str, t.Any]) -> None:
        userid = str(params.get("userid", ""))
        if what == "Realm.AllocateUser":
            self.require(f"/access/realm/{userid.rpartition('@')[2]}", what)
        elif userid != self.caller.name:
            self._check_user_exists(userid)
            raise Forbidden()

    def _check_user_exists(self, userid: str) -> None:
        if userid not in self._access.users:
            raise Failure(f"no such user ('{userid}')")

    def _userid_group(self, rest: list[t.Any], params: dict[str, t.Any]) -> None:
        wanted, *options = rest
        named = dict(zip(options[::2], options[1::2], strict=False))
        userid, creating = str(params.get("userid", "")), named.get("groups_param") == "create"
        if not creating:
            self._check_user_exists(userid)
        if self.has("/access/groups", wanted, any_of=True):
            return
        if "groups_param" in named:
            self._check_given_groups(str(params.get("groups") or ""), wanted)
        if not creating and not self._in_any(self._groups_of(userid), wanted):
            raise Forbidden()

    def _check_given_groups(self, given: str, wanted: list[str]) -> None:
        """Who may not change all users says which groups the user is to be in, even when they stay as they are."""
        groups, text = list(filter(None, re.split(r"[,;\s]+", given))), "|".join(wanted)
        if not groups:
            raise Forbidden(f"/access/groups, {text}")
        for group in groups:
            if group not in self._access.groups or not self._in_any([group], wanted):
                raise Forbidden(f"/access/groups/{group}, {text}")

    def _in_any(self, groups: list[str], wanted: list[str]) -> bool:
        return any(self.has(f"/access/groups/{group}", wanted, any_of=True) for group in groups)

    def _groups_of(self, userid: str) -> list[str]:
        return [name for name, group in self._access.groups.items() if userid in group.members]
