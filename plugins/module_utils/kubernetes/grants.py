# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights that a set of objects gives to the very user who applies it: its bindings to that user, and what their roles allow."""

from __future__ import annotations

import functools
import typing as t

from ..errors import AccessDenied, NotFound
from . import kinds
from .client import Client, Resource
from .items import Item
from .rights import Right

Object = dict[str, t.Any]

GROUP = "rbac.authorization.k8s.io"
BINDINGS = frozenset({"RoleBinding", "ClusterRoleBinding"})
ROLES = {
    "Role": Resource(f"{GROUP}/v1", "Role", "roles", True),
    "ClusterRole": Resource(f"{GROUP}/v1", "ClusterRole", "clusterroles", False),
}
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ACCOUNT = "system:serviceaccount"


class Grants:
    """What the bindings among ``items`` will give us. Asks who we are, and for roles, only when there is a binding."""

    def __init__(self, client: Client, items: t.Sequence[Item]) -> None:
        self.client = client
        self._bindings = [item for item in items if item.wanted["kind"] in BINDINGS and _is_rbac(item)]
        self._roles = [item for item in items if item.wanted["kind"] in ROLES and _is_rbac(item)]

    def of(self, rights: t.Collection[Right]) -> Item | None:
        """The first binding, in the order of application, that gives us all of these rights."""
        ours = (item for item in self._bindings if self._is_to_us(item))
        return next((item for item in ours if all(self._gives(item, right) for right in rights)), None)

    def role_of(self, item: Item) -> Item | None:
        """The role among the items that a binding names."""
        if not any(item is one for one in self._bindings):
            return None
        return next((role for role in self._roles if _key(role) == _reference(item)), None)

    def _is_to_us(self, item: Item) -> bool:
        name, groups = self._us
        return any(_names(subject, name, groups) for subject in _dicts(item.wanted.get("subjects")))

    @functools.cached_property
    def _us(self) -> tuple[str, frozenset[str]]:
        """Our name and groups; nobody's where the server cannot tell (before Kubernetes 1.28)."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            found = self.client.create(REVIEWS, review, "ask who we are")
        except (NotFound, AccessDenied):
            return "", frozenset()
        info = (found.get("status") or {}).get("userInfo") or {}
        return str(info.get("username") or ""), frozenset(map(str, info.get("groups") or []))

    def _gives(self, item: Item, right: Right) -> bool:
        if item.wanted["kind"] == "RoleBinding" and item.namespace != right.namespace:
            return False
        role = self._role(item)
        return role is None or any(_allows(rule, right) for rule in _dicts(role.get("rules")))

    def _role(self, item: Item) -> Object | None:
        """As it is to be, or as it is. Nothing if it may not be read: who may not see a role may still bind it."""
        ours = self.role_of(item)
        if ours is not None:
            return ours.wanted
        kind, namespace, name = _reference(item)
        if kind not in ROLES:
            return {}
        try:
            return self.client.get(ROLES[kind], namespace, name) or {}
        except AccessDenied:
            return None


def _is_rbac(item: Item) -> bool:
    return kinds.group_of(item.wanted["apiVersion"]) == GROUP


def _key(item: Item) -> tuple[str, str, str]:
    return (item.wanted["kind"], item.namespace, item.name)


def _reference(item: Item) -> tuple[str, str, str]:
    """Kind, namespace and name of the role that a binding names."""
    found = item.wanted.get("roleRef")
    reference = found if isinstance(found, dict) else {}
    kind = str(reference.get("kind"))
    return kind, item.namespace if kind == "Role" else "", str(reference.get("name"))


def _names(subject: Object, name: str, groups: frozenset[str]) -> bool:
    kind, its = subject.get("kind"), str(subject.get("name"))
    if not name:
        return False
    if kind == "ServiceAccount":
        return name == f"{ACCOUNT}:{subject.get('namespace')}:{its}"
    return (kind == "User" and its == name) or (kind == "Group" and its in groups)


def _allows(rule: Object, right: Right) -> bool:
    """Whether a rule of a role gives the right for all names."""
    wanted = {"verbs": right.verb, "apiGroups": right.group, "resources": right.resource}
    return not rule.get("resourceNames") and all(
        isinstance(rule.get(field), list) and {value, "*"} & set(map(str, rule[field]))
        for field, value in wanted.items()
    )


def _dicts(found: t.Any) -> list[Object]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
