# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configs side by side: whether they mean the same, where they differ, and what of that may be shown."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..plan import HIDDEN
from .identity import Document, describe, document_id

#: Keys whose value is a secret wherever they stand.
_SECRET_KEY = re.compile(
    r"(^key$|^auth$|^content$|token$|secret$|password|passphrase|private_?key|preshared_?key"
    r"|(auth|api|access|account)[_-]?key(_?\d+)?$|^(proxy-)?authorization$|^(set-)?cookie$)",
    re.IGNORECASE,
)
#: Values that are secret whatever their key is: PEM keys, plain or in base64, passwords and tokens in URLs, Secret
#: manifests, environment variables of extensions as ``NAME=value`` whose name says it (``TS_AUTHKEY=tskey-…``), and
#: what a header has of who asks (``Bearer …``).
_SECRET_VALUE = re.compile(
    r"PRIVATE KEY-----|(UFJJVkFURSBLRVk|BSSVZBVEUgS0VZ|QUklWQVRFIEtFW)|://[^/\s:@]+:[^/\s@]+@|(^|[{,\s\"])kind\"?:\s*[\"']?Secret\b"
    r"|[?&]\w*(?i:token|secret|password)=[^&\s]|\A\w*(?i:key|token|secret|passw(or)?d|passphrase|credentials?)\d*=\S"
    r"|\A(?i:bearer|basic)\s+\S",
    re.MULTILINE,
)
#: A secret in an environment variable: only what follows the equals sign is one.
_VARIABLE = re.compile(r"\w+=\S")
#: In a header, what follows the word for its kind.
_HEADER = re.compile(r"(?i:bearer|basic)\s+(\S.*)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Discretion:
    """Knows which values of a config must not be shown: those of the bundle, and what looks like a secret."""

    values_of_bundle: frozenset[str]

    def hidden(self, value: t.Any, key: str = "") -> t.Any:
        """The same value with :data:`plan.HIDDEN` in place of secrets."""
        if isinstance(value, dict):
            return {name: self.hidden(inner, str(name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.hidden(inner, key) for inner in value]
        return HIDDEN if self._is_secret(value, key) else value

    def secrets_in(self, value: t.Any, key: str = "") -> t.Iterator[str]:
        """The secrets of a config that did not come from the bundle, such as a VPN's key in a patch."""
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from self.secrets_in(inner, str(name))
        elif isinstance(value, list):
            for inner in value:
                yield from self.secrets_in(inner, key)
        elif isinstance(value, str) and value not in self.values_of_bundle and self._is_secret(value, key):
            yield value
            if _VARIABLE.match(value):
                yield value.partition("=")[2]
            if header := _HEADER.match(value):
                yield header[1]

    def censored(self, text: str) -> str:
        """A text of the node's with every value of the bundle taken out."""
        for value in self.values_of_bundle:
            text = text.replace(value, HIDDEN)
        return text

    def _is_secret(self, value: t.Any, key: str) -> bool:
        if not isinstance(value, str) or not value:
            return False
        return value in self.values_of_bundle or bool(_SECRET_KEY.search(key) or _SECRET_VALUE.search(value))


def normalized(documents: t.Iterable[Document]) -> dict[str, t.Any]:
    """Documents by name, without what means nothing: empty mappings and lists, nulls, an empty key of an authority."""
    named = {describe(document): _pruned(_with_words(document)) for document in documents}
    return {name: document for name, document in named.items() if document}


def difference(
    before: t.Iterable[Document], after: t.Iterable[Document], discretion: Discretion
) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """What differs, on both sides, nested as in the configs, secrets hidden. Both empty when they mean the same."""
    left, right = _differing(normalized(before), normalized(after))
    return discretion.hidden(left or {}), discretion.hidden(right or {})


def shown(documents: t.Iterable[Document], discretion: Discretion) -> dict[str, t.Any]:
    """A whole config, secrets hidden."""
    return t.cast("dict[str, t.Any]", discretion.hidden(normalized(documents)))


def duplicates(documents: t.Sequence[Document]) -> list[str]:
    """Documents that stand twice, by name."""
    identifiers = [document_id(document) for document in documents]
    return sorted({describe(document) for document in documents if identifiers.count(document_id(document)) > 1})


_GONE = object()


def _differing(left: t.Any, right: t.Any) -> tuple[t.Any, t.Any]:
    """The parts of two values that differ. Lists differ as a whole: a config's lists have an order."""
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return left, right
    before, after = {}, {}
    for key in {**left, **right}:
        one, other = left.get(key, _GONE), right.get(key, _GONE)
        if one == other:
            continue
        if one is not _GONE and other is not _GONE:
            one, other = (_GONE if part == {} else part for part in _differing(one, other))
        if one is not _GONE:
            before[key] = one
        if other is not _GONE:
            after[key] = other
    return before, after


def _pruned(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        pruned = {str(key): _pruned(inner) for key, inner in value.items()}
        return {key: inner for key, inner in pruned.items() if not _means_nothing(key, inner)}
    if isinstance(value, list):
        return [_pruned(inner) for inner in value]
    return value


def _means_nothing(key: str, value: t.Any) -> bool:
    return value is None or value == {} or value == [] or (key == "key" and value == "")


def _with_words(document: Document) -> Document:
    """The node writes ``auto: off`` without quotes when it re-encodes a config, and YAML 1.1 reads that as false."""
    if document.get("kind") == "HostnameConfig" and document.get("auto") is False:
        return {**document, "auto": "off"}
    return document
