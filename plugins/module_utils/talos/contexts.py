# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contexts of talosconfigs and kubeconfigs: a file that has several is a person's own, and is never written over."""

from __future__ import annotations

import pathlib
import typing as t

from ..errors import InvalidInput

try:
    import yaml
except ImportError:  # only where the collection is imported without being used, as by ansible-test sanity
    yaml = t.cast("t.Any", None)


def refuse_several(path: pathlib.Path, text: str, what: str, option: str) -> None:
    """Raise when a file that is to be written anew has more contexts than the one that it would have then: keys of other
    clusters may be nowhere else.
    """
    found = _names(text)
    if len(found) > 1:
        raise InvalidInput(
            f"The {what} {path} has the contexts {', '.join(sorted(found))}, and would be written anew with one alone",
            hint=f"It was left as it is. Give {option} a path of its own, or take the other contexts out of the file.",
        )


def _names(text: str) -> set[str]:
    """A talosconfig has a mapping of them, a kubeconfig a list. What is neither has none."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return set()
    contexts = data.get("contexts") if isinstance(data, dict) else None
    if isinstance(contexts, list):
        return {str(one.get("name")) for one in contexts if isinstance(one, dict)}
    return {str(name) for name in contexts} if isinstance(contexts, dict) else set()
