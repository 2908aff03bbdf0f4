# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets taken out of a result as Ansible does it, when there are hundreds of both."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.common.text.converters import to_native


def masked(value: t.Any, secrets: t.Collection[str]) -> t.Any:
    """What ``remove_values(value, secrets)`` returns, for JSON's types and bytes.

    That function looks for every secret in every text: 200 secrets in 3600 texts cost a quarter of a task's time. Here all
    texts of a part are searched at once, and only what occurs there is looked for in its items.
    """
    text = "\0".join(_texts(value))
    # Asterisks are what a longer secret is replaced with, and may be a secret's end.
    found = [secret for secret in secrets if secret in text or "*" in secret]
    if found and isinstance(value, dict):
        return {key: masked(item, found) for key, item in value.items()}
    if found and isinstance(value, list):
        return [masked(item, found) for item in value]
    return remove_values(value, found)


def _texts(value: t.Any) -> t.Iterator[str]:
    """Of all values that are no containers; names are not masked."""
    if isinstance(value, t.Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield to_native(value, errors="surrogate_or_strict", nonstring="simplerepr")
