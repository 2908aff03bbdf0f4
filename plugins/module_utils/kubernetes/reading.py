# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what is there of a set of objects: one request for each kind, few for any number of objects."""

from __future__ import annotations

import typing as t

from ..errors import AccessDenied, NotFound
from .answers import UnknownKind
from .client import Client, Resource
from .items import Item
from .together import together

#: From this many objects of one kind on, one LIST is better than a GET for each.
LIST_FROM = 2
#: Objects on one page of a LIST.
PAGE = 500


def read(
    client: Client,
    items: t.Sequence[Item],
    unserved: t.Callable[[Item, UnknownKind], None],
    unread: t.Callable[[Item, AccessDenied], None] | None = None,
) -> None:
    """Fill in ``live``. ``unserved`` hears of each object whose kind the server does not serve, ``unread`` of those that we
    may not look at (without it, that is an error); both may raise."""
    kinds: dict[Resource, list[Item]] = {}
    for item in items:
        if item.resource is not None and not item.predicted:
            kinds.setdefault(item.resource, []).append(item)
    missing: list[tuple[Item, UnknownKind]] = []
    everywhere = [members for members in kinds.values() if len(members) >= LIST_FROM]
    singles = [members[0] for members in kinds.values() if len(members) < LIST_FROM]
    jobs: list[t.Callable[[], list[Item]]] = [_listing(client, members, missing) for members in everywhere]
    jobs += [_getting(client, item, missing, unread) for item in singles]
    left = [item for found in together(lambda job: job(), jobs) for item in found]
    rest = _by_namespace(client, left, missing)
    together(lambda job: job(), [_getting(client, item, missing, unread) for item in rest])
    for item, error in missing:
        unserved(item, error)


def _by_namespace(client: Client, left: list[Item], missing: list[tuple[Item, UnknownKind]]) -> list[Item]:
    """Who may not look everywhere may perhaps look in single namespaces. What is left has to be read one by one."""
    groups: dict[tuple[Resource, str], list[Item]] = {}
    for item in left:
        groups.setdefault((item.served, item.namespace), []).append(item)
    several = {resource for resource, _space in groups if sum(one == resource for one, _other in groups) > 1}
    jobs: list[t.Callable[[], list[Item]]] = []
    rest: list[Item] = []
    for (resource, _namespace), members in groups.items():
        if resource in several and len(members) >= LIST_FROM:
            jobs.append(_listing(client, members, missing))
        else:
            rest += members
    return rest + [item for found in together(lambda job: job(), jobs) for item in found]


def _listing(
    client: Client, members: list[Item], missing: list[tuple[Item, UnknownKind]]
) -> t.Callable[[], list[Item]]:
    """A job that reads all of one kind, and returns those that it could not look for."""

    def job() -> list[Item]:
        resource = members[0].served
        spaces = {item.namespace for item in members}
        where = next(iter(spaces)) if len(spaces) == 1 else ""
        try:
            return _first_page(client, resource, where, members)
        except AccessDenied:
            return members
        except UnknownKind as error:
            missing.extend((item, error) for item in members)
            return []

    return job


def _first_page(client: Client, resource: Resource, where: str, members: list[Item]) -> list[Item]:
    """Mostly all there is. Of a kind with very many objects, those that are not on it may be cheaper one by one."""
    asked = f"list {resource.plural}" + (f" in namespace {where}" if where else "")
    page = client.read(resource.path(where), asked, {"limit": str(PAGE)})
    left = _found(resource, page.get("items") or [], members)
    meta = page.get("metadata") or {}
    if not meta.get("continue") or not left:
        return []
    if len(left) <= 8 * (int(meta.get("remainingItemCount") or 0) // PAGE + 1):
        return left
    _found(resource, client.list(resource, where), left)
    return []


def _found(resource: Resource, objects: t.Sequence[dict[str, t.Any]], members: list[Item]) -> list[Item]:
    """Those of the members that are not among the objects."""
    there = {(one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in objects}
    left = []
    for item in members:
        live = there.get((item.namespace, item.name))
        if live is None:
            left.append(item)
        else:
            item.live = {"apiVersion": resource.api_version, "kind": resource.kind, **live}
    return left


def _getting(
    client: Client,
    item: Item,
    missing: list[tuple[Item, UnknownKind]],
    unread: t.Callable[[Item, AccessDenied], None] | None,
) -> t.Callable[[], list[Item]]:
    def job() -> list[Item]:
        path = item.served.path(item.namespace, item.name)
        try:
            item.live = client.read(path, f"read {item.label}")
        except UnknownKind as error:
            missing.append((item, error))
        except NotFound:
            item.live = None
        except AccessDenied as error:
            if unread is None:
                raise
            unread(item, error)
        return []

    return job
