# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From definitions and files to objects: checked, complete, without what only a server may set."""

from __future__ import annotations

import base64
import binascii
import copy
import json
import os
import re
import typing as t

from .. import manifest_yaml
from ..errors import InvalidInput
from .kinds import is_built_in

Object = dict[str, t.Any]

#: What ``kubectl get -o yaml`` shows and nobody can want.
SERVERS_OWN = (
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
)

#: RFC 1123 subdomain, as most names; and the path segment names of RBAC, which only forbid a slash and a percent sign. Addresses
#: and bundles of certificates have colons, in ways that the server knows.
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
FREE_NAMES = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "IPAddress", "ClusterTrustBundle")


class Source(t.NamedTuple):
    """An object as it was given, and where: ``definition 2``, ``apps.yaml, document 3``."""

    where: str
    given: t.Any


def given(definitions: t.Sequence[t.Any]) -> list[Source]:
    """The objects of definitions, each a mapping or a text."""
    found: list[Source] = []
    for number, one in enumerate(definitions, 1):
        where = f"definition {number}"
        found += _parsed(Source(where, one)) if isinstance(one, str) else flattened(where, one)
    return found


def checked(found: t.Sequence[Source]) -> list[Object]:
    """All objects, in the order in which they are given. Raises :class:`InvalidInput` before anything is asked."""
    objects: list[Object] = []
    seen: dict[tuple[str, ...], str] = {}
    for source in found:
        try:
            objects.append(_checked(source))
        except RecursionError:
            raise _too_deep(source.where) from None
        _once(objects[-1], source.where, seen)
    return objects


def identity(wanted: t.Mapping[str, t.Any]) -> str:
    """``<Kind>/<namespace>/<name>`` or ``<Kind>/<name>``."""
    meta = wanted["metadata"]
    return "/".join([wanted["kind"], *([meta["namespace"]] if meta.get("namespace") else []), meta["name"]])


def from_file(path: str) -> list[Source]:
    """What a manifest file holds."""
    try:
        with open(os.path.expanduser(path), "rb") as file:
            raw = file.read()
    except OSError as error:
        raise InvalidInput(f"The manifest file {path} cannot be read: {error.strerror}") from None
    return sources(path, raw)


def sources(path: str, raw: bytes) -> list[Source]:
    """What the content of a manifest file holds."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"The manifest file {path} is not text in UTF-8") from None
    found = _parsed(Source(path, text))
    if not found:
        raise InvalidInput(f"The manifest file {path} holds no object")
    return found


def _parsed(source: Source) -> list[Source]:
    """The objects of a YAML or JSON text."""
    documents = loaded(source.where, source.given)
    found: list[Source] = []
    for n, document in enumerate(documents, 1):
        if document is not None:
            where = source.where if len(documents) == 1 else f"{source.where}, document {n}"
            found += flattened(where, document)
    return found


def loaded(where: str, text: str | bytes) -> list[t.Any]:
    """The documents of a YAML or JSON text."""
    import yaml

    try:
        return list(yaml.load_all(text, Loader=manifest_yaml.loader()))
    except RecursionError:
        raise _too_deep(where) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise InvalidInput(f"{where} is not valid YAML{place}: {problem}") from None


def flattened(where: str, given: t.Any) -> list[Source]:
    """A ``List`` as its members, whatever its kind is called."""
    if isinstance(given, list):
        members: t.Any = given
    elif isinstance(given, dict) and _is_list(given):
        members = given.get("items") or []
        if not isinstance(members, list):
            raise InvalidInput(f"{where} ({given['kind']}): items is {_name_of(members)}, not a list")
        members = [_named_by_list(given, member) for member in members]
    else:
        return [Source(where, given)]
    found: list[Source] = []
    for n, member in enumerate(members, 1):
        found += flattened(f"{where}, item {n}", member)
    return found


def _is_list(given: Object) -> bool:
    kind = str(given.get("kind", ""))
    return kind == "List" or (kind.endswith("List") and isinstance(given.get("items"), list))


def _named_by_list(given: Object, member: t.Any) -> t.Any:
    """A member of a ``ConfigMapList`` need not say that it is a ConfigMap."""
    kind = str(given["kind"]).removesuffix("List")
    if not kind or not isinstance(member, dict):
        return member
    return {"apiVersion": given.get("apiVersion"), "kind": kind, **member}


def _checked(source: Source) -> Object:
    given = source.given
    if not isinstance(given, dict):
        raise InvalidInput(f"{source.where} is {_name_of(given)}, not a mapping with apiVersion, kind and metadata")
    for field in ("apiVersion", "kind"):
        if not isinstance(given.get(field), str) or not given[field]:
            raise InvalidInput(
                f"{source.where} has no {field}",
                hint=_nearest(given, field) or "Every object needs apiVersion and kind.",
            )
    meta = given.get("metadata")
    if not isinstance(meta, dict):
        raise InvalidInput(f"{source.where} ({given['kind']}) has no metadata")
    _check_names(source.where, given["kind"], meta)
    return _cleaned(source.where, given)


def _check_names(where: str, kind: str, meta: Object) -> None:
    name = meta.get("name")
    if not name and meta.get("generateName"):
        raise InvalidInput(
            f"{where} ({kind}) has generateName, which would make a new object in each run",
            hint="Give it a metadata.name.",
        )
    if not isinstance(name, str) or not name:
        shown = "no metadata.name" if name in (None, "") else f"a metadata.name that is {_name_of(name)}, not text"
        raise InvalidInput(f"{where} ({kind}) has {shown}")
    if kind in FREE_NAMES:
        valid = "/" not in name and "%" not in name and name not in (".", "..")
    else:
        valid = len(name) <= 253 and bool(SUBDOMAIN.match(name))
    if not valid:
        raise InvalidInput(
            f"{where}: the {kind} name {name!r} is not valid", hint="Names are lower case letters, digits, '-' and '.'."
        )
    namespace = meta.get("namespace")
    if namespace is not None and not (isinstance(namespace, str) and len(namespace) <= 63 and LABEL.match(namespace)):
        raise InvalidInput(
            f"{where} ({kind} {name}): the namespace {namespace!r} is not valid",
            hint="Namespaces are lower case letters, digits and '-'.",
        )


def _cleaned(where: str, given: Object) -> Object:
    wanted = _without_nulls(given)
    wanted.pop("status", None)
    for field in SERVERS_OWN:
        wanted["metadata"].pop(field, None)
    for field in ("labels", "annotations"):
        _check_text_map(where, wanted, field)
    if wanted["kind"] == "Secret" and wanted["apiVersion"] == "v1":
        _secret(where, wanted)
    try:
        # There and back, as names that are numbers in YAML are text in JSON.
        return t.cast(Object, json.loads(json.dumps(wanted, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{where} ({identity(wanted)}) holds a value that JSON does not have: {error}",
            hint="Quote dates and other special values.",
        ) from None


def _too_deep(where: str) -> InvalidInput:
    return InvalidInput(f"{where} is nested too deeply, or holds itself")


def _check_text_map(where: str, wanted: Object, field: str) -> None:
    found = wanted["metadata"].get(field)
    if found is None:
        return
    if not isinstance(found, dict):
        raise InvalidInput(f"{where} ({identity(wanted)}): metadata.{field} is {_name_of(found)}, not a mapping")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidInput(
                f"{where} ({identity(wanted)}): metadata.{field}.{key} is {_name_of(value)}, not text",
                hint=f'Quote it: {key}: "{str(value).lower() if isinstance(value, bool) else value}".',
            )


def _secret(where: str, wanted: Object) -> None:
    """``stringData`` as ``data``: the API keeps only that, and would never own the other field."""
    plain = wanted.pop("stringData", None) or {}
    data = wanted.get("data") or {}
    for name, found in (("stringData", plain), ("data", data)):
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise InvalidInput(f"{where} ({identity(wanted)}): {name} must map names to text", hint="Quote the values.")
    for key, value in data.items():
        try:
            # Go passes over line ends, and over nothing else.
            base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput(
                f"{where} ({identity(wanted)}): data.{key} is not base64", hint="Plain text belongs in stringData."
            ) from None
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
    if data or encoded:
        wanted["data"] = {**data, **encoded}


def given_secrets(definitions: t.Sequence[t.Any]) -> set[str]:
    """What looks like a Secret's content in definitions that are not checked yet, for it must not be shown either."""
    found: set[str] = set()
    for given in definitions:
        members = given
        if isinstance(given, str):
            try:
                members = [source.given for source in _parsed(Source("", given))]
            except InvalidInput:
                # Nobody knows what is in it.
                found.add(given)
                continue
        found |= _values_of_secrets(members)
    return found


def _values_of_secrets(given: t.Any) -> set[str]:
    if isinstance(given, list):
        return {value for member in given for value in _values_of_secrets(member)}
    if not isinstance(given, dict):
        return set()
    if given.get("kind") == "SecretList" and isinstance(given.get("items"), list):
        return {value for one in given["items"] for value in _values_of_secrets(_named_by_list(given, one))}
    if given.get("kind") != "Secret":
        return _values_of_secrets(given.get("items"))
    maps = [given.get(field) for field in ("data", "stringData")]
    values = [str(value) for one in maps if isinstance(one, dict) for value in one.values()]
    return {form for value in values for form in _both_forms(value) if len(form) > 3}


def secret_texts(objects: t.Sequence[Object]) -> set[str]:
    """What the Secrets hold, encoded and plain, but for words that the definitions show elsewhere anyway."""
    found: set[str] = set()
    open_text: list[str] = []
    for wanted in objects:
        if wanted["kind"] != "Secret":
            open_text.append(json.dumps(wanted))
            continue
        open_text.append(json.dumps({key: value for key, value in wanted.items() if key != "data"}))
        for value in (wanted.get("data") or {}).values():
            found |= _both_forms(value)
    shown = "\n".join(open_text)
    return {value for value in found if len(value) > 3 and value not in shown}


def _both_forms(value: str) -> set[str]:
    try:
        plain = base64.b64decode(value).decode()
    except (ValueError, UnicodeDecodeError):
        return {value}
    return {value, plain, *(line for line in plain.splitlines() if len(line) > 15)}


def _once(wanted: Object, where: str, seen: dict[tuple[str, ...], str]) -> None:
    key = (wanted["apiVersion"].rpartition("/")[0], identity(wanted))
    if key in seen:
        raise InvalidInput(f"{identity(wanted)} is given twice: {seen[key]} and {where}")
    seen[key] = where


def _without_nulls(given: Object) -> Object:
    """A copy without the nulls that say no more than a field that is left out: in the metadata, and in built-in kinds.
    In others they may mean something, such as a chart's value that its release takes away."""
    if is_built_in(given["apiVersion"]):
        return t.cast(Object, _without_nothing(copy.deepcopy(given)))
    return {**copy.deepcopy(given), "metadata": _without_nothing(copy.deepcopy(given["metadata"]))}


def _without_nothing(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _without_nothing(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    return value


def _nearest(given: Object, field: str) -> str:
    for key in given:
        if isinstance(key, str) and key != field and key.lower().replace("_", "") == field.lower():
            return f"It has {key!r}: write {field}."
    return ""


def _name_of(value: t.Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing" if value is None else type(value).__name__)
