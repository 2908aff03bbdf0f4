# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no dry run can try, because this very run brings what it needs: may we at least?"""

from __future__ import annotations

import typing as t

from ..errors import AccessDenied
from . import kinds, rights
from .client import Client, Resource
from .grants import Grants
from .items import Item

PROMISED = "with rights that come with {}"
#: How the server says that a right is missing, other than an admission rule that forbids something.
NO_RIGHT = "cannot {} resource"


class Untried:
    """``warn`` hears which objects are taken as allowed because of a binding of the same set."""

    def __init__(self, client: Client, items: t.Sequence[Item], warn: t.Callable[[str], None]) -> None:
        self.client, self.items, self.warn = client, items, warn
        self.grants = Grants(client, items)
        self._kinds: dict[tuple[Resource, str], list[Item]] = {}
        #: What was refused and will be allowed: the object, by which binding, what the server said.
        self._promised: list[tuple[Item, Item, AccessDenied]] = []

    def leave(self, resource: Resource, namespace: str, item: Item | None = None) -> None:
        """No dry run can tell: :meth:`demand` asks whether we may create such objects. Without an item, what is written
        before all objects."""
        self._kinds.setdefault((resource, namespace), []).extend([item] if item is not None else [])

    def expect(self, item: Item, error: AccessDenied, *verbs: str) -> str:
        """A note, if a binding that is applied before gives the rights to these verbs. Raises the error if none does."""
        binding = None
        if any(NO_RIGHT.format(verb) in error.answer for verb in verbs):
            resource, group = item.served.plural, kinds.group_of(item.served.api_version)
            needed = [rights.Right(verb, resource, group, item.namespace) for verb in verbs]
            binding = self.grants.of(needed)
        if binding is None:
            raise error
        if binding.place >= item.place:
            raise _too_late(error, binding)
        self._promised.append((item, binding, error))
        return PROMISED.format(binding.label)

    def is_promised(self, item: Item) -> bool:
        return any(one is item for one, _binding, _error in self._promised)

    def demand(self, changing: t.Collection[int]) -> None:
        """Raise AccessDenied if a right is missing, now and after the bindings of this run. ``changing``: the items, by
        their ids, that this run writes."""
        self._demand_kinds()
        for _item, binding, error in self._promised:
            role = self.grants.role_of(binding)
            if id(binding) not in changing and (role is None or id(role) not in changing):
                # It is in force already, and did not help.
                raise error
        for binding in {id(binding): binding for _item, binding, _error in self._promised}.values():
            # An object that could neither be read nor tried is there twice.
            labels = dict.fromkeys(item.label for item, by, _error in self._promised if by is binding)
            self.warn(
                f"The rights to {', '.join(labels)} come with {binding.label} of this task; "
                "what the server says to these objects shows only then."
            )

    def _demand_kinds(self) -> None:
        """Who may do everything is asked once."""
        found = sorted(self._kinds.items(), key=lambda one: (one[0][0].plural, one[0][0].api_version, one[0][1]))
        if not found or rights.has(self.client, rights.EVERYTHING):
            return
        needed = {
            rights.Right(verb, resource.plural, kinds.group_of(resource.api_version), space): items
            for (resource, space), items in found
            for verb in ("create", "patch")
        }
        try:
            rights.demand(self.client, needed, "apply what is not there yet")
        except AccessDenied as error:
            self._forgive(error, needed)

    def _forgive(self, error: AccessDenied, needed: dict[rights.Right, list[Item]]) -> None:
        """Raise it, unless bindings of this run give all that is missing, each before the first object that needs it."""
        missing = [right for right in needed if right.text in error.details["missing"]]
        for right in missing:
            binding = self.grants.of([right])
            if binding is None or not needed[right]:
                raise error
            if binding.place >= min(item.place for item in needed[right]):
                raise _too_late(error, binding)
            self._promised += [(item, binding, error) for item in needed[right]]


def _too_late(error: AccessDenied, binding: Item) -> AccessDenied:
    hint = f"{binding.label} of this task gives that right, but is applied later: put it in an earlier wave."
    return AccessDenied(error.asked, of=error.of, answer=error.answer, hint=hint, **error.details)
