# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as they are, by kind, name and selectors: one request for a query, and one discovery for kinds that not every server has."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import HomelabError, InvalidInput, NotFound, Refused
from ..object_copies import COPIES
from ..plan import HIDDEN
from .client import Client, Object
from .discovery import Resource
from .together import together

NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.:_@-]*[a-zA-Z0-9])?")
API_VERSION = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[0-9][a-z0-9]*")
SELECTORS = ("label_selectors", "field_selectors")


@dataclasses.dataclass(frozen=True)
class Query:
    """What is asked for. ``namespace``: of objects with a name; without one, a list is of all namespaces."""

    api_version: str
    kind: str
    name: str = ""
    namespace: str = ""
    labels: str = ""
    fields: str = ""

    @property
    def text(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"{self.kind}{name} of {self.api_version}"


@dataclasses.dataclass(frozen=True)
class Options:
    """``page``: objects in one answer. ``secrets``: show what Secrets hold. ``managed_fields``: show who set what.
    ``lenient``: a kind that is not there is told, and is no error."""

    page: int = 500
    secrets: bool = False
    managed_fields: bool = False
    lenient: bool = False


@dataclasses.dataclass(frozen=True)
class Found:
    """A query and its objects; ``served``: whether the server has the kind at all."""

    query: Query
    objects: list[Object]
    served: bool = True

    def as_result(self) -> dict[str, t.Any]:
        asked = {key: value for key, value in dataclasses.asdict(self.query).items() if value}
        for short, long in (("labels", "label_selector"), ("fields", "field_selector")):
            if short in asked:
                asked[long] = asked.pop(short)
        return {**asked, "served": self.served, "resources": self.objects}


# -- what the user gave ------------------------------------------------------------------------------------------------


def queries_of(params: t.Mapping[str, t.Any]) -> list[Query]:
    """The queries of a task: ``queries``, or the one that the options themselves make. Raises :class:`InvalidInput`."""
    if params.get("queries") is None:
        return [_query({key: params.get(key) for key in ("api_version", "kind", "name", "namespace", *SELECTORS)}, "")]
    if not params["queries"]:
        raise InvalidInput("queries is empty", hint="Name at least one kind.")
    return [_query(given, f"queries[{number}]: ") for number, given in enumerate(params["queries"])]


def _query(given: t.Mapping[str, t.Any], where: str) -> Query:
    api_version, kind, name = given.get("api_version") or "v1", given.get("kind") or "", given.get("name") or ""
    if not API_VERSION.fullmatch(api_version):
        raise InvalidInput(f"{where}api_version {api_version!r} is not like v1 or apps/v1")
    if not kind.isalnum():
        raise InvalidInput(f"{where}kind {kind!r} is not the name of a kind, such as Deployment")
    for field in ("name", "namespace"):
        if given.get(field) and not NAME.fullmatch(str(given[field])):
            raise InvalidInput(f"{where}{field} {given[field]!r} is not a name that an object can have")
    labels, fields = (_selector(given.get(option), f"{where}{option}") for option in SELECTORS)
    if name and (labels or fields):
        raise InvalidInput(f"{where}name and selectors exclude each other: a name is one object")
    return Query(api_version, kind, name, given.get("namespace") or "", labels, fields)


def _selector(given: t.Any, option: str) -> str:
    """Several selectors are one whose terms must all hold."""
    terms = [str(term).strip() for term in given or []]
    if any(not term for term in terms):
        raise InvalidInput(f"{option} has an empty selector", hint="Leave it out to get all objects.")
    return ",".join(terms)


# -- asking ------------------------------------------------------------------------------------------------------------


def ask(client: Client, queries: t.Sequence[Query], options: Options) -> list[Found]:
    """All of them, several at a time, in the order given."""
    client_resources = _resources(client, queries, options)
    pairs = list(zip(queries, client_resources, strict=True))
    return together(lambda pair: _one(client, pair[0], pair[1], options), pairs)


def _resources(client: Client, queries: t.Sequence[Query], options: Options) -> list[Resource | None]:
    """How the server serves the kinds, before any of their objects is asked for."""
    found = [client.resource(query.api_version, query.kind) for query in queries]
    for query, resource in zip(queries, found, strict=True):
        if resource is None and not options.lenient:
            raise _unknown(client, query)
    return found


def _unknown(client: Client, query: Query) -> HomelabError:
    kinds = client.kinds(query.api_version)
    alike = [kind for kind in kinds if kind.lower().rstrip("s") == query.kind.lower().rstrip("s")]
    if alike:
        hint = f"Did you mean {alike[0]}?"
    elif kinds:
        hint = f"{query.api_version} has {', '.join(kinds[:40])}{' …' if len(kinds) > 40 else ''}."
    else:
        hint = f"There is nothing of {query.api_version} here: is its operator installed? kubectl api-versions lists what there is."
    return NotFound(f"find the kind {query.text}", of=client.of, answer="the server does not serve it", hint=hint)


def _one(client: Client, query: Query, resource: Resource | None, options: Options) -> Found:
    if resource is None:
        return Found(query, [], served=False)
    if query.name:
        namespace = (query.namespace or client.access.namespace) if resource.namespaced else ""
        live = client.get(resource, namespace, query.name)
        objects = [] if live is None else [live]
    else:
        selectors = {"labelSelector": query.labels, "fieldSelector": query.fields, "limit": str(options.page)}
        namespace = query.namespace if resource.namespaced else ""
        try:
            objects = client.list(resource, namespace, **{key: value for key, value in selectors.items() if value})
        except Refused as error:
            hint = (
                "Correct the selectors. The server selects few fields of each kind."
                if query.labels or query.fields
                else ""
            )
            raise Refused(error.asked, of=error.of, answer=error.answer, hint=hint, **error.details) from None
    return Found(query, [presentable(live, options) for live in objects])


def presentable(live: Object, options: Options) -> Object:
    """An object as it is shown: without the record of managers, and without what Secrets hold, unless these are wanted."""
    shown = dict(live)
    meta = dict(shown.get("metadata") or {})
    if not options.managed_fields:
        meta.pop("managedFields", None)
    if live.get("kind") == "Secret" and live.get("apiVersion") == "v1" and not options.secrets:
        for field in ("data", "stringData"):
            if isinstance(shown.get(field), dict):
                shown[field] = dict.fromkeys(shown[field], HIDDEN)
        annotations = dict(meta.get("annotations") or {})
        if annotations:
            meta["annotations"] = {key: HIDDEN if key in COPIES else value for key, value in annotations.items()}
    return {**shown, "metadata": meta}
