# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms of addresses, networks and URLs, and careful looks into configs: what the rules share."""

from __future__ import annotations

import ipaddress
import typing as t
import urllib.parse

Problems = t.Iterator[str]


def at(data: t.Any, path: str) -> t.Any:
    """The value at a path such as ``machine.ca.crt``, None when something on the way is missing."""
    for key in path.split("."):
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def mapping(value: t.Any) -> dict[str, t.Any]:
    return value if isinstance(value, dict) else {}


def listed(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else []


def selected(config: t.Any, path: str, key: str) -> list[t.Any]:
    """One key of every item of a list."""
    return [mapping(item).get(key) for item in listed(at(config, path))]


def is_address(value: t.Any) -> bool:
    return _is(value, ipaddress.ip_address)


def is_interface(value: t.Any) -> bool:
    """An address, mostly with a prefix."""
    return _is(value, ipaddress.ip_interface) and not _is_dotted_mask(value)


def is_network(value: t.Any, *, bare: bool = True, negated: bool = True) -> bool:
    """A network, whose host bits may be set; ``bare``: also an address alone; ``negated``: also with ``!`` before it."""
    text = str(value).removeprefix("!") if negated else str(value)
    return _is(text, ipaddress.ip_interface) and not _is_dotted_mask(text) and (bare or "/" in text)


def is_url(value: t.Any, schemes: t.Collection[str] = ("https", "http")) -> bool:
    try:
        url = urllib.parse.urlsplit(str(value))
        fits = url.scheme in schemes and bool(url.hostname) and " " not in url.netloc
        return fits and url.netloc.rpartition("]")[2].count(":") <= 1 and (url.port is None or url.port > 0)
    except ValueError:
        return False


def _is_dotted_mask(value: t.Any) -> bool:
    return not str(value).partition("/")[2].isdigit() and "/" in str(value)


def _is(value: t.Any, parse: t.Callable[[str], t.Any]) -> bool:
    try:
        parse(str(value))
    except ValueError:
        return False
    return True
