# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes labels, annotations and taints as Talos checks them."""

from __future__ import annotations

import collections.abc as c
import re
import typing as t

from .problems import quote

_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_RESERVED = ("talos.dev/owned-annotations", "talos.dev/owned-labels", "talos.dev/owned-taints")
_NAME_LIMIT, _DOMAIN_LIMIT, _ANNOTATIONS_LIMIT = 63, 253, 256 * 1024


def label_problems(labels: c.Mapping[str, t.Any]) -> list[str]:
    found = []
    for key in sorted(labels):
        found += [problem for problem in (_key(key), _value(str(labels[key] or ""))) if problem]
    return found


def annotation_problems(annotations: c.Mapping[str, t.Any]) -> list[str]:
    found, size = [], 0
    for key in sorted(annotations):
        problem = _key(key)
        if problem:
            found.append(problem)
        if key in _RESERVED:
            found.append(f"annotation {quote(key)} is reserved")
        size += len(key.encode()) + len(str(annotations[key] or "").encode())
    if size > _ANNOTATIONS_LIMIT:
        found.append(f"total annotation size exceeds limit of {_ANNOTATIONS_LIMIT} bytes")
    return found


def taint_problems(taints: c.Mapping[str, t.Any]) -> list[str]:
    """``key: value:effect`` or ``key: effect``; the first problem of each counts."""
    found = []
    for key in sorted(taints):
        value, colon, effect = str(taints[key] or "").partition(":")
        if not colon:
            value, effect = "", value
        wrong_effect = "" if effect in _EFFECTS else f"invalid taint effect: {quote(effect)}"
        problem = _key(key) or wrong_effect or _value(value)
        if problem:
            found.append(problem)
    return found


def _key(text: str) -> str:
    """A qualified name: an optional domain, a slash, a name."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return f"invalid format: too many slashes: {quote(text)}"
    if slash and not prefix:
        return f"prefix cannot be empty: {quote(text)}"
    if prefix and (problem := _domain(prefix)):
        return f"prefix {quote(prefix)} is invalid: {problem}"
    if not name:
        return f"name cannot be empty: {quote(text)}"
    if len(name) > _NAME_LIMIT:
        return f"name is too long: {quote(text)} (limit is {_NAME_LIMIT})"
    return "" if _NAME.match(name) else f"name {quote(name)} is invalid"


def _domain(text: str) -> str:
    if len(text) > _DOMAIN_LIMIT:
        return f"domain name length exceeds limit of {_DOMAIN_LIMIT}: {quote(text)}"
    return "" if _DOMAIN.match(text) else f"domain doesn't match required format: {quote(text)}"


def _value(text: str) -> str:
    if len(text) > _NAME_LIMIT:
        return f"label value length exceeds limit of {_NAME_LIMIT}: {quote(text)}"
    return "" if not text or _NAME.match(text) else f"label value {quote(text)} is invalid"
