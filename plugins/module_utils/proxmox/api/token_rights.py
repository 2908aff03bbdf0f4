# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an ACL of a token is worth: a token of privsep 1 has only what its user has, too."""

from __future__ import annotations

import dataclasses
import typing as t

from ..access.access_spec import Acl


@dataclasses.dataclass(frozen=True)
class After:
    """How it will be. Rights that come from pools are not looked at, so what is found is for a warning only."""

    acls: t.Mapping[Acl, bool]
    privileges: t.Mapping[str, frozenset[str]]
    groups_of: t.Callable[[str], set[str]]
    separated: t.Callable[[str], bool]

    def warning(self, acl: Acl) -> str:
        """Empty when the ACL gives its token all that it seems to give."""
        user = acl.subject.partition("!")[0]
        if not self.separated(acl.subject):
            return f"{acl} has no effect: the token has all rights of its user (privsep is false)"
        lacking = sorted(self.privileges[acl.role] - self._granted(user, acl.path))
        if user == "root@pam" or not lacking:
            return ""
        what = "all of them" if len(lacking) == len(self.privileges[acl.role]) else ", ".join(lacking)
        return f"{acl} gives only what {user} has there, too, who lacks {what}"

    def _granted(self, user: str, path: str) -> frozenset[str]:
        """Of the ACLs on the way to a path those of the deepest count, one's own before those of groups."""
        groups = self.groups_of(user)
        found: set[str] = set()
        for at in _ancestors(path):
            here = [acl for acl, on in self.acls.items() if acl.path == at and (on or at == path)]
            own = {acl.role for acl in here if (acl.kind, acl.subject) == ("user", user)}
            found = own or {acl.role for acl in here if acl.kind == "group" and acl.subject in groups} or found
        return frozenset(one for role in found for one in self.privileges.get(role, ()))


def _ancestors(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/", *("/" + "/".join(parts[: count + 1]) for count in range(len(parts)))]
