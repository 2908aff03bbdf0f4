# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talos versions as people meet them: ``v1.13.9``, an image's reference, what discovery says of a member."""

from __future__ import annotations

import dataclasses
import operator
import re
import typing as t

from ..errors import InvalidInput
from . import versions

_FOUND = re.compile(
    r"(?<![\w.])v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?(?![\w.])"
)
_COMPARISON = re.compile(r"\s*(==|!=|>=|<=|>|<)\s*(\S+)\s*")
_OPERATORS: dict[str, t.Callable[[t.Any, t.Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclasses.dataclass(frozen=True)
class Release:
    """A semantic version; ``pre`` is what follows the dash, empty for a release."""

    major: int
    minor: int
    patch: int
    pre: str = ""

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}{f'-{self.pre}' if self.pre else ''}"

    @property
    def rank(self) -> tuple[t.Any, ...]:
        """For comparison, as semver.org orders: a pre-release comes before its release, numbers before words."""
        parts = [(0, int(one), "") if one.isdigit() else (1, 0, one) for one in self.pre.split(".")] if self.pre else []
        return (self.major, self.minor, self.patch, not self.pre, parts)


def find(text: str, what: str) -> Release:
    """The only version in a text. Raises :class:`errors.InvalidInput` when there is none, or several."""
    found = {Release(int(one[1]), int(one[2]), int(one[3]), one[4] or "") for one in _FOUND.finditer(text)}
    if len(found) != 1:
        problem = "several versions" if found else "no version"
        raise InvalidInput(f"{what} {text!r} has {problem}", hint="It looks like v1.13.9, or ends in :v1.13.9.")
    return found.pop()


def talos_version(value: t.Any, comparison: t.Any = None) -> t.Any:
    """``{text, major, minor, patch, pre, contract, kubernetes}``; with a comparison such as ``>=1.13``, whether it holds."""
    if not isinstance(value, str):
        raise InvalidInput(f"The value is {value!r}, which is no text")
    release = find(value, "The value")
    if comparison is not None:
        return _holds(release, comparison)
    known = versions.KUBERNETES_RANGE.get(release.minor) if release.major == 1 else None
    return {
        "text": str(release),
        "major": release.major,
        "minor": release.minor,
        "patch": release.patch,
        "pre": release.pre,
        "contract": f"v{release.major}.{release.minor}",
        "kubernetes": [f"1.{minor}" for minor in range(known[0], known[1] + 1)] if known else [],
    }


def _holds(release: Release, comparison: t.Any) -> bool:
    """All of the comparisons, which commas part: ``>=1.12, <1.14``. ``1.13`` stands for its first version."""
    if not isinstance(comparison, str) or not comparison.strip():
        raise InvalidInput(f"The comparison is {comparison!r}", hint="It looks like '>=1.13' or '>=1.12, <1.14'.")
    return all(_compared(release, part) for part in comparison.split(","))


def _compared(release: Release, part: str) -> bool:
    match = _COMPARISON.fullmatch(part)
    if not match:
        raise InvalidInput(f"The comparison is {part.strip()!r}", hint="It looks like '>=1.13' or '>=1.12, <1.14'.")
    text = match[2]
    if re.fullmatch(r"v?\d+\.\d+", text):
        if match[1] in ("==", "!="):
            raise InvalidInput(
                f"The comparison {part.strip()!r} is with no whole version", hint="Compare with >= and <."
            )
        text += ".0"
    return _OPERATORS[match[1]](release.rank, find(text, "The comparison with").rank)
