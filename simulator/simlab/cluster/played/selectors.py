# SPDX-License-Identifier: GPL-3.0-or-later
"""Label selectors, as ``meta/v1`` LabelSelector defines them."""

from __future__ import annotations

import typing as t

Labels = t.Mapping[str, str]


def matches(selector: t.Mapping[str, t.Any] | None, labels: Labels) -> bool:
    """Whether the labels fit; no selector (None) and an empty one fit everything. Raises ValueError when it is wrong."""
    wanted = (selector or {}).get("matchLabels") or {}
    requirements = (selector or {}).get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _holds(requirement, labels) for requirement in requirements
    )


def _holds(requirement: t.Mapping[str, t.Any], labels: Labels) -> bool:
    key, operator = str(requirement.get("key")), str(requirement.get("operator"))
    given = requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if not given:
            raise ValueError(
                f"values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty ({key})"
            )
        return (labels.get(key) in given) is (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        if given:
            raise ValueError(f"values: Invalid value: values set must be empty for exists and does not exist ({key})")
        return (key in labels) is (operator == "Exists")
    raise ValueError(f'"{operator}" is not a valid label selector operator')
