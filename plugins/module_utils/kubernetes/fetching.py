# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests by URL: checked against their SHA-256, and kept in a cache, so that the next run asks nobody."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import tempfile
import typing as t
import urllib.parse

from .. import web
from ..errors import AccessDenied, HomelabError, InvalidInput, MissingDependency, NotFound, Refused, ServerFault
from ..waiting import Deadline, retry

#: Seconds for a connection, and of silence; seconds during which what may pass is asked again.
TIMEOUT = 30.0
PATIENCE = 10.0
#: Release manifests have some megabytes.
LARGEST = 64 << 20

#: How a URL begins; a host may be an IPv6 address.
HOST = r"https?://([^/?#\s\[\]]|\[[0-9a-fA-F:.]+\])"
ERRORS: dict[int, type[HomelabError]] = {401: AccessDenied, 403: AccessDenied, 404: NotFound, 410: NotFound}


class Wanted(t.NamedTuple):
    """``sha256`` is empty only where the user said that nothing is to be verified."""

    url: str
    sha256: str

    @property
    def label(self) -> str:
        return shown(self.url)


def shown(url: str) -> str:
    """The URL without what may be secret in it: a password, a query."""
    scheme, _sep, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def passwords(urls: t.Sequence[t.Mapping[str, t.Any]]) -> set[str]:
    """What of the URLs must not be said, as it is written and as it is meant."""
    hosts = [str(entry.get("url")).partition("://")[2].partition("/")[0] for entry in urls]
    found = {host.rpartition("@")[0].partition(":")[2] for host in hosts} - {""}
    return found | {urllib.parse.unquote(text) for text in found}


def wanted(entry: t.Mapping[str, t.Any]) -> Wanted:
    """One entry of the option, if it is one. Raises :class:`InvalidInput`."""
    url, sha256 = str(entry["url"]), str(entry.get("sha256") or "").lower().removeprefix("sha256:")
    if not re.match(HOST, url):
        problem = f"The url {url.partition('?')[0]!r} does not begin with https:// or http:// and a host"
        raise InvalidInput(problem, hint="Files are for src.")
    if sha256 and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise InvalidInput(f"The sha256 of {shown(url)} is not a number of 64 hexadecimal digits")
    if bool(sha256) == bool(entry.get("unverified")):
        problem = "has a sha256 and is unverified" if sha256 else "has no sha256"
        hint = "Give the file's sha256, or unverified: true to trust whatever comes from there, each time anew."
        raise InvalidInput(f"The url {shown(url)} {problem}", hint=hint)
    return Wanted(url, sha256)


def cache() -> pathlib.Path:
    """Where manifests lie, by their checksums."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "groundwork-homelab" / "manifests"


def fetched(one: Wanted) -> bytes:
    """What lies at the URL. Raises our errors for the network, and Refused for something else than what is wanted."""
    if one.sha256:
        known = _cached(one.sha256)
        if known is not None:
            return known
    raw = retry(lambda: _download(one.url), deadline=Deadline(PATIENCE))
    found = hashlib.sha256(raw).hexdigest()
    if one.sha256 and found != one.sha256:
        raise Refused(
            f"use {one.label}",
            answer=f"its SHA-256 is {found}, not {one.sha256}",
            hint="It has been changed since the checksum was taken. Look at what changed before you take the new checksum.",
        )
    if one.sha256:
        _keep(one.sha256, raw)
    return raw


def _cached(sha256: str) -> bytes | None:
    try:
        raw = (cache() / sha256).read_bytes()
    except OSError:
        return None
    return raw if hashlib.sha256(raw).hexdigest() == sha256 else None


def _keep(sha256: str, raw: bytes) -> None:
    """A cache that cannot be written is no cache, and nothing worse."""
    try:
        cache().mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=cache(), delete=False) as file:
            file.write(raw)
        os.replace(file.name, cache() / sha256)
    except OSError:
        return


def _download(url: str) -> bytes:
    try:
        import requests
    except ImportError as error:
        raise MissingDependency("requests", reason=str(error)) from None
    asked, of = "download the manifest", shown(url)
    try:
        with requests.get(url, timeout=TIMEOUT, stream=True, verify=web.verification(True, "")) as answer:
            if answer.status_code != 200:
                kind = ERRORS.get(answer.status_code, ServerFault if answer.status_code >= 500 else Refused)
                raise kind(asked, of=of, answer=f"HTTP {answer.status_code}", status=answer.status_code)
            if url.startswith("https://") and not answer.url.startswith("https://"):
                raise Refused(asked, of=of, answer="a redirect to an address without TLS")
            return _body(answer, asked, of)
    except requests.RequestException as error:
        authority = "The machine's bundle of authorities must have its own; SSL_CERT_FILE names another bundle."
        raise web.unreachable(
            error, asked=asked, of=of, timeout=TIMEOUT, limit="The time", authority=authority
        ) from None


def _body(answer: t.Any, asked: str, of: str) -> bytes:
    parts, size = [], 0
    for part in answer.iter_content(1 << 16):
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise Refused(asked, of=of, answer=f"more than {LARGEST >> 20} MiB")
    return b"".join(parts)
