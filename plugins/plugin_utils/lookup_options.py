# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lookups have in common."""

from __future__ import annotations

import typing as t

from ..module_utils.errors import InvalidInput


def refuse_unknown(definitions: t.Iterable[str], given: t.Iterable[str]) -> None:
    """Ansible leaves out what a lookup does not know: with C(keys) for C(key) the whole file would be given."""
    known = [name for name in definitions if not name.startswith("_")]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidInput(
            f"The lookup has no option {', '.join(unknown)}", hint=f"There are {', '.join(sorted(known))}."
        )
