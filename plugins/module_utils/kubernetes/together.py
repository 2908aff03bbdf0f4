# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Independent requests at the same time, but not too many."""

from __future__ import annotations

import concurrent.futures
import typing as t

from .transport import POOL

S = t.TypeVar("S")
R = t.TypeVar("R")


def together(work: t.Callable[[S], R], given: t.Sequence[S]) -> list[R]:
    """The results in the order given. The first error in that order is raised once all have ended."""
    if len(given) < 2:
        return [work(one) for one in given]
    with concurrent.futures.ThreadPoolExecutor(min(POOL, len(given))) as pool:
        return [future.result() for future in [pool.submit(work, one) for one in given]]
