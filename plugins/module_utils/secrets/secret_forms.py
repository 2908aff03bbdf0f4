# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server demands of a Secret. It is said before anything is sealed: in a cluster only the controller's events would
say it, later."""

from __future__ import annotations

import base64
import json
import re
import typing as t

from ..errors import InvalidInput

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_VALUE_NAME = re.compile(r"(?!\.\Z|\.\.)[-._a-zA-Z0-9]{1,253}\Z")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
#: Bytes of all values together.
_MOST = 1024 * 1024
_NEEDED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
}
_BASIC = "kubernetes.io/basic-auth"
_QUOTES = "Write it in quotes."


def check_names(name: t.Any, namespace: t.Any, where: str) -> None:
    if not name:
        raise InvalidInput(f"{where} has no name", hint="Give name, or a definition with metadata.name.")
    if not isinstance(name, str) or len(name) > 253 or not _SUBDOMAIN.match(name):
        raise InvalidInput(f"{where}: {name!r} is no name: lower case letters, digits, - and . only")
    if namespace and not (isinstance(namespace, str) and _DNS_LABEL.match(namespace)):
        raise InvalidInput(f"{where}: {namespace!r} is no namespace: lower case letters, digits and - only, at most 63")


def check_values(kind: str | None, contents: t.Mapping[t.Any, bytes], where: str) -> None:
    """The names of the values, that those are there which the type needs, and their size. Quotes no value."""
    for key in contents:
        if not isinstance(key, str) or not _VALUE_NAME.match(key):
            raise InvalidInput(f"{where}: {key!r} cannot name a value of a Secret: letters, digits, -, _ and . only")
    missing = [name for name in _NEEDED.get(kind or "", ()) if name not in contents]
    if missing:
        raise InvalidInput(f"{where} has no {' and no '.join(missing)}, which a Secret of the type {kind} needs")
    if kind == _BASIC and not {"username", "password"} & set(contents):
        raise InvalidInput(f"{where} has neither username nor password, one of which the type {kind} needs")
    for name in _NEEDED.get(kind or "", ()):
        if "docker" in name and not _is_object(contents[name]):
            raise InvalidInput(f"{where}: the value of {name} is no object in JSON, which the type {kind} needs")
    size = sum(map(len, contents.values()))
    if size > _MOST:
        raise InvalidInput(f"{where} has {size} bytes of values, and a Secret holds at most {_MOST}")


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def contents_of(secret: t.Mapping[str, t.Any], where: str) -> dict[t.Any, bytes]:
    """``data`` and ``stringData``; of a name that is in both, the latter counts, as for the API server."""
    found = {key: _decoded(text, f"{where}: data.{key}") for key, text in mapping(secret, "data", where).items()}
    texts = mapping(secret, "stringData", where).items()
    return found | {key: value_of(key, "" if text is None else text, where) for key, text in texts}


def decoded(text: t.Any) -> bytes:
    """Base64 as Go reads it: it may be in several lines, as the program of that name writes it. Raises ValueError."""
    if not isinstance(text, (str, bytes)):
        raise ValueError("it is no text")
    plain = text.encode() if isinstance(text, str) else text
    return base64.b64decode(plain.translate(None, b"\r\n"), validate=True)


def _decoded(text: t.Any, where: str) -> bytes:
    """Nothing is an empty value."""
    try:
        return b"" if text is None else decoded(text)
    except ValueError:
        raise InvalidInput(f"{where} is not base64", hint="Plain text belongs in stringData.") from None


def value_of(key: t.Any, value: t.Any, where: str) -> bytes:
    """Text, or a whole number (a port), which has one form only."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        kind = "nothing" if value is None else type(value).__name__
        raise InvalidInput(f"{where}: the value of {key} is {kind}, not text", hint=_QUOTES)
    try:
        return str(value).encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{where}: the value of {key} is not text in Unicode") from None


def kind_of(secret: t.Mapping[str, t.Any], given: str | None, where: str) -> str | None:
    kind = given or secret.get("type")
    if kind is not None and not isinstance(kind, str):
        raise InvalidInput(f"{where}: its type is {type(kind).__name__}, not text", hint=_QUOTES)
    return kind or None


def immutable_of(secret: t.Mapping[str, t.Any], given: bool | None, where: str) -> bool | None:
    immutable = secret.get("immutable") if given is None else given
    if immutable is not None and not isinstance(immutable, bool):
        raise InvalidInput(f"{where}: immutable is {type(immutable).__name__}, neither true nor false")
    return immutable


def notes_of(meta: t.Mapping[str, t.Any], field: str, more: t.Mapping[str, t.Any] | None, where: str) -> dict[str, str]:
    """Labels or annotations, all of them text. What is true or false in YAML is written so."""
    found = {}
    for key, value in {**mapping(meta, field, where), **(more or {})}.items():
        place = f"{where}: {field}.{key}"
        prefix, slash, name = str(key).rpartition("/")
        if not _QUALIFIED.match(name) or (slash and not (len(prefix) <= 253 and _SUBDOMAIN.match(prefix))):
            raise InvalidInput(f"{place} has a name that Kubernetes does not take")
        if not isinstance(value, (str, int, type(None))):
            raise InvalidInput(f"{place} is {type(value).__name__}, not text", hint=_QUOTES)
        text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
        if field == "labels" and text and not _QUALIFIED.match(text):
            raise InvalidInput(f"{place} has a value that no label has: at most 63 letters, digits, -, _ and .")
        found[str(key)] = text
    return found


def mapping(of: t.Mapping[str, t.Any], name: str, where: str) -> dict[t.Any, t.Any]:
    """A field that is a mapping, or not there."""
    value = of.get(name)
    if value is not None and not isinstance(value, dict):
        raise InvalidInput(f"{where}: {name} is {type(value).__name__}, not a mapping")
    return value or {}
